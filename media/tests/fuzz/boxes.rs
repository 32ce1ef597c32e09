//! Boxes of AVIF, HEIC and JPEG XL files, put right after a change.
//!
//! Where bytes were added or lost, every size around them is wrong, and whoever follows sizes finds no picture. Sizes are
//! many and kinds are few and seldom hit, so here sizes follow kinds.

use std::ops::Range;

type Kind = [u8; 4];

/// Bytes of a box's size and kind.
const HEADER_BYTES: usize = 8;

/// Outermost boxes of AVIF and HEIC. (In their directories `Exif` is the type of an item.)
const OF_HEIF: &[&Kind] = &[b"ftyp", b"meta", b"mdat", b"moov", b"free"];
/// And of JPEG XL.
const OF_JXL: &[&Kind] = &[b"JXL ", b"ftyp", b"jxlc", b"jxlp", b"Exif", b"free"];

/// How many bytes stand before the boxes inside a box, and the kinds of those.
fn inside(kind: &[u8]) -> Option<(usize, &'static [&'static Kind])> {
    match kind {
        b"meta" => Some((4, &[b"hdlr", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"idat"])),
        b"iinf" => Some((6, &[b"infe"])),
        b"iref" => Some((4, &[b"dimg", b"auxl", b"prem", b"cdsc"])),
        b"iprp" => Some((0, &[b"ipco", b"ipma"])),
        b"ipco" => {
            Some((0, &[b"ispe", b"pixi", b"av1C", b"hvcC", b"colr", b"auxC", b"clap", b"irot", b"imir"]))
        }
        _ => None,
    }
}

/// Makes every box end where the next begins, and every item end within the file. Leaves all but such files as they are.
pub(super) fn repair(file: &mut [u8]) {
    match file.get(4..HEADER_BYTES) {
        Some(b"ftyp") => {
            repair_sizes(file, OF_HEIF);
            shorten_items(file);
        }
        Some(b"JXL ") => repair_sizes(file, OF_JXL),
        _ => {}
    }
}

/// Boxes beside each other, of these kinds and others.
fn repair_sizes(boxes: &mut [u8], kinds: &[&Kind]) {
    let mut rest = boxes;
    while let Some(size) = rest.first_chunk::<4>().map(|size| u32::from_be_bytes(*size) as usize) {
        // 0 is for boxes that go to the end, 1 for those with a longer size: as good as any other change.
        if size < 2 || rest.len() < HEADER_BYTES {
            return;
        }
        let end = end_of_box(rest, size, kinds);
        rest[..4].copy_from_slice(&(end as u32).to_be_bytes());
        let (first, behind) = rest.split_at_mut(end);
        if let Some((before, kinds)) = inside(&first[4..HEADER_BYTES])
            && let Some(boxes) = first.get_mut(HEADER_BYTES + before..)
        {
            repair_sizes(boxes, kinds);
        }
        rest = behind;
    }
}

/// Where the first box ends: as it says if another follows there or nothing, else where the next of these kinds begins.
fn end_of_box(boxes: &[u8], size: usize, kinds: &[&Kind]) -> usize {
    let begins = |at: usize| {
        boxes.get(at + 4..at + HEADER_BYTES).is_some_and(|kind| kinds.iter().any(|known| *known == kind))
    };
    if size >= HEADER_BYTES && (size == boxes.len() || begins(size)) {
        return size;
    }
    (HEADER_BYTES..boxes.len()).find(|at| begins(*at)).unwrap_or(boxes.len())
}

/// Items that would end behind the file (`iloc`: ISO/IEC 14496-12, section 8.11.3) end with it. `None` where the table
/// cannot be read to its end.
fn shorten_items(file: &mut [u8]) -> Option<()> {
    let end = file.len() as u64;
    let mut at = memchr::memmem::find(file, b"iloc")? + 4;
    let version = take(file, &mut at, 4)? >> 24;
    let widths = take(file, &mut at, 2)?;
    let width = |shift: u32| (widths >> shift & 0x0F) as usize;
    let (offset, length, base, index) =
        (width(12), width(8), width(4), if version > 0 { width(0) } else { 0 });
    // A table without lengths has nothing to shorten.
    if !(1..=8).contains(&length) {
        return None;
    }
    let number = if version > 1 { 4 } else { 2 };
    for _ in 0..take(file, &mut at, number)? {
        take(file, &mut at, number)?;
        // From version 1 on: how the item is put together. Then the file in which it lies.
        take(file, &mut at, if version > 0 { 4 } else { 2 })?;
        let base = take(file, &mut at, base)?;
        for _ in 0..take(file, &mut at, 2)? {
            take(file, &mut at, index)?;
            let start = base.checked_add(take(file, &mut at, offset)?)?;
            let bytes = take(file, &mut at, length)?;
            if start < end && bytes > end - start {
                file[at - length..at].copy_from_slice(&(end - start).to_be_bytes()[8 - length..]);
            }
        }
    }
    Some(())
}

/// The number of that many bytes, the most significant first.
fn take(file: &[u8], at: &mut usize, bytes: usize) -> Option<u64> {
    let range: Range<usize> = *at..*at + bytes;
    *at = range.end;
    file.get(range).map(|number| number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
