//! A named size, fit and format.

use serde::{Deserialize, Serialize};

use crate::OutputFormat;

/// Changes whenever this crate would render other pixels or bytes from the same settings, so that variants made before
/// are known to be old. It is part of [`Preset::digest`].
const ENGINE: &str =
    "darkroom-media 1: Lanczos3 cascade in encoded values, flattened on white, jpeg-encoder 4:2:0";

/// Greatest width or height of a preset, in pixels.
pub const PRESET_SIDE_MAX: u32 = 16_384;

/// Greatest length of a preset's name, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// How a photo is brought to the size of a preset. Neither enlarges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole photo, with its aspect, inside the preset's width and height.
    Inside,
    /// The preset's aspect, filled: what sticks out on either side of the centre is cut off.
    Cover,
}

/// What a variant is to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// How users and links call it: 1 to 32 lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Width in pixels, 1 to [`PRESET_SIDE_MAX`].
    pub width: u32,
    /// Height in pixels, 1 to [`PRESET_SIDE_MAX`].
    pub height: u32,
    /// What happens when the photo has another aspect.
    pub fit: Fit,
    /// The format of the variants.
    pub format: OutputFormat,
    /// 1 (smallest) to 100 (best), on libjpeg's scale.
    pub quality: u8,
}

impl Preset {
    /// The five sizes that a photo is rendered in when nothing else is configured: `large` 2048, `medium` 1080, `small`
    /// 640 and `thumb` 320, each inside a square of that many pixels, and `square` 150 × 150 cut from the centre. JPEG,
    /// quality 80.
    pub fn default_ladder() -> Vec<Self> {
        let preset = |name: &str, side, fit| Self {
            name: name.to_owned(),
            width: side,
            height: side,
            fit,
            format: OutputFormat::Jpeg,
            quality: 80,
        };
        vec![
            preset("large", 2048, Fit::Inside),
            preset("medium", 1080, Fit::Inside),
            preset("small", 640, Fit::Inside),
            preset("thumb", 320, Fit::Inside),
            preset("square", 150, Fit::Cover),
        ]
    }

    /// Says in a sentence what is wrong with the settings, if anything is.
    pub fn validate(&self) -> Result<(), String> {
        let name = &self.name;
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(format!(
                "the preset name `{name}` must be 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-` or `_`"
            ));
        }
        for (side, value) in [("width", self.width), ("height", self.height)] {
            if !(1..=PRESET_SIDE_MAX).contains(&value) {
                return Err(format!(
                    "the {side} of the preset `{name}` is {value}, and must be from 1 to {PRESET_SIDE_MAX} pixels"
                ));
            }
        }
        if !(1..=100).contains(&self.quality) {
            let quality = self.quality;
            return Err(format!(
                "the quality of the preset `{name}` is {quality}, and must be from 1 to 100"
            ));
        }
        Ok(())
    }

    /// 16 hexadecimal digits that change with every setting that changes a variant's bytes: the size, the fit, the
    /// format, the quality and this crate's engine, but not the name. The first 8 bytes of a BLAKE3 hash.
    pub fn digest(&self) -> String {
        let fit = match self.fit {
            Fit::Inside => "inside",
            Fit::Cover => "cover",
        };
        let (width, height, format, quality) = (self.width, self.height, self.format.mime(), self.quality);
        let settings = format!("{ENGINE}\n{width}x{height} {fit} {format} q{quality}");
        let mut hex = blake3::hash(settings.as_bytes()).to_hex().to_string();
        hex.truncate(16);
        hex
    }

    /// The size in pixels of the variant of a photo that is *shown* (after orientation) with the given width and
    /// height, both at least 1. Never larger than the photo, never below 1 × 1.
    ///
    /// `Inside` keeps the aspect to the nearest pixel. `Cover` is exactly the preset's size, or, where that would
    /// enlarge, the largest size with the preset's aspect that the photo can fill.
    pub fn output_size(&self, width: u32, height: u32) -> (u32, u32) {
        let (box_width, box_height) = (u64::from(self.width), u64::from(self.height));
        let (w, h) = (u64::from(width), u64::from(height));
        // Compares w / box_width with h / box_height without leaving the integers.
        let wider = w * box_height >= h * box_width;
        let (out_width, out_height) = match self.fit {
            Fit::Inside if w <= box_width && h <= box_height => (w, h),
            Fit::Inside if wider => (box_width, scaled(h, box_width, w)),
            Fit::Inside => (scaled(w, box_height, h), box_height),
            Fit::Cover if w >= box_width && h >= box_height => (box_width, box_height),
            Fit::Cover if wider => (scaled(box_width, h, box_height).min(w), h),
            Fit::Cover => (w, scaled(box_height, w, box_width).min(h)),
        };
        // Each is at most the photo's side, which is a u32.
        (out_width as u32, out_height as u32)
    }
}

/// `value` × `numerator` / `denominator`, rounded to the nearest, at least 1.
fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    ((value * numerator + denominator / 2) / denominator).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(width: u32, height: u32) -> Vec<(u32, u32)> {
        Preset::default_ladder().iter().map(|preset| preset.output_size(width, height)).collect()
    }

    #[test]
    fn the_ladder_keeps_the_aspect_and_never_enlarges() {
        assert_eq!(sizes(4032, 3024), [(2048, 1536), (1080, 810), (640, 480), (320, 240), (150, 150)]);
        assert_eq!(sizes(3024, 4032), [(1536, 2048), (810, 1080), (480, 640), (240, 320), (150, 150)]);
        assert_eq!(sizes(1000, 700), [(1000, 700), (1000, 700), (640, 448), (320, 224), (150, 150)]);
        assert_eq!(sizes(100, 80), [(100, 80), (100, 80), (100, 80), (100, 80), (80, 80)]);
        assert_eq!(sizes(1, 1), [(1, 1); 5]);
        assert_eq!(sizes(65_500, 1), [(2048, 1), (1080, 1), (640, 1), (320, 1), (1, 1)]);
        assert_eq!(sizes(17, 3), [(17, 3), (17, 3), (17, 3), (17, 3), (3, 3)]);
    }

    #[test]
    fn a_cover_with_an_aspect_of_its_own_is_filled() {
        let banner =
            Preset { width: 1200, height: 300, fit: Fit::Cover, ..Preset::default_ladder().remove(0) };
        assert_eq!(banner.output_size(4000, 3000), (1200, 300));
        assert_eq!(banner.output_size(800, 600), (800, 200));
        assert_eq!(banner.output_size(2000, 100), (400, 100));
    }

    #[test]
    fn the_digest_follows_every_setting_but_the_name() {
        let preset = Preset::default_ladder().remove(0);
        assert_eq!(preset.digest().len(), 16);
        assert_eq!(Preset { name: "other".to_owned(), ..preset.clone() }.digest(), preset.digest());
        let changed = [
            Preset { width: 2047, ..preset.clone() },
            Preset { height: 2047, ..preset.clone() },
            Preset { fit: Fit::Cover, ..preset.clone() },
            Preset { quality: 81, ..preset.clone() },
        ];
        for other in changed {
            assert_ne!(other.digest(), preset.digest(), "{other:?}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_a_sentence() {
        let preset = Preset::default_ladder().remove(0);
        assert_eq!(preset.validate(), Ok(()));
        let bad = [
            (Preset { name: "Big".to_owned(), ..preset.clone() }, "preset name `Big`"),
            (Preset { name: String::new(), ..preset.clone() }, "preset name ``"),
            (Preset { width: 0, ..preset.clone() }, "the width of the preset `large` is 0"),
            (Preset { height: 20_000, ..preset.clone() }, "the height of the preset `large` is 20000"),
            (Preset { quality: 0, ..preset.clone() }, "the quality of the preset `large` is 0"),
            (Preset { quality: 101, ..preset.clone() }, "the quality of the preset `large` is 101"),
        ];
        for (preset, sentence) in bad {
            let error = preset.validate().unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
