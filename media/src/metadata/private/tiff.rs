//! Of a TIFF: its first directory, its pixels, and what of EXIF may be shown, each at its place. Directories count places
//! from the beginning of the file, so nothing is moved: entries that go make their directory shorter, and everything that
//! no remaining entry points to becomes zeros. So do GPS, XMP, IPTC, maker notes, thumbnails and further pages.

use std::collections::HashSet;
use std::ops::Range;

use super::super::exif::{Hidden, Keep, terminated};
use super::super::jpeg::{Part, Parts};
use super::super::tiff::{
    self, EXIF_DIRECTORY, Entry, GPS_DIRECTORY, Order, VALUE_BYTES_MAX, element_bytes, kind,
};
use super::in_place::InPlace;
use super::{JPEG_NAMED_BYTES, is_coding, is_named};
use crate::directory::{Compression, Directory, Grid, Kind, Shape, corrupt, tag, unsupported};
use crate::{Limits, MediaError, SourceFormat};

/// Most entries of the EXIF directory that are kept.
const EXIF_ENTRIES_MAX: u64 = 1_000;

/// More bits than any sample has.
const SAMPLE_BITS_MAX: u64 = 64;

/// Entries that say how pixels are stored and to be shown (TIFF 6.0, appendix A; ICC.1, annex B). None is a text.
const fn is_structure(tag: u16) -> bool {
    matches!(tag,
        // Kind of subfile, size, bits, compression, photometric, threshold and cells, fill order.
        254..=259 | 262..=266
        // Strips, orientation, samples, rows, counts, least and greatest, resolution, planes, position.
        | 273 | 274 | 277..=284 | 286 | 287
        // Gray response, resolution's unit, page, transfer, predictor, white, primaries, palette, halftones, tiles.
        | 290 | 291 | 296 | 297 | 301 | 317..=325
        // Inks, dots, extra samples, their format and range, JPEG tables, YCbCr.
        | 332 | 334 | 336 | 338..=342 | 347 | 529..=532
        | tag::PROFILE
    )
}

/// An entry of a directory, and where its values lie if they are not in it.
struct Raw<'a> {
    bytes: &'a [u8],
    tag: u16,
    kind: u16,
    /// `None` for a type that does not exist, and a value that is longer than can be.
    length: Option<usize>,
    at: Option<usize>,
}

impl<'a> Raw<'a> {
    fn read(shape: Shape, bytes: &'a [u8]) -> Self {
        let number = |from: usize, to: usize| shape.number(bytes.get(from..to).unwrap_or_default());
        let (entry_bytes, field_bytes) = (shape.entry_bytes(), shape.field_bytes());
        let kind = number(2, 4) as u16;
        // Those that BigTIFF adds, which EXIF does not know.
        let size = if matches!(kind, kind::LONG8..=kind::IFD8) { Some(8) } else { element_bytes(kind) };
        let count = usize::try_from(number(4, entry_bytes - field_bytes)).ok();
        let length = size.and_then(|size| count?.checked_mul(size));
        let outside = length.is_some_and(|length| length > field_bytes);
        let at = usize::try_from(number(entry_bytes - field_bytes, entry_bytes)).ok().filter(|_| outside);
        Self { bytes, tag: number(0, 2) as u16, kind, length, at }
    }

    /// Where its values lie, if they are not in the entry itself.
    fn values(&self) -> Option<Range<usize>> {
        let at = self.at?;
        Some(at..at.checked_add(self.length?)?)
    }

    /// The number in the entry itself.
    fn inline(&self, shape: Shape) -> Option<usize> {
        let from = shape.entry_bytes() - shape.field_bytes();
        let bytes = self.bytes.get(from..from + self.length?.min(8)).filter(|_| self.at.is_none())?;
        usize::try_from(shape.number(bytes)).ok()
    }
}

/// The entries of a directory. `None` if it is not all there, or has more than `most`.
fn entries(file: &[u8], shape: Shape, at: usize, most: u64) -> Option<Vec<Raw<'_>>> {
    let (count, rest) = file.get(at..)?.split_at_checked(shape.count_bytes())?;
    let count = shape.number(count);
    if count == 0 || count > most {
        return None;
    }
    let entries = rest.get(..count as usize * shape.entry_bytes())?;
    Some(entries.chunks_exact(shape.entry_bytes()).map(|entry| Raw::read(shape, entry)).collect())
}

pub(super) fn of_tiff(original: &[u8]) -> Result<Vec<u8>, MediaError> {
    let directory = Directory::read(original)?;
    // It was compared with the limits when it arrived.
    let any = Limits { width_max: u32::MAX, height_max: u32::MAX, pixels_max: u64::MAX, ..Limits::default() };
    let picture = Kind::of(&directory, &any)?;
    let grid = Grid::of(&directory, &picture)?;
    let shape = directory.shape;
    let header = original.get(..shape.header_bytes()).unwrap_or_default();
    let at = usize::try_from(shape.directory_offset(header)?).unwrap_or(usize::MAX);
    let image = entries(original, shape, at, u64::from(u16::MAX)).unwrap_or_default();
    let pointed = |tag: u16| {
        let pointer = image.iter().find(|entry| entry.tag == tag)?;
        let at = pointer.inline(shape)?;
        Some((at, entries(original, shape, at, EXIF_ENTRIES_MAX)?))
    };

    let mut file = InPlace::new(original, SourceFormat::Tiff);
    let pixels = Pixels { directory: &directory, picture: &picture, grid: &grid };
    let ranges = pixels.ranges(original)?;
    pixels.keep(&ranges, &mut file)?;
    for (at, entries) in [GPS_DIRECTORY, EXIF_DIRECTORY].into_iter().filter_map(pointed) {
        file.check_blank(at..at + shape.count_bytes() + entries.len() * shape.entry_bytes())?;
    }
    let (exif_at, exif) = pointed(EXIF_DIRECTORY).filter(|(exif_at, _)| *exif_at != at).unwrap_or_default();
    let exif_kept = shown(&mut file, shape, &exif, &|_| false)?;
    let is_needed = |tag| is_structure(tag) || tag == EXIF_DIRECTORY && !exif_kept.is_empty();
    let kept = shown(&mut file, shape, &image, &is_needed)?;
    file.keep(0..shape.header_bytes())?;
    // Last, so that whatever claims to lie there as well does no harm to them.
    if !exif_kept.is_empty() {
        write_directory(&mut file, shape, exif_at, &exif_kept, exif.len());
    }
    write_directory(&mut file, shape, at, &kept, image.len());
    let end = file.end();
    let public = file.finish(end);
    // What says where the pixels are may have been written over.
    let found = Directory::read(&public).and_then(|directory| {
        let picture = Kind::of(&directory, &any)?;
        let grid = Grid::of(&directory, &picture)?;
        Pixels { directory: &directory, picture: &picture, grid: &grid }.ranges(&public)
    });
    if found.as_ref() != Ok(&ranges) {
        return Err(corrupt("its parts lie in each other"));
    }
    Ok(public)
}

/// The entries that are needed or may be shown, the first of each tag, whose values it copies.
fn shown<'a>(
    file: &mut InPlace<'a>,
    shape: Shape,
    entries: &[Raw<'a>],
    is_needed: &dyn Fn(u16) -> bool,
) -> Result<Vec<&'a [u8]>, MediaError> {
    let order = Order::of(shape);
    let hidden = tiff::Tiff::parse(file.original()).map(|tiff| Hidden::of(&tiff));
    let (mut kept, mut seen) = (Vec::new(), HashSet::new());
    for entry in entries.iter().filter(|entry| entry.length.is_some_and(|length| length > 0)) {
        let needed = is_needed(entry.tag);
        // The tables of JPEGs are copied with them, without what else may stand there.
        let apart = entry.tag == tag::JPEG_TABLES;
        if !needed && !Keep::AllButPrivate.keeps(entry.tag) || !seen.insert(entry.tag) {
            continue;
        }
        if let (false, Some(mut values)) = (apart, entry.values()) {
            let counted = values.end;
            let bytes = file.original().get(values.clone());
            match bytes {
                Some(value) if !needed && value.len() <= VALUE_BYTES_MAX => {
                    let whole = Entry { tag: entry.tag, kind: entry.kind, order, value };
                    let value = terminated(whole, VALUE_BYTES_MAX).value;
                    if hidden.as_ref().is_some_and(|hidden| hidden.touches(value)) {
                        continue;
                    }
                    values.end = values.start + value.len();
                }
                _ if needed => {}
                _ => continue,
            }
            file.keep(values)?;
            file.reach(counted);
        } else if !needed && is_untidy_text(entry, shape) {
            continue;
        }
        kept.push(entry.bytes);
    }
    Ok(kept)
}

/// Whether a text inside an entry goes on behind its terminator.
fn is_untidy_text(entry: &Raw, shape: Shape) -> bool {
    let field = entry.bytes.get(shape.entry_bytes() - shape.field_bytes()..).unwrap_or_default();
    let mut behind = field.iter().skip_while(|byte| **byte != 0);
    matches!(entry.kind, kind::ASCII | kind::UTF8) && behind.any(|byte| *byte != 0)
}

/// Writes a directory of at most as many entries as it had, without a next one, and zeros where the others were.
fn write_directory(file: &mut InPlace, shape: Shape, at: usize, entries: &[&[u8]], had: usize) {
    let mut bytes = (entries.len() as u64).to_le_bytes()[..shape.count_bytes()].to_vec();
    if shape.big_endian {
        bytes.reverse();
    }
    for entry in entries {
        bytes.extend_from_slice(entry);
    }
    bytes.resize(bytes.len() + shape.field_bytes(), 0);
    file.blank(at..at + shape.count_bytes() + had * shape.entry_bytes() + shape.field_bytes());
    file.write(at, &bytes);
}

/// Strips or tiles.
struct Pixels<'a> {
    directory: &'a Directory,
    picture: &'a Kind,
    grid: &'a Grid,
}

impl Pixels<'_> {
    /// All of them, in order.
    fn ranges(&self, file: &[u8]) -> Result<Vec<Range<usize>>, MediaError> {
        (0..self.grid.chunks).map(|index| self.range(file, index)).collect()
    }

    fn keep(&self, ranges: &[Range<usize>], file: &mut InPlace) -> Result<(), MediaError> {
        let jpeg = self.picture.compression == Compression::Jpeg;
        let tables = self.directory.find(tag::JPEG_TABLES).filter(|_| jpeg);
        if let Some(at) = tables.and_then(|entry| entry.offset(self.directory.shape)) {
            let end = at.saturating_add(tables.map_or(0, crate::directory::Entry::bytes));
            let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
            keep_jpeg(file, &(place(at)..place(end)))?;
        }
        for range in ranges {
            if jpeg {
                keep_jpeg(file, range)?;
            } else {
                file.keep(range.clone())?;
            }
        }
        Ok(())
    }

    /// Where a strip or tile lies. Some writers leave the length out; of pixels that are not compressed it is known.
    fn range(&self, file: &[u8], index: u64) -> Result<Range<usize>, MediaError> {
        let shape = self.directory.shape;
        let truncated = MediaError::Truncated { format: SourceFormat::Tiff, what: "the pixel data" };
        let start = self.grid.offsets.value(shape, file, index);
        let start = start.and_then(|start| usize::try_from(start).ok()).filter(|start| *start < file.len());
        let start = start.ok_or(truncated)?;
        let count = self.grid.counts.and_then(|counts| counts.value(shape, file, index));
        let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        match count.and_then(|count| start.checked_add(count)).filter(|end| *end <= file.len()) {
            Some(end) => Ok(start..end),
            None if self.picture.compression == Compression::None => {
                let bytes = usize::try_from(self.plain_bytes(file, index)?).unwrap_or(usize::MAX);
                Ok(start..start.saturating_add(bytes).min(file.len()))
            }
            None => Err(unsupported("that does not say how long its strips or tiles are")),
        }
    }

    /// Bytes of a strip or tile that is not compressed.
    fn plain_bytes(&self, file: &[u8], index: u64) -> Result<u64, MediaError> {
        let Grid { chunk_width, chunk_height, across, down, .. } = *self.grid;
        let bits = self.directory.find(tag::BITS);
        let bits = bits.and_then(|entry| entry.value(self.directory.shape, file, 0)).unwrap_or(1);
        if !(1..=SAMPLE_BITS_MAX).contains(&bits) {
            return Err(corrupt(format!("its samples have {bits} bits")));
        }
        let samples = if self.picture.planar { 1 } else { self.picture.samples };
        let row_bytes = chunk_width.saturating_mul(samples).saturating_mul(bits).div_ceil(8);
        // Tiles are always whole, the last strip is not.
        let tiled = self.directory.find(tag::TILE_WIDTH).is_some();
        let above = index % (across * down) / across * chunk_height;
        let below = u64::from(self.picture.height).saturating_sub(above);
        Ok(row_bytes.saturating_mul(if tiled { chunk_height } else { chunk_height.min(below) }))
    }
}

/// Copies a JPEG, in which applications' segments and comments become zeros.
fn keep_jpeg(file: &mut InPlace, range: &Range<usize>) -> Result<(), MediaError> {
    let foreign = || corrupt("a strip or tile that should be a JPEG is none");
    let bytes = file.original().get(range.clone()).ok_or_else(foreign)?;
    let mut parts = Parts::new(bytes).ok_or_else(foreign)?;
    let mut at = 0;
    loop {
        let kept = match parts.next().transpose()? {
            Some(Part::Segment { code, payload }) if !is_coding(code) => {
                let named = if is_named(code, payload) { JPEG_NAMED_BYTES } else { 0 };
                parts.at() - payload.len() + named
            }
            Some(Part::CutSegment { code, .. }) if !is_coding(code) => at,
            Some(_) => parts.at(),
            None => return Ok(()),
        };
        file.keep(range.start + at..range.start + kept)?;
        at = parts.at();
    }
}
