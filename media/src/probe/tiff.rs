//! Walking a TIFF (TIFF 6.0, section 2; BigTIFF): to its first directory, then forward to what that points to.
//!
//! The directory may lie anywhere, usually behind the pixels. The walk goes forward once, so of the lists that the
//! directory points to (where the strips are, how long they are, the bits of each sample) only those that lie behind it
//! are seen. Whatever they allow to conclude about the end of the pixels is compared with the end of the stream here; the
//! rest is left to the decoder. Of EXIF, too, only what lies ahead is read (`tiff_exif`). Further directories (pages,
//! reduced copies) are not looked at: only the first is shown.

use super::step::{Seen, Step, Structure};
use super::tiff_exif::Reader;
use super::{Probe, check_size};
use crate::directory::{Compression, Directory, Entry, Grid, Kind, Photometric, Shape, camera_raw, tag};
use crate::{Limits, MediaError, SourceFormat};

/// What is collected before the byte order and the kind are known: a classic header.
const HEADER_BYTES: usize = 8;
/// What a Canon CR2 has behind its header, and where its directory then begins.
const CR2: &[u8] = b"CR";
const CR2_DIRECTORY: u64 = 16;
/// Recorded where the bits of each sample are listed before the directory: the most that photos have.
const BITS_UNKNOWN: u8 = 16;
/// The most bits that a sample can have.
const BITS_MAX: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Header,
    /// The rest of the header of a BigTIFF, or the two bytes that tell a CR2.
    HeaderRest,
    Count,
    /// So many entries follow.
    Entry(u64),
    /// The value of this index, in the list that is being read.
    Value(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Bits,
    Offsets,
    Counts,
}

#[derive(Debug)]
pub(super) struct Tiff {
    directory: Directory,
    /// The size was compared with the limits.
    sized: bool,
    kind: Option<Kind>,
    bits: Option<u64>,
    /// Lists that lie ahead, the next one last.
    lists: Vec<(u64, List, Entry)>,
    /// The strip or tile that begins last, its index and its offset, as far as it is known.
    last: Option<(u64, u64)>,
    /// The picture needs at least so many bytes of the stream.
    extent: u64,
    exif: Reader,
}

impl Default for Tiff {
    fn default() -> Self {
        // Until the header tells.
        let shape = Shape { big_endian: false, big: false };
        Self {
            directory: Directory::new(shape),
            sized: false,
            kind: None,
            bits: None,
            lists: Vec::new(),
            last: None,
            extent: 0,
            exif: Reader::new(shape),
        }
    }
}

impl Structure for Tiff {
    type At = At;

    fn begin(&self) -> Step<At> {
        Step::collect(At::Header, HEADER_BYTES)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match at {
            At::Header => self.header(seen),
            At::HeaderRest if seen.bytes.get(HEADER_BYTES..) == Some(CR2) => Err(camera_raw()),
            At::HeaderRest => self.go_to_directory(seen),
            At::Count => {
                let count = self.directory.shape.entry_count(seen.bytes)?;
                self.extent = seen.position + count * self.directory.shape.entry_bytes() as u64;
                Ok(self.next_entry(count))
            }
            At::Entry(left) => self.entry(left, seen),
            At::Value(index) => Ok(self.value(index, seen)),
        }
    }

    fn pass(&mut self, at: u64, piece: &[u8], limits: &Limits) {
        self.exif.pass(at, piece, limits);
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::Tiff
    }

    fn size_known(&self) -> bool {
        self.sized
    }

    fn finish(self, at: Option<At>, _seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
        let truncated = |what| MediaError::Truncated { format: SourceFormat::Tiff, what };
        let Some(kind) = self.kind else {
            return Err(truncated("its header"));
        };
        if at.is_some() || self.extent > bytes {
            return Err(truncated("the pixel data or what describes it"));
        }
        let bits = self.bits.or(self.directory.find(tag::BITS).is_none().then_some(1));
        let bits = bits.filter(|bits| (1..=BITS_MAX).contains(bits));
        Ok(Probe {
            orientation: self.directory.orientation(),
            components: kind.photometric.channels() as u8,
            palette: kind.photometric == Photometric::Palette,
            has_profile: self.directory.profile_bytes() > 0,
            bit_depth: bits.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(BITS_UNKNOWN),
            has_alpha: kind.alpha.is_some(),
            coefficients_held: kind.compression == Compression::Jpeg,
            metadata_bytes: self.directory.profile_bytes(),
            capture: self.exif.capture(),
            image_bytes: self.extent,
            bytes,
            ..Probe::plain(SourceFormat::Tiff, (kind.width, kind.height), bytes)
        })
    }
}

impl Tiff {
    fn header(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        // The sniffer has compared the signature.
        let shape = Shape::of(seen.bytes).unwrap_or(self.directory.shape);
        self.directory = Directory::new(shape);
        self.exif = Reader::new(shape);
        if shape.big {
            Ok(Step::More { at: At::HeaderRest, bytes: shape.header_bytes() - HEADER_BYTES })
        } else if shape.directory_offset(seen.bytes)? == CR2_DIRECTORY {
            Ok(Step::More { at: At::HeaderRest, bytes: CR2.len() })
        } else {
            self.go_to_directory(seen)
        }
    }

    fn go_to_directory(&self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let shape = self.directory.shape;
        let offset = shape.directory_offset(seen.bytes)?;
        // The offset is behind everything that was collected.
        let skipped = offset.saturating_sub(seen.position);
        Ok(Step::Collect { skipped, at: At::Count, bytes: shape.count_bytes() })
    }

    const fn next_entry(&self, left: u64) -> Step<At> {
        Step::collect(At::Entry(left), self.directory.shape.entry_bytes())
    }

    fn entry(&mut self, left: u64, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        self.directory.add(seen.bytes);
        // So far the extent is the directory's.
        self.exif.add(seen.bytes, self.extent, seen.limits);
        if !self.sized
            && let Some((width, height)) = self.directory.size()
        {
            check_size(SourceFormat::Tiff, width, height, seen.limits)?;
            self.sized = true;
        }
        if left > 1 {
            return Ok(self.next_entry(left - 1));
        }
        self.judge(seen.limits)?;
        Ok(self.next_list(seen))
    }

    /// After the last entry: what it is, and what else must come.
    fn judge(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let kind = Kind::of(&self.directory, limits)?;
        let grid = Grid::of(&self.directory, &kind)?;
        let shape = self.directory.shape;
        let lists = [
            (List::Bits, self.directory.find(tag::BITS).copied()),
            (List::Offsets, Some(grid.offsets)),
            (List::Counts, grid.counts),
        ];
        for (list, entry) in lists.into_iter().filter_map(|(list, entry)| Some((list, entry?))) {
            match entry.offset(shape) {
                // More values than there are strips and tiles mean nothing, and could be millions.
                Some(offset) => {
                    self.needs(offset.saturating_add(entry.bytes()));
                    let mut read = entry;
                    read.count = read.count.min(grid.chunks);
                    self.lists.push((offset, list, read));
                }
                // A few values at most, in the entry itself.
                None => (0..entry.count.min(8))
                    .for_each(|index| self.take(list, index, entry.inline(shape, index))),
            }
        }
        // The last of them is the next one.
        self.lists.sort_unstable_by_key(|(offset, ..)| std::cmp::Reverse(*offset));
        for tag in [tag::PALETTE, tag::JPEG_TABLES] {
            let entry = self.directory.find(tag);
            let end = entry.and_then(|entry| Some(entry.offset(shape)?.saturating_add(entry.bytes())));
            self.needs(end.unwrap_or(0));
        }
        self.kind = Some(kind);
        Ok(())
    }

    fn needs(&mut self, end: u64) {
        self.extent = self.extent.max(end);
    }

    /// Goes to the next list that still lies ahead.
    fn next_list(&mut self, seen: &Seen<'_>) -> Step<At> {
        while let Some((offset, _, entry)) = self.lists.last() {
            if let Some(skipped) = offset.checked_sub(seen.position) {
                // It stays: its values are taken one by one.
                return Step::Collect { skipped, at: At::Value(0), bytes: entry.size() };
            }
            self.lists.pop();
        }
        Step::End
    }

    /// The value of this index, of the list at the end of those that lie ahead.
    fn value(&mut self, index: u64, seen: &Seen<'_>) -> Step<At> {
        let Some((_, list, entry)) = self.lists.last().copied() else {
            return Step::End;
        };
        self.take(list, index, Some(self.directory.shape.number(seen.bytes)));
        if index + 1 < entry.count && list != List::Bits {
            return Step::collect(At::Value(index + 1), entry.size());
        }
        self.lists.pop();
        self.next_list(seen)
    }

    fn take(&mut self, list: List, index: u64, value: Option<u64>) {
        let Some(value) = value else { return };
        match list {
            List::Bits => self.bits = self.bits.or(Some(value)),
            List::Offsets => {
                self.needs(value.saturating_add(1));
                if self.last.is_none_or(|(_, offset)| value >= offset) {
                    self.last = Some((index, value));
                }
            }
            List::Counts => {
                if let Some((last, offset)) = self.last
                    && last == index
                {
                    self.needs(offset.saturating_add(value));
                }
            }
        }
    }
}
