//! Every setting of a preset but colours and motion: sizes, content, formats, sharpening, metadata, and odd sizes.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;
#[path = "common/exif.rs"]
mod sample;

use common::build::{Bmp, Tiff, pack};
use common::look::{FORMATS, Seen, near, rendered, rendered_within, seen};
use common::make::{
    Png, jpeg_rgb, jpeg_with, lossless, noise, painted, stored_at, turned_exif, upright, webp_of,
};
use common::reference::Plane;
use common::{CORNERS, assert_alike, fixture, quadrants};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_media::{
    Background, Fit, Focus, Limits, OutputFormat, Preset, PresetFormat, Scratch, Strip, decode, probe, render,
};
use jpeg_encoder::ColorType;
use sample::{camera, tells_secret};

/// Beside the photo.
const GROUND: [u8; 3] = [10, 90, 120];

fn preset(size: (u32, u32), fit: Fit, format: PresetFormat) -> Preset {
    Preset { format, quality: 95, background: Background(GROUND), ..Preset::new("x", size.0, size.1, fit) }
}

fn png_rgb(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    Png::of_bytes((width as usize, height as usize), rgb).build()
}

/// Photo, preset, whether it is enlarged, and the sizes in the fits `inside`, `cover`, `contain`, `fill`, `outside`.
type Sizes = ((u32, u32), (u32, u32), bool, [(u32, u32); 5]);

const FITS: [Fit; 5] = [Fit::Inside, Fit::Cover, Fit::Contain, Fit::Fill, Fit::Outside];

const SIZES: [Sizes; 10] = [
    ((400, 300), (200, 100), false, [(133, 100), (200, 100), (200, 100), (200, 100), (200, 150)]),
    ((400, 300), (200, 100), true, [(133, 100), (200, 100), (200, 100), (200, 100), (200, 150)]),
    ((400, 300), (800, 800), false, [(400, 300), (300, 300), (800, 800), (400, 300), (400, 300)]),
    ((400, 300), (800, 800), true, [(800, 600), (800, 800), (800, 800), (800, 800), (1067, 800)]),
    ((400, 300), (500, 200), false, [(267, 200), (400, 160), (500, 200), (400, 200), (400, 300)]),
    ((400, 300), (500, 200), true, [(267, 200), (500, 200), (500, 200), (500, 200), (500, 375)]),
    ((300, 400), (200, 100), false, [(75, 100), (200, 100), (200, 100), (200, 100), (200, 267)]),
    ((300, 400), (800, 800), false, [(300, 400), (300, 300), (800, 800), (300, 400), (300, 400)]),
    ((300, 400), (500, 200), false, [(150, 200), (300, 120), (500, 200), (300, 200), (300, 400)]),
    ((300, 400), (500, 200), true, [(150, 200), (500, 200), (500, 200), (500, 200), (500, 667)]),
];

#[test]
fn every_fit_has_its_size_and_shows_the_whole_photo_or_its_middle() {
    for ((width, height), size, enlarge, expected) in SIZES {
        let rgb = quadrants(width, height);
        for original in [jpeg_rgb(width, height, &rgb), png_rgb(width, height, &rgb)] {
            for (fit, (out_width, out_height)) in FITS.into_iter().zip(expected) {
                for format in FORMATS {
                    let what = format!("{width}×{height} in {size:?}, {fit:?}, {enlarge}, {format:?}");
                    let found = seen(&original, &Preset { enlarge, ..preset(size, fit, format) });
                    assert_eq!((found.width as u32, found.height as u32), (out_width, out_height), "{what}");
                    let (inner_width, inner_height) =
                        if fit == Fit::Contain { expected[0] } else { (out_width, out_height) };
                    let (left, top) = ((out_width - inner_width) / 2, (out_height - inner_height) / 2);
                    let part = [left, top, inner_width, inner_height].map(|value| value as usize);
                    assert_alike(found.corners_of(part.into()), CORNERS, &what);
                    assert_border(&found, part, &what);
                }
            }
        }
    }
}

/// Outside a part (left, top, width, height) there is nothing but the ground, two pixels off it.
fn assert_border(found: &Seen, [left, top, width, height]: [usize; 4], what: &str) {
    for y in 0..found.height {
        for x in 0..found.width {
            let inside = x + 2 >= left && x < left + width + 2 && y + 2 >= top && y < top + height + 2;
            let ground = near(found.rgb(x, y), GROUND, 16);
            assert!(inside || ground, "{what}: {:?} at {x}, {y}", found.rgb(x, y));
        }
    }
}

#[test]
fn a_border_is_exact_where_the_format_is() {
    let gray: Vec<u8> = painted(60, 40, |x, y| [noise(x, y)]);
    let rgba = painted(60, 40, |x, y| [noise(x, y), 70, noise(y, x), 255 - noise(x + y, 3)]);
    let size = (60, 40);
    let gray = Png::of_bytes(size, &gray);
    let rgba = Png::of_bytes(size, &rgba);
    for original in [gray, rgba] {
        let stored = Seen::of(&original.build());
        let found = seen(&original.build(), &preset((100, 90), Fit::Contain, PresetFormat::Png));
        for y in 0..90 {
            for x in 0..100 {
                let inside = (20..80).contains(&x) && (25..65).contains(&y);
                let ground = [GROUND[0], GROUND[1], GROUND[2], 255];
                let expected = if inside { stored.at(x - 20, y - 25) } else { ground };
                assert_eq!(found.at(x, y), expected, "{x}, {y}");
            }
        }
    }
}

/// How many pixels of a row and of a column through the middle are white.
fn white_lengths(found: &Seen) -> (usize, usize) {
    let (x, y) = (found.width / 2, found.height / 2);
    let white = |pixel: [u8; 3]| pixel[0] > 127;
    let across = (0..found.width).filter(|x| white(found.rgb(*x, y))).count();
    (across, (0..found.height).filter(|y| white(found.rgb(x, *y))).count())
}

#[test]
fn only_fill_distorts() {
    let square =
        |x: u32, y: u32| if (150..250).contains(&x) && (100..200).contains(&y) { [255; 3] } else { [0; 3] };
    let original = png_rgb(400, 300, &painted(400, 300, square));
    let cases = [
        (Fit::Fill, (50, 66)),
        (Fit::Inside, (50, 50)),
        (Fit::Contain, (50, 50)),
        (Fit::Cover, (66, 66)),
        (Fit::Outside, (67, 66)),
    ];
    for (fit, lengths) in cases {
        assert_eq!(
            white_lengths(&seen(&original, &preset((200, 200), fit, PresetFormat::Png))),
            lengths,
            "{fit:?}"
        );
    }
}

/// Three stripes along the longer side: one in which nothing is, one full of detail, one full of colour.
fn stripes(upright: bool) -> (u32, u32, Vec<u8>) {
    let pixel = |along: u32, across: u32| match along / 300 {
        0 => [128; 3],
        1 => [noise(along, across); 3],
        _ => [235, if noise(along / 30, across / 30) > 128 { 150 } else { 20 }, 60],
    };
    if upright {
        (300, 900, painted(300, 900, |x, y| pixel(y, x)))
    } else {
        (900, 300, painted(900, 300, pixel))
    }
}

/// The mean colour of a picture.
fn mean(found: &Seen) -> [f64; 3] {
    [0, 1, 2].map(|index| {
        let sum: u64 = found.pixels.iter().map(|pixel| u64::from(pixel[index])).sum();
        sum as f64 / found.pixels.len() as f64
    })
}

#[test]
fn a_cover_keeps_what_its_focus_says() {
    for is_upright in [false, true] {
        let (width, height, rgb) = stripes(is_upright);
        let point = |along: u16| if is_upright { Focus::Point(500, along) } else { Focus::Point(along, 500) };
        for original in [jpeg_rgb(width, height, &rgb), png_rgb(width, height, &rgb)] {
            let stripe = |focus| {
                let cover = Preset { focus, ..preset((150, 150), Fit::Cover, PresetFormat::Png) };
                let found = seen(&original, &cover);
                let [red, green, blue] = mean(&found);
                let luma = found.luma();
                let middle = luma.iter().sum::<f64>() / luma.len() as f64;
                let spread = luma.iter().map(|value| (value - middle).abs()).sum::<f64>() / luma.len() as f64;
                match (red - blue > 60.0, spread > 8.0) {
                    (true, _) => 2,
                    (false, true) => 1,
                    (false, false) => {
                        assert!(near([red as u8, green as u8, blue as u8], [128; 3], 4));
                        0
                    }
                }
            };
            assert_eq!(stripe(Focus::Center), 1, "{is_upright}");
            assert_eq!(stripe(point(0)), 0, "{is_upright}");
            assert_eq!(stripe(point(500)), 1, "{is_upright}");
            assert_eq!(stripe(point(1000)), 2, "{is_upright}");
            assert_eq!(stripe(Focus::Entropy), 1, "{is_upright}");
            assert_eq!(stripe(Focus::Attention), 2, "{is_upright}");
        }
    }
}

#[test]
fn a_focus_is_a_point_of_the_photo_as_it_is_shown() {
    let (width, height, rgb) = stripes(false);
    // Stored lying, shown standing: what is stored on the left is shown above (8: below).
    for (orientation, along) in [(6, 0), (8, 1000)] {
        let original = jpeg_with((width, height), ColorType::Rgb, &rgb, |encoder| {
            encoder.add_exif_metadata(&turned_exif(orientation)).unwrap();
        });
        let cover =
            Preset { focus: Focus::Point(500, along), ..preset((150, 150), Fit::Cover, PresetFormat::Png) };
        let found = mean(&seen(&original, &cover));
        assert!(found.iter().all(|value| (value - 128.0).abs() < 3.0), "{orientation}: {found:?}");
    }
}

#[test]
fn auto_is_what_suits_the_photo() {
    use OutputFormat::{Jpeg, Png as PngFile, WebP};
    let size = (160, 120);
    let photo = painted(160, 120, |x, y| [noise(x, y) / 2 + 40, (x + 30) as u8, (y + 50) as u8]);
    let half: Vec<u8> = photo.chunks(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 128]).collect();
    let drawing = quadrants(160, 120);
    let cases = [
        (Png::of_bytes(size, &photo).build(), &photo, vec![Jpeg, WebP]),
        (jpeg_rgb(160, 120, &photo), &photo, vec![Jpeg, WebP]),
        (Png::of_bytes(size, &half).build(), &photo, vec![PngFile, WebP]),
        (Png::of_bytes(size, &drawing).build(), &drawing, vec![PngFile]),
    ];
    for (original, rgb, formats) in cases {
        let auto = preset((160, 160), Fit::Inside, PresetFormat::Auto);
        let variants = rendered_within(&original, &[auto], &Limits::default());
        let found: Vec<_> = variants.iter().map(|variant| variant.format).collect();
        assert_eq!(found, formats);
        for variant in variants {
            let found = Seen::of(&variant.bytes);
            assert!(variant.bytes.starts_with(signature(variant.format)));
            let difference: u64 =
                found.packed().iter().zip(rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let mean = difference as f64 / rgb.len() as f64;
            // Noise in colours is what 4:2:0 takes away.
            assert!(mean < 14.0, "{:?}: {mean}", variant.format);
        }
    }
}

const fn signature(format: OutputFormat) -> &'static [u8] {
    match format {
        OutputFormat::Jpeg => b"\xFF\xD8\xFF",
        OutputFormat::Png => b"\x89PNG",
        OutputFormat::WebP => b"RIFF",
        OutputFormat::Avif => b"\0\0\0",
    }
}

#[test]
fn the_background_shows_through_where_the_format_has_no_alpha() {
    let rgba = painted(90, 60, |x, _| [200, 40, 40, [255, 128, 0][x as usize / 30]]);
    let original = Png::of_bytes((90, 60), &rgba).build();
    let mixed = [0, 1, 2].map(|index| u8::midpoint([200_u8, 40, 40][index], GROUND[index]));
    for format in FORMATS {
        let found = seen(&original, &preset((90, 60), Fit::Inside, format));
        for (x, alpha, flat) in [(15, 255, [200, 40, 40]), (45, 128, mixed), (75, 0, GROUND)] {
            if format == PresetFormat::Jpeg {
                assert!(near(found.rgb(x, 30), flat, 6), "{:?}", found.rgb(x, 30));
            } else {
                assert_eq!(found.at(x, 30)[3], alpha, "{format:?}");
                assert!(alpha == 0 || near(found.rgb(x, 30), [200, 40, 40], 6), "{format:?}");
            }
        }
    }
}

/// The greatest step between neighbours in the middle row.
fn steepest(found: &Seen) -> f64 {
    let row = &found.luma()[found.height / 2 * found.width..][..found.width];
    row.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max)
}

#[test]
fn sharpening_steepens_edges_and_none_changes_nothing() {
    // A soft edge, of one colour's brightness.
    let edge = |x: u32, _| [60, 60, 60].map(|value: u8| value + (x.clamp(198, 202) - 198) as u8 * 30);
    let rgb = painted(400, 300, edge);
    let rgba: Vec<u8> = rgb.chunks(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 200]).collect();
    let originals =
        [jpeg_rgb(400, 300, &rgb), png_rgb(400, 300, &rgb), Png::of_bytes((400, 300), &rgba).build()];
    for original in originals {
        let found = |sharpen| {
            seen(&original, &Preset { sharpen, ..preset((100, 75), Fit::Inside, PresetFormat::Png) })
        };
        let [none, some, much] = [0, 60, 200].map(|amount| steepest(&found(amount)));
        assert!(some > none * 1.05 && much > some * 1.05, "{none}, {some}, {much}");
        let plain =
            Plane::new(400, 300, rgb.chunks(3).map(|pixel| f64::from(pixel[0])).collect()).resized(100, 75);
        let luma = found(0).luma();
        let most = luma.iter().zip(&plain.values).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(most <= 1.5, "{most}");
        // Alpha is left alone.
        let alphas = found(200).pixels.iter().map(|pixel| pixel[3]).collect::<Vec<_>>();
        assert!(alphas.iter().all(|alpha| *alpha == alphas[0]));
    }
}

/// A JPEG whose EXIF block tells position and serial numbers.
fn told() -> Vec<u8> {
    let rgb = quadrants(80, 60);
    let original = jpeg_with((80, 60), ColorType::Rgb, &rgb, |encoder| {
        encoder.add_exif_metadata(&camera(false).build()).unwrap();
    });
    assert!(tells_secret(&original), "or the tests show nothing");
    original
}

#[test]
fn of_exif_stays_what_the_preset_keeps() {
    use exif::Tag;
    let original = told();
    let keeps = [
        (Strip::All, false, vec![], vec![Tag::Make, Tag::Copyright]),
        (Strip::All, true, vec![Tag::Artist, Tag::Copyright], vec![Tag::Make, Tag::ImageDescription]),
        (Strip::Private, false, vec![Tag::Make, Tag::LensModel, Tag::Copyright], vec![Tag::ImageDescription]),
        (Strip::None, false, vec![Tag::Make, Tag::LensModel, Tag::ImageDescription], vec![]),
    ];
    let never = [
        Tag::Orientation,
        Tag::GPSLatitude,
        Tag::BodySerialNumber,
        Tag::LensSerialNumber,
        Tag::MakerNote,
        Tag::CameraOwnerName,
    ];
    for (strip, copyright, kept, gone) in keeps {
        for format in FORMATS {
            let what = format!("{strip:?}, {copyright}, {format:?}");
            let shown = Preset { strip, copyright, ..preset((40, 40), Fit::Inside, format) };
            let file = rendered(&original, &shown).bytes;
            assert!(!tells_secret(&file), "{what}");
            let found = exif::Reader::new().read_from_container(&mut std::io::Cursor::new(&file));
            let tags: Vec<Tag> =
                found.map_or_else(|_| Vec::new(), |exif| exif.fields().map(|field| field.tag).collect());
            assert!(kept.iter().all(|tag| tags.contains(tag)), "{what}: {tags:?}");
            assert!(!gone.iter().chain(&never).any(|tag| tags.contains(tag)), "{what}: {tags:?}");
            assert_eq!(tags.is_empty(), kept.is_empty(), "{what}: {tags:?}");
            // The pixels are as before: the picture stands upright, and is not turned again.
            let found = Seen::of(&file);
            assert_eq!((found.width, found.height), (30, 40));
            let [red, green, blue, yellow] = CORNERS;
            assert_alike(found.corners(), [blue, red, yellow, green], &what);
        }
    }
}

const ODD: [(u32, u32); 12] =
    [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2), (3, 3), (5, 4), (7, 9), (16, 15), (17, 3), (3, 17)];

#[test]
fn odd_sizes_of_every_orientation_are_exact() {
    for (width, height) in ODD {
        let rgb = painted(width, height, |x, y| [noise(x, y), noise(x + 90, y), noise(x, y + 90)]);
        let size = (width as usize, height as usize);
        for orientation in 1..=8 {
            let original = Png::of_bytes(size, &rgb).with(*b"eXIf", &turned_exif(orientation)).build();
            let found = seen(&original, &preset((64, 64), Fit::Inside, PresetFormat::Png));
            assert_eq!((found.width, found.height), upright(orientation, size));
            for y in 0..found.height {
                for x in 0..found.width {
                    let (from_x, from_y) = stored_at(orientation, size, (x, y));
                    let at = (from_y * size.0 + from_x) * 3;
                    assert_eq!(found.rgb(x, y), rgb[at..at + 3], "{size:?}, {orientation}, at {x}, {y}");
                }
            }
        }
    }
}

#[test]
fn odd_sizes_have_their_colours_in_every_format_and_orientation() {
    let color = [60, 140, 200];
    for (width, height) in ODD {
        let rgb = painted(width, height, |_, _| color);
        for orientation in 1..=8 {
            let block = turned_exif(orientation);
            let jpeg = |factor| {
                jpeg_with((width, height), ColorType::Rgb, &rgb, |encoder| {
                    encoder.set_sampling_factor(factor);
                    encoder.add_exif_metadata(&block).unwrap();
                })
            };
            let png = Png::of_bytes((width as usize, height as usize), &rgb).with(*b"eXIf", &block).build();
            let originals =
                [jpeg(jpeg_encoder::SamplingFactor::F_1_1), jpeg(jpeg_encoder::SamplingFactor::F_2_2), png];
            for original in originals {
                for (format, size) in
                    FORMATS.into_iter().flat_map(|format| [(format, (64, 64)), (format, (3, 2))])
                {
                    let found = seen(&original, &preset(size, Fit::Fill, format));
                    let (shown_width, shown_height) = upright(orientation, (width as usize, height as usize));
                    let expected = (shown_width.min(size.0 as usize), shown_height.min(size.1 as usize));
                    assert_eq!((found.width, found.height), expected);
                    let what = format!("{width}×{height}, {orientation}, {format:?}: {:?}", found.pixels);
                    assert!(
                        found.pixels.iter().all(|pixel| near([pixel[0], pixel[1], pixel[2]], color, 6)),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_cut_jpeg_is_marked_in_every_format() {
    let whole = jpeg(&PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() });
    let cut = &whole[..whole.len() / 2];
    let limits = Limits::default();
    let mut scratch = Scratch::default();
    let found = probe(cut, &limits).unwrap();
    let photo = decode(cut, &found, &limits, &mut scratch).unwrap();
    assert!(found.truncated && photo.damage().is_some_and(|why| why.contains("ends after row")));
    let presets = FORMATS.map(|format| preset((160, 160), Fit::Inside, format));
    let mut count = 0;
    render(photo, &presets, &mut scratch, &mut |variant, _| {
        let luma = Seen::of(&variant.bytes).luma();
        let bottom = &luma[110 * 160..];
        assert!(bottom.iter().all(|value| (value - 128.0).abs() < 4.0), "gray where nothing is");
        assert!(luma[..40 * 160].iter().any(|value| (value - 128.0).abs() > 20.0));
        count += 1;
    })
    .unwrap();
    assert_eq!(count, FORMATS.len());
}

#[test]
fn a_photo_without_time_is_too_slow() {
    let limits = Limits { seconds_max: 0, ..Limits::default() };
    let rgb = quadrants(64, 48);
    let samples: Vec<u64> = rgb.iter().map(|sample| u64::from(*sample)).collect();
    let tiff = Tiff::new(64, 48).kind(2, 3, 8).chunk(pack(&samples, 8, false));
    let bmp = Bmp::new(64, 48, 24, rgb.clone());
    for original in [
        jpeg_rgb(64, 48, &rgb),
        png_rgb(64, 48, &rgb),
        webp_of(&[lossless((64, 48), &rgb)]),
        fixture("interlaced.gif"),
        tiff.build(),
        bmp.build(),
    ] {
        let found = probe(&original, &limits).unwrap();
        let error = decode(&original, &found, &limits, &mut Scratch::default()).unwrap_err();
        assert_eq!(error.code(), "image-too-slow", "{}: {error}", found.format);
    }
}
