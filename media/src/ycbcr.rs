//! `YCbCr` (JFIF, BT.601, full range) to RGB and back.

use crate::frame::{Frame, Layout, Plane, Planes};

/// Fixed point: 16 bits behind the point.
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

/// A factor in fixed point, to the nearest.
const fn fixed(factor: f64) -> i32 {
    (factor * 65_536.0 + if factor < 0.0 { -0.5 } else { 0.5 }) as i32
}

// T.871 (JFIF), section 7.
const RED_OF_CR: i32 = fixed(1.402);
const GREEN_OF_CB: i32 = fixed(-0.344_136_286);
const GREEN_OF_CR: i32 = fixed(-0.714_136_286);
const BLUE_OF_CB: i32 = fixed(1.772);

const fn clamped(value: i32) -> u8 {
    if value < 0 {
        0
    } else if value > 255 {
        255
    } else {
        value as u8
    }
}

/// One pixel.
pub(crate) fn rgb([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(luma) * ONE + HALF, i32::from(blue) - 128, i32::from(red) - 128);
    [
        clamped((y + RED_OF_CR * cr) >> 16),
        clamped((y + GREEN_OF_CB * cb + GREEN_OF_CR * cr) >> 16),
        clamped((y + BLUE_OF_CB * cb) >> 16),
    ]
}

/// One pixel.
pub(crate) fn ycbcr([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let (r, g, b) = (i32::from(red), i32::from(green), i32::from(blue));
    let luma = fixed(0.299) * r + fixed(0.587) * g + fixed(0.114) * b + HALF;
    let cb = fixed(-0.168_735_892) * r + fixed(-0.331_264_108) * g + fixed(0.5) * b + (128 << 16) + HALF;
    let cr = fixed(0.5) * r + fixed(-0.418_687_589) * g + fixed(-0.081_312_411) * b + (128 << 16) + HALF;
    [clamped(luma >> 16), clamped(cb >> 16), clamped(cr >> 16)]
}

/// Planes of one size to RGB: luma, blue and red difference.
pub(crate) fn to_rgb(luma: &Plane, blue: &Plane, red: &Plane) -> Frame {
    debug_assert_eq!([blue.data.len(), red.data.len()], [luma.data.len(); 2]);
    let mut frame = Frame::zeroed(luma.width, luma.height, Layout::Rgb);
    let (pixels, _) = frame.data.as_chunks_mut::<3>();
    let samples = luma.data.iter().zip(&blue.data).zip(&red.data);
    for (pixel, ((luma, blue), red)) in pixels.iter_mut().zip(samples) {
        *pixel = rgb([*luma, *blue, *red]);
    }
    frame
}

/// RGB to planes with chroma averaged over 2 × 2 pixels.
pub(crate) fn to_planes(frame: &Frame) -> Planes {
    debug_assert_eq!(frame.layout, Layout::Rgb);
    let (width, height) = (frame.width, frame.height);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut luma = Plane::filled(width, height, 0);
    let mut blue = Plane::filled(half_width, half_height, 0);
    let mut red = Plane::filled(half_width, half_height, 0);
    let (pixels, _) = frame.data.as_chunks::<3>();
    let columns = width as usize;
    let mut sums = vec![[0_u16; 2]; half_width as usize];
    let rows = pixels.chunks_exact(columns).zip(luma.data.chunks_exact_mut(columns));
    for (y, (row, lumas)) in rows.enumerate() {
        let last = y + 1 == height as usize;
        // The last row of an odd height counts twice, and so does the last column of an odd width.
        let weight = if last && y % 2 == 0 { 2 } else { 1 };
        for (x, (pixel, value)) in row.iter().zip(lumas).enumerate() {
            let [l, cb, cr] = ycbcr(*pixel);
            *value = l;
            let times = if x + 1 == columns && x % 2 == 0 { 2 * weight } else { weight };
            sums[x / 2][0] += u16::from(cb) * times;
            sums[x / 2][1] += u16::from(cr) * times;
        }
        if y % 2 == 1 || last {
            let at = y / 2 * half_width as usize;
            for (x, sum) in sums.iter_mut().enumerate() {
                // Halves go down in even columns and up in odd ones, so that neither gains over a picture (libjpeg).
                let bias = 1 + (x % 2) as u16;
                blue.data[at + x] = ((sum[0] + bias) / 4) as u8;
                red.data[at + x] = ((sum[1] + bias) / 4) as u8;
                *sum = [0; 2];
            }
        }
    }
    Planes { luma, blue, red, step: (2, 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primaries_are_where_the_standard_puts_them() {
        assert_eq!(ycbcr([255, 255, 255]), [255, 128, 128]);
        assert_eq!(ycbcr([0, 0, 0]), [0, 128, 128]);
        assert_eq!(ycbcr([255, 0, 0]), [76, 85, 255]);
        assert_eq!(ycbcr([0, 0, 255]), [29, 255, 107]);
        assert_eq!(rgb([76, 85, 255]), [254, 0, 0]);
    }

    #[test]
    fn there_and_back_loses_at_most_two() {
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    let color = [r as u8, g as u8, b as u8];
                    let back = rgb(ycbcr(color));
                    assert!(color.iter().zip(back).all(|(a, b)| a.abs_diff(b) <= 2), "{color:?} {back:?}");
                }
            }
        }
    }

    #[test]
    fn odd_sides_average_what_is_there() {
        let data = [[255, 0, 0], [255, 0, 0], [0, 0, 255]].concat();
        let frame = Frame { width: 3, height: 1, layout: Layout::Rgb, data };
        let planes = to_planes(&frame);
        assert_eq!((planes.blue.width, planes.blue.height), (2, 1));
        assert_eq!((planes.blue.data, planes.red.data), (vec![85, 255], vec![255, 107]));
    }
}
