//! Photos with secrets in every place that their containers have for metadata. Their makers are those of each format.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use super::build;
use super::exif_blocks::{Block, SECRET, camera, tiff_of};
use super::heif::{HeifFile, Item, boxed, full};

/// A TIFF with everything that a camera writes, and a film behind it.
pub(crate) fn tiff(big_endian: bool, build: fn(&Block) -> Vec<u8>) -> Vec<u8> {
    [tiff_of(&camera(big_endian), build), SECRET.to_vec()].concat()
}

/// An entry of a directory: tag, type, count, and where its values lie.
type Entry = (u16, u16, u64, usize);

/// A directory of a BigTIFF, and what lies behind it.
fn big_directory(big_endian: bool, entries: &[Entry], behind: &[u8]) -> Vec<u8> {
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u64| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut out = long(entries.len() as u64).to_vec();
    for (tag, kind, count, at) in entries {
        out.extend([short(*tag), short(*kind)].concat());
        out.extend([long(*count), long(*at as u64)].concat());
    }
    out.extend([0; 8]);
    out.extend(behind);
    out
}

/// A BigTIFF of 8 × 4 gray pixels that tells its lens, its serial number and its place. Its title claims to lie where the
/// place does.
pub(crate) fn big_tiff(big_endian: bool) -> Vec<u8> {
    const LONG8: u16 = 16;
    const LENS: &[u8] = b"RF24-70mm F2.8L\0";
    let secret = [SECRET, b"-behind--\0"].concat();
    let (exif_bytes, gps_bytes) = (8 + 3 * 20 + 8, 8 + 20 + 8);
    let file = |exif_at: usize, gps_at: usize| {
        let (values, gps_value) = (exif_at + exif_bytes, gps_at + gps_bytes);
        let entries =
            [(0xA431, 2, 16, values), (0xA434, 2, 16, values + secret.len()), (0xA436, 2, 16, gps_value)];
        let exif = big_directory(big_endian, &entries, &[&secret, LENS].concat());
        let gps = big_directory(big_endian, &[(0x1D, 2, 16, gps_value)], &secret);
        let mut tiff = build::Tiff::new(8, 4);
        (tiff.big, tiff.big_endian, tiff.place) = (true, big_endian, build::Place::First);
        let tiff = tiff.with(0x8769, LONG8, &[exif_at as u64]).with(0x8825, LONG8, &[gps_at as u64]);
        // The directories are values of entries that nobody knows.
        let tiff = tiff.with_block(700, SECRET).with_block(0xFDE8, &exif).with_block(0xFDE9, &gps);
        (tiff.chunk([7; 32]).build(), exif, gps)
    };
    let (unplaced, exif, gps) = file(0, 0);
    let at = |part: &[u8]| memchr::memmem::find(&unplaced, part).unwrap();
    file(at(&exif), at(&gps)).0
}

/// A picture with metadata in every place that a directory has for it.
pub(crate) fn heif(mut file: HeifFile) -> HeifFile {
    let main = file.primary;
    let exif = [b"\0\0\0\x06Exif\0\0".as_slice(), &camera(false).build()].concat();
    let xmp = [b"<x:xmpmeta>", SECRET].concat();
    for (id, kind, data) in [(9, *b"Exif", exif), (10, *b"mime", xmp), (11, *b"uri ", SECRET.to_vec())] {
        file.items.push(Item { id, kind, data, properties: Vec::new() });
        file.references.push((*b"cdsc", id, vec![main]));
    }
    file.items[0].properties.push(full(*b"udes", 0, SECRET));
    file.more = [boxed(*b"xml ", SECRET), boxed(*b"uuid", SECRET)].concat();
    file
}

/// The file of a directory, with secrets before and behind it.
pub(crate) fn with_film(file: &HeifFile) -> Vec<u8> {
    let early = boxed(*b"uuid", SECRET);
    let mut shifted = file.clone();
    shifted.shift = early.len() as u64;
    let bytes = shifted.bytes();
    let head = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    [&bytes[..head], &early, &bytes[head..], &boxed(*b"mpvd", SECRET), SECRET].concat()
}

/// A JPEG XL: a codestream in a box between others.
pub(crate) fn jxl(codestream: &[u8]) -> Vec<u8> {
    let exif = [b"\0\0\0\0".as_slice(), &camera(true).build()].concat();
    let xmp = [b"<x:xmpmeta>", SECRET].concat();
    [
        boxed(*b"JXL ", b"\r\n\x87\n"),
        boxed(*b"ftyp", b"jxl \0\0\0\0jxl "),
        boxed(*b"Exif", &exif),
        boxed(*b"xml ", &xmp),
        boxed(*b"jumb", SECRET),
        boxed(*b"jbrd", SECRET),
        boxed(*b"brob", &[b"Exif", SECRET].concat()),
        boxed(*b"jxlc", codestream),
        boxed(*b"xml ", SECRET),
        SECRET.to_vec(),
    ]
    .concat()
}
