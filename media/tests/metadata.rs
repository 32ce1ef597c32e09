//! Originals without what is private: nothing of it is left in the bytes, and the picture is the same.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;
#[path = "common/exif.rs"]
mod exif_blocks;
#[path = "common/heif.rs"]
mod heif;
#[cfg(feature = "jxl")]
#[path = "common/jxl.rs"]
mod jxl_files;
#[path = "common/private.rs"]
mod private_files;

#[path = "metadata/in_place.rs"]
mod in_place;

use std::io::Cursor;

use common::build::{Place, SHORT, Tiff, deflate, lzw};
use common::{build, fixture, quadrants, variants};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_media::{
    Fit, Limits, MediaError, Orientation, Preset, Probe, SourceFormat, Strip, probe, without_private,
};
use exif_blocks::{Block, SECRET, Value, camera, forward, tells_secret, tiff_of};
use heif::{HeifFile, Item, avif, boxed};
use proptest::prelude::*;

fn found(bytes: &[u8]) -> Probe {
    probe(bytes, &Limits::default()).unwrap()
}

/// Everything about the picture that must not change: how it is stored and turned, and what it is rendered to.
fn picture(bytes: &[u8]) -> (Probe, Vec<Vec<u8>>) {
    let (probe, variants) = variants(bytes, &Preset::default_ladder()[3..]);
    let probe = Probe { metadata_bytes: 0, image_bytes: 0, bytes: 0, ..probe };
    (probe, variants.into_iter().map(|variant| variant.bytes).collect())
}

/// The tags that another reader finds in a file's EXIF block.
fn tags(bytes: &[u8]) -> Vec<exif::Tag> {
    let exif = exif::Reader::new().read_from_container(&mut Cursor::new(bytes)).unwrap();
    exif.fields().map(|field| field.tag).collect()
}

fn assert_public(before: &[u8], what: &str) -> Vec<u8> {
    let format = found(before).format;
    let after = without_private(before, format).unwrap();
    assert!(tells_secret(before), "{what}");
    assert!(!tells_secret(&after), "{what}");
    assert_eq!(picture(&after), picture(before), "{what}");
    assert_eq!(found(&after).image_bytes, after.len() as u64, "{what}: nothing behind its end");
    assert!(after.len() <= before.len() && after.capacity() <= before.len() + (1 << 16), "{what}");
    assert_eq!(without_private(&after, format).unwrap(), after, "{what}: once more changes nothing");
    after
}

fn segment(code: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    [&[0xFF, code], (payload.len() as u16 + 2).to_be_bytes().as_slice(), &payload].concat()
}

const ICC: &[u8] = b"ICC_PROFILE\0\x01\x01a profile";

/// Segments that tell secrets, or could, and two that are needed.
fn private_segments() -> Vec<u8> {
    let mut out = [
        segment(0xE0, &[b"JFIF\0\x01\x02\x01\0\x48\0\x48\x02\x01", SECRET]),
        segment(0xE0, &[b"JFXX\0\x10", SECRET]),
        segment(0xE1, &[b"Exif\0\0", &camera(true).build()]),
        segment(0xE1, &[b"http://ns.adobe.com/xap/1.0/\0<x>", SECRET, b"</x>"]),
        segment(0xE1, &[b"http://ns.adobe.com/xmp/extension/\0", &[b'0'; 40], SECRET]),
        segment(0xE2, &[b"MPF\0II*\0", SECRET]),
        segment(0xE2, &[ICC]),
        segment(0xED, &[b"Photoshop 3.0\08BIM\x04\x04", SECRET]),
        segment(0xEE, &[b"Adobe\0\x64\0\0\0\0\x01", SECRET]),
        segment(0xEE, &[b"Unknown", SECRET]),
        segment(0xFE, &[SECRET]),
        segment(0xF0, &[SECRET]),
        segment(0xC8, &[SECRET]),
    ]
    .concat();
    for code in (0xE3..=0xEC).chain([0xEF]) {
        out.extend(segment(code, &[SECRET]));
    }
    out
}

/// The entropy-coded data of a JPEG of one scan.
fn scan(bytes: &[u8]) -> &[u8] {
    let start = bytes.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    let end = bytes.windows(2).rposition(|pair| pair == [0xFF, 0xD9]).unwrap();
    &bytes[start..end]
}

fn private_jpeg(photo: &[u8]) -> Vec<u8> {
    let film = [b"\xFF\xD8\xFF\xE1\0\x10Exif\0\0".as_slice(), SECRET, b"ftypmp42", SECRET].concat();
    [&photo[..2], &private_segments(), &photo[2..], &film].concat()
}

#[test]
fn of_a_jpeg_remains_the_picture() {
    let spec =
        PhotoSpec { width: 640, height: 480, orientation: Orientation::Rotate270, ..PhotoSpec::default() };
    let original = private_jpeg(&jpeg(&spec));
    let after = assert_public(&original, "generated");
    // Of two EXIF blocks the first names the orientation.
    assert_eq!(found(&after).orientation, Orientation::Rotate90);
    assert_eq!(scan(&after), scan(&jpeg(&spec)));
    let icc = after.windows(ICC.len()).filter(|window| *window == ICC);
    assert_eq!(icc.count(), 1);
    let tags = tags(&after);
    assert!(tags.contains(&exif::Tag::LensModel) && tags.contains(&exif::Tag::Orientation));
    assert!(!tags.iter().any(|tag| tag.context() == exif::Context::Gps), "{tags:?}");
    assert!(!after.windows(4).any(|window| window == b"JFXX" || window == b"MPF\0"));

    let plain = without_private(&jpeg(&spec), SourceFormat::Jpeg).unwrap();
    let names: Vec<String> = self::tags(&plain).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["Make", "Model", "Orientation"]);
    // Fill bytes before a marker, and a marker that means nothing.
    let filled = [&jpeg(&spec)[..2], &[0xFF, 0xFF, 0xFF, 0xFE, 0, 2, 0xFF, 0x01], &jpeg(&spec)[2..]].concat();
    assert_eq!(without_private(&filled, SourceFormat::Jpeg).unwrap(), plain);
}

#[test]
fn jpegs_of_every_kind_stay_what_they_are() {
    for name in ["progressive.jpg", "restarts.jpg", "rgb.jpg", "gray.jpg"] {
        let original = private_jpeg(&fixture(name));
        // The first of two Adobe segments would change the colours of another's file.
        let original = if name == "rgb.jpg" { without_first_adobe(original) } else { original };
        assert_public(&original, name);
    }
    let spec = PhotoSpec { width: 64, height: 48, progressive: true, ..PhotoSpec::default() };
    let progressive = jpeg(&spec);
    // Between two scans, too.
    let second = progressive.windows(2).rposition(|pair| pair == [0xFF, 0xC4]).unwrap();
    let between = [&progressive[..second], &segment(0xFE, &[SECRET]), &progressive[second..]].concat();
    let after = assert_public(&between, "between scans");
    assert_eq!(after, without_private(&progressive, SourceFormat::Jpeg).unwrap());
}

fn without_first_adobe(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.windows(7).position(|window| window == b"\0\x14Adobe").unwrap() - 2;
    bytes.drain(at..at + 22);
    bytes
}

#[test]
fn a_jpeg_that_is_cut_short_is_passed_as_far_as_it_goes() {
    let spec = PhotoSpec { width: 40, height: 24, ..PhotoSpec::default() };
    let original = private_jpeg(&jpeg(&spec));
    let whole = without_private(&original, SourceFormat::Jpeg).unwrap();
    for length in 2..original.len() {
        let cut = without_private(&original[..length], SourceFormat::Jpeg).unwrap();
        assert!(!tells_secret(&cut), "cut to {length} bytes");
        assert!(whole.starts_with(&cut), "cut to {length} bytes");
    }
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(&kind);
    checksum.update(data);
    [(data.len() as u32).to_be_bytes().as_slice(), &kind, data, &checksum.sum().to_be_bytes()].concat()
}

/// A palette picture with everything that says how it is to be shown, and a second frame.
fn shown_png() -> Vec<u8> {
    let mut info = png::Info::with_size(8, 8);
    info.color_type = png::ColorType::Indexed;
    info.bit_depth = png::BitDepth::Eight;
    info.palette = Some([200, 40, 40, 40, 180, 60].as_slice().into());
    info.trns = Some([255, 128].as_slice().into());
    info.icc_profile = Some(b"a profile".as_slice().into());
    info.pixel_dims = Some(png::PixelDimensions { xppu: 2835, yppu: 2835, unit: png::Unit::Meter });
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::with_info(&mut bytes, info).unwrap();
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0; 64]).unwrap();
    writer.write_image_data(&[1; 64]).unwrap();
    writer.finish().unwrap();
    bytes
}

fn private_png(picture: &[u8]) -> Vec<u8> {
    let texts = [
        chunk(*b"tEXt", &[b"Comment\0".as_slice(), SECRET].concat()),
        chunk(*b"zTXt", &[b"Raw profile type exif\0\0".as_slice(), SECRET].concat()),
        chunk(*b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0".as_slice(), SECRET].concat()),
        chunk(*b"tIME", &[0x07, 0xE8, 5, 1, 18, 3, 59]),
        chunk(*b"eXIf", &camera(false).build()),
        chunk(*b"caBX", SECRET),
        chunk(*b"prVw", SECRET),
    ]
    .concat();
    let end = picture.len() - 12;
    let late = chunk(*b"tEXt", SECRET);
    // Behind the header, behind the pixels, and behind the end.
    [&picture[..33], &texts, &picture[33..end], &late, &picture[end..], SECRET].concat()
}

#[test]
fn a_gif_that_is_cut_short_is_passed_as_far_as_it_goes() {
    let whole = animation(b"", b";");
    for length in 13..whole.len() {
        let cut = without_private(&whole[..length], SourceFormat::Gif).unwrap();
        assert!(whole.starts_with(&cut) || cut.last() == Some(&b';'), "cut to {length} bytes");
        assert_eq!(without_private(&cut, SourceFormat::Gif).unwrap(), cut, "cut to {length} bytes");
    }
}

/// The chunks of a PNG by their types.
fn kinds(bytes: &[u8]) -> Vec<[u8; 4]> {
    let mut kinds = Vec::new();
    let mut at = 8;
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        kinds.push(bytes[at + 4..at + 8].try_into().unwrap());
        at += 12 + length;
    }
    assert_eq!(at, bytes.len());
    kinds
}

#[test]
fn of_a_png_remains_what_is_shown() {
    let after = assert_public(&private_png(&shown_png()), "palette");
    assert_eq!(found(&after).orientation, Orientation::Rotate90);
    assert_eq!(found(&after).frames, 2);
    let mut expected = kinds(&shown_png());
    expected.insert(1, *b"eXIf");
    assert_eq!(kinds(&after), expected);
    let mut decoder = png::Decoder::new(Cursor::new(&after));
    decoder.ignore_checksums(false);
    let mut reader = decoder.read_info().unwrap();
    assert_eq!(reader.info().icc_profile.as_deref(), Some(b"a profile".as_slice()));
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    for color in [0, 1] {
        reader.next_frame(&mut pixels).unwrap();
        assert!(pixels.iter().all(|pixel| *pixel == color));
    }
    reader.finish().unwrap();
    assert!(!tags(&after).iter().any(|tag| tag.context() == exif::Context::Gps));
    // A file that had nothing to hide is the same, byte for byte.
    assert_eq!(without_private(&shown_png(), SourceFormat::Png).unwrap(), shown_png());
    assert_public(&private_png(&fixture("turned.png")), "turned.png");
}

fn riff_chunk(code: [u8; 4], data: &[u8]) -> Vec<u8> {
    let padding = &[0][..data.len() % 2];
    [&code, (data.len() as u32).to_le_bytes().as_slice(), data, padding].concat()
}

/// A file with an unknown chunk in the middle and one at its end, and bytes behind it.
fn private_webp(file: &[u8]) -> Vec<u8> {
    let unknown = riff_chunk(*b"TESU", &[SECRET, b"!"].concat());
    let mut out = [&file[..30], &unknown, &file[30..], &unknown].concat();
    let length = out.len() as u32 - 8;
    out[4..8].copy_from_slice(&length.to_le_bytes());
    out.extend(SECRET);
    out
}

#[test]
fn of_a_webp_remains_the_picture() {
    let pixels: Vec<u8> = (0..64 * 48 * 4).map(|index| (index * 7 % 251) as u8).collect();
    for (color, alpha) in [(image_webp::ColorType::Rgb8, 0), (image_webp::ColorType::Rgba8, 0x10)] {
        let channels = if alpha == 0 { 3 } else { 4 };
        let mut file = Vec::new();
        let mut encoder = image_webp::WebPEncoder::new(&mut file);
        encoder.set_exif_metadata(camera(false).build());
        encoder.set_icc_profile(b"a profile".to_vec());
        encoder.set_xmp_metadata([b"<x:xmpmeta>", SECRET].concat());
        encoder.encode(&pixels[..64 * 48 * channels], 64, 48, color).unwrap();
        let after = assert_public(&private_webp(&file), "extended");
        assert_eq!(after[20], 0x20 | 0x08 | alpha, "colour profile, EXIF, and no XMP");
        assert_eq!(found(&after).orientation, Orientation::Rotate90);
        let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&after)).unwrap();
        assert_eq!(decoder.icc_profile().unwrap().unwrap(), b"a profile");
        assert_eq!(decoder.xmp_metadata().unwrap(), None);
        let mut decoded = vec![0; 64 * 48 * channels];
        decoder.read_image(&mut decoded).unwrap();
        assert!(decoded == pixels[..decoded.len()]);
        assert!(!tags(&after).iter().any(|tag| tag.context() == exif::Context::Gps));
    }
}

#[test]
fn webps_of_every_kind_stay_what_they_are() {
    for name in [
        "lossy.webp",
        "lossless.webp",
        "lossy-alpha.webp",
        "lossless-alpha.webp",
        "animated.webp",
        "turned.webp",
    ] {
        let mut original = fixture(name);
        let unknown = riff_chunk(*b"HIDE", SECRET);
        original.extend(&unknown);
        let length = original.len() as u32 - 8;
        original[4..8].copy_from_slice(&length.to_le_bytes());
        assert_public(&original, name);
    }
    // A chunk that nobody knows inside a frame.
    let animated = fixture("animated.webp");
    let frame = animated.windows(4).position(|window| window == b"ANMF").unwrap();
    let length = u32::from_le_bytes(animated[frame + 4..frame + 8].try_into().unwrap());
    let end = frame + 8 + length as usize + length as usize % 2;
    let unknown = riff_chunk(*b"HIDE", SECRET);
    let mut inside = [&animated[..end], &unknown, &animated[end..]].concat();
    inside[frame + 4..frame + 8]
        .copy_from_slice(&(length.next_multiple_of(2) + unknown.len() as u32).to_le_bytes());
    let riff = inside.len() as u32 - 8;
    inside[4..8].copy_from_slice(&riff.to_le_bytes());
    assert_public(&inside, "inside a frame");
}

fn sub_blocks(data: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> =
        data.chunks(255).flat_map(|piece| [&[piece.len() as u8], piece].concat()).collect();
    out.push(0);
    out
}

fn application(name: &[u8; 11], data: &[u8]) -> Vec<u8> {
    [b"!\xFF\x0B".as_slice(), name, &sub_blocks(data)].concat()
}

/// An animation of two frames, of which the second shows the first through.
fn animation(extensions: &[u8], trailer: &[u8]) -> Vec<u8> {
    let control = |flags: u8| [b"!\xF9\x04", [flags, 10, 0, 1].as_slice(), b"\0"].concat();
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, 4, 2, &[200, 40, 40, 40, 180, 60]).unwrap();
    let frame = |pixels: &[u8]| gif::Frame {
        width: 4,
        height: 2,
        buffer: pixels.to_vec().into(),
        ..gif::Frame::default()
    };
    encoder.write_frame(&frame(&[0; 8])).unwrap();
    let first = encoder.get_ref().len();
    encoder.write_frame(&frame(&[0, 1, 0, 1, 1, 1, 0, 1])).unwrap();
    drop(encoder);
    // Of the encoder's file, whose graphic control extensions are replaced by known ones.
    let images: Vec<usize> = [13 + 6, first].to_vec();
    let strip = |from: usize, to: usize| {
        let part = &bytes[from..to];
        let control = if part.starts_with(b"!\xF9") { 8 } else { 0 };
        part[control..].to_vec()
    };
    let (one, two) = (strip(images[0], first), strip(first, bytes.len() - 1));
    [&bytes[..19], extensions, &control(4), &one, extensions, &control(1), &two, trailer].concat()
}

#[test]
fn of_a_gif_remains_the_animation() {
    let control = b"!\xF9\x04\x05\x0A\0\0\0";
    let text = [b"!\x01\x0C".as_slice(), &[0; 12], &sub_blocks(SECRET)].concat();
    let hidden = [
        [b"!\xFE".as_slice(), &sub_blocks(SECRET)].concat(),
        application(b"XMP DataXMP", &[SECRET, &[b'x'; 600]].concat()),
        application(b"MGK8BIM0000", SECRET),
        [control.as_slice(), &text].concat(),
    ]
    .concat();
    let shown = [
        application(b"NETSCAPE2.0", b"\x01\0\0"),
        application(b"ANIMEXTS1.0", b"\x01\0\0"),
        application(b"ICCRGBG1012", b"a profile"),
    ]
    .concat();
    let original = animation(&[hidden.as_slice(), &shown].concat(), &[b";".as_slice(), SECRET].concat());
    let after = assert_public(&original, "animation");
    assert_eq!(after, animation(&shown, b";"));
    let frames = |bytes: &[u8]| {
        let mut decoder = gif::DecodeOptions::new().read_info(Cursor::new(bytes.to_vec())).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            frames.push((frame.delay, frame.dispose, frame.transparent, frame.buffer.to_vec()));
        }
        frames
    };
    assert_eq!(frames(&after).len(), 2);
    assert_eq!(frames(&after), frames(&animation(&shown, b";")));
    // The decoder refuses extensions that it does not know, but others show the file.
    let unknown = [b"!\x42".as_slice(), &sub_blocks(SECRET)].concat();
    let known = without_private(&animation(&unknown, b";"), SourceFormat::Gif).unwrap();
    assert_eq!(known, animation(b"", b";"));
    // Without a trailer, and with rubbish in its place, the animation ends like others.
    for trailer in [b"".as_slice(), SECRET] {
        let ended = without_private(&animation(&hidden, trailer), SourceFormat::Gif).unwrap();
        assert_eq!(ended, animation(b"", b";"));
    }
    assert_eq!(
        without_private(&fixture("interlaced.gif"), SourceFormat::Gif).unwrap(),
        fixture("interlaced.gif")
    );
}

#[test]
fn what_is_no_such_file_is_refused() {
    for format in SourceFormat::ALL {
        for bytes in [b"".as_slice(), b"\xFF", b"RIFF\0\0\0\0WAVE", b"GIF88a", b"BM"] {
            let error = without_private(bytes, format).unwrap_err();
            let clear = match format {
                SourceFormat::Bmp => matches!(error, MediaError::Unsupported { .. }),
                SourceFormat::Tiff => matches!(error, MediaError::Truncated { .. }),
                _ => matches!(error, MediaError::Corrupt { .. }),
            };
            assert!(clear, "{format}: {error}");
        }
    }
    // Rubbish where a segment must begin might be a secret: it is neither passed nor passed over.
    let photo = jpeg(&PhotoSpec { width: 8, height: 8, ..PhotoSpec::default() });
    let rubbish = [&photo[..2], SECRET, &photo[2..]].concat();
    let error = without_private(&rubbish, SourceFormat::Jpeg).unwrap_err();
    assert!(error.to_string().contains("at byte 2 stands 0x53 where a marker must begin"), "{error}");
    let nested = [&photo[..2], &photo].concat();
    assert_eq!(without_private(&nested, SourceFormat::Jpeg).unwrap_err().code(), "corrupt-image");
}

/// Encoded once: it takes longer than all else together.
fn small_avif() -> Item {
    static PICTURE: std::sync::OnceLock<Item> = std::sync::OnceLock::new();
    PICTURE.get_or_init(|| avif(1, (4, 4), &quadrants(4, 4), 8).1).clone()
}

/// A small file of each format with secrets in it.
fn private_files() -> Vec<(SourceFormat, Vec<u8>)> {
    let photo = jpeg(&PhotoSpec { width: 16, height: 8, ..PhotoSpec::default() });
    let mut webp = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut webp);
    encoder.set_exif_metadata(camera(false).build());
    encoder.set_xmp_metadata(SECRET.to_vec());
    encoder.encode(&[7; 48], 4, 4, image_webp::ColorType::Rgb8).unwrap();
    let comment = [b"!\xFE".as_slice(), &sub_blocks(SECRET)].concat();
    vec![
        (SourceFormat::Jpeg, private_jpeg(&photo)),
        (SourceFormat::Png, private_png(&shown_png())),
        (SourceFormat::WebP, private_webp(&webp)),
        (SourceFormat::Gif, animation(&comment, b";")),
        (SourceFormat::Tiff, private_files::tiff(false, Block::build)),
        (SourceFormat::Tiff, private_files::tiff(true, forward)),
        (
            SourceFormat::Avif,
            private_files::with_film(&private_files::heif(HeifFile::of(*b"avif", small_avif()))),
        ),
        (SourceFormat::Jxl, private_files::jxl(b"\xFF\x0Anobody looks into it")),
    ]
}

#[test]
fn cut_anywhere_a_file_tells_no_secret() {
    for (format, bytes) in private_files() {
        for length in 0..bytes.len() {
            if let Ok(after) = without_private(&bytes[..length], format) {
                assert!(!tells_secret(&after), "{format} cut to {length} bytes");
            }
        }
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic_nor_grow(
        file in 0_usize..8,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let (format, mut bytes) = private_files().swap_remove(file);
        for (at, value) in damage {
            let index = at.index(bytes.len());
            bytes[index] = value;
        }
        if let Ok(after) = without_private(&bytes, format) {
            prop_assert!(after.len() <= bytes.len() + bytes.len() / 8 + 128);
        }
    }

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), signature in 0_usize..8) {
        let signatures: [&[u8]; 8] = [
            b"\xFF\xD8\xFF",
            b"\x89PNG\r\n\x1A\n",
            b"GIF89a",
            b"RIFF\xFF\0\0\0WEBP",
            b"II*\0\x08\0\0\0",
            b"\0\0\0\x0CJXL \r\n\x87\n",
            b"\0\0\0\x0Cftypavif\0\0\0\0meta",
            b"",
        ];
        let bytes = [signatures[signature], &bytes].concat();
        for format in SourceFormat::ALL {
            let _ = without_private(&bytes, format);
        }
    }
}
