//! The tables of a `meta` box: items, where their bytes lie, what is said of them, and how they belong together.

use std::borrow::Cow;
use std::ops::Range;

use super::boxes::Fields;
use crate::{MediaError, SourceFormat};

/// A `meta` box (ISO/IEC 14496-12, section 8.11; ISO/IEC 23008-12, section 9.3).
///
/// Tables are sorted by item, so that looking one up costs no more in a directory of a hundred thousand.
#[derive(Debug)]
pub(crate) struct Directory<'a> {
    pub(super) format: SourceFormat,
    pub(super) primary: u32,
    /// Item and kind, from `iinf`.
    items: Vec<(u32, [u8; 4])>,
    /// From `ipco`: kind and content.
    properties: Vec<([u8; 4], &'a [u8])>,
    associations: Vec<Association<'a>>,
    locations: Vec<Location<'a>>,
    references: Vec<Reference<'a>>,
    /// From `idat`: bytes of items that lie in the directory itself.
    data: &'a [u8],
}

/// The properties of an item, from `ipma`.
#[derive(Debug)]
struct Association<'a> {
    item: u32,
    /// Whether each index has 15 bits rather than 7.
    wide: bool,
    indices: &'a [u8],
}

/// Where an item's bytes lie, from `iloc`.
#[derive(Debug)]
struct Location<'a> {
    item: u32,
    /// 0: in the file; 1: in `idat`; 2: in another item.
    method: u8,
    base: u64,
    extents: &'a [u8],
    widths: Widths,
}

/// Bytes of the numbers in `iloc`: 0, 4 or 8 each.
#[derive(Debug, Clone, Copy)]
struct Widths {
    index: usize,
    offset: usize,
    length: usize,
    base: usize,
}

/// Where an item lies.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// Among the directory's own bytes.
    Directory(&'a [u8]),
    /// There in the file.
    File(Range<u64>),
}

impl Widths {
    const fn extent(self) -> usize {
        self.index + self.offset + self.length
    }
}

/// From `iref`.
#[derive(Debug)]
struct Reference<'a> {
    kind: [u8; 4],
    from: u32,
    wide: bool,
    to: &'a [u8],
}

impl Reference<'_> {
    fn targets(&self) -> impl Iterator<Item = u32> {
        let bytes = if self.wide { 4 } else { 2 };
        self.to.chunks_exact(bytes).filter_map(move |item| Fields(item).item(bytes == 4))
    }
}

impl<'a> Directory<'a> {
    /// Reads what a `meta` box holds: everything behind its header.
    pub(crate) fn read(meta: &'a [u8], format: SourceFormat) -> Result<Self, MediaError> {
        let mut directory = Self {
            format,
            primary: 0,
            items: Vec::new(),
            properties: Vec::new(),
            associations: Vec::new(),
            locations: Vec::new(),
            references: Vec::new(),
            data: &[],
        };
        let mut fields = Fields(meta);
        let mut primary = None;
        let read = fields.version().and_then(|_| {
            while let Some((kind, content)) = fields.next_box() {
                match &kind {
                    b"pitm" => primary = Some(read_primary(content)?),
                    b"iinf" => read_items(content, &mut directory.items)?,
                    b"iprp" => directory.read_properties(content)?,
                    b"iloc" => read_locations(content, &mut directory.locations)?,
                    b"iref" => read_references(content, &mut directory.references)?,
                    b"idat" => directory.data = content,
                    _ => {}
                }
            }
            fields.0.is_empty().then_some(())
        });
        if read.is_none() {
            return Err(directory.corrupt("a table of its directory ends too early"));
        }
        let Some(primary) = primary else {
            return Err(directory.corrupt("its directory names no main picture"));
        };
        directory.primary = primary;
        directory.sort()?;
        Ok(directory)
    }

    pub(super) fn corrupt(&self, detail: impl Into<String>) -> MediaError {
        MediaError::corrupt(self.format, detail)
    }

    fn read_properties(&mut self, content: &'a [u8]) -> Option<()> {
        let mut tables = Fields(content);
        while let Some((kind, table)) = tables.next_box() {
            match &kind {
                b"ipco" => {
                    let mut properties = Fields(table);
                    while let Some(property) = properties.next_box() {
                        self.properties.push(property);
                    }
                }
                b"ipma" => read_associations(table, &mut self.associations)?,
                _ => {}
            }
        }
        Some(())
    }

    /// An item that a table names twice has no one meaning, and would have to be searched for again and again.
    fn sort(&mut self) -> Result<(), MediaError> {
        self.items.sort_unstable_by_key(|(item, _)| *item);
        self.associations.sort_unstable_by_key(|entry| entry.item);
        self.locations.sort_unstable_by_key(|entry| entry.item);
        let twice = self.items.windows(2).any(|pair| pair[0].0 == pair[1].0)
            || self.associations.windows(2).any(|pair| pair[0].item == pair[1].item)
            || self.locations.windows(2).any(|pair| pair[0].item == pair[1].item);
        if twice {
            return Err(self.corrupt("its directory lists a picture twice"));
        }
        Ok(())
    }

    /// What an item is: `av01`, `hvc1`, `grid`, `Exif`…
    pub(crate) fn kind(&self, item: u32) -> Option<[u8; 4]> {
        let index = self.items.binary_search_by_key(&item, |(item, _)| *item).ok()?;
        Some(self.items[index].1)
    }

    /// The properties of an item in the order in which they apply: kind, content, and whether one who does not know it
    /// must not show the item.
    pub(super) fn properties(&self, item: u32) -> impl Iterator<Item = ([u8; 4], &'a [u8], bool)> {
        let found = self.associations.binary_search_by_key(&item, |entry| entry.item);
        let (wide, indices): (bool, &'a [u8]) = found
            .map_or((false, &[]), |index| (self.associations[index].wide, self.associations[index].indices));
        indices.chunks_exact(if wide { 2 } else { 1 }).filter_map(move |entry| {
            let number = Fields(entry).number(entry.len())? as usize;
            let essential = 1 << (entry.len() * 8 - 1);
            // Indices count from 1; 0 stands for none.
            let (kind, content) = self.properties.get((number & (essential - 1)).checked_sub(1)?)?;
            Some((*kind, *content, number & essential != 0))
        })
    }

    /// The items that `from` refers to with references of a kind, in their order.
    pub(super) fn referred(&self, kind: [u8; 4], from: u32) -> impl Iterator<Item = u32> {
        let of_kind = self.references.iter().filter(move |entry| entry.kind == kind && entry.from == from);
        of_kind.flat_map(Reference::targets)
    }

    /// The items that refer to `to` with references of a kind.
    pub(super) fn referring(&self, kind: [u8; 4], to: u32) -> impl Iterator<Item = u32> {
        let of_kind = self.references.iter().filter(move |entry| entry.kind == kind);
        of_kind.filter(move |entry| entry.targets().any(|item| item == to)).map(|entry| entry.from)
    }

    /// The item that holds the main picture's EXIF block.
    pub(crate) fn exif(&self) -> Option<u32> {
        let described =
            self.referring(*b"cdsc", self.primary).find(|item| self.kind(*item) == Some(*b"Exif"));
        described.or_else(|| self.items.iter().find(|(_, kind)| kind == b"Exif").map(|(item, _)| *item))
    }

    /// Where the last byte of any item lies, counted from the beginning of the file, plus one. `None` if an address
    /// does not fit into 64 bits.
    pub(crate) fn end(&self) -> Option<u64> {
        let mut end = 0;
        for location in self.locations.iter().filter(|location| location.method == 0) {
            for extent in location.extents() {
                end = end.max(extent?.end);
            }
        }
        Some(end)
    }

    fn location(&self, item: u32) -> Result<&Location<'a>, MediaError> {
        let found = self.locations.binary_search_by_key(&item, |entry| entry.item);
        let location = found.ok().map(|index| &self.locations[index]);
        match location {
            Some(location) if location.method <= 1 => Ok(location),
            Some(_) => Err(MediaError::unsupported(
                "a picture made of parts of other pictures",
                "export it as a JPEG",
            )),
            None => Err(self.corrupt("its directory does not say where a picture lies")),
        }
    }

    /// The pieces of every item that lies in this file: the item, whether they are counted from the beginning of the
    /// directory's own bytes rather than the file's, and the pieces that 64 bits can address.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u32, bool, Range<u64>)> {
        let here = self.locations.iter().filter(|location| location.method <= 1);
        here.flat_map(|location| {
            let extents = location.extents().flatten();
            extents.map(|extent| (location.item, location.method == 1, extent))
        })
    }

    /// Where an item lies that is in one piece. `None` for others.
    pub(crate) fn place(&self, item: u32) -> Option<Place<'a>> {
        let location = self.location(item).ok()?;
        let extent = location.extents().next()??;
        match (location.extents().nth(1), location.method) {
            (Some(_), _) => None,
            (None, 1) => piece(self.data, &extent).map(Place::Directory),
            (None, _) => Some(Place::File(extent)),
        }
    }

    /// The bytes of an item that lies in one piece.
    pub(super) fn slice<'f>(&self, original: &'f [u8], item: u32) -> Result<&'f [u8], MediaError>
    where
        'a: 'f,
    {
        let location = self.location(item)?;
        let source: &'f [u8] = if location.method == 1 { self.data } else { original };
        match (location.extents().next(), location.extents().nth(1)) {
            (Some(Some(extent)), None) => piece(source, &extent).ok_or_else(|| self.beyond()),
            _ => Err(self.corrupt("a picture that should lie in one piece does not")),
        }
    }

    /// The bytes of an item, copied only if they lie in pieces.
    pub(crate) fn bytes<'f>(&self, original: &'f [u8], item: u32) -> Result<Cow<'f, [u8]>, MediaError>
    where
        'a: 'f,
    {
        let location = self.location(item)?;
        if location.extents().nth(1).is_none() {
            return self.slice(original, item).map(Cow::Borrowed);
        }
        let source: &'f [u8] = if location.method == 1 { self.data } else { original };
        let pieces: Option<Vec<&'f [u8]>> =
            location.extents().map(|extent| extent.and_then(|extent| piece(source, &extent))).collect();
        let pieces = pieces.ok_or_else(|| self.beyond())?;
        // Pieces that overlap could make more of a file than it has.
        let total = pieces.iter().try_fold(0_usize, |total, piece| total.checked_add(piece.len()));
        if total.is_none_or(|total| total > source.len()) {
            return Err(self.corrupt("the pieces of a picture overlap"));
        }
        let bytes = pieces.concat();
        Ok(Cow::Owned(bytes))
    }

    fn beyond(&self) -> MediaError {
        self.corrupt("a picture lies beyond its end")
    }
}

fn piece<'f>(source: &'f [u8], extent: &Range<u64>) -> Option<&'f [u8]> {
    source.get(usize::try_from(extent.start).ok()?..usize::try_from(extent.end).ok()?)
}

impl Location<'_> {
    /// `None` for an extent whose address does not fit into 64 bits.
    fn extents(&self) -> impl Iterator<Item = Option<Range<u64>>> {
        self.extents.chunks_exact(self.widths.extent().max(1)).map(|entry| {
            let mut fields = Fields(entry);
            fields.take(self.widths.index)?;
            let offset = fields.number(self.widths.offset)?;
            let length = fields.number(self.widths.length)?;
            let start = self.base.checked_add(offset)?;
            Some(start..start.checked_add(length)?)
        })
    }
}

/// `pitm`.
fn read_primary(content: &[u8]) -> Option<u32> {
    let mut fields = Fields(content);
    let (version, _) = fields.version()?;
    fields.item(version > 0)
}

/// `iinf`, with an `infe` for each item. Versions before 2 cannot name a kind, and mean nothing in HEIF.
fn read_items(content: &[u8], items: &mut Vec<(u32, [u8; 4])>) -> Option<()> {
    let mut fields = Fields(content);
    let (version, _) = fields.version()?;
    fields.item(version > 0)?;
    while let Some((kind, entry)) = fields.next_box() {
        let mut entry = Fields(entry);
        if &kind != b"infe" {
            continue;
        }
        let (version, _) = entry.version()?;
        if version >= 2 {
            let item = entry.item(version > 2)?;
            // The index of its encryption.
            entry.u16()?;
            items.push((item, entry.kind()?));
        }
    }
    Some(())
}

/// `ipma` (ISO/IEC 23008-12, section 9.3.2).
fn read_associations<'a>(content: &'a [u8], associations: &mut Vec<Association<'a>>) -> Option<()> {
    let mut fields = Fields(content);
    let (version, flags) = fields.version()?;
    let wide = flags & 1 != 0;
    for _ in 0..fields.u32()? {
        let item = fields.item(version > 0)?;
        let count = usize::from(fields.u8()?);
        let indices = fields.take(if wide { count * 2 } else { count })?;
        associations.push(Association { item, wide, indices });
    }
    Some(())
}

/// `iloc` (ISO/IEC 14496-12, section 8.11.3).
fn read_locations<'a>(content: &'a [u8], locations: &mut Vec<Location<'a>>) -> Option<()> {
    let mut fields = Fields(content);
    let (version, _) = fields.version()?;
    let sizes = fields.u16()?;
    let size = |shift: u16| usize::from(sizes >> shift & 0x0F);
    let index = if version > 0 { size(0) } else { 0 };
    let widths = Widths { offset: size(12), length: size(8), base: size(4), index };
    let known = |bytes: usize| matches!(bytes, 0 | 4 | 8);
    if version > 2 || ![widths.offset, widths.length, widths.base, widths.index].into_iter().all(known) {
        return None;
    }
    let count = fields.item(version > 1)?;
    for _ in 0..count {
        let item = fields.item(version > 1)?;
        let method = if version > 0 { (fields.u16()? & 0x0F) as u8 } else { 0 };
        // The number of the file that holds the data; 0, this one, is all that exists.
        let elsewhere = fields.u16()? != 0;
        let base = fields.number(widths.base)?;
        let extents = usize::from(fields.u16()?);
        let extents = fields.take(extents * widths.extent())?;
        let method = if elsewhere { u8::MAX } else { method };
        locations.push(Location { item, method, base, extents, widths });
    }
    Some(())
}

/// `iref` (ISO/IEC 14496-12, section 8.11.12).
fn read_references<'a>(content: &'a [u8], references: &mut Vec<Reference<'a>>) -> Option<()> {
    let mut fields = Fields(content);
    let (version, _) = fields.version()?;
    let wide = version > 0;
    while let Some((kind, entry)) = fields.next_box() {
        let mut entry = Fields(entry);
        let from = entry.item(wide)?;
        let count = usize::from(entry.u16()?);
        let to = entry.take(if wide { count * 4 } else { count * 2 })?;
        references.push(Reference { kind, from, wide, to });
    }
    Some(())
}
