//! Animations that keep their motion: every state of the canvas, its time, and how often it is shown.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]

mod common;

use std::borrow::Cow;
use std::io::Cursor;

use common::look::{Seen, near, rendered, rendered_within};
use common::make::{ALPHA, Anmf, animated_webp, extended, painted, riff, turned_exif, webp_of};
use common::{CORNERS, assert_alike, quadrants, shown_by_exif};
use darkroom_media::{
    Fit, Limits, MediaError, OutputFormat, Preset, PresetFormat, Scratch, decode, probe, render,
};
use gif::{DisposalMethod, Repeat};
use image_webp::{LoopCount, WebPDecoder};

const CLEAR: [u8; 4] = [0; 4];
const RED: [u8; 4] = [220, 20, 30, 255];
const GREEN: [u8; 4] = [20, 180, 40, 255];
const BLUE: [u8; 4] = [30, 40, 220, 255];

fn moving(size: (u32, u32), format: PresetFormat) -> Preset {
    Preset { format, quality: 95, animated: true, ..Preset::new("x", size.0, size.1, Fit::Inside) }
}

/// The chunks of a part of a WebP: code and data.
fn chunks(mut rest: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    while let Some((code, after)) = rest.split_first_chunk::<4>() {
        let (length, after) = after.split_first_chunk::<4>().unwrap();
        let length = u32::from_le_bytes(*length) as usize;
        found.push((*code, &after[..length]));
        rest = after.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    found
}

/// An animated WebP: how often it is shown (0: for ever), and its frames with their time in milliseconds.
///
/// Laid on each other here, as RFC 9649 has it: image-webp clears other pixels than those of the frame before.
fn frames(bytes: &[u8]) -> (u16, Vec<(Seen, u32)>) {
    let decoder = WebPDecoder::new(Cursor::new(bytes)).unwrap();
    assert!(decoder.is_animated());
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let loops = match decoder.loop_count() {
        LoopCount::Forever => 0,
        LoopCount::Times(times) => times.get(),
    };
    let mut canvas = vec![CLEAR; width * height];
    let mut seen = Vec::new();
    for (_, frame) in chunks(&bytes[12..]).into_iter().filter(|(code, _)| code == b"ANMF") {
        let three = |at: usize| {
            usize::from(frame[at]) + usize::from(frame[at + 1]) * 256 + usize::from(frame[at + 2]) * 65_536
        };
        let (left, top, size) = (2 * three(0), 2 * three(3), (three(6) + 1, three(9) + 1));
        let parts = chunks(&frame[16..]);
        let alpha = parts.iter().any(|(code, _)| code == b"ALPH");
        let mut file: Vec<Vec<u8>> = parts.iter().map(|(code, data)| riff(*code, data)).collect();
        if alpha {
            file.insert(0, extended(ALPHA, size));
        }
        let still = Seen::of(&webp_of(&file));
        let places = (0..size.0 * size.1).map(|at| (top + at / size.0) * width + left + at % size.0);
        for (place, pixel) in places.clone().zip(&still.pixels) {
            // Nothing here is half transparent.
            let blended = frame[15] & 2 == 0;
            if !blended || pixel[3] > 127 {
                canvas[place] = *pixel;
            }
        }
        let shown = canvas.clone();
        assert!(
            decoder.has_alpha() || seen.is_empty() || shown.iter().all(|pixel| pixel[3] == 255),
            "it says so"
        );
        seen.push((Seen { width, height, pixels: shown, profile: None }, three(12) as u32));
        if frame[15] & 1 == 1 {
            places.for_each(|place| canvas[place] = CLEAR);
        }
    }
    assert_eq!(seen.len(), decoder.num_frames() as usize);
    (loops, seen)
}

/// Index 0 is transparent where a frame says so; then red, green, blue.
const PALETTE: [u8; 12] = [0, 0, 0, 220, 20, 30, 20, 180, 40, 30, 40, 220];

/// A frame of one colour.
fn plain(
    color: u8,
    (left, top, width, height): (u16, u16, u16, u16),
    dispose: DisposalMethod,
) -> gif::Frame<'static> {
    gif::Frame {
        delay: 10,
        dispose,
        transparent: Some(0),
        left,
        top,
        width,
        height,
        buffer: Cow::Owned(vec![color; usize::from(width) * usize::from(height)]),
        ..gif::Frame::default()
    }
}

fn gif(repeat: Option<Repeat>, frames: &[gif::Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, 64, 48, &PALETTE).unwrap();
    if let Some(repeat) = repeat {
        encoder.set_repeat(repeat).unwrap();
    }
    for frame in frames {
        encoder.write_frame(frame).unwrap();
    }
    drop(encoder);
    bytes
}

const WHOLE: (u16, u16, u16, u16) = (0, 0, 64, 48);
const RIGHT: (u16, u16, u16, u16) = (32, 0, 32, 48);

/// What is to be seen in the left and in the right half of every frame.
fn assert_halves(bytes: &[u8], expected: &[[[u8; 4]; 2]], what: &str) {
    let (_, frames) = frames(bytes);
    assert_eq!(frames.len(), expected.len(), "{what}");
    for (index, ((frame, _), [left, right])) in frames.iter().zip(expected).enumerate() {
        for (x, expected) in [(frame.width / 4, left), (frame.width * 3 / 4, right)] {
            let found = frame.at(x, frame.height / 2);
            assert_eq!(found[3], expected[3], "{what}, frame {index} at {x}: {found:?}");
            let (found_rgb, rgb) = ([found[0], found[1], found[2]], [expected[0], expected[1], expected[2]]);
            assert!(expected[3] == 0 || near(found_rgb, rgb, 14), "{what}, frame {index} at {x}: {found:?}");
        }
    }
}

#[test]
fn gifs_are_disposed_of_as_they_say() {
    let cases = [
        (DisposalMethod::Keep, [RED, BLUE]),
        (DisposalMethod::Any, [RED, BLUE]),
        (DisposalMethod::Background, [RED, CLEAR]),
        (DisposalMethod::Previous, [RED, RED]),
    ];
    for (method, last) in cases {
        let original = gif(
            Some(Repeat::Infinite),
            &[
                plain(1, WHOLE, DisposalMethod::Keep),
                plain(3, RIGHT, method),
                plain(2, (0, 0, 2, 2), DisposalMethod::Keep),
            ],
        );
        for size in [(64, 48), (32, 24)] {
            let file = rendered(&original, &moving(size, PresetFormat::WebP)).bytes;
            assert_halves(&file, &[[RED, RED], [RED, BLUE], last], &format!("{method:?}, {size:?}"));
        }
    }
}

#[test]
fn a_gif_that_begins_with_a_part_of_its_canvas_is_transparent_beside_it() {
    let original = gif(
        Some(Repeat::Infinite),
        &[
            plain(2, RIGHT, DisposalMethod::Keep),
            plain(0, WHOLE, DisposalMethod::Keep),
            plain(1, (0, 0, 32, 48), DisposalMethod::Keep),
        ],
    );
    let file = rendered(&original, &moving((32, 24), PresetFormat::WebP)).bytes;
    // A frame in which everything is transparent changes nothing: it may be one with that before it.
    let (_, found) = frames(&file);
    assert_eq!(found.iter().map(|(_, shown_ms)| *shown_ms).sum::<u32>(), 300);
    let (first, last) = (&found[0].0, &found[found.len() - 1].0);
    assert_eq!((first.at(8, 12), last.at(8, 12)[3]), (CLEAR, 255));
    assert!(near(first.rgb(24, 12), [20, 180, 40], 14) && near(last.rgb(8, 12), [220, 20, 30], 14));
}

#[test]
fn frames_are_shown_as_long_and_as_often_as_before() {
    for (repeat, loops) in [
        (None, 1),
        (Some(Repeat::Finite(2)), 3),
        (Some(Repeat::Infinite), 0),
        (Some(Repeat::Finite(u16::MAX)), u16::MAX),
    ] {
        // Hundredths of a second; what is shorter than browsers allow is shown as they do.
        let shown = [(7, 70), (250, 2500), (0, 100), (1, 100), (2, 20)];
        let stills: Vec<_> = shown
            .iter()
            .enumerate()
            .map(|(index, (delay, _))| gif::Frame {
                delay: *delay,
                ..plain(1 + index as u8 % 3, WHOLE, DisposalMethod::Keep)
            })
            .collect();
        let file = rendered(&gif(repeat, &stills), &moving((64, 64), PresetFormat::WebP)).bytes;
        let (found, frames) = frames(&file);
        assert_eq!(found, loops, "{repeat:?}");
        let times: Vec<u32> = frames.iter().map(|(_, shown_ms)| *shown_ms).collect();
        assert_eq!(times, shown.map(|(_, shown_ms)| shown_ms));
    }
}

fn anmf(color: [u8; 4], place: (usize, usize), size: (usize, usize)) -> Anmf {
    let rgba = color.repeat(size.0 * size.1);
    Anmf { place, size, shown_ms: 120, blended: true, cleared: false, opaque_lossy: false, rgba }
}

#[test]
fn webps_keep_offsets_blending_disposal_times_and_loops() {
    let half = [30, 40, 220, 0];
    let stills = [
        anmf(RED, (0, 0), (64, 48)),
        Anmf { shown_ms: 40, ..anmf(BLUE, (32, 0), (32, 48)) },
        // Nothing, laid on what is there; then put in its place.
        anmf(half, (0, 0), (64, 48)),
        Anmf { blended: false, ..anmf(half, (32, 0), (32, 48)) },
        Anmf { cleared: true, ..anmf(GREEN, (0, 0), (32, 48)) },
        anmf(BLUE, (32, 0), (32, 48)),
    ];
    let original = animated_webp((64, 48), 5, &stills, None);
    for size in [(64, 48), (31, 64)] {
        let file = rendered(&original, &moving(size, PresetFormat::WebP)).bytes;
        let (loops, found) = frames(&file);
        assert_eq!(loops, 5);
        assert_eq!(found.iter().map(|(_, shown_ms)| *shown_ms).sum::<u32>(), 640);
        // The third is as the second: an encoder may make one of them.
        let merged = found.len() == 5;
        let mut expected =
            vec![[RED, RED], [RED, BLUE], [RED, BLUE], [RED, CLEAR], [GREEN, CLEAR], [CLEAR, BLUE]];
        if merged {
            expected.remove(2);
        }
        assert_halves(&file, &expected, &format!("{size:?}"));
        assert_eq!(found[0].1, 120);
        assert_eq!(found[1].1, if merged { 160 } else { 40 });
    }
}

#[test]
fn only_the_place_of_a_cleared_frame_is_cleared() {
    let red = anmf(RED, (0, 0), (64, 48));
    let cleared = Anmf { cleared: true, ..anmf(BLUE, (32, 0), (32, 48)) };
    // What follows is laid on all of the canvas, or is opaque and on a part of it.
    let dot = {
        let mut rgba = CLEAR.repeat(64 * 48);
        rgba[..4].copy_from_slice(&GREEN);
        Anmf { rgba, ..anmf(CLEAR, (0, 0), (64, 48)) }
    };
    let opaque = Anmf { opaque_lossy: true, ..anmf(GREEN, (32, 24), (32, 24)) };
    for (last, name) in [(dot, "all of the canvas"), (opaque, "a part of it")] {
        let original = animated_webp((64, 48), 0, &[red.clone(), cleared.clone(), last], None);
        let file = rendered(&original, &moving((64, 48), PresetFormat::WebP)).bytes;
        let (_, found) = frames(&file);
        let third = &found[2].0;
        assert!(near(third.rgb(16, 12), [220, 20, 30], 14), "{name}: {:?}", third.at(16, 12));
        assert_eq!((third.at(16, 12)[3], third.at(48, 8)[3]), (255, 0), "{name}");
        let below = third.at(48, 40);
        assert_eq!(below[3] == 255, name == "a part of it", "{below:?}");
    }
}

#[test]
fn a_turned_animation_stands_upright() {
    let rgba = |rgb: Vec<u8>| {
        rgb.chunks(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect::<Vec<u8>>()
    };
    let first = rgba(quadrants(64, 48));
    let second = rgba(painted(64, 48, |x, _| if x < 32 { CORNERS[0] } else { CORNERS[3] }));
    let stills = [first, second].map(|rgba| Anmf { rgba, ..anmf(RED, (0, 0), (64, 48)) });
    for (orientation, size) in [(1, (64, 48)), (3, (64, 48)), (6, (48, 64)), (8, (48, 64))] {
        let original = animated_webp((64, 48), 0, &stills, Some(&turned_exif(orientation)));
        let variant = rendered(&original, &moving((64, 64), PresetFormat::WebP));
        assert_eq!((variant.width, variant.height), size);
        let (_, found) = frames(&variant.bytes);
        assert_eq!((found[0].0.width as u32, found[0].0.height as u32), size);
        assert_alike(found[0].0.corners(), shown_by_exif(orientation), &format!("orientation {orientation}"));
    }
}

#[test]
fn a_drawn_animation_is_kept_in_motion_by_auto() {
    let stills = [plain(1, WHOLE, DisposalMethod::Keep), plain(3, RIGHT, DisposalMethod::Keep)];
    let original = gif(Some(Repeat::Infinite), &stills);
    let variants = rendered_within(&original, &[moving((32, 24), PresetFormat::Auto)], &Limits::default());
    let formats: Vec<_> = variants.iter().map(|variant| variant.format).collect();
    assert_eq!(
        formats,
        [OutputFormat::Png, OutputFormat::WebP],
        "a still PNG for those who do not take WebP"
    );
    assert_halves(&variants[1].bytes, &[[RED, RED], [RED, BLUE]], "auto");
}

#[test]
fn where_motion_cannot_be_kept_the_first_frame_stands() {
    let stills = [plain(1, WHOLE, DisposalMethod::Keep), plain(3, WHOLE, DisposalMethod::Keep)];
    let gif = gif(Some(Repeat::Infinite), &stills);
    let webp = animated_webp((64, 48), 0, &[anmf(RED, (0, 0), (64, 48)), anmf(BLUE, (0, 0), (64, 48))], None);
    let limits = Limits::default();
    for original in [gif, webp] {
        let animated = |limits: &Limits, preset: Preset| {
            let variants = rendered_within(&original, &[preset], limits);
            let variant = variants.iter().find(|variant| variant.format == OutputFormat::WebP);
            let variant = variant.unwrap_or(&variants[0]);
            assert!(near(Seen::of(&variant.bytes).rgb(16, 12), [220, 20, 30], 14));
            memchr::memmem::find(&variant.bytes, b"ANMF").is_some()
        };
        let webp = moving((32, 24), PresetFormat::WebP);
        assert!(animated(&limits, webp.clone()));
        let pixels = 2 * 64 * 48;
        assert!(animated(
            &Limits { frames_max: 2, animation_pixels_max: pixels, ..limits.clone() },
            webp.clone()
        ));
        assert!(!animated(&Limits { frames_max: 1, ..limits.clone() }, webp.clone()));
        assert!(!animated(&Limits { animation_pixels_max: pixels - 1, ..limits.clone() }, webp.clone()));
        assert!(!animated(&limits, Preset { animated: false, ..webp.clone() }));
        for format in [PresetFormat::Jpeg, PresetFormat::Png] {
            assert!(!animated(&limits, Preset { animated: false, format, ..webp.clone() }));
        }
    }
}

#[test]
fn the_preset_that_could_not_be_made_is_named() {
    let original = gif(None, &[plain(1, WHOLE, DisposalMethod::Keep), plain(3, RIGHT, DisposalMethod::Keep)]);
    let limits = Limits::default();
    let found = probe(&original, &limits).unwrap();
    let photo = decode(&original, &found, &limits, &mut Scratch::default()).unwrap();
    let photo = photo.with_motion(original.into(), &found);
    let small = Preset { name: "small".to_owned(), ..moving((32, 24), PresetFormat::WebP) };
    // Wider than a WebP can be; `Preset::validate` would refuse it.
    let wide =
        Preset { name: "wide".to_owned(), fit: Fit::Contain, ..moving((20_000, 10), PresetFormat::WebP) };
    let error = render(photo, &[small, wide], &mut Scratch::default(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(&error, MediaError::Encode { preset, .. } if preset == "wide"), "{error}");
}

#[test]
fn fits_hold_for_motion() {
    let stills = [plain(1, WHOLE, DisposalMethod::Keep), plain(3, RIGHT, DisposalMethod::Keep)];
    let original = gif(None, &stills);
    for (fit, size) in [
        (Fit::Inside, (40, 30)),
        (Fit::Cover, (40, 40)),
        (Fit::Contain, (40, 40)),
        (Fit::Fill, (40, 40)),
        (Fit::Outside, (53, 40)),
    ] {
        let variant = rendered(&original, &Preset { fit, ..moving((40, 40), PresetFormat::WebP) });
        assert_eq!((variant.width, variant.height), size, "{fit:?}");
        assert_halves(&variant.bytes, &[[RED, RED], [RED, BLUE]], &format!("{fit:?}"));
        let (_, found) = frames(&variant.bytes);
        let border = near(found[0].0.rgb(20, 1), [255; 3], 14);
        assert_eq!(border, fit == Fit::Contain, "{fit:?}");
    }
}

/// Frames that differ in every pixel, as no photo's do.
fn noise(frames: u16) -> Vec<u8> {
    let palette: Vec<u8> = (0..=255_u8).flat_map(|index| [index, index.wrapping_mul(67), !index]).collect();
    let (mut bytes, mut state) = (Vec::new(), 1_u32);
    let mut encoder = gif::Encoder::new(&mut bytes, 64, 48, &palette).unwrap();
    for _ in 0..frames {
        let pixels = (0..64 * 48).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let frame = gif::Frame { width: 64, height: 48, delay: 10, ..gif::Frame::default() };
        encoder.write_frame(&gif::Frame { buffer: pixels.collect(), ..frame }).unwrap();
    }
    drop(encoder);
    bytes
}

#[test]
fn the_price_of_motion_covers_every_copy_of_its_frames() {
    let preset =
        |name: &str| Preset { name: name.to_owned(), quality: 100, ..moving((64, 48), PresetFormat::WebP) };
    let presets = [preset("a"), preset("b")];
    let limits = Limits::default();
    let measured = |frames| {
        let original = noise(frames);
        let found = probe(&original, &limits).unwrap();
        let variants = rendered_within(&original, &presets, &limits);
        assert_eq!(variants.len(), 2);
        // The original is held beside, and has its own price.
        (found.cost(&presets, &limits).peak_bytes - found.bytes, variants[0].bytes.len() as u64)
    };
    let ((price, file), (larger_price, larger_file)) = (measured(4), measured(12));
    assert!(larger_file > file + 8 * 1000, "or this shows nothing: {file} and {larger_file} bytes");
    // libwebp's frames and its file, and one for each preset.
    let (dearer, longer) = (larger_price - price, larger_file - file);
    assert!(dearer >= 4 * longer, "{dearer} bytes dearer for {longer} bytes more");
}

#[test]
fn motion_that_would_hold_more_than_it_may_is_not_kept_and_not_paid_for() {
    let original = noise(5);
    let presets = [moving((64, 48), PresetFormat::WebP)];
    let within = |motion_bytes_max| {
        let limits = Limits { motion_bytes_max, ..Limits::default() };
        let found = probe(&original, &limits).unwrap();
        (found.moves(&presets, &limits), found.cost(&presets, &limits))
    };
    let (moves, whole) = within(u64::MAX);
    assert!(moves);
    assert_eq!(within(whole.peak_bytes), (true, whole));
    let (moves, first) = within(whole.peak_bytes - 1);
    assert!(!moves);
    assert!(first.peak_bytes < whole.peak_bytes && first.milliseconds <= whole.milliseconds, "{first:?}");
    let still = [Preset { animated: false, ..presets[0].clone() }];
    let found = probe(&original, &Limits::default()).unwrap();
    assert_eq!(first, found.cost(&still, &Limits::default()));
    assert!(!found.moves(&still, &Limits::default()));
}
