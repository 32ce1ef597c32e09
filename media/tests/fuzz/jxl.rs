//! JPEG XLs among the seeds: bare, and in boxes.

use zune_core::bit_depth::BitDepth::{Eight, Sixteen};
use zune_core::colorspace::ColorSpace::{Luma, LumaA, RGB, RGBA};

use super::exif_blocks::camera;
use super::jxl_files::{boxed, contained, encoded};
use super::seeds::samples;
use super::targets::Seed;

const SIZE: (u32, u32) = (16, 12);
const PIXELS: usize = 16 * 12;

pub(crate) fn jxl() -> Vec<Seed> {
    let rgb = encoded(SIZE, RGB, Eight, &samples(PIXELS * 3));
    let codestream = boxed(*b"jxlc", &rgb);
    let block = boxed(*b"Exif", &[[0; 4].as_slice(), &camera(true).build()].concat());
    // Before the picture and behind it.
    let head = [boxed(*b"JXL ", b"\r\n\x87\n"), boxed(*b"ftyp", b"jxl \0\0\0\0jxl ")].concat();
    vec![
        ("gray", encoded(SIZE, Luma, Eight, &samples(PIXELS))),
        ("gray-16", encoded(SIZE, Luma, Sixteen, &samples(PIXELS * 2))),
        ("gray-alpha", encoded(SIZE, LumaA, Eight, &samples(PIXELS * 2))),
        ("rgb-16", encoded(SIZE, RGB, Sixteen, &samples(PIXELS * 6))),
        ("rgba", encoded(SIZE, RGBA, Eight, &samples(PIXELS * 4))),
        ("rgba-16", encoded(SIZE, RGBA, Sixteen, &samples(PIXELS * 8))),
        ("flat", encoded((48, 40), RGB, Eight, &[90; 48 * 40 * 3])),
        ("in-a-box", contained(&rgb, None)),
        ("in-pieces", contained(&rgb, Some(200))),
        ("exif-before", [head.as_slice(), &block, &codestream].concat()),
        ("exif-behind", [head.as_slice(), &codestream, &block].concat()),
        ("rgb", rgb),
    ]
}
