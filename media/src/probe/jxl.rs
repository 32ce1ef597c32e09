//! Walking a JPEG XL (ISO/IEC 18181): a bare codestream, or boxes with a codestream in one piece or in several.
//!
//! An EXIF block is read if its box is not compressed and stands before the end of the codestream.
//!
//! The facts stand in the codestream's header, a chain of fields of single bits; the codec's own reader takes them from
//! the first bytes. A codestream in boxes must arrive whole. A bare one does not say how long it is: where it ends too
//! early is found by the decoder only.

use jxl_bitstream::Bitstream;
use jxl_oxide::ImageHeader;
use jxl_oxide_common::Bundle;

use super::step::{Seen, Step, Structure};
use super::{Probe, check_size};
use crate::heif::{BOX_HEADER_BYTES, BoxHeader, exif_block};
use crate::metadata::capture;
use crate::{Capture, Limits, MediaError, SourceFormat};

/// The codestream's signature; containers begin with a zero.
const SIGNATURE: u8 = 0xFF;
/// Index of a piece of the codestream, before its bytes.
const PIECE_INDEX_BYTES: u64 = 4;
/// In that index: this is the last piece.
const LAST_PIECE: u32 = 1 << 31;
/// A header has some ten bytes; profiles come behind it. Many extra channels with long names make it longer.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// The greatest profile, compressed, that the decoder is given: it may become hundreds of megabytes.
const PROFILE_BYTES_MAX: u64 = 4 << 20;
/// The header is first looked for in so many bytes, then in twice as many, and so on.
const HEADER_BYTES_MIN: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The first byte.
    Beginning,
    BoxHeader,
    /// A box with an EXIF block.
    Exif,
    /// The index of a piece, which has so many bytes behind it.
    PieceIndex(Option<u64>),
    /// Bytes of the codestream: how many of this piece remain behind them, if that is known, and whether it is the last.
    Codestream(Option<u64>, bool),
}

#[derive(Debug)]
pub(super) struct Jxl {
    /// The beginning of the codestream, until it held the header.
    held: Vec<u8>,
    /// How much of it the header is looked for in next.
    wanted: usize,
    probe: Option<Probe>,
    /// Out of the first EXIF block that tells something.
    capture: Option<Box<Capture>>,
}

impl Default for Jxl {
    fn default() -> Self {
        Self { held: Vec::new(), wanted: HEADER_BYTES_MIN, probe: None, capture: None }
    }
}

/// The header, and how many bytes of a compressed profile follow it (ISO/IEC 18181-1, annex E.4.1).
fn parse(held: &[u8]) -> Result<(ImageHeader, u64), jxl_bitstream::Error> {
    let mut bits = Bitstream::new(held);
    let header = ImageHeader::parse(&mut bits, ())?;
    let profile_bytes = if header.metadata.colour_encoding.want_icc() { bits.read_u64()? } else { 0 };
    Ok((header, profile_bytes))
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jxl, detail)
}

fn next_box(skipped: u64) -> Step<At> {
    Step::Collect { skipped, at: At::BoxHeader, bytes: BOX_HEADER_BYTES }
}

impl Structure for Jxl {
    type At = At;

    fn begin(&self) -> Step<At> {
        Step::collect(At::Beginning, 1)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match at {
            At::Beginning if seen.bytes[0] == SIGNATURE => self.codestream(None, true, seen),
            // The first box is the signature, which was compared by the sniffer; its first byte has been read.
            At::Beginning => Ok(Step::More { at: At::BoxHeader, bytes: BOX_HEADER_BYTES - 1 }),
            At::BoxHeader => match BoxHeader::missing(seen.bytes) {
                0 => self.box_header(seen),
                bytes => Ok(Step::More { at, bytes }),
            },
            At::Exif => {
                let found = exif_block(seen.bytes).and_then(capture).map(Box::new);
                self.capture = self.capture.take().or(found);
                Ok(next_box(0))
            }
            At::PieceIndex(remaining) => Ok(self.piece(remaining, seen.u32_be(0) & LAST_PIECE != 0)),
            At::Codestream(remaining, last) => self.codestream(remaining, last, seen),
        }
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::Jxl
    }

    fn size_known(&self) -> bool {
        self.probe.is_some()
    }

    fn finish(mut self, at: Option<At>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
        let truncated = |what| MediaError::Truncated { format: SourceFormat::Jxl, what };
        // A codestream that may go to the end of the file is as long as the file.
        let whole = matches!(at, None | Some(At::Codestream(None, true)));
        if self.probe.is_none() && whole {
            self.held.extend_from_slice(seen.bytes);
            self.read_header(seen.limits)?;
        }
        let Some(probe) = self.probe else { return Err(truncated("its header")) };
        if !whole {
            return Err(truncated("the pixel data"));
        }
        Ok(Probe { capture: self.capture, image_bytes: seen.position, bytes, ..probe })
    }
}

impl Jxl {
    fn box_header(&self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let Some(header) = BoxHeader::read(seen.bytes) else {
            let at = seen.position;
            return Err(corrupt(format!("no box begins before byte {at}")));
        };
        let content = header.size.map(|size| size - header.bytes as u64);
        match (&header.kind, content) {
            (b"jxlc", content) => Ok(self.piece(content, true)),
            (b"jxlp", content) if content.is_none_or(|content| content >= PIECE_INDEX_BYTES) => {
                let remaining = content.map(|content| content - PIECE_INDEX_BYTES);
                Ok(Step::collect(At::PieceIndex(remaining), PIECE_INDEX_BYTES as usize))
            }
            (b"Exif", Some(content)) => {
                seen.limits.check_metadata(content)?;
                // At most a u32.
                Ok(Step::collect(At::Exif, content as usize))
            }
            (_, Some(content)) => Ok(next_box(content)),
            (_, None) => Err(corrupt("it holds no codestream")),
        }
    }

    /// Goes on in a piece of the codestream: collects as much as the header needs, and skips the rest.
    fn piece(&self, remaining: Option<u64>, last: bool) -> Step<At> {
        match remaining {
            Some(0) if last => Step::End,
            Some(0) => next_box(0),
            _ if self.probe.is_some() => {
                let at = At::Codestream(remaining.map(|_| 0), last);
                // To the end of the file where the length is not known.
                Step::Collect { skipped: remaining.unwrap_or(u64::MAX), at, bytes: 0 }
            }
            _ => {
                let missing = self.wanted - self.held.len();
                let bytes = remaining.map_or(missing, |remaining| remaining.min(missing as u64) as usize);
                let remaining = remaining.map(|remaining| remaining - bytes as u64);
                Step::collect(At::Codestream(remaining, last), bytes)
            }
        }
    }

    /// What was collected of the codestream, or the end of what was skipped of it.
    fn codestream(
        &mut self,
        remaining: Option<u64>,
        last: bool,
        seen: &Seen<'_>,
    ) -> Result<Step<At>, MediaError> {
        self.held.extend_from_slice(seen.bytes);
        let ended = last && remaining == Some(0);
        if self.probe.is_none() && (self.held.len() == self.wanted || ended) {
            self.read_header(seen.limits)?;
        }
        Ok(self.piece(remaining, last))
    }

    /// Looks for the header in what is held. If it is longer, more will be.
    fn read_header(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let (header, profile_bytes) = match parse(&self.held) {
            Ok(header) => header,
            Err(error) if error.unexpected_eof() => {
                self.wanted = self.held.len().max(HEADER_BYTES_MIN) * 2;
                if self.wanted > HEADER_BYTES_MAX {
                    return Err(corrupt(format!("its header has more than {HEADER_BYTES_MAX} bytes")));
                }
                return Ok(());
            }
            Err(error) => return Err(corrupt(format!("its header makes no sense ({error})"))),
        };
        self.held = Vec::new();
        if profile_bytes > PROFILE_BYTES_MAX {
            return Err(corrupt(format!("it claims to have a profile of {profile_bytes} bytes")));
        }
        let (width, height) = (header.width_with_orientation(), header.height_with_orientation());
        check_size(SourceFormat::Jxl, width, height, limits)?;
        let metadata = &header.metadata;
        self.probe = Some(Probe {
            // The decoder delivers it upright, at the size that is given here.
            components: if metadata.grayscale() { 1 } else { 3 },
            bit_depth: metadata.bit_depth.bits_per_sample().clamp(1, 16) as u8,
            has_alpha: metadata.alpha().is_some(),
            ..Probe::plain(SourceFormat::Jxl, (width, height), 0)
        });
        Ok(())
    }
}
