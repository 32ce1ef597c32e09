//! The probe on whole, cut, lying and foreign files, fed in pieces of every size.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;
#[path = "common/heif.rs"]
mod heif;
#[cfg(feature = "jxl")]
#[path = "common/jxl.rs"]
mod jxl_files;
#[path = "common/exif.rs"]
mod sample;

use common::build::{Place, SHORT, Tiff};
use common::streams::{assert_more_is_ignored, cut, cuts, damaged, decoded, fed, known};
use common::{fixture, quadrants};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_media::{Limits, MediaError, Orientation, Probe, SourceFormat, Subsampling, probe};
use heif::{HeifFile, Item, avif, boxed};
use proptest::prelude::*;
use sample::{Block, camera, forward, tiff_of};

fn limits() -> Limits {
    Limits::default()
}

/// One small file for each way in which the walkers walk.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let spec =
        PhotoSpec { width: 40, height: 24, orientation: Orientation::Rotate270, ..PhotoSpec::default() };
    let mut files = vec![
        ("generated.jpg", jpeg(&spec)),
        ("generated progressive.jpg", jpeg(&PhotoSpec { progressive: true, ..spec })),
    ];
    let names = [
        "progressive.jpg",
        "restarts.jpg",
        "rgb.jpg",
        "gray.jpg",
        "turned.png",
        "turned.webp",
        "lossy.webp",
        "lossless.webp",
        "lossy-alpha.webp",
        "lossless-alpha.webp",
        "animated.webp",
        "interlaced.gif",
    ];
    files.extend(names.map(|name| (name, fixture(name))));
    files
}

#[test]
fn facts_of_the_files() {
    let found = |name: &str| probe(&fixture(name), &limits()).unwrap();
    let photo = found("progressive.jpg");
    assert_eq!((photo.format, photo.width, photo.height), (SourceFormat::Jpeg, 160, 120));
    assert_eq!((photo.subsampling, photo.components, photo.bit_depth), (Some(Subsampling::S420), 3, 8));
    assert!(photo.progressive && photo.coefficients_held && !photo.has_alpha);
    assert_eq!(photo.bytes, fixture("progressive.jpg").len() as u64);
    assert_eq!(photo.image_bytes, photo.bytes);
    assert_eq!(found("rgb.jpg").subsampling, Some(Subsampling::S444));
    assert_eq!((found("gray.jpg").subsampling, found("gray.jpg").components), (None, 1));
    assert_eq!(found("turned.webp").orientation, Orientation::Rotate90);
    assert_eq!(found("lossy.webp").subsampling, Some(Subsampling::S420));
    assert_eq!(found("lossless.webp").subsampling, None);
    assert!(found("lossless-alpha.webp").has_alpha && found("lossy-alpha.webp").has_alpha);
    assert_eq!(found("animated.webp").frames, 3);
    assert_eq!(found("interlaced.gif").format, SourceFormat::Gif);
}

#[test]
fn a_probe_survives_being_stored() {
    for (name, bytes) in files() {
        let found = probe(&bytes, &limits()).unwrap();
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Probe>(&json).unwrap(), found, "{name}: {json}");
    }
}

#[test]
fn byte_by_byte_is_the_same_as_at_once() {
    for (name, bytes) in files() {
        assert_eq!(fed(bytes.chunks(1), &limits()), probe(&bytes, &limits()), "{name}");
        assert!(probe(&bytes, &limits()).is_ok(), "{name}");
    }
}

#[test]
fn cut_anywhere_a_file_is_truncated() {
    for (name, bytes) in files() {
        let end = probe(&bytes, &limits()).unwrap().image_bytes as usize;
        for length in 0..end {
            let outcome = probe(&bytes[..length], &limits());
            match outcome {
                Err(MediaError::Empty) => assert_eq!(length, 0),
                Err(MediaError::Truncated { .. }) => {}
                // A JPEG is shown as far as its pixels go.
                Ok(found) if found.format == SourceFormat::Jpeg => {
                    assert!(found.truncated && found.image_bytes == length as u64, "{name} {length}");
                }
                // A GIF is whole with its first frame; only the trailer may be missing.
                Ok(found) if found.format == SourceFormat::Gif => assert_eq!(length, end - 1, "{name}"),
                other => panic!("{name} cut to {length} of {end} bytes: {other:?}"),
            }
            assert_eq!(
                fed(bytes[..length].chunks(1), &limits()),
                probe(&bytes[..length], &limits()),
                "{name} {length}"
            );
        }
    }
}

#[test]
fn what_follows_the_end_is_ignored() {
    for (name, bytes) in files() {
        assert_more_is_ignored(name, &bytes, true);
    }
}

/// What is told of a camera's block, whatever it is wrapped in.
fn assert_told(bytes: &[u8], what: &str) {
    let whole = probe(bytes, &limits()).unwrap();
    let told = whole.capture.as_deref().unwrap_or_else(|| panic!("{what}: nothing is told"));
    let json = serde_json::to_value(told).unwrap();
    assert_eq!(json["taken"], "2024-05-01T18:03:59.070+02:00", "{what}");
    assert_eq!((&json["model"], &json["iso"]), (&"EOS R5".into(), &400.into()), "{what}");
    assert_eq!(
        (&json["lens"], &json["f_number"]),
        (&"RF24-70mm F2.8 L IS USM".into(), &2.8.into()),
        "{what}"
    );
    assert_eq!((&json["artist"], &json["copyright"]), (&"Ada L.".into(), &"Ada".into()), "{what}");
    for size in [1, 7, 100] {
        assert_eq!(fed(bytes.chunks(size), &limits()).as_ref(), Ok(&whole), "{what} in pieces of {size}");
    }
}

fn too_much(bytes: &[u8]) -> MediaError {
    probe(bytes, &Limits { metadata_bytes_max: 500, ..limits() }).unwrap_err()
}

#[test]
fn a_tiff_tells_how_it_was_taken_where_that_lies_ahead() {
    for big_endian in [false, true] {
        assert_told(&tiff_of(&camera(big_endian), forward), "directories in their order");
        // Here the EXIF directory has passed when it is pointed to, and the first one's values have not.
        let backward = tiff_of(&camera(big_endian), Block::build);
        let told = probe(&backward, &limits()).unwrap().capture.unwrap();
        assert_eq!((told.model.as_deref(), told.lens), (Some("EOS R5"), None));
        assert_eq!(told.taken.as_deref(), Some("2024-05-02T10:00:00"));
        assert_eq!(fed(backward.chunks(1), &limits()), probe(&backward, &limits()));
        for place in [Place::First, Place::Middle, Place::Last] {
            let mut tiff = Tiff::new(4, 2).with(0x8827, SHORT, &[400]).chunk([7; 8]);
            (tiff.big, tiff.big_endian, tiff.place) = (true, big_endian, place);
            let told = probe(&tiff.build(), &limits()).unwrap().capture.unwrap();
            assert_eq!(told.iso, Some(400), "{place:?}");
        }
    }
}

#[test]
fn hostile_directories_of_a_tiff_tell_nothing_and_cost_nothing() {
    use sample::Value;
    let with = |image| {
        let block = Block { image, ..Block::default() };
        probe(&tiff_of(&block, Block::build), &limits()).unwrap().capture
    };
    for at in [0, 8, u32::MAX, u32::MAX - 1] {
        assert_eq!(with(vec![(0x8769, Value::Long(at))]), None, "a directory at {at}");
    }
    // More than may be held: what fits is told.
    let image = vec![(0x010F, Value::Raw(2, vec![b'x'; 60_000])), (0x0110, Value::text("a model"))];
    let bytes = tiff_of(&Block { image, ..Block::default() }, Block::build);
    let small = Limits { metadata_bytes_max: 500, ..limits() };
    let told = probe(&bytes, &small).unwrap().capture.unwrap();
    assert_eq!((told.make, told.model.as_deref()), (None, Some("a model")));
    // A count that overflows.
    let mut overflowing = bytes;
    let make = memchr::memmem::find(&overflowing, b"\x0F\x01\x02\0").unwrap();
    overflowing[make + 4..make + 8].fill(0xFF);
    assert_eq!(probe(&overflowing, &limits()).unwrap().capture.unwrap().make, None);
}

#[test]
fn an_avif_tells_how_it_was_taken() {
    let data = [b"\0\0\0\x06Exif\0\0".as_slice(), &camera(true).build()].concat();
    let picture = avif(1, (16, 16), &quadrants(16, 16), 8).1;
    let exif = Item { id: 9, kind: *b"Exif", data: data.clone(), properties: Vec::new() };
    let mut file = HeifFile::of(*b"avif", picture);
    file.items.push(exif);
    file.references.push((*b"cdsc", 9, vec![1]));
    let bytes = file.bytes();
    assert_told(&bytes, "behind the picture");
    assert!(matches!(too_much(&bytes), MediaError::MetadataTooLarge { .. }));
    // Before the picture, in the same box.
    let mut first = file.clone();
    first.items.swap(0, 1);
    assert_told(&first.bytes(), "before the picture");
    // Before the directory: it has passed.
    let early = boxed(*b"free", &data);
    let head = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let mut shifted = file.clone();
    shifted.shift = early.len() as u64;
    let shifted = shifted.bytes();
    let mut early = [&shifted[..head], &early, &shifted[head..]].concat();
    let exif_at = (early.len() - data.len()) as u64;
    let entry = memchr::memmem::find(&early, &exif_at.to_be_bytes()).unwrap();
    early[entry..entry + 8].copy_from_slice(&(head as u64 + 8).to_be_bytes());
    assert_eq!(probe(&early, &limits()).unwrap().capture, None);
    assert_eq!(fed(early.chunks(1), &limits()), probe(&early, &limits()));
}

#[cfg(feature = "jxl")]
#[test]
fn a_jpeg_xl_tells_how_it_was_taken() {
    use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace};
    let codestream = jxl_files::encoded((16, 16), ColorSpace::RGB, BitDepth::Eight, &quadrants(16, 16));
    let exif = [b"\0\0\0\0".as_slice(), &camera(false).build()].concat();
    let bytes = [
        boxed(*b"JXL ", b"\r\n\x87\n"),
        boxed(*b"ftyp", b"jxl \0\0\0\0jxl "),
        boxed(*b"brob", b"Exifnobody looks into it"),
        boxed(*b"Exif", &exif),
        boxed(*b"jxlc", &codestream),
    ]
    .concat();
    assert_told(&bytes, "JPEG XL");
    assert!(matches!(too_much(&bytes), MediaError::MetadataTooLarge { .. }));
}

proptest! {
    #[test]
    fn pieces_of_any_size_are_the_same_as_at_once(file in damaged(files(), 0..2), cuts in cuts()) {
        prop_assert_eq!(fed(cut(&file.bytes, cuts), &limits()), probe(&file.bytes, &limits()));
    }

    /// Whatever a byte is changed to, nothing panics, and what the probe lets through the decoder decodes or refuses.
    #[test]
    fn damaged_files_never_panic(file in damaged(files(), 1..4)) {
        // Damage may name a large size, which is allowed but slow to decode many times.
        let _ = decoded(&file.bytes, &Limits { pixels_max: 1 << 20, ..limits() });
    }

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), signature in 0_usize..5) {
        let signatures: [&[u8]; 5] =
            [b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1A\n", b"GIF89a", b"RIFF\xFF\0\0\0WEBP", b""];
        let bytes = [signatures[signature], &bytes].concat();
        prop_assert_eq!(fed(bytes.chunks(3), &limits()), probe(&bytes, &limits()));
    }
}

/// A JPEG's frame header behind its signature.
fn jpeg_header(sof: u8, precision: u8, width: u16, height: u16, components: &[[u8; 3]]) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, sof];
    bytes.extend((8 + 3 * components.len() as u16).to_be_bytes());
    bytes.push(precision);
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.push(components.len() as u8);
    bytes.extend(components.concat());
    bytes
}

const YCBCR: [[u8; 3]; 3] = [[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]];

fn png_header(width: u32, height: u32, rest: [u8; 5]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend(rest);
    bytes.extend([0; 4]);
    bytes
}

/// A canvas of VP8X and a VP8L image that claims another size.
fn lying_webp(canvas: u32, image: u32) -> Vec<u8> {
    let mut body = b"WEBPVP8X\x0A\0\0\0\0\0\0\0".to_vec();
    body.extend(&(canvas - 1).to_le_bytes()[..3]);
    body.extend(&(canvas - 1).to_le_bytes()[..3]);
    body.extend(b"VP8L\x06\0\0\0\x2F");
    body.extend(((image - 1) | (image - 1) << 14).to_le_bytes());
    body.push(0);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn bombs_are_refused_for_their_size_before_they_are_found_to_be_short() {
    let gif = [b"GIF89a".as_slice(), &60_000_u16.to_le_bytes(), &60_000_u16.to_le_bytes(), &[0; 3]].concat();
    let mut webp = lying_webp(16_000, 16_000);
    webp.truncate(40);
    let bombs = [
        jpeg_header(0xC0, 8, 60_000, 60_000, &YCBCR),
        jpeg_header(0xC2, 8, 60_000, 60_000, &YCBCR),
        png_header(60_000, 60_000, [8, 2, 0, 0, 0]),
        png_header(u32::MAX, u32::MAX, [8, 2, 0, 0, 0]),
        gif,
        webp,
    ];
    for mut bomb in bombs {
        bomb.resize(bomb.len().min(1000), 0);
        let error = probe(&bomb, &limits()).unwrap_err();
        assert!(matches!(error, MediaError::TooManyPixels { .. }), "{error}");
        assert_eq!(fed(bomb.chunks(1), &limits()), Err(error));
    }
    let wide = probe(&png_header(70_000, 1, [8, 2, 0, 0, 0]), &limits()).unwrap_err();
    assert!(matches!(wide, MediaError::TooWide { width: 70_000, limit: 65_535, .. }), "{wide}");
    let tall = probe(&png_header(1, 70_000, [8, 2, 0, 0, 0]), &limits()).unwrap_err();
    assert!(matches!(tall, MediaError::TooTall { height: 70_000, .. }), "{tall}");
}

#[test]
fn an_image_larger_inside_than_outside_is_refused() {
    let error = probe(&lying_webp(100, 9_000), &limits()).unwrap_err();
    assert!(error.to_string().contains("9000×9000 pixels in a frame of 100×100"), "{error}");
    // The first frame of an animated file, too: 160 × 120 claimed as 16 × 120 by its frame header.
    let mut animated = fixture("animated.webp");
    let frame = animated.windows(4).position(|window| window == b"ANMF").unwrap();
    animated[frame + 14] = 15;
    let error = probe(&animated, &limits()).unwrap_err();
    assert_eq!(error.code(), "corrupt-image", "{error}");
}

#[test]
fn sizes_of_zero_are_corrupt() {
    let gif = [b"GIF89a".as_slice(), &[0, 0, 10, 0], &[0; 3]].concat();
    for bytes in [jpeg_header(0xC0, 8, 0, 10, &YCBCR), png_header(0, 5, [8, 2, 0, 0, 0]), gif] {
        assert_eq!(probe(&bytes, &limits()).unwrap_err().code(), "corrupt-image");
    }
    // A height of zero means that it comes later, in a segment that hardly anyone writes (DNL).
    let later = probe(&jpeg_header(0xC0, 8, 10, 0, &YCBCR), &limits()).unwrap_err();
    assert!(later.to_string().contains("height"), "{later}");
    assert_eq!(later.code(), "unsupported-image");
}

#[test]
fn a_palette_of_broken_colours_is_corrupt() {
    let mut bytes = png_header(4, 4, [8, 3, 0, 0, 0]);
    bytes.extend(b"\0\0\0\x04PLTE");
    let error = probe(&bytes, &limits()).unwrap_err();
    assert!(error.to_string().contains("its palette has 4 bytes"), "{error}");
}

#[test]
fn kinds_of_jpeg_that_are_not_decoded_are_named() {
    let kinds = [
        (jpeg_header(0xC3, 8, 10, 10, &YCBCR), "lossless"),
        (jpeg_header(0xC5, 8, 10, 10, &YCBCR), "hierarchical"),
        (jpeg_header(0xC9, 8, 10, 10, &YCBCR), "arithmetic"),
        (jpeg_header(0xC1, 12, 10, 10, &YCBCR), "12 bits"),
        (jpeg_header(0xC0, 8, 10, 10, &YCBCR[..2]), "2 components"),
    ];
    for (bytes, word) in kinds {
        let error = probe(&bytes, &limits()).unwrap_err();
        assert_eq!(error.code(), "unsupported-image");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn too_many_scans_and_too_much_metadata_are_refused() {
    let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0, 0x55];
    let mut bytes = jpeg_header(0xC2, 8, 10, 10, &YCBCR);
    bytes.extend(scan.repeat(100));
    assert!(probe(&bytes, &limits()).unwrap().truncated);
    bytes.extend(scan);
    assert_eq!(probe(&bytes, &limits()), Err(MediaError::TooManyScans { limit: 100 }));

    let mut bytes = png_header(10, 10, [8, 2, 0, 0, 0]);
    bytes.extend(2_000_000_u32.to_be_bytes());
    bytes.extend(b"eXIf");
    assert_eq!(
        probe(&bytes, &limits()),
        Err(MediaError::MetadataTooLarge { bytes: 2_000_000, limit: 1 << 20 })
    );
}

#[test]
fn fill_bytes_and_unknown_segments_are_skipped() {
    let whole = fixture("gray.jpg");
    let mut padded = whole[..2].to_vec();
    // Fill bytes before a marker, a comment, an empty application segment, and an XMP block in the place of EXIF.
    padded.extend([0xFF, 0xFF, 0xFF, 0xFE, 0, 5, 1, 2, 3, 0xFF, 0xEB, 0, 2]);
    padded.extend([0xFF, 0xE1, 0, 12]);
    padded.extend(b"http://ns.");
    padded.extend(&whole[2..]);
    let found = probe(&padded, &limits()).unwrap();
    assert_eq!((found.width, found.height, found.metadata_bytes), (160, 120, 10));
    assert_eq!(fed(padded.chunks(1), &limits()), Ok(found));
}

#[test]
fn the_prober_says_what_it_knows_as_soon_as_it_does() {
    for (name, bytes) in files() {
        let known = known(name, &bytes);
        assert!(known.format_at <= 12, "{name}");
        assert!(known.size_at < bytes.len(), "{name}");
    }
}
