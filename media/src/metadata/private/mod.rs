//! An original without place and serial numbers, its pixels untouched.
//!
//! Each format has a list of what is copied: what decoders need, what says how the picture is to be shown, and the part of
//! EXIF that is not private. Everything else is left behind, known or not. Where the file counts places from its beginning
//! (TIFF, AVIF, HEIC), what is left behind becomes zeros.

mod heif;
mod in_place;
mod jxl;
mod tiff;

use super::exif::{Keep, filtered_as_stored};
use super::gif::{self, Block, label};
use super::jpeg::{self, Part, Parts, marker, name};
use super::png;
use super::webp::{self, FRAME_HEADER_BYTES, flag};
use crate::{MediaError, SourceFormat};

/// The original without what may tell place, people or which copy of a camera it was; its pixels are copied byte for byte.
///
/// Of EXIF remains what describes the picture and how it was taken, orientation included; GPS, serial numbers, the owner's
/// name, maker notes, comments and thumbnails go. XMP, IPTC, comments and other texts go as a whole, and so does
/// whatever is not known to be needed for showing the picture: other pictures behind the first, and the film of a motion
/// photo, which have metadata of their own. Colour profiles stay.
///
/// Of a TIFF remains the first page. Of an AVIF or HEIC remain the pictures that its directory lists, thumbnails and
/// transparency among them; one with a sequence of frames is refused. Of a JPEG XL in boxes remains the codestream, and no
/// longer what is needed to make a JPEG of it again; a bare codestream, which has no place for metadata, is returned as it
/// is. What a codec's own data may hold beside pixels is not looked into.
///
/// A JPEG, PNG, WebP, GIF or JPEG XL that ends too early is passed as far as it goes. Memory: one buffer of the original's
/// size, rarely more.
///
/// [`MediaError::Corrupt`] or [`MediaError::Truncated`] if the bytes do not begin as `format` says or contradict it, or if
/// metadata lies inside the picture; [`MediaError::Unsupported`] for a file from which nothing can be removed without
/// encoding it again.
pub fn without_private(original: &[u8], format: SourceFormat) -> Result<Vec<u8>, MediaError> {
    let foreign = || MediaError::corrupt(format, "it does not begin as such a file does");
    match format {
        SourceFormat::Jpeg => of_jpeg(original.len(), Parts::new(original).ok_or_else(foreign)?),
        SourceFormat::Png => Ok(of_png(original.len(), png::Chunks::new(original).ok_or_else(foreign)?)),
        SourceFormat::WebP => Ok(of_webp(original.len(), webp::Chunks::new(original).ok_or_else(foreign)?)),
        SourceFormat::Gif => {
            let (screen, blocks) = gif::Blocks::new(original).ok_or_else(foreign)?;
            Ok(of_gif(original.len(), screen, blocks))
        }
        SourceFormat::Tiff => in_place::settled(original, format, tiff::of_tiff),
        SourceFormat::Avif | SourceFormat::Heic => {
            in_place::settled(original, format, |original| heif::of_heif(original, format))
        }
        SourceFormat::Jxl => jxl::of_jxl(original).ok_or_else(foreign),
        SourceFormat::Bmp => Err(only_by_encoding(format)),
    }
}

/// The refusal of a format whose container is not walked here.
fn only_by_encoding(format: impl std::fmt::Display) -> MediaError {
    MediaError::unsupported(
        format!("removing place and serial numbers from a photo of the format {format}"),
        "its metadata cannot be removed without encoding it again; take one of its variants, or upload it as JPEG, PNG, \
         WebP or GIF",
    )
}

/// What remains of an EXIF block.
fn public_exif(block: &[u8]) -> Option<Vec<u8>> {
    filtered_as_stored(block, Keep::AllButPrivate)
}

/// Bytes of the two application segments that decoders need. JFIF's without its thumbnail: name, version, unit, two
/// densities. Adobe's: name, version, two words of flags, the transform of colours.
const JPEG_NAMED_BYTES: usize = 12;

/// Whether it is one of those two.
fn is_named(code: u8, payload: &[u8]) -> bool {
    let name = match code {
        marker::APP0 => name::JFIF,
        marker::APP14 => name::ADOBE,
        _ => return false,
    };
    payload.starts_with(name) && payload.len() >= JPEG_NAMED_BYTES
}

fn of_jpeg(bytes: usize, parts: Parts<'_>) -> Result<Vec<u8>, MediaError> {
    let mut out = Vec::with_capacity(bytes);
    out.extend([0xFF, marker::SOI]);
    for part in parts {
        let (code, payload) = match part? {
            Part::Segment { code, payload } => (code, payload),
            Part::CutSegment { code, rest } => {
                if is_coding(code) {
                    out.extend([0xFF, code]);
                    out.extend(rest);
                }
                continue;
            }
            Part::Scan(data) => {
                out.extend(data);
                continue;
            }
            Part::End => {
                out.extend([0xFF, marker::EOI]);
                continue;
            }
        };
        match code {
            _ if is_named(code, payload) => {
                // JFIF's thumbnail has 0 × 0 pixels.
                let behind: &[u8] = if code == marker::APP0 { &[0, 0] } else { &[] };
                jpeg::push_segment(&mut out, code, &payload[..JPEG_NAMED_BYTES], behind);
            }
            marker::APP1 if payload.starts_with(name::EXIF) => {
                if let Some(block) = public_exif(payload) {
                    jpeg::push_segment(&mut out, code, name::EXIF, &block);
                }
            }
            marker::APP2 if payload.starts_with(name::ICC) => {
                jpeg::push_segment(&mut out, code, &[], payload);
            }
            code if is_coding(code) => jpeg::push_segment(&mut out, code, &[], payload),
            _ => {}
        }
    }
    Ok(out)
}

/// Segments that decoding needs: frames, tables, scans, intervals and sizes. The others are applications' and comments, or
/// reserved: so is one among them.
const fn is_coding(code: u8) -> bool {
    matches!(code, marker::SOF_FIRST..=marker::EXP) && code != marker::JPG
}

/// Chunks that say how a PNG is to be shown: transparency and background, colours, significant bits, the shape of pixels,
/// and animation.
const PNG_SHOWN: [&[u8; 4]; 16] = [
    b"tRNS", b"bKGD", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi",
    b"sBIT", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

fn of_png(bytes: usize, chunks: png::Chunks<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.extend(png::SIGNATURE);
    for chunk in chunks {
        // No decoder may pass over a chunk whose first letter is a capital (ISO/IEC 15948, section 5.4).
        let critical = chunk.kind[0].is_ascii_uppercase();
        if critical || PNG_SHOWN.contains(&&chunk.kind) {
            out.extend(chunk.whole);
        } else if let (b"eXIf", Some(block)) = (&chunk.kind, public_exif(chunk.data)) {
            png::push_chunk(&mut out, chunk.kind, &[], &block);
        }
    }
    out
}

fn of_webp(bytes: usize, chunks: webp::Chunks<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    webp::begin(&mut out);
    let mut flags_at = None;
    let mut has_exif = false;
    for chunk in chunks {
        match &chunk.code {
            b"VP8X" if flags_at.is_none() => {
                flags_at = Some(out.len() + 8).filter(|_| !chunk.data.is_empty());
                webp::push_chunk(&mut out, chunk.code, chunk.data);
            }
            // A file without VP8X has no metadata, whatever chunks it has.
            b"EXIF" if flags_at.is_some() => {
                if let Some(block) = public_exif(chunk.data) {
                    webp::push_chunk(&mut out, chunk.code, &block);
                    has_exif = true;
                }
            }
            b"ANMF" => push_frame(&mut out, chunk.data),
            b"ICCP" | b"ANIM" | b"ALPH" | b"VP8 " | b"VP8L" => {
                webp::push_chunk(&mut out, chunk.code, chunk.data);
            }
            _ => {}
        }
    }
    if let Some(at) = flags_at {
        out[at] &= flag::ICC | flag::ALPHA | flag::ANIMATION;
        out[at] |= if has_exif { flag::EXIF } else { 0 };
    }
    webp::finish(&mut out, 0);
    out
}

/// A frame of an animation, which may have chunks of its own that nobody knows.
fn push_frame(out: &mut Vec<u8>, frame: &[u8]) {
    let (header, chunks) = frame.split_at(FRAME_HEADER_BYTES.min(frame.len()));
    let at = out.len();
    webp::push_chunk(out, *b"ANMF", header);
    for chunk in webp::Chunks::inside(chunks) {
        if let b"ALPH" | b"VP8 " | b"VP8L" = &chunk.code {
            webp::push_chunk(out, chunk.code, chunk.data);
        }
    }
    webp::finish(out, at);
}

/// Applications whose extensions say how a GIF is to be shown: how often an animation is repeated, twice, and colours.
const GIF_SHOWN: [&[u8]; 3] = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

fn of_gif(bytes: usize, screen: &[u8], mut blocks: gif::Blocks<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.extend(screen);
    // It concerns the image or text that follows, and goes with it.
    let mut control: &[u8] = &[];
    let mut passed = true;
    for block in blocks.by_ref() {
        let before = out.len();
        match block {
            Block::Image(whole) => {
                out.extend(std::mem::take(&mut control));
                out.extend(whole);
            }
            Block::Extension { label: label::GRAPHIC_CONTROL, whole, .. } => control = whole,
            // No viewer has shown these texts for thirty years: nobody knows that they are there.
            Block::Extension { label: label::PLAIN_TEXT, .. } => control = &[],
            Block::Extension { label: label::APPLICATION, first, whole } if GIF_SHOWN.contains(&first) => {
                out.extend(whole);
            }
            Block::Extension { .. } => {}
        }
        passed = out.len() > before;
    }
    // Behind a block that is cut it would be taken for a part of that.
    if !(passed && blocks.cut()) {
        out.push(gif::TRAILER);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_is_not_walked_is_refused_with_what_to_do() {
        let error = without_private(b"BM", SourceFormat::Bmp).unwrap_err();
        assert_eq!(error.code(), "unsupported-image");
        let message = error.to_string();
        assert!(message.contains("format BMP is not supported"), "{message}");
        assert!(message.contains("cannot be removed without encoding it again"), "{message}");
    }
}
