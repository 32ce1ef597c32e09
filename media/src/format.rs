//! The formats that come in and go out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    /// ITU-T T.81: baseline, extended and progressive, 8 bits; gray, `YCbCr`, RGB, CMYK and YCCK.
    Jpeg,
    /// ISO/IEC 15948. Of an animated PNG the default image is taken.
    Png,
    /// RFC 9649. Of an animation the first frame is taken where a preset does not keep its motion.
    #[serde(rename = "webp")]
    WebP,
    /// GIF 87a and 89a. Of an animation the first frame is taken where a preset does not keep its motion.
    Gif,
    /// AV1 in a HEIF container (AOM's AVIF 1.1), 8 to 12 bits: the still picture, also of an animation.
    Avif,
    /// TIFF 6.0 and BigTIFF: the first directory.
    Tiff,
    /// Windows and OS/2 bitmaps.
    Bmp,
    /// HEVC in a HEIF container (ISO/IEC 23008-12), what iPhones write. Decoded with the feature `heic`.
    Heic,
    /// JPEG XL (ISO/IEC 18181). Decoded with the feature `jxl`.
    Jxl,
}

impl SourceFormat {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Jpeg,
        Self::Png,
        Self::WebP,
        Self::Gif,
        Self::Avif,
        Self::Tiff,
        Self::Bmp,
        Self::Heic,
        Self::Jxl,
    ];

    /// The media type, as in a `Content-Type` header.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Avif => "image/avif",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::Heic => "image/heic",
            Self::Jxl => "image/jxl",
        }
    }

    /// The format of a media type. Case and parameters do not matter (RFC 9110, section 8.3.1), and `image/jpg`, which
    /// is not registered but widely sent, means JPEG. `None` for any other type.
    pub fn from_mime(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("image/jpg") {
            return Some(Self::Jpeg);
        }
        Self::ALL.into_iter().find(|format| essence.eq_ignore_ascii_case(format.mime()))
    }
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Avif => "AVIF",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Heic => "HEIC",
            Self::Jxl => "JPEG XL",
        })
    }
}

/// A format that variants are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Baseline JPEG, 4:2:0 (or gray), JFIF.
    Jpeg,
    /// Lossy WebP, animated where the preset keeps motion.
    #[serde(rename = "webp")]
    WebP,
    /// PNG of 8 bits: gray, RGB or RGBA.
    Png,
    /// AVIF of 10 bits. Written with the feature `avif-encode`.
    Avif,
}

impl OutputFormat {
    /// The media type, as in a `Content-Type` header.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Png => "image/png",
            Self::Avif => "image/avif",
        }
    }

    /// How late clients came to understand it: of a preset's files the one of the least is for those who name none.
    pub(crate) const fn novelty(self) -> u8 {
        match self {
            Self::Jpeg => 0,
            Self::Png => 1,
            Self::WebP => 2,
            Self::Avif => 3,
        }
    }

    /// The usual ending of a file's name, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Png => "png",
            Self::Avif => "avif",
        }
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Png => "PNG",
            Self::Avif => "AVIF",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_as_clients_send_them() {
        for format in SourceFormat::ALL {
            assert_eq!(SourceFormat::from_mime(format.mime()), Some(format));
        }
        assert_eq!(SourceFormat::from_mime("IMAGE/JPG"), Some(SourceFormat::Jpeg));
        assert_eq!(SourceFormat::from_mime(" image/png ; q=1"), Some(SourceFormat::Png));
        assert_eq!(SourceFormat::from_mime("image/svg+xml"), None);
        assert_eq!(SourceFormat::from_mime(""), None);
    }

    #[test]
    fn names_in_json_are_lower_case() {
        let names: Vec<String> =
            SourceFormat::ALL.iter().map(|format| serde_json::to_string(format).unwrap()).collect();
        assert_eq!(names[..4], ["\"jpeg\"", "\"png\"", "\"webp\"", "\"gif\""]);
        assert_eq!(serde_json::to_string(&OutputFormat::Jpeg).unwrap(), "\"jpeg\"");
    }
}
