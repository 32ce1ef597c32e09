//! The formats that come in and go out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceFormat {
    /// ITU-T T.81: baseline, extended and progressive, 8 bits, one or three components.
    Jpeg,
    /// ISO/IEC 15948. Of an animated PNG the default image is taken.
    Png,
    /// RFC 9649. Of an animation the first frame is taken.
    #[serde(rename = "webp")]
    WebP,
    /// GIF 87a and 89a. Of an animation the first frame is taken.
    Gif,
}

impl SourceFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::WebP, Self::Gif];

    /// The media type, as in a `Content-Type` header.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
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
        })
    }
}

/// A format that variants are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Baseline JPEG, 4:2:0 (or gray), JFIF, without any metadata.
    Jpeg,
}

impl OutputFormat {
    /// The media type, as in a `Content-Type` header.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
        }
    }

    /// The usual ending of a file's name, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
        }
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
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
        assert_eq!(SourceFormat::from_mime("image/heic"), None);
        assert_eq!(SourceFormat::from_mime(""), None);
    }

    #[test]
    fn names_in_json_are_lower_case() {
        let names: Vec<String> =
            SourceFormat::ALL.iter().map(|format| serde_json::to_string(format).unwrap()).collect();
        assert_eq!(names, ["\"jpeg\"", "\"png\"", "\"webp\"", "\"gif\""]);
        assert_eq!(serde_json::to_string(&OutputFormat::Jpeg).unwrap(), "\"jpeg\"");
    }
}
