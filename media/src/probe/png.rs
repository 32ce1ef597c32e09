//! Walking a PNG (ISO/IEC 15948, section 5): chunks by their lengths, up to IEND.
//!
//! Checksums are not verified here: the decoder does, and damage then fails the photo with a reason.

use super::step::{Seen, Step, Structure};
use super::{Exif, Probe, check_size};
use crate::{MediaError, SourceFormat};

/// The signature was compared by the sniffer.
const SIGNATURE_BYTES: u64 = 8;
/// Length and type before a chunk's data.
const CHUNK_HEADER_BYTES: usize = 8;
/// The checksum after a chunk's data.
const CHECKSUM_BYTES: u64 = 4;
/// Length of IHDR's data.
const HEADER_BYTES: usize = 13;
/// Chunk lengths fit into 31 bits (section 5.3).
const CHUNK_BYTES_MAX: u32 = i32::MAX as u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    ChunkHeader,
    Header,
    AnimationControl(u32),
    Exif,
    /// The checksum of IEND.
    LastChecksum,
}

/// The facts of IHDR (section 11.2.1).
#[derive(Debug, Clone)]
struct Header {
    width: u32,
    height: u32,
    components: u8,
    bit_depth: u8,
    alpha_channel: bool,
    interlaced: bool,
    palette: bool,
}

#[derive(Debug, Default)]
pub(super) struct Png {
    header: Option<Header>,
    exif: Exif,
    transparency: bool,
    /// As the file announces, if it is animated.
    frames: Option<u32>,
    pixels_seen: bool,
    metadata_bytes: u64,
    has_profile: bool,
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Png, detail)
}

impl Header {
    fn read(seen: &Seen<'_>) -> Result<Self, MediaError> {
        let (width, height) = (seen.u32_be(0), seen.u32_be(4));
        check_size(SourceFormat::Png, width, height, seen.limits)?;
        let [bit_depth, color_type, compression, filter, interlace] =
            [8, 9, 10, 11, 12].map(|at| seen.bytes[at]);
        // Table 11.1: which bit depths go with which colour type.
        let (components, alpha_channel) = match (color_type, bit_depth) {
            (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => (1, false),
            (2, 8 | 16) => (3, false),
            (4, 8 | 16) => (1, true),
            (6, 8 | 16) => (3, true),
            _ => {
                let detail = format!("colour type {color_type} with {bit_depth} bits does not exist");
                return Err(corrupt(detail));
            }
        };
        if compression != 0 || filter != 0 || interlace > 1 {
            return Err(corrupt("its header names an unknown compression, filter or interlace method"));
        }
        let (interlaced, palette) = (interlace == 1, color_type == 3);
        Ok(Self { width, height, components, bit_depth, alpha_channel, interlaced, palette })
    }
}

/// Skips the rest of a chunk, then collects the next header.
const fn next_chunk(skipped: u64) -> Step<At> {
    Step::Collect { skipped, at: At::ChunkHeader, bytes: CHUNK_HEADER_BYTES }
}

impl Structure for Png {
    type At = At;

    fn begin(&self) -> Step<At> {
        next_chunk(SIGNATURE_BYTES)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match at {
            At::ChunkHeader => return self.chunk(seen),
            At::Header => self.header = Some(Header::read(seen)?),
            At::AnimationControl(length) => {
                self.frames = Some(seen.u32_be(0).max(1));
                return Ok(next_chunk(u64::from(length) - 4 + CHECKSUM_BYTES));
            }
            At::Exif => self.exif.read(seen.bytes),
            At::LastChecksum => return Ok(Step::End),
        }
        Ok(next_chunk(CHECKSUM_BYTES))
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::Png
    }

    fn size_known(&self) -> bool {
        self.header.is_some()
    }

    fn finish(self, at: Option<At>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
        let what = if self.pixels_seen { "the pixel data or what follows it" } else { "its header" };
        let (None, Some(header)) = (at, self.header) else {
            return Err(MediaError::Truncated { format: SourceFormat::Png, what });
        };
        Ok(Probe {
            orientation: self.exif.orientation.unwrap_or_default(),
            capture: self.exif.capture,
            components: header.components,
            bit_depth: header.bit_depth,
            palette: header.palette,
            has_profile: self.has_profile,
            has_alpha: header.alpha_channel || self.transparency,
            progressive: header.interlaced,
            frames: self.frames.unwrap_or(1),
            metadata_bytes: self.metadata_bytes,
            image_bytes: seen.position,
            ..Probe::plain(SourceFormat::Png, (header.width, header.height), bytes)
        })
    }
}

const fn is_palette(bytes: u32) -> bool {
    bytes.is_multiple_of(3) && 3 <= bytes && bytes <= 3 * 256
}

impl Png {
    fn chunk(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let length = seen.u32_be(0);
        let kind = [4, 5, 6, 7].map(|at| seen.bytes[at]);
        if length > CHUNK_BYTES_MAX || !kind.iter().all(u8::is_ascii_alphabetic) {
            let at = seen.position;
            return Err(corrupt(format!("no chunk can begin before byte {at}")));
        }
        let behind = u64::from(length) + CHECKSUM_BYTES;
        match (&kind, &self.header) {
            (b"IHDR", None) if length as usize == HEADER_BYTES => {
                return Ok(Step::collect(At::Header, HEADER_BYTES));
            }
            (b"IHDR", _) => return Err(corrupt("its header chunk is of the wrong length or repeated")),
            (_, None) => return Err(corrupt("its first chunk is not the header")),
            (b"IEND", _) if !self.pixels_seen => return Err(corrupt("it has no pixel data")),
            (b"IEND", _) => return Ok(Step::Collect { skipped: behind, at: At::LastChecksum, bytes: 0 }),
            (b"eXIf", _) if length > 0 => {
                seen.limits.check_metadata(u64::from(length))?;
                self.metadata_bytes += u64::from(length);
                return Ok(Step::collect(At::Exif, length as usize));
            }
            (b"acTL", _) if length >= 4 => return Ok(Step::collect(At::AnimationControl(length), 4)),
            (b"IDAT", _) => self.pixels_seen = true,
            (b"tRNS", _) => self.transparency = true,
            (b"iCCP" | b"cICP", _) => {
                self.has_profile = true;
                self.metadata_bytes += u64::from(length);
            }
            // The decoder relies on whole colours (PNG, section 11.2.2).
            (b"PLTE", Some(header)) if header.palette && !is_palette(length) => {
                return Err(corrupt(format!(
                    "its palette has {length} bytes, which are not 1 to 256 colours"
                )));
            }
            _ => {}
        }
        Ok(next_chunk(behind))
    }
}
