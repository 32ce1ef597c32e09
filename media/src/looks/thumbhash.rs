//! ThumbHash (Evan Wallace, 2023): a preview of up to 25 bytes that keeps the aspect, the mean colour and alpha.
//!
//! The format is that of the reference implementation, <https://github.com/evanw/thumbhash>. Its own crate takes about
//! 3 ms for a picture, since it evaluates every cosine for every term; here each axis is taken for itself, in some
//! 30 µs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::small::{Premultiplied, Small};

/// The waves along the longer side; one with alpha has fewer, to make room for those of alpha.
const LUMA_WAVES: usize = 7;
const LUMA_WAVES_WITH_ALPHA: usize = 5;
const COLOUR_WAVES: usize = 3;
const ALPHA_WAVES: usize = 5;

/// The ThumbHash of a picture of `width` × `height` pixels, in base64.
pub(super) fn thumbhash(small: &Small, width: u32, height: u32) -> String {
    STANDARD.encode(bytes(small, width as usize, height as usize))
}

fn bytes(small: &Small, width: usize, height: usize) -> Vec<u8> {
    // Sums of alpha are a little off 1; what a byte of alpha can tell is far more.
    let has_alpha = small.pixels.iter().any(|pixel| pixel[3] < 1.0 - 1e-4);
    let longest = if has_alpha { LUMA_WAVES_WITH_ALPHA } else { LUMA_WAVES };
    let side = width.max(height);
    let waves = |length: usize| ((longest * length + side / 2) / side).max(1);
    let (across, down) = (waves(width), waves(height));

    let terms = opponents(small).cosines(LUMA_WAVES, LUMA_WAVES, 0.5);
    let luma = Channel::new(&terms, 0, across.max(3), down.max(3));
    let yellow_blue = Channel::new(&terms, 1, COLOUR_WAVES, COLOUR_WAVES);
    let red_green = Channel::new(&terms, 2, COLOUR_WAVES, COLOUR_WAVES);
    let alpha = has_alpha.then(|| Channel::new(&terms, 3, ALPHA_WAVES, ALPHA_WAVES));

    let landscape = width > height;
    let shorter = if landscape { down } else { across };
    let header = quantised(luma.mean, 63)
        | quantised(0.5 + 0.5 * yellow_blue.mean, 63) << 6
        | quantised(0.5 + 0.5 * red_green.mean, 63) << 12
        | quantised(luma.scale, 31) << 18
        | u64::from(has_alpha) << 23
        | (shorter as u64) << 24
        | quantised(yellow_blue.scale, 63) << 27
        | quantised(red_green.scale, 63) << 33
        | u64::from(landscape) << 39;
    let mut bytes = header.to_le_bytes()[..5].to_vec();
    if let Some(alpha) = &alpha {
        bytes.push((quantised(alpha.mean, 15) | quantised(alpha.scale, 15) << 4) as u8);
    }
    let channels = [Some(luma), Some(yellow_blue), Some(red_green), alpha];
    let nibbles: Vec<u8> = channels.iter().flatten().flat_map(Channel::nibbles).collect();
    bytes.extend(nibbles.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)));
    bytes
}

/// Luma, yellow against blue, red against green, and alpha; laid on the mean colour of what is visible, so that what
/// is transparent has no edges.
fn opponents(small: &Small) -> Small {
    let mut mean = [0.0_f64; 4];
    for pixel in &small.pixels {
        for (sum, value) in mean.iter_mut().zip(pixel) {
            *sum += f64::from(*value);
        }
    }
    let visible = if mean[3] > 0.0 { mean[3] } else { 1.0 };
    let mean = mean.map(|sum| (sum / visible) as f32);
    let opponent = |&[red, green, blue, alpha]: &Premultiplied| {
        let on_mean = |value: f32, index: usize| value + mean[index] * (1.0 - alpha);
        let (red, green, blue) = (on_mean(red, 0), on_mean(green, 1), on_mean(blue, 2));
        [(red + green + blue) / 3.0, red.midpoint(green) - blue, red - green, alpha]
    };
    Small { width: small.width, height: small.height, pixels: small.pixels.iter().map(opponent).collect() }
}

/// One of the four values of a picture as the format holds it.
struct Channel {
    mean: f32,
    /// The largest of `waves`.
    scale: f32,
    /// How much of each wave there is, from -`scale` to `scale`.
    waves: Vec<f32>,
}

impl Channel {
    /// Takes the waves below the diagonal of a rectangle of `across` × `down`.
    fn new(terms: &[[f32; 4]], lane: usize, across: usize, down: usize) -> Self {
        let mut waves = Vec::with_capacity(across * down);
        for y in 0..down {
            let below = (0..across).take_while(|x| x * down < across * (down - y));
            waves.extend(below.map(|x| terms[y * LUMA_WAVES + x][lane]));
        }
        let mean = waves.remove(0);
        let scale = waves.iter().fold(0.0_f32, |most, wave| most.max(wave.abs()));
        Self { mean, scale, waves }
    }

    /// The waves in four bits each. Where all are zero, what they are relative to it says nothing: the middle.
    fn nibbles(&self) -> impl Iterator<Item = u8> {
        let relative = |wave: f32| if self.scale > 0.0 { 0.5 + 0.5 / self.scale * wave } else { 0.5 };
        self.waves.iter().map(move |wave| quantised(relative(*wave), 15) as u8)
    }
}

/// 0 to 1 as 0 to `most`; what is beyond is held.
fn quantised(value: f32, most: u8) -> u64 {
    (value.clamp(0.0, 1.0) * f32::from(most)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::super::tests::pattern;
    use super::*;

    fn of(width: u32, height: u32, rgba: &[u8]) -> String {
        thumbhash(&Small::of(width, height, rgba), width, height)
    }

    #[test]
    fn vectors_of_the_reference() {
        // `rgbaToThumbHash` of js/thumbhash.js at a652ce6, of pictures small enough not to be reduced.
        let vectors = [
            (100, 75, false, "3wcKNZpwd3dwd3d3d3d3d4CACPiI"),
            (60, 100, false, "3/cJNBpwB3d3d3d3d3eAgAj3eA=="),
            (64, 64, false, "3wcKNxqAh4dweHiIiHh3h4h3CAiIgI8H"),
            (60, 100, true, "o+iFGwwnkLGod4iQsQrpWHOHcHh3d3c="),
            (100, 33, true, "oziGGo4nsoewh4mxsBj6dnB3dXeHd3c="),
        ];
        for (width, height, translucent, expected) in vectors {
            let rgba = pattern(width, height, translucent);
            assert_alike(&of(width as u32, height as u32, &rgba), expected);
        }
    }

    /// A term on the border between two steps may fall on either side of it: sums are rounded in another order.
    fn assert_alike(found: &str, expected: &str) {
        let (found, expected) = (STANDARD.decode(found).unwrap(), STANDARD.decode(expected).unwrap());
        assert_eq!(found[..5], expected[..5], "the header");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected).skip(5) {
            let steps = (found & 15).abs_diff(expected & 15).max((found >> 4).abs_diff(expected >> 4));
            assert!(steps <= 1, "{found:02x} for {expected:02x}");
        }
    }

    #[test]
    fn a_reduction_has_the_hash_of_the_whole() {
        let large: Vec<u8> = (0..300 * 300)
            .flat_map(|index| {
                let (x, y) = (index % 300, index / 300);
                [x * 255 / 299, y * 255 / 299, x * y * 255 / (299 * 299), 255].map(|value| value as u8)
            })
            .collect();
        let small: Vec<u8> = (0..100 * 100)
            .flat_map(|index| {
                let at = (index / 100 * 3 + 1) * 300 + index % 100 * 3 + 1;
                large[at * 4..][..4].to_vec()
            })
            .collect();
        assert_alike(&of(300, 300, &large), &of(100, 100, &small));
    }

    #[test]
    fn nothing_visible_is_still_a_hash() {
        let bytes = STANDARD.decode(of(5, 9, &[0; 5 * 9 * 4])).unwrap();
        assert_eq!(bytes[2] >> 7, 1, "it has alpha");
        assert_eq!(bytes[5], 0, "of zero everywhere");
    }
}
