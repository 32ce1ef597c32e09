//! What happens to a frame between the cascade and the encoder: colour, background, sharpening, border.

use std::borrow::Cow;

use crate::color::Space;
use crate::encode::packed;
use crate::frame::{Frame, Layout, Picture, Plane, Planes, flattened};
use crate::plan::Finish;
use crate::resize::{Scratch, half_chroma};
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
    // Before it is sharpened: only then every colour is one that is seen.
    if finish.format == OutputFormat::Jpeg
        && let Picture::Packed(frame @ Frame { layout: Layout::Rgba, .. }) = picture.as_ref()
    {
        let background = space.of_srgb(finish.background.0, finish.gamut);
        picture = Cow::Owned(Picture::Packed(flattened(frame, background)));
    }
    let bordered = picture.size() != finish.canvas;
    // Before it is sharpened, so that chroma is copied at no other size. A border is laid on chroma at full size.
    if !bordered
        && matches!(finish.format, OutputFormat::Jpeg | OutputFormat::WebP)
        && let Picture::Planar(planes) = picture.as_ref()
        && planes.step != (2, 2)
    {
        let [blue, red] = half_chroma(planes, scratch)?;
        let luma = planes.luma.clone();
        picture = Cow::Owned(Picture::Planar(Planes { luma, blue, red, step: (2, 2) }));
    }
    if finish.sharpen > 0 {
        sharpen_picture(picture.to_mut(), f32::from(finish.sharpen) / 100.0, scratch);
    }
    if bordered {
        let background = space.of_srgb(finish.background.0, finish.gamut);
        picture = Cow::Owned(with_border(&picture, finish, background, scratch)?);
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
    let mut frame = packed(picture, scratch)?;
    let [red, green, blue] = background;
    if frame.layout == Layout::Luma && !(red == green && green == blue) {
        frame = Cow::Owned(frame.rgb().into_owned());
    }
    let (left, top) = (width.saturating_sub(frame.width) / 2, height.saturating_sub(frame.height) / 2);
    let bytes = frame.layout.bytes();
    let data = [red, green, blue, 255][..bytes].repeat(width as usize * height as usize);
    let mut canvas = Frame { width, height, layout: frame.layout, data };
    let columns = (frame.width.min(width)) as usize;
    let rows = frame.data.chunks_exact(frame.width as usize * bytes);
    for (y, row) in rows.enumerate().take(height as usize) {
        let start = ((top as usize + y) * width as usize + left as usize) * bytes;
        canvas.data[start..][..columns * bytes].copy_from_slice(&row[..columns * bytes]);
    }
    if matches!(picture, Picture::Planar(_)) && finish.format != OutputFormat::Png {
        return Ok(Picture::Planar(ycbcr::to_planes(&canvas)));
    }
    Ok(Picture::Packed(canvas))
}
