//! TIFF: the first directory, strips and tiles of whatever the directory says, row by row into the frame.
//!
//! The container is read here and the compressions by the crates that read them for other formats (weezl for GIF, flate2
//! for PNG, zune-jpeg). The tiff crate (0.11) reads neither palettes nor 12 bits, ignores the order of bits, and allocates
//! whole strips, a JPEG strip even by what the strip claims: a photo in one strip of 16 bits would be held three times.
//! Here nothing but a few rows is held beside the frame, except of JPEG, which comes out as a whole.

mod chunk;
mod paint;
mod samples;

use std::io::ErrorKind;

use super::deadline::{Deadline, Watch};
use super::{Decoded, check_same_size};
use crate::color::{Color, Reducer, inks_bytes};
use crate::directory::{
    Compression, Directory, Grid, Kind, Photometric, TILE_SIDE, corrupt, tag, unsupported,
};
use crate::frame::{Frame, Layout};
use crate::{Limits, MediaError, Probe, SourceFormat};
use chunk::Chunk;
use paint::Painter;
use samples::Samples;

/// Greatest number of times that the whole file may be decompressed. Strips and tiles may share bytes, so that a small file
/// could keep a processor busy for hours.
const PASSES_MAX: u64 = 4;
/// Greatest number of planes that are read side by side: CMYK; RGB and its alpha.
const PLANES_MAX: u64 = 4;
/// State of the decompressor of one plane.
const CODEC_BYTES: u64 = 128 << 10;
/// Tables, and rows of units of a JPEG.
const JPEG_BYTES: u64 = 1 << 20;

/// Held while a TIFF is decoded, beside its frame.
pub(crate) fn tiff_bytes(probe: &Probe) -> u64 {
    let (width, height) = (u64::from(probe.width), u64::from(probe.height));
    let (padded_width, padded_height) =
        (width.next_multiple_of(TILE_SIDE), height.next_multiple_of(TILE_SIDE));
    // Of at most 8 samples of 8 bytes: a row as stored, and once more while a predictor is undone; then four samples of 16
    // bits, four channels of 16 bits, and four of 8.
    let rows = padded_width * (64 + 64) + width * (8 + 8 + 4);
    let jpeg = if probe.coefficients_held {
        // Each plane as a whole, in the size of its strip or tile, with its source; and rows of coefficients and samples.
        PLANES_MAX * padded_width * padded_height + padded_width * PLANES_MAX * 192 + probe.bytes + JPEG_BYTES
    } else {
        0
    };
    let inks = if probe.components == 4 { inks_bytes(probe.metadata_bytes) } else { 0 };
    rows + jpeg + PLANES_MAX * CODEC_BYTES + probe.metadata_bytes + inks
}

/// Looks at the clock before every strip and tile, now and then between their rows, and while compressed bytes are read.
pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    let directory = Directory::read(original)?;
    let kind = Kind::of(&directory, limits)?;
    check_same_size(probe, kind.width.into(), kind.height.into())?;
    let samples = Samples::of(&directory, &kind, original)?;
    let grid = Grid::of(&directory, &kind)?;
    let stored = color(&directory, original, limits);
    let painter = Painter::of(&directory, &kind, &samples, original, &stored)?;
    let color = painted(stored, &kind);
    let layout = match (kind.photometric, kind.alpha) {
        (_, Some(_)) => Layout::Rgba,
        (Photometric::WhiteIsZero | Photometric::BlackIsZero, None) => Layout::Luma,
        (_, None) => Layout::Rgb,
    };
    let (reducer, color) = if samples.deep() {
        Reducer::new(color, layout.bytes())
    } else {
        (Reducer::new(Color::Srgb, 1).0, color)
    };
    let frame = Frame::zeroed(kind.width, kind.height, layout);
    let mut picture = Picture {
        original,
        directory: &directory,
        kind,
        grid,
        samples,
        painter,
        reducer,
        frame,
        read: 0,
        deadline,
        watch: deadline.watch(),
    };
    picture.read()?;
    Ok(Decoded::whole(picture.frame, color))
}

/// What the numbers of the file mean.
fn color(directory: &Directory, original: &[u8], limits: &Limits) -> Color {
    let profile = directory.find(tag::PROFILE).filter(|_| directory.profile_bytes() > 0);
    let profile = profile.and_then(|entry| entry.block(directory.shape, original));
    profile.map_or(Color::Srgb, |profile| Color::of_profile(profile, limits))
}

/// What the numbers mean once they are painted.
fn painted(color: Color, kind: &Kind) -> Color {
    match kind.photometric {
        // Converted on the way, inks by their profile.
        Photometric::Cmyk | Photometric::CieLab | Photometric::IccLab => Color::Srgb,
        Photometric::WhiteIsZero | Photometric::BlackIsZero if kind.alpha.is_some() => {
            color.of_expanded_gray()
        }
        _ => color,
    }
}

/// A picture that is being read.
struct Picture<'a> {
    original: &'a [u8],
    directory: &'a Directory,
    kind: Kind,
    grid: Grid,
    samples: Samples,
    painter: Painter,
    reducer: Reducer,
    frame: Frame,
    /// Compressed bytes that were read, those that were read twice counted twice.
    read: u64,
    deadline: &'a Deadline,
    watch: Watch,
}

impl<'a> Picture<'a> {
    fn read(&mut self) -> Result<(), MediaError> {
        for down in 0..self.grid.down {
            for across in 0..self.grid.across {
                self.chunk(across, down)?;
            }
        }
        Ok(())
    }

    /// Samples that are read of each pixel: its colour, and its alpha behind it.
    fn used(&self) -> u64 {
        self.kind.photometric.channels() + u64::from(self.kind.alpha.is_some())
    }

    /// One strip or tile, in as many planes as there are.
    fn chunk(&mut self, across: u64, down: u64) -> Result<(), MediaError> {
        self.deadline.check()?;
        let (left, top) = (across * self.grid.chunk_width, down * self.grid.chunk_height);
        let width = self.grid.chunk_width.min(u64::from(self.kind.width) - left) as usize;
        let height = self.grid.chunk_height.min(u64::from(self.kind.height) - top);
        let mut planes = Vec::new();
        for plane in 0..if self.kind.planar { self.used() } else { 1 } {
            let index = (plane * self.grid.down + down) * self.grid.across + across;
            planes.push(self.open(index, width as u64, height)?);
        }
        let (used, stored) = (self.used() as usize, if self.kind.planar { 1 } else { self.kind.samples });
        let mut raw = vec![0; self.samples.row_bytes(self.grid.chunk_width * stored)];
        let mut row = vec![0; width * used];
        let mut pixels = vec![0; width * self.frame.layout.bytes()];
        for y in top..top + height {
            self.watch.took(raw.len())?;
            for (plane, chunk) in planes.iter_mut().enumerate() {
                self.fill(chunk, &mut raw, y)?;
                self.samples.unpack(&mut raw, stored as usize, &mut row[plane..], used);
            }
            self.painter.paint(&mut row, &mut pixels);
            self.lay(&pixels, left, y);
        }
        for chunk in &planes {
            self.read += chunk.read();
        }
        if self.read > PASSES_MAX * self.original.len() as u64 {
            return Err(corrupt("its strips or tiles overlap"));
        }
        Ok(())
    }

    fn open(&self, index: u64, width: u64, height: u64) -> Result<Chunk<'a>, MediaError> {
        let truncated = || MediaError::Truncated { format: SourceFormat::Tiff, what: "the pixel data" };
        let shape = self.directory.shape;
        let offset = self.grid.offsets.value(shape, self.original, index).ok_or_else(truncated)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| self.original.get(offset..));
        let rest = rest.filter(|rest| !rest.is_empty()).ok_or_else(truncated)?;
        // Some writers leave the length out, or claim more than there is: then it shows while it is read.
        let count = self.grid.counts.and_then(|counts| counts.value(shape, self.original, index));
        let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        let bytes = count.and_then(|count| rest.get(..count)).unwrap_or(rest);
        match self.kind.compression {
            Compression::Jpeg => {
                let tables = self.directory.find(tag::JPEG_TABLES);
                let tables = tables.and_then(|entry| entry.block(shape, self.original)).unwrap_or_default();
                let components = if self.kind.planar { 1 } else { self.kind.samples };
                Chunk::jpeg(
                    bytes,
                    tables,
                    components,
                    (width, height),
                    (self.grid.chunk_width, self.grid.chunk_height),
                    self.deadline,
                )
            }
            // Before TIFF 6.0 codes began with the least significant bit: the first, which clears the table, then shows.
            Compression::Lzw if matches!(bytes, [0, second, ..] if second & 1 == 1) => {
                Err(unsupported("compressed with the LZW of before 1992"))
            }
            compression => Ok(Chunk::new(compression, bytes, self.deadline)),
        }
    }

    fn fill(&self, chunk: &mut Chunk, raw: &mut [u8], y: u64) -> Result<(), MediaError> {
        let height = self.kind.height;
        chunk.fill(raw).map_err(|error| {
            self.deadline.or(match error.kind() {
                ErrorKind::UnexpectedEof => corrupt(format!("its pixel data ends in row {y} of {height}")),
                _ => corrupt(format!("its pixel data cannot be read in row {y} of {height}: {error}")),
            })
        })?;
        if self.kind.bits_reversed {
            for byte in raw {
                *byte = byte.reverse_bits();
            }
        }
        Ok(())
    }

    /// Lays a part of a row into the frame.
    fn lay(&mut self, pixels: &[u16], left: u64, y: u64) {
        let channels = self.frame.layout.bytes();
        let at = (y as usize * self.kind.width as usize + left as usize) * channels;
        let line = &mut self.frame.data[at..at + pixels.len()];
        if self.samples.deep() {
            self.reducer.reduce(pixels, line);
        } else {
            for (to, from) in line.iter_mut().zip(pixels) {
                // Samples that are not deep are at most 255.
                *to = *from as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests;
