//! Which part of a photo a variant shows.

use crate::encode::packed;
use crate::focus::{attention, entropy};
use crate::frame::{Frame, Picture};
use crate::plan::{Shape, cut};
use crate::resize::{Chroma, Light, Scratch, Window, resize};
use crate::{Focus, Orientation};

/// Side of the box of the picture in which a focal point is looked for, in pixels.
pub(crate) const FOCUS_SIDE: u32 = 256;

/// Cuts all variants of one photo. Where the focal point is to be found, it is looked for in one small picture: else each
/// variant would be cut by what happens to be seen at the size that it is made from.
#[derive(Debug, Default)]
pub(crate) struct Cropper {
    /// As shown (upright), at most [`FOCUS_SIDE`] long; made when it is first needed.
    small: Option<Frame>,
}

impl Cropper {
    /// The part of a source that a shape shows, as shown (upright). The source is a whole copy of the photo, of any size,
    /// stored as `orientation` says. Fails with the resizer's words.
    pub(crate) fn window(
        &mut self,
        source: &Picture,
        orientation: Orientation,
        shape: Shape,
        scratch: &mut Scratch,
    ) -> Result<Window, String> {
        let point = match shape.crop {
            None => return Ok(Window::WHOLE),
            Some(Focus::Center) => (0.5, 0.5),
            Some(Focus::Point(across, down)) => (f64::from(across) / 1000.0, f64::from(down) / 1000.0),
            Some(focus @ (Focus::Entropy | Focus::Attention)) => {
                let small = match self.small.take() {
                    Some(small) => small,
                    None => small(source, orientation, scratch)?,
                };
                interesting(self.small.insert(small), shape, focus)
            }
        };
        Ok(cut(orientation.turn(source.size()), shape.size(), point))
    }
}

/// The picture in which focal points are looked for, upright.
fn small(source: &Picture, orientation: Orientation, scratch: &mut Scratch) -> Result<Frame, String> {
    let (width, height) = source.size();
    let scale = (f64::from(FOCUS_SIDE) / f64::from(width.max(height))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let out = (side(width), side(height));
    let small = resize(source, Window::WHOLE, out, Light::Encoded, Chroma::Full, scratch)?;
    Ok(packed(&small.turned(orientation), scratch)?.into_owned())
}

/// Where most is to be seen, as a fraction of the shown width and height.
fn interesting(small: &Frame, shape: Shape, focus: Focus) -> (f64, f64) {
    let (width, height) = (small.width, small.height);
    let part = cut((width, height), shape.size(), (0.5, 0.5));
    let along = |length: u32, part: f64| ((f64::from(length) * part).round() as u32).clamp(1, length);
    let window = (along(width, part.width), along(height, part.height));
    match focus {
        Focus::Entropy => entropy(width, height, &small.luma().data, window),
        _ => attention(width, height, &small.rgb().data, window),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Layout;
    use crate::pictures::hashed;

    /// Gray, with noise in a third of its width that begins at `start` thirds.
    fn noisy(width: u32, height: u32, start: u32) -> Picture {
        let pixel = |index: u32| {
            let noise = index % width * 3 / width == start;
            if noise { hashed(index.into()) as u8 } else { 128 }
        };
        let data = (0..width * height).map(pixel).collect();
        Picture::Packed(Frame { width, height, layout: Layout::Luma, data })
    }

    fn square(side: u32, focus: Focus) -> Shape {
        Shape { width: side, height: side, crop: Some(focus), light: Light::Encoded }
    }

    #[test]
    fn all_variants_are_cut_at_the_same_place() {
        let (photo, smaller) = (noisy(600, 200, 2), noisy(300, 100, 0));
        for focus in [Focus::Entropy, Focus::Attention] {
            let window = |cropper: &mut Cropper, source: &Picture, side| {
                let shape = square(side, focus);
                cropper.window(source, Orientation::Upright, shape, &mut Scratch::default()).unwrap()
            };
            let mut cropper = Cropper::default();
            let first = window(&mut cropper, &photo, 150);
            assert!(first.left > 0.5, "{focus:?}: {first:?}");
            // Whatever is seen in the copy that the next one is made from.
            assert_eq!(window(&mut cropper, &smaller, 50), first, "{focus:?}");
            assert!(window(&mut Cropper::default(), &smaller, 50).left < 0.2, "{focus:?}");
        }
    }

    #[test]
    fn the_place_is_one_of_the_photo_as_it_is_shown() {
        let photo = noisy(600, 200, 2);
        let shape = square(100, Focus::Entropy);
        let mut cropper = Cropper::default();
        let window = cropper.window(&photo, Orientation::Rotate180, shape, &mut Scratch::default()).unwrap();
        assert!(window.left < 0.2, "{window:?}");
        let upright = photo.turned(Orientation::Rotate180);
        let again = cropper.window(&upright, Orientation::Upright, shape, &mut Scratch::default()).unwrap();
        assert_eq!(again, window);
    }
}
