//! What a photo looks like, in a few bytes: computed beside the pixels from the smallest frame that shows all of it, which is
//! at most 512 pixels long.
//!
//! Four answers to four questions. What to show before the picture is there: [ThumbHash] and [BlurHash], of which a
//! client takes the one that it can decode. What to paint behind it: the dominant colour. And whether two photos are
//! the same one in two files: the perceptual hash.
//!
//! All work on a reduction of the picture in which every pixel is the mean of the area that it covers, and the three
//! hashes on its lowest cosines ([`small`]).
//!
//! [ThumbHash]: https://evanw.github.io/thumbhash/
//! [BlurHash]: https://blurha.sh/

mod blurhash;
mod dominant;
mod perceptual;
mod small;
mod thumbhash;

use serde::{Deserialize, Serialize};

pub use perceptual::perceptual_distance;
use small::Small;

/// What a photo looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// The bytes of its ThumbHash (at most 25) in standard base64 with padding (RFC 4648, section 4). Keeps alpha and
    /// roughly the aspect.
    pub thumbhash: String,
    /// Its BlurHash: 4 × 3 components, or 3 × 4 where it is higher than wide; 28 characters. What is transparent lies
    /// on white.
    pub blurhash: String,
    /// `#rrggbb`: the mean of the most frequent of 4096 classes of colour, whose red, green and blue share their upper
    /// four bits. Pixels count by their alpha; of two classes that are as frequent, the one with less red is taken, then
    /// that with less green, then that with less blue. `#ffffff` where all is transparent.
    pub dominant_color: String,
    /// 64 bits as 16 lowercase hexadecimal digits, to be compared with [`perceptual_distance`]. Lower cosines of its luma
    /// that stand out, so it survives scaling, another encoding, and changes of brightness, contrast and tint;
    /// cropping and turning it does not. What is transparent lies on white.
    pub perceptual_hash: String,
}

/// The looks of a picture of `width` × `height` pixels (each at least 1) with straight alpha: `rgba` holds 4 bytes for
/// each pixel. Time is linear in the pixels; memory beside them is 16 bytes per column and less than half a megabyte.
pub(crate) fn looks(width: u32, height: u32, rgba: &[u8]) -> Looks {
    let small = Small::of(width, height, rgba);
    Looks {
        thumbhash: thumbhash::thumbhash(&small, width, height),
        blurhash: blurhash::blurhash(&small, width, height),
        dominant_color: dominant::dominant_color(rgba),
        perceptual_hash: perceptual::perceptual_hash(&small),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The picture of which the reference implementations were asked for vectors: red grows to the right, green
    /// downwards, blue is a chessboard of 8 pixels, and alpha grows towards the lower right corner, or is opaque.
    pub(crate) fn pattern(width: usize, height: usize, translucent: bool) -> Vec<u8> {
        let mut rgba = Vec::with_capacity(width * height * 4);
        for y in 0..height {
            for x in 0..width {
                let blue = 255 * ((x / 8 + y / 8) % 2);
                let alpha = if translucent { 255 * (x + y) / (width + height) } else { 255 };
                rgba.extend([255 * x / width, 255 * y / height, blue, alpha].map(|value| value as u8));
            }
        }
        rgba
    }

    #[test]
    fn json_goes_both_ways() {
        let found = looks(64, 48, &pattern(64, 48, false));
        let json = serde_json::to_value(&found).unwrap();
        let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["blurhash", "dominant_color", "perceptual_hash", "thumbhash"]);
        assert_eq!(serde_json::from_value::<Looks>(json).unwrap(), found);
    }

    #[test]
    fn the_smallest_pictures_look_like_what_they_are() {
        let one = looks(1, 1, &[10, 200, 30, 255]);
        assert_eq!(one.dominant_color, "#0ac81e");
        assert_eq!(one.perceptual_hash, "0000000000000000");
        for (width, height) in [(1, 1), (1, 7), (9, 1), (2, 500), (500, 2), (100, 100), (320, 240)] {
            let rgba = [10, 200, 30, 255].repeat(width as usize * height as usize);
            let found = looks(width, height, &rgba);
            // One colour everywhere, so nothing may vary: the components of a BlurHash beyond its mean are zero.
            assert_eq!(found.blurhash[2..6], one.blurhash[2..6]);
            assert_eq!(&found.blurhash[6..], "fQ".repeat(11));
            assert_eq!(found.dominant_color, one.dominant_color);
            assert_eq!(found.perceptual_hash, one.perceptual_hash);
        }
    }

    #[test]
    fn a_variant_takes_less_than_a_millisecond() {
        let rgba = pattern(320, 240, false);
        let fastest = (0..20)
            .map(|_| {
                let started = std::time::Instant::now();
                std::hint::black_box(looks(320, 240, std::hint::black_box(&rgba)));
                started.elapsed()
            })
            .min()
            .unwrap();
        println!("looks of 320 × 240: {fastest:?}");
        // Ten times the aim: this finds another order of growth, not a busy machine.
        assert!(fastest < std::time::Duration::from_millis(10), "{fastest:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_pixels_of_any_size_have_looks(
            width in 1_u32..130,
            height in 1_u32..130,
            opaque in any::<bool>(),
            bytes in proptest::collection::vec(any::<u8>(), 1..512),
        ) {
            let count = width as usize * height as usize * 4;
            let mut rgba: Vec<u8> = bytes.iter().copied().cycle().take(count).collect();
            if opaque {
                rgba.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 255);
            }
            let found = looks(width, height, &rgba);
            prop_assert_eq!(found.blurhash.len(), 28);
            prop_assert!(found.thumbhash.len() <= 36);
            prop_assert_eq!(found.dominant_color.len(), 7);
            prop_assert_eq!(perceptual_distance(&found.perceptual_hash, &found.perceptual_hash), Some(0));
        }
    }
}
