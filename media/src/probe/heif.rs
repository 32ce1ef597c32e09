//! Walking an AVIF or a HEIC (ISO/IEC 14496-12): boxes by their sizes, up to the last byte of a picture.
//!
//! What matters is one box, the directory (`meta`), which is held whole and read by [`crate::heif`]. It says where every
//! picture lies, and therefore where the file must not end before. The boxes behind are walked on only to count the
//! frames of a sequence, and whatever is no box ends that. The EXIF block is kept while it passes, wherever the directory
//! has said that it lies; one that lies before the directory has passed already, and is not read.

use super::Probe;
use super::sniff;
use super::step::{Seen, Step, Structure};
use super::stretch::Stretch;
use crate::heif::{BOX_HEADER_BYTES, BoxHeader, Codec, Directory, Picture, Place, exif_block};
use crate::metadata::capture;
use crate::{Limits, MediaError, SourceFormat};

/// A directory of a few kilobytes is usual, of some hundred with the tiles of a very large picture. It is held even
/// where less of EXIF would be.
const DIRECTORY_BYTES_MAX: u64 = 1 << 20;
/// Version, flags, size of all samples and their number, at the beginning of `stsz` (ISO/IEC 14496-12, section 8.7.3.2).
const SAMPLE_SIZES_BYTES: u64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Header,
    Directory,
    /// `stsz`, of which this many bytes follow its beginning.
    SampleSizes(u64),
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
pub(super) struct Heif {
    /// What the brands said, until the main picture says better.
    format: SourceFormat,
    found: Option<Found>,
    /// Where the description of a sequence of frames ends, which stands beside the still picture or instead of it.
    sequence_end: Option<u64>,
    frames: u32,
}

fn next_header(skipped: u64) -> Step<At> {
    Step::Collect { skipped, at: At::Header, bytes: BOX_HEADER_BYTES }
}

/// Where the EXIF block is to be taken from, after the directory.
fn exif(directory: &Directory, seen: &Seen<'_>) -> Result<Option<Stretch>, MediaError> {
    match directory.exif().and_then(|item| directory.place(item)) {
        Some(Place::Directory(bytes)) => {
            seen.limits.check_metadata(bytes.len() as u64)?;
            Ok(Some(Stretch::known(bytes)))
        }
        Some(Place::File(extent)) if extent.start >= seen.position => {
            let bytes = extent.end - extent.start;
            seen.limits.check_metadata(bytes)?;
            // At most a u32.
            Ok(Some(Stretch::new(extent.start, bytes as usize)))
        }
        _ => Ok(None),
    }
}

impl Structure for Heif {
    type At = At;

    fn begin(&self) -> Step<At> {
        next_header(0)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match at {
            At::Header => match BoxHeader::missing(seen.bytes) {
                0 => self.header(seen),
                bytes => Ok(Step::More { at, bytes }),
            },
            At::Directory => self.read_directory(seen.bytes, seen),
            At::SampleSizes(rest) => {
                self.frames = self.frames.max(seen.u32_be(8));
                Ok(next_header(rest))
            }
        }
    }

    fn pass(&mut self, at: u64, piece: &[u8], _limits: &Limits) {
        let Some(Found { probe, exif, .. }) = &mut self.found else { return };
        let Some(stretch) = exif else { return };
        stretch.pass(at, piece);
        if let Some(item) = stretch.whole() {
            probe.capture = exif_block(item).and_then(capture).map(Box::new);
            *exif = None;
        }
    }

    fn format(&self) -> SourceFormat {
        self.format
    }

    fn size_known(&self) -> bool {
        self.found.is_some()
    }

    fn finish(self, _at: Option<At>, _seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
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

impl Heif {
    pub(super) const fn new(format: SourceFormat) -> Self {
        Self { format, found: None, sequence_end: None, frames: 0 }
    }

    fn header(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let Some(header) = BoxHeader::read(seen.bytes) else {
            return self.no_box(seen.position);
        };
        let content = header.size.map(|size| size - header.bytes as u64);
        // Tracks may have directories of their own.
        let in_sequence = self.sequence_end.is_some_and(|end| seen.position < end);
        match (&header.kind, content) {
            (b"meta", Some(content)) if self.found.is_none() && !in_sequence => self.directory(content, seen),
            (b"moov", Some(content)) => {
                self.sequence_end = Some(seen.position.saturating_add(content));
                Ok(next_header(0))
            }
            // Boxes of boxes, which are walked into.
            (b"trak" | b"mdia" | b"minf" | b"stbl", Some(_)) if in_sequence => Ok(next_header(0)),
            (b"stsz", Some(content)) if in_sequence && content >= SAMPLE_SIZES_BYTES => {
                let rest = content - SAMPLE_SIZES_BYTES;
                Ok(Step::collect(At::SampleSizes(rest), SAMPLE_SIZES_BYTES as usize))
            }
            (_, Some(content)) => Ok(next_header(content)),
            // To the end of the file.
            (_, None) if self.found.is_some() => Ok(Step::End),
            (_, None) => Err(self.corrupt("its directory is missing or has no length")),
        }
    }

    fn directory(&mut self, content: u64, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let most = DIRECTORY_BYTES_MAX.max(seen.limits.metadata_bytes_max.into());
        match content {
            // Nothing is to be collected, so it must not wait for the byte behind it.
            0 => self.read_directory(&[], seen),
            content if content > most => {
                let found = format!("a HEIF file with a directory of {content} bytes");
                Err(MediaError::unsupported(found, "export it as a JPEG or PNG"))
            }
            content => Ok(Step::collect(At::Directory, content as usize)),
        }
    }

    fn corrupt(&self, detail: impl Into<String>) -> MediaError {
        MediaError::corrupt(self.format, detail)
    }

    fn no_box(&self, position: u64) -> Result<Step<At>, MediaError> {
        if self.found.is_some() {
            return Ok(Step::End);
        }
        Err(self.corrupt(format!("no box begins before byte {position}")))
    }

    fn read_directory(&mut self, meta: &[u8], seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let directory = Directory::read(meta, self.format)?;
        let picture = Picture::find(&directory, seen.limits)?;
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
        self.found = Some(Found { probe, end: end.max(seen.position), exif: exif(&directory, seen)? });
        Ok(next_header(0))
    }
}
