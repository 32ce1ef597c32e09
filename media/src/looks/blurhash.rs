//! BlurHash (Dag Ågren for Wolt, 2018): a preview of printable characters, after `Algorithm.md` of
//! <https://github.com/woltapp/blurhash>.
//!
//! One thing is done otherwise. The reference samples its cosines at the left edge of each pixel, which on the
//! thousands of pixels of a photo is as good as anywhere; on a reduction it would add a slope to every picture, six
//! percent of its brightness on 32 pixels. Here they are sampled in the middle of the pixels, so that a reduction has
//! the hash that the reference gives to the photo.

use std::sync::LazyLock;

use super::small::{Premultiplied, Small};

/// Components along the longer and the shorter side. Four and three are what the authors suggest.
const COMPONENTS: (usize, usize) = (4, 3);
/// Longest side of the picture that is hashed: eight samples for each half of the fastest wave.
const SIDE: usize = 32;

const DIGITS: &[u8; 83] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/// The BlurHash of a picture of `width` × `height` pixels, laid on white.
pub(super) fn blurhash(small: &Small, width: u32, height: u32) -> String {
    let (longer, shorter) = COMPONENTS;
    let (across, down) = if width >= height { (longer, shorter) } else { (shorter, longer) };
    encode(&small.within(SIDE, linear_on_white), across, down, 0.5)
}

/// The light that a pixel sends when it lies on white.
fn linear_on_white([red, green, blue, alpha]: Premultiplied) -> [f32; 4] {
    // IEC 61966-2-1, for each value of a byte.
    static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|value| {
            let value = value as f32 / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    });
    let linear = |value: f32| LINEAR[usize::from(((value + 1.0 - alpha) * 255.0).round() as u8)];
    [linear(red), linear(green), linear(blue), 0.0]
}

/// `linear` holds red, green and blue in linear light.
fn encode(linear: &Small, across: usize, down: usize, phase: f32) -> String {
    let terms = linear.cosines(across, down, phase);
    let (mean, waves) = terms.split_first().map_or(([0.0; 4], [].as_slice()), |(mean, waves)| (*mean, waves));
    // A wave's amplitude is twice its mean product with itself.
    let waves: Vec<[f32; 3]> = waves.iter().map(|term| [0, 1, 2].map(|lane| 2.0 * term[lane])).collect();
    let largest = waves.as_flattened().iter().fold(0.0_f32, |most, wave| most.max(wave.abs()));
    let step = (largest * 166.0 - 0.5).floor().clamp(0.0, 82.0);
    let largest = (step + 1.0) / 166.0;

    let mut hash = String::with_capacity(4 + 2 * across * down);
    push(&mut hash, (across - 1 + (down - 1) * 9) as u32, 1);
    push(&mut hash, step as u32, 1);
    push(&mut hash, mean[..3].iter().fold(0, |rgb, value| rgb << 8 | u32::from(srgb(*value))), 4);
    for wave in waves {
        let value = wave.iter().fold(0, |value, wave| value * 19 + nineteenth(wave / largest));
        push(&mut hash, value, 2);
    }
    hash
}

/// Linear light from 0 to 1 as a byte of sRGB.
fn srgb(value: f32) -> u8 {
    let value = value.clamp(0.0, 1.0);
    let encoded = if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
    (encoded * 255.0).round() as u8
}

/// -1 to 1 as 0 to 18, small values in smaller steps.
fn nineteenth(wave: f32) -> u32 {
    (wave.abs().sqrt().copysign(wave) * 9.0 + 9.5).floor().clamp(0.0, 18.0) as u32
}

/// Appends a number in base 83, most significant digit first.
fn push(hash: &mut String, value: u32, digits: u32) {
    for place in (0..digits).rev() {
        hash.push(char::from(DIGITS[(value / 83_u32.pow(place) % 83) as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pattern;
    use super::*;

    /// The pixels as they are, in linear light, without a reduction.
    fn whole(width: usize, height: usize, rgba: &[u8]) -> Small {
        let (pixels, _) = rgba.as_chunks::<4>();
        let pixels = pixels.iter().map(|pixel| linear_on_white(pixel.map(|value| f32::from(value) / 255.0)));
        Small { width, height, pixels: pixels.collect() }
    }

    #[test]
    fn vectors_of_the_reference() {
        // C/encode.c at 8deeac3, whose phase is 0.
        let vectors = [
            (32, 24, 4, 3, "LxG[?U2mwxX0l~WEjte=gJfdfQfb"),
            (24, 32, 3, 4, "TxG+X;2twxl[WEjngJfjfQneWqjl"),
            (32, 32, 4, 3, "LxG[]b2twxX9l~W9jte+gJfjfQfj"),
            (320, 240, 4, 3, "L$HLld2Y$5SghpazfQf7gcfQfQfQ"),
            (100, 300, 3, 4, "T$HLlc2Y$5hpazfQgcfQfQi~a|fQ"),
            (8, 8, 1, 1, "00F$Wa"),
        ];
        for (width, height, across, down, expected) in vectors {
            let picture = whole(width, height, &pattern(width, height, false));
            assert_eq!(encode(&picture, across, down, 0.0), expected, "{width} × {height}");
        }
    }

    #[test]
    fn published_vectors() {
        // From the tests of the crate fast-blurhash 1.0.1.
        let white = [255; 4 * 4 * 4];
        assert_eq!(encode(&whole(4, 4, &white), 4, 4, 0.0), "U~TSUA~qfQ~q~q%MfQ%MfQfQfQfQ~q%MfQ%M");
        let black = [[0, 0, 0, 255]; 16];
        let black = whole(4, 4, black.as_flattened());
        assert_eq!(encode(&black, 4, 4, 0.0), "U00000fQfQfQfQfQfQfQfQfQfQfQfQfQfQfQ");
    }

    fn digits(hash: &str) -> Vec<u32> {
        hash.bytes().map(|byte| DIGITS.iter().position(|digit| *digit == byte).unwrap() as u32).collect()
    }

    #[test]
    fn a_reduction_has_the_hash_of_the_whole() {
        for (width, height) in [(320_usize, 240_usize), (200, 300), (321, 107)] {
            let rgba: Vec<u8> = (0..width * height)
                .flat_map(|index| {
                    let (x, y) =
                        ((index % width) as f32 / width as f32, (index / width) as f32 / height as f32);
                    [x, y * (1.0 - x), (6.0 * x * y).sin().abs(), 1.0].map(|value| (value * 255.0) as u8)
                })
                .collect();
            let small = Small::of(width as u32, height as u32, &rgba);
            let found = digits(&blurhash(&small, width as u32, height as u32));
            let (across, down) = if width >= height { (4, 3) } else { (3, 4) };
            let expected = digits(&encode(&whole(width, height, &rgba), across, down, 0.5));
            assert_eq!(found[0], expected[0]);
            assert!(found[1].abs_diff(expected[1]) <= 1);
            let pair = |digits: &[u32]| digits[0] * 83 + digits[1];
            for (found, expected) in found[6..].chunks(2).zip(expected[6..].chunks(2)) {
                let (found, expected) = (pair(found), pair(expected));
                for place in [1, 19, 361] {
                    let steps = (found / place % 19).abs_diff(expected / place % 19);
                    assert!(steps <= 1, "{width} × {height}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn transparent_is_white() {
        let small = Small::of(20, 20, &[0; 20 * 20 * 4]);
        let opaque = Small::of(20, 20, &[255; 20 * 20 * 4]);
        assert_eq!(blurhash(&small, 20, 20), blurhash(&opaque, 20, 20));
    }
}
