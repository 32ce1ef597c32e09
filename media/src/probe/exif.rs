//! The one fact of an EXIF block that rendering needs.
//!
//! The tag stands in the first directory of a TIFF structure (TIFF 6.0, section 2). Reading only this directory, in
//! place, means that broken maker notes, offsets that point nowhere, and a million entries cost nothing.

use crate::Orientation;

/// Tag of the orientation, a SHORT.
const ORIENTATION: u16 = 0x0112;
/// The TIFF field type of two bytes.
const SHORT: u16 = 3;

/// The orientation in an EXIF block that begins with its TIFF header (`II*\0` or `MM\0*`), or in one that still has
/// `Exif\0\0` before it, as some PNG and WebP writers leave it. `None` if it has none or cannot be read: a photo
/// with a broken EXIF block is shown as stored, as browsers do.
pub(super) fn orientation(block: &[u8]) -> Option<Orientation> {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let big_endian = match tiff.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = [*tiff.get(at)?, *tiff.get(at.checked_add(1)?)?];
        Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let offset: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = if big_endian { u32::from_be_bytes(offset) } else { u32::from_le_bytes(offset) } as usize;
    let entries = usize::from(u16_at(directory)?);
    for entry in 0..entries {
        let at = directory.checked_add(2 + entry * 12)?;
        if u16_at(at)? == ORIENTATION && u16_at(at.checked_add(2)?)? == SHORT {
            return Orientation::from_exif(u16_at(at.checked_add(8)?)?);
        }
    }
    None
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
        out.extend(short(SHORT));
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
        let prefixed = [b"Exif\0\0".as_slice(), &tiff(true, ORIENTATION, 6)].concat();
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
}
