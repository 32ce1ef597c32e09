//! Pictures for the unit tests: photos, drawings, and what happens to copies of them. All are interleaved RGB.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, Resizer};
use jpeg_encoder::{ColorType, Encoder};
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

use crate::synth::{PhotoSpec, jpeg};

/// A generated photo as a camera's JPEG decodes.
pub(crate) fn photo(seed: u64, width: u32, height: u32) -> Vec<u8> {
    decoded(&jpeg(&PhotoSpec { seed, width, height, ..PhotoSpec::default() }))
}

/// What is left of a picture after a JPEG of this quality.
pub(crate) fn through_jpeg(rgb: &[u8], width: u32, height: u32, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, quality).encode(rgb, width as u16, height as u16, ColorType::Rgb).unwrap();
    decoded(&bytes)
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    JpegDecoder::new(ZCursor::new(bytes)).decode().unwrap()
}

/// Lanczos, as the variants are made.
pub(crate) fn resized(rgb: &[u8], from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let source = ImageRef::new(from.0, from.1, rgb, PixelType::U8x3).unwrap();
    let mut target = Image::new(to.0, to.1, PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, None).unwrap();
    target.into_vec()
}

/// The same pixels, opaque.
pub(crate) fn with_alpha(rgb: &[u8]) -> Vec<u8> {
    rgb.as_chunks::<3>().0.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 255]).collect()
}

/// A picture whose pixels are given by their place.
pub(crate) fn painted(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect()
}

/// An even number that looks like chance.
pub(crate) fn hashed(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A logo: some smooth discs in plain colours on a plain ground, their edges softened over one pixel.
pub(crate) fn logo(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let number = |index: u64| hashed(seed * 1000 + index + 1);
    let colour = |index: u64| [0, 8, 16].map(|shift| (number(index) >> shift) as u8);
    let side = f64::from(width.min(height));
    painted(width, height, |x, y| {
        let mut shown = colour(0);
        for disc in 0..6 {
            let place = number(10 + disc);
            let centre_x = (place & 0xFFFF) as f64 / 65_536.0 * f64::from(width);
            let centre_y = (place >> 16 & 0xFFFF) as f64 / 65_536.0 * f64::from(height);
            let radius = (0.08 + (place >> 32 & 0xFF) as f64 / 1000.0) * side;
            let inside = (radius - (f64::from(x) - centre_x).hypot(f64::from(y) - centre_y)).clamp(0.0, 1.0);
            let ink = colour(20 + disc);
            for (shown, ink) in shown.iter_mut().zip(ink) {
                *shown = (f64::from(*shown) * (1.0 - inside) + f64::from(ink) * inside) as u8;
            }
        }
        shown
    })
}

/// A page of text: lines of dark glyphs of 4 × 8 random dots of 2 pixels, softened to the left, on a light ground.
pub(crate) fn page(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let ink = |x: i64, y: u32| {
        let (line, in_line) = (y / 28, y % 28);
        let (glyph, in_glyph) = (x.div_euclid(12), x.rem_euclid(12) as u32);
        let letter = hashed(seed * 7919 + u64::from(line) * 1009 + glyph as u64);
        let blank = x < 16 || in_line >= 16 || in_glyph >= 8 || letter.is_multiple_of(6);
        !blank && letter >> 8 >> (in_line / 2 * 4 + in_glyph / 2) & 1 == 1
    };
    painted(width, height, |x, y| match (ink(i64::from(x), y), ink(i64::from(x) + 1, y)) {
        (true, _) => [30, 30, 40],
        (false, true) => [150, 150, 155],
        (false, false) => [250, 250, 248],
    })
}
