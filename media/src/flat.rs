//! Drawing or photo: logos, screenshots and diagrams want other encoders than what a camera saw.
//!
//! A drawing is made of areas of one colour with hard edges between them, and a photo of slopes and noise. So each
//! pixel is compared with its left neighbour. That many are equal is not enough: nearly all are in a photo of the night
//! or one that was compressed hard, and most in one of a thing before a white wall. But where such photos change at
//! all, they change by little, and drawings do not.
//!
//! Measured on generated pictures of 320 and 1200 pixels, as shares of all neighbours that are equal, and shares of
//! those that differ which do so by at most [`SMALL_STEP`]:
//!
//! | | equal | small steps of the rest |
//! |---|---|---|
//! | photos, JPEG of quality 92 to 15 | 0.03 to 0.80 | 0.66 to 0.92 |
//! | the same at an eighth of the brightness | 0.61 to 0.99 | 0.92 to 1 |
//! | part of a photo before white, also as a JPEG | 0.45 to 0.88 | 0.45 to 0.73 |
//! | a third photo, two thirds text | 0.57 to 0.59 | 0.49 to 0.58 |
//! | drawings and text with softened edges | 0.84 to 0.99 | 0 to 0.26 |
//! | the same as a JPEG of quality 90, or resized | 0.24 to 0.97 | 0.38 to 0.75 |
//!
//! The thresholds lie between the drawings and all others. A drawing that came as a JPEG counts as a photo: its edges
//! already have the noise of one, and an encoder without loss would keep that at a price. So does one in colours that
//! hardly differ, which no encoder harms. The decoded picture should be asked, not one that was resampled: its edges
//! ring.

/// Rows that are looked at, at most: they bound the time.
const ROWS_MAX: usize = 128;
/// The largest difference in any channel that still is a slope or noise.
const SMALL_STEP: u8 = 8;

/// Whether a decoded picture of `width` × `height` pixels is flat art: at least half of the pixels equal their left
/// neighbour, and of the others at most a third differ by little. `data` is interleaved, of 1 to 4 channels; alpha is
/// one like the others. Where there is nothing to compare, as in a column of pixels, it is flat. Of any other number of
/// channels, nothing is.
///
/// At most 128 rows are read, evenly spread.
pub(crate) fn is_flat(width: u32, height: u32, channels: usize, data: &[u8]) -> bool {
    let (width, height) = (width as usize, height as usize);
    let steps = match channels {
        1 => steps::<1>(width, height, data),
        2 => steps::<2>(width, height, data),
        3 => steps::<3>(width, height, data),
        4 => steps::<4>(width, height, data),
        _ => return false,
    };
    let differing = steps.small + steps.large;
    steps.none >= differing && 3 * steps.small <= differing
}

/// Neighbours by how much they differ.
#[derive(Default)]
struct Steps {
    none: usize,
    small: usize,
    large: usize,
}

fn steps<const C: usize>(width: usize, height: usize, data: &[u8]) -> Steps {
    let (pixels, _) = data.as_chunks::<C>();
    let rows = height.min(ROWS_MAX);
    let mut found = Steps::default();
    for index in 0..rows {
        // The middle of each of `rows` equal parts.
        let y = (2 * index + 1) * height / (2 * rows);
        let Some(row) = pixels.get(y * width..(y + 1) * width) else { break };
        let differences = row.iter().zip(row.iter().skip(1)).map(|(left, right)| {
            left.iter().zip(right).fold(0, |most, (left, right)| most.max(left.abs_diff(*right)))
        });
        let (mut none, mut large) = (0, 0);
        for difference in differences {
            none += usize::from(difference == 0);
            large += usize::from(difference > SMALL_STEP);
        }
        found.none += none;
        found.large += large;
        found.small += width.saturating_sub(1) - none - large;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::{logo, page, painted, photo, resized, through_jpeg, with_alpha};
    use proptest::prelude::*;

    const SIZES: [(u32, u32); 2] = [(320, 240), (800, 600)];

    #[test]
    fn drawings_are_flat() {
        for (width, height) in SIZES {
            for seed in 0..6 {
                for drawing in [logo(seed, width, height), page(seed, width, height)] {
                    assert!(is_flat(width, height, 3, &drawing), "{seed} at {width}");
                    assert!(is_flat(width, height, 4, &with_alpha(&drawing)), "{seed} at {width} with alpha");
                }
                let gray: Vec<u8> = page(seed, width, height).chunks(3).map(|pixel| pixel[1]).collect();
                assert!(is_flat(width, height, 1, &gray), "{seed} at {width} in gray");
            }
        }
    }

    #[test]
    fn photos_are_not() {
        for (width, height) in SIZES {
            for seed in 0..3 {
                let bright = photo(seed, width, height);
                let night: Vec<u8> = bright.iter().map(|value| value / 8).collect();
                for picture in [bright, night] {
                    assert!(!is_flat(width, height, 3, &picture));
                    let half = (width / 2, height / 2);
                    assert!(!is_flat(half.0, half.1, 3, &resized(&picture, (width, height), half)));
                    for quality in [90, 60, 30, 15] {
                        let copy = through_jpeg(&picture, width, height, quality);
                        assert!(!is_flat(width, height, 3, &copy), "{seed} at {width}, quality {quality}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_thing_before_a_white_wall_is_a_photo() {
        let (width, height) = (640, 480);
        let seen = photo(9, width, height);
        let before_white = painted(width, height, |x, y| {
            let inside = (f64::from(x) - 320.0).hypot(f64::from(y) - 240.0) < 120.0;
            let at = (y * width + x) as usize * 3;
            if inside { [seen[at], seen[at + 1], seen[at + 2]] } else { [255; 3] }
        });
        let equal = before_white.chunks(3).filter(|pixel| *pixel == [255; 3]).count();
        assert!(equal > 640 * 480 * 4 / 5, "most of it is white");
        assert!(!is_flat(width, height, 3, &before_white));
        assert!(!is_flat(width, height, 3, &through_jpeg(&before_white, width, height, 85)));
    }

    #[test]
    fn slopes_are_not_flat_and_small_pictures_are_defined() {
        let slope = painted(256, 20, |x, _| [x as u8; 3]);
        assert!(!is_flat(256, 20, 3, &slope));
        // Each row is of one colour: nothing differs from its left neighbour.
        assert!(is_flat(20, 256, 3, &painted(20, 256, |_, y| [y as u8; 3])));
        assert!(is_flat(1, 1, 3, &[1, 2, 3]));
        assert!(is_flat(1, 3, 1, &[1, 90, 3]));
        assert!(!is_flat(2, 1, 1, &[1, 2]));
        assert!(!is_flat(2, 1, 1, &[1, 200]));
        assert!(is_flat(3, 1, 1, &[1, 1, 200]));
        assert!(!is_flat(3, 1, 1, &[1, 1, 2]));
        assert!(!is_flat(1, 1, 5, &[1; 5]));
    }

    #[test]
    fn rows_are_spread_evenly() {
        // The upper half is plain, the lower a slope, and of more rows than are read.
        let half = |y: u32, x: u32| if y < 500 { [7; 3] } else { [x as u8; 3] };
        assert!(!is_flat(100, 1000, 3, &painted(100, 1000, |x, y| half(y, x))));
        let found = steps::<3>(100, 1000, &painted(100, 1000, |x, y| half(y, x)));
        assert_eq!((found.none, found.small, found.large), (64 * 99, 64 * 99, 0));
    }

    proptest! {
        #[test]
        fn any_size_is_one_or_the_other(
            width in 1_u32..40,
            height in 1_u32..300,
            channels in 1_usize..5,
            seed in any::<u8>(),
        ) {
            let length = (width * height) as usize * channels;
            let plain = vec![seed; length];
            prop_assert!(is_flat(width, height, channels, &plain));
            let slope: Vec<u8> = (0..length).map(|index| (index / channels) as u8).collect();
            prop_assert_eq!(is_flat(width, height, channels, &slope), width == 1);
        }
    }
}
