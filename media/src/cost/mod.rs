//! What a photo will hold in memory and take in time, known before it is decoded.

mod decoding;
mod rendering;
mod time;

use crate::{Limits, Preset, Probe, SourceFormat, Subsampling};

/// Tables, structs, small buffers: what no size below accounts for.
const SMALL_BYTES: u64 = 256 << 10;

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
    pub fn cost(&self, presets: &[Preset], limits: &Limits) -> Cost {
        let peak_bytes = self.decoding_bytes().max(self.rendering_bytes(presets, limits)) + SMALL_BYTES;
        Cost { peak_bytes, milliseconds: self.milliseconds(presets, limits) }
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
