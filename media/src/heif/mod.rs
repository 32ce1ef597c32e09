//! The directory of a HEIF file: which of its bytes are the picture, and how they are to be shown.
//!
//! AVIF and HEIC are one container (ISO/IEC 23008-12 on top of ISO/IEC 14496-12) around two codecs. A `meta` box lists
//! items (pictures, EXIF, tiles), where their bytes lie, and properties that are shared between them. The probe reads it
//! while the file arrives and the decoder reads it again, so it lives beside both. Everything is read in place: what is
//! kept of a directory are slices of it and at most a few words per entry.

mod boxes;
mod directory;
mod picture;

pub(crate) use boxes::{BOX_HEADER_BYTES, BoxHeader};
pub(crate) use directory::{Directory, Place};
pub(crate) use picture::{Chroma, Codec, LAYERS_MAX, Layer, Picture, Signal, Window, operating_point};

#[cfg(feature = "heic")]
pub(crate) use picture::hevc_configuration;

use crate::{MediaError, SourceFormat};

/// The directory of a complete file.
pub(crate) fn directory_of(original: &[u8], format: SourceFormat) -> Result<Directory<'_>, MediaError> {
    let mut rest = original;
    while let Some(header) = BoxHeader::read(rest) {
        let Some(size) = header.size.filter(|size| *size <= rest.len() as u64) else { break };
        // At most the length of the file, which is a usize.
        let (whole, behind) = rest.split_at(size as usize);
        if &header.kind == b"meta" {
            return Directory::read(&whole[header.bytes..], format);
        }
        rest = behind;
    }
    Err(MediaError::corrupt(format, "it has no directory of its pictures"))
}

/// The EXIF block of a complete AVIF or HEIC file, beginning with its TIFF header (`II*\0` or `MM\0*`). `None` if it has
/// none, or one that cannot be read. Its orientation means nothing: the file's own `irot` and `imir` say which way is
/// up (ISO/IEC 23008-12, annex A.2.1).
pub(crate) fn exif_item(original: &[u8]) -> Option<&[u8]> {
    let directory = directory_of(original, SourceFormat::Heic).ok()?;
    let item = directory.exif()?;
    exif_block(directory.slice(original, item).ok()?)
}

/// The EXIF block in an item of a HEIF file or a box of a JPEG XL, which begins with the block's distance (ISO/IEC
/// 23008-12, annex A.2.1).
pub(crate) fn exif_block(item: &[u8]) -> Option<&[u8]> {
    let (offset, behind) = item.split_first_chunk::<4>()?;
    behind.get(u32::from_be_bytes(*offset) as usize..).filter(|tiff| !tiff.is_empty())
}
