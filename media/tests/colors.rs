//! What the numbers of a pixel mean, from the original to every format: profiles, inks, 16 bits, alpha, linear light.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;

use common::build::{Tiff, pack};
use common::fixture;
use common::look::{FORMATS, Seen, near, rendered, seen};
use common::make::{Png, jpeg_rgb, jpeg_with, lossless, noise, painted, webp_of, webp_with_profile};
use common::printer::odd_printer;
use common::{CORNERS, assert_alike};
use darkroom_media::{Background, Fit, Gamut, Preset, PresetFormat};
use jpeg_encoder::{ColorType, Encoder};
use moxcms::ColorProfile;

fn preset(size: (u32, u32), format: PresetFormat) -> Preset {
    Preset { format, quality: 95, ..Preset::new("x", size.0, size.1, Fit::Inside) }
}

fn encoded(linear: f64) -> f64 {
    if linear <= 0.003_130_8 { linear * 12.92 } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

fn linear(encoded: f64) -> f64 {
    if encoded <= 0.040_45 { encoded / 12.92 } else { ((encoded + 0.055) / 1.055).powf(2.4) }
}

/// sRGB in linear light to another RGB, row by row.
type Matrix = [[f64; 3]; 3];

/// CSS Color 4, section 10.
const TO_P3: Matrix = [
    [0.822_461_969, 0.177_538_031, 0.0],
    [0.033_194_199, 0.966_805_801, 0.0],
    [0.017_082_631, 0.072_397_440, 0.910_519_929],
];
const TO_ADOBE: Matrix = [[0.715_125, 0.284_875, 0.0], [0.0, 1.0, 0.0], [0.0, 0.041_161, 0.958_839]];

/// What shows an sRGB colour in another space, 0 to 1.
fn in_space(srgb: [u8; 3], matrix: Matrix, curve: impl Fn(f64) -> f64) -> [f64; 3] {
    let light = srgb.map(|value| linear(f64::from(value) / 255.0));
    matrix.map(|row| {
        let sum: f64 = row.iter().zip(light).map(|(factor, value)| factor * value).sum();
        curve(sum.clamp(0.0, 1.0))
    })
}

/// Colours that every space here has.
const COLORS: [[u8; 3]; 8] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 255],
    [128, 128, 128],
    [200, 100, 50],
    [30, 160, 90],
    [70, 40, 130],
];

/// Squares of 16 × 16 pixels in these colours, side by side.
fn squares(colors: [[f64; 3]; 8]) -> Vec<[f64; 3]> {
    (0..16 * 128).map(|at| colors[at % 128 / 16]).collect()
}

/// The same picture in every format that carries a profile.
fn files(profile: &[u8], colors: [[f64; 3]; 8]) -> Vec<(&'static str, Vec<u8>)> {
    let values: Vec<f64> = squares(colors).into_iter().flatten().collect();
    let bytes: Vec<u8> = values.iter().map(|value| (value * 255.0).round() as u8).collect();
    let words: Vec<u16> = values.iter().map(|value| (value * 65_535.0).round() as u16).collect();
    let size = (128, 16);
    let jpeg = |factor| {
        jpeg_with((128, 16), ColorType::Rgb, &bytes, |encoder: &mut Encoder<_>| {
            encoder.set_sampling_factor(factor);
            encoder.add_icc_profile(profile).unwrap();
        })
    };
    let samples: Vec<u64> = bytes.iter().map(|byte| u64::from(*byte)).collect();
    let tiff = Tiff::new(128, 16).kind(2, 3, 8).with_block(34_675, profile).chunk(pack(&samples, 8, false));
    let deep = Png::new(size, 2, 16, words);
    vec![
        ("JPEG 4:4:4", jpeg(jpeg_encoder::SamplingFactor::F_1_1)),
        ("JPEG 4:2:0", jpeg(jpeg_encoder::SamplingFactor::F_2_2)),
        ("PNG", Png::of_bytes(size, &bytes).with_profile(profile).build()),
        ("PNG of 16 bits", deep.clone().with_profile(profile).build()),
        ("interlaced PNG of 16 bits", deep.interlaced().with_profile(profile).build()),
        ("WebP", webp_with_profile(size, &bytes, profile)),
        ("TIFF", tiff.build()),
    ]
}

/// The middle of every square.
fn middles(found: &Seen) -> [[u8; 3]; 8] {
    std::array::from_fn(|index| found.rgb(index * 16 + 8, 8))
}

#[test]
fn display_p3_is_shown_in_srgb_or_kept_with_its_profile() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let stored = COLORS.map(|color| in_space(color, TO_P3, encoded));
    for (name, original) in files(&profile, stored) {
        for format in FORMATS {
            for gamut in [Gamut::Srgb, Gamut::P3] {
                let what = format!("{name} as {format:?}, {gamut:?}");
                let found = seen(&original, &Preset { gamut, ..preset((128, 128), format) });
                let kept = stored.map(|color| color.map(|value| (value * 255.0).round() as u8));
                let expected = if gamut == Gamut::P3 { kept } else { COLORS };
                for (found, expected) in middles(&found).into_iter().zip(expected) {
                    assert!(near(found, expected, 6), "{what}: {found:?}, expected {expected:?}");
                }
                assert_eq!(found.profile.is_some(), gamut == Gamut::P3, "{what}");
                if let Some(profile) = found.profile {
                    let (found, p3) =
                        (ColorProfile::new_from_slice(&profile).unwrap(), ColorProfile::new_display_p3());
                    let apart = (found.red_colorant.x - p3.red_colorant.x).abs()
                        + (found.green_colorant.y - p3.green_colorant.y).abs();
                    assert!(apart < 0.001, "{what}: it is the profile of Display P3");
                }
            }
        }
    }
}

#[test]
fn adobe_rgb_is_always_shown_in_srgb() {
    let profile = ColorProfile::new_adobe_rgb().encode().unwrap();
    let stored = COLORS.map(|color| in_space(color, TO_ADOBE, |value| value.powf(256.0 / 563.0)));
    for (name, original) in files(&profile, stored) {
        for format in FORMATS {
            let found = seen(&original, &Preset { gamut: Gamut::P3, ..preset((128, 128), format) });
            assert_eq!(found.profile, None);
            for (found, expected) in middles(&found).into_iter().zip(COLORS) {
                assert!(near(found, expected, 7), "{name} as {format:?}: {found:?}, expected {expected:?}");
            }
        }
    }
}

#[test]
fn a_profile_of_srgb_changes_nothing() {
    let profile = ColorProfile::new_srgb().encode().unwrap();
    let stored = COLORS.map(|color| color.map(|value| f64::from(value) / 255.0));
    for (name, original) in files(&profile, stored) {
        let found = seen(&original, &preset((128, 128), PresetFormat::Png));
        let most = if name.starts_with("JPEG") { 4 } else { 0 };
        for (found, expected) in middles(&found).into_iter().zip(COLORS) {
            assert!(near(found, expected, most), "{name}: {found:?}, expected {expected:?}");
        }
        assert_eq!(found.profile, None);
    }
}

#[test]
fn a_background_is_an_srgb_colour_whatever_the_photo_is_in() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let clear = painted(32, 32, |_, _| [0, 0, 0, 0]);
    let original = Png::of_bytes((32, 32), &clear).with_profile(&profile).build();
    let background = Background([255, 0, 0]);
    for format in FORMATS {
        for (gamut, red) in [(Gamut::Srgb, [255, 0, 0]), (Gamut::P3, [234, 51, 35])] {
            let fit = Fit::Contain;
            let found = seen(&original, &Preset { gamut, background, fit, ..preset((64, 64), format) });
            assert!(near(found.rgb(4, 4), red, 5), "{format:?}, {gamut:?}: {:?}", found.rgb(4, 4));
            if format == PresetFormat::Jpeg {
                assert!(near(found.rgb(32, 32), red, 5), "{gamut:?}: {:?}", found.rgb(32, 32));
            }
        }
    }
}

#[test]
fn a_gray_profile_is_followed() {
    let profile = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let ramp = |x: u32| (x * 2) as u8;
    let gray = painted(128, 16, |x, _| [ramp(x)]);
    let with_alpha = painted(128, 16, |x, _| [ramp(x), 200]);
    let deep = |channels: &[u8]| channels.iter().map(|byte| u16::from(*byte) * 257).collect::<Vec<_>>();
    let size = (128, 16);
    let jpeg =
        jpeg_with((128, 16), ColorType::Luma, &gray, |encoder| encoder.add_icc_profile(&profile).unwrap());
    let files = [
        ("JPEG", jpeg),
        ("PNG", Png::of_bytes(size, &gray).with_profile(&profile).build()),
        ("PNG of 16 bits", Png::new(size, 0, 16, deep(&gray)).with_profile(&profile).build()),
        ("PNG with alpha", Png::of_bytes(size, &with_alpha).with_profile(&profile).build()),
        (
            "PNG of 16 bits with alpha",
            Png::new(size, 4, 16, deep(&with_alpha)).with_profile(&profile).build(),
        ),
    ];
    for (name, original) in files {
        for format in [PresetFormat::Png, PresetFormat::WebP] {
            let found = seen(&original, &preset((128, 128), format));
            // The darkest steps of 8 bits are far apart.
            for x in (8..128).step_by(7) {
                let expected = (encoded(f64::from(ramp(x)) / 255.0) * 255.0).round() as u8;
                let pixel = found.rgb(x as usize, 8);
                assert!(
                    near(pixel, [expected; 3], 5),
                    "{name}, {format:?}: {pixel:?} at {x}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn inks_of_another_encoder_are_shown_by_the_plain_formula() {
    for format in FORMATS {
        let found = seen(&fixture("cmyk.jpg"), &preset((160, 160), format));
        assert_alike(found.corners(), CORNERS, &format!("{format:?}"));
    }
}

/// Full ink is 255.
const INKS: [([u8; 4], [u8; 3]); 6] = [
    ([0, 0, 0, 0], [255, 255, 255]),
    ([255, 0, 0, 0], [0, 255, 255]),
    ([0, 255, 0, 0], [255, 0, 255]),
    ([0, 0, 255, 0], [255, 255, 0]),
    ([0, 0, 0, 255], [0, 0, 0]),
    ([100, 50, 200, 60], [118, 157, 42]),
];

/// Two JPEGs of one ink each: CMYK and YCCK.
fn inked(ink: [u8; 4], profile: Option<&[u8]>) -> [Vec<u8>; 2] {
    let data = painted(32, 32, |_, _| ink);
    [ColorType::Cmyk, ColorType::CmykAsYcck].map(|color| {
        jpeg_with((32, 32), color, &data, |encoder| {
            if let Some(profile) = profile {
                encoder.add_icc_profile(profile).unwrap();
            }
        })
    })
}

#[test]
fn inks_as_cmyk_and_as_ycck_are_the_same_colours() {
    for (ink, expected) in INKS {
        for original in inked(ink, None) {
            let found = seen(&original, &preset((16, 16), PresetFormat::Png)).rgb(8, 8);
            assert!(near(found, expected, 4), "{ink:?}: {found:?}, expected {expected:?}");
        }
    }
}

#[test]
fn inks_with_a_profile_are_shown_as_it_says() {
    let profile = odd_printer();
    let expected = [
        ([0, 0, 0, 0], [255, 255, 255]),
        ([255, 0, 0, 0], [255, 0, 0]),
        ([0, 255, 255, 0], [255, 255, 255]),
        ([0, 0, 0, 255], [0, 0, 0]),
    ];
    for (ink, expected) in expected {
        for original in inked(ink, Some(&profile)) {
            let found = seen(&original, &preset((16, 16), PresetFormat::Png)).rgb(8, 8);
            assert!(near(found, expected, 12), "{ink:?}: {found:?}, expected {expected:?}");
        }
    }
}

#[test]
fn inks_of_a_tiff_are_the_colours_of_the_same_inks_in_a_jpeg() {
    let profile = odd_printer();
    let shown = |original: &[u8]| seen(original, &preset((16, 16), PresetFormat::Png)).rgb(8, 8);
    for profile in [None, Some(profile.as_slice())] {
        for (ink, plain) in INKS {
            let [jpeg, _] = inked(ink, profile);
            let expected = shown(&jpeg);
            for (bits, unit) in [(8, 1), (16, 257)] {
                // 0 is no ink in a TIFF, where Adobe's JPEGs store 255 for none.
                let pixels = ink.map(|amount| u64::from(amount) * unit).repeat(32 * 32);
                let tiff = Tiff::new(32, 32).kind(5, 4, bits).chunk(pack(&pixels, bits as usize, false));
                let tiff = profile.into_iter().fold(tiff, |tiff, profile| tiff.with_block(34_675, profile));
                let found = shown(&tiff.build());
                let what = format!("{ink:?}, {bits} bits, with a profile: {}", profile.is_some());
                assert!(near(found, expected, 4), "{what}: {found:?}, and {expected:?} in a JPEG");
                assert!(profile.is_some() || near(found, plain, 1), "{what}: {found:?}, expected {plain:?}");
            }
        }
    }
}

#[test]
fn sixteen_bits_become_the_nearest_eight() {
    let reduced = |sample: u16| (f64::from(sample) * 255.0 / 65_535.0).round() as u8;
    for (color_type, channels) in [(0, 1), (2, 3), (4, 2), (6, 4)] {
        // Every value once, and the last channel from the other end. Alpha is never zero, where colour has no meaning.
        let samples: Vec<u16> = (0..=u16::MAX)
            .flat_map(|value| {
                (0..channels).map(move |channel| {
                    if channel == channels - 1 { u16::MAX - value } else { value.wrapping_mul(channel + 1) }
                })
            })
            .collect();
        let plain = Png::new((256, 256), color_type, 16, samples.clone());
        for png in [plain.clone(), plain.interlaced()] {
            let found = seen(&png.build(), &preset((256, 256), PresetFormat::Png));
            for (pixel, expected) in found.pixels.iter().zip(samples.chunks(usize::from(channels))) {
                let expected: Vec<u8> = expected.iter().map(|sample| reduced(*sample)).collect();
                let expected = match expected[..] {
                    [gray] => [gray, gray, gray, 255],
                    [gray, alpha] => [gray, gray, gray, alpha],
                    [red, green, blue] => [red, green, blue, 255],
                    _ => [expected[0], expected[1], expected[2], expected[3]],
                };
                assert_eq!(*pixel, expected, "colour type {color_type}");
            }
        }
    }
}

/// A red disc on what is transparent and black.
fn disc(side: u32) -> Vec<u8> {
    painted(side, side, |x, y| {
        let centre = f64::from(side) / 2.0;
        let inside = (f64::from(x) + 0.5 - centre).hypot(f64::from(y) + 0.5 - centre) < centre * 0.8;
        if inside { [255, 0, 0, 255] } else { [0, 0, 0, 0] }
    })
}

/// The disc in every format that has transparency.
fn discs(side: u32) -> Vec<(&'static str, Vec<u8>)> {
    let rgba = disc(side);
    let size = (side as usize, side as usize);
    let indices: Vec<u8> = rgba.chunks(4).map(|pixel| pixel[3] / 255).collect();
    let words = indices.iter().map(|index| u16::from(*index)).collect();
    let palette = Png::new(size, 3, 1, words).with(*b"PLTE", &[0, 0, 0, 255, 0, 0]).with(*b"tRNS", &[0]);
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, side as u16, side as u16, &[0, 0, 0, 255, 0, 0]).unwrap();
    let frame = gif::Frame {
        width: side as u16,
        height: side as u16,
        buffer: indices.into(),
        transparent: Some(0),
        ..gif::Frame::default()
    };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    vec![
        ("PNG", Png::of_bytes(size, &rgba).build()),
        ("palette", palette.build()),
        ("WebP", webp_of(&[lossless(size, &rgba)])),
        ("GIF", gif),
    ]
}

#[test]
fn what_is_transparent_has_no_colour_that_shows() {
    for (name, original) in discs(512) {
        for linear in [false, true] {
            for format in FORMATS {
                let found = seen(&original, &Preset { linear, ..preset((64, 64), format) });
                let what = format!("{name} as {format:?}, linear {linear}");
                for pixel in &found.pixels {
                    let [red, green, blue, alpha] = *pixel;
                    match format {
                        PresetFormat::Png => {
                            assert!(
                                alpha == 0 || (red >= 254 && green <= 1 && blue <= 1),
                                "{what}: {pixel:?}"
                            );
                        }
                        PresetFormat::WebP => {
                            assert!(
                                alpha < 32 || (red > 215 && green < 40 && blue < 40),
                                "{what}: {pixel:?}"
                            );
                        }
                        // Red on white is nowhere darker than red. Chroma of half the size dulls the edge.
                        _ => {
                            let luma = common::look::luma([red, green, blue].map(f64::from));
                            assert!(luma > 66.0 && green.abs_diff(blue) < 40, "{what}: {pixel:?}");
                        }
                    }
                }
                assert!(near(found.rgb(32, 32), [255, 0, 0], 6), "{what}");
                assert_eq!(found.at(0, 0)[3] == 0, format != PresetFormat::Jpeg, "{what}");
            }
        }
    }
}

#[test]
fn a_checkerboard_keeps_its_light_where_a_preset_asks_for_it() {
    let board = |x: u32, y: u32| if (x + y).is_multiple_of(2) { 255 } else { 0 };
    let gray = painted(256, 256, |x, y| [board(x, y)]);
    let rgb = painted(256, 256, |x, y| [board(x, y); 3]);
    let rgba = painted(256, 256, |x, y| [board(x, y), board(x, y), board(x, y), 255 - u8::from(x == 0)]);
    let size = (256, 256);
    let originals = [
        ("gray", Png::of_bytes(size, &gray).build()),
        ("RGB", Png::of_bytes(size, &rgb).build()),
        ("RGBA", Png::of_bytes(size, &rgba).build()),
        ("JPEG", jpeg_rgb(256, 256, &rgb)),
    ];
    for (name, original) in originals {
        for format in FORMATS {
            for (linear, expected) in [(true, 188_u8), (false, 128)] {
                let found = seen(&original, &Preset { linear, ..preset((32, 32), format) });
                for y in 4..28 {
                    let strange =
                        (4..28).map(|x| found.rgb(x, y)).find(|pixel| !near(*pixel, [expected; 3], 3));
                    assert_eq!(strange, None, "{name} as {format:?}, linear {linear}");
                }
            }
        }
    }
}

#[test]
fn a_smooth_slope_of_16_bits_has_no_bands() {
    // 64 values of 8 bits over 512 columns: each step is one, and all are there.
    let words: Vec<u16> = (0..512 * 8).map(|at| 20_000 + (at % 512 * 257 / 8) as u16).collect();
    let found = seen(&Png::new((512, 8), 0, 16, words).build(), &preset((512, 512), PresetFormat::Png));
    let row: Vec<u8> = (0..512).map(|x| found.rgb(x, 4)[0]).collect();
    assert!(row.windows(2).all(|pair| pair[1] - pair[0] <= 1));
    let runs: Vec<usize> = row.chunk_by(|a, b| a == b).map(<[u8]>::len).collect();
    assert!(runs[1..runs.len() - 1].iter().all(|length| *length == 8), "{runs:?}");
}

#[test]
fn colours_are_right_after_a_reduction_too() {
    // Noise around a colour, in Display P3: what is averaged and then converted is what was meant.
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let color = in_space([200, 100, 50], TO_P3, encoded).map(|value| value * 255.0);
    let rgb = painted(400, 300, |x, y| {
        let noise = f64::from(noise(x, y)) / 16.0 - 8.0;
        color.map(|value| (value + noise).round() as u8)
    });
    let original =
        jpeg_with((400, 300), ColorType::Rgb, &rgb, |encoder| encoder.add_icc_profile(&profile).unwrap());
    for format in FORMATS {
        let variant = rendered(&original, &preset((40, 40), format));
        let found = Seen::of(&variant.bytes);
        assert!(
            found.pixels.iter().all(|pixel| near([pixel[0], pixel[1], pixel[2]], [200, 100, 50], 9)),
            "{format:?}"
        );
    }
}
