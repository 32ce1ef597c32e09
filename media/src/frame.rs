//! Pixels in memory.

use std::borrow::Cow;

use crate::turn::turn;
use crate::{Orientation, ycbcr};

/// What the bytes of a pixel mean. All are full range, 8 bits, interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One byte: luma.
    Luma,
    /// Three bytes: red, green, blue.
    Rgb,
    /// Four bytes: red, green, blue, and straight (not premultiplied) alpha.
    Rgba,
}

impl Layout {
    /// Bytes per pixel.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Luma => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// One component: `height` rows of `width` samples of 8 bits, top to bottom, left to right, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plane {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) data: Vec<u8>,
}

/// A picture in three planes: luma, blue difference, red difference (JFIF, which is BT.601 in full range). Both chroma
/// planes are of one size; their samples lie centred on the area that they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planes {
    pub(crate) luma: Plane,
    pub(crate) blue: Plane,
    pub(crate) red: Plane,
    /// Luma samples per chroma sample, across and down: 1, 2 or 4. Where the luma's side is no multiple, the last chroma
    /// sample reaches beyond it.
    pub(crate) step: (u32, u32),
}

/// The pixels of a photo, in the shape in which they stay from the decoder to the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Picture {
    /// `YCbCr` with chroma at its own size: what photos are stored in and will be encoded in.
    Planar(Planes),
    /// Everything else.
    Packed(Frame),
}

/// A picture: `height` rows of `width` pixels of `layout`, top to bottom, left to right, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) layout: Layout,
    pub(crate) data: Vec<u8>,
}

/// Pixels from which alpha is dropped at a time.
const ALPHA_RUN: usize = 64;

/// Bytes of a frame.
pub(crate) fn frame_bytes(width: u32, height: u32, layout: Layout) -> u64 {
    u64::from(width) * u64::from(height) * layout.bytes() as u64
}

impl Plane {
    /// All of one value. The caller has compared the size with the limits.
    pub(crate) fn filled(width: u32, height: u32, value: u8) -> Self {
        Self { width, height, data: vec![value; width as usize * height as usize] }
    }

    /// Row `y`, which is below the height.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width as usize..][..self.width as usize]
    }

    fn turned(self, orientation: Orientation) -> Self {
        let Frame { width, height, data, .. } =
            Frame { width: self.width, height: self.height, layout: Layout::Luma, data: self.data }
                .turned(orientation);
        Self { width, height, data }
    }
}

impl Planes {
    pub(crate) const fn size(&self) -> (u32, u32) {
        (self.luma.width, self.luma.height)
    }

    fn turned(self, orientation: Orientation) -> Self {
        let (across, down) = orientation.turn(self.step);
        Self {
            luma: self.luma.turned(orientation),
            blue: self.blue.turned(orientation),
            red: self.red.turned(orientation),
            step: (across, down),
        }
    }
}

impl Picture {
    /// Width and height in pixels.
    pub(crate) const fn size(&self) -> (u32, u32) {
        match self {
            Self::Planar(planes) => planes.size(),
            Self::Packed(frame) => (frame.width, frame.height),
        }
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let capacity = match self {
            Self::Planar(planes) => {
                planes.luma.data.capacity() + planes.blue.data.capacity() + planes.red.data.capacity()
            }
            Self::Packed(frame) => frame.data.capacity(),
        };
        capacity as u64
    }

    /// Whether a pixel may be transparent.
    pub(crate) const fn has_alpha(&self) -> bool {
        matches!(self, Self::Packed(Frame { layout: Layout::Rgba, .. }))
    }

    /// The same picture standing upright, when it is stored as `orientation` says.
    ///
    /// Of planes whose last chroma sample reaches beyond the luma, that sample may become the first. The caller sees to it
    /// that this is invisible, or brings chroma to the luma's size before.
    pub(crate) fn turned(self, orientation: Orientation) -> Self {
        match self {
            Self::Planar(planes) => Self::Planar(planes.turned(orientation)),
            Self::Packed(frame) => Self::Packed(frame.turned(orientation)),
        }
    }
}

/// Bytes of planes with chroma halved both ways.
pub(crate) fn planes_bytes(width: u32, height: u32) -> u64 {
    let chroma = u64::from(width.div_ceil(2)) * u64::from(height.div_ceil(2));
    u64::from(width) * u64::from(height) + 2 * chroma
}

impl Frame {
    /// All zero. The caller has compared the size with the limits.
    pub(crate) fn zeroed(width: u32, height: u32, layout: Layout) -> Self {
        let bytes = frame_bytes(width, height, layout) as usize;
        Self { width, height, layout, data: vec![0; bytes] }
    }

    /// The same picture standing upright, when it is stored as `orientation` says.
    pub(crate) fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::Upright {
            return self;
        }
        let (width, height) = orientation.turn((self.width, self.height));
        let mut shown = Self::zeroed(width, height, self.layout);
        match self.layout {
            Layout::Luma => self.turn_into::<1>(&mut shown, orientation),
            Layout::Rgb => self.turn_into::<3>(&mut shown, orientation),
            Layout::Rgba => self.turn_into::<4>(&mut shown, orientation),
        }
        shown
    }

    fn turn_into<const N: usize>(&self, shown: &mut Self, orientation: Orientation) {
        let ((from, _), (to, _)) = (self.data.as_chunks::<N>(), shown.data.as_chunks_mut::<N>());
        turn((self.width, self.height), from, to, orientation);
    }
}

/// Lays straight RGBA on a colour: RGB of the same size.
pub(crate) fn flattened(frame: &Frame, background: [u8; 3]) -> Frame {
    let mut flat = Frame::zeroed(frame.width, frame.height, Layout::Rgb);
    let (from, _) = frame.data.as_chunks::<4>();
    let (to, _) = flat.data.as_chunks_mut::<3>();
    for ([red, green, blue, alpha], pixel) in from.iter().zip(to) {
        let mix = |value: u8, behind: u8| {
            let (value, behind, alpha) = (u32::from(value), u32::from(behind), u32::from(*alpha));
            // Division by 255, rounded to the nearest, and at most 255.
            ((value * alpha + behind * (255 - alpha) + 127) / 255) as u8
        };
        *pixel = [mix(*red, background[0]), mix(*green, background[1]), mix(*blue, background[2])];
    }
    flat
}

impl Frame {
    /// As one byte of luma per pixel; what is transparent counts as black. Borrowed where it is so already.
    pub(crate) fn luma(&self) -> Cow<'_, Self> {
        if self.layout == Layout::Luma {
            return Cow::Borrowed(self);
        }
        let rgb = self.rgb();
        let (pixels, _) = rgb.data.as_chunks::<3>();
        let data = pixels.iter().map(|pixel| ycbcr::luma_of(*pixel)).collect();
        Cow::Owned(self.with(Layout::Luma, data))
    }

    /// As RGB; what is transparent counts as black. Borrowed where it is so already.
    pub(crate) fn rgb(&self) -> Cow<'_, Self> {
        match self.layout {
            Layout::Luma => {
                let data = self.data.iter().flat_map(|luma| [*luma; 3]).collect();
                Cow::Owned(self.with(Layout::Rgb, data))
            }
            Layout::Rgb => Cow::Borrowed(self),
            Layout::Rgba => Cow::Owned(flattened(self, [0; 3])),
        }
    }

    /// As straight RGBA. Borrowed where it is so already.
    pub(crate) fn rgba(&self) -> Cow<'_, Self> {
        let data = match self.layout {
            Layout::Luma => self.data.iter().flat_map(|luma| [*luma, *luma, *luma, 255]).collect(),
            Layout::Rgb => {
                let (pixels, _) = self.data.as_chunks::<3>();
                pixels.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 255]).collect()
            }
            Layout::Rgba => return Cow::Borrowed(self),
        };
        Cow::Owned(self.with(Layout::Rgba, data))
    }

    /// Other pixels of the same size.
    const fn with(&self, layout: Layout, data: Vec<u8>) -> Self {
        Self { width: self.width, height: self.height, layout, data }
    }

    /// Drops an alpha channel in which every pixel is opaque, in place. The memory of the alpha stays: giving it back would
    /// copy the whole picture, and hold it twice meanwhile.
    pub(crate) fn without_opaque_alpha(mut self) -> Self {
        let (pixels, _) = self.data.as_chunks::<4>();
        if self.layout != Layout::Rgba || pixels.iter().any(|[.., alpha]| *alpha != 255) {
            return self;
        }
        let count = pixels.len();
        // A run is read before it is written to, and written to where all was read.
        let mut run = [[0; 4]; ALPHA_RUN];
        for start in (0..count).step_by(ALPHA_RUN) {
            let run = &mut run[..ALPHA_RUN.min(count - start)];
            let bytes = &self.data[start * 4..][..run.len() * 4];
            run.as_flattened_mut().copy_from_slice(bytes);
            let (to, _) = self.data[start * 3..][..run.len() * 3].as_chunks_mut::<3>();
            for (pixel, [red, green, blue, _]) in to.iter_mut().zip(run) {
                *pixel = [*red, *green, *blue];
            }
        }
        self.data.truncate(count * 3);
        self.layout = Layout::Rgb;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 × 2 pixels, stored:
    /// ```text
    /// 1 2 3
    /// 4 5 6
    /// ```
    fn stored() -> Frame {
        Frame { width: 3, height: 2, layout: Layout::Luma, data: vec![1, 2, 3, 4, 5, 6] }
    }

    #[test]
    fn every_orientation_stands_upright() {
        let shown: [(u16, u32, &[u8]); 8] = [
            (1, 3, &[1, 2, 3, 4, 5, 6]),
            (2, 3, &[3, 2, 1, 6, 5, 4]),
            (3, 3, &[6, 5, 4, 3, 2, 1]),
            (4, 3, &[4, 5, 6, 1, 2, 3]),
            (5, 2, &[1, 4, 2, 5, 3, 6]),
            (6, 2, &[4, 1, 5, 2, 6, 3]),
            (7, 2, &[6, 3, 5, 2, 4, 1]),
            (8, 2, &[3, 6, 2, 5, 1, 4]),
        ];
        for (number, width, data) in shown {
            let turned = stored().turned(Orientation::from_exif(number).unwrap());
            assert_eq!((turned.width, turned.data.as_slice()), (width, data), "orientation {number}");
        }
    }

    #[test]
    fn alpha_is_laid_on_a_colour() {
        let data = vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128];
        let frame = Frame { width: 3, height: 1, layout: Layout::Rgba, data };
        assert_eq!(flattened(&frame, [255; 3]).data, [10, 20, 30, 255, 255, 255, 127, 177, 227]);
        assert_eq!(flattened(&frame, [0, 0, 100]).data[3..6], [0, 0, 100]);
        assert_eq!(frame.clone().without_opaque_alpha(), frame);
        let opaque = Frame { data: vec![1, 2, 3, 255, 4, 5, 6, 255], width: 2, ..frame };
        let plain = opaque.without_opaque_alpha();
        assert_eq!((plain.layout, plain.data), (Layout::Rgb, vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn every_layout_becomes_every_other() {
        let frame = |layout, data: &[u8]| Frame { width: 2, height: 1, layout, data: data.to_vec() };
        let gray = frame(Layout::Luma, &[7, 200]);
        let rgb = frame(Layout::Rgb, &[255, 0, 0, 0, 0, 255]);
        let rgba = frame(Layout::Rgba, &[255, 0, 0, 255, 0, 0, 255, 0]);
        assert_eq!(*gray.rgb(), frame(Layout::Rgb, &[7, 7, 7, 200, 200, 200]));
        assert_eq!(*gray.rgba(), frame(Layout::Rgba, &[7, 7, 7, 255, 200, 200, 200, 255]));
        assert_eq!(*rgb.luma(), frame(Layout::Luma, &[76, 29]));
        assert_eq!(*rgb.rgba(), frame(Layout::Rgba, &[255, 0, 0, 255, 0, 0, 255, 255]));
        assert_eq!(*rgba.luma(), frame(Layout::Luma, &[76, 0]));
        assert_eq!(*rgba.rgb(), frame(Layout::Rgb, &[255, 0, 0, 0, 0, 0]));
        for same in [gray.luma(), rgb.rgb(), rgba.rgba()] {
            assert!(matches!(same, Cow::Borrowed(_)), "{same:?}");
        }
    }

    #[test]
    fn opaque_alpha_is_dropped_from_any_number_of_pixels() {
        for count in [1, ALPHA_RUN - 1, ALPHA_RUN, ALPHA_RUN + 1, 3 * ALPHA_RUN + 7] {
            let pixel = |index: usize| [index as u8, (index >> 8) as u8, (index * 7) as u8];
            let data: Vec<u8> = (0..count).flat_map(pixel).collect();
            let rgba: Vec<u8> =
                data.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect();
            let frame = Frame { width: count as u32, height: 1, layout: Layout::Rgba, data: rgba };
            let mut translucent = frame.clone();
            translucent.data[count * 4 - 1] = 254;
            assert_eq!(translucent.clone().without_opaque_alpha(), translucent);
            let plain = frame.without_opaque_alpha();
            assert_eq!((plain.layout, plain.data), (Layout::Rgb, data), "{count} pixels");
        }
    }
}
