//! Walking a WebP (RFC 9649): RIFF chunks by their lengths, up to the size that the RIFF header announces.
//!
//! The size stands in up to three places: the canvas (VP8X), the frame (ANMF) and the bitstream (VP8, VP8L). The
//! decoder allocates by the innermost before it compares, so a file in which they differ is refused here.

use super::step::Step;
use super::{Exif, Probe, Subsampling, check_size};
use crate::{Limits, MediaError, SourceFormat};

const RIFF_HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;
/// VP8X without its chunk header (section 2.7).
const EXTENDED_BYTES: usize = 10;
/// ANMF up to its first sub-chunk (section 2.7.1.1).
const FRAME_HEADER_BYTES: usize = 16;
/// Frame tag, start code and size of a VP8 key frame (RFC 6386, section 9.1).
const LOSSY_BYTES: usize = 10;
/// Signature, size, alpha and version of VP8L (section 3.4).
const LOSSLESS_BYTES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    RiffHeader,
    ChunkHeader,
    Extended,
    AnimationFrame,
    /// The header of a chunk inside the first animation frame.
    SubChunkHeader,
    Lossy,
    Lossless,
    Exif,
    /// The last chunk's data is being skipped.
    LastBody,
    End,
}

#[derive(Debug)]
pub(super) struct Walker {
    at: At,
    step: Step,
    position: u64,
    /// Where the RIFF header says that the file ends.
    end: u64,
    /// Where the chunk that is being read ends, its padding byte included.
    chunk_end: u64,
    canvas: Option<(u32, u32)>,
    /// The size that the next bitstream must have.
    expected: Option<(u32, u32)>,
    extended: bool,
    has_alpha: bool,
    animated: bool,
    frames: u32,
    lossless: Option<bool>,
    exif: Exif,
    has_profile: bool,
}

impl Default for Walker {
    fn default() -> Self {
        let mut step = Step::default();
        step.collect(RIFF_HEADER_BYTES);
        Self {
            at: At::RiffHeader,
            step,
            position: 0,
            end: 0,
            chunk_end: 0,
            canvas: None,
            expected: None,
            extended: false,
            has_alpha: false,
            animated: false,
            frames: 0,
            lossless: None,
            exif: Exif::default(),
            has_profile: false,
        }
    }
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::WebP, detail)
}

impl Walker {
    pub(super) const fn size_known(&self) -> bool {
        self.canvas.is_some()
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
            At::RiffHeader => {
                self.end = CHUNK_HEADER_BYTES as u64 + u64::from(self.step.u32_le(4));
                if self.end < (RIFF_HEADER_BYTES + CHUNK_HEADER_BYTES) as u64 {
                    return Err(corrupt("its RIFF header announces no room for an image"));
                }
                self.chunk_end = self.position;
                self.next_chunk();
            }
            At::ChunkHeader => self.chunk(limits)?,
            At::Extended => self.extended(limits)?,
            At::AnimationFrame => self.animation_frame(limits)?,
            At::SubChunkHeader => self.sub_chunk()?,
            At::Lossy => self.lossy(limits)?,
            At::Lossless => self.lossless(limits)?,
            At::Exif => {
                self.exif.read(self.step.bytes());
                self.next_chunk();
            }
            At::LastBody | At::End => self.at = At::End,
        }
        Ok(())
    }

    /// Skips what is left of this chunk and collects the next header, or, without room for one, skips to the end.
    fn next_chunk(&mut self) {
        if self.chunk_end + CHUNK_HEADER_BYTES as u64 <= self.end {
            self.at = At::ChunkHeader;
            self.step.skip(self.chunk_end - self.position);
            self.step.collect(CHUNK_HEADER_BYTES);
        } else {
            self.at = if self.position == self.end { At::End } else { At::LastBody };
            self.step.skip(self.end - self.position);
            self.step.collect(0);
        }
    }

    /// The code and the length of a chunk whose header was collected.
    fn chunk_header(&self) -> ([u8; 4], u64) {
        ([0, 1, 2, 3].map(|at| self.step.bytes()[at]), u64::from(self.step.u32_le(4)))
    }

    fn chunk(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let (code, length) = self.chunk_header();
        if self.position + length > self.end {
            return Err(corrupt("one of its chunks is longer than the file"));
        }
        // Chunks are padded to an even length, and some writers forget the padding of the last one.
        self.chunk_end = (self.position + length + length % 2).min(self.end);
        match (&code, self.canvas) {
            (b"VP8X", None) => self.collect(At::Extended, EXTENDED_BYTES, length),
            (b"VP8 ", _) if self.lossless.is_none() && !self.animated => {
                self.collect(At::Lossy, LOSSY_BYTES, length)
            }
            (b"VP8L", _) if self.lossless.is_none() && !self.animated => {
                self.collect(At::Lossless, LOSSLESS_BYTES, length)
            }
            (_, None) => Err(corrupt("its first chunk is no image")),
            (b"ANMF", _) if self.animated => {
                self.frames += 1;
                if self.frames == 1 {
                    return self.collect(At::AnimationFrame, FRAME_HEADER_BYTES, length);
                }
                self.next_chunk();
                Ok(())
            }
            (b"EXIF", _) if self.extended && length > 0 => {
                limits.check_metadata(length)?;
                // Compared with the limit, which is a u32.
                self.collect(At::Exif, length as usize, length)
            }
            _ => {
                self.has_profile |= &code == b"ICCP";
                self.next_chunk();
                Ok(())
            }
        }
    }

    /// Collects the first `bytes` of a chunk or sub-chunk that announces `length`.
    fn collect(&mut self, at: At, bytes: usize, length: u64) -> Result<(), MediaError> {
        if length < bytes as u64 {
            return Err(corrupt("one of its headers is too short"));
        }
        self.at = at;
        self.step.collect(bytes);
        Ok(())
    }

    fn extended(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let flags = self.step.bytes()[0];
        let (width, height) = (self.step.u24_le(4) + 1, self.step.u24_le(7) + 1);
        check_size(SourceFormat::WebP, width, height, limits)?;
        self.extended = true;
        self.has_alpha = flags & 0x10 != 0;
        self.animated = flags & 0x02 != 0;
        self.canvas = Some((width, height));
        self.expected = self.canvas;
        self.next_chunk();
        Ok(())
    }

    fn animation_frame(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let (x, y) = (u64::from(self.step.u24_le(0)) * 2, u64::from(self.step.u24_le(3)) * 2);
        let (width, height) = (self.step.u24_le(6) + 1, self.step.u24_le(9) + 1);
        limits.check_size(width, height)?;
        let (canvas_width, canvas_height) = self.canvas.unwrap_or_default();
        if x + u64::from(width) > u64::from(canvas_width) || y + u64::from(height) > u64::from(canvas_height)
        {
            return Err(corrupt("its first frame does not fit its canvas"));
        }
        self.expected = Some((width, height));
        self.at = At::SubChunkHeader;
        self.step.collect(CHUNK_HEADER_BYTES);
        Ok(())
    }

    fn sub_chunk(&mut self) -> Result<(), MediaError> {
        let (code, length) = self.chunk_header();
        let end = self.position + length + length % 2;
        if self.position + length > self.chunk_end {
            return Err(corrupt("a chunk of its first frame is longer than the frame"));
        }
        match &code {
            b"VP8 " => self.collect(At::Lossy, LOSSY_BYTES, length),
            b"VP8L" => self.collect(At::Lossless, LOSSLESS_BYTES, length),
            b"ALPH" if end + CHUNK_HEADER_BYTES as u64 <= self.chunk_end => {
                self.step.skip(end - self.position);
                self.step.collect(CHUNK_HEADER_BYTES);
                Ok(())
            }
            _ => Err(corrupt("its first frame holds no image")),
        }
    }

    fn lossy(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let bytes = self.step.bytes();
        if bytes[0] & 1 != 0 || bytes[3..6] != [0x9D, 0x01, 0x2A] {
            return Err(corrupt("its image does not begin with a key frame"));
        }
        // The two highest bits of each are a scaling hint.
        let size = (u32::from(self.step.u16_le(6) & 0x3FFF), u32::from(self.step.u16_le(8) & 0x3FFF));
        self.lossless = Some(false);
        self.bitstream(size, limits)
    }

    fn lossless(&mut self, limits: &Limits) -> Result<(), MediaError> {
        if self.step.bytes()[0] != 0x2F {
            return Err(corrupt("its lossless image lacks its signature"));
        }
        let header = self.step.u32_le(1);
        if header >> 29 != 0 {
            return Err(corrupt("its lossless image is of an unknown version"));
        }
        let size = ((header & 0x3FFF) + 1, ((header >> 14) & 0x3FFF) + 1);
        self.lossless = Some(true);
        if !self.extended {
            self.has_alpha = header >> 28 & 1 != 0;
        }
        self.bitstream(size, limits)
    }

    /// The size inside the bitstream is known, which must be the size around it.
    fn bitstream(&mut self, (width, height): (u32, u32), limits: &Limits) -> Result<(), MediaError> {
        check_size(SourceFormat::WebP, width, height, limits)?;
        match self.expected {
            Some(expected) if expected != (width, height) => {
                let (w, h) = expected;
                return Err(corrupt(format!("its image is {width}×{height} pixels in a frame of {w}×{h}")));
            }
            Some(_) => {}
            None => self.canvas = Some((width, height)),
        }
        self.next_chunk();
        Ok(())
    }

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let (At::End, Some((width, height))) = (self.at, self.canvas) else {
            let what =
                if self.lossless.is_some() { "the pixel data or what follows it" } else { "its header" };
            return Err(MediaError::Truncated { format: SourceFormat::WebP, what });
        };
        let Some(lossless) = self.lossless else {
            return Err(corrupt("it holds no image"));
        };
        Ok(Probe {
            orientation: self.exif.orientation.unwrap_or_default(),
            capture: self.exif.capture,
            has_alpha: self.has_alpha,
            has_profile: self.has_profile,
            subsampling: (!lossless).then_some(Subsampling::S420),
            frames: self.frames.max(1),
            image_bytes: self.position,
            ..Probe::plain(SourceFormat::WebP, (width, height), bytes)
        })
    }
}
