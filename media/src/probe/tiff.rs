//! Walking a TIFF (TIFF 6.0, section 2; BigTIFF): to its first directory, then forward to what that points to.
//!
//! The directory may lie anywhere, usually behind the pixels. The walk goes forward once, so of the lists that the
//! directory points to (where the strips are, how long they are, the bits of each sample) only those that lie behind it
//! are seen. Whatever they allow to conclude about the end of the pixels is compared with the end of the stream here; the
//! rest is left to the decoder. Of EXIF, too, only what lies ahead is read (`tiff_exif`). Further directories (pages, reduced copies) are not looked at: only the first is shown.

use super::step::Step;
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
enum At {
    Header,
    /// The rest of the header of a BigTIFF, or the two bytes that tell a CR2.
    HeaderRest,
    Count,
    /// So many entries follow.
    Entry(u64),
    /// The value of this index, in the list that is being read.
    Value(u64),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Bits,
    Offsets,
    Counts,
}

#[derive(Debug)]
pub(super) struct Walker {
    at: At,
    step: Step,
    position: u64,
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

impl Default for Walker {
    fn default() -> Self {
        let mut step = Step::default();
        step.collect(HEADER_BYTES);
        // Until the header tells.
        let shape = Shape { big_endian: false, big: false };
        Self {
            at: At::Header,
            step,
            position: 0,
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

impl Walker {
    pub(super) const fn size_known(&self) -> bool {
        self.sized
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

    /// The same piece once more, for what of EXIF lies in it.
    pub(super) fn pass(&mut self, piece: &[u8], limits: &Limits) {
        self.exif.pass(piece, limits);
    }

    fn collected(&mut self, limits: &Limits) -> Result<(), MediaError> {
        match self.at {
            At::Header => return self.header(),
            At::HeaderRest if self.step.bytes().get(HEADER_BYTES..) == Some(CR2) => return Err(camera_raw()),
            At::HeaderRest => self.go_to_directory()?,
            At::Count => {
                let count = self.directory.shape.entry_count(self.step.bytes())?;
                self.extent = self.position + count * self.directory.shape.entry_bytes() as u64;
                self.at = At::Entry(count);
                self.step.collect(self.directory.shape.entry_bytes());
            }
            At::Entry(left) => {
                self.directory.add(self.step.bytes());
                // So far the extent is the directory's.
                self.exif.add(self.step.bytes(), self.extent, limits);
                if !self.sized
                    && let Some((width, height)) = self.directory.size()
                {
                    check_size(SourceFormat::Tiff, width, height, limits)?;
                    self.sized = true;
                }
                self.at = At::Entry(left - 1);
                self.step.collect(self.directory.shape.entry_bytes());
                if left == 1 {
                    self.judge(limits)?;
                    self.next_list();
                }
            }
            At::Value(index) => self.value(index),
            At::End => {}
        }
        Ok(())
    }

    fn header(&mut self) -> Result<(), MediaError> {
        // The sniffer has compared the signature.
        let shape = Shape::of(self.step.bytes()).unwrap_or(self.directory.shape);
        self.directory = Directory::new(shape);
        self.exif.set_shape(shape);
        self.at = At::HeaderRest;
        if shape.big {
            self.step.collect_more(shape.header_bytes() - HEADER_BYTES);
        } else if shape.directory_offset(self.step.bytes())? == CR2_DIRECTORY {
            self.step.collect_more(CR2.len());
        } else {
            self.go_to_directory()?;
        }
        Ok(())
    }

    fn go_to_directory(&mut self) -> Result<(), MediaError> {
        let shape = self.directory.shape;
        let offset = shape.directory_offset(self.step.bytes())?;
        self.at = At::Count;
        // The offset is behind everything that was collected.
        self.step.skip(offset.saturating_sub(self.position));
        self.step.collect(shape.count_bytes());
        Ok(())
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
    fn next_list(&mut self) {
        self.at = At::End;
        while let Some((offset, list, entry)) = self.lists.pop() {
            if offset >= self.position {
                // Put back: its values are taken one by one.
                self.lists.push((offset, list, entry));
                self.at = At::Value(0);
                self.step.skip(offset - self.position);
                self.step.collect(entry.size());
                return;
            }
        }
    }

    /// The value of this index, of the list at the end of those that lie ahead.
    fn value(&mut self, index: u64) {
        let Some((_, list, entry)) = self.lists.last().copied() else {
            self.at = At::End;
            return;
        };
        self.take(list, index, Some(self.directory.shape.number(self.step.bytes())));
        if index + 1 < entry.count && list != List::Bits {
            self.at = At::Value(index + 1);
            self.step.collect(entry.size());
        } else {
            self.lists.pop();
            self.next_list();
        }
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

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let truncated = |what| MediaError::Truncated { format: SourceFormat::Tiff, what };
        let Some(kind) = self.kind else {
            return Err(truncated("its header"));
        };
        if self.at != At::End || self.extent > bytes {
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
