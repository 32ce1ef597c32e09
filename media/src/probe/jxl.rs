//! Walking a JPEG XL (ISO/IEC 18181): a bare codestream, or boxes with a codestream in one piece or in several.
//!
//! An EXIF block is read if its box is not compressed and stands before the end of the codestream.
//!
//! The facts stand in the codestream's header, a chain of fields of single bits; the codec's own reader takes them from
//! the first bytes. A codestream in boxes must arrive whole. A bare one does not say how long it is: where it ends too
//! early is found by the decoder only.

#[cfg(not(feature = "jxl"))]
pub(super) use without::Walker;

#[cfg(feature = "jxl")]
pub(super) use walker::Walker;

/// A build that does not decode JPEG XL refuses it by its signature: no walk begins.
#[cfg(not(feature = "jxl"))]
mod without {
    use super::super::{Probe, sniff};
    use crate::{Limits, MediaError};

    #[derive(Debug, Default)]
    pub(in super::super) struct Walker(());

    #[expect(clippy::unused_self, reason = "in the shape of the other walkers")]
    impl Walker {
        pub(in super::super) const fn size_known(&self) -> bool {
            false
        }

        pub(in super::super) fn feed(&mut self, _piece: &[u8], _limits: &Limits) -> Result<(), MediaError> {
            Err(sniff::refused_jxl())
        }

        pub(in super::super) fn finish(self, _bytes: u64) -> Result<Probe, MediaError> {
            Err(sniff::refused_jxl())
        }
    }
}

#[cfg(feature = "jxl")]
mod walker {
    use jxl_bitstream::Bitstream;
    use jxl_oxide::ImageHeader;
    use jxl_oxide_common::Bundle;

    use super::super::step::Step;
    use super::super::{Probe, check_size};
    use crate::heif::{BOX_HEADER_BYTES, BoxHeader, LARGE_BOX_HEADER_BYTES, exif_block};
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
    enum At {
        /// The first byte.
        Beginning,
        BoxHeader,
        /// The rest of the header of a box whose size needs 64 bits.
        LargeBoxHeader,
        /// A box with an EXIF block.
        Exif,
        /// The index of a piece, which has so many bytes behind it.
        PieceIndex(Option<u64>),
        /// The codestream: how many bytes remain of this piece, if that is known, and whether it is the last.
        Codestream(Option<u64>, bool),
        End,
    }

    #[derive(Debug)]
    pub(in super::super) struct Walker {
        at: At,
        step: Step,
        position: u64,
        /// The beginning of the codestream, until it held the header.
        held: Vec<u8>,
        /// How much of it the header is looked for in next.
        wanted: usize,
        probe: Option<Probe>,
        /// Out of the first EXIF block that tells something.
        capture: Option<Box<Capture>>,
        /// For a header that is read when the stream has ended.
        limits: Limits,
    }

    impl Default for Walker {
        fn default() -> Self {
            let mut step = Step::default();
            step.collect(1);
            let (held, wanted) = (Vec::new(), HEADER_BYTES_MIN);
            Self {
                at: At::Beginning,
                step,
                position: 0,
                held,
                wanted,
                probe: None,
                capture: None,
                limits: Limits::default(),
            }
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

    impl Walker {
        pub(in super::super) const fn size_known(&self) -> bool {
            self.probe.is_some()
        }

        pub(in super::super) fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
            if self.at == At::Beginning {
                self.limits = limits.clone();
            }
            let mut rest = piece;
            while !rest.is_empty() && self.at != At::End {
                let before = rest.len();
                let complete = match self.at {
                    At::Codestream(remaining, last) => {
                        self.take_codestream(&mut rest, remaining, last)?;
                        false
                    }
                    _ => self.step.take(&mut rest),
                };
                self.position += (before - rest.len()) as u64;
                if complete {
                    self.collected()?;
                }
            }
            Ok(())
        }

        fn next_box(&mut self, skipped: u64) {
            self.at = At::BoxHeader;
            self.step.skip(skipped);
            self.step.collect(BOX_HEADER_BYTES);
        }

        fn collected(&mut self) -> Result<(), MediaError> {
            match self.at {
                At::Beginning if self.step.bytes()[0] == SIGNATURE => {
                    self.held.push(SIGNATURE);
                    self.at = At::Codestream(None, true);
                }
                At::Beginning => {
                    // The first box is the signature, which was compared by the sniffer; its first byte has been read.
                    self.at = At::BoxHeader;
                    self.step.collect_more(BOX_HEADER_BYTES - 1);
                }
                At::BoxHeader if self.step.u32_be(0) == 1 => {
                    self.at = At::LargeBoxHeader;
                    self.step.collect_more(LARGE_BOX_HEADER_BYTES - BOX_HEADER_BYTES);
                }
                At::BoxHeader | At::LargeBoxHeader => return self.box_header(),
                At::Exif => {
                    let found = exif_block(self.step.bytes()).and_then(capture).map(Box::new);
                    self.capture = self.capture.take().or(found);
                    self.next_box(0);
                }
                At::PieceIndex(remaining) => {
                    let last = self.step.u32_be(0) & LAST_PIECE != 0;
                    self.begin_piece(remaining, last);
                }
                At::Codestream(..) | At::End => {}
            }
            Ok(())
        }

        fn box_header(&mut self) -> Result<(), MediaError> {
            let Some(header) = BoxHeader::read(self.step.bytes()) else {
                let at = self.position;
                return Err(corrupt(format!("no box begins before byte {at}")));
            };
            let content = header.size.map(|size| size - header.bytes as u64);
            match (&header.kind, content) {
                (b"jxlc", content) => self.begin_piece(content, true),
                (b"jxlp", content) if content.is_none_or(|content| content >= PIECE_INDEX_BYTES) => {
                    self.at = At::PieceIndex(content.map(|content| content - PIECE_INDEX_BYTES));
                    self.step.collect(PIECE_INDEX_BYTES as usize);
                }
                (b"Exif", Some(content)) if content > 0 => {
                    self.limits.check_metadata(content)?;
                    self.at = At::Exif;
                    // At most a u32.
                    self.step.collect(content as usize);
                }
                (_, Some(content)) => self.next_box(content),
                (_, None) => return Err(corrupt("it holds no codestream")),
            }
            Ok(())
        }

        fn begin_piece(&mut self, remaining: Option<u64>, last: bool) {
            match (remaining, last) {
                (Some(0), false) => self.next_box(0),
                (Some(0), true) => self.at = At::End,
                _ => self.at = At::Codestream(remaining, last),
            }
        }

        /// Takes what belongs to a piece of the codestream, and holds as much as the header needs.
        fn take_codestream(
            &mut self,
            rest: &mut &[u8],
            remaining: Option<u64>,
            last: bool,
        ) -> Result<(), MediaError> {
            let most = remaining.map_or(rest.len(), |remaining| remaining.min(rest.len() as u64) as usize);
            let taken = if self.probe.is_some() { most } else { most.min(self.wanted - self.held.len()) };
            let (bytes, behind) = rest.split_at(taken);
            *rest = behind;
            let remaining = remaining.map(|remaining| remaining - taken as u64);
            if self.probe.is_none() {
                self.held.extend_from_slice(bytes);
                if self.held.len() == self.wanted {
                    self.read_header()?;
                }
            }
            self.at = At::Codestream(remaining, last);
            if remaining == Some(0) {
                self.begin_piece(remaining, last);
            }
            if self.at == At::End && self.probe.is_none() {
                self.read_header()?;
            }
            Ok(())
        }

        /// Looks for the header in what is held. If it is longer, more will be.
        fn read_header(&mut self) -> Result<(), MediaError> {
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
            check_size(SourceFormat::Jxl, width, height, &self.limits)?;
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

        /// After the last of `bytes` bytes.
        pub(in super::super) fn finish(mut self, bytes: u64) -> Result<Probe, MediaError> {
            let truncated = |what| MediaError::Truncated { format: SourceFormat::Jxl, what };
            // A codestream that may go to the end of the file is as long as the file.
            let whole = matches!(self.at, At::End | At::Codestream(None, true));
            if self.probe.is_none() && whole {
                self.read_header()?;
            }
            let Some(probe) = self.probe else { return Err(truncated("its header")) };
            if !whole {
                return Err(truncated("the pixel data"));
            }
            Ok(Probe { capture: self.capture, image_bytes: self.position, bytes, ..probe })
        }
    }
}
