//! Of an AVIF or HEIC: its directory, its pictures, and what of EXIF may be shown, each at its place. Its directory counts
//! places from the beginning of the file, so nothing is moved: other boxes become free space, and other items zeros.

use std::ops::Range;

use super::super::boxes::{BoxAt, boxes};
use super::in_place::InPlace;
use super::public_exif;
use crate::heif::{Directory, directory_of, exif_block};
use crate::{MediaError, SourceFormat};

/// Items that are pictures, coded or made of others. Anything else may be metadata.
const PICTURES: [&[u8; 4]; 7] = [b"av01", b"hvc1", b"lhv1", b"grid", b"iovl", b"iden", b"tmap"];

/// Properties that say how a picture is coded and to be shown. Others may be texts, such as `udes`.
const SHOWN: [&[u8; 4]; 20] = [
    b"ispe", b"pixi", b"pasp", b"colr", b"clap", b"irot", b"imir", b"rloc", b"auxC", b"av1C", b"hvcC",
    b"lhvC", b"oinf", b"tols", b"a1op", b"a1lx", b"lsel", b"clli", b"mdcv", b"cclv",
];

/// Bytes of `hdlr` before its name: version, a zero, the kind of the directory, and three more zeros.
const HANDLER_BYTES: usize = 24;

pub(super) fn of_heif(original: &[u8], format: SourceFormat) -> Result<Vec<u8>, MediaError> {
    let directory = directory_of(original, format)?;
    let mut file = InPlace::new(original, format);
    let mut own_data = None;
    let mut known = false;
    // Every item must remain inside the file, whatever becomes of it, and so must the box around the last one.
    let last = directory.end().and_then(|end| usize::try_from(end).ok()).unwrap_or(usize::MAX);
    let mut end = 0;
    for part in boxes(original, &(0..original.len())) {
        if end < last || &part.kind == b"meta" && !known {
            end = part.content.end;
        }
        match &part.kind {
            b"ftyp" => file.keep(part.start..part.content.end)?,
            b"meta" if !known => {
                known = true;
                own_data = keep_directory(&mut file, &part)?;
            }
            b"moov" => return Err(sequence(format)),
            b"mdat" => file.keep(part.start..part.content.start)?,
            _ => free(&mut file, &part)?,
        }
    }
    let items = Items { directory: &directory, own_data };
    items.keep_pictures(&mut file)?;
    items.check_others(&mut file)?;
    items.write_exif(&mut file, original);
    // Some files have their pictures where no box is.
    Ok(file.finish(end.max(last.min(original.len()))))
}

/// Its frames are listed in tables of their own, which name no items.
fn sequence(format: SourceFormat) -> MediaError {
    MediaError::unsupported(
        format!("removing place and serial numbers from an {format} with a sequence of frames"),
        "take one of its variants, or upload it as JPEG, PNG, WebP or GIF",
    )
}

/// Makes free space of a box.
fn free(file: &mut InPlace, part: &BoxAt) -> Result<(), MediaError> {
    file.keep(part.start..part.content.start)?;
    file.write(part.start + 4, b"free");
    Ok(())
}

/// Copies the tables of the directory without the names in them. Gives where its own data lies.
fn keep_directory(file: &mut InPlace, meta: &BoxAt) -> Result<Option<Range<usize>>, MediaError> {
    let tables = meta.content.start.saturating_add(4)..meta.content.end;
    file.keep(meta.start..tables.start)?;
    let mut own_data = None;
    for part in boxes(file.original(), &tables) {
        match &part.kind {
            b"pitm" | b"iloc" | b"iref" | b"grpl" => file.keep(part.start..part.content.end)?,
            b"hdlr" => {
                let named = part.content.start + HANDLER_BYTES;
                file.keep(part.start..named.min(part.content.end))?;
            }
            b"iinf" => keep_items(file, &part)?,
            b"iprp" => keep_properties(file, &part)?,
            b"idat" => {
                file.keep(part.start..part.content.start)?;
                own_data = Some(part.content);
            }
            _ => free(file, &part)?,
        }
    }
    Ok(own_data)
}

/// The list of items without their names, and without the types of content by which XMP is known: it is no longer any.
fn keep_items(file: &mut InPlace, list: &BoxAt) -> Result<(), MediaError> {
    let version = |file: &InPlace, at: usize| file.original().get(at).copied().unwrap_or_default();
    let count_bytes = if version(file, list.content.start) == 0 { 2 } else { 4 };
    let entries = list.content.start.saturating_add(4 + count_bytes)..list.content.end;
    file.keep(list.start..entries.start.min(entries.end))?;
    for part in boxes(file.original(), &entries) {
        // Version and flags, number, protection, and since version 2 the kind (ISO/IEC 14496-12, section 8.11.6).
        let bytes = match version(file, part.content.start) {
            0 | 1 => 8,
            2 => 12,
            _ => 14,
        };
        if &part.kind == b"infe" {
            file.keep(part.start..(part.content.start + bytes).min(part.content.end))?;
        } else {
            free(file, &part)?;
        }
    }
    Ok(())
}

fn keep_properties(file: &mut InPlace, part: &BoxAt) -> Result<(), MediaError> {
    file.keep(part.start..part.content.start)?;
    for table in boxes(file.original(), &part.content) {
        match &table.kind {
            b"ipma" => file.keep(table.start..table.content.end)?,
            b"ipco" => {
                file.keep(table.start..table.content.start)?;
                // They are counted, so those that go leave a gap.
                for property in boxes(file.original(), &table.content) {
                    if SHOWN.contains(&&property.kind) {
                        file.keep(property.start..property.content.end)?;
                    } else {
                        free(file, &property)?;
                    }
                }
            }
            _ => free(file, &table)?,
        }
    }
    Ok(())
}

struct Items<'a> {
    directory: &'a Directory<'a>,
    /// Where the directory's own data lies.
    own_data: Option<Range<usize>>,
}

impl Items<'_> {
    /// The pieces of items that are pictures, or of those that are not, as they lie in the file.
    fn pieces(&self, pictures: bool) -> impl Iterator<Item = (u32, Range<usize>)> {
        let is_picture = |item| self.directory.kind(item).is_some_and(|kind| PICTURES.contains(&&kind));
        let of_kind = self.directory.pieces().filter(move |(item, ..)| is_picture(*item) == pictures);
        of_kind.filter_map(|(item, own, piece)| {
            let (start, end) = (usize::try_from(piece.start).ok()?, usize::try_from(piece.end).ok()?);
            if !own {
                return Some((item, start..end));
            }
            let data = self.own_data.clone()?;
            let within = |at: usize| data.start.saturating_add(at).min(data.end);
            Some((item, within(start)..within(end)))
        })
    }

    fn keep_pictures(&self, file: &mut InPlace) -> Result<(), MediaError> {
        self.pieces(true).try_for_each(|(_, piece)| file.keep(piece))
    }

    fn check_others(&self, file: &mut InPlace) -> Result<(), MediaError> {
        self.pieces(false).try_for_each(|(_, piece)| file.check_blank(piece))
    }

    /// What may be shown of each EXIF block that lies in one piece, where it is not longer than the block was.
    fn write_exif(&self, file: &mut InPlace, original: &[u8]) {
        let pieces: Vec<_> =
            self.pieces(false).filter(|(item, _)| self.directory.kind(*item) == Some(*b"Exif")).collect();
        for pair in pieces.chunk_by(|a, b| a.0 == b.0) {
            let [(_, piece)] = pair else { continue };
            // Another item's may be there already, if they share it.
            if file.check_blank(piece.clone()).is_err() {
                continue;
            }
            let item = original.get(piece.clone()).unwrap_or_default();
            let public = exif_block(item).and_then(public_exif);
            if let Some(block) = public.filter(|block| block.len() + 4 <= item.len()) {
                // Behind the block's distance, which is zero.
                file.write(piece.start + 4, &block);
            }
        }
    }
}
