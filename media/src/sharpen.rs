//! Sharpening after a reduction, which leaves edges softer than the eye expects of so small a picture.
//!
//! An unsharp mask: what a pixel differs from its surroundings by (a binomial blur of 3 × 3 pixels, weights 1 2 1 along
//! each axis, edges repeated) is added to it once more, times the amount. The difference is that of luma, and the same
//! for all colours of a pixel: sharpening each by itself would give edges between colours a fringe of a third.
//!
//! Differences count from [`GRAIN`] on, and only by what is beyond: what remains of a sensor's noise after a reduction
//! is less than that, and would cost bytes in the file without showing anything. Shrinking rather than cutting off
//! keeps soft slopes free of steps.
//!
//! Colours that nobody sees are no surroundings: those of transparent pixels are mostly black, and a bright figure before
//! them would get a rim. So what is added to a pixel fades with the least alpha around it.

/// Where a difference begins, in steps of a byte.
const GRAIN: u16 = 1;
/// The most that differences are multiplied by.
const AMOUNT_MAX: f32 = 2.0;
/// Fixed point of the amount.
const AMOUNT_BITS: u32 = 9;
/// Fixed point of a difference: the blur's weights sum up to 16.
const BLUR_BITS: u32 = 4;
/// Channels of a pixel that are sharpened, at most: the fourth is alpha.
const COLOURS: usize = 3;
/// Pixels that are taken at a time: their differences lie on the stack, and a constant number becomes vectors.
const BLOCK: usize = 64;

/// Sharpens a picture of `width` × `height` pixels in place. `channels` is 1 (luma), 3 (RGB) or 4 (RGB and alpha, which
/// is left alone); the luma of other colour spaces is sharpened as one channel. Of any other number, and of rows that
/// `data` does not hold whole, nothing is changed.
///
/// `amount` from 0.0 (nothing is changed) to 2.0; what is beyond is held. Half suits pictures for a page. `scratch` is
/// overwritten and afterwards holds three rows of one byte per pixel (two with alpha), rounded up to a block.
pub(crate) fn sharpen(
    width: u32,
    height: u32,
    channels: usize,
    data: &mut [u8],
    amount: f32,
    scratch: &mut Vec<u8>,
) {
    // Not a number becomes 0.
    let amount = (amount.clamp(0.0, AMOUNT_MAX) * (1 << AMOUNT_BITS) as f32).round() as u16;
    let (width, height) = (width as usize, height as usize);
    let Some(picture) = data.get_mut(..width * height * channels) else { return };
    if amount == 0 || picture.is_empty() {
        return;
    }
    match channels {
        1 => sharpen_rows::<1>(width, picture, amount, scratch),
        3 => sharpen_rows::<3>(width, picture, amount, scratch),
        4 => sharpen_rows::<4>(width, picture, amount, scratch),
        _ => {}
    }
}

/// Bytes of a row of scratch: whole blocks, and a pixel on either side.
const fn scratch_row(width: usize) -> usize {
    width.next_multiple_of(BLOCK) + 2
}

/// Keeps a row and those above and below it, as they were.
fn sharpen_rows<const C: usize>(width: usize, picture: &mut [u8], amount: u16, scratch: &mut Vec<u8>) {
    let (pixels, _) = picture.as_chunks_mut::<C>();
    // Alpha stands behind the luma.
    let line = if C > COLOURS { 2 * scratch_row(width) } else { scratch_row(width) };
    scratch.clear();
    scratch.resize(3 * line, 0);
    let (mut above, rest) = scratch.split_at_mut(line);
    let (mut here, mut below) = rest.split_at_mut(line);
    read(here, &pixels[..width]);
    above.copy_from_slice(here);
    for start in (0..pixels.len()).step_by(width) {
        let (row, later) = pixels[start..].split_at_mut(width);
        match later.get(..width) {
            Some(next) => read(below, next),
            None => below.copy_from_slice(here),
        }
        sharpen_row(row, above, here, below, amount);
        (above, here, below) = (here, below, above);
    }
}

/// The luma of a row, and behind it its alpha if it has any.
fn read<const C: usize>(line: &mut [u8], row: &[[u8; C]]) {
    if C > COLOURS {
        let (lumas, alphas) = line.split_at_mut(line.len() / 2);
        read_as(lumas, row, luma);
        read_as(alphas, row, |pixel| pixel[C - 1]);
    } else {
        read_as(line, row, luma);
    }
}

/// One number of each pixel, with that of the first and last repeated outside.
fn read_as<const C: usize>(line: &mut [u8], row: &[[u8; C]], number: impl Fn(&[u8; C]) -> u8) {
    let width = row.len();
    for (value, pixel) in line[1..].iter_mut().zip(row) {
        *value = number(pixel);
    }
    line[0] = line[1];
    line[width + 1] = line[width];
}

fn luma<const C: usize>(pixel: &[u8; C]) -> u8 {
    if C == 1 {
        return pixel[0];
    }
    // BT.601 in 256ths.
    let [red, green, blue] = [0, 1, 2].map(|index| u32::from(pixel[index]));
    ((77 * red + 150 * green + 29 * blue + 128) >> 8) as u8
}

fn sharpen_row<const C: usize>(row: &mut [[u8; C]], above: &[u8], here: &[u8], below: &[u8], amount: u16) {
    let mut added = [0_i16; BLOCK];
    for (index, pixels) in row.chunks_mut(BLOCK).enumerate() {
        let around = |start: usize| {
            let start = start + index * BLOCK;
            Some([block_at(above, start)?, block_at(here, start)?, block_at(below, start)?])
        };
        let Some(lumas) = around(0) else { return };
        differences(lumas, amount, &mut added);
        if C > COLOURS {
            let Some(alphas) = around(here.len() / 2) else { return };
            fade(alphas, &mut added);
        }
        // Spread over the bytes first: these can then be added as vectors, without a branch for each.
        let mut spread = [[0_i16; C]; BLOCK];
        for (spread, added) in spread.iter_mut().zip(added) {
            spread[..C.min(COLOURS)].fill(added);
        }
        for (value, added) in pixels.as_flattened_mut().iter_mut().zip(spread.as_flattened()) {
            *value = (i16::from(*value) + added).clamp(0, 255) as u8;
        }
    }
}

/// A block's pixels and one on either side. Rows of scratch end with a whole block, so it is always there.
fn block_at(line: &[u8], start: usize) -> Option<&[u8; BLOCK + 2]> {
    line.get(start..)?.first_chunk()
}

/// What is added to each pixel of a block: its difference from the blur, less the grain, times the amount, rounded to
/// the nearest and away from zero, so that both sides of an edge gain alike.
fn differences([above, here, below]: [&[u8; BLOCK + 2]; 3], amount: u16, added: &mut [i16; BLOCK]) {
    let rounding = 1 << (AMOUNT_BITS + BLUR_BITS - 1);
    for (x, added) in added.iter_mut().enumerate() {
        let column = |x: usize| i16::from(above[x]) + 2 * i16::from(here[x]) + i16::from(below[x]);
        let blur = column(x) + 2 * column(x + 1) + column(x + 2);
        let difference = (i16::from(here[x + 1]) << BLUR_BITS) - blur;
        let beyond = difference.unsigned_abs().saturating_sub(GRAIN << BLUR_BITS);
        let gain = ((u32::from(beyond) * u32::from(amount) + rounding) >> (AMOUNT_BITS + BLUR_BITS)) as i16;
        *added = if difference < 0 { -gain } else { gain };
    }
}

/// Scales what is added to each pixel by the least alpha of the nine around it.
fn fade([above, here, below]: [&[u8; BLOCK + 2]; 3], added: &mut [i16; BLOCK]) {
    for (x, added) in added.iter_mut().enumerate() {
        let column = |x: usize| above[x].min(here[x]).min(below[x]);
        let least = column(x).min(column(x + 1)).min(column(x + 2));
        *added = (i32::from(*added) * i32::from(least) / 255) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::{hashed, photo};
    use proptest::prelude::*;

    fn sharpened(width: u32, height: u32, channels: usize, data: &[u8], amount: f32) -> Vec<u8> {
        let mut data = data.to_vec();
        sharpen(width, height, channels, &mut data, amount, &mut Vec::new());
        data
    }

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        (0..length as u64).map(|index| hashed(seed << 32 | index) as u8).collect()
    }

    #[test]
    fn nothing_of_nothing() {
        let data = noise(31 * 17 * 3, 1);
        for amount in [0.0, -0.0, -3.0, f32::NAN, f32::NEG_INFINITY, 0.0005] {
            assert_eq!(sharpened(31, 17, 3, &data, amount), data, "{amount}");
        }
        assert_eq!(sharpened(31, 17, 3, &data, f32::INFINITY), sharpened(31, 17, 3, &data, 2.0));
        // Two channels are none of the three kinds, and the picture is not all there.
        assert_eq!(sharpened(31, 17, 2, &data, 1.0), data);
        assert_eq!(sharpened(31, 18, 3, &data, 1.0), data);
        assert_eq!(sharpened(0, 17, 3, &data, 1.0), data);
        assert_ne!(sharpened(31, 17, 3, &data, 1.0), data);
    }

    #[test]
    fn flat_and_grainy_stay_as_they_are() {
        for channels in [1, 3, 4] {
            let flat = [7, 130, 255, 60][..channels].repeat(40 * 30);
            assert_eq!(sharpened(40, 30, channels, &flat, 2.0), flat);
        }
        let grain: Vec<u8> = noise(40 * 30, 2).iter().map(|value| 100 + value % 2).collect();
        assert_eq!(sharpened(40, 30, 1, &grain, 2.0), grain);
    }

    #[test]
    fn both_sides_of_an_edge_gain_alike() {
        for (amount, gain) in [(0.5, 9.5), (1.0, 19.0), (2.0, 38.0)] {
            let row: Vec<u8> = (0..150).map(|x| if x < 75 { 80 } else { 160 }).collect();
            let found = sharpened(150, 3, 1, &row.repeat(3), amount);
            // The blur takes a quarter of the 80 from each side; one step of it is grain.
            let gain = f32::round(gain) as u8;
            for row in found.chunks(150) {
                assert!(
                    row[..74].iter().all(|value| *value == 80) && row[76..].iter().all(|value| *value == 160)
                );
                assert_eq!(row[74..76], [80 - gain, 160 + gain], "amount {amount}");
            }
            let turned: Vec<u8> = row.iter().flat_map(|value| [*value; 3]).collect();
            let found: Vec<u8> = sharpened(3, 150, 1, &turned, amount);
            assert_eq!(
                found[73 * 3..77 * 3].chunks(3).map(|row| row[1]).collect::<Vec<_>>(),
                [80, 80 - gain, 160 + gain, 160]
            );
        }
    }

    #[test]
    fn black_and_white_hold() {
        let row: Vec<u8> = (0..20).map(|x| if x < 10 { 0 } else { 255 }).collect();
        assert_eq!(sharpened(20, 1, 1, &row, 2.0), row);
    }

    #[test]
    fn colours_gain_alike_and_alpha_nothing() {
        let mut rgba: Vec<u8> = noise(70 * 9 * 4, 3).iter().map(|value| 100 + value % 50).collect();
        rgba.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 255);
        let found = sharpened(70, 9, 4, &rgba, 1.0);
        let (before, after) = (rgba.as_chunks::<4>().0, found.as_chunks::<4>().0);
        for (before, after) in before.iter().zip(after) {
            let gain = [0, 1, 2].map(|index| i16::from(after[index]) - i16::from(before[index]));
            assert!(gain[0] == gain[1] && gain[1] == gain[2], "{before:?} became {after:?}");
            assert_eq!(before[3], after[3]);
        }
        let rgb: Vec<u8> = before.iter().flat_map(|pixel| pixel[..3].to_vec()).collect();
        let without: Vec<u8> = after.iter().flat_map(|pixel| pixel[..3].to_vec()).collect();
        assert_eq!(sharpened(70, 9, 3, &rgb, 1.0), without);
        assert_ne!(rgb, without);
    }

    #[test]
    fn a_figure_before_nothing_gets_no_rim() {
        let (width, height) = (70, 70);
        let inside = |x: u32, y: u32| (x.abs_diff(34).pow(2) + y.abs_diff(34).pow(2)) < 30 * 30;
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let disc: Vec<u8> =
            places.flat_map(|(x, y)| if inside(x, y) { [150, 150, 150, 255] } else { [0; 4] }).collect();
        assert_eq!(sharpened(width, height, 4, &disc, 2.0), disc);
    }

    #[test]
    fn what_is_added_fades_with_the_least_alpha_around() {
        // An edge of 40 grows by 9 on either side, on which alpha is whole but for one pixel.
        let row = |alpha: u8| -> Vec<u8> {
            (0..8_u8)
                .flat_map(|x| {
                    let value = if x < 4 { 100 } else { 140 };
                    [value, value, value, if x == 5 { alpha } else { 255 }]
                })
                .collect()
        };
        let found = |alpha: u8| {
            let pixels = sharpened(8, 1, 4, &row(alpha), 1.0);
            [3, 4].map(|x| pixels[x * 4])
        };
        // The pixel before the edge has no part in the faded one, the pixel behind it has.
        assert_eq!(found(255), [91, 149]);
        assert_eq!(found(128), [91, 144]);
        assert_eq!(found(0), [91, 140]);
    }

    /// The definition, pixel by pixel, in the open.
    fn defined(width: usize, height: usize, luma: &[u8], amount: f32) -> Vec<u8> {
        let at = |x: usize, y: usize, across: usize, down: usize| {
            let x = (x + across).saturating_sub(1).min(width - 1);
            let y = (y + down).saturating_sub(1).min(height - 1);
            f32::from(luma[y * width + x])
        };
        let weights = [1.0, 2.0, 1.0];
        (0..width * height)
            .map(|index| {
                let (x, y) = (index % width, index / width);
                let taps = (0..9).map(|tap| at(x, y, tap % 3, tap / 3) * weights[tap % 3] * weights[tap / 3]);
                let difference = f32::from(luma[index]) - taps.sum::<f32>() / 16.0;
                let beyond = (difference.abs() - 1.0).max(0.0);
                (f32::from(luma[index]) + (beyond * amount).round().copysign(difference)) as u8
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_size_as_defined(width in 1_usize..140, height in 1_usize..12, seed in any::<u32>(), half in 0_u8..=4) {
            let luma = noise(width * height, u64::from(seed));
            // Halves are exact in both arithmetics.
            let amount = f32::from(half) / 2.0;
            let found = sharpened(width as u32, height as u32, 1, &luma, amount);
            prop_assert_eq!(found, defined(width, height, &luma, amount));
        }
    }

    #[test]
    fn three_rows_of_scratch() {
        let (width, height) = (1080, 810);
        let mut rgb = photo(1, width, height);
        let mut scratch = Vec::new();
        let fastest = (0..5).map(|_| {
            let started = std::time::Instant::now();
            sharpen(width, height, 3, &mut rgb, 0.5, &mut scratch);
            started.elapsed()
        });
        println!("sharpening 1080 × 810 RGB: {:?}", fastest.min());
        assert_eq!(scratch.len(), 3 * (17 * BLOCK + 2));
    }
}
