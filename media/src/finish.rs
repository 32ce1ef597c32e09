//! What happens to a frame between the cascade and the encoder: colour, sharpening, background, border.

use std::borrow::Cow;

use crate::color::Space;
use crate::encode::packed;
use crate::frame::{Frame, Layout, Picture, Plane, flattened};
use crate::plan::Finish;
use crate::resize::{Scratch, with_half_chroma};
use crate::sharpen::sharpen;
use crate::{OutputFormat, ycbcr};

/// The picture as it will be encoded. Borrowed where nothing is to be done. Fails with the colour engine's words.
pub(crate) fn finish<'a>(
    picture: &'a Picture,
    finish: &Finish,
    space: &Space,
    scratch: &mut Scratch,
) -> Result<Cow<'a, Picture>, String> {
    let mut picture = Cow::Borrowed(picture);
    if space.must_convert(finish.gamut) {
        picture = Cow::Owned(in_srgb(&picture, space, scratch)?);
    }
    if finish.sharpen > 0 {
        sharpen_picture(picture.to_mut(), f32::from(finish.sharpen) / 100.0, scratch);
    }
    if finish.format == OutputFormat::Jpeg
        && let Picture::Packed(frame @ Frame { layout: Layout::Rgba, .. }) = picture.as_ref()
    {
        let background = space.of_srgb(finish.background.0, finish.gamut);
        picture = Cow::Owned(Picture::Packed(flattened(frame, background)));
    }
    if picture.size() != finish.canvas {
        let background = space.of_srgb(finish.background.0, finish.gamut);
        picture = Cow::Owned(with_border(&picture, finish, background, scratch)?);
    }
    if matches!(finish.format, OutputFormat::Jpeg | OutputFormat::WebP)
        && let Picture::Planar(planes) = picture.as_ref()
        && planes.step != (2, 2)
    {
        picture = Cow::Owned(Picture::Planar(with_half_chroma(planes.clone(), scratch)?));
    }
    Ok(picture)
}

fn in_srgb(picture: &Picture, space: &Space, scratch: &mut Scratch) -> Result<Picture, String> {
    Ok(match picture {
        Picture::Planar(planes) if planes.step == (2, 2) => {
            Picture::Planar(space.planes_to_srgb(planes)?.into_owned())
        }
        _ => Picture::Packed(space.to_srgb(&*packed(picture, scratch)?)?.into_owned()),
    })
}

fn sharpen_picture(picture: &mut Picture, amount: f32, scratch: &mut Scratch) {
    match picture {
        Picture::Planar(planes) => {
            let Plane { width, height, data } = &mut planes.luma;
            sharpen(*width, *height, 1, data, amount, &mut scratch.rows);
        }
        Picture::Packed(Frame { width, height, layout, data }) => {
            sharpen(*width, *height, layout.bytes(), data, amount, &mut scratch.rows);
        }
    }
}

/// The picture in the middle of a canvas of the background's colour. Transparent pixels stay transparent, the border
/// never is.
fn with_border(
    picture: &Picture,
    finish: &Finish,
    background: [u8; 3],
    scratch: &mut Scratch,
) -> Result<Picture, String> {
    let (width, height) = finish.canvas;
    let frame = packed(picture, scratch)?;
    let (left, top) = (width.saturating_sub(frame.width) / 2, height.saturating_sub(frame.height) / 2);
    let [red, green, blue] = background;
    let gray = red == green && green == blue;
    let (layout, pixel) = match frame.layout {
        Layout::Luma if gray => (Layout::Luma, vec![red]),
        Layout::Luma | Layout::Rgb => (Layout::Rgb, vec![red, green, blue]),
        Layout::Rgba => (Layout::Rgba, vec![red, green, blue, 255]),
    };
    let mut canvas = Frame { width, height, layout, data: pixel.repeat(width as usize * height as usize) };
    let bytes = layout.bytes();
    let columns = (frame.width.min(width)) as usize;
    let rows = frame.data.chunks_exact(frame.width as usize * frame.layout.bytes());
    for (y, row) in rows.enumerate().take(height as usize) {
        let start = ((top as usize + y) * width as usize + left as usize) * bytes;
        let line = &mut canvas.data[start..start + columns * bytes];
        if frame.layout == layout {
            line.copy_from_slice(&row[..columns * bytes]);
        } else {
            // Gray on a coloured border.
            for (luma, pixel) in row.iter().zip(line.chunks_exact_mut(3)) {
                pixel.fill(*luma);
            }
        }
    }
    if matches!(picture, Picture::Planar(_)) && finish.format != OutputFormat::Png {
        return Ok(Picture::Planar(ycbcr::to_planes(&canvas)));
    }
    Ok(Picture::Packed(canvas))
}
