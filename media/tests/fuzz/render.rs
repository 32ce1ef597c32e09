//! From an original to variants, through presets that the input chooses.

use bytes::Bytes;
use darkroom_media::{
    Background, Fit, Focus, Gamut, Limits, MediaError, Preset, PresetFormat, Scratch, Strip, Variant, decode,
    probe, render,
};

use super::targets::{self, Reached};

/// Bytes of a preset's settings.
const PRESET_BYTES: usize = 5;

/// Of two presets: one may be made from the other.
pub(super) const SETTINGS_BYTES: usize = 2 * PRESET_BYTES;

/// Sides of presets, in pixels.
const SIDE_MAX: u32 = 64;

/// So few pixels that an input is rendered in a millisecond.
pub(super) fn limits() -> Limits {
    Limits { pixels_max: 1 << 15, animation_pixels_max: 1 << 17, ..targets::limits() }
}

/// Whatever was decoded has a variant in every preset, of the size that was said, which is itself a photo without a
/// trace of its place.
pub(super) fn rendered(settings: &[u8], file: &[u8]) -> Reached {
    let limits = limits();
    let Ok(found) = probe(file, &limits) else { return Reached::Nothing };
    let mut scratch = Scratch::default();
    let Ok(photo) = decode(file, &found, &limits, &mut scratch) else { return Reached::PastHeader };
    let photo = photo.with_motion(Bytes::copy_from_slice(file), &found);
    let (first, second) = settings.split_at(PRESET_BYTES);
    let presets = [preset("first", first), preset("second", second)];
    let mut variants = Vec::new();
    match render(photo, &presets, &mut scratch, &mut |variant, _| variants.push(variant)) {
        Ok(looks) => assert!(looks.blurhash.len() == 28 && looks.perceptual_hash.len() == 16, "{looks:?}"),
        Err(error @ (MediaError::Corrupt { .. } | MediaError::TooSlow { .. })) => {
            let moves = presets.iter().any(|preset| preset.animated) && found.is_animated();
            assert!(
                moves || matches!(error, MediaError::TooSlow { .. }),
                "{error}: {presets:?} of {found:?}"
            );
            return Reached::PastHeader;
        }
        Err(error) => panic!("{error}: {presets:?} of {found:?}"),
    }
    let (width, height) = found.shown_size();
    for preset in &presets {
        preset.validate().unwrap();
        let mut of_it = variants.iter().filter(|variant| variant.preset == preset.name).peekable();
        assert!(of_it.peek().is_some(), "no variant: {preset:?} of {found:?}");
        of_it.for_each(|variant| check(variant, preset, preset.output_size(width, height)));
    }
    Reached::End
}

fn check(variant: &Variant, preset: &Preset, size: (u32, u32)) {
    assert_eq!((variant.width, variant.height), size, "{preset:?}");
    let limits = Limits::default();
    let found = probe(&variant.bytes, &limits).unwrap_or_else(|error| panic!("{error}: {preset:?}"));
    assert_eq!((found.width, found.height), size, "{preset:?}");
    assert_eq!(found.format.mime(), variant.format.mime(), "{preset:?}");
    assert!(preset.strip != Strip::All || preset.copyright || found.capture.is_none(), "{found:?}");
    let decoded = decode(&variant.bytes, &found, &limits, &mut Scratch::default());
    assert!(decoded.is_ok_and(|photo| photo.damage().is_none()), "{preset:?} of {found:?}");
}

/// Every preset is some five bytes, and every five bytes are a preset.
fn preset(name: &str, settings: &[u8]) -> Preset {
    let [choices, width, height, flags, value] = *settings.as_array::<PRESET_BYTES>().unwrap();
    let side = |value: u8| 1 + u32::from(value) % SIDE_MAX;
    let one_of = |divisor: u8, count: u8| usize::from(choices / divisor % count);
    let fits = [Fit::Inside, Fit::Cover, Fit::Contain, Fit::Fill, Fit::Outside];
    let formats = [PresetFormat::Auto, PresetFormat::Jpeg, PresetFormat::WebP, PresetFormat::Png];
    let part = |value: u8| (u32::from(value) * 1000 / 255) as u16;
    let foci =
        [Focus::Center, Focus::Entropy, Focus::Attention, Focus::Point(part(value), 1000 - part(value))];
    let format = formats[one_of(5, 4)];
    let flag = |bit: u8| flags >> bit & 1 == 1;
    Preset {
        enlarge: flag(0),
        format,
        quality: 1 + value % 100,
        effort: value % 3,
        background: Background([value, width, height]),
        sharpen: if flag(1) { value % 201 } else { 0 },
        focus: foci[one_of(20, 4)],
        animated: flag(2) && matches!(format, PresetFormat::Auto | PresetFormat::WebP),
        gamut: if flag(3) { Gamut::P3 } else { Gamut::Srgb },
        linear: flag(4),
        strip: [Strip::All, Strip::Private, Strip::None][usize::from(flags >> 5 & 3) % 3],
        copyright: flag(7),
        ..Preset::new(name, side(width), side(height), fits[one_of(1, 5)])
    }
}
