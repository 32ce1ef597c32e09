//! How long a photo will take.
//!
//! Nanoseconds per pixel, measured with `darkroom-bench codecs` and `cost` on one core of a server of 2024 (AMD EPYC, Zen 4).

use crate::plan::{Finish, Kind, Plan, Source};
use crate::{OutputFormat, Preset, Probe, SourceFormat};

/// Resampling, per pixel of the source: planes, and packed.
const RESIZE_PLANAR: u64 = 2;
const RESIZE_PACKED: u64 = 3;

/// What every file takes, however small, in microseconds.
const FILE_MICROSECONDS: u64 = 100;

impl Probe {
    /// `moves`: whether motion is kept.
    pub(super) fn milliseconds(&self, presets: &[Preset], moves: bool) -> u64 {
        let kind = if self.has_alpha { Kind::Transparent } else { Kind::Opaque };
        let plan = Plan::new(self.shown_size(), presets, kind, moves);
        let resize = if self.planar { RESIZE_PLANAR } else { RESIZE_PACKED };
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let mut nanoseconds = self.pixels() * self.decoding_nanoseconds();
        for rung in &plan.rungs {
            nanoseconds += match rung.source {
                Source::WholePhoto => 0,
                Source::Photo => self.pixels() * resize,
                Source::Rung(from) => pixels(plan.rungs[from].shape.size()) * resize,
            };
            for output in &rung.outputs {
                nanoseconds +=
                    FILE_MICROSECONDS * 1000 + pixels(output.finish.canvas) * encoding(&output.finish);
            }
        }
        for moving in &plan.moving {
            let frame = self.pixels() * (4 + resize) + pixels(moving.output.finish.canvas) * 80;
            nanoseconds += frame * u64::from(self.frames);
        }
        nanoseconds.div_ceil(1_000_000)
    }

    const fn decoding_nanoseconds(&self) -> u64 {
        match self.format {
            SourceFormat::Jpeg if self.progressive => 13,
            SourceFormat::Jpeg => 3,
            SourceFormat::Png | SourceFormat::Tiff | SourceFormat::Gif | SourceFormat::Bmp => 6,
            // Without loss, and with.
            SourceFormat::WebP if self.subsampling.is_none() => 11,
            SourceFormat::WebP => 22,
            SourceFormat::Avif => 35,
            SourceFormat::Heic => 70,
            SourceFormat::Jxl => 80,
        }
    }
}

/// Per pixel of the file.
const fn encoding(finish: &Finish) -> u64 {
    match (finish.format, finish.effort) {
        (OutputFormat::Jpeg, _) => 5,
        (OutputFormat::WebP, 0) => 10,
        (OutputFormat::WebP, 1) => 12,
        (OutputFormat::WebP, 2) => 20,
        (OutputFormat::WebP, _) => 55,
        (OutputFormat::Png, 0..=2) => 8,
        (OutputFormat::Png, _) => 80,
        (OutputFormat::Avif, _) => 700,
    }
}
