//! Small files that decode, one for each way in which walkers and codecs go. The same each time.

use darkroom_media::Orientation;
use darkroom_media::synth::{PhotoSpec, jpeg as photo};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::exif_blocks::{Block, camera};
use super::mutate::png_chunk;
use super::render::SETTINGS_BYTES;
use super::targets::Seed;

pub(crate) use super::avif_heic::avif;
#[cfg(feature = "heic")]
pub(crate) use super::avif_heic::heic;
#[cfg(feature = "jxl")]
pub(crate) use super::jxl::jxl;
pub(crate) use super::private::private;
pub(crate) use super::stills::{bmp, tiff};

/// Files of `tests/data`, which other encoders wrote.
macro_rules! fixtures {
    ($($name:literal),*) => {
        vec![$(($name, include_bytes!(concat!("../data/", $name)).to_vec())),*]
    };
}

/// Samples per pixel of what is given to the JPEG encoder.
pub(super) fn channels(kind: ColorType) -> usize {
    match kind {
        ColorType::Luma => 1,
        ColorType::Cmyk | ColorType::CmykAsYcck | ColorType::Ycck => 4,
        _ => 3,
    }
}

/// `count` samples that look like a picture: a slope with some grain.
pub(super) fn samples(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 5 + index * index % 23) as u8).collect()
}

pub(crate) fn jpeg() -> Vec<Seed> {
    let spec =
        PhotoSpec { width: 40, height: 24, orientation: Orientation::Rotate270, ..PhotoSpec::default() };
    let mut files =
        vec![("photo", photo(&spec)), ("progressive", photo(&PhotoSpec { progressive: true, ..spec }))];
    let encoded = |width: u16, kind: ColorType, set: fn(&mut Encoder<&mut Vec<u8>>)| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 85);
        set(&mut encoder);
        let count = usize::from(width) * 20 * channels(kind);
        encoder.encode(&samples(count), width, 20, kind).unwrap();
        bytes
    };
    files.push(("444", encoded(17, ColorType::Rgb, |e| e.set_sampling_factor(SamplingFactor::F_1_1))));
    files.push(("422", encoded(33, ColorType::Rgb, |e| e.set_sampling_factor(SamplingFactor::F_2_1))));
    files.push(("440", encoded(17, ColorType::Rgb, |e| e.set_sampling_factor(SamplingFactor::F_1_2))));
    files.push(("411", encoded(35, ColorType::Rgb, |e| e.set_sampling_factor(SamplingFactor::F_4_1))));
    files.push(("luma", encoded(9, ColorType::Luma, |_| ())));
    files.push(("ycck", encoded(19, ColorType::CmykAsYcck, |e| e.set_restart_interval(2))));
    files.push(("progressive-luma", encoded(19, ColorType::Luma, |e| e.set_progressive(true))));
    files.push(("optimized", encoded(19, ColorType::Rgb, |e| e.set_optimized_huffman_tables(true))));
    files.extend(fixtures!["progressive.jpg", "restarts.jpg", "rgb.jpg", "gray.jpg", "cmyk.jpg"]);
    files
}

pub(crate) fn png() -> Vec<Seed> {
    use png::{BitDepth, ColorType};
    let encoded = |color: ColorType, depth: BitDepth, set: fn(&mut png::Encoder<'_, &mut Vec<u8>>)| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 11, 9);
        encoder.set_color(color);
        encoder.set_depth(depth);
        set(&mut encoder);
        let row = (11 * color.samples() * depth as usize).div_ceil(8);
        encoder.write_header().unwrap().write_image_data(&samples(row * 9)).unwrap();
        bytes
    };
    let palette = |encoder: &mut png::Encoder<'_, &mut Vec<u8>>| {
        encoder.set_palette(samples(16 * 3));
        encoder.set_trns(vec![0, 128, 255]);
    };
    let interlaced = |depth: u8, color: u8, pixel: usize| {
        let mut header = [0, 0, 0, 11, 0, 0, 0, 9].to_vec();
        header.extend([depth, color, 0, 0, 1]);
        let mut rows = Vec::new();
        // First column and row of each pass, and their distances (PNG, section 8.1).
        for (x, y, across, down) in
            [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        {
            let columns = (11_usize - x).div_ceil(across);
            for row in (y..9).step_by(down) {
                rows.push(row as u8 % 5);
                rows.extend(samples(columns * pixel));
            }
        }
        let data = super::build::deflate(&rows);
        let chunks = [png_chunk(*b"IHDR", &header), png_chunk(*b"IDAT", &data), png_chunk(*b"IEND", &[])];
        [b"\x89PNG\r\n\x1A\n".as_slice(), &chunks.concat()].concat()
    };
    let with = |chunk: Vec<u8>| {
        let plain = encoded(ColorType::Rgb, BitDepth::Sixteen, |_| ());
        [&plain[..33], &chunk, &plain[33..]].concat()
    };
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let profile = [b"p\0\0", super::build::deflate(&profile).as_slice()].concat();
    let mut files = vec![
        ("gray-1", encoded(ColorType::Grayscale, BitDepth::One, |_| ())),
        ("gray-4", encoded(ColorType::Grayscale, BitDepth::Four, |e| e.set_trns(vec![0, 3]))),
        ("gray-16", encoded(ColorType::Grayscale, BitDepth::Sixteen, |_| ())),
        ("gray-alpha-8", encoded(ColorType::GrayscaleAlpha, BitDepth::Eight, |_| ())),
        ("gray-alpha-16", encoded(ColorType::GrayscaleAlpha, BitDepth::Sixteen, |_| ())),
        ("rgb-8", encoded(ColorType::Rgb, BitDepth::Eight, |e| e.set_trns(vec![0, 1, 0, 2, 0, 3]))),
        ("rgba-8", encoded(ColorType::Rgba, BitDepth::Eight, |e| e.set_filter(png::Filter::Paeth))),
        ("rgba-16", encoded(ColorType::Rgba, BitDepth::Sixteen, |_| ())),
        ("palette-2", encoded(ColorType::Indexed, BitDepth::Two, |e| e.set_palette(samples(12)))),
        ("palette-4", encoded(ColorType::Indexed, BitDepth::Four, palette)),
        ("interlaced-gray-8", interlaced(8, 0, 1)),
        ("interlaced-rgb-16", interlaced(16, 2, 6)),
        ("profile", with(png_chunk(*b"iCCP", &profile))),
        ("code-points", with(png_chunk(*b"cICP", &[12, 13, 0, 1]))),
        ("exif", with(png_chunk(*b"eXIf", &camera(true).build()))),
        ("animated", animated_png()),
    ];
    files.extend(fixtures!["turned.png"]);
    files
}

fn animated_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 6, 5);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&samples(120)).unwrap();
    writer.set_frame_dimension(3, 2).unwrap();
    writer.set_frame_position(1, 1).unwrap();
    writer.write_image_data(&samples(24)).unwrap();
    writer.finish().unwrap();
    bytes
}

pub(crate) fn webp() -> Vec<Seed> {
    use image_webp::{ColorType, WebPEncoder};
    let encoded = |kind: ColorType, channels: usize, set: fn(&mut WebPEncoder<&mut Vec<u8>>)| {
        let mut bytes = Vec::new();
        let mut encoder = WebPEncoder::new(&mut bytes);
        set(&mut encoder);
        encoder.encode(&samples(19 * 13 * channels), 19, 13, kind).unwrap();
        bytes
    };
    let mut files = vec![
        ("lossless-rgb", encoded(ColorType::Rgb8, 3, |_| ())),
        ("lossless-rgba", encoded(ColorType::Rgba8, 4, |_| ())),
        ("lossless-luma", encoded(ColorType::L8, 1, |_| ())),
        (
            "metadata",
            encoded(ColorType::Rgb8, 3, |e| {
                e.set_exif_metadata(camera(false).build());
                e.set_icc_profile(moxcms::ColorProfile::new_display_p3().encode().unwrap());
                e.set_xmp_metadata(b"<x/>".to_vec());
            }),
        ),
    ];
    files.extend(fixtures![
        "animated.webp",
        "lossless-alpha.webp",
        "lossless.webp",
        "lossy-alpha.webp",
        "lossy.webp",
        "turned.webp"
    ]);
    files
}

pub(crate) fn gif() -> Vec<Seed> {
    use gif::DisposalMethod::{Any, Background, Keep, Previous};
    let palette = samples(16 * 3);
    let frame = |side: u16, dispose, transparent, interlaced| gif::Frame {
        width: side,
        height: side,
        left: 1,
        top: 2,
        dispose,
        transparent,
        interlaced,
        delay: 3,
        buffer: samples(usize::from(side) * usize::from(side)).iter().map(|value| value % 16).collect(),
        ..gif::Frame::default()
    };
    let encoded = |frames: Vec<gif::Frame<'_>>| {
        let mut bytes = Vec::new();
        let mut encoder = gif::Encoder::new(&mut bytes, 12, 13, &palette).unwrap();
        encoder.set_repeat(gif::Repeat::Infinite).unwrap();
        for frame in &frames {
            encoder.write_frame(frame).unwrap();
        }
        drop(encoder);
        bytes
    };
    let mut local = frame(9, Any, None, false);
    local.palette = Some(samples(16 * 3));
    let moving = vec![
        frame(10, Keep, None, false),
        frame(5, Previous, Some(3), false),
        frame(6, Background, Some(0), true),
        frame(4, Any, None, false),
    ];
    let mut files = vec![
        ("still", encoded(vec![frame(10, Any, None, false)])),
        ("interlaced", encoded(vec![frame(11, Any, Some(1), true)])),
        ("local-palette", encoded(vec![local])),
        ("moving", encoded(moving)),
    ];
    files.extend(fixtures!["interlaced.gif"]);
    files
}

/// Of every format some.
fn files() -> Vec<Seed> {
    let formats = [
        jpeg(),
        png(),
        webp(),
        gif(),
        bmp(),
        tiff(),
        avif(),
        #[cfg(feature = "heic")]
        heic(),
        #[cfg(feature = "jxl")]
        jxl(),
    ];
    formats.concat()
}

fn with_settings(files: Vec<Seed>, settings: &[u8]) -> Vec<Seed> {
    files.into_iter().map(|(name, bytes)| (name, [settings, &bytes].concat())).collect()
}

pub(crate) fn for_probe() -> Vec<Seed> {
    with_settings(files(), &[2])
}

pub(crate) fn for_private() -> Vec<Seed> {
    let formats = [
        jpeg(),
        png(),
        webp(),
        gif(),
        tiff(),
        #[cfg(feature = "jxl")]
        jxl(),
        private(),
    ];
    formats.concat()
}

/// Each with other settings.
pub(crate) fn for_render() -> Vec<Seed> {
    let with_its_own = |(index, (name, mut bytes)): (usize, Seed)| {
        let mut settings = samples(SETTINGS_BYTES + 8 * index).split_off(8 * index);
        settings.append(&mut bytes);
        (name, settings)
    };
    files().into_iter().enumerate().map(with_its_own).collect()
}

pub(crate) fn exif() -> Vec<Seed> {
    let little = Block { thumbnail: Vec::new(), ..camera(false) };
    let settings = |container: u8, block: &Block| [&[container], block.build().as_slice()].concat();
    vec![
        ("jpeg", settings(0, &camera(true))),
        ("png", settings(1, &camera(false))),
        ("webp", settings(2, &little)),
        ("jpeg-to-webp", settings(6, &little)),
    ]
}

pub(crate) fn profiles() -> Vec<Seed> {
    use moxcms::ColorProfile;
    let of =
        |container: u8, profile: ColorProfile| [&[container], profile.encode().unwrap().as_slice()].concat();
    vec![
        ("srgb", of(0, ColorProfile::new_srgb())),
        ("p3-kept", of(0x80, ColorProfile::new_display_p3())),
        ("adobe-rgb-16", of(3, ColorProfile::new_adobe_rgb())),
        ("prophoto", of(0, ColorProfile::new_pro_photo_rgb())),
        ("gray", of(1, ColorProfile::new_gray_with_gamma(1.8))),
        ("gray-16", of(4, ColorProfile::new_gray_with_gamma(2.2))),
        ("inks", [&[2], inks().as_slice()].concat()),
    ]
}

/// A profile of four inks: a `lut8Type` of two points each way (ICC.1:2010, section 10.9).
fn inks() -> Vec<u8> {
    let curve = |count: usize| (0..count * 256).map(|index| index as u8);
    let mut lut = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
    for element in 0..9 {
        lut.extend(if element % 4 == 0 { [0, 1, 0, 0] } else { [0; 4] });
    }
    lut.extend(curve(4));
    // The more ink the darker.
    lut.extend((0..16_u32).flat_map(|corner| [255 - 60 * corner.count_ones() as u8, 128, 128]));
    lut.extend(curve(3));
    let offset = 128 + 4 + 12;
    let mut header = vec![0; 128];
    header[..4].copy_from_slice(&((offset + lut.len()) as u32).to_be_bytes());
    header[8..12].copy_from_slice(&[2, 0x40, 0, 0]);
    header[12..24].copy_from_slice(b"prtrCMYKLab ");
    header[36..40].copy_from_slice(b"acsp");
    // The illuminant, D50.
    header[68..80].copy_from_slice(&[0, 0, 0xF6, 0xD6, 0, 1, 0, 0, 0, 0, 0xD3, 0x2D]);
    let number = |value: usize| (value as u32).to_be_bytes();
    [header, number(1).to_vec(), b"A2B0".to_vec(), number(offset).to_vec(), number(lut.len()).to_vec(), lut]
        .concat()
}
