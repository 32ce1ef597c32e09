//! Everything about direct uploads that can be set.

use std::time::Duration;

use darkroom_store::objects::s3::PART_BYTES_MIN;

const MIB: u64 = 1 << 20;
/// Most bytes that S3 takes in one put, and in one part.
pub(super) const PUT_BYTES_MAX: u64 = 5 << 30;
/// The slowest that a client's put is reckoned to come, in bytes per second.
pub(super) const PUT_RATE_MIN: u64 = 64 << 10;
/// Most parts of one object that S3 takes.
pub(super) const PARTS_MAX: u64 = 10_000;
/// Longest that S3 lets a URL be valid.
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How direct uploads are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectOptions {
    /// How long a client's URLs are valid.
    pub expires: Duration,
    /// How long what became of an upload can be asked for afterwards.
    pub kept: Duration,
    /// Uploads with more bytes are sent in parts.
    pub parts_above_bytes: u64,
    /// Size of each part; larger where an upload would have too many.
    pub part_bytes: u64,
    /// URLs of parts in one answer.
    pub part_urls_max: usize,
    /// Uploads that an owner may have open.
    pub open_max: u64,
    /// Their bytes together.
    pub open_bytes_max: u64,
    /// Longest that one takes to be finished, until somebody else may try.
    pub finish_timeout: Duration,
    /// Objects that others put under this prefix of the bucket become photos; empty: none do.
    pub import_prefix: String,
    /// Whether such an object is deleted when it is a photo.
    pub import_delete: bool,
}

impl Default for DirectOptions {
    fn default() -> Self {
        Self {
            expires: Duration::from_secs(3600),
            kept: Duration::from_secs(7 * 24 * 3600),
            parts_above_bytes: 64 * MIB,
            part_bytes: 16 * MIB,
            part_urls_max: 100,
            open_max: 10_000,
            open_bytes_max: 1 << 40,
            finish_timeout: Duration::from_secs(600),
            import_prefix: String::new(),
            import_delete: false,
        }
    }
}

impl DirectOptions {
    /// Refuses what S3 could not do.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if !(Duration::from_secs(1)..=EXPIRES_MAX).contains(&self.expires) {
            return Err(
                "direct.expires must be from 1 s to 7 d, the longest that S3 lets a URL be valid".to_owned()
            );
        }
        if !(PART_BYTES_MIN..=PUT_BYTES_MAX).contains(&self.part_bytes) {
            return Err(format!(
                "direct.part_bytes is {}: S3 takes parts of 5 MiB to 5 GiB, so set it between them",
                self.part_bytes
            ));
        }
        if self.parts_above_bytes > PUT_BYTES_MAX {
            return Err(format!(
                "direct.parts_above is {} bytes: S3 takes at most 5 GiB in one put, so set it to that or less",
                self.parts_above_bytes
            ));
        }
        let positive = [
            ("direct.part_urls_max", self.part_urls_max as u64),
            ("direct.open_max", self.open_max),
            ("direct.open_bytes_max", self.open_bytes_max),
            ("direct.finish_timeout", self.finish_timeout.as_secs()),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} is 0: set it to 1 or more"));
        }
        if self.part_urls_max > 1000 {
            return Err("direct.part_urls_max is over 1000: each URL has several hundred bytes".to_owned());
        }
        self.validate_import_prefix()
    }

    /// What darkroom itself writes must not come back to it as somebody's photo.
    fn validate_import_prefix(&self) -> Result<(), String> {
        let prefix = &self.import_prefix;
        if prefix.is_empty() || (prefix.ends_with('/') && !prefix.starts_with('/')) {
            return Ok(());
        }
        Err(format!(
            "direct.import_prefix is {prefix:?}: let it end with a slash and not begin with one, like \"incoming/\""
        ))
    }

    /// The size of the parts of an upload of so many bytes: whole mebibytes, and no more parts than S3 takes.
    pub(super) fn part_bytes_of(&self, bytes: u64) -> u64 {
        self.part_bytes.max(bytes.div_ceil(PARTS_MAX).next_multiple_of(MIB))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_s3_would_refuse_is_refused_by_key() {
        DirectOptions::default().validate().unwrap();
        let defaults = DirectOptions::default;
        for (bad, key) in [
            (DirectOptions { expires: Duration::ZERO, ..defaults() }, "direct.expires"),
            (DirectOptions { expires: 2 * EXPIRES_MAX, ..defaults() }, "direct.expires"),
            (DirectOptions { part_bytes: MIB, ..defaults() }, "direct.part_bytes"),
            (DirectOptions { parts_above_bytes: 6 << 30, ..defaults() }, "direct.parts_above"),
            (DirectOptions { open_max: 0, ..defaults() }, "direct.open_max"),
            (DirectOptions { import_prefix: "incoming".to_owned(), ..defaults() }, "direct.import_prefix"),
        ] {
            let refused = bad.validate().unwrap_err();
            assert!(refused.contains(key), "{refused}");
        }
    }

    #[test]
    fn parts_grow_where_an_upload_would_have_too_many() {
        let options = DirectOptions::default();
        assert_eq!(options.part_bytes_of(1), 16 * MIB);
        let huge = 5_u64 << 40;
        assert!(huge.div_ceil(options.part_bytes_of(huge)) <= PARTS_MAX);
    }
}
