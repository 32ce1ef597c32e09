//! A named size, fit and format.

mod settings;

pub use settings::{Background, Fit, Focus, Gamut, PresetFormat, Strip};

use serde::{Deserialize, Serialize};

/// Changes whenever this crate would render other pixels or bytes from the same settings, so that variants made before
/// are known to be old. It is part of [`Preset::digest`].
const ENGINE: &str = "darkroom-media 4: planar Lanczos3 cascade, colour managed, jpeg-encoder 4:2:0, libwebp";

/// Greatest width or height of a preset and of its variants, in pixels. WebP can express no more than 16,383.
pub const PRESET_SIDE_MAX: u32 = 16_383;

/// Greatest length of a preset's name, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// Greatest sharpening, in percent.
const SHARPEN_MAX: u8 = 200;

/// Greatest effort: libwebp's slowest method.
const EFFORT_MAX: u8 = 6;

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
    #[serde(default)]
    pub fit: Fit,
    /// Whether a photo smaller than the preset is enlarged to it.
    #[serde(default)]
    pub enlarge: bool,
    /// The format of the variants.
    #[serde(default)]
    pub format: PresetFormat,
    /// 1 (smallest) to 100 (best). JPEG: libjpeg's scale; WebP: libwebp's; AVIF: ravif's. PNG has none.
    #[serde(default = "Preset::default_quality")]
    pub quality: u8,
    /// How long the encoder may look for a smaller file: 0 (fastest) to 6. WebP: libwebp's method; AVIF: speed 10 minus
    /// this; PNG: 0 to 2 fast, 3 to 4 balanced, 5 to 6 high compression. JPEG has none.
    #[serde(default = "Preset::default_effort")]
    pub effort: u8,
    /// What shows behind transparent pixels where the format has none, and beside the photo in the fit `contain`.
    #[serde(default)]
    pub background: Background,
    /// Sharpening after the reduction, in percent: 0 (none) to 200. An unsharp mask on luma.
    #[serde(default)]
    pub sharpen: u8,
    /// Which part stays in the fit `cover`.
    #[serde(default)]
    pub focus: Focus,
    /// Whether an animation keeps its motion. Only WebP (and `auto`) can: other formats show the first frame.
    #[serde(default)]
    pub animated: bool,
    /// Whether colours are converted to sRGB, or kept in Display P3 where the photo has them.
    #[serde(default)]
    pub gamut: Gamut,
    /// Whether pixels are reduced in linear light: bright details on dark stay as bright as they were, for about three
    /// times the cost of resizing.
    #[serde(default)]
    pub linear: bool,
    /// What is removed of the photo's EXIF. Place and serial numbers always are.
    #[serde(default)]
    pub strip: Strip,
    /// Whether artist and copyright stay although `strip` removes the rest.
    #[serde(default)]
    pub copyright: bool,
}

impl Preset {
    const fn default_quality() -> u8 {
        80
    }

    const fn default_effort() -> u8 {
        2
    }

    /// A preset of this name, size and fit: JPEG of quality 80, nothing enlarged, everything else as by default.
    pub fn new(name: &str, width: u32, height: u32, fit: Fit) -> Self {
        Self {
            name: name.to_owned(),
            width,
            height,
            fit,
            enlarge: false,
            format: PresetFormat::Jpeg,
            quality: Self::default_quality(),
            effort: Self::default_effort(),
            background: Background::default(),
            sharpen: 0,
            focus: Focus::default(),
            animated: false,
            gamut: Gamut::default(),
            linear: false,
            strip: Strip::default(),
            copyright: false,
        }
    }

    /// The five sizes that a photo is rendered in when nothing else is configured: `large` 2048, `medium` 1080, `small`
    /// 640 and `thumb` 320, each inside a square of that many pixels, and `square` 150 × 150 cut from the centre. JPEG,
    /// quality 80.
    pub fn default_ladder() -> Vec<Self> {
        let preset = |name: &str, side, fit| Self::new(name, side, side, fit);
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
        for (setting, value, least, most) in [
            ("quality", self.quality, 1, 100),
            ("effort", self.effort, 0, EFFORT_MAX),
            ("sharpen", self.sharpen, 0, SHARPEN_MAX),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!(
                    "the {setting} of the preset `{name}` is {value}, and must be from {least} to {most}"
                ));
            }
        }
        if self.format == PresetFormat::Avif && !cfg!(feature = "avif-encode") {
            return Err(format!(
                "the preset `{name}` asks for AVIF, which this build cannot write: build it with `--features avif-encode`, or choose \"webp\""
            ));
        }
        if self.animated && !matches!(self.format, PresetFormat::WebP | PresetFormat::Auto) {
            return Err(format!(
                "the preset `{name}` keeps motion, which only the formats \"webp\" and \"auto\" can: change its format, or leave out `animated`"
            ));
        }
        Ok(())
    }

    /// The greatest number of variants that a photo has in this preset: two where its format is `auto`.
    pub const fn variants_max(&self) -> usize {
        if matches!(self.format, PresetFormat::Auto) { 2 } else { 1 }
    }

    /// 16 hexadecimal digits that change with every setting that changes a variant's bytes, and with this crate's engine,
    /// but not with the name. The first 8 bytes of a BLAKE3 hash.
    pub fn digest(&self) -> String {
        let settings = format!("{ENGINE}\n{:?}", Self { name: String::new(), ..self.clone() });
        let mut hex = blake3::hash(settings.as_bytes()).to_hex().to_string();
        hex.truncate(16);
        hex
    }

    /// The size in pixels of the variant of a photo that is *shown* (after orientation) with the given width and
    /// height, both at least 1. Never below 1 × 1, and never larger than the photo unless [`enlarge`](Self::enlarge) or
    /// the fit `contain` says so. No side is longer than [`PRESET_SIDE_MAX`]: what would be in the fit `outside` keeps its
    /// aspect inside that.
    ///
    /// `Cover` and `Fill` are exactly the preset's size, or, where that would enlarge, the largest size with the preset's
    /// aspect that the photo can fill (`Fill`: each side at most the photo's). `Contain` is exactly the preset's size.
    pub fn output_size(&self, width: u32, height: u32) -> (u32, u32) {
        match self.fit {
            Fit::Contain => (self.width, self.height),
            _ => self.content_size(width, height),
        }
    }

    /// The size in pixels of the photo inside its variant: less than [`output_size`](Self::output_size) where the fit
    /// `contain` leaves a border.
    pub(crate) fn content_size(&self, width: u32, height: u32) -> (u32, u32) {
        let (box_width, box_height) = (u64::from(self.width), u64::from(self.height));
        let (w, h) = (u64::from(width), u64::from(height));
        // Compares w / box_width with h / box_height without leaving the integers.
        let wider = w * box_height >= h * box_width;
        let larger = self.enlarge;
        let by_width = |side: u64| (side, scaled(h, side, w));
        let by_height = |side: u64| (scaled(w, side, h), side);
        let wanted = match self.fit {
            Fit::Inside | Fit::Contain if !larger && w <= box_width && h <= box_height => (w, h),
            Fit::Inside | Fit::Contain if wider => by_width(box_width),
            Fit::Inside | Fit::Contain => by_height(box_height),
            Fit::Outside if !larger && (w <= box_width || h <= box_height) => (w, h),
            Fit::Outside if wider => by_height(box_height),
            Fit::Outside => by_width(box_width),
            Fit::Fill if larger => (box_width, box_height),
            Fit::Fill => (box_width.min(w), box_height.min(h)),
            Fit::Cover if larger || (w >= box_width && h >= box_height) => (box_width, box_height),
            Fit::Cover if wider => (scaled(box_width, h, box_height).min(w), h),
            Fit::Cover => (w, scaled(box_height, w, box_width).min(h)),
        };
        let side_max = u64::from(PRESET_SIDE_MAX);
        let (out_width, out_height) = match wanted {
            // A very long photo around its box: as much of it as formats can express, in its own aspect.
            (width, height) if width.max(height) <= side_max => wanted,
            _ if w >= h => by_width(side_max),
            _ => by_height(side_max),
        };
        // At most PRESET_SIDE_MAX.
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
    fn around_a_box_no_side_is_longer_than_formats_can_express() {
        let outside = |enlarge| Preset { enlarge, ..Preset::new("x", 640, 640, Fit::Outside) };
        assert_eq!(outside(false).output_size(16_383, 600), (16_383, 600));
        assert_eq!(outside(false).output_size(20_000, 600), (16_383, 491));
        assert_eq!(outside(false).output_size(600, 20_000), (491, 16_383));
        assert_eq!(outside(false).output_size(60_000, 1000), (16_383, 273));
        assert_eq!(outside(true).output_size(1000, 20), (16_383, 328));
        assert_eq!(outside(true).output_size(65_500, 1), (16_383, 1));
        assert_eq!(outside(true).output_size(1, 65_500), (1, 16_383));
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
