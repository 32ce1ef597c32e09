//! JPEG XL files.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use zune_core::bit_depth::BitDepth;
use zune_core::colorspace::ColorSpace;
use zune_core::options::EncoderOptions;
use zune_jpegxl::JxlSimpleEncoder;

/// A bare codestream without loss. Samples of 16 bits are in the order of the machine.
pub(crate) fn encoded(
    (width, height): (u32, u32),
    space: ColorSpace,
    depth: BitDepth,
    samples: &[u8],
) -> Vec<u8> {
    let options = EncoderOptions::new(width as usize, height as usize, space, depth);
    let mut bytes = Vec::new();
    JxlSimpleEncoder::new(samples, options).encode(&mut bytes).unwrap();
    bytes
}

/// A box: its size, its kind, what it holds.
pub(crate) fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes(), kind.as_slice(), content].concat()
}

/// The codestream in boxes: whole, or in pieces of so many bytes.
pub(crate) fn contained(codestream: &[u8], piece: Option<usize>) -> Vec<u8> {
    let mut bytes = boxed(*b"JXL ", b"\r\n\x87\n");
    bytes.extend(boxed(*b"ftyp", b"jxl \0\0\0\0jxl "));
    bytes.extend(boxed(*b"Exif", b"\0\0\0\0MM\0*"));
    let Some(piece) = piece else {
        bytes.extend(boxed(*b"jxlc", codestream));
        return bytes;
    };
    let count = codestream.len().div_ceil(piece) as u32;
    for (index, content) in (0_u32..).zip(codestream.chunks(piece)) {
        let index = if index + 1 == count { index | 1 << 31 } else { index };
        bytes.extend(boxed(*b"jxlp", &[&index.to_be_bytes(), content].concat()));
        bytes.extend(boxed(*b"free", b"between"));
    }
    // Behind the last piece nothing matters.
    bytes.truncate(bytes.len() - 15);
    bytes
}
