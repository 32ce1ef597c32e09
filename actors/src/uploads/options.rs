//! Everything about resumable uploads that can be set.

use std::time::Duration;

use darkroom_store::model::uploads::Limits;

const MIB: u64 = 1 << 20;
/// More would have one transaction that joins parts read and write too much.
const PIECES_MAX: u64 = 20_000;
/// Longest that an upload may lie there, or its record afterwards.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How resumable uploads are taken.
#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// Largest piece: after so many bytes of a request those that came are made durable, and the offset moves.
    pub piece_bytes: u64,
    /// Pieces of one upload.
    pub pieces_max: u64,
    /// How long an upload stays to which nothing is added.
    pub expire: Duration,
    /// How long one stays that has no byte yet: to begin one costs nothing, and takes room from others.
    pub expire_empty: Duration,
    /// How long the record of an upload stays that has ended.
    pub keep: Duration,
    /// How much may be open.
    pub limits: Limits,
    /// Bytes of what a client says of an upload when it begins (`Upload-Metadata`).
    pub metadata_bytes_max: usize,
    /// How long a request waits for the one before it, which still appends to the same upload on this node, to put and commit
    /// what it has. Afterwards its lease is taken from it.
    pub takeover_wait: Duration,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            piece_bytes: 8 * MIB,
            pieces_max: 10_000,
            expire: Duration::from_secs(24 * 3600),
            expire_empty: Duration::from_secs(3600),
            keep: Duration::from_secs(24 * 3600),
            limits: Limits {
                open_max: 50_000,
                open_per_owner_max: 10_000,
                bytes_max: 64 << 30,
                bytes_per_owner_max: 32 << 30,
            },
            metadata_bytes_max: 8 << 10,
            takeover_wait: Duration::from_secs(5),
        }
    }
}

impl UploadOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if !(MIB..=1024 * MIB).contains(&self.piece_bytes) {
            return Err(format!(
                "uploads.piece is {} bytes: set it from 1 MiB to 1 GiB; it is what a broken request may lose at most",
                self.piece_bytes
            ));
        }
        if !(16..=PIECES_MAX).contains(&self.pieces_max) {
            return Err(format!(
                "uploads.pieces_max is {}: set it from 16 to {PIECES_MAX}, so that parts are joined in one transaction",
                self.pieces_max
            ));
        }
        let ages = [
            ("uploads.expire", self.expire),
            ("uploads.expire_empty", self.expire_empty),
            ("uploads.keep", self.keep),
        ];
        if let Some((name, age)) =
            ages.iter().find(|(_, age)| !(Duration::from_secs(1)..=AGE_MAX).contains(age))
        {
            return Err(format!("{name} is {} s: set it from 1 s to 30 days", age.as_secs()));
        }
        let Limits { open_max, open_per_owner_max, bytes_max, bytes_per_owner_max } = self.limits;
        let positive = [
            ("uploads.open_max", open_max),
            ("uploads.open_per_owner_max", open_per_owner_max),
            ("uploads.bytes_max", bytes_max),
            ("uploads.bytes_per_owner_max", bytes_per_owner_max),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} is 0: set it to 1 or more"));
        }
        // The request's headers hold no more, and a record must fit into a value.
        if !(128..=16 << 10).contains(&self.metadata_bytes_max) {
            return Err(format!(
                "uploads.metadata_bytes_max is {}: set it from 128 bytes to 16 KiB",
                self.metadata_bytes_max
            ));
        }
        if self.takeover_wait > Duration::from_secs(60) {
            return Err("uploads.takeover_wait must be at most 1 m: a client waits for it".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let default = UploadOptions::default;
        default().validate().unwrap();
        let none = Limits { open_max: 0, ..default().limits };
        for (options, name) in [
            (UploadOptions { piece_bytes: 1, ..default() }, "uploads.piece"),
            (UploadOptions { pieces_max: 1 << 20, ..default() }, "uploads.pieces_max"),
            (UploadOptions { expire: Duration::ZERO, ..default() }, "uploads.expire"),
            (UploadOptions { expire_empty: Duration::ZERO, ..default() }, "uploads.expire_empty"),
            (UploadOptions { keep: 2 * AGE_MAX, ..default() }, "uploads.keep"),
            (UploadOptions { limits: none, ..default() }, "uploads.open_max"),
            (UploadOptions { metadata_bytes_max: 1 << 20, ..default() }, "uploads.metadata_bytes_max"),
            (UploadOptions { takeover_wait: AGE_MAX, ..default() }, "uploads.takeover_wait"),
        ] {
            assert!(options.validate().unwrap_err().contains(name), "{name}");
        }
    }
}
