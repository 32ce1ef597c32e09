//! Walking a WebP (RFC 9649): RIFF chunks by their lengths, up to the size that the RIFF header announces.
//!
//! The size stands in up to three places: the canvas (VP8X), the frame (ANMF) and the bitstream (VP8, VP8L). The
//! decoder allocates by the innermost before it compares, so a file in which they differ is refused here.

use super::step::{Seen, Step, Structure};
use super::{Exif, Probe, Subsampling, check_size};
use crate::{MediaError, SourceFormat};

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
pub(super) enum At {
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
}

#[derive(Debug, Default)]
pub(super) struct WebP {
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

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::WebP, detail)
}

impl Structure for WebP {
    type At = At;

    fn begin(&self) -> Step<At> {
        Step::collect(At::RiffHeader, RIFF_HEADER_BYTES)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match at {
            At::RiffHeader => self.riff_header(seen),
            At::ChunkHeader => self.chunk(seen),
            At::Extended => self.extended(seen),
            At::AnimationFrame => self.animation_frame(seen),
            At::SubChunkHeader => self.sub_chunk(seen),
            At::Lossy => self.lossy(seen),
            At::Lossless => self.lossless(seen),
            At::Exif => {
                self.exif.read(seen.bytes);
                Ok(self.next_chunk(seen))
            }
            At::LastBody => Ok(Step::End),
        }
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::WebP
    }

    fn size_known(&self) -> bool {
        self.canvas.is_some()
    }

    fn finish(self, at: Option<At>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
        let (None, Some((width, height))) = (at, self.canvas) else {
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
            image_bytes: seen.position,
            ..Probe::plain(SourceFormat::WebP, (width, height), bytes)
        })
    }
}

/// The code and the length of a chunk whose header was collected.
fn chunk_header(seen: &Seen<'_>) -> ([u8; 4], u64) {
    ([0, 1, 2, 3].map(|at| seen.bytes[at]), u64::from(seen.u32_le(4)))
}

/// Collects the first `bytes` of a chunk or sub-chunk that announces `length`.
fn collect(at: At, bytes: usize, length: u64) -> Result<Step<At>, MediaError> {
    if length < bytes as u64 {
        return Err(corrupt("one of its headers is too short"));
    }
    Ok(Step::collect(at, bytes))
}

impl WebP {
    fn riff_header(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        self.end = CHUNK_HEADER_BYTES as u64 + u64::from(seen.u32_le(4));
        if self.end < (RIFF_HEADER_BYTES + CHUNK_HEADER_BYTES) as u64 {
            return Err(corrupt("its RIFF header announces no room for an image"));
        }
        self.chunk_end = seen.position;
        Ok(self.next_chunk(seen))
    }

    /// Skips what is left of this chunk and collects the next header, or, without room for one, skips to the end.
    fn next_chunk(&self, seen: &Seen<'_>) -> Step<At> {
        if self.chunk_end + CHUNK_HEADER_BYTES as u64 <= self.end {
            let skipped = self.chunk_end - seen.position;
            Step::Collect { skipped, at: At::ChunkHeader, bytes: CHUNK_HEADER_BYTES }
        } else if seen.position < self.end {
            Step::Collect { skipped: self.end - seen.position, at: At::LastBody, bytes: 0 }
        } else {
            Step::End
        }
    }

    fn chunk(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let (code, length) = chunk_header(seen);
        if seen.position + length > self.end {
            return Err(corrupt("one of its chunks is longer than the file"));
        }
        // Chunks are padded to an even length, and some writers forget the padding of the last one.
        self.chunk_end = (seen.position + length + length % 2).min(self.end);
        match (&code, self.canvas) {
            (b"VP8X", None) => collect(At::Extended, EXTENDED_BYTES, length),
            (b"VP8 ", _) if self.lossless.is_none() && !self.animated => {
                collect(At::Lossy, LOSSY_BYTES, length)
            }
            (b"VP8L", _) if self.lossless.is_none() && !self.animated => {
                collect(At::Lossless, LOSSLESS_BYTES, length)
            }
            (_, None) => Err(corrupt("its first chunk is no image")),
            (b"ANMF", _) if self.animated => {
                self.frames += 1;
                if self.frames == 1 {
                    return collect(At::AnimationFrame, FRAME_HEADER_BYTES, length);
                }
                Ok(self.next_chunk(seen))
            }
            (b"EXIF", _) if self.extended && length > 0 => {
                seen.limits.check_metadata(length)?;
                // Compared with the limit, which is a u32.
                collect(At::Exif, length as usize, length)
            }
            _ => {
                self.has_profile |= &code == b"ICCP";
                Ok(self.next_chunk(seen))
            }
        }
    }

    fn extended(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let flags = seen.bytes[0];
        let (width, height) = (seen.u24_le(4) + 1, seen.u24_le(7) + 1);
        check_size(SourceFormat::WebP, width, height, seen.limits)?;
        self.extended = true;
        self.has_alpha = flags & 0x10 != 0;
        self.animated = flags & 0x02 != 0;
        self.canvas = Some((width, height));
        self.expected = self.canvas;
        Ok(self.next_chunk(seen))
    }

    fn animation_frame(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let (x, y) = (u64::from(seen.u24_le(0)) * 2, u64::from(seen.u24_le(3)) * 2);
        let (width, height) = (seen.u24_le(6) + 1, seen.u24_le(9) + 1);
        seen.limits.check_size(width, height)?;
        let (canvas_width, canvas_height) = self.canvas.unwrap_or_default();
        if x + u64::from(width) > u64::from(canvas_width) || y + u64::from(height) > u64::from(canvas_height)
        {
            return Err(corrupt("its first frame does not fit its canvas"));
        }
        self.expected = Some((width, height));
        Ok(Step::collect(At::SubChunkHeader, CHUNK_HEADER_BYTES))
    }

    fn sub_chunk(&self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let (code, length) = chunk_header(seen);
        let end = seen.position + length + length % 2;
        if seen.position + length > self.chunk_end {
            return Err(corrupt("a chunk of its first frame is longer than the frame"));
        }
        match &code {
            b"VP8 " => collect(At::Lossy, LOSSY_BYTES, length),
            b"VP8L" => collect(At::Lossless, LOSSLESS_BYTES, length),
            b"ALPH" if end + CHUNK_HEADER_BYTES as u64 <= self.chunk_end => {
                let skipped = end - seen.position;
                Ok(Step::Collect { skipped, at: At::SubChunkHeader, bytes: CHUNK_HEADER_BYTES })
            }
            _ => Err(corrupt("its first frame holds no image")),
        }
    }

    fn lossy(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let bytes = seen.bytes;
        if bytes[0] & 1 != 0 || bytes[3..6] != [0x9D, 0x01, 0x2A] {
            return Err(corrupt("its image does not begin with a key frame"));
        }
        // The two highest bits of each are a scaling hint.
        let size = (u32::from(seen.u16_le(6) & 0x3FFF), u32::from(seen.u16_le(8) & 0x3FFF));
        self.lossless = Some(false);
        self.bitstream(size, seen)
    }

    fn lossless(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        if seen.bytes[0] != 0x2F {
            return Err(corrupt("its lossless image lacks its signature"));
        }
        let header = seen.u32_le(1);
        if header >> 29 != 0 {
            return Err(corrupt("its lossless image is of an unknown version"));
        }
        let size = ((header & 0x3FFF) + 1, ((header >> 14) & 0x3FFF) + 1);
        self.lossless = Some(true);
        if !self.extended {
            self.has_alpha = header >> 28 & 1 != 0;
        }
        self.bitstream(size, seen)
    }

    /// The size inside the bitstream is known, which must be the size around it.
    fn bitstream(&mut self, (width, height): (u32, u32), seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        check_size(SourceFormat::WebP, width, height, seen.limits)?;
        match self.expected {
            Some(expected) if expected != (width, height) => {
                let (w, h) = expected;
                return Err(corrupt(format!("its image is {width}×{height} pixels in a frame of {w}×{h}")));
            }
            Some(_) => {}
            None => self.canvas = Some((width, height)),
        }
        Ok(self.next_chunk(seen))
    }
}
