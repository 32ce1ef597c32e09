//! What a photo will hold in memory and take in time, known before it is decoded.

mod decoding;
mod rendering;
mod time;

use crate::{Limits, Preset, Probe, SourceFormat, Subsampling};

/// Tables, structs, small buffers, and what the allocator rounds up: what no size below accounts for.
const SMALL_BYTES: u64 = 1 << 20;

/// Deflate makes at most so much of a byte (RFC 1951: 258 bytes of two bits, in the longest runs).
const DEFLATE_RATIO_MAX: u64 = 1032;

/// What decoding and rendering a photo will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Bytes at the peak, beyond the original's own: the codec's output and its coefficients, the frames of the cascade,
    /// the resizer's intermediate picture, the encoder's buffers, and all variants. An upper bound, and for photos of
    /// the usual sizes at most half above the truth (`tests/memory.rs` measures both).
    pub peak_bytes: u64,
    /// Milliseconds of one core, as a modern server's: for what to expect, not a bound. `darkroom-bench cost` compares
    /// both with the truth.
    pub milliseconds: u64,
}

impl Probe {
    /// What [`decode`](crate::decode()) and [`render()`](crate::render()) will take, for these presets and limits.
    ///
    /// With its motion if it [`moves`](Self::moves).
    pub fn cost(&self, presets: &[Preset], limits: &Limits) -> Cost {
        let moves = self.moves(presets, limits);
        Cost {
            peak_bytes: self.peak_bytes(presets, moves, limits),
            milliseconds: self.milliseconds(presets, moves),
        }
    }

    /// Whether its motion is to be kept ([`DecodedPhoto::with_motion`](crate::DecodedPhoto::with_motion)): it has some, a
    /// preset asks for it, and the limits allow it, that of memory included. Its cost is reckoned with motion exactly then.
    pub fn moves(&self, presets: &[Preset], limits: &Limits) -> bool {
        self.can_move(limits)
            && presets.iter().any(|preset| preset.animated)
            && self.peak_bytes(presets, true, limits) <= limits.motion_bytes_max
    }

    fn peak_bytes(&self, presets: &[Preset], moves: bool, limits: &Limits) -> u64 {
        // An old record of a JPEG in YCbCr (or RGB) does not say whether it stays in planes: what is dearer counts.
        if self.format == SourceFormat::Jpeg && self.components == 3 && !self.planar {
            let planar = Self { planar: true, ..self.clone() };
            return self.held_bytes(presets, moves, limits).max(planar.held_bytes(presets, moves, limits));
        }
        self.held_bytes(presets, moves, limits)
    }

    fn held_bytes(&self, presets: &[Preset], moves: bool, limits: &Limits) -> u64 {
        // EXIF goes along to the variants.
        let rendering = self.rendering_bytes(presets, moves) + self.metadata_bytes;
        self.decoding_bytes().max(rendering) + self.profile_bytes(limits) + SMALL_BYTES
    }

    /// An RGB profile as it is unpacked, kept, and parsed. Which part of the metadata it is the probe does not say.
    fn profile_bytes(&self, limits: &Limits) -> u64 {
        let unpacked = match self.format {
            _ if !self.has_profile => 0,
            SourceFormat::Png => self.metadata_bytes.saturating_mul(DEFLATE_RATIO_MAX),
            _ => self.metadata_bytes,
        };
        3 * unpacked.min(limits.icc_bytes_max.into())
    }
}

impl Limits {
    /// What the most expensive ordinary photo takes that these limits allow: a square, progressive JPEG whose chroma is
    /// not subsampled, of the greatest number of pixels. A budget for pixels must hold it. Rarer kinds (an animated
    /// WebP of that size) cost more still, and are compared with the budget one by one.
    pub fn largest_cost(&self, presets: &[Preset]) -> Cost {
        let side = u32::try_from(self.pixels_max.isqrt()).unwrap_or(u32::MAX);
        let (width, height) = (side.min(self.width_max).max(1), side.min(self.height_max).max(1));
        let probe = Probe {
            progressive: true,
            planar: true,
            subsampling: Some(Subsampling::S444),
            coefficients_held: true,
            ..Probe::plain(SourceFormat::Jpeg, (width, height), 0)
        };
        probe.cost(presets, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fit, PresetFormat};

    /// Records as they were written when they had neither `palette` nor `planar` nor `has_profile`, and what is known of
    /// such photos today: each as dear as it may be.
    fn old_records() -> Vec<(Probe, Probe)> {
        let record = |format: &str, components: u8, has_alpha: bool, subsampling: &str| {
            let json = format!(
                r#"{{"format": "{format}", "width": 1200, "height": 900, "orientation": 6, "components": {components},
                "bit_depth": 8, "has_alpha": {has_alpha}, "progressive": false, "subsampling": {subsampling},
                "coefficients_held": false, "frames": 1, "metadata_bytes": 200, "image_bytes": 300000,
                "bytes": 300000}}"#
            );
            serde_json::from_str::<Probe>(&json).unwrap()
        };
        let mut pairs = Vec::new();
        for subsampling in ["\"4:2:0\"", "\"4:4:4\""] {
            let old = record("jpeg", 3, false, subsampling);
            for planar in [false, true] {
                pairs.push((old.clone(), Probe { planar, has_profile: true, ..old.clone() }));
            }
        }
        let gray = record("jpeg", 1, false, "null");
        pairs.push((gray.clone(), Probe { palette: false, has_profile: true, ..gray }));
        for has_alpha in [false, true] {
            let old = record("png", 1, has_alpha, "null");
            for palette in [false, true] {
                pairs.push((old.clone(), Probe { palette, has_profile: true, ..old.clone() }));
            }
        }
        pairs
    }

    #[test]
    fn an_old_record_is_priced_no_lower_than_the_photo_may_cost() {
        let limits = Limits::default();
        let ladder = Preset::default_ladder();
        let linear = Preset { linear: true, ..Preset::new("linear", 800, 800, Fit::Inside) };
        let auto = Preset { format: PresetFormat::Auto, ..Preset::new("auto", 800, 800, Fit::Cover) };
        let png = Preset { format: PresetFormat::Png, ..Preset::new("png", 1200, 1200, Fit::Inside) };
        for presets in
            [ladder, vec![linear.clone()], vec![auto.clone()], vec![png.clone(), linear, auto], vec![png]]
        {
            for (old, known) in old_records() {
                let (priced, may) = (old.cost(&presets, &limits), known.cost(&presets, &limits));
                assert!(
                    priced.peak_bytes >= may.peak_bytes,
                    "{priced:?} for {may:?}: {known:?} in {presets:?}"
                );
                assert_eq!(
                    old.decoding_bytes().max(known.decoding_bytes()),
                    old.decoding_bytes(),
                    "{known:?}"
                );
            }
        }
    }
}
