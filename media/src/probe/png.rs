//! Walking a PNG (ISO/IEC 15948, section 5): chunks by their lengths, up to IEND.
//!
//! Checksums are not verified here: the decoder does, and damage then fails the photo with a reason.

use super::step::Step;
use super::{Exif, Probe, check_size};
use crate::{Limits, MediaError, SourceFormat};

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
enum At {
    ChunkHeader,
    Header,
    AnimationControl(u32),
    Exif,
    /// The checksum of IEND.
    LastChecksum,
    End,
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

#[derive(Debug)]
pub(super) struct Walker {
    at: At,
    step: Step,
    position: u64,
    header: Option<Header>,
    exif: Exif,
    transparency: bool,
    frames: u32,
    pixels_seen: bool,
    metadata_bytes: u64,
    has_profile: bool,
}

impl Default for Walker {
    fn default() -> Self {
        let mut step = Step::default();
        step.skip(SIGNATURE_BYTES);
        step.collect(CHUNK_HEADER_BYTES);
        Self {
            at: At::ChunkHeader,
            step,
            position: 0,
            header: None,
            exif: Exif::default(),
            transparency: false,
            frames: 1,
            pixels_seen: false,
            metadata_bytes: 0,
            has_profile: false,
        }
    }
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Png, detail)
}

impl Walker {
    pub(super) const fn size_known(&self) -> bool {
        self.header.is_some()
    }

    pub(super) fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
        let mut rest = piece;
        while !rest.is_empty() && self.at != At::End {
            let before = rest.len();
            let complete = self.step.take(&mut rest);
            self.position += (before - rest.len()) as u64;
            if complete {
                self.collected(limits)?;
            }
        }
        Ok(())
    }

    fn collected(&mut self, limits: &Limits) -> Result<(), MediaError> {
        match self.at {
            At::ChunkHeader => self.chunk(limits)?,
            At::Header => {
                self.header = Some(self.read_header(limits)?);
                self.next_chunk(CHECKSUM_BYTES);
            }
            At::AnimationControl(length) => {
                self.frames = self.step.u32_be(0).max(1);
                self.next_chunk(u64::from(length) - 4 + CHECKSUM_BYTES);
            }
            At::Exif => {
                self.exif.read(self.step.bytes());
                self.next_chunk(CHECKSUM_BYTES);
            }
            At::LastChecksum | At::End => self.at = At::End,
        }
        Ok(())
    }

    fn chunk(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let length = self.step.u32_be(0);
        let kind = [4, 5, 6, 7].map(|at| self.step.bytes()[at]);
        if length > CHUNK_BYTES_MAX || !kind.iter().all(u8::is_ascii_alphabetic) {
            let at = self.position;
            return Err(corrupt(format!("no chunk can begin before byte {at}")));
        }
        match (&kind, &self.header) {
            (b"IHDR", None) if length as usize == HEADER_BYTES => {
                self.at = At::Header;
                self.step.collect(HEADER_BYTES);
                return Ok(());
            }
            (b"IHDR", _) => return Err(corrupt("its header chunk is of the wrong length or repeated")),
            (_, None) => return Err(corrupt("its first chunk is not the header")),
            (b"IEND", _) if !self.pixels_seen => return Err(corrupt("it has no pixel data")),
            (b"IEND", _) => {
                self.at = At::LastChecksum;
                self.step.collect(0);
                self.step.skip(u64::from(length) + CHECKSUM_BYTES);
                return Ok(());
            }
            (b"eXIf", _) if length > 0 => {
                limits.check_metadata(u64::from(length))?;
                self.metadata_bytes += u64::from(length);
                self.at = At::Exif;
                self.step.collect(length as usize);
                return Ok(());
            }
            (b"acTL", _) if length >= 4 => {
                self.at = At::AnimationControl(length);
                self.step.collect(4);
                return Ok(());
            }
            (b"IDAT", _) => self.pixels_seen = true,
            (b"tRNS", _) => self.transparency = true,
            (b"iCCP" | b"cICP", _) => self.has_profile = true,
            _ => {}
        }
        self.next_chunk(u64::from(length) + CHECKSUM_BYTES);
        Ok(())
    }

    /// Skips the rest of this chunk, then collects the next header.
    fn next_chunk(&mut self, skipped: u64) {
        self.at = At::ChunkHeader;
        self.step.skip(skipped);
        self.step.collect(CHUNK_HEADER_BYTES);
    }

    fn read_header(&self, limits: &Limits) -> Result<Header, MediaError> {
        let (width, height) = (self.step.u32_be(0), self.step.u32_be(4));
        check_size(SourceFormat::Png, width, height, limits)?;
        let [bit_depth, color_type, compression, filter, interlace] =
            [8, 9, 10, 11, 12].map(|at| self.step.bytes()[at]);
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
        Ok(Header { width, height, components, bit_depth, alpha_channel, interlaced, palette })
    }

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let what = if self.pixels_seen { "the pixel data or what follows it" } else { "its header" };
        let (At::End, Some(header)) = (self.at, self.header) else {
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
            frames: self.frames,
            metadata_bytes: self.metadata_bytes,
            image_bytes: self.position,
            ..Probe::plain(SourceFormat::Png, (header.width, header.height), bytes)
        })
    }
}
