//! Pixels in memory.

use crate::Orientation;

/// What the bytes of a pixel mean. All are full range, 8 bits, interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One byte: luma.
    Luma,
    /// Three bytes: luma, blue difference, red difference (JFIF, which is BT.601 in full range).
    YCbCr,
    /// Three bytes: red, green, blue.
    Rgb,
}

impl Layout {
    /// Bytes per pixel.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Luma => 1,
            Self::YCbCr | Self::Rgb => 3,
        }
    }
}

/// A picture: `height` rows of `width` pixels of `layout`, top to bottom, left to right, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) layout: Layout,
    pub(crate) data: Vec<u8>,
}

/// Bytes of a frame.
pub(crate) fn frame_bytes(width: u32, height: u32, layout: Layout) -> u64 {
    u64::from(width) * u64::from(height) * layout.bytes() as u64
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
            Layout::Luma => turn::<1>(&self, &mut shown, orientation),
            Layout::YCbCr | Layout::Rgb => turn::<3>(&self, &mut shown, orientation),
        }
        shown
    }
}

/// Side of the blocks in which axes are swapped: 32 rows of a block stay in the first-level cache while its columns are
/// written.
const BLOCK: usize = 32;

/// Turns `stored` into `shown`, whose pixels are `N` bytes each.
fn turn<const N: usize>(stored: &Frame, shown: &mut Frame, orientation: Orientation) {
    let (width, height) = (shown.width as usize, shown.height as usize);
    let (from, _) = stored.data.as_chunks::<N>();
    let (to, _) = shown.data.as_chunks_mut::<N>();
    let stride = stored.width as usize;
    let rows = stored.height as usize;
    let row_of = |row: usize| if orientation.reads_rows_backwards() { rows - 1 - row } else { row };
    if orientation.swaps_axes() {
        let column_of = |column: usize| {
            if orientation.reads_columns_backwards() { stride - 1 - column } else { column }
        };
        for top in (0..height).step_by(BLOCK) {
            for left in (0..width).step_by(BLOCK) {
                for y in top..(top + BLOCK).min(height) {
                    let column = column_of(y);
                    let end = (left + BLOCK).min(width);
                    for (x, pixel) in (left..end).zip(&mut to[y * width + left..y * width + end]) {
                        *pixel = from[row_of(x) * stride + column];
                    }
                }
            }
        }
        return;
    }
    for (y, line) in to.chunks_exact_mut(width).enumerate() {
        let source = &from[row_of(y) * stride..][..stride];
        line.copy_from_slice(source);
        if orientation.reads_columns_backwards() {
            line.reverse();
        }
    }
}

/// Lays pixels of `C` colour bytes and one of alpha (not premultiplied) on white, in place, and drops the alpha.
///
/// On white and before resizing: both are linear, so the outcome is that of resizing premultiplied pixels and laying
/// those on white, and the frame is a quarter smaller.
pub(crate) fn flatten_on_white<const C: usize>(pixels: &mut Vec<u8>) {
    let stride = C + 1;
    let count = pixels.len() / stride;
    for index in 0..count {
        let from = index * stride;
        let alpha = u32::from(pixels[from + C]);
        for channel in 0..C {
            let value = u32::from(pixels[from + channel]);
            let mixed = value * alpha + 255 * (255 - alpha);
            // Division by 255, rounded to the nearest, and at most 255.
            pixels[index * C + channel] = ((mixed + 127) / 255) as u8;
        }
    }
    // The memory of the alpha stays: giving it back would copy the whole picture, and hold it twice meanwhile.
    pixels.truncate(count * C);
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
    fn three_byte_pixels_and_sizes_beyond_a_block_turn_whole() {
        let (width, height) = (70_u32, 45_u32);
        let mut frame = Frame::zeroed(width, height, Layout::Rgb);
        for (index, pixel) in frame.data.chunks_exact_mut(3).enumerate() {
            pixel.copy_from_slice(&[index as u8, (index >> 8) as u8, 7]);
        }
        let turned = frame.clone().turned(Orientation::Rotate90);
        assert_eq!((turned.width, turned.height), (height, width));
        for y in 0..width as usize {
            for x in 0..height as usize {
                let at = (y * height as usize + x) * 3;
                let from = ((height as usize - 1 - x) * width as usize + y) * 3;
                assert_eq!(turned.data[at..at + 3], frame.data[from..from + 3]);
            }
        }
        assert_eq!(turned.turned(Orientation::Rotate270), frame);
    }

    #[test]
    fn alpha_is_laid_on_white() {
        let mut pixels = vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128];
        flatten_on_white::<3>(&mut pixels);
        assert_eq!(pixels, [10, 20, 30, 255, 255, 255, 127, 177, 227]);
        let mut gray = vec![10, 255, 10, 0];
        flatten_on_white::<1>(&mut gray);
        assert_eq!(gray, [10, 255]);
    }
}
