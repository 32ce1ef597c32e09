//! What a photo will hold in memory, known before it is decoded.

use crate::encode::{encoded_bytes_max, encoding_bytes_max};
use crate::frame::{Layout, frame_bytes};
use crate::plan::{Plan, Source};
use crate::render::intermediate_bytes;
use crate::{Orientation, Preset, Probe, SourceFormat};

/// Tables, structs, small buffers: what no size below accounts for.
const SMALL_BYTES: u64 = 256 << 10;

/// What decoding and rendering a photo will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Bytes at the peak, beyond the original's own: the codec's output and its coefficients, the frames of the cascade,
    /// the resizer's intermediate picture, the encoder's buffers, and all variants. An upper bound, and for photos of
    /// the usual sizes at most half above the truth (`tests/memory.rs` measures both).
    pub peak_bytes: u64,
}

impl Probe {
    /// An upper bound of the memory that [`decode`](crate::decode()) and [`render()`](crate::render()) hold at their peak, for
    /// these presets.
    pub fn cost(&self, presets: &[Preset]) -> Cost {
        let decoding = self.decoding_bytes();
        let rendering = self.rendering_bytes(presets);
        Cost { peak_bytes: decoding.max(rendering) + SMALL_BYTES }
    }

    /// The layout of the decoded frame, in bytes per pixel at least. A palette or gray PNG with tRNS may become RGB.
    const fn layout(&self) -> Layout {
        match (self.format, self.components) {
            (SourceFormat::Jpeg, 1) => Layout::Luma,
            (SourceFormat::Jpeg, _) => Layout::YCbCr,
            // Whether one component is gray or an index into a palette of colours is not told by the probe.
            _ => Layout::Rgb,
        }
    }

    /// Held by the decoded photo. Where a codec delivers alpha, its memory is kept.
    fn photo_bytes(&self) -> u64 {
        let alpha = self.has_alpha && matches!(self.format, SourceFormat::Png | SourceFormat::WebP);
        frame_bytes(self.width, self.height, self.layout()) + if alpha { self.pixels() } else { 0 }
    }

    /// Held while the codec works.
    fn decoding_bytes(&self) -> u64 {
        let width = u64::from(self.width);
        self.photo_bytes()
            + match self.format {
                SourceFormat::Jpeg => self.jpeg_bytes(),
                SourceFormat::Png => {
                    // Rows before and after unfiltering, some of them decompressed ahead.
                    width * 8 * 12 + (512 << 10) + 3 * self.metadata_bytes
                }
                SourceFormat::WebP => self.webp_bytes(),
                SourceFormat::Gif => width * 2 + 2 * self.metadata_bytes,
            }
    }

    fn jpeg_bytes(&self) -> u64 {
        // Sides padded to the largest MCU, 32 × 32.
        let (width, height) =
            (u64::from(self.width).next_multiple_of(32), u64::from(self.height).next_multiple_of(32));
        let components = u64::from(self.components);
        let coefficients = if self.coefficients_held {
            use crate::Subsampling as S;
            // Of 16 bits each, per pixel in quarters.
            let quarters = match self.subsampling {
                None => 4,
                Some(S::S420 | S::S411) => 6,
                Some(S::S422 | S::S440) => 8,
                Some(S::S444 | S::Other) => 12,
            };
            width * height * quarters / 4 * 2
        } else {
            0
        };
        // For each component a row of MCUs as 16-bit samples, the same upsampled, and the rows in between.
        let rows = width * components * 192;
        coefficients + rows + 2 * self.metadata_bytes
    }

    fn webp_bytes(&self) -> u64 {
        let pixels = self.pixels();
        // The canvas of an animation is always RGBA, and its first frame is decoded beside it.
        let animation = if self.is_animated() { 4 * pixels + 4 * pixels } else { 0 };
        let codec = if self.subsampling.is_none() {
            // Lossless: RGBA beside the RGB of an opaque picture; block images of the transforms; entropy tables.
            (if self.has_alpha { 0 } else { 4 * pixels }) + pixels / 2 + (4 << 20)
        } else {
            // Lossy: planes of 4:2:0 padded to macroblocks, a record per macroblock, and with alpha its own lossless image.
            let planes = (u64::from(self.width) + 16) * (u64::from(self.height) + 16) * 3 / 2;
            let alpha_image = if self.has_alpha { 5 * pixels + pixels / 2 + (4 << 20) } else { 0 };
            // Partitions are copied, and grow while they are read.
            planes + pixels / 4 + alpha_image + 3 * self.bytes
        };
        animation + codec
    }

    /// Held while the cascade goes down, at the worst of its rungs.
    fn rendering_bytes(&self, presets: &[Preset]) -> u64 {
        let layout = self.layout();
        let plan = Plan::new(self.shown_size(), presets);
        let frame = |(width, height): (u32, u32)| frame_bytes(width, height, layout);
        let mut photo = self.photo_bytes();
        let mut frames = vec![0; plan.rungs.len()];
        let (mut outputs, mut intermediate, mut peak) = (0, 0, photo);
        for (index, rung) in plan.rungs.iter().enumerate() {
            let out = (rung.width, rung.height);
            let (source, target, turning) = match rung.source {
                Source::Rung(from) => ((plan.rungs[from].width, plan.rungs[from].height), out, false),
                Source::Photo | Source::WholePhoto => {
                    let turning = self.orientation != Orientation::Upright;
                    ((self.width, self.height), self.orientation.turn(out), turning)
                }
            };
            let held = photo + frames.iter().sum::<u64>() + outputs;
            frames[index] = frame(out);
            if rung.source == Source::WholePhoto {
                if turning {
                    peak = peak.max(held + frame(out));
                } else {
                    // The decoded photo becomes this frame.
                    frames[index] = photo;
                }
                photo = 0;
            } else {
                intermediate = intermediate.max(intermediate_bytes(source, target, layout));
                let weights = weights_bytes(source.0, target.0) + weights_bytes(source.1, target.1);
                peak = peak.max(held + frame(out) + intermediate + weights);
                if plan.photo_last_use == index {
                    photo = 0;
                }
                if turning {
                    let turned = frame(out);
                    peak = peak.max(photo + frames.iter().sum::<u64>() + turned + outputs + intermediate);
                }
            }
            if let Source::Rung(from) = rung.source
                && plan.rungs[from].last_use <= index
            {
                frames[from] = 0;
            }
            for output in &rung.outputs {
                let held = photo + frames.iter().sum::<u64>() + outputs + intermediate;
                peak = peak.max(held + encoding_bytes_max(rung.width, rung.height, output.quality));
                let file = encoded_bytes_max(rung.width, rung.height, output.quality);
                outputs += file * output.presets.len() as u64;
                peak = peak.max(held + file * output.presets.len() as u64);
            }
            if rung.last_use <= index {
                frames[index] = 0;
            }
        }
        peak
    }
}

/// The resizer's weights along one axis: for each output pixel a window of them as `f64`, again as integers, and two
/// records of where they begin.
fn weights_bytes(from: u32, to: u32) -> u64 {
    let scale = (f64::from(from) / f64::from(to)).max(1.0);
    let window = (3.0 * scale).ceil() as u64 * 2 + 1;
    u64::from(to) * (window * (8 + 4) + 64)
}

impl crate::Limits {
    /// What the most expensive ordinary photo holds that these limits allow: a square, progressive JPEG whose chroma is
    /// not subsampled, of the greatest number of pixels. A budget for pixels must hold it. Rarer kinds (an animated
    /// WebP of that size) cost more still, and are compared with the budget one by one.
    pub fn largest_cost(&self, presets: &[Preset]) -> Cost {
        let side = u32::try_from(self.pixels_max.isqrt()).unwrap_or(u32::MAX);
        let (width, height) = (side.min(self.width_max).max(1), side.min(self.height_max).max(1));
        let probe = Probe {
            format: SourceFormat::Jpeg,
            width,
            height,
            orientation: Orientation::Upright,
            components: 3,
            bit_depth: 8,
            has_alpha: false,
            progressive: true,
            subsampling: Some(crate::Subsampling::S444),
            coefficients_held: true,
            frames: 1,
            metadata_bytes: 0,
            image_bytes: 0,
            bytes: 0,
        };
        probe.cost(presets)
    }
}
