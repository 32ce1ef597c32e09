//! From the bytes of an original to the pixels of its variants, for every format and every way up.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;

use common::make::turned_exif;
use common::{CORNERS, WHITE, assert_alike, corners, fixture, pixels, quadrants, shown_by_exif, variants};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_media::{
    Fit, Limits, MediaError, Orientation, Preset, Probe, Scratch, Variant, decode, probe, render,
};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

const RED: [u8; 3] = CORNERS[0];
const GREEN: [u8; 3] = CORNERS[1];
const BLUE: [u8; 3] = CORNERS[2];
const YELLOW: [u8; 3] = CORNERS[3];

fn limits() -> Limits {
    Limits::default()
}

/// A JPEG of the quadrants, with an EXIF orientation.
fn oriented(width: u16, height: u16, orientation: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    encoder.add_exif_metadata(&turned_exif(orientation)).unwrap();
    encoder.encode(&quadrants(u32::from(width), u32::from(height)), width, height, ColorType::Rgb).unwrap();
    bytes
}

fn png(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

/// Every variant of the ladder shows these corners.
fn assert_corners(original: &[u8], expected: [[u8; 3]; 4], what: &str) -> Probe {
    let (found, variants) = variants(original, &Preset::default_ladder());
    assert_eq!(variants.len(), 5, "{what}");
    for variant in &variants {
        assert_alike(corners(variant), expected, &format!("{what}, {}", variant.preset));
    }
    found
}

#[test]
fn all_eight_orientations_stand_upright_in_every_variant() {
    // Larger than the largest preset, so that the first reduction turns; and smaller, so that the photo itself is turned.
    for (width, height) in [(2400, 1200), (400, 300)] {
        for number in 1..=8 {
            let original = oriented(width, height, number);
            let expected = shown_by_exif(number);
            let found =
                assert_corners(&original, expected, &format!("{width}×{height}, orientation {number}"));
            assert_eq!(found.orientation.exif(), number);
            let (_, variants) = variants(&original, &Preset::default_ladder());
            let (shown_width, shown_height) = found.shown_size();
            for (variant, preset) in variants.iter().zip(Preset::default_ladder()) {
                assert_eq!((variant.width, variant.height), preset.output_size(shown_width, shown_height));
            }
        }
    }
}

#[test]
fn variants_come_largest_first_with_their_names_and_digests() {
    let original = jpeg(&PhotoSpec { width: 3000, height: 2000, ..PhotoSpec::default() });
    let mut presets = Preset::default_ladder();
    presets.reverse();
    let (_, variants) = variants(&original, &presets);
    let names: Vec<&str> = variants.iter().map(|variant| variant.preset.as_str()).collect();
    assert_eq!(names, ["large", "medium", "small", "thumb", "square"]);
    for variant in &variants {
        let preset = presets.iter().find(|preset| preset.name == variant.preset).unwrap();
        assert_eq!(variant.preset_digest, preset.digest());
    }
}

#[test]
fn variants_carry_neither_place_nor_camera() {
    let spec =
        PhotoSpec { width: 800, height: 600, orientation: Orientation::Rotate90, ..PhotoSpec::default() };
    let original = jpeg(&spec);
    let reads =
        |bytes: &[u8]| exif::Reader::new().read_from_container(&mut std::io::Cursor::new(bytes)).is_ok();
    assert!(reads(&original), "the original has an EXIF block, or this test shows nothing");
    for variant in variants(&original, &Preset::default_ladder()).1 {
        assert!(!reads(&variant.bytes));
        let text = variant.bytes.windows(4).any(|window| window == b"Exif" || window == b"Dark");
        assert!(!text, "{}", variant.preset);
    }
}

#[test]
fn odd_shapes_have_the_sizes_of_the_ladder() {
    for (width, height) in [(1, 1), (17, 3), (3, 17), (65_500, 1), (1, 65_500), (333, 1001), (2049, 2047)] {
        let gray = vec![90; width as usize * height as usize];
        let original = png(width, height, png::ColorType::Grayscale, png::BitDepth::Eight, &gray);
        let (_, variants) = variants(&original, &Preset::default_ladder());
        assert_eq!(variants.len(), 5);
        for variant in variants {
            let preset =
                Preset::default_ladder().into_iter().find(|preset| preset.name == variant.preset).unwrap();
            assert_eq!((variant.width, variant.height), preset.output_size(width, height));
            let (pixels, _) = pixels(&variant);
            assert!(
                pixels.iter().all(|value| value.abs_diff(90) <= 2),
                "{width}×{height} {}",
                variant.preset
            );
        }
    }
}

#[test]
fn extreme_jpegs_decode_too() {
    for (width, height) in [(1, 1), (65_500, 1), (1, 65_500), (17, 3)] {
        let original = jpeg(&PhotoSpec { width, height, ..PhotoSpec::default() });
        assert_eq!(variants(&original, &Preset::default_ladder()).1.len(), 5, "{width}×{height}");
        let original = jpeg(&PhotoSpec { width, height, progressive: true, ..PhotoSpec::default() });
        assert_eq!(variants(&original, &Preset::default_ladder()).1.len(), 5, "{width}×{height} progressive");
    }
}

#[test]
fn a_cover_shows_the_middle() {
    // Red, green and blue stripes: only the middle one is in a square.
    let (width, height) = (900, 300);
    let mut data = Vec::new();
    for _ in 0..height {
        for color in [RED, GREEN, BLUE] {
            data.extend((0..width / 3).flat_map(|_| color));
        }
    }
    let original = png(width, height, png::ColorType::Rgb, png::BitDepth::Eight, &data);
    let square = Preset { fit: Fit::Cover, width: 150, height: 150, ..Preset::default_ladder().remove(0) };
    let (_, variants) = variants(&original, &[square]);
    assert_eq!((variants[0].width, variants[0].height), (150, 150));
    assert_alike(corners(&variants[0]), [GREEN; 4], "square");
}

#[test]
fn jpegs_of_other_encoders() {
    for name in ["progressive.jpg", "restarts.jpg", "rgb.jpg"] {
        let found = assert_corners(&fixture(name), CORNERS, name);
        assert_eq!(found.progressive, name == "progressive.jpg");
    }
    let found = probe(&fixture("restarts.jpg"), &limits()).unwrap();
    assert_eq!(found.subsampling, Some(darkroom_media::Subsampling::S422));
    // Inks are converted by the plain formula, which dulls nothing but rounds.
    let found = probe(&fixture("cmyk.jpg"), &limits()).unwrap();
    assert_eq!((found.components, found.planar), (4, false));
    assert_corners(&fixture("cmyk.jpg"), CORNERS, "cmyk.jpg");
}

#[test]
fn components_in_separate_scans_are_decoded() {
    let (width, height) = (160, 120);
    for factor in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2]
    {
        let mut original = Vec::new();
        let mut encoder = Encoder::new(&mut original, 90);
        encoder.set_sampling_factor(factor);
        // This encoder writes computed tables with one scan per component.
        encoder.set_optimized_huffman_tables(true);
        encoder.encode(&quadrants(160, 120), width, height, ColorType::Rgb).unwrap();
        let found = assert_corners(&original, CORNERS, "separate scans");
        assert!(found.coefficients_held && !found.progressive);
    }
}

#[test]
fn variants_can_be_uploaded_again() {
    let original = oriented(800, 600, 1);
    for variant in variants(&original, &Preset::default_ladder()).1 {
        assert_corners(&variant.bytes, CORNERS, &variant.preset);
    }
}

#[test]
fn gray_stays_gray() {
    let luma = CORNERS.map(|[r, g, b]| {
        let value = (f64::from(r) * 0.299 + f64::from(g) * 0.587 + f64::from(b) * 0.114).round() as u8;
        [value; 3]
    });
    let found = assert_corners(&fixture("gray.jpg"), luma, "gray.jpg");
    assert_eq!(found.components, 1);
    for variant in variants(&fixture("gray.jpg"), &Preset::default_ladder()).1 {
        assert_eq!(probe(&variant.bytes, &limits()).unwrap().components, 1, "{}", variant.preset);
    }
}

#[test]
fn pngs_of_every_kind() {
    use png::{BitDepth, ColorType as Color};
    let (width, height) = (160_u32, 120_u32);
    let rgb = quadrants(width, height);
    assert_corners(&png(width, height, Color::Rgb, BitDepth::Eight, &rgb), CORNERS, "8 bit RGB");

    let deep: Vec<u8> = rgb.iter().flat_map(|value| [*value, *value]).collect();
    let found =
        assert_corners(&png(width, height, Color::Rgb, BitDepth::Sixteen, &deep), CORNERS, "16 bit RGB");
    assert_eq!((found.bit_depth, found.has_alpha), (16, false));

    // The yellow quadrant is transparent, the green one half so.
    let alpha: Vec<u8> = rgb
        .chunks_exact(3)
        .flat_map(|pixel| {
            let alpha = if pixel == YELLOW {
                0
            } else if pixel == GREEN {
                128
            } else {
                255
            };
            [pixel[0], pixel[1], pixel[2], alpha]
        })
        .collect();
    let pale = GREEN.map(|value| 255 - (255 - value) / 2);
    let found = assert_corners(
        &png(width, height, Color::Rgba, BitDepth::Eight, &alpha),
        [RED, pale, BLUE, WHITE],
        "RGBA",
    );
    assert!(found.has_alpha);

    let gray_alpha: Vec<u8> =
        (0..width * height).flat_map(|index| [40, if index % width < 80 { 255 } else { 0 }]).collect();
    let dark = [40; 3];
    let original = png(width, height, Color::GrayscaleAlpha, BitDepth::Eight, &gray_alpha);
    assert_corners(&original, [dark, WHITE, dark, WHITE], "gray and alpha");

    // Black and white, eight pixels in a byte: the left half is set.
    let bits: Vec<u8> = (0..width * height / 8).map(|index| if index % 20 < 10 { 0xFF } else { 0 }).collect();
    let black = [0; 3];
    let original = png(width, height, Color::Grayscale, BitDepth::One, &bits);
    assert_corners(&original, [WHITE, black, WHITE, black], "1 bit");
}

/// A chunk with its checksum (ISO/IEC 15948, section 5.3 and annex D).
fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let covered = [kind.as_slice(), data].concat();
    let crc = !covered.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    });
    [&(data.len() as u32).to_be_bytes()[..], &covered, &crc.to_be_bytes()].concat()
}

/// A zlib stream of stored blocks (RFC 1950, RFC 1951 section 3.2.4).
fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = data.chunks(0xFFFF);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        let length = block.len() as u16;
        out.push(u8::from(index == last));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    out.extend((b << 16 | a).to_be_bytes());
    out
}

#[test]
fn an_interlaced_png() {
    let (width, height) = (160_usize, 120_usize);
    let rgb = quadrants(160, 120);
    // First column and row, and their steps, of the seven passes (section 8.2).
    let passes =
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
    let mut lines = Vec::new();
    for (left, top, across, down) in passes {
        for y in (top..height).step_by(down) {
            lines.push(0);
            for x in (left..width).step_by(across) {
                let at = (y * width + x) * 3;
                lines.extend(&rgb[at..at + 3]);
            }
        }
    }
    let mut header = [160_u32.to_be_bytes(), 120_u32.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 1]);
    let original = [
        b"\x89PNG\r\n\x1A\n".to_vec(),
        chunk(*b"IHDR", &header),
        chunk(*b"IDAT", &stored(&lines)),
        chunk(*b"IEND", &[]),
    ]
    .concat();
    assert!(assert_corners(&original, CORNERS, "interlaced").progressive);
}

#[test]
fn a_palette_png_with_a_transparent_colour() {
    let (width, height) = (160_u32, 120_u32);
    let index = |x: u32, y: u32| u8::from(x >= width / 2) + 2 * u8::from(y >= height / 2);
    let data: Vec<u8> = (0..width * height).map(|at| index(at % width, at / width)).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(CORNERS.concat());
    encoder.set_trns(vec![255, 255, 255, 0]);
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    let found = assert_corners(&bytes, [RED, GREEN, BLUE, WHITE], "palette");
    assert!(found.has_alpha);
}

#[test]
fn a_turned_png_and_a_turned_webp() {
    for name in ["turned.png", "turned.webp"] {
        let found = assert_corners(&fixture(name), [BLUE, RED, YELLOW, GREEN], name);
        assert_eq!((found.orientation, found.shown_size()), (Orientation::Rotate90, (120, 160)));
    }
}

#[test]
fn webps_of_every_kind() {
    for name in ["lossy.webp", "lossless.webp"] {
        assert!(!assert_corners(&fixture(name), CORNERS, name).has_alpha);
    }
    for name in ["lossy-alpha.webp", "lossless-alpha.webp"] {
        assert!(assert_corners(&fixture(name), [RED, GREEN, BLUE, WHITE], name).has_alpha);
    }
    let found = assert_corners(&fixture("animated.webp"), CORNERS, "animated.webp");
    assert_eq!((found.frames, found.is_animated()), (3, true));
}

/// A GIF of 160 × 120 pixels whose first frame covers only the right half of the canvas.
fn gif_with_offset(transparent: Option<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, 160, 120, &CORNERS.concat()).unwrap();
    let data: Vec<u8> = (0..80 * 120).map(|at| if at / 80 < 60 { 1 } else { 3 }).collect();
    let frame = gif::Frame {
        left: 80,
        width: 80,
        height: 120,
        buffer: data.into(),
        transparent,
        ..gif::Frame::default()
    };
    encoder.write_frame(&frame).unwrap();
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    bytes
}

#[test]
fn gifs_are_laid_on_their_canvas() {
    let found = assert_corners(&fixture("interlaced.gif"), CORNERS, "interlaced.gif");
    assert!(found.progressive && !found.has_alpha);
    let found = assert_corners(&gif_with_offset(None), [WHITE, GREEN, WHITE, YELLOW], "offset");
    assert_eq!((found.width, found.frames, found.has_alpha), (160, 2, true));
    assert_corners(&gif_with_offset(Some(3)), [WHITE, GREEN, WHITE, WHITE], "offset and transparent");
}

#[test]
fn damaged_pixel_data_is_an_error_and_no_gray_half() {
    let whole = jpeg(&PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() });
    let progressive = jpeg(&PhotoSpec { width: 640, height: 480, progressive: true, ..PhotoSpec::default() });
    for mut original in [whole, progressive] {
        let middle = original.len() / 2;
        // All ones is no code of any Huffman table (T.81, annex C), and the stuffed zeros keep it from being a marker.
        for pair in original[middle..middle + 64].chunks_exact_mut(2) {
            pair.copy_from_slice(&[0xFF, 0x00]);
        }
        let found = probe(&original, &limits()).unwrap();
        let error = decode(&original, &found, &limits(), &mut Scratch::default()).unwrap_err();
        assert_eq!(error.code(), "corrupt-image", "{error}");
    }
    for name in ["turned.png", "lossless.webp", "interlaced.gif"] {
        let mut original = fixture(name);
        let middle = original.len() / 2;
        original[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0xFF);
        let outcome = probe(&original, &limits())
            .and_then(|found| decode(&original, &found, &limits(), &mut Scratch::default()));
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), "corrupt-image", "{name}: {error}");
    }
}

/// How much of the height of the variant `large` is like that of the whole photo, from the top.
fn rows_alike(variant: &Variant, whole: &Variant) -> f64 {
    let ((cut, width), (whole, _)) = (pixels(variant), pixels(whole));
    let rows = cut.chunks(width * 3).zip(whole.chunks(width * 3));
    let alike = rows.take_while(|(a, b)| {
        let difference: u64 = a.iter().zip(*b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        difference <= 2 * a.len() as u64
    });
    alike.count() as f64 / f64::from(variant.height)
}

#[test]
fn a_cut_jpeg_is_shown_as_far_as_it_goes_and_marked() {
    let spec = PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() };
    let large = &Preset::default_ladder()[..1];
    for progressive in [false, true] {
        let whole = jpeg(&PhotoSpec { progressive, ..spec });
        let shown = variants(&whole, large).1.remove(0);
        for kept in [whole.len() / 2, whole.len() * 9 / 10, whole.len() - 200] {
            let open = whole[..kept].to_vec();
            // Not to be taken for half of a marker.
            let stem = open.strip_suffix(&[0xFF]).unwrap_or(&open);
            let closed = [stem, &[0xFF, 0xD9]].concat();
            for (bytes, truncated) in [(&open, true), (&closed, false)] {
                let what = format!("{kept} of {}, progressive {progressive}, {truncated}", whole.len());
                let found = probe(bytes, &limits()).unwrap();
                assert_eq!(found.truncated, truncated, "{what}");
                let photo = decode(bytes, &found, &limits(), &mut Scratch::default()).unwrap();
                // Whether a scan of a progressive one that was closed is whole, no decoder can tell.
                assert!(photo.damage().is_some() || (progressive && !truncated), "{what}");
                let mut cut = Vec::new();
                render(photo, large, &mut Scratch::default(), &mut |variant, _| cut.push(variant)).unwrap();
                let expected = kept as f64 / whole.len() as f64 - 0.06;
                let alike = rows_alike(&cut[0], &shown);
                assert!(progressive || alike >= expected, "{what}: {alike} of the rows");
            }
        }
    }
}

#[test]
fn a_jpeg_without_a_single_row_is_corrupt() {
    let whole = jpeg(&PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() });
    let scan = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    let cut = &whole[..scan + 30];
    let found = probe(cut, &limits()).unwrap();
    let error = decode(cut, &found, &limits(), &mut Scratch::default()).unwrap_err();
    assert_eq!(error.code(), "corrupt-image", "{error}");
}

#[test]
fn whole_jpegs_of_any_size_and_density_are_not_taken_for_cut_ones() {
    // Flat ones end within a few bits of their last row, which is where reading ahead could be taken for a shortage.
    let mut count = 0;
    for (width, height) in [(1, 1), (8, 300), (16, 200), (33, 65), (300, 8), (64, 64)] {
        for quality in [1, 50, 100] {
            for restart in [0, 1, 3] {
                for (color, channels) in [(ColorType::Luma, 1), (ColorType::Rgb, 3)] {
                    for noisy in [false, true] {
                        let mut state = 7_u32;
                        let data: Vec<u8> = (0..usize::from(width) * usize::from(height) * channels)
                            .map(|_| {
                                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                                if noisy { (state >> 24) as u8 } else { 77 }
                            })
                            .collect();
                        let mut original = Vec::new();
                        let mut encoder = Encoder::new(&mut original, quality);
                        encoder.set_restart_interval(restart);
                        encoder.encode(&data, width, height, color).unwrap();
                        let found = probe(&original, &limits()).unwrap();
                        let outcome = decode(&original, &found, &limits(), &mut Scratch::default());
                        assert!(
                            outcome.is_ok(),
                            "{width}×{height} q{quality} restart {restart}: {outcome:?}"
                        );
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 6 * 3 * 3 * 2 * 2);
}

#[test]
fn a_probe_of_another_image_is_refused_before_anything_is_allocated() {
    let large =
        probe(&jpeg(&PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() }), &limits()).unwrap();
    let small = jpeg(&PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() });
    let files = [small, fixture("turned.png"), fixture("lossy.webp"), fixture("interlaced.gif")];
    for original in files {
        let format = probe(&original, &limits()).unwrap().format;
        let wrong = Probe { format, ..large.clone() };
        let error = decode(&original, &wrong, &limits(), &mut Scratch::default()).unwrap_err();
        assert_eq!(error.code(), "corrupt-image", "{error}");
    }
}

#[test]
fn stricter_limits_hold_when_decoding() {
    let original = fixture("turned.png");
    let found = probe(&original, &limits()).unwrap();
    let strict = Limits { pixels_max: 1000, ..limits() };
    let error = decode(&original, &found, &strict, &mut Scratch::default()).unwrap_err();
    assert_eq!(error, MediaError::TooManyPixels { width: 160, height: 120, limit: 1000 });
}

#[test]
fn a_scratch_serves_many_photos_and_stays_small() {
    let mut scratch = Scratch::default();
    for (seed, (width, height)) in [(1_u64, (3000, 2000)), (2, (640, 480)), (3, (2000, 3000))] {
        let original = jpeg(&PhotoSpec { seed, width, height, ..PhotoSpec::default() });
        let found = probe(&original, &limits()).unwrap();
        let photo = decode(&original, &found, &limits(), &mut scratch).unwrap();
        // Planes of 4:2:0, and the EXIF block.
        let planes = u64::from(width) * u64::from(height) * 3 / 2;
        assert!((planes..planes + 1000).contains(&photo.bytes()));
        let mut warm = Vec::new();
        render(photo, &Preset::default_ladder(), &mut scratch, &mut |variant, _| warm.push(variant)).unwrap();
        assert_eq!(
            warm,
            variants(&original, &Preset::default_ladder()).1,
            "what was there before must not show"
        );
        assert!(scratch.bytes() > 0 && scratch.bytes() <= Scratch::KEPT_BYTES_MAX);
    }
}
