//! BMP and TIFF, from the first byte to variants: whole, cut, damaged and hostile ones, in pieces of every size.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;

use common::build::{Bmp, LONG, Place, SHORT, Tiff, deflate, lzw, pack_bits};
use common::streams::{assert_more_is_ignored, cut, cuts, damaged, fed, known};
use common::{CORNERS, assert_alike, corners, quadrants, shown_by_exif, variants};
use darkroom_media::{Limits, MediaError, Orientation, Preset, Probe, Scratch, SourceFormat, decode, probe};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits::default()
}

/// Probes and decodes.
fn outcome(bytes: &[u8], limits: &Limits) -> Result<Probe, MediaError> {
    let found = probe(bytes, limits)?;
    decode(bytes, &found, limits, &mut Scratch::default())?;
    Ok(found)
}

/// Strips of two rows of the quadrants, compressed.
fn strips(tiff: Tiff, compress: fn(&[u8]) -> Vec<u8>) -> Tiff {
    let pixels = quadrants(13, 7);
    let tiff = tiff.kind(2, 3, 8).with(278, LONG, &[2]);
    pixels.chunks(13 * 3 * 2).fold(tiff, |tiff, strip| tiff.chunk(compress(strip)))
}

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    let pixels = quadrants(width.into(), height.into());
    encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// One small file for each way in which the walkers and decoders go.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = Vec::new();
    let base = |place, big_endian, big| {
        let mut tiff = Tiff::new(13, 7);
        (tiff.place, tiff.big_endian, tiff.big) = (place, big_endian, big);
        tiff
    };
    let lzw_strips = |tiff: Tiff| strips(tiff.with(259, SHORT, &[5]), lzw).build();
    files.push(("first.tif", lzw_strips(base(Place::First, false, false))));
    files.push(("middle.tif", lzw_strips(base(Place::Middle, true, false))));
    files.push(("last.tif", lzw_strips(base(Place::Last, true, false))));
    files.push(("big.tif", lzw_strips(base(Place::First, true, true))));
    files.push(("big middle.tif", lzw_strips(base(Place::Middle, false, true))));
    let tiff = base(Place::Middle, false, false).with(259, SHORT, &[8]).with(274, SHORT, &[6]);
    files.push(("deflate.tif", strips(tiff, deflate).build()));
    let tiff = base(Place::First, false, false).with(259, SHORT, &[32_773]);
    files.push(("packbits.tif", strips(tiff, pack_bits).build()));
    files.push(("one strip.tif", base(Place::Last, false, false).chunk(vec![7; 13 * 7]).build()));
    let palette: Vec<u64> = (0..6).map(|value| value * 10_000).collect();
    let tiff = base(Place::First, false, false).kind(3, 1, 1).with(320, SHORT, &palette);
    files.push(("palette.tif", tiff.chunk(vec![0xA5; 14]).build()));
    let tiff = base(Place::First, true, false).kind(6, 3, 8).with(259, SHORT, &[7]);
    files.push(("jpeg.tif", tiff.chunk(jpeg(13, 7)).build()));
    let tiff = base(Place::Middle, false, false).kind(2, 4, 16).with(284, SHORT, &[2]).with(338, SHORT, &[1]);
    let tiff = tiff.with(322, SHORT, &[16]).with(323, SHORT, &[16]);
    files.push((
        "planar tiles.tif",
        (0..4).fold(tiff, |tiff, plane| tiff.chunk(vec![plane * 50; 512])).build(),
    ));

    let mut bmp = Bmp::new(13, 7, 24, vec![90; 40 * 7]);
    files.push(("24.bmp", bmp.build()));
    (bmp.header, bmp.profile) = (124, vec![1; 30]);
    files.push(("profile.bmp", bmp.build()));
    let mut bmp = Bmp::new(13, 7, 4, vec![0x12; 8 * 7]);
    bmp.palette = vec![[1, 2, 3]; 16];
    files.push(("4.bmp", bmp.build()));
    bmp.header = 12;
    files.push(("os2.bmp", bmp.build()));
    let mut bmp = Bmp::new(13, -7, 32, vec![90; 52 * 7]);
    (bmp.compression, bmp.masks) = (6, vec![0xFF, 0xFF00, 0xFF_0000, 0xFF00_0000]);
    files.push(("fields.bmp", bmp.build()));
    files.push(("run lengths.bmp", run_lengths()));
    files
}

fn is_tiff(name: &str) -> bool {
    name.strip_suffix(".tif").is_some()
}

fn run_lengths() -> Vec<u8> {
    let mut bmp = Bmp::new(13, 7, 8, [13, 1, 0, 0].repeat(7));
    bmp.pixels.extend([0, 1]);
    (bmp.compression, bmp.palette) = (1, vec![[1, 2, 3]; 3]);
    bmp.build()
}

#[test]
fn facts_of_the_files() {
    let files = files();
    assert_eq!(files.len(), 17);
    for (name, bytes) in &files {
        let found = outcome(bytes, &limits()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            found.format,
            if is_tiff(name) { SourceFormat::Tiff } else { SourceFormat::Bmp },
            "{name}"
        );
        assert_eq!((found.width, found.height, found.frames), (13, 7, 1), "{name}");
        assert_eq!(found.bytes, bytes.len() as u64, "{name}");
        assert!(found.image_bytes <= found.bytes, "{name}");
        assert!(found.cost(&Preset::default_ladder(), &limits()).peak_bytes > 13 * 7 * 3, "{name}");
    }
    let found =
        |name: &str| probe(&files.iter().find(|(other, _)| *other == name).unwrap().1, &limits()).unwrap();
    assert_eq!(found("deflate.tif").orientation, Orientation::Rotate90);
    assert_eq!((found("first.tif").components, found("first.tif").bit_depth), (3, 8));
    // The list of bits lies before the directory: as many as there may be.
    assert_eq!(found("last.tif").bit_depth, 16);
    assert_eq!((found("palette.tif").components, found("palette.tif").bit_depth), (1, 1));
    assert!(found("planar tiles.tif").has_alpha && !found("first.tif").has_alpha);
    assert!(found("jpeg.tif").coefficients_held && !found("first.tif").coefficients_held);
    assert!(found("fields.bmp").has_alpha && !found("24.bmp").has_alpha);
    assert_eq!((found("4.bmp").components, found("4.bmp").bit_depth), (1, 4));
    assert_eq!(found("profile.bmp").metadata_bytes, 30);
}

#[test]
fn byte_by_byte_is_the_same_as_at_once() {
    for (name, bytes) in files() {
        assert_eq!(fed(bytes.chunks(1), &limits()), probe(&bytes, &limits()), "{name}");
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert_eq!(fed(cut.chunks(1), &limits()), probe(cut, &limits()), "{name} cut to {length}");
        }
    }
}

#[test]
fn cut_anywhere_a_file_is_truncated() {
    for (name, bytes) in files() {
        let end = probe(&bytes, &limits()).unwrap().image_bytes as usize;
        for length in 0..end {
            match outcome(&bytes[..length], &limits()) {
                Err(MediaError::Empty) => assert_eq!(length, 0, "{name}"),
                Err(MediaError::Truncated { .. }) => {}
                // Run lengths that cover every row need no end.
                Ok(_) if name == "run lengths.bmp" => assert!(length >= end - 4, "{name} cut to {length}"),
                other => panic!("{name} cut to {length} of {end} bytes: {other:?}"),
            }
        }
        // What is behind the end that the probe knows of may still be pixels.
        for length in end..bytes.len() {
            let _ = outcome(&bytes[..length], &limits());
        }
    }
}

#[test]
fn what_follows_the_end_is_ignored() {
    for (name, bytes) in files() {
        // Run lengths end where a code in them says so.
        assert_more_is_ignored(name, &bytes, name != "run lengths.bmp");
    }
}

#[test]
fn the_prober_says_what_it_knows_as_soon_as_it_does() {
    for (name, bytes) in files() {
        let known = known(name, &bytes);
        assert_eq!(known.format_at, if is_tiff(name) { 4 } else { 18 }, "{name}");
        assert!(known.size_at <= bytes.len(), "{name}");
    }
}

#[test]
fn tiffs_stand_upright_in_every_variant() {
    for number in 1..=8 {
        for (width, height) in [(400, 300), (2100, 40)] {
            let tiff = Tiff::new(width, height).kind(2, 3, 8).with(274, SHORT, &[number.into()]);
            let file = tiff.chunk(quadrants(width, height)).build();
            let (found, variants) = variants(&file, &Preset::default_ladder());
            assert_eq!(found.orientation.exif(), number);
            for variant in variants.iter().filter(|variant| variant.width.min(variant.height) > 30) {
                assert_alike(
                    corners(variant),
                    shown_by_exif(number),
                    &format!("{number}, {}", variant.preset),
                );
            }
        }
    }
}

#[test]
fn bmps_show_their_corners() {
    let pixels = quadrants(400, 300);
    let upwards: Vec<u8> = pixels.chunks(1200).rev().flatten().copied().collect();
    let swapped =
        |pixels: &[u8]| pixels.chunks(3).flat_map(|rgb| [rgb[2], rgb[1], rgb[0]]).collect::<Vec<u8>>();
    for bmp in [Bmp::new(400, 300, 24, swapped(&upwards)), Bmp::new(400, -300, 24, swapped(&pixels))] {
        let (found, variants) = variants(&bmp.build(), &Preset::default_ladder());
        assert_eq!((found.orientation, variants.len()), (Orientation::Upright, 5));
        for variant in &variants {
            assert_alike(corners(variant), CORNERS, &variant.preset);
        }
    }
}

#[test]
fn camera_raws_are_named_with_what_to_do() {
    let gray = || Tiff::new(16, 16).chunk(vec![0; 256]);
    let mut cr2 = b"II*\0\x10\0\0\0CR\x02\0\xAA\xBB\0\0".to_vec();
    cr2.extend([1, 0]);
    let raws = [
        ("CR2", cr2),
        ("DNG", gray().with(50_706, 1, &[1, 4, 0, 0]).build()),
        ("NEF", gray().with(254, LONG, &[1]).with(330, LONG, &[8]).build()),
        ("ARW", gray().with(259, SHORT, &[6]).with(330, LONG, &[8]).build()),
        ("colour filter array", gray().with(262, SHORT, &[32_803]).build()),
        ("compression of Nikon", gray().with(259, SHORT, &[34_713]).build()),
        ("ORF", b"IIRO\x08\0\0\0 and so on, for as long as it takes to give up sniffing at it".to_vec()),
    ];
    for (name, bytes) in raws {
        let error = probe(&bytes, &limits()).unwrap_err();
        assert_eq!(error.code(), "unsupported-image", "{name}: {error}");
        assert!(
            error.to_string().contains("camera raw photo") && error.to_string().contains("JPEG"),
            "{name}: {error}"
        );
        assert_eq!(fed(bytes.chunks(1), &limits()), Err(error), "{name}");
    }
    // Reduced copies in further directories make no raw.
    assert!(outcome(&gray().with(330, LONG, &[8]).build(), &limits()).is_ok());
}

#[test]
fn kinds_that_are_not_decoded_are_named() {
    let gray = || Tiff::new(16, 16).chunk(vec![0; 256]);
    let kinds = [
        (gray().with(259, SHORT, &[4]).build(), "fax"),
        (gray().with(259, SHORT, &[6]).build(), "old style"),
        (gray().with(259, SHORT, &[50_000]).build(), "Zstandard"),
        (gray().with(259, SHORT, &[99]).build(), "99"),
        (gray().with(262, SHORT, &[4]).build(), "mask"),
        (gray().with(262, SHORT, &[32_845]).build(), "32845"),
        (gray().with(339, SHORT, &[2]).build(), "signed"),
        (gray().with(258, SHORT, &[255]).build(), "255 bits"),
        (gray().kind(2, 9, 8).build(), "9 channels"),
        (gray().kind(2, 3, 8).with(258, SHORT, &[8, 8, 4]).build(), "differ"),
        (gray().with(322, SHORT, &[8]).with(323, SHORT, &[8]).build(), "side of 8"),
        (gray().with(322, SHORT, &[4096]).with(323, SHORT, &[16]).build(), "side of 4096"),
        (Bmp { compression: 4, bits: 0, ..Bmp::new(1, 1, 24, []) }.build(), "wraps a JPEG"),
        (Bmp { compression: 5, bits: 0, ..Bmp::new(1, 1, 24, []) }.build(), "wraps a PNG"),
        (Bmp { compression: 3, header: 64, ..Bmp::new(1, 1, 1, []) }.build(), "OS/2"),
        (Bmp::new(1, 1, 64, [0; 8]).build(), "64 bits"),
    ];
    for (bytes, word) in kinds {
        let error = outcome(&bytes, &limits()).unwrap_err();
        assert_eq!(error.code(), "unsupported-image", "{word}: {error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn bombs_are_refused_for_their_size_before_they_are_found_to_be_short() {
    let sizes = [(u32::MAX, u32::MAX), (60_000, 60_000)];
    for (width, height) in sizes {
        let tiff = Tiff::new(width, height);
        let mut big = tiff.clone().with(256, 16, &[u64::MAX]);
        big.big = true;
        let bmp = Bmp::new(width.cast_signed().saturating_abs(), i32::MIN, 24, []);
        for bytes in [tiff.build(), big.build(), bmp.build()] {
            let error = probe(&bytes, &limits()).unwrap_err();
            assert!(matches!(error, MediaError::TooManyPixels { .. }), "{error}");
        }
    }
    let wide = probe(&Tiff::new(70_000, 1).build(), &limits()).unwrap_err();
    assert!(matches!(wide, MediaError::TooWide { width: 70_000, .. }), "{wide}");
    let tall = probe(&Bmp::new(1, 70_000, 24, []).build(), &limits()).unwrap_err();
    assert!(matches!(tall, MediaError::TooTall { height: 70_000, .. }), "{tall}");
    for bytes in [Tiff::new(0, 5).build(), Bmp::new(0, 5, 24, []).build(), Bmp::new(5, 0, 24, []).build()] {
        assert_eq!(probe(&bytes, &limits()).unwrap_err().code(), "corrupt-image");
    }
}

/// Sets some bytes of a file.
fn patched(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn hostile_tiffs_are_an_error() {
    let gray = || Tiff::new(16, 16).chunk(vec![0; 256]);
    let plain = gray().build();
    let mut first = gray();
    first.place = Place::First;
    let corrupt = "corrupt-image";
    let cases = [
        // The directory inside the header, beyond the end, and at the end of 32 bits.
        (patched(plain.clone(), 4, &[4, 0, 0, 0]), corrupt),
        (patched(plain.clone(), 4, &[0xFF, 0xFF, 0, 0]), "truncated-image"),
        (patched(plain.clone(), 4, &[0xFF; 4]), "truncated-image"),
        // No entries, and more than there are.
        (patched(first.build(), 8, &[0, 0]), corrupt),
        (patched(first.build(), 8, &[0xFF, 0xFF]), "truncated-image"),
        // Pixels nowhere, nothing said about them, too few strips, strips without rows.
        (gray().with(273, LONG, &[0xFFFF_FFF0]).build(), "truncated-image"),
        (Tiff::new(16, 16).build(), corrupt),
        (gray().with(278, LONG, &[1]).build(), corrupt),
        (gray().with(278, LONG, &[0]).build(), corrupt),
        // Strips shorter than their rows; sizes, samples and predictors that cannot be.
        (gray().with(279, LONG, &[10]).build(), corrupt),
        (gray().with(256, LONG, &[17]).build(), corrupt),
        (gray().with(258, SHORT, &[0]).build(), corrupt),
        (gray().with(277, SHORT, &[0]).build(), corrupt),
        (gray().kind(2, 1, 8).build(), corrupt),
        (gray().with(259, SHORT, &[5]).with(317, SHORT, &[77]).build(), corrupt),
        (gray().with(259, SHORT, &[5]).build(), corrupt),
        (gray().with(259, SHORT, &[8]).build(), corrupt),
        (gray().with(259, SHORT, &[7]).build(), corrupt),
        (gray().with(259, SHORT, &[32_773]).build(), corrupt),
        (gray().without(256).build(), corrupt),
    ];
    for (index, (bytes, code)) in cases.into_iter().enumerate() {
        let error = outcome(&bytes, &limits()).unwrap_err();
        assert_eq!(error.code(), code, "case {index}: {error}");
        assert_eq!(fed(bytes.chunks(1), &limits()), probe(&bytes, &limits()), "case {index}");
    }
    // A BigTIFF of four billion entries, and of offsets of another size.
    let mut big = gray();
    (big.big, big.place) = (true, Place::First);
    assert_eq!(outcome(&patched(big.build(), 16, &[0xFF; 8]), &limits()).unwrap_err().code(), corrupt);
    assert_eq!(outcome(&patched(big.build(), 4, &[4, 0]), &limits()).unwrap_err().code(), corrupt);
    // Four billion strips.
    let tag = first.build().windows(4).position(|four| four == [17, 1, 4, 0]).unwrap();
    let many = patched(first.build(), tag + 4, &[0xFF; 4]);
    assert_eq!(outcome(&many, &limits()).unwrap_err().code(), "truncated-image");
    // A next directory that is the first one again does not matter: only the first is shown.
    let mut looped = first.build();
    let next = 8 + 2 + 12 * usize::from(u16::from_le_bytes([looped[8], looped[9]]));
    looped = patched(looped, next, &[8, 0, 0, 0]);
    assert!(outcome(&looped, &limits()).is_ok());
}

#[test]
fn strips_that_share_their_bytes_are_not_decompressed_forever() {
    // A strip that is one row and megabytes of nothing, shared by all rows.
    let rows = 500_u64;
    let nothing = [vec![128; 1 << 20], vec![15; 1], vec![7; 16]].concat();
    let tiff = Tiff::new(16, rows as u32).with(259, SHORT, &[32_773]).with(278, LONG, &[1]);
    let file = |rows: u64| {
        let shared = tiff.clone().with(257, LONG, &[rows]).chunk(nothing.clone());
        let counts = vec![nothing.len() as u64; rows as usize];
        shared.with(273, LONG, &vec![8; rows as usize]).with(279, LONG, &counts).build()
    };
    // Few are allowed: some writers store the same tile once.
    assert!(outcome(&file(3), &limits()).is_ok());
    let error = outcome(&file(rows), &limits()).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

#[test]
fn hostile_bmps_are_an_error() {
    let plain = Bmp::new(4, 4, 24, [0; 48]);
    let corrupt = "corrupt-image";
    let cases = [
        (Bmp { bits: 255, ..plain.clone() }.build(), corrupt),
        (Bmp { bits: 0, ..plain.clone() }.build(), corrupt),
        (Bmp { compression: 1, ..plain.clone() }.build(), corrupt),
        (Bmp { compression: 99, ..plain.clone() }.build(), corrupt),
        (Bmp { width: -4, ..plain.clone() }.build(), corrupt),
        (Bmp { header: 12, bits: 16, ..plain.clone() }.build(), corrupt),
        (Bmp { bits: 32, compression: 3, masks: vec![0b101, 2, 8], ..plain.clone() }.build(), corrupt),
        // Pixels inside the header, and beyond the end.
        (patched(plain.build(), 10, &[20, 0, 0, 0]), corrupt),
        (patched(plain.build(), 10, &[0xFF; 4]), "truncated-image"),
        (plain.build()[..90].to_vec(), "truncated-image"),
        // A header that does not exist makes it something else.
        (patched(plain.build(), 14, &[41, 0, 0, 0]), "unsupported-image"),
        (b"BMWs are cars, and this is a text about them".to_vec(), "unsupported-image"),
    ];
    for (index, (bytes, code)) in cases.into_iter().enumerate() {
        let error = outcome(&bytes, &limits()).unwrap_err();
        assert_eq!(error.code(), code, "case {index}: {error}");
        assert_eq!(fed(bytes.chunks(1), &limits()), probe(&bytes, &limits()), "case {index}");
    }
}

#[test]
fn a_decoder_believes_its_own_eyes() {
    // A probe of another file: sizes are compared before anything is allocated.
    for (name, bytes) in files() {
        let found = Probe { width: 9_999, height: 9_999, ..probe(&bytes, &limits()).unwrap() };
        let error = decode(&bytes, &found, &limits(), &mut Scratch::default()).unwrap_err();
        assert!(error.to_string().contains("9999×9999"), "{name}: {error}");
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_are_the_same_as_at_once(file in damaged(files(), 0..2), cuts in cuts()) {
        prop_assert_eq!(fed(cut(&file.bytes, cuts), &limits()), probe(&file.bytes, &limits()));
    }

    #[test]
    fn damaged_files_never_panic(file in damaged(files(), 1..6)) {
        // Damage may name a large size, which is allowed but slow to decode many times.
        let _ = outcome(&file.bytes, &Limits { pixels_max: 1 << 18, ..limits() });
    }

    #[test]
    fn rubbish_behind_a_signature_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), signature in 0_usize..5) {
        let signatures: [&[u8]; 5] = [
            b"II*\0\x08\0\0\0\x08\0",
            b"MM\0*\0\0\0\x08\0\x08",
            b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
            b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x05\0\0\0\x05\0\0\0\x01\0",
            b"BM\0\0\0\0\0\0\0\0\x20\0\0\0\x0C\0\0\0\x05\0\x05\0\x01\0",
        ];
        let bytes = [signatures[signature], &bytes].concat();
        prop_assert_eq!(fed(bytes.chunks(3), &limits()), probe(&bytes, &limits()));
        let _ = outcome(&bytes, &Limits { pixels_max: 1 << 18, ..limits() });
    }
}
