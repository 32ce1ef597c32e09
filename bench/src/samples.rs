//! The photos that are measured when no folder is given.

use std::path::Path;

use anyhow::Context;
use darkroom_media::synth::{PhotoSpec, jpeg};

use crate::engine::{Engine, Fit, Format, Orientation, Output, Size, SourceFormat, presets};
use crate::folder::{Photo, read_photos};
use crate::picture::Picture;

/// The photos of a folder, or a few generated ones of the kinds that phones and editors write.
pub(crate) fn photos(folder: Option<&Path>) -> anyhow::Result<Vec<Photo>> {
    folder.map_or_else(|| Ok(few()), read_photos)
}

/// A landscape of 12 MP, a portrait of 12 MP that must be turned, and a progressive one of 2 MP.
fn few() -> Vec<Photo> {
    let landscape = PhotoSpec::default();
    let portrait = PhotoSpec { seed: 1, orientation: Orientation::Rotate90, ..landscape };
    let small = PhotoSpec { seed: 2, width: 1632, height: 1224, progressive: true, ..landscape };
    vec![
        generated("generated 12 MP landscape", &landscape),
        generated("generated 12 MP portrait, turned", &portrait),
        generated("generated 2 MP progressive", &small),
    ]
}

/// One photo that never was.
pub(crate) fn generated(name: &str, spec: &PhotoSpec) -> Photo {
    let pixels = u64::from(spec.width) * u64::from(spec.height);
    Photo { name: name.to_owned(), format: SourceFormat::Jpeg, pixels, bytes: jpeg(spec).into() }
}

/// One picture in every kind of file that this program can write by itself: `spec` as baseline and as progressive JPEG, and
/// the pixels of that as PNG, as lossless and as lossy WebP, and as AVIF.
pub(crate) fn kinds(spec: &PhotoSpec) -> anyhow::Result<Vec<Photo>> {
    let baseline = generated("baseline JPEG", &PhotoSpec { progressive: false, ..*spec });
    let progressive = generated("progressive JPEG", &PhotoSpec { progressive: true, ..*spec });
    let picture = Picture::decode(&baseline.bytes)?;
    let also = |name: &str, format, bytes: Vec<u8>| Photo {
        name: name.to_owned(),
        format,
        pixels: baseline.pixels,
        bytes: bytes.into(),
    };
    let png = also("PNG", SourceFormat::Png, png(&picture)?);
    let lossless = also("lossless WebP", SourceFormat::WebP, lossless_webp(&picture)?);
    let lossy = also("lossy WebP", SourceFormat::WebP, lossy_webp(&baseline)?);
    let avif = also("AVIF", SourceFormat::Avif, avif(&picture)?);
    Ok(vec![baseline, progressive, png, lossless, lossy, avif])
}

fn sides(picture: &Picture) -> anyhow::Result<(u32, u32)> {
    Ok((picture.width.try_into()?, picture.height.try_into()?))
}

fn png(picture: &Picture) -> anyhow::Result<Vec<u8>> {
    let (width, height) = sides(picture)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(picture.pixels.as_flattened())?;
    Ok(bytes)
}

fn lossless_webp(picture: &Picture) -> anyhow::Result<Vec<u8>> {
    let (width, height) = sides(picture)?;
    let mut bytes = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.encode(picture.pixels.as_flattened(), width, height, image_webp::ColorType::Rgb8)?;
    Ok(bytes)
}

/// By the encoder that is measured: nothing else here writes lossy WebP.
fn lossy_webp(photo: &Photo) -> anyhow::Result<Vec<u8>> {
    let whole = Size { name: "whole", width: 16_383, height: 16_383, fit: Fit::Inside };
    let output = Output { format: Format::WebP, quality: 90, optimise: false, effort: Some(0) };
    let presets = presets(&[whole], output).map_err(anyhow::Error::msg)?;
    let rendered = Engine::default().probe_decode_render(&photo.bytes, &presets)?;
    let (variant, _) = rendered.variants.first().context("there is no variant")?;
    Ok(variant.bytes.clone())
}

fn avif(picture: &Picture) -> anyhow::Result<Vec<u8>> {
    let pixels: Vec<ravif::RGB8> =
        picture.pixels.iter().map(|[red, green, blue]| ravif::RGB8::new(*red, *green, *blue)).collect();
    let image = ravif::Img::new(pixels.as_slice(), picture.width, picture.height);
    let encoder = ravif::Encoder::new().with_quality(80.0).with_speed(10).with_num_threads(Some(1));
    Ok(encoder.encode_rgb(image)?.avif_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{kind, probe_only};

    #[test]
    fn every_kind_is_what_it_is_called() {
        let spec = PhotoSpec { width: 80, height: 64, ..PhotoSpec::default() };
        let found: Vec<String> = kinds(&spec)
            .unwrap()
            .iter()
            .map(|photo| {
                let probed = probe_only(&photo.bytes).unwrap();
                assert_eq!((probed.width, probed.height, probed.format), (80, 64, photo.format));
                kind(&probed)
            })
            .collect();
        assert_eq!(found, ["JPEG baseline", "JPEG progressive", "PNG", "WebP", "WebP", "AVIF"]);
    }
}
