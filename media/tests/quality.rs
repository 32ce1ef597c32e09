//! No shortcut shows: variants against a reference that takes none, and pictures that tell a shift by their centre.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;

use common::look::{FORMATS, Seen, blue_difference, luma, red_difference, rendered_within, seen};
use common::make::{Png, jpeg_with, painted, stored_at, turned_exif, upright};
use common::reference::{Plane, difference, psnr, ssim};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_media::{Fit, Limits, Preset, PresetFormat};
use jpeg_encoder::{ColorType, SamplingFactor};
use moxcms::ColorProfile;

/// What a shortcut may cost.
const SSIM_LOST_MAX: f64 = 0.003;
/// What a shortcut may move the chroma by, on the mean.
const CHROMA_MOVED_MAX: f64 = 0.5;

fn preset(name: &str, side: u32, format: PresetFormat) -> Preset {
    Preset { format, quality: 100, ..Preset::new(name, side, side, Fit::Inside) }
}

/// Luma, blue and red difference.
fn planes(seen: &Seen) -> [Plane; 3] {
    let plane = |of: fn([f64; 3]) -> f64| Plane::new(seen.width, seen.height, seen.channel(of));
    [plane(luma), plane(blue_difference), plane(red_difference)]
}

/// A photo as a camera stores it, and what it decodes to.
struct Photo {
    jpeg: Vec<u8>,
    decoded: Seen,
}

impl Photo {
    fn new(seed: u64) -> Self {
        let jpeg = jpeg(&PhotoSpec { seed, width: 1201, height: 900, ..PhotoSpec::default() });
        Self { decoded: Seen::of(&jpeg), jpeg }
    }

    /// The decoded pixels as a PNG, which are resized as RGB.
    fn png(&self, profile: Option<&[u8]>) -> Vec<u8> {
        let png = Png::of_bytes((self.decoded.width, self.decoded.height), &self.decoded.packed());
        profile.map_or(png.clone(), |profile| png.with_profile(profile)).build()
    }

    /// Each channel of RGB resized as the definition says.
    fn reference(&self, width: usize, height: usize) -> [Plane; 3] {
        let (from_width, from_height) = (self.decoded.width, self.decoded.height);
        let channel = |index: usize| {
            let values = self.decoded.channel(|rgb| rgb[index]);
            Plane::new(from_width, from_height, values).resized(width, height).clamped()
        };
        let channels = [channel(0), channel(1), channel(2)];
        let mixed = |of: fn([f64; 3]) -> f64| {
            let pixels = (0..width * height).map(|at| of([0, 1, 2].map(|index| channels[index].values[at])));
            Plane::new(width, height, pixels.collect())
        };
        [mixed(luma), mixed(blue_difference), mixed(red_difference)]
    }
}

/// The variant called `name`, rendered with others beside it.
fn beside(original: &[u8], presets: &[Preset], name: &str) -> [Plane; 3] {
    let variants = rendered_within(original, presets, &Limits::default());
    let variant = variants.iter().find(|variant| variant.preset == name).unwrap();
    planes(&Seen::of(&variant.bytes))
}

/// A way to a variant that takes no shortcut, and one that does, both against the reference.
fn assert_costs_nothing(reference: &[Plane; 3], plain: &[Plane; 3], short: &[Plane; 3], what: &str) {
    let lost = ssim(&reference[0], &plain[0]) - ssim(&reference[0], &short[0]);
    assert!(lost <= SSIM_LOST_MAX, "{what}: {lost} of SSIM lost");
    for chroma in [1, 2] {
        let moved =
            difference(&reference[chroma], &short[chroma]) - difference(&reference[chroma], &plain[chroma]);
        assert!(moved <= CHROMA_MOVED_MAX, "{what}: chroma {chroma} is {moved} farther off");
    }
}

const SEEDS: [u64; 3] = [1, 22, 333];

#[test]
fn the_cascade_shows_no_less_than_the_photo_itself() {
    for seed in SEEDS {
        let photo = Photo::new(seed);
        for (width, height) in [(320, 240), (161, 121)] {
            let reference = photo.reference(width, height);
            for format in [PresetFormat::Png, PresetFormat::Jpeg] {
                let fill = Preset { fit: Fit::Fill, ..preset("x", 1, format) };
                let wanted = Preset { width: width as u32, height: height as u32, ..fill };
                let ladder = [preset("a", 700, format), preset("b", 460, format), wanted.clone()];
                for (original, way) in [(photo.jpeg.clone(), "planes"), (photo.png(None), "RGB")] {
                    let straight = beside(&original, std::slice::from_ref(&wanted), "x");
                    let cascade = beside(&original, &ladder, "x");
                    let what = format!("cascade to {width}, seed {seed}, {format:?}, {way}");
                    assert_costs_nothing(&reference, &straight, &cascade, &what);
                }
            }
        }
    }
}

#[test]
fn planes_show_no_less_than_rgb() {
    for seed in SEEDS {
        let photo = Photo::new(seed);
        let reference = photo.reference(320, 240);
        for format in FORMATS {
            let wanted = Preset { width: 320, height: 240, fit: Fit::Fill, ..preset("x", 1, format) };
            let rgb = beside(&photo.png(None), std::slice::from_ref(&wanted), "x");
            let planar = beside(&photo.jpeg, std::slice::from_ref(&wanted), "x");
            assert_costs_nothing(&reference, &rgb, &planar, &format!("planes, seed {seed}, {format:?}"));
        }
    }
}

#[test]
fn chroma_that_was_halved_early_shows_no_less() {
    for seed in SEEDS {
        let photo = Photo::new(seed);
        for (width, height) in [(320, 240), (321, 241)] {
            let reference = photo.reference(width, height);
            for format in [PresetFormat::Jpeg, PresetFormat::WebP] {
                let size = Preset { width: width as u32, height: height as u32, ..preset("x", 1, format) };
                let wanted = Preset { fit: Fit::Fill, ..size };
                let alone = beside(&photo.jpeg, std::slice::from_ref(&wanted), "x");
                // A PNG next to it keeps the chroma of all frames whole until the end.
                let whole = beside(&photo.jpeg, &[preset("y", 100, PresetFormat::Png), wanted], "x");
                let what = format!("half chroma at {width}, seed {seed}, {format:?}");
                assert_costs_nothing(&reference, &whole, &alone, &what);
            }
        }
    }
}

#[test]
fn planes_and_rgb_are_the_same_picture_with_and_without_a_profile() {
    let p3 = ColorProfile::new_display_p3().encode().unwrap();
    for seed in SEEDS {
        let photo = Photo::new(seed);
        for profile in [None, Some(p3.as_slice())] {
            let stored = profile.map_or(photo.jpeg.clone(), |profile| with_profile(&photo.jpeg, profile));
            for format in FORMATS {
                let wanted = Preset { width: 320, height: 240, fit: Fit::Fill, ..preset("x", 1, format) };
                let planar = beside(&stored, std::slice::from_ref(&wanted), "x");
                let rgb = beside(&photo.png(profile), std::slice::from_ref(&wanted), "x");
                let alike = psnr(&planar[0], &rgb[0]);
                println!("planes and RGB, seed {seed}, {format:?}, {}: {alike:.1} dB", profile.is_some());
                assert!(alike >= 40.0, "seed {seed}, {format:?}, profile {}: {alike} dB", profile.is_some());
            }
        }
    }
}

/// The same JPEG with a colour profile in front.
fn with_profile(jpeg: &[u8], profile: &[u8]) -> Vec<u8> {
    let payload = [b"ICC_PROFILE\0\x01\x01", profile].concat();
    let segment = [&[0xFF, 0xE2], (payload.len() as u16 + 2).to_be_bytes().as_slice(), &payload].concat();
    [&jpeg[..2], &segment, &jpeg[2..]].concat()
}

#[test]
fn symmetric_pictures_stay_symmetric() {
    let rings = |width: u32, height: u32| {
        painted(width, height, move |x, y| {
            let (across, down) =
                (f64::from(2 * x + 1) - f64::from(width), f64::from(2 * y + 1) - f64::from(height));
            let wave = (across.hypot(down) / 9.0).sin();
            [128.0 + 80.0 * wave, 128.0 - 60.0 * wave, 110.0 + 40.0 * wave].map(|value| value.round() as u8)
        })
    };
    for (width, height) in [(400, 300), (399, 301)] {
        let rgb = rings(width, height);
        let png = Png::of_bytes((width as usize, height as usize), &rgb).build();
        let jpeg = |factor| {
            jpeg_with((width, height), ColorType::Rgb, &rgb, |encoder| encoder.set_sampling_factor(factor))
        };
        let originals = [(png, 1), (jpeg(SamplingFactor::F_1_1), 4)];
        for (original, most) in originals {
            for size in [(100, 75), (101, 75), (100, 77), (99, 71)] {
                let shown = Preset {
                    width: size.0,
                    height: size.1,
                    fit: Fit::Fill,
                    ..preset("x", 1, PresetFormat::Png)
                };
                let found = seen(&original, &shown);
                for y in 0..found.height {
                    for x in 0..found.width {
                        let here = found.rgb(x, y);
                        for other in [found.rgb(found.width - 1 - x, y), found.rgb(x, found.height - 1 - y)] {
                            let apart = here.iter().zip(other).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                            assert!(apart <= most, "{width} to {size:?} at {x}, {y}: {here:?} and {other:?}");
                        }
                    }
                }
            }
        }
    }
}

/// A soft dot around a place given as fractions, of so many pixels, on gray: brighter, or of another colour alone.
fn dot((width, height): (u32, u32), place: (f64, f64), radius: f64, colored: bool) -> Vec<u8> {
    let (left, top) = (place.0 * f64::from(width), place.1 * f64::from(height));
    painted(width, height, |x, y| {
        let distance = (f64::from(x) + 0.5 - left).hypot(f64::from(y) + 0.5 - top) / radius;
        let weight = if distance < 1.0 { (distance * std::f64::consts::PI).cos() / 2.0 + 0.5 } else { 0.0 };
        // Cb and Cr of 45, and what keeps the luma.
        let added = if colored { [63.1, -47.6, 79.7] } else { [80.0; 3] };
        added.map(|added: f64| (120.0 + added * weight).round() as u8)
    })
}

/// Where the dot of an original lies in a variant that is otherwise gray: of luma, or of the mean of both chromas.
fn centre(found: &Seen, colored: bool) -> (f64, f64) {
    let [luma, blue, red] = planes(found);
    if !colored {
        return luma.centroid(120.0);
    }
    let (a, b) = (blue.centroid(0.0), red.centroid(0.0));
    assert!((a.0 - b.0).abs() < 0.2 && (a.1 - b.1).abs() < 0.2, "chroma at {a:?} and {b:?}");
    (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1))
}

/// How far the centre of a dot may be off, in pixels. A lossy WebP's chroma is coarser than a dot's slope even at quality
/// 100: what it moves, one way or the other, was seen to be 0.13.
fn moved_max(format: PresetFormat, colored: bool) -> f64 {
    if colored && format == PresetFormat::WebP { 0.2 } else { 0.1 }
}

/// A dot is where it was, in originals of three kinds, all orientations, and these sizes of photo and variant.
fn assert_unmoved(stored: (u32, u32), outs: &[(u32, u32)], formats: &[PresetFormat]) {
    let place = (0.78, 0.76);
    for colored in [false, true] {
        let radius = f64::from(stored.0.min(stored.1)) * 0.16;
        let rgb = dot(stored, place, radius, colored);
        for orientation in 1..=8 {
            let block = turned_exif(orientation);
            let jpeg = |factor| {
                jpeg_with(stored, ColorType::Rgb, &rgb, |encoder| {
                    encoder.set_sampling_factor(factor);
                    encoder.add_exif_metadata(&block).unwrap();
                })
            };
            let size = (stored.0 as usize, stored.1 as usize);
            let originals = [
                ("PNG", Png::of_bytes(size, &rgb).with(*b"eXIf", &block).build()),
                ("4:4:4", jpeg(SamplingFactor::F_1_1)),
                ("4:2:0", jpeg(SamplingFactor::F_2_2)),
                ("4:2:2", jpeg(SamplingFactor::F_2_1)),
            ];
            let expected = shown_place(orientation, place);
            for (name, original) in originals {
                for (out, format) in
                    outs.iter().flat_map(|out| formats.iter().map(move |format| (*out, *format)))
                {
                    let found = seen(
                        &original,
                        &Preset { width: out.0, height: out.1, fit: Fit::Fill, ..preset("x", 1, format) },
                    );
                    let (x, y) = centre(&found, colored);
                    let (dx, dy) =
                        (x - expected.0 * found.width as f64, y - expected.1 * found.height as f64);
                    let what = format!(
                        "{name} {stored:?}, {orientation}, to {out:?} as {format:?}, coloured {colored}"
                    );
                    assert!(
                        dx.abs().max(dy.abs()) <= moved_max(format, colored),
                        "{what}: off by {dx:.3}, {dy:.3}"
                    );
                }
            }
        }
    }
}

/// Where a place of the stored picture is shown, as fractions of the upright one.
fn shown_place(orientation: u16, place: (f64, f64)) -> (f64, f64) {
    // By the exact place of pixels in a picture so large that their size does not matter.
    let size = (10_000, 10_000);
    let (width, height) = upright(orientation, size);
    let lies = |shown: (usize, usize)| {
        let (x, y) = stored_at(orientation, size, shown);
        (x as f64 / 10_000.0, y as f64 / 10_000.0)
    };
    let (origin, across, down) = (lies((0, 0)), lies((width - 1, 0)), lies((0, height - 1)));
    let along = |end: (f64, f64)| {
        let (x, y) = (end.0 - origin.0, end.1 - origin.1);
        (place.0 - origin.0) * x + (place.1 - origin.1) * y
    };
    (along(across), along(down))
}

#[test]
fn nothing_moves_when_it_is_reduced() {
    let outs = [(120, 90), (121, 91), (121, 90), (120, 91)];
    for stored in [(300, 300), (301, 299)] {
        assert_unmoved(stored, &outs, &FORMATS);
    }
}

#[test]
fn nothing_moves_that_keeps_its_size() {
    for stored in [(96, 80), (97, 80), (96, 81), (97, 81)] {
        assert_unmoved(stored, &[(400, 400)], &FORMATS);
    }
}

#[test]
fn nothing_moves_down_the_cascade() {
    let place = (0.78, 0.76);
    for colored in [false, true] {
        let rgb = dot((601, 603), place, 90.0, colored);
        let original = jpeg_with((601, 603), ColorType::Rgb, &rgb, |encoder| {
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
        });
        for format in FORMATS {
            let sides = [401, 251, 151, 93, 61];
            let presets = sides.map(|side| Preset { fit: Fit::Fill, ..preset("x", side, format) });
            for variant in rendered_within(&original, &presets, &Limits::default()) {
                let (width, height) = (f64::from(variant.width), f64::from(variant.height));
                let (x, y) = centre(&Seen::of(&variant.bytes), colored);
                let (dx, dy) = (x - place.0 * width, y - place.1 * height);
                assert!(
                    dx.abs().max(dy.abs()) <= moved_max(format, colored),
                    "{width} as {format:?}, {colored}: off by {dx:.3}, {dy:.3}"
                );
            }
        }
    }
}

#[test]
fn a_cover_cuts_where_it_says() {
    // The dot in the middle of the part that is shown, in a photo of odd sides.
    for (stored, out) in [((401, 301), (91, 91)), ((401, 301), (90, 91)), ((301, 401), (91, 90))] {
        for colored in [false, true] {
            let rgb = dot(stored, (0.5, 0.5), 40.0, colored);
            let jpeg = jpeg_with(stored, ColorType::Rgb, &rgb, |encoder| {
                encoder.set_sampling_factor(SamplingFactor::F_2_2);
            });
            for original in [jpeg, Png::of_bytes((stored.0 as usize, stored.1 as usize), &rgb).build()] {
                for format in FORMATS {
                    let cover =
                        Preset { width: out.0, height: out.1, fit: Fit::Cover, ..preset("x", 1, format) };
                    let (x, y) = centre(&seen(&original, &cover), colored);
                    let (dx, dy) = (x - f64::from(out.0) / 2.0, y - f64::from(out.1) / 2.0);
                    assert!(
                        dx.abs().max(dy.abs()) <= moved_max(format, colored),
                        "{stored:?}, {out:?}, {format:?}: {dx:.3}, {dy:.3}"
                    );
                }
            }
        }
    }
}

#[test]
fn edges_ring_no_more_than_lanczos_does() {
    let rgb = painted(400, 300, |x, y| if (x / 57 + y / 43).is_multiple_of(2) { [60; 3] } else { [190; 3] });
    let png = Png::of_bytes((400, 300), &rgb).build();
    let jpeg = jpeg_with((400, 300), ColorType::Rgb, &rgb, |_| ());
    let stored = Plane::new(400, 300, rgb.chunks(3).map(|pixel| f64::from(pixel[0])).collect());
    let range = |plane: &Plane| {
        let least = plane.values.iter().copied().fold(f64::MAX, f64::min);
        (least, plane.values.iter().copied().fold(f64::MIN, f64::max))
    };
    for size in [(300, 225), (133, 100), (51, 39)] {
        let (least, most) = range(&stored.resized(size.0, size.1));
        assert!(least < 55.0 && most > 195.0, "Lanczos rings, or this test shows nothing: {least}, {most}");
        for (original, coded) in [(&png, 1.0), (&jpeg, 3.0)] {
            let (width, height) = (size.0 as u32, size.1 as u32);
            let shown = Preset { width, height, fit: Fit::Fill, ..preset("x", 1, PresetFormat::Png) };
            let [luma, ..] = planes(&seen(original, &shown));
            let found = range(&luma);
            assert!(
                found.0 >= least - coded && found.1 <= most + coded,
                "{size:?}: {found:?} for {least}, {most}"
            );
        }
    }
}
