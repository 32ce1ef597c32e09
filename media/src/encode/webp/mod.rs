//! WebP, through libwebp: the one codec that has no equal in Rust.

#[expect(unsafe_code, reason = "libwebp is C; all calls to it stand in this module")]
mod libwebp;

use crate::frame::{Layout, Picture, Planes};

pub(crate) use libwebp::Animation;
use libwebp::Pixels;

/// Greatest width or height that WebP can express.
const WEBP_SIDE_MAX: u32 = 16_383;

/// JPEG's full range to WebP's: luma 16 to 235, chroma 16 to 240 around 128 (BT.601).
const fn limited(span: u32, least: u32) -> [u8; 256] {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        // At most 240.
        table[value] = (least + (value as u32 * span * 2 + 255) / 510) as u8;
        value += 1;
    }
    table
}

static LUMA: [u8; 256] = limited(219, 16);
static CHROMA: [u8; 256] = chroma();

const fn chroma() -> [u8; 256] {
    let mut table = [0; 256];
    let mut value = 0_usize;
    while value < 256 {
        // Around 128 on both sides, so that no gray becomes coloured. From 16 to 240 by the factor.
        let distance = value as i32 - 128;
        let scaled = (distance * 224 * 2 + if distance < 0 { -255 } else { 255 }) / 510;
        table[value] = (128 + scaled) as u8;
        value += 1;
    }
    table
}

fn in_limited_range(planes: &Planes) -> [Vec<u8>; 3] {
    let map = |data: &[u8], table: &[u8; 256]| data.iter().map(|value| table[usize::from(*value)]).collect();
    [map(&planes.luma.data, &LUMA), map(&planes.blue.data, &CHROMA), map(&planes.red.data, &CHROMA)]
}

/// Encodes a picture as a lossy WebP, with lossless alpha where it has any. Planes have chroma halved both ways.
///
/// `quality` is 1 to 100 and `effort` 0 to 6, libwebp's quality and method. Fails with libwebp's words, and for a picture
/// wider or taller than 16,383 pixels.
pub(super) fn encode(picture: &Picture, quality: u8, effort: u8) -> Result<Vec<u8>, String> {
    let (width, height) = picture.size();
    check_size(width, height)?;
    match picture {
        Picture::Planar(planes) => {
            let [luma, blue, red] = in_limited_range(planes);
            libwebp::encode((width, height), Pixels::Planes { luma, blue, red }, quality, effort)
        }
        Picture::Packed(frame) => match frame.layout {
            Layout::Luma => {
                let half = width.div_ceil(2) as usize * height.div_ceil(2) as usize;
                let luma = frame.data.iter().map(|value| LUMA[usize::from(*value)]).collect();
                let pixels = Pixels::Planes { luma, blue: vec![128; half], red: vec![128; half] };
                libwebp::encode((width, height), pixels, quality, effort)
            }
            Layout::Rgb => libwebp::encode((width, height), Pixels::Rgb(&frame.data), quality, effort),
            Layout::Rgba => libwebp::encode((width, height), Pixels::Rgba(&frame.data), quality, effort),
        },
    }
}

fn check_size(width: u32, height: u32) -> Result<(), String> {
    if width > WEBP_SIDE_MAX || height > WEBP_SIDE_MAX {
        return Err(format!(
            "{width}×{height} pixels are more than a WebP can have, which is {WEBP_SIDE_MAX} a side"
        ));
    }
    Ok(())
}

/// From this method on libwebp keeps the whole picture as tokens before it writes any.
const EFFORT_OF_TOKENS: u8 = 3;

/// An upper bound of what is held while a picture is encoded, beside it. The factors bound what noise of full contrast was
/// measured to take (`darkroom-bench cost` measures photos): 9 to 24 bytes of tokens per pixel at quality 30 to 100, and for
/// alpha, which is compressed before all else, 20 bytes at method 0 and 32 above.
pub(super) fn encoding_bytes_max(size: (u32, u32), alpha: bool, quality: u8, effort: u8) -> u64 {
    let (width, pixels) = (u64::from(size.0), u64::from(size.0) * u64::from(size.1));
    let macroblocks = u64::from(size.0.div_ceil(16)) * u64::from(size.1.div_ceil(16));
    let tokens = match quality {
        _ if effort < EFFORT_OF_TOKENS => 0,
        0..=60 => 14,
        61..=80 => 17,
        81..=90 => 20,
        _ => 27,
    };
    // The picture in limited range, the file as it grows, modes and borders.
    let copy = if alpha { 5 * pixels / 2 } else { 3 * pixels / 2 };
    let file = encoded_bytes_max(size, alpha, quality, effort);
    let colour = copy + tokens * pixels + 2 * file + macroblocks * 128;
    let alpha = match (alpha, effort) {
        (false, _) => 0,
        (true, 0) => 26 * pixels,
        (true, _) => 35 * pixels,
    };
    colour.max(alpha) + width * 64 + (1 << 20)
}

/// An upper bound of a file's bytes. Noise of full contrast takes 1.2 bytes per pixel at quality 80, 1.6 at 90 and 2.7 at
/// 100; where tokens are counted before they are coded, half of that.
pub(super) fn encoded_bytes_max((width, height): (u32, u32), alpha: bool, quality: u8, effort: u8) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let tenths = match (quality, effort < EFFORT_OF_TOKENS) {
        (0..=80, true) => 20,
        (81..=90, true) => 26,
        (_, true) => 42,
        (0..=80, false) => 12,
        (81..=90, false) => 15,
        (_, false) => 20,
    };
    // Alpha is compressed without loss.
    pixels * tenths / 10 + if alpha { pixels } else { 0 } + 4096
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Plane};
    use crate::ycbcr;

    fn decoded(bytes: &[u8]) -> (u32, u32, bool, Vec<u8>) {
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let (width, height) = decoder.dimensions();
        let mut data = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.read_image(&mut data).unwrap();
        (width, height, decoder.has_alpha(), data)
    }

    /// Every sample black or white: nothing is harder to compress.
    fn noise(width: u32, height: u32, channels: usize) -> Vec<u8> {
        let mut state = 0x1234_5678_u32;
        let samples = (0..width as usize * height as usize * channels).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 31 == 0 { 0 } else { 255 }
        });
        samples.collect()
    }

    #[test]
    fn even_noise_of_full_contrast_stays_below_the_bound() {
        let size = (320, 240);
        let plane = |width, height| Plane { width, height, data: noise(width, height, 1) };
        let planes =
            Planes { luma: plane(320, 240), blue: plane(160, 120), red: plane(160, 120), step: (2, 2) };
        let rgba = Frame { width: 320, height: 240, layout: Layout::Rgba, data: noise(320, 240, 4) };
        for (picture, alpha) in [(Picture::Planar(planes), false), (Picture::Packed(rgba), true)] {
            for (quality, effort) in
                [(80, 0), (80, 2), (90, 2), (100, 0), (100, 2), (80, 3), (90, 4), (100, 4)]
            {
                let bytes = encode(&picture, quality, effort).unwrap().len() as u64;
                let bound = encoded_bytes_max(size, alpha, quality, effort);
                assert!(bytes <= bound, "quality {quality}, method {effort}: {bytes} bytes, bound {bound}");
                assert!(
                    alpha || bytes * 3 >= bound,
                    "quality {quality}, method {effort}: {bytes} bytes, bound {bound}"
                );
            }
        }
    }

    #[test]
    fn ranges_meet_at_their_ends_and_in_the_middle() {
        assert_eq!((LUMA[0], LUMA[255]), (16, 235));
        assert_eq!((CHROMA[0], CHROMA[128], CHROMA[255]), (16, 128, 240));
    }

    #[test]
    fn planes_and_rgb_give_the_same_colours() {
        for color in [[200, 30, 60], [0, 0, 0], [255, 255, 255], [20, 120, 240], [128, 128, 128]] {
            for (width, height) in [(1, 1), (17, 3), (64, 48)] {
                let count = width as usize * height as usize;
                let frame = Frame { width, height, layout: Layout::Rgb, data: color.repeat(count) };
                let planes = ycbcr::to_planes(&frame);
                for picture in [Picture::Packed(frame), Picture::Planar(planes)] {
                    let (w, h, alpha, data) = decoded(&encode(&picture, 90, 2).unwrap());
                    assert_eq!((w, h, alpha), (width, height, false));
                    let near = data.chunks(3).all(|p| p.iter().zip(color).all(|(a, b)| a.abs_diff(b) <= 4));
                    assert!(near, "{color:?} at {width}×{height}: {:?}", &data[..3]);
                }
            }
        }
    }

    #[test]
    fn gray_stays_gray_and_alpha_alpha() {
        let gray = Frame { width: 20, height: 9, layout: Layout::Luma, data: vec![77; 180] };
        let (.., data) = decoded(&encode(&Picture::Packed(gray), 80, 2).unwrap());
        assert!(data.chunks(3).all(|p| p.iter().all(|value| value.abs_diff(77) <= 2)), "{:?}", &data[..3]);
        let data = [[255, 0, 0, 0], [0, 255, 0, 128], [0, 0, 255, 255]].concat();
        let clear = Frame { width: 3, height: 1, layout: Layout::Rgba, data };
        let (_, _, alpha, data) = decoded(&encode(&Picture::Packed(clear), 80, 2).unwrap());
        assert!(alpha);
        assert_eq!([data[3], data[7], data[11]], [0, 128, 255]);
    }

    #[test]
    fn a_side_beyond_webp_is_refused_with_its_size() {
        let wide = Plane::filled(16_384, 1, 0);
        let frame = Frame { width: 16_384, height: 1, layout: Layout::Luma, data: wide.data };
        assert!(encode(&Picture::Packed(frame), 80, 0).unwrap_err().contains("16384×1"));
    }

    #[test]
    fn frames_become_an_animation_that_loops() {
        let mut animation = Animation::new((8, 6), 0, 80, 2).unwrap();
        for (index, color) in [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]].iter().enumerate() {
            animation.add(&color.repeat(48), index as u32 * 100).unwrap();
        }
        let bytes = animation.finish(300).unwrap();
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
        assert!(decoder.is_animated());
        assert_eq!((decoder.num_frames(), decoder.dimensions()), (3, (8, 6)));
        let mut data = vec![0; decoder.output_buffer_size().unwrap()];
        for channel in 0..3 {
            assert_eq!(decoder.read_frame(&mut data).unwrap(), 100);
            assert!(data[channel] > 240, "{:?}", &data[..4]);
        }
    }
}
