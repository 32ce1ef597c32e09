//! The choices that a preset makes, as words in configuration and JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a photo is brought to the size of a preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole photo, with its aspect, inside the preset's width and height.
    #[default]
    Inside,
    /// The preset's aspect, filled: what sticks out is cut off, as [`Focus`] says.
    Cover,
    /// The whole photo, with its aspect, in the middle of exactly the preset's size; the background beside it.
    Contain,
    /// Exactly the preset's size, whatever becomes of the aspect.
    Fill,
    /// The whole photo, with its aspect, so small that both sides are just not below the preset's; but no side longer than
    /// [`PRESET_SIDE_MAX`](crate::PRESET_SIDE_MAX).
    Outside,
}

/// The format of a preset's variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresetFormat {
    /// WebP for those who accept it; for others JPEG, or PNG for what is transparent. PNG for all where the picture is flat
    /// (a drawing, a screenshot), but beside WebP where that keeps its motion.
    Auto,
    /// [`OutputFormat::Jpeg`](crate::OutputFormat::Jpeg).
    #[default]
    Jpeg,
    /// [`OutputFormat::WebP`](crate::OutputFormat::WebP).
    #[serde(rename = "webp")]
    WebP,
    /// [`OutputFormat::Png`](crate::OutputFormat::Png).
    Png,
    /// [`OutputFormat::Avif`](crate::OutputFormat::Avif).
    Avif,
}

/// Which part of a photo stays when a `cover` cuts some off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Focus {
    /// The middle.
    #[default]
    Center,
    /// Where there is most to see: the part of greatest entropy.
    Entropy,
    /// Where people look first: edges, strong colours, skin.
    Attention,
    /// This point as near the middle as possible: across and down, in thousandths of the shown width and height, each 0 to
    /// 1000.
    Point(u16, u16),
}

impl FromStr for Focus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "center" => return Ok(Self::Center),
            "entropy" => return Ok(Self::Entropy),
            "attention" => return Ok(Self::Attention),
            _ => {}
        }
        let fraction = |part: &str| {
            let value: f64 = part.trim().parse().ok()?;
            // From 0 to 1000 by the comparison.
            (0.0..=1.0).contains(&value).then(|| (value * 1000.0).round() as u16)
        };
        text.split_once(',')
            .and_then(|(across, down)| Some(Self::Point(fraction(across)?, fraction(down)?)))
            .ok_or_else(|| {
                format!(
                    "`{text}` is no focus: write \"center\", \"entropy\", \"attention\", or a point as fractions of width and height, like \"0.5,0.33\""
                )
            })
    }
}

impl fmt::Display for Focus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Center => f.write_str("center"),
            Self::Entropy => f.write_str("entropy"),
            Self::Attention => f.write_str("attention"),
            Self::Point(across, down) => {
                write!(f, "{},{}", f64::from(*across) / 1000.0, f64::from(*down) / 1000.0)
            }
        }
    }
}

impl TryFrom<String> for Focus {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Focus> for String {
    fn from(focus: Focus) -> Self {
        focus.to_string()
    }
}

/// An opaque sRGB colour, written `#rrggbb`. White unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Background(
    /// Red, green, blue.
    pub [u8; 3],
);

impl Default for Background {
    fn default() -> Self {
        Self([255; 3])
    }
}

impl TryFrom<String> for Background {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .map(|value| {
                let [_, red, green, blue] = value.to_be_bytes();
                Self([red, green, blue])
            })
            .ok_or_else(|| format!("`{text}` is no colour: write it as \"#rrggbb\", like \"#ffffff\""))
    }
}

impl From<Background> for String {
    fn from(Background([red, green, blue]): Background) -> Self {
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

/// The colours that a variant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gamut {
    /// sRGB: what every screen shows. No profile is written.
    #[default]
    Srgb,
    /// A photo in Display P3, as phones make them, stays in it, and the variant carries that profile. Others are sRGB.
    P3,
}

/// What is removed of a photo's EXIF in its variants. Place, serial numbers, owner's name and maker notes always are,
/// and so are XMP and IPTC, since a place may hide in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strip {
    /// Everything.
    #[default]
    All,
    /// What is not from a list of harmless entries: camera, lens, exposure, time, artist, copyright.
    Private,
    /// Nothing but what is always removed.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_focus_is_a_word_or_a_point() {
        for text in ["center", "entropy", "attention", "0.5,0.25", "0,1"] {
            let focus: Focus = text.parse().unwrap();
            assert_eq!(focus.to_string(), text);
        }
        assert_eq!(" 0.3333 , 1.0 ".parse(), Ok(Focus::Point(333, 1000)));
        for text in ["middle", "0.5", "1.1,0", "-0.1,0", "a,b", "NaN,0", ""] {
            assert!(text.parse::<Focus>().unwrap_err().contains("is no focus"), "{text}");
        }
    }

    #[test]
    fn a_background_is_six_digits() {
        let color = |text: &str| Background::try_from(text.to_owned());
        assert_eq!(color("#FF8000"), Ok(Background([255, 128, 0])));
        assert_eq!(String::from(Background([255, 128, 0])), "#ff8000");
        for text in ["ff8000", "#fff", "#ff80001", "#gg0000", "#+12345", ""] {
            assert!(color(text).unwrap_err().contains("is no colour"), "{text}");
        }
    }
}
