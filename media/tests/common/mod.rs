//! What the integration tests share: a picture whose corners tell which way is up, and how to look at variants.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod build;
pub(crate) mod look;
pub(crate) mod make;
pub(crate) mod printer;
pub(crate) mod reference;
pub(crate) mod streams;

use darkroom_media::{Limits, Orientation, Preset, Probe, Scratch, Variant, decode, probe, render};

/// Red, green, blue and yellow: top left, top right, bottom left, bottom right.
pub(crate) const CORNERS: [[u8; 3]; 4] = [[200, 40, 40], [40, 180, 60], [50, 60, 200], [220, 200, 60]];

/// What is transparent is laid on.
pub(crate) const WHITE: [u8; 3] = [255; 3];

/// An RGB picture of four quadrants in the colours of [`CORNERS`].
pub(crate) fn quadrants(width: u32, height: u32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            let corner = usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
            pixels.extend(CORNERS[corner]);
        }
    }
    pixels
}

/// What [`CORNERS`] become when a picture of them is turned.
pub(crate) fn shown(orientation: Orientation) -> [[u8; 3]; 4] {
    let [red, green, blue, yellow] = CORNERS;
    match orientation {
        Orientation::Upright => [red, green, blue, yellow],
        Orientation::FlipHorizontal => [green, red, yellow, blue],
        Orientation::Rotate180 => [yellow, blue, green, red],
        Orientation::FlipVertical => [blue, yellow, red, green],
        Orientation::Transpose => [red, blue, green, yellow],
        Orientation::Rotate90 => [blue, red, yellow, green],
        Orientation::Transverse => [yellow, green, blue, red],
        Orientation::Rotate270 => [green, yellow, red, blue],
    }
}

/// The same for the number that EXIF gives an orientation.
pub(crate) fn shown_by_exif(number: u16) -> [[u8; 3]; 4] {
    let orientations = [
        Orientation::Upright,
        Orientation::FlipHorizontal,
        Orientation::Rotate180,
        Orientation::FlipVertical,
        Orientation::Transpose,
        Orientation::Rotate90,
        Orientation::Transverse,
        Orientation::Rotate270,
    ];
    shown(orientations[usize::from(number) - 1])
}

/// A file of `tests/data`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Probes, decodes and renders with a fresh scratch.
pub(crate) fn variants(original: &[u8], presets: &[Preset]) -> (Probe, Vec<Variant>) {
    let limits = Limits::default();
    let mut scratch = Scratch::default();
    let found = probe(original, &limits).unwrap();
    let photo = decode(original, &found, &limits, &mut scratch).unwrap();
    let mut variants = Vec::new();
    render(photo, presets, &mut scratch, &mut |variant, _| variants.push(variant)).unwrap();
    (found, variants)
}

/// An RGB picture that a variant decodes to, and its width. Gray ones become RGB with three equal components.
pub(crate) fn pixels(variant: &Variant) -> (Vec<u8>, usize) {
    let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(&variant.bytes));
    let pixels = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    assert_eq!((width, height), (variant.width as usize, variant.height as usize));
    assert_eq!(pixels.len(), width * height * 3);
    (pixels, width)
}

/// The colours in the middle of the four quadrants of a variant: top left, top right, bottom left, bottom right.
pub(crate) fn corners(variant: &Variant) -> [[u8; 3]; 4] {
    let (pixels, width) = pixels(variant);
    let height = pixels.len() / 3 / width;
    let at = |x: usize, y: usize| {
        let index = (y * width + x) * 3;
        [pixels[index], pixels[index + 1], pixels[index + 2]]
    };
    let (left, right) = (width / 4, width * 3 / 4);
    let (top, bottom) = (height / 4, height * 3 / 4);
    [at(left, top), at(right, top), at(left, bottom), at(right, bottom)]
}

/// Whether colours are the same but for what lossy coding does to them.
pub(crate) fn assert_alike(found: [[u8; 3]; 4], expected: [[u8; 3]; 4], what: &str) {
    let near = |a: &[u8; 3], b: &[u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 12);
    let alike = found.iter().zip(&expected).all(|(a, b)| near(a, b));
    assert!(alike, "{what}: found {found:?}, expected {expected:?}");
}
