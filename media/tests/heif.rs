//! AVIF and HEIC through the public interface: probed in pieces of every size, cut, turned, put together from tiles, and
//! lying about all of it.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;
#[path = "common/heif.rs"]
mod heif;

use common::make::turned_exif;
use common::streams::{assert_harmless, assert_more_is_ignored, damaged, decoded, fed};
use common::{CORNERS, assert_alike, corners, quadrants, shown, variants};
use darkroom_media::{Limits, MediaError, Orientation, Preset, SourceFormat, Subsampling, probe};
use heif::{HeifFile, Item, avif, boxed, clap, full, grid, imir, irot, ispe};
use proptest::prelude::*;

const SIZE: (u32, u32) = (48, 32);

fn limits() -> Limits {
    Limits::default()
}

/// Four colours, as a file of one picture.
fn picture() -> HeifFile {
    HeifFile::of(*b"avif", avif(1, SIZE, &quadrants(SIZE.0, SIZE.1), 8).1)
}

/// Each colour in a tile of its own, of which more than the last row and column is not seen.
fn tiles() -> HeifFile {
    let tile =
        |(index, color): (usize, [u8; 3])| avif(index as u16 + 1, (32, 16), &color.repeat(32 * 16), 8).1;
    grid(*b"avif", 2, (50, 25), CORNERS.into_iter().enumerate().map(tile).collect())
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("of an encoder", avif(1, SIZE, &quadrants(SIZE.0, SIZE.1), 8).0),
        ("of an encoder, 10 bits", avif(1, (17, 9), &quadrants(17, 9), 10).0),
        ("made here", picture().bytes()),
        ("a grid", tiles().bytes()),
        #[cfg(feature = "heic")]
        ("HEIC", HeifFile::of(*b"heic", heif::hevc(1, SIZE, [100, 110, 140])).bytes()),
    ]
}

#[test]
fn facts_of_the_files() {
    let found = probe(&picture().bytes(), &limits()).unwrap();
    assert_eq!((found.format, found.width, found.height), (SourceFormat::Avif, SIZE.0, SIZE.1));
    assert_eq!((found.components, found.bit_depth, found.has_alpha), (3, 8, false));
    assert_eq!((found.subsampling, found.frames), (Some(Subsampling::S444), 1));
    assert_eq!(found.orientation, Orientation::Upright);
    let deep = probe(&avif(1, (5, 3), &quadrants(5, 3), 10).0, &limits()).unwrap();
    assert_eq!((deep.width, deep.height, deep.bit_depth), (5, 3, 10));
    let grid = probe(&tiles().bytes(), &limits()).unwrap();
    assert_eq!((grid.width, grid.height, grid.coded_pixels), (50, 25, Some(128 * 128)));
}

#[test]
fn the_picture_comes_out_in_its_colours() {
    for (name, bytes) in files().into_iter().filter(|(name, _)| *name != "HEIC") {
        let (_, variants) = variants(&bytes, &Preset::default_ladder());
        assert_alike(corners(&variants[0]), CORNERS, name);
    }
}

#[test]
fn smallest_and_odd_sizes_are_decoded() {
    for size in [(1, 1), (1, 9), (2, 1), (3, 3), (65, 7), (128, 1), (129, 131)] {
        for depth in [8, 10] {
            let (file, _) = avif(1, size, &CORNERS[0].repeat((size.0 * size.1) as usize), depth);
            let found = probe(&file, &limits()).unwrap();
            assert_eq!((found.width, found.height, found.bit_depth), (size.0, size.1, depth));
            decoded(&file, &limits()).unwrap();
        }
    }
}

#[test]
fn any_cut_of_the_stream_is_the_same() {
    for (name, bytes) in files() {
        let whole = probe(&bytes, &limits());
        assert!(whole.is_ok(), "{name}: {whole:?}");
        assert_eq!(fed(bytes.chunks(1), &limits()), whole, "{name}");
        assert_eq!(fed(bytes.chunks(13), &limits()), whole, "{name}");
    }
}

#[test]
fn cut_anywhere_a_file_is_truncated() {
    for (name, bytes) in files() {
        let end = probe(&bytes, &limits()).unwrap().image_bytes as usize;
        assert_eq!(end, bytes.len(), "{name}");
        for length in 1..end {
            let outcome = probe(&bytes[..length], &limits());
            assert!(
                matches!(outcome, Err(MediaError::Truncated { .. })),
                "{name} cut to {length}: {outcome:?}"
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

#[test]
fn turns_and_mirrors_apply_in_their_order() {
    use Orientation as O;
    let cases: [(&[Vec<u8>], O); 16] = [
        (&[], O::Upright),
        (&[irot(0)], O::Upright),
        (&[irot(1)], O::Rotate270),
        (&[irot(2)], O::Rotate180),
        (&[irot(3)], O::Rotate90),
        (&[imir(0)], O::FlipVertical),
        (&[imir(1)], O::FlipHorizontal),
        (&[irot(1), imir(0)], O::Transpose),
        (&[irot(1), imir(1)], O::Transverse),
        (&[irot(2), imir(0)], O::FlipHorizontal),
        (&[irot(2), imir(1)], O::FlipVertical),
        (&[irot(3), imir(0)], O::Transverse),
        (&[irot(3), imir(1)], O::Transpose),
        (&[imir(0), irot(1)], O::Transverse),
        (&[imir(1), irot(1)], O::Transpose),
        (&[imir(0), imir(1)], O::Rotate180),
    ];
    let picture = picture();
    for (properties, orientation) in cases {
        let bytes = picture.with(properties);
        let (found, variants) = variants(&bytes, &Preset::default_ladder());
        assert_eq!(found.orientation, orientation);
        assert_alike(corners(&variants[0]), shown(orientation), &format!("{orientation:?}"));
        assert_eq!((variants[0].width, variants[0].height), orientation_size(orientation));
    }
}

fn orientation_size(orientation: Orientation) -> (u32, u32) {
    if orientation.swaps_axes() { (SIZE.1, SIZE.0) } else { SIZE }
}

#[test]
fn the_orientation_of_exif_is_not_asked() {
    let mut file = picture();
    let data = [b"\0\0\0\x06Exif\0\0".as_slice(), &turned_exif(6)].concat();
    file.items.push(Item { id: 9, kind: *b"Exif", data, properties: Vec::new() });
    file.references.push((*b"cdsc", 9, vec![1]));
    assert_eq!(probe(&file.bytes(), &limits()).unwrap().orientation, Orientation::Upright);
}

#[test]
fn a_clean_aperture_cuts_before_the_turn() {
    // The lower right quarter, whose centre lies half a picture away in halves of a pixel.
    let (width, height) = (SIZE.0 / 2, SIZE.1 / 2);
    let cut = clap(width, height, (SIZE.0 / 2) as i32, (SIZE.1 / 2) as i32);
    for (properties, orientation) in
        [(vec![cut.clone()], Orientation::Upright), (vec![cut.clone(), irot(1)], Orientation::Rotate270)]
    {
        let bytes = picture().with(&properties);
        let (found, variants) = variants(&bytes, &Preset::default_ladder());
        assert_eq!((found.width, found.height, found.orientation), (width, height, orientation));
        assert_eq!(found.coded_pixels, Some(128 * 128));
        assert_alike(corners(&variants[0]), [CORNERS[3]; 4], "the corner");
    }
    let error = probe(&picture().with(&[irot(1), cut]), &limits()).unwrap_err();
    assert_eq!(error.code(), "unsupported-image", "{error}");
    let error = probe(&picture().with(&[clap(SIZE.0 + 2, 2, 0, 0)]), &limits()).unwrap_err();
    assert_eq!(error.code(), "corrupt-image", "{error}");
}

#[test]
fn a_grid_may_be_cut_and_turned() {
    let found = probe(&tiles().with(&[irot(3)]), &limits()).unwrap();
    assert_eq!(found.orientation, Orientation::Rotate90);
    // The middle, where all four tiles meet: the first ends at 32 × 16.
    let (_, variants) = variants(&tiles().with(&[clap(32, 16, 14, 7)]), &Preset::default_ladder());
    assert_alike(corners(&variants[0]), CORNERS, "the middle");
}

#[test]
fn a_grid_that_does_not_fit_is_refused() {
    let mut missing = tiles();
    missing.references[0].2.pop();
    let mut huge = tiles();
    huge.items[0].data[2] = 255;
    let mut other_size = tiles();
    other_size.items[0].data[7] += 1;
    // Parts that would be decoded without being seen.
    let hidden = {
        let parts = (1..=4).map(|id| avif(id, (32, 16), &CORNERS[0].repeat(32 * 16), 8).1).collect();
        grid(*b"avif", 4, (90, 16), parts)
    };
    for file in [missing, huge, other_size, hidden] {
        let error = decoded(&file.bytes(), &limits()).unwrap_err();
        assert_eq!(error.code(), "corrupt-image", "{error}");
    }
    let mut unlike = tiles();
    unlike.items[2].properties[0] = ispe(16, 16);
    assert_eq!(probe(&unlike.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
    // A grid of itself, and one of nothing.
    let mut turning = tiles();
    turning.references[0].2 = vec![1_000; 4];
    assert_eq!(probe(&turning.bytes(), &limits()).unwrap_err().code(), "unsupported-image");
    let mut empty = tiles();
    empty.references.clear();
    assert_eq!(probe(&empty.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
}

#[test]
fn sizes_are_checked_before_anything_else_is_done() {
    let sized = |width, height| {
        let mut file = picture();
        file.items[0].properties[0] = ispe(width, height);
        file.bytes()
    };
    let bomb = probe(&sized(u32::MAX, u32::MAX), &limits()).unwrap_err();
    assert!(matches!(bomb, MediaError::TooManyPixels { .. }), "{bomb}");
    let wide = probe(&sized(70_000, 1), &limits()).unwrap_err();
    assert!(matches!(wide, MediaError::TooWide { width: 70_000, .. }), "{wide}");
    assert_eq!(probe(&sized(0, 5), &limits()).unwrap_err().code(), "corrupt-image");
    // A picture larger inside than outside.
    for (width, height) in [(8, 8), (47, 32), (49, 32), (64, 64)] {
        let error = decoded(&sized(width, height), &limits()).unwrap_err();
        assert_eq!(error.code(), "corrupt-image", "{error}");
    }
    // A large tile of a small grid, and a large picture of which little is shown.
    let mut tile = tiles();
    tile.items[1].properties[0] = ispe(60_000, 60_000);
    assert!(matches!(probe(&tile.bytes(), &limits()), Err(MediaError::TooManyPixels { .. })));
    let mut cut = picture();
    cut.items[0].properties[0] = ispe(9_000, 9_000);
    let found = probe(&cut.with(&[clap(2, 2, 0, 0)]), &limits()).unwrap();
    assert_eq!((found.width, found.coded_pixels), (2, Some(9_088 * 9_088)));
    assert!(found.cost(&[], &limits()).peak_bytes > 9_000 * 9_000);
}

#[test]
fn pictures_beyond_the_end_are_cut_short_wherever_that_is() {
    for shift in [1, 1 << 20, 1 << 40, u64::MAX - 10_000] {
        let mut file = picture();
        file.shift = shift;
        let error = probe(&file.bytes(), &limits()).unwrap_err();
        assert!(matches!(error, MediaError::Truncated { what: "the pixel data", .. }), "{shift}: {error}");
    }
    let mut file = picture();
    file.shift = u64::MAX - 1_000;
    assert_eq!(probe(&file.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
}

#[test]
fn hostile_boxes_are_errors_and_cost_nothing() {
    let head = boxed(*b"ftyp", b"avif\0\0\0\0mif1");
    let with = |boxes: &[u8]| probe(&[head.as_slice(), boxes].concat(), &limits()).unwrap_err();
    // Sizes that are none.
    for size in [2_u32, 7] {
        let broken = [&size.to_be_bytes(), b"meta".as_slice(), &[0; 16]].concat();
        assert_eq!(with(&broken).code(), "corrupt-image");
    }
    assert_eq!(with(b"\0\0\0\x01meta\0\0\0\0\0\0\0\x05\0\0\0\0").code(), "corrupt-image");
    assert_eq!(with(b"\0\0\0\0meta\0\0\0\0\0\0\0\0").code(), "corrupt-image");
    assert_eq!(with(b"\0\0\0\x08meta").code(), "corrupt-image");
    // A directory larger than any.
    assert_eq!(with(b"\0\0\0\x01meta\0\0\0\x01\0\0\0\0").code(), "unsupported-image");
    assert_eq!(with(b"\xFF\xFF\xFF\xFFmeta").code(), "unsupported-image");
    assert!(matches!(with(b"\xFF\xFF\xFF\xFFmdat"), MediaError::Truncated { .. }));
    // Counts that the bytes do not bear out.
    let tables: [Vec<u8>; 6] = [
        boxed(*b"iprp", &full(*b"ipma", 0, &[0xFF; 4])),
        boxed(*b"iprp", &full(*b"ipma", 1, &[[0, 0, 0xFF, 0xFF].as_slice(), &[0; 9]].concat())),
        full(*b"iloc", 0, &[0x44, 0, 0xFF, 0xFF, 0, 1]),
        full(*b"iloc", 0, &[0x33, 0, 0, 1, 0, 1]),
        full(*b"iref", 0, &boxed(*b"dimg", &[0, 1, 0xFF, 0xFF])),
        full(*b"iinf", 0, &[0]),
    ];
    for table in tables {
        let mut file = picture();
        file.more = table;
        let error = probe(&file.bytes(), &limits()).unwrap_err();
        assert_eq!(error.code(), "corrupt-image", "{error}");
    }
    // Boxes in boxes in boxes are not walked into.
    let mut nested = Vec::new();
    for _ in 0..20_000 {
        nested.extend(40_u32.to_be_bytes());
        nested.extend(b"free");
    }
    let mut file = picture();
    file.more = boxed(*b"free", &nested);
    assert!(probe(&file.bytes(), &limits()).is_ok());
}

#[test]
fn an_item_listed_twice_is_refused() {
    let mut file = picture();
    file.items.push(file.items[0].clone());
    assert_eq!(probe(&file.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
}

#[test]
fn sixty_five_thousand_associations_are_read_in_no_time() {
    let mut associations = 65_535_u32.to_be_bytes().to_vec();
    for item in 1_000..66_535_u32 {
        associations.extend((item as u16).to_be_bytes());
        associations.extend([3, 1, 1, 1]);
    }
    let mut file = picture();
    file.more = boxed(*b"iprp", &full(*b"ipma", 0, &associations));
    // Items go around: some are listed twice.
    assert_eq!(probe(&file.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
    let once = associations[4..].chunks(6).take(60_000).flatten().copied();
    let table: Vec<u8> = 60_000_u32.to_be_bytes().into_iter().chain(once).collect();
    file.more = boxed(*b"iprp", &full(*b"ipma", 0, &table));
    assert!(probe(&file.bytes(), &limits()).is_ok());
}

#[test]
fn what_cannot_be_shown_is_named() {
    let mut overlay = picture();
    overlay.items[0].kind = *b"iovl";
    let mut unknown = picture();
    let codec = unknown.items[0].properties.remove(1);
    unknown.items[0].properties.push(boxed(*b"jpgC", &codec));
    unknown.items[0].kind = *b"jpeg";
    for (file, word) in [(overlay, "iovl"), (unknown, "jpeg")] {
        let error = probe(&file.bytes(), &limits()).unwrap_err();
        assert_eq!(error.code(), "unsupported-image");
        assert!(error.to_string().contains(word), "{error}");
    }
    // A sequence without a still picture.
    let moov = boxed(*b"moov", &boxed(*b"trak", b""));
    let sequence = [boxed(*b"ftyp", b"avis\0\0\0\0msf1"), moov].concat();
    let error = probe(&sequence, &limits()).unwrap_err();
    assert!(error.to_string().contains("sequence"), "{error}");
}

#[test]
fn frames_of_a_sequence_are_counted() {
    let sizes = full(*b"stsz", 0, &[[0; 4], 37_u32.to_be_bytes()].concat());
    let nested = [b"stbl", b"minf", b"mdia", b"trak", b"moov"]
        .into_iter()
        .fold(sizes, |inner, kind| boxed(*kind, &inner));
    let mut file = picture();
    file.brand = *b"avis";
    let bytes = [file.bytes(), nested].concat();
    assert_eq!(probe(&bytes, &limits()).unwrap().frames, 37);
    assert_eq!(fed(bytes.chunks(1), &limits()), probe(&bytes, &limits()));
    decoded(&bytes, &limits()).unwrap();
}

#[test]
fn more_frames_than_one_are_not_decoded() {
    let mut file = picture();
    let frame = file.items[0].data.clone();
    file.items[0].data.extend(frame);
    let error = decoded(&file.bytes(), &limits()).unwrap_err();
    assert!(error.to_string().contains("frames"), "{error}");
}

#[test]
fn damaged_pixels_are_an_error_or_a_picture() {
    let mut file = picture();
    file.items[0].data.truncate(20);
    assert_eq!(decoded(&file.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
    file.items[0].data = vec![0; 50];
    assert_eq!(decoded(&file.bytes(), &limits()).unwrap_err().code(), "corrupt-image");
}

#[cfg(not(feature = "heic"))]
#[test]
fn a_build_without_hevc_refuses_it_by_brand_and_by_kind() {
    let mut file = picture();
    file.brand = *b"heic";
    let by_brand = probe(&file.bytes(), &limits()).unwrap_err();
    assert!(by_brand.to_string().contains("--features heic"), "{by_brand}");
    file.brand = *b"mif1";
    file.items[0].kind = *b"hvc1";
    let mut configuration = [0; 23];
    configuration[16] = 1;
    file.items[0].properties.push(boxed(*b"hvcC", &configuration));
    assert_eq!(probe(&file.bytes(), &limits()).unwrap_err(), by_brand);
}

#[cfg(feature = "heic")]
mod hevc {
    use super::*;
    use crate::heif::hevc;

    /// Full-range BT.601 of [`CORNERS`].
    fn tone([r, g, b]: [u8; 3]) -> [u8; 3] {
        let [r, g, b] = [r, g, b].map(f64::from);
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        [luma, (b - luma) / 1.772 + 128.0, (r - luma) / 1.402 + 128.0].map(|value| value.round() as u8)
    }

    #[test]
    fn tiles_come_out_in_their_colours_and_places() {
        let parts = (1..).zip(CORNERS).map(|(id, color)| hevc(id, (64, 64), tone(color))).collect();
        let file = grid(*b"heic", 2, (120, 100), parts);
        let (found, first) = variants(&file.bytes(), &Preset::default_ladder());
        assert_eq!((found.format, found.width, found.height), (SourceFormat::Heic, 120, 100));
        assert_eq!((found.subsampling, found.coded_pixels), (Some(Subsampling::S420), Some(64 * 64)));
        assert_alike(corners(&first[0]), CORNERS, "upright");
        let (found, turned) = variants(&file.with(&[irot(3)]), &Preset::default_ladder());
        assert_eq!((found.orientation, turned[0].width), (Orientation::Rotate90, 100));
        assert_alike(corners(&turned[0]), shown(Orientation::Rotate90), "turned");
    }

    #[test]
    fn the_main_picture_tells_the_format_where_brands_do_not() {
        let mut file = HeifFile::of(*b"mif1", hevc(1, (16, 16), [100, 128, 128]));
        assert_eq!(probe(&file.bytes(), &limits()).unwrap().format, SourceFormat::Heic);
        file = picture();
        file.brand = *b"heic";
        assert_eq!(probe(&file.bytes(), &limits()).unwrap().format, SourceFormat::Avif);
    }

    #[test]
    fn small_sizes_are_decoded() {
        for size in [(2, 2), (16, 2), (66, 18)] {
            let file = HeifFile::of(*b"heic", hevc(1, size, [90, 120, 150])).bytes();
            let found = probe(&file, &limits()).unwrap();
            assert_eq!((found.width, found.height), size);
            decoded(&file, &limits()).unwrap();
        }
    }

    #[test]
    fn damaged_pixels_are_an_error() {
        let mut file = HeifFile::of(*b"heic", hevc(1, (64, 64), [90, 120, 150]));
        let whole = file.items[0].data.clone();
        for length in [0, 1, 4, 5, 8, whole.len() - 1] {
            file.items[0].data = whole[..length].to_vec();
            let error = decoded(&file.bytes(), &limits()).unwrap_err();
            assert_eq!(error.code(), "corrupt-image", "{length}: {error}");
        }
        file.items[0].data = whole.repeat(101);
        let error = decoded(&file.bytes(), &limits()).unwrap_err();
        assert!(error.to_string().contains("slices"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes are changed to, the cutting does not matter, nothing panics, and what the probe lets through is
    /// decoded or refused.
    #[test]
    fn damaged_files_never_panic(file in damaged(files(), 1..5), piece in 1_usize..100) {
        assert_harmless(&file.bytes, piece);
    }
}
