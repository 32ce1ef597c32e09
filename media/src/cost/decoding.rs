//! What a codec holds while it works.

use crate::color::inks_bytes;
use crate::decode::{bmp_bytes, tiff_bytes};
use crate::frame::{Layout, frame_bytes};
use crate::{Probe, SourceFormat, Subsampling};

impl Probe {
    /// The layout of the decoded frame, where it is packed: the one of most bytes that it may have.
    pub(super) const fn layout(&self) -> Layout {
        match (self.format, self.components, self.palette, self.has_alpha) {
            (_, _, _, true) => Layout::Rgba,
            (_, 1, false, false) => Layout::Luma,
            _ => Layout::Rgb,
        }
    }

    /// Chroma samples in both planes together, per luma sample, in quarters.
    const fn chroma_quarters(&self) -> u64 {
        match self.subsampling {
            None => 0,
            Some(Subsampling::S420 | Subsampling::S411) => 2,
            Some(Subsampling::S422 | Subsampling::S440) => 4,
            Some(Subsampling::S444 | Subsampling::Other) => 8,
        }
    }

    /// Held by the decoded photo. Where a codec delivers alpha, its memory is kept.
    pub(super) fn photo_bytes(&self) -> u64 {
        // Sides rounded up to whole chroma samples.
        let rounding = 4 * (u64::from(self.width) + u64::from(self.height)) + 16;
        if self.planar {
            return self.pixels() + self.pixels() * self.chroma_quarters() / 4 + rounding;
        }
        // The canvas of a GIF is made for alpha, and keeps that memory.
        let layout = if self.format == SourceFormat::Gif { Layout::Rgba } else { self.layout() };
        // A JPEG in an old record does not say whether it is in planes.
        let rounding = if self.format == SourceFormat::Jpeg { rounding } else { 0 };
        frame_bytes(self.width, self.height, layout) + rounding
    }

    /// Held while the codec works.
    pub(super) fn decoding_bytes(&self) -> u64 {
        let width = u64::from(self.width);
        self.photo_bytes()
            + match self.format {
                SourceFormat::Jpeg => self.jpeg_bytes(),
                SourceFormat::Png => self.png_bytes(),
                SourceFormat::WebP => self.webp_bytes(),
                SourceFormat::Gif => width * 2 + 2 * self.metadata_bytes,
                SourceFormat::Tiff => tiff_bytes(self),
                SourceFormat::Bmp => bmp_bytes(self),
                SourceFormat::Avif => self.avif_bytes(),
                #[cfg(feature = "heic")]
                SourceFormat::Heic => self.heic_bytes(),
                #[cfg(feature = "jxl")]
                SourceFormat::Jxl => self.jxl_bytes(),
                // What this build does not decode.
                #[cfg(not(all(feature = "heic", feature = "jxl")))]
                _ => 0,
            }
    }

    fn jpeg_bytes(&self) -> u64 {
        // Sides padded to the largest MCU, 32 × 32.
        let (width, height) =
            (u64::from(self.width).next_multiple_of(32), u64::from(self.height).next_multiple_of(32));
        let components = u64::from(self.components);
        let samples = match self.subsampling {
            None => width * height * components,
            Some(_) => width * height * (4 + self.chroma_quarters()) / 4,
        };
        // Of 16 bits each, and while they are put in order, once more.
        let coefficients = if self.coefficients_held { samples * 4 } else { 0 };
        // What is no YCbCr is brought to full size and interleaved: components as stored, and the frame.
        let conversion = if self.planar || self.components == 1 { 0 } else { 2 * self.pixels() * components };
        // For each component a row of MCUs as 16-bit samples, and the same as bytes.
        let rows = width * components * 96;
        // Which of its metadata is the profile, the probe does not say.
        let inks = if components == 4 && self.has_profile { inks_bytes(self.metadata_bytes) } else { 0 };
        coefficients + conversion + rows + 2 * self.metadata_bytes + inks
    }

    fn png_bytes(&self) -> u64 {
        let width = u64::from(self.width);
        // Channels of a pixel while it is decoded: gray with alpha is expanded afterwards (a palette is at once, but
        // records exist that do not tell one from the other).
        let channels = self.layout().bytes() as u64;
        let expanded = if self.has_alpha && self.components == 1 { 2 * self.pixels() } else { 0 };
        // Passes of 16 bits are held whole.
        let whole = if self.progressive && self.bit_depth == 16 { 2 * channels * self.pixels() } else { 0 };
        // Rows before and after unfiltering, some of them decompressed ahead.
        width * 8 * 12 + (512 << 10) + 3 * self.metadata_bytes + expanded + whole
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
}
