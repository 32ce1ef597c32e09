//! EXIF and colour profile into a finished file.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::exif::EXIF_BYTES_MAX;
use super::jpeg::{self, Part, Parts, marker, name};
use super::webp::{self, EXTENDED_BYTES, flag};
use super::{png, tiff};
use crate::OutputFormat;

/// Longest piece of a colour profile in a JPEG: a payload less its name, its number and the number of all.
const ICC_PIECE_BYTES_MAX: usize = jpeg::PAYLOAD_BYTES_MAX - name::ICC.len() - 2;
/// Most pieces: their numbers are bytes that count from 1.
const ICC_PIECES_MAX: usize = 255;

/// Puts an EXIF block (from its TIFF header on, or with `Exif\0\0` before it) and a colour profile into a file that an
/// encoder of this crate has finished, in the place of those that it may have. Its pixels are copied byte for byte.
///
/// What the format cannot carry is left out: in a JPEG a block of more than 65,527 bytes and a profile of more than 255
/// pieces of 65,519 bytes. A file that does not begin as its format says is returned unchanged, and so is every AVIF: there
/// both are items whose places in the file are counted from its beginning, and its encoder takes them itself.
pub(crate) fn embed(format: OutputFormat, file: Vec<u8>, exif: Option<&[u8]>, icc: Option<&[u8]>) -> Vec<u8> {
    let exif = exif.map(|block| block.strip_prefix(tiff::PREFIX).unwrap_or(block));
    let (exif, icc) = (exif.filter(|block| !block.is_empty()), icc.filter(|profile| !profile.is_empty()));
    if exif.is_none() && icc.is_none() {
        return file;
    }
    let embedded = match format {
        OutputFormat::Jpeg => into_jpeg(&file, exif, icc),
        OutputFormat::WebP => into_webp(&file, exif, icc),
        OutputFormat::Png => into_png(&file, exif, icc),
        OutputFormat::Avif => None,
    };
    embedded.unwrap_or(file)
}

/// An empty file with room for another's bytes and what is put into it.
fn with_room(file: &[u8], exif: Option<&[u8]>, icc: Option<&[u8]>) -> Vec<u8> {
    let icc_bytes = icc.map_or(0, |profile| profile.len() + (profile.len() / ICC_PIECE_BYTES_MAX + 1) * 18);
    let exif_bytes = exif.map_or(0, |block| block.len() + 16);
    Vec::with_capacity(file.len() + exif_bytes + icc_bytes + 32)
}

fn into_jpeg(file: &[u8], exif: Option<&[u8]>, icc: Option<&[u8]>) -> Option<Vec<u8>> {
    let exif = exif.filter(|block| block.len() <= EXIF_BYTES_MAX);
    let icc = icc.filter(|profile| profile.len() <= ICC_PIECE_BYTES_MAX * ICC_PIECES_MAX);
    let mut out = with_room(file, exif, icc);
    out.extend([0xFF, marker::SOI]);
    let mut kept = Vec::new();
    let mut parts = Parts::new(file)?;
    let mut at = parts.at();
    // JFIF must be the first segment, EXIF wants to be (CIPA DC-008, section 4.5.4): readers find both in this order.
    while let Some(Ok(Part::Segment { code: code @ marker::APP0..=marker::APP2, payload })) = parts.next() {
        at = parts.at();
        match code {
            marker::APP0 => jpeg::push_segment(&mut out, code, &[], payload),
            marker::APP1 if exif.is_some() && payload.starts_with(name::EXIF) => {}
            marker::APP2 if icc.is_some() && payload.starts_with(name::ICC) => {}
            _ => kept.push((code, payload)),
        }
    }
    if let Some(block) = exif {
        jpeg::push_segment(&mut out, marker::APP1, name::EXIF, block);
    }
    if let Some(profile) = icc {
        let pieces = profile.chunks(ICC_PIECE_BYTES_MAX);
        // Compared with the most above.
        let count = pieces.len() as u8;
        for (piece, number) in pieces.zip(1..=count) {
            let head = [name::ICC, &[number, count]].concat();
            jpeg::push_segment(&mut out, marker::APP2, &head, piece);
        }
    }
    for (code, payload) in kept {
        jpeg::push_segment(&mut out, code, &[], payload);
    }
    out.extend(&file[at..]);
    Some(out)
}

fn into_png(file: &[u8], exif: Option<&[u8]>, icc: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut out = with_room(file, exif, icc);
    out.extend(png::SIGNATURE);
    for chunk in png::Chunks::new(file)? {
        match &chunk.kind {
            // Of the chunks that say what colours mean, one at most may stand (section 11.3.2).
            b"iCCP" | b"sRGB" if icc.is_some() => {}
            b"eXIf" if exif.is_some() => {}
            _ => out.extend(chunk.whole),
        }
        // Directly behind the header, both stand before palette and pixels.
        if &chunk.kind == b"IHDR" {
            if let Some(profile) = icc {
                png::push_chunk(&mut out, *b"iCCP", b"ICC profile\0\0", &deflated(profile)?);
            }
            if let Some(block) = exif {
                png::push_chunk(&mut out, *b"eXIf", &[], block);
            }
        }
    }
    Some(out)
}

/// A zlib stream. Writing into memory does not fail.
fn deflated(data: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).ok()?;
    encoder.finish().ok()
}

fn into_webp(file: &[u8], exif: Option<&[u8]>, icc: Option<&[u8]>) -> Option<Vec<u8>> {
    let first = webp::Chunks::new(file)?.next()?;
    let stored = first.data.first_chunk::<EXTENDED_BYTES>().filter(|_| &first.code == b"VP8X");
    let mut extended = match stored {
        Some(extended) => *extended,
        None => webp::extended(&first)?,
    };
    extended[0] |= exif.map_or(0, |_| flag::EXIF) | icc.map_or(0, |_| flag::ICC);
    let mut out = with_room(file, exif, icc);
    webp::begin(&mut out);
    webp::push_chunk(&mut out, *b"VP8X", &extended);
    if let Some(profile) = icc {
        webp::push_chunk(&mut out, *b"ICCP", profile);
    }
    for chunk in webp::Chunks::new(file)? {
        match &chunk.code {
            b"VP8X" => {}
            b"ICCP" if icc.is_some() => {}
            b"EXIF" if exif.is_some() => {}
            code => webp::push_chunk(&mut out, *code, chunk.data),
        }
    }
    if let Some(block) = exif {
        webp::push_chunk(&mut out, *b"EXIF", block);
    }
    webp::finish(&mut out, 0);
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::metadata::sample::{camera, fields};
    use crate::metadata::{Blocks, Keep, blocks, filtered};
    use crate::synth::{PhotoSpec, jpeg};
    use crate::{Limits, Scratch, SourceFormat, decode, probe};

    const FORMATS: [(OutputFormat, SourceFormat); 3] = [
        (OutputFormat::Jpeg, SourceFormat::Jpeg),
        (OutputFormat::WebP, SourceFormat::WebP),
        (OutputFormat::Png, SourceFormat::Png),
    ];

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn exif() -> Vec<u8> {
        filtered(&camera(false).build(), Keep::Descriptive).unwrap()
    }

    fn profile(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    /// Files of every kind, as the encoders of this crate and others write them.
    fn files() -> Vec<(&'static str, OutputFormat, Vec<u8>)> {
        let photo = jpeg(&PhotoSpec { width: 40, height: 24, ..PhotoSpec::default() });
        let mut bare = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bare, 90);
        encoder.encode(&[7; 48], 4, 4, jpeg_encoder::ColorType::Rgb).unwrap();
        let mut files = vec![("with EXIF", OutputFormat::Jpeg, photo), ("bare", OutputFormat::Jpeg, bare)];
        let jpegs = ["gray.jpg", "progressive.jpg", "restarts.jpg", "rgb.jpg"];
        files.extend(jpegs.map(|name| (name, OutputFormat::Jpeg, fixture(name))));
        let webps = [
            "lossy.webp",
            "lossless.webp",
            "lossy-alpha.webp",
            "lossless-alpha.webp",
            "animated.webp",
            "turned.webp",
        ];
        files.extend(webps.map(|name| (name, OutputFormat::WebP, fixture(name))));
        let mut palette = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut palette, 4, 4);
        encoder.set_color(::png::ColorType::Indexed);
        encoder.set_palette([1, 2, 3, 4, 5, 6].as_slice());
        encoder.set_source_srgb(::png::SrgbRenderingIntent::Perceptual);
        encoder.write_header().unwrap().write_image_data(&[1; 16]).unwrap();
        files.push(("turned.png", OutputFormat::Png, fixture("turned.png")));
        files.push(("palette", OutputFormat::Png, palette));
        files
    }

    fn source(format: OutputFormat) -> SourceFormat {
        FORMATS.iter().find(|(output, _)| *output == format).unwrap().1
    }

    #[test]
    fn what_is_put_in_is_found_again_and_pixels_stay() {
        let (limits, exif, icc) = (Limits::default(), exif(), profile(140_000));
        for (name, format, file) in files() {
            let out = embed(format, file.clone(), Some(&exif), Some(&icc));
            let found = blocks(&out, source(format), &limits);
            assert_eq!(found, Blocks { exif: Some(exif.clone()), icc: Some(icc.clone()) }, "{name}");
            let seen = |bytes: &[u8]| {
                let found = probe(bytes, &limits).unwrap();
                (decode(bytes, &found, &limits, &mut Scratch::default()).unwrap(), found)
            };
            let ((before, probe_before), (after, probe_after)) = (seen(&file), seen(&out));
            assert!(before.picture == after.picture, "{name}");
            assert_eq!(probe_after.orientation, crate::Orientation::Upright, "{name}");
            assert_eq!(probe_after.has_alpha, probe_before.has_alpha, "{name}");
            assert_eq!(
                (probe_after.frames, probe_after.bytes),
                (probe_before.frames, out.len() as u64),
                "{name}"
            );
            assert_eq!(probe_after.image_bytes, probe_after.bytes, "{name}");
            let other = exif::Reader::new().read_from_container(&mut Cursor::new(&out)).unwrap();
            assert_eq!(other.fields().len(), fields(&exif).len(), "{name}");
            // Nothing twice, however often it is put in.
            assert!(embed(format, out.clone(), Some(&exif), Some(&icc)) == out, "{name}");
        }
    }

    #[test]
    fn one_without_the_other_leaves_the_other_as_it_was() {
        let (limits, exif, icc) = (Limits::default(), exif(), profile(10));
        for (name, format, file) in files() {
            let before = blocks(&file, source(format), &limits);
            let with_exif = embed(format, file.clone(), Some(&exif), None);
            let found = blocks(&with_exif, source(format), &limits);
            assert_eq!((found.exif.as_ref(), found.icc), (Some(&exif), before.icc), "{name}");
            let with_icc = embed(format, file.clone(), None, Some(&icc));
            let found = blocks(&with_icc, source(format), &limits);
            assert_eq!((found.exif, found.icc.as_ref()), (before.exif, Some(&icc)), "{name}");
            assert_eq!(embed(format, file.clone(), None, None), file, "{name}");
            assert_eq!(embed(format, file.clone(), Some(b""), Some(b"")), file, "{name}");
        }
    }

    #[test]
    fn a_jpeg_begins_with_jfif_then_exif_then_the_profile() {
        let file = files().swap_remove(1).2;
        let prefixed = [tiff::PREFIX, &exif()].concat();
        let out = embed(OutputFormat::Jpeg, file, Some(&prefixed), Some(&profile(65_520)));
        let codes: Vec<u8> = Parts::new(&out)
            .unwrap()
            .map_while(|part| match part {
                Ok(Part::Segment { code, .. }) => Some(code),
                _ => None,
            })
            .take(4)
            .collect();
        assert_eq!(codes, [marker::APP0, marker::APP1, marker::APP2, marker::APP2]);
        assert_eq!(memchr::memmem::find_iter(&out, tiff::PREFIX).count(), 1);
    }

    #[test]
    fn what_a_jpeg_cannot_carry_is_left_out() {
        let file = files().swap_remove(1).2;
        let largest = [b"II*\0".as_slice(), &vec![0; EXIF_BYTES_MAX - 4]].concat();
        let found = |exif: &[u8], icc: &[u8]| {
            let out = embed(OutputFormat::Jpeg, file.clone(), Some(exif), Some(icc));
            probe(&out, &Limits::default()).unwrap();
            let limits = Limits { icc_bytes_max: u32::MAX, ..Limits::default() };
            let Blocks { exif, icc } = blocks(&out, SourceFormat::Jpeg, &limits);
            (exif.map(|exif| exif.len()), icc.map(|icc| icc.len()))
        };
        let most = ICC_PIECE_BYTES_MAX * ICC_PIECES_MAX;
        assert_eq!(ICC_PIECE_BYTES_MAX, 65_519);
        assert_eq!(found(&largest, &vec![1; most]), (Some(65_527), Some(most)));
        assert_eq!(found(&[&largest, b"!".as_slice()].concat(), &vec![1; most + 1]), (None, None));
    }

    #[test]
    fn a_simple_webp_becomes_an_extended_one_with_the_right_flags() {
        let (exif, icc) = (exif(), profile(11));
        let cases = [
            ("lossy.webp", false),
            ("lossless.webp", false),
            ("lossless-alpha.webp", true),
            ("lossy-alpha.webp", true),
        ];
        for (name, alpha) in cases {
            let out = embed(OutputFormat::WebP, fixture(name), Some(&exif), Some(&icc));
            let codes: Vec<_> = webp::Chunks::new(&out).unwrap().map(|chunk| chunk.code).collect();
            assert_eq!(codes.iter().filter(|code| *code == b"VP8X").count(), 1, "{name}");
            assert_eq!(
                (&codes[..2], codes.last().unwrap()),
                ([*b"VP8X", *b"ICCP"].as_slice(), b"EXIF"),
                "{name}"
            );
            let flags = webp::Chunks::new(&out).unwrap().next().unwrap().data[0];
            assert_eq!(flags, 0x28 | if alpha { 0x10 } else { 0 }, "{name}");
            let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&out)).unwrap();
            assert_eq!((decoder.dimensions(), decoder.has_alpha()), ((160, 120), alpha), "{name}");
            assert_eq!(decoder.icc_profile().unwrap().as_ref(), Some(&icc), "{name}");
            assert_eq!(decoder.exif_metadata().unwrap().as_ref(), Some(&exif), "{name}");
        }
    }

    #[test]
    fn another_reader_of_png_finds_both_with_valid_checksums() {
        let (exif, icc) = (exif(), profile(5_000));
        for (name, format, file) in files().into_iter().filter(|(_, format, _)| *format == OutputFormat::Png)
        {
            let out = embed(format, file, Some(&exif), Some(&icc));
            let mut decoder = ::png::Decoder::new(Cursor::new(&out));
            decoder.ignore_checksums(false);
            let mut reader = decoder.read_info().unwrap();
            reader.finish().unwrap();
            let info = reader.info();
            assert_eq!(info.icc_profile.as_deref(), Some(icc.as_slice()), "{name}");
            assert_eq!(info.exif_metadata.as_deref(), Some(exif.as_slice()), "{name}");
            assert_eq!(info.srgb, None, "{name}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_returned_unchanged() {
        let exif = exif();
        for (format, _) in FORMATS {
            for file in
                [b"".as_slice(), b"no picture", b"RIFF\x04\0\0\0WEBP", b"RIFF\x0C\0\0\0WEBPEXIF\0\0\0\0"]
            {
                assert_eq!(embed(format, file.to_vec(), Some(&exif), Some(b"icc")), file, "{format}");
            }
        }
        let avif = b"\0\0\0\x1Cftypavif".to_vec();
        assert_eq!(embed(OutputFormat::Avif, avif.clone(), Some(&exif), Some(b"icc")), avif);
    }
}
