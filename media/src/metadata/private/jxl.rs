//! Of a JPEG XL in boxes: the codestream, and what of EXIF may be shown. No box says where another lies, so the others are
//! left out. With them goes `jbrd`, from which a JPEG could be made again: it holds that JPEG's comments and segments.

use super::super::boxes::boxes;
use super::public_exif;
use crate::heif::exif_block;

/// The codestream, bare.
const CODESTREAM: &[u8] = &[0xFF, 0x0A];
/// The box that a container begins with.
const SIGNATURE: &[u8] = b"\0\0\0\x0CJXL \r\n\x87\n";

/// `None` if it does not begin as a JPEG XL.
pub(super) fn of_jxl(original: &[u8]) -> Option<Vec<u8>> {
    // It has no place for metadata.
    if original.starts_with(CODESTREAM) {
        return Some(original.to_vec());
    }
    if !original.starts_with(SIGNATURE) {
        return None;
    }
    let mut out = Vec::with_capacity(original.len());
    for part in boxes(original, &(0..original.len())) {
        match &part.kind {
            b"JXL " | b"ftyp" | b"jxll" | b"jxlc" | b"jxlp" => {
                out.extend(&original[part.start..part.content.end]);
            }
            b"Exif" if part.complete => {
                let block = exif_block(&original[part.content]).and_then(public_exif);
                if let Some(block) = block {
                    // Size, kind, and the block's distance.
                    out.extend((block.len() as u32 + 12).to_be_bytes());
                    out.extend(b"Exif\0\0\0\0");
                    out.extend(block);
                }
            }
            _ => {}
        }
    }
    Some(out)
}
