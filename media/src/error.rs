//! What can be wrong with a photo.

use crate::SourceFormat;

/// Why a photo was refused or could not be rendered.
///
/// Every function of this crate is pure, so the same bytes fail in the same way: no variant is worth a retry. The
/// messages are written for the person who uploaded the photo: what is wrong, with which numbers, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// No byte arrived.
    #[error("the image is empty: not one byte was sent; send the bytes of a JPEG, PNG, WebP or GIF")]
    Empty,
    /// The bytes are of a kind that is not decoded here.
    #[error("{found} is not supported: {advice}")]
    Unsupported {
        /// What the bytes look like, with its article ("a PDF document").
        found: String,
        /// What to send instead.
        advice: String,
    },
    /// The stream ended before the image did.
    #[error("the {format} is cut short: it ends inside {what}; upload the whole file again")]
    Truncated {
        /// The format that the beginning announces.
        format: SourceFormat,
        /// The part in which the stream ended.
        what: &'static str,
    },
    /// Wider than [`Limits::width_max`](crate::Limits::width_max).
    #[error(
        "the image is {width}×{height} pixels, and at most {limit} pixels of width are accepted; send a smaller one"
    )]
    TooWide {
        /// Pixels per row, as stored.
        width: u32,
        /// Rows, as stored.
        height: u32,
        /// The greatest width accepted, in pixels.
        limit: u32,
    },
    /// Taller than [`Limits::height_max`](crate::Limits::height_max).
    #[error(
        "the image is {width}×{height} pixels, and at most {limit} pixels of height are accepted; send a smaller one"
    )]
    TooTall {
        /// Pixels per row, as stored.
        width: u32,
        /// Rows, as stored.
        height: u32,
        /// The greatest height accepted, in pixels.
        limit: u32,
    },
    /// More pixels than [`Limits::pixels_max`](crate::Limits::pixels_max).
    #[error(
        "the image is {width}×{height} pixels, and at most {limit} pixels in all are accepted; send a smaller one"
    )]
    TooManyPixels {
        /// Pixels per row, as stored.
        width: u32,
        /// Rows, as stored.
        height: u32,
        /// The greatest number of pixels accepted.
        limit: u64,
    },
    /// More scans than [`Limits::scans_max`](crate::Limits::scans_max), each of which is a pass over all pixels.
    #[error(
        "the JPEG has more than {limit} scans; save it again as a baseline or an ordinary progressive JPEG"
    )]
    TooManyScans {
        /// The greatest number of scans accepted.
        limit: u32,
    },
    /// More metadata than [`Limits::metadata_bytes_max`](crate::Limits::metadata_bytes_max).
    #[error(
        "the image carries {bytes} bytes of EXIF, and at most {limit} are accepted; remove some of its metadata"
    )]
    MetadataTooLarge {
        /// The size that the image announces, in bytes.
        bytes: u64,
        /// The greatest size accepted, in bytes.
        limit: u32,
    },
    /// Decoding and rendering took longer than [`Limits::seconds_max`](crate::Limits::seconds_max).
    #[error(
        "the image takes longer than {limit} s to decode; save it again in another format or at a smaller size"
    )]
    TooSlow {
        /// The longest time, in seconds.
        limit: u32,
    },
    /// The bytes contradict their own format.
    #[error("the {format} is damaged: {detail}; export or upload it again")]
    Corrupt {
        /// The format that the beginning announces.
        format: SourceFormat,
        /// What contradicts what.
        detail: String,
    },
    /// A variant could not be encoded. It is a defect of the settings or of this crate, not of the photo.
    #[error("the variant `{preset}` could not be encoded: {detail}")]
    Encode {
        /// Name of the preset.
        preset: String,
        /// What the encoder said.
        detail: String,
    },
}

impl MediaError {
    /// A stable kebab-case name of the kind of error, for problem types, logs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty-image",
            Self::Unsupported { .. } => "unsupported-image",
            Self::Truncated { .. } => "truncated-image",
            Self::TooWide { .. } | Self::TooTall { .. } | Self::TooManyPixels { .. } => "image-too-large",
            Self::TooManyScans { .. } => "too-many-scans",
            Self::MetadataTooLarge { .. } => "metadata-too-large",
            Self::TooSlow { .. } => "image-too-slow",
            Self::Corrupt { .. } => "corrupt-image",
            Self::Encode { .. } => "encoding-failed",
        }
    }

    /// Shorthand for [`MediaError::Corrupt`].
    pub(crate) fn corrupt(format: SourceFormat, detail: impl Into<String>) -> Self {
        Self::Corrupt { format, detail: detail.into() }
    }

    /// Shorthand for [`MediaError::Unsupported`].
    pub(crate) fn unsupported(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Unsupported { found: found.into(), advice: advice.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_with_which_numbers_and_what_to_do() {
        let error = MediaError::TooManyPixels { width: 60_000, height: 60_000, limit: 100_000_000 };
        assert_eq!(
            error.to_string(),
            "the image is 60000×60000 pixels, and at most 100000000 pixels in all are accepted; send a smaller one"
        );
        assert_eq!(error.code(), "image-too-large");
        let error = MediaError::Truncated { format: SourceFormat::Jpeg, what: "a scan" };
        assert_eq!(
            error.to_string(),
            "the JPEG is cut short: it ends inside a scan; upload the whole file again"
        );
    }
}
