//! What the first bytes say a file is, whatever its name or its `Content-Type`.

use crate::bitmap::{FILE_HEADER_BYTES, HEADER_LENGTHS};
use crate::directory::camera_raw;
use crate::{MediaError, SourceFormat};

/// Bytes after which a stream that is none of ours is given up.
pub(super) const SNIFF_BYTES: usize = 64;

/// What the first bytes allow to say.
pub(super) enum Sniffed {
    /// It begins like this format.
    Known(SourceFormat),
    /// It begins like none. If it is still so short that it could become one: like that one.
    Undecided(Option<SourceFormat>),
}

/// The beginnings of the formats that are accepted. `?` stands for any byte: the size in a RIFF header.
const SIGNATURES: [(SourceFormat, &[u8]); 9] = [
    (SourceFormat::Jpeg, b"\xFF\xD8\xFF"),
    (SourceFormat::Png, b"\x89PNG\r\n\x1A\n"),
    (SourceFormat::Gif, b"GIF87a"),
    (SourceFormat::Gif, b"GIF89a"),
    (SourceFormat::WebP, b"RIFF????WEBP"),
    (SourceFormat::Tiff, b"II*\0"),
    (SourceFormat::Tiff, b"MM\0*"),
    // BigTIFF.
    (SourceFormat::Tiff, b"II+\0"),
    (SourceFormat::Tiff, b"MM\0+"),
];

/// Where the first box of an ISO base media file names its kind, and where its brands begin (ISO/IEC 14496-12, section
/// 4.3).
const FILE_TYPE_AT: std::ops::Range<usize> = 4..8;
const BRAND_AT: std::ops::Range<usize> = 8..12;
/// Where the brands that the file also claims begin, behind the version of the first.
const MORE_BRANDS_AT: usize = 16;

/// The beginning of a JPEG XL container (ISO/IEC 18181-2, section 9.1), and of a bare codestream.
const JXL_CONTAINER: &[u8] = b"\0\0\0\x0CJXL \r\n\x87\n";
const JXL_CODESTREAM: &[u8] = b"\xFF\x0A";

const HEIC_ADVICE: &str = "send a JPEG (iPhones do with Settings, Camera, Formats, Most Compatible), PNG, WebP or AVIF; \
                           the operator can build darkroomd with `--features heic`";
const JXL_ADVICE: &str =
    "send a JPEG, PNG, WebP or AVIF; the operator can build darkroomd with `--features jxl`";

/// The format that a brand stands for. `None` for what only says that there is some picture in the file.
const fn brand_format(brand: &[u8]) -> Option<SourceFormat> {
    match brand {
        b"avif" | b"avis" => Some(SourceFormat::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => {
            Some(SourceFormat::Heic)
        }
        _ => None,
    }
}

/// Whether a first brand leaves the format to those behind it.
const fn is_general_brand(brand: &[u8]) -> bool {
    matches!(brand, b"mif1" | b"mif2" | b"msf1" | b"miaf")
}

/// AVIF and HEIC. `None` if it is no ISO base media file, or another kind of one.
fn sniff_heif(head: &[u8]) -> Option<Sniffed> {
    let like_file_type = head.iter().zip(b"\0\0").all(|(byte, zero)| byte == zero)
        && head.get(FILE_TYPE_AT.start..).is_none_or(|kind| kind.iter().zip(b"ftyp").all(|(a, b)| a == b));
    if !like_file_type || head.is_empty() {
        return None;
    }
    let Some(brand) = head.get(BRAND_AT) else {
        return Some(Sniffed::Undecided(Some(SourceFormat::Avif)));
    };
    if let Some(format) = brand_format(brand) {
        return Some(accepted(format));
    }
    if !is_general_brand(brand) {
        return None;
    }
    let size = head.first_chunk::<4>().map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let visible = size.min(head.len());
    let brands = head.get(MORE_BRANDS_AT..visible).unwrap_or_default();
    match brands.chunks_exact(4).find_map(brand_format) {
        Some(format) => Some(accepted(format)),
        None if visible < size.min(SNIFF_BYTES) => Some(Sniffed::Undecided(Some(SourceFormat::Avif))),
        // The main picture will tell.
        None => Some(Sniffed::Known(SourceFormat::Avif)),
    }
}

/// A format that may be left out of a build.
const fn accepted(format: SourceFormat) -> Sniffed {
    match format {
        SourceFormat::Heic if !cfg!(feature = "heic") => Sniffed::Undecided(None),
        SourceFormat::Jxl if !cfg!(feature = "jxl") => Sniffed::Undecided(None),
        format => Sniffed::Known(format),
    }
}

/// What to say of a HEIC in a build that does not decode any.
pub(super) fn refused_heic() -> MediaError {
    MediaError::unsupported("a HEIC image", HEIC_ADVICE)
}

/// The same of a JPEG XL.
#[cfg(not(feature = "jxl"))]
pub(super) fn refused_jxl() -> MediaError {
    MediaError::unsupported("a JPEG XL image", JXL_ADVICE)
}

/// Compares the beginning of a stream with the formats that are accepted.
pub(super) fn sniff(head: &[u8]) -> Sniffed {
    for signature in [JXL_CONTAINER, JXL_CODESTREAM] {
        if head.starts_with(signature) {
            return accepted(SourceFormat::Jxl);
        }
    }
    if let Some(sniffed) = sniff_heif(head) {
        return sniffed;
    }
    if !head.is_empty() && JXL_CONTAINER.starts_with(head) {
        return Sniffed::Undecided(Some(SourceFormat::Jxl));
    }
    for (format, signature) in SIGNATURES {
        let alike = signature.iter().zip(head).all(|(expected, byte)| *expected == b'?' || expected == byte);
        if alike && head.len() >= signature.len() {
            return Sniffed::Known(format);
        }
        if alike && !head.is_empty() {
            return Sniffed::Undecided(Some(format));
        }
    }
    sniff_bmp(head)
}

/// A BMP begins with two letters, like many a text. What decides is the length of its second header.
fn sniff_bmp(head: &[u8]) -> Sniffed {
    let letters = head.iter().zip(b"BM").all(|(byte, letter)| byte == letter);
    if head.is_empty() || !letters {
        return Sniffed::Undecided(None);
    }
    let length = head.get(FILE_HEADER_BYTES..).unwrap_or_default();
    let could_be = |known: &u32| known.to_le_bytes().iter().zip(length).all(|(byte, found)| byte == found);
    // Bytes 6 to 9 are reserved, and zero in all but a few files: text of that length stays text.
    let text =
        head.len() > 6 && head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if text || !HEADER_LENGTHS.iter().any(could_be) {
        Sniffed::Undecided(None)
    } else if length.len() >= 4 {
        Sniffed::Known(SourceFormat::Bmp)
    } else {
        Sniffed::Undecided(Some(SourceFormat::Bmp))
    }
}

/// What to say when the stream ended while the format was still unknown.
pub(super) fn ended_early(head: &[u8]) -> MediaError {
    match sniff(head) {
        _ if head.is_empty() => MediaError::Empty,
        Sniffed::Known(format) | Sniffed::Undecided(Some(format)) => {
            MediaError::Truncated { format, what: "its signature" }
        }
        Sniffed::Undecided(None) => unsupported(head),
    }
}

/// Names what it looks like, as well as the first bytes tell.
pub(super) fn unsupported(head: &[u8]) -> MediaError {
    if is_camera_raw(head) {
        return camera_raw();
    }
    let found = looks_like(head);
    let advice = match found {
        "a HEIC image" => HEIC_ADVICE,
        "a JPEG XL image" => JXL_ADVICE,
        "an SVG or other XML document" => "export it as a PNG",
        _ => "send a JPEG, PNG, WebP or GIF",
    };
    MediaError::unsupported(found, advice)
}

/// Raw formats with a signature of their own. The others look like a TIFF, whose walker tells them apart.
fn is_camera_raw(head: &[u8]) -> bool {
    let signatures: [&[u8]; 7] = [
        // Olympus.
        b"IIRO",
        b"IIRS",
        b"MMOR",
        // Panasonic.
        b"IIU\0",
        b"FUJIFILMCCD-RAW",
        // Minolta.
        b"\0MRM",
        // Sigma.
        b"FOVb",
    ];
    head.get(4..12) == Some(b"ftypcrx ") || signatures.iter().any(|signature| head.starts_with(signature))
}

/// The kind of file, with its article.
fn looks_like(head: &[u8]) -> &'static str {
    // ISO base media files: a size, "ftyp", and the brand (ISO/IEC 14496-12).
    if head.get(FILE_TYPE_AT) == Some(b"ftyp") {
        let brand = head.get(BRAND_AT).unwrap_or_default();
        return match brand {
            b"crx " => "a Canon raw photo",
            b"mif3" => "a HEIF image in the minimized form",
            b"jxl " => "a JPEG XL image",
            // Also behind a general brand: an AVIF would have been accepted.
            _ if brand_format(brand).is_some() || is_general_brand(brand) => "a HEIC image",
            _ => "a video",
        };
    }
    let binary: [(&[u8], &str); 8] = [
        (b"%PDF-", "a PDF document"),
        (JXL_CODESTREAM, "a JPEG XL image"),
        (JXL_CONTAINER, "a JPEG XL image"),
        (b"\0\0\0\x0CjP  ", "a JPEG 2000 image"),
        (b"\0\0\x01\0", "an icon"),
        (b"8BPS", "a Photoshop document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1F\x8B", "a gzip archive"),
    ];
    if let Some((_, name)) = binary.iter().find(|(signature, _)| head.starts_with(signature)) {
        return name;
    }
    if head.starts_with(b"RIFF") {
        return "a RIFF file that is no WebP";
    }
    looks_like_text(head)
}

/// Text formats, which may begin with a byte order mark and white space.
fn looks_like_text(head: &[u8]) -> &'static str {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"<svg") || text.starts_with(b"<?xml") {
        "an SVG or other XML document"
    } else if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") || text.starts_with(b"<head")
    {
        "an HTML page"
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        "a JSON document"
    } else if text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "text"
    } else {
        "a file of unknown kind"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_named() {
        let kinds: [(&[u8], &str); 14] = [
            (b"\0\0\0\x1CftypheicXXXX", "a HEIC image"),
            (JXL_CODESTREAM, "a JPEG XL image"),
            (b"%PDF-1.7", "a PDF document"),
            (b"IIRO\x08\0\0\0", "a camera raw photo"),
            (b"FUJIFILMCCD-RAW 0201", "a camera raw photo"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01", "a camera raw photo"),
            (b"BMW builds cars, and bikes", "text"),
            (b"\xEF\xBB\xBF  <svg xmlns=''>", "an SVG or other XML document"),
            (b"<?xml version='1.0'?>", "an SVG or other XML document"),
            (b"\n<!DOCTYPE html>", "an HTML page"),
            (b"{\"a\":1}", "a JSON document"),
            (b"hello, world", "text"),
            (b"RIFF1234WAVE", "a RIFF file that is no WebP"),
            (b"\x01\x02\x03", "a file of unknown kind"),
        ];
        for (head, name) in kinds {
            match unsupported(head) {
                MediaError::Unsupported { found, .. } => assert_eq!(found, name),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn brands_tell_avif_from_heic() {
        let known = |brands: &[u8]| {
            let size = (brands.len() as u32 + 12).to_be_bytes();
            let (first, more) = brands.split_at(4);
            match sniff(&[size.as_slice(), b"ftyp", first, &[0; 4], more].concat()) {
                Sniffed::Known(format) => Some(format),
                Sniffed::Undecided(_) => None,
            }
        };
        let heic = cfg!(feature = "heic").then_some(SourceFormat::Heic);
        assert_eq!(known(b"avif"), Some(SourceFormat::Avif));
        assert_eq!(known(b"avismif1heic"), Some(SourceFormat::Avif));
        assert_eq!(known(b"mif1miafavif"), Some(SourceFormat::Avif));
        assert_eq!(known(b"mif1miafMA1B"), Some(SourceFormat::Avif));
        assert_eq!(known(b"heic"), heic);
        assert_eq!(known(b"msf1hevcmif1"), heic);
        assert_eq!(known(b"mif1heicavif"), heic);
        assert_eq!(known(b"isomavif"), None);
        // As soon as the first brand is there, or the last of those behind a general one.
        assert!(matches!(sniff(b"\0\0\0\x1Cftypavif"), Sniffed::Known(SourceFormat::Avif)));
        assert!(matches!(sniff(b"\0\0\0\x1Cftypmif1\0\0\0\0miaf"), Sniffed::Undecided(Some(_))));
    }

    #[test]
    fn a_build_without_a_codec_says_how_to_get_it() {
        let heic = unsupported(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").to_string();
        assert!(heic.contains("Most Compatible") && heic.contains("--features heic"), "{heic}");
        let jxl = unsupported(JXL_CONTAINER).to_string();
        assert!(jxl.contains("--features jxl"), "{jxl}");
    }

    #[test]
    fn a_stream_cut_inside_its_signature_is_truncated() {
        assert_eq!(ended_early(b""), MediaError::Empty);
        assert!(matches!(ended_early(b"RIFF\x10"), MediaError::Truncated { format: SourceFormat::WebP, .. }));
        assert!(matches!(ended_early(b"\xFF\xD8"), MediaError::Truncated { format: SourceFormat::Jpeg, .. }));
        assert!(matches!(ended_early(b"MM\0"), MediaError::Truncated { format: SourceFormat::Tiff, .. }));
        assert!(matches!(ended_early(b"BM6"), MediaError::Truncated { format: SourceFormat::Bmp, .. }));
        assert_eq!(ended_early(b"hello").code(), "unsupported-image");
        assert_eq!(ended_early(b"BMW cars").code(), "unsupported-image");
    }

    #[test]
    fn a_bmp_is_told_from_text_by_the_length_of_its_header() {
        let head = |length: u32| [b"BM6\0\0\0\0\0\0\0\x36\0\0\0".as_slice(), &length.to_le_bytes()].concat();
        for length in HEADER_LENGTHS {
            assert!(matches!(sniff(&head(length)), Sniffed::Known(SourceFormat::Bmp)), "{length}");
            for cut in 1..18 {
                let sniffed = sniff(&head(length)[..cut]);
                assert!(
                    matches!(sniffed, Sniffed::Undecided(Some(SourceFormat::Bmp))),
                    "{length} cut to {cut}"
                );
            }
        }
        for other in [0, 13, 41, 0x0100_000C, u32::MAX] {
            assert!(matches!(sniff(&head(other)), Sniffed::Undecided(None)), "{other}");
        }
    }
}
