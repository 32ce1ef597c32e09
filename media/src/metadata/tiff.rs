//! The TIFF structure of an EXIF block, read in place and written anew (TIFF 6.0, section 2; CIPA DC-008, section 4.6).
//!
//! Real blocks have directories that point nowhere, counts that overflow and maker notes that moved. So an entry that
//! cannot be read is passed over, and no other with it. Only two directories are ever read, the first and the EXIF
//! directory that it points to, each once: chains and rings of directories cost nothing.

use crate::Orientation;
use crate::directory::Shape;

/// Most entries that are read of a directory. Cameras write about 60.
const ENTRIES_MAX: usize = 1_000;
/// Longest value that is read, in bytes. A JPEG's block could hold no longer one.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 16;
/// Bytes of an entry: tag, type, count, and the value or its offset.
const ENTRY_BYTES: usize = 12;
/// Bytes of the header, behind which the first directory that is written begins.
const HEADER_BYTES: usize = 8;

/// What may stand before the TIFF header: JPEG prescribes it, and some PNG and WebP writers leave it.
pub(super) const PREFIX: &[u8] = b"Exif\0\0";

/// Tag of the orientation, a SHORT.
pub(super) const ORIENTATION: u16 = 0x0112;
/// Tag of the pointer to the EXIF directory.
pub(crate) const EXIF_DIRECTORY: u16 = 0x8769;

/// Tag of the pointer to the GPS directory.
pub(super) const GPS_DIRECTORY: u16 = 0x8825;
/// What a GPS directory has at most, in entries and in their tags: EXIF defines 32 (CIPA DC-008, table 15).
const GPS_ENTRIES_MAX: usize = 64;
const GPS_TAG_MAX: u16 = 0xFF;

/// Field types (TIFF 6.0, section 2; UTF-8 since EXIF 3.0).
pub(super) mod kind {
    pub(in crate::metadata) const BYTE: u16 = 1;
    pub(in crate::metadata) const ASCII: u16 = 2;
    pub(in crate::metadata) const SHORT: u16 = 3;
    pub(in crate::metadata) const LONG: u16 = 4;
    pub(in crate::metadata) const RATIONAL: u16 = 5;
    pub(in crate::metadata) const SRATIONAL: u16 = 10;
    pub(in crate::metadata) const IFD: u16 = 13;
    /// Of a BigTIFF.
    pub(in crate::metadata) const LONG8: u16 = 16;
    /// Of a BigTIFF.
    pub(in crate::metadata) const IFD8: u16 = 18;
    pub(in crate::metadata) const UTF8: u16 = 129;
}

/// Bytes of one element of a field type. `None` for types that EXIF does not know.
pub(crate) const fn element_bytes(kind: u16) -> Option<usize> {
    match kind {
        // BYTE, ASCII, SBYTE, UNDEFINED and UTF-8.
        1 | 2 | 6 | 7 | 129 => Some(1),
        // SHORT and SSHORT.
        3 | 8 => Some(2),
        // LONG, SLONG, FLOAT and IFD.
        4 | 9 | 11 | 13 => Some(4),
        // RATIONAL, SRATIONAL and DOUBLE.
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `II`: least significant first.
    Little,
    /// `MM`: most significant first.
    Big,
}

impl Order {
    pub(super) const fn of(shape: Shape) -> Self {
        if shape.big_endian { Self::Big } else { Self::Little }
    }

    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    /// The bytes of a SHORT.
    pub(super) const fn short(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// The bytes of a LONG.
    const fn long(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// An entry of a directory, with its value wherever in the block that lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) tag: u16,
    /// One of [`kind`], or another type of TIFF.
    pub(super) kind: u16,
    pub(super) order: Order,
    /// As many whole elements as the entry counts.
    pub(super) value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The first element of a BYTE, SHORT, LONG or IFD, or of one of 64 bits that 32 can hold.
    pub(super) fn unsigned(&self) -> Option<u32> {
        match self.kind {
            kind::BYTE => self.value.first().map(|byte| u32::from(*byte)),
            kind::SHORT => self.value.first_chunk().map(|bytes| u32::from(self.order.u16(*bytes))),
            kind::LONG | kind::IFD => self.value.first_chunk().map(|bytes| self.order.u32(*bytes)),
            kind::LONG8 | kind::IFD8 => u32::try_from(self.order.u64(*self.value.first_chunk()?)).ok(),
            _ => None,
        }
    }

    /// Numerator and denominator of the first element of a RATIONAL or SRATIONAL.
    pub(super) fn fraction(&self) -> Option<(i64, i64)> {
        let (num, rest) = self.value.split_first_chunk()?;
        let den = rest.first_chunk()?;
        let (num, den) = (self.order.u32(*num), self.order.u32(*den));
        match self.kind {
            kind::RATIONAL => Some((i64::from(num), i64::from(den))),
            kind::SRATIONAL => Some((i64::from(num.cast_signed()), i64::from(den.cast_signed()))),
            _ => None,
        }
    }

    /// The bytes of a text, its terminator and whatever follows it included.
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        matches!(self.kind, kind::ASCII | kind::UTF8).then_some(self.value)
    }

    /// Bytes that it takes in a block that is written: the entry, and a value that does not fit into it, padded.
    pub(super) const fn written_bytes(&self) -> usize {
        ENTRY_BYTES + if self.value.len() > 4 { self.value.len().next_multiple_of(2) } else { 0 }
    }
}

/// An EXIF block whose header was understood, or a file that begins like one: a TIFF or a BigTIFF.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    shape: Shape,
    first: usize,
}

impl<'a> Tiff<'a> {
    /// A block that begins with its TIFF header, or with [`PREFIX`] before it.
    pub(super) fn parse(block: &'a [u8]) -> Option<Self> {
        let bytes = block.strip_prefix(PREFIX).unwrap_or(block);
        let shape = Shape::of(bytes)?;
        let (start, end) = (shape.header_bytes() - shape.field_bytes(), shape.header_bytes());
        let first = usize::try_from(shape.number(bytes.get(start..end)?)).ok()?;
        Some(Self { bytes, shape, first })
    }

    /// The block from its TIFF header on.
    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) const fn order(&self) -> Order {
        Order::of(self.shape)
    }

    /// The entries of the first directory, which speaks of the picture.
    pub(super) fn image(self) -> impl Iterator<Item = Entry<'a>> {
        self.directory(self.first)
    }

    /// The entries of the EXIF directory, which speaks of how it was taken. None if there is no such directory.
    pub(super) fn exif(self) -> impl Iterator<Item = Entry<'a>> {
        let pointer = self.image().find(|entry| entry.tag == EXIF_DIRECTORY);
        let at = pointer.and_then(|entry| entry.unsigned()).map(|at| at as usize);
        at.filter(|at| *at != self.first).into_iter().flat_map(move |at| self.directory(at))
    }

    /// The bytes of the GPS directory, and its entries. Of none if there is no such directory, or something that is none is
    /// pointed to.
    pub(super) fn gps(self) -> (&'a [u8], Vec<Entry<'a>>) {
        let pointer = self.image().find(|entry| entry.tag == GPS_DIRECTORY);
        let Some(at) = pointer.and_then(|entry| entry.unsigned()).map(|at| at as usize) else {
            return (&[], Vec::new());
        };
        let rest = self.bytes.get(at..).unwrap_or_default();
        let count_bytes = self.shape.count_bytes();
        let count = self.shape.number(rest.get(..count_bytes).unwrap_or_default());
        let entries: Vec<_> = self.directory(at).take(GPS_ENTRIES_MAX).collect();
        if count > GPS_ENTRIES_MAX as u64 || entries.iter().any(|entry| entry.tag > GPS_TAG_MAX) {
            return (&[], Vec::new());
        }
        (&rest[..rest.len().min(count_bytes + count as usize * self.shape.entry_bytes())], entries)
    }

    /// The entries that can be read of the directory at an offset.
    fn directory(self, at: usize) -> impl Iterator<Item = Entry<'a>> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let (count, entries) = rest.split_at_checked(self.shape.count_bytes()).unwrap_or_default();
        let count = self.shape.number(count).min(ENTRIES_MAX as u64) as usize;
        let entries = entries.chunks_exact(self.shape.entry_bytes());
        entries.take(count).filter_map(move |entry| self.entry(entry))
    }

    fn entry(self, bytes: &'a [u8]) -> Option<Entry<'a>> {
        let shape = self.shape;
        let (head, field) = bytes.split_at_checked(shape.entry_bytes() - shape.field_bytes())?;
        let (tag, kind) = (shape.number(&head[..2]) as u16, shape.number(&head[2..4]) as u16);
        let of_big = shape.big && matches!(kind, kind::LONG8..=kind::IFD8);
        let size = if of_big { 8 } else { element_bytes(kind)? };
        let length = size.checked_mul(usize::try_from(shape.number(&head[4..])).ok()?)?;
        if length > VALUE_BYTES_MAX {
            return None;
        }
        let value = if length <= field.len() {
            field.get(..length)?
        } else {
            let at = usize::try_from(shape.number(field)).ok()?;
            self.bytes.get(at..)?.get(..length)?
        };
        Some(Entry { tag, kind, order: self.order(), value })
    }
}

/// The orientation in an EXIF block. `None` if it has none or cannot be read: a photo with a broken EXIF block is shown
/// as stored, as browsers do.
pub(crate) fn orientation(block: &[u8]) -> Option<Orientation> {
    let mut entries = Tiff::parse(block)?.image();
    let entry = entries.find(|entry| entry.tag == ORIENTATION && entry.kind == kind::SHORT)?;
    Orientation::from_exif(u16::try_from(entry.unsigned()?).ok()?)
}

/// Bytes of a written block beyond those of its entries: the header, and a count and an end for each directory.
pub(super) const FRAME_BYTES: usize = HEADER_BYTES + 6 + ENTRY_BYTES + 6;

/// Writes a block of a first directory and, where there are entries for it, an EXIF directory.
///
/// Both must be sorted by tag, and none of the entries may be a pointer. The byte order is that of the values, which are
/// copied: those of type UNDEFINED may hold numbers in it.
pub(super) fn write(order: Order, image: &[Entry<'_>], exif: &[Entry<'_>]) -> Vec<u8> {
    let entries = image.iter().chain(exif);
    let bytes = FRAME_BYTES + entries.map(Entry::written_bytes).sum::<usize>();
    let mut out = Vec::with_capacity(bytes);
    out.extend(match order {
        Order::Little => b"II*\0",
        Order::Big => b"MM\0*",
    });
    out.extend(order.long(HEADER_BYTES as u32));
    if exif.is_empty() {
        write_directory(&mut out, order, image);
        return out;
    }
    let image_bytes = 6 + ENTRY_BYTES + image.iter().map(Entry::written_bytes).sum::<usize>();
    // The caller's bound is far below 4 GiB.
    let pointer = order.long((HEADER_BYTES + image_bytes) as u32);
    let mut image = image.to_vec();
    let at = image.partition_point(|entry| entry.tag < EXIF_DIRECTORY);
    image.insert(at, Entry { tag: EXIF_DIRECTORY, kind: kind::LONG, order, value: &pointer });
    write_directory(&mut out, order, &image);
    write_directory(&mut out, order, exif);
    out
}

/// A directory without a next one, and behind it the values that do not fit into its entries.
fn write_directory(out: &mut Vec<u8>, order: Order, entries: &[Entry<'_>]) {
    let mut value_at = out.len() + 6 + entries.len() * ENTRY_BYTES;
    // At most ENTRIES_MAX and the pointer.
    out.extend(order.short(entries.len() as u16));
    for entry in entries {
        let count = entry.value.len() / element_bytes(entry.kind).unwrap_or(1);
        out.extend(order.short(entry.tag));
        out.extend(order.short(entry.kind));
        out.extend(order.long(count as u32));
        if entry.value.len() <= 4 {
            let mut inline = [0; 4];
            inline[..entry.value.len()].copy_from_slice(entry.value);
            out.extend(inline);
        } else {
            out.extend(order.long(value_at as u32));
            value_at += entry.value.len().next_multiple_of(2);
        }
    }
    out.extend(order.long(0));
    for entry in entries.iter().filter(|entry| entry.value.len() > 4) {
        out.extend(entry.value);
        if entry.value.len() % 2 == 1 {
            out.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiff(big_endian: bool, tag: u16, value: u16) -> Vec<u8> {
        let short = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let long = |v: u32| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let mut out = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        out.extend(long(8));
        out.extend(short(1));
        out.extend(short(tag));
        out.extend(short(kind::SHORT));
        out.extend(long(1));
        out.extend(short(value));
        out.extend(short(0));
        out.extend(long(0));
        out
    }

    #[test]
    fn reads_both_byte_orders() {
        for big_endian in [false, true] {
            for number in 1..=8 {
                let found = orientation(&tiff(big_endian, ORIENTATION, number));
                assert_eq!(found, Orientation::from_exif(number));
            }
            assert_eq!(orientation(&tiff(big_endian, ORIENTATION, 0)), None);
            assert_eq!(orientation(&tiff(big_endian, 0x010F, 6)), None);
        }
        let prefixed = [PREFIX, &tiff(true, ORIENTATION, 6)].concat();
        assert_eq!(orientation(&prefixed), Some(Orientation::Rotate90));
    }

    #[test]
    fn nonsense_has_no_orientation() {
        let whole = tiff(false, ORIENTATION, 6);
        for length in 0..18 {
            assert_eq!(orientation(&whole[..length]), None, "cut to {length} bytes");
        }
        // A directory that lies beyond the block, and one that would overflow the address.
        for offset in [1_000_u32, u32::MAX] {
            let mut far = whole.clone();
            far[4..8].copy_from_slice(&offset.to_le_bytes());
            assert_eq!(orientation(&far), None);
        }
    }

    #[test]
    fn entries_that_cannot_be_read_are_passed_over() {
        let mut out = b"II*\0\x08\0\0\0\x05\0".to_vec();
        let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
            out.extend(tag.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(count.to_le_bytes());
            out.extend(value.to_le_bytes());
        };
        entry(0x010F, 2, u32::MAX, 8);
        entry(0x0110, 5, u32::MAX / 4, 8);
        entry(0x0131, 99, 1, 8);
        entry(0x013B, 2, 5, u32::MAX - 2);
        entry(0x8298, 2, 4, u32::from_le_bytes(*b"abc\0"));
        let found: Vec<Entry<'_>> = Tiff::parse(&out).unwrap().image().collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].tag, found[0].text()), (0x8298, Some(b"abc\0".as_slice())));
    }

    #[test]
    fn a_directory_is_read_to_its_thousandth_entry_and_never_as_its_own_child() {
        let mut out = b"II*\0\x08\0\0\0\xFF\xFF".to_vec();
        for index in 0..5_000_u32 {
            out.extend(if index == 0 { EXIF_DIRECTORY } else { 0x0100 }.to_le_bytes());
            out.extend(kind::LONG.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
            out.extend(8_u32.to_le_bytes());
        }
        let tiff = Tiff::parse(&out).unwrap();
        assert_eq!(tiff.image().count(), ENTRIES_MAX);
        assert_eq!(tiff.exif().count(), 0);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for order in [Order::Little, Order::Big] {
            let entry = |tag, kind, value| Entry { tag, kind, order, value };
            let image = [
                entry(0x010F, kind::ASCII, b"Maker\0"),
                entry(0x0131, kind::ASCII, b"odd\0five\0"),
                entry(0x9999, kind::BYTE, b"\x07"),
            ];
            let exif = [entry(0x829A, kind::RATIONAL, b"\0\0\0\x01\0\0\0\x7D"), entry(0xA401, 3, b"\0\x01")];
            let block = write(order, &image, &exif);
            let tiff = Tiff::parse(&block).unwrap();
            assert_eq!(tiff.exif().collect::<Vec<_>>(), exif);
            let found: Vec<_> = tiff.image().filter(|entry| entry.tag != EXIF_DIRECTORY).collect();
            assert_eq!(found, image);
            assert!(tiff.image().is_sorted_by_key(|entry| entry.tag));
            assert!(block.len() <= FRAME_BYTES + 12 * 5 + 6 + 10 + 8);

            let alone = write(order, &image, &[]);
            assert_eq!(Tiff::parse(&alone).unwrap().image().collect::<Vec<_>>(), image);
        }
    }
}
