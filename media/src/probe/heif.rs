//! Walking an AVIF or a HEIC (ISO/IEC 14496-12): boxes by their sizes, up to the last byte of a picture.
//!
//! What matters is one box, the directory (`meta`), which is held whole and read by [`crate::heif`]. It says where every
//! picture lies, and therefore where the file must not end before. The boxes behind are walked on only to count the
//! frames of a sequence, and whatever is no box ends that. The EXIF block is kept while it passes, wherever the directory
//! has said that it lies; one that lies before the directory has passed already, and is not read.

use super::Probe;
use super::sniff;
use super::step::Step;
use super::stretch::Stretch;
use crate::heif::{
    BOX_HEADER_BYTES, BoxHeader, Codec, Directory, LARGE_BOX_HEADER_BYTES, Picture, Place, exif_block,
};
use crate::metadata::capture;
use crate::{Limits, MediaError, SourceFormat};

/// A directory of a few kilobytes is usual, of some hundred with the tiles of a very large picture. It is held even
/// where less of EXIF would be.
const DIRECTORY_BYTES_MAX: u64 = 1 << 20;
/// Version, flags, size of all samples and their number, at the beginning of `stsz` (ISO/IEC 14496-12, section 8.7.3.2).
const SAMPLE_SIZES_BYTES: u64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header,
    /// The rest of the header of a box whose size needs 64 bits.
    LargeHeader,
    Directory,
    /// `stsz`, of which this many bytes follow its beginning.
    SampleSizes(u64),
    /// Behind all that is of interest.
    End,
}

/// What the directory said.
#[derive(Debug)]
struct Found {
    probe: Probe,
    /// Where the last byte of any picture lies, plus one.
    end: u64,
    /// The item that holds the EXIF block, until all of it has passed.
    exif: Option<Stretch>,
}

#[derive(Debug)]
pub(super) struct Walker {
    format: SourceFormat,
    at: At,
    step: Step,
    position: u64,
    found: Option<Found>,
    /// Where the description of a sequence of frames ends, which stands beside the still picture or instead of it.
    sequence_end: Option<u64>,
    frames: u32,
    /// Bytes that have passed, those behind the end of the walk included.
    passed: u64,
}

impl Walker {
    pub(super) fn new(format: SourceFormat) -> Self {
        let mut step = Step::default();
        step.collect(BOX_HEADER_BYTES);
        Self {
            format,
            at: At::Header,
            step,
            position: 0,
            found: None,
            sequence_end: None,
            frames: 0,
            passed: 0,
        }
    }

    /// What the brands said, until the main picture says better.
    pub(super) const fn format(&self) -> SourceFormat {
        self.format
    }

    pub(super) const fn size_known(&self) -> bool {
        self.found.is_some()
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

    /// The same piece once more, for what of the EXIF block lies in it.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        let at = self.passed;
        self.passed += piece.len() as u64;
        let Some(Found { probe, exif, .. }) = &mut self.found else { return };
        let Some(stretch) = exif else { return };
        stretch.pass(at, piece);
        if let Some(item) = stretch.whole() {
            probe.capture = exif_block(item).and_then(capture).map(Box::new);
            *exif = None;
        }
    }

    /// Where the EXIF block is to be taken from.
    fn exif(&self, directory: &Directory, limits: &Limits) -> Result<Option<Stretch>, MediaError> {
        match directory.exif().and_then(|item| directory.place(item)) {
            Some(Place::Directory(bytes)) => {
                limits.check_metadata(bytes.len() as u64)?;
                Ok(Some(Stretch::known(bytes)))
            }
            Some(Place::File(extent)) if extent.start >= self.position => {
                let bytes = extent.end - extent.start;
                limits.check_metadata(bytes)?;
                // At most a u32.
                Ok(Some(Stretch::new(extent.start, bytes as usize)))
            }
            _ => Ok(None),
        }
    }

    fn next(&mut self, at: At, skipped: u64, collected: usize) {
        self.at = at;
        self.step.skip(skipped);
        self.step.collect(collected);
    }

    fn next_header(&mut self, skipped: u64) {
        self.next(At::Header, skipped, BOX_HEADER_BYTES);
    }

    fn collected(&mut self, limits: &Limits) -> Result<(), MediaError> {
        match self.at {
            At::Header if self.step.u32_be(0) == 1 => {
                self.at = At::LargeHeader;
                self.step.collect_more(LARGE_BOX_HEADER_BYTES - BOX_HEADER_BYTES);
            }
            At::Header | At::LargeHeader => return self.header(limits),
            At::Directory => {
                self.found = Some(self.read_directory(limits)?);
                self.next_header(0);
            }
            At::SampleSizes(rest) => {
                self.frames = self.frames.max(self.step.u32_be(8));
                self.next_header(rest);
            }
            At::End => {}
        }
        Ok(())
    }

    fn header(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let Some(header) = BoxHeader::read(self.step.bytes()) else {
            return self.no_box();
        };
        let content = header.size.map(|size| size - header.bytes as u64);
        // Tracks may have directories of their own.
        let in_sequence = self.sequence_end.is_some_and(|end| self.position < end);
        match (&header.kind, content) {
            (b"meta", Some(content)) if self.found.is_none() && !in_sequence => {
                let most = DIRECTORY_BYTES_MAX.max(limits.metadata_bytes_max.into());
                if content > most {
                    let found = format!("a HEIF file with a directory of {content} bytes");
                    return Err(MediaError::unsupported(found, "export it as a JPEG or PNG"));
                }
                self.next(At::Directory, 0, content as usize);
                // Nothing is to be collected of an empty box, so it is complete already.
                if content == 0 {
                    return self.collected(limits);
                }
            }
            (b"moov", Some(content)) => {
                self.sequence_end = Some(self.position.saturating_add(content));
                self.next_header(0);
            }
            // Boxes of boxes, which are walked into.
            (b"trak" | b"mdia" | b"minf" | b"stbl", Some(_)) if in_sequence => self.next_header(0),
            (b"stsz", Some(content)) if in_sequence && content >= SAMPLE_SIZES_BYTES => {
                let rest = content - SAMPLE_SIZES_BYTES;
                self.next(At::SampleSizes(rest), 0, SAMPLE_SIZES_BYTES as usize);
            }
            (_, Some(content)) => self.next_header(content),
            // To the end of the file.
            (_, None) if self.found.is_some() => self.at = At::End,
            (_, None) => return Err(self.corrupt("its directory is missing or has no length")),
        }
        Ok(())
    }

    fn corrupt(&self, detail: impl Into<String>) -> MediaError {
        MediaError::corrupt(self.format, detail)
    }

    fn no_box(&mut self) -> Result<(), MediaError> {
        if self.found.is_none() {
            let at = self.position;
            return Err(self.corrupt(format!("no box begins before byte {at}")));
        }
        self.at = At::End;
        Ok(())
    }

    fn read_directory(&mut self, limits: &Limits) -> Result<Found, MediaError> {
        let meta = self.step.bytes();
        let directory = Directory::read(meta, self.format)?;
        let picture = Picture::find(&directory, limits)?;
        self.format = match picture.color.codec {
            Codec::Av1 => SourceFormat::Avif,
            Codec::Hevc => SourceFormat::Heic,
        };
        if self.format == SourceFormat::Heic && !cfg!(feature = "heic") {
            return Err(sniff::refused_heic());
        }
        let Some(end) = directory.end() else {
            return Err(MediaError::corrupt(self.format, "a picture lies beyond any file"));
        };
        let window = picture.window;
        let coded_pixels = picture.coded_pixels();
        let whole = u64::from(window.width) * u64::from(window.height);
        let probe = Probe {
            orientation: picture.orientation,
            components: if picture.color.chroma.subsampling().is_some() { 3 } else { 1 },
            bit_depth: picture.color.bit_depth,
            has_alpha: picture.alpha.is_some(),
            subsampling: picture.color.chroma.subsampling(),
            coded_pixels: (coded_pixels != whole).then_some(coded_pixels),
            // The decoder reads the directory again, and copies the profile in it.
            metadata_bytes: meta.len() as u64,
            ..Probe::plain(self.format, (window.width, window.height), 0)
        };
        let exif = self.exif(&directory, limits)?;
        Ok(Found { probe, end: end.max(self.position), exif })
    }

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let format = self.format;
        let Some(Found { probe, end, .. }) = self.found else {
            if self.sequence_end.is_some() {
                let found = format!("a sequence of {format} frames without a still picture");
                return Err(MediaError::unsupported(found, "send one frame as a JPEG or PNG"));
            }
            return Err(MediaError::Truncated { format, what: "its header" });
        };
        if bytes < end {
            return Err(MediaError::Truncated { format, what: "the pixel data" });
        }
        Ok(Probe { frames: self.frames.max(1), image_bytes: end, bytes, ..probe })
    }
}
