//! Files to pixels, for comparing: every side's results and every reference go through this one decoder.

use std::io::Cursor;

use anyhow::{Context, bail, ensure};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::engine::{Orientation, probe_only};

/// 8-bit RGB, upright, row by row from the top. Transparent pixels were laid on white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `width` × `height` pixels.
    pub(crate) pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// Decodes a JPEG, a PNG or a WebP at its full size. Embedded colour profiles are not applied.
    ///
    /// The probe's limits hold: nothing is allocated for a larger image.
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        let probed = probe_only(bytes)?;
        let (width, height) = (probed.width as usize, probed.height as usize);
        let pixels = match probed.format.mime() {
            "image/jpeg" => decode_jpeg(bytes, (width, height)),
            "image/png" => decode_png(bytes, (width, height)),
            "image/webp" => decode_webp(bytes, (width, height)),
            _ => bail!("no reference can be made of {}: only of JPEG, PNG and WebP", probed.format),
        }
        .with_context(|| format!("the {} cannot be decoded", probed.format))?;
        ensure!(pixels.len() == width * height, "the {} has another size than its header", probed.format);
        Ok(Self { width, height, pixels }.upright(probed.orientation))
    }

    /// Turned as the EXIF orientation demands.
    fn upright(self, orientation: Orientation) -> Self {
        let (w, h) = (self.width, self.height);
        let (width, height) = if orientation.swaps_axes() { (h, w) } else { (w, h) };
        let stored = |x: usize, y: usize| match orientation {
            Orientation::Upright => (x, y),
            Orientation::FlipHorizontal => (w - 1 - x, y),
            Orientation::Rotate180 => (w - 1 - x, h - 1 - y),
            Orientation::FlipVertical => (x, h - 1 - y),
            Orientation::Transpose => (y, x),
            Orientation::Rotate90 => (y, h - 1 - x),
            Orientation::Transverse => (w - 1 - y, h - 1 - x),
            Orientation::Rotate270 => (w - 1 - y, x),
        };
        if orientation == Orientation::Upright {
            return self;
        }
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            pixels.extend((0..width).map(|x| {
                let (column, row) = stored(x, y);
                self.pixels[row * w + column]
            }));
        }
        Self { width, height, pixels }
    }
}

fn decode_jpeg(bytes: &[u8], (width, height): (usize, usize)) -> anyhow::Result<Vec<[u8; 3]>> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let data = decoder.decode().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(rgb(&data, 3))
}

fn decode_png(bytes: &[u8], (width, height): (usize, usize)) -> anyhow::Result<Vec<[u8; 3]>> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info()?;
    let channels = reader.output_color_type().0.samples();
    let mut data = vec![0; width * height * channels];
    reader.next_frame(&mut data)?;
    Ok(rgb(&data, channels))
}

fn decode_webp(bytes: &[u8], (width, height): (usize, usize)) -> anyhow::Result<Vec<[u8; 3]>> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes))?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut data = vec![0; width * height * channels];
    decoder.read_image(&mut data)?;
    Ok(rgb(&data, channels))
}

/// Gray, gray with alpha, RGB or RGB with alpha, by the number of channels.
fn rgb(data: &[u8], channels: usize) -> Vec<[u8; 3]> {
    let on_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        // At most 255: a weighted mean, rounded.
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let pixels = data.chunks_exact(channels);
    match channels {
        1 => pixels.map(|pixel| [pixel[0]; 3]).collect(),
        2 => pixels.map(|pixel| [on_white(pixel[0], pixel[1]); 3]).collect(),
        3 => pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        _ => pixels
            .map(|pixel| [pixel[0], pixel[1], pixel[2]].map(|value| on_white(value, pixel[3])))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use darkroom_media::synth::{PhotoSpec, jpeg};

    use super::*;

    #[test]
    fn transparency_is_laid_on_white() {
        assert_eq!(rgb(&[7, 9], 1), [[7; 3], [9; 3]]);
        assert_eq!(rgb(&[10, 255, 10, 0], 2), [[10; 3], [255; 3]]);
        assert_eq!(rgb(&[0, 100, 255, 51], 4), [[204, 224, 255]]);
    }

    #[test]
    fn every_orientation_stands_upright() {
        // 3 × 2, numbered in reading order; what a viewer shows of it, by EXIF number.
        let expected: [&[u8]; 8] = [
            &[0, 1, 2, 3, 4, 5],
            &[2, 1, 0, 5, 4, 3],
            &[5, 4, 3, 2, 1, 0],
            &[3, 4, 5, 0, 1, 2],
            &[0, 3, 1, 4, 2, 5],
            &[3, 0, 4, 1, 5, 2],
            &[5, 2, 4, 1, 3, 0],
            &[2, 5, 1, 4, 0, 3],
        ];
        let stored = Picture { width: 3, height: 2, pixels: (0..6).map(|value| [value; 3]).collect() };
        for (orientation, shown) in Orientation::ALL.into_iter().zip(expected) {
            let upright = stored.clone().upright(orientation);
            let values: Vec<u8> = upright.pixels.iter().map(|pixel| pixel[0]).collect();
            assert_eq!(values, shown, "{orientation:?}");
            assert_eq!(upright.width, if orientation.swaps_axes() { 2 } else { 3 });
        }
    }

    #[test]
    fn files_of_each_format_are_read_and_others_refused() {
        let spec =
            PhotoSpec { width: 64, height: 48, orientation: Orientation::Rotate90, ..PhotoSpec::default() };
        let photo = Picture::decode(&jpeg(&spec)).unwrap();
        assert_eq!((photo.width, photo.height), (48, 64));
        let data: Vec<u8> = photo.pixels.concat();
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, 48, 64);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&data).unwrap();
        assert!(Picture::decode(&png).unwrap() == photo);
        let mut webp = Vec::new();
        let encoder = image_webp::WebPEncoder::new(&mut webp);
        encoder.encode(&data, 48, 64, image_webp::ColorType::Rgb8).unwrap();
        assert!(Picture::decode(&webp).unwrap() == photo);
        assert!(Picture::decode(b"no picture").is_err());
        assert!(Picture::decode(&png[..png.len() / 2]).is_err());
    }
}
