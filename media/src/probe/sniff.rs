//! What the first bytes say a file is, whatever its name or its `Content-Type`.

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
const SIGNATURES: [(SourceFormat, &[u8]); 5] = [
    (SourceFormat::Jpeg, b"\xFF\xD8\xFF"),
    (SourceFormat::Png, b"\x89PNG\r\n\x1A\n"),
    (SourceFormat::Gif, b"GIF87a"),
    (SourceFormat::Gif, b"GIF89a"),
    (SourceFormat::WebP, b"RIFF????WEBP"),
];

/// Compares the beginning of a stream with the formats that are accepted.
pub(super) fn sniff(head: &[u8]) -> Sniffed {
    for (format, signature) in SIGNATURES {
        let alike = signature.iter().zip(head).all(|(expected, byte)| *expected == b'?' || expected == byte);
        if alike && head.len() >= signature.len() {
            return Sniffed::Known(format);
        }
        if alike && !head.is_empty() {
            return Sniffed::Undecided(Some(format));
        }
    }
    Sniffed::Undecided(None)
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
    let found = looks_like(head);
    let advice = match found {
        "a HEIC image" => {
            "send a JPEG (iPhones do with Settings, Camera, Formats, Most Compatible), PNG, WebP or GIF"
        }
        "an SVG or other XML document" => "export it as a PNG",
        _ => "send a JPEG, PNG, WebP or GIF",
    };
    MediaError::unsupported(found, advice)
}

/// The kind of file, with its article.
fn looks_like(head: &[u8]) -> &'static str {
    // ISO base media files: a size, "ftyp", and the brand (ISO/IEC 14496-12).
    if head.get(4..8) == Some(b"ftyp") {
        return match head.get(8..12) {
            Some(b"avif" | b"avis") => "an AVIF image",
            Some(b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1") => {
                "a HEIC image"
            }
            Some(b"crx ") => "a Canon raw photo",
            _ => "a video",
        };
    }
    let binary: [(&[u8], &str); 11] = [
        (b"%PDF-", "a PDF document"),
        (b"II*\0", "a TIFF or camera raw image"),
        (b"MM\0*", "a TIFF or camera raw image"),
        (b"BM", "a BMP image"),
        (b"\xFF\x0A", "a JPEG XL image"),
        (b"\0\0\0\x0CJXL ", "a JPEG XL image"),
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
        let kinds: [(&[u8], &str); 12] = [
            (b"\0\0\0\x1CftypheicXXXX", "a HEIC image"),
            (b"\0\0\0\x1CftypavifXXXX", "an AVIF image"),
            (b"%PDF-1.7", "a PDF document"),
            (b"II*\0abcd", "a TIFF or camera raw image"),
            (b"BM1234", "a BMP image"),
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
    fn a_stream_cut_inside_its_signature_is_truncated() {
        assert_eq!(ended_early(b""), MediaError::Empty);
        assert!(matches!(ended_early(b"RIFF\x10"), MediaError::Truncated { format: SourceFormat::WebP, .. }));
        assert!(matches!(ended_early(b"\xFF\xD8"), MediaError::Truncated { format: SourceFormat::Jpeg, .. }));
        assert_eq!(ended_early(b"hello").code(), "unsupported-image");
    }
}
