//! A frame to a JPEG without metadata.

use jpeg_encoder::{
    ChromaSubsamplingMethod, ColorType, Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor,
};

use crate::frame::{Frame, Layout};

/// Greatest width or height that JPEG can express.
const JPEG_SIDE_MAX: u32 = u16::MAX as u32;

/// Interleaved `YCbCr`, handed to the encoder as three rows, chroma averaged over 2 × 2 pixels.
///
/// The encoder can average itself, but from planes that it has filled first: 5 ms more for the five variants of a photo.
/// So it is told to take the nearest sample, which is the one at even columns of even rows, and finds the average there.
struct YCbCrRows<'a> {
    frame: &'a Frame,
}

/// Pixels that are taken apart at a time: a fixed multiple of four, which the compiler turns into shuffles.
const GROUP: usize = 32;

impl YCbCrRows<'_> {
    fn row(&self, y: usize) -> &[[u8; 3]] {
        let (pixels, _) = self.frame.data.as_chunks::<3>();
        let width = self.frame.width as usize;
        &pixels[y * width..][..width]
    }
}

/// The mean of four samples. Halves are rounded down in even columns of means and up in odd ones, so that neither side
/// gains over a picture (libjpeg's jcsample.c).
fn mean([a, b, c, d]: [u8; 4], column: usize) -> u8 {
    let bias = 1 + (column % 2) as u16;
    // At most 255.
    ((u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + bias) / 4) as u8
}

/// Appends the means of channel `C` of 2 × 2 pixels, each twice, so that columns stay where they are.
fn push_means<const C: usize>(means: &mut Vec<u8>, top: &[[u8; 3]], bottom: &[[u8; 3]]) {
    let (top_groups, top_rest) = top.as_chunks::<GROUP>();
    let (bottom_groups, bottom_rest) = bottom.as_chunks::<GROUP>();
    for (above, below) in top_groups.iter().zip(bottom_groups) {
        let group: [u8; GROUP] = std::array::from_fn(|index| {
            let (even, odd) = (index & !1, index | 1);
            mean([above[even][C], above[odd][C], below[even][C], below[odd][C]], index / 2)
        });
        means.extend_from_slice(&group);
    }
    for (column, (above, below)) in top_rest.chunks(2).zip(bottom_rest.chunks(2)).enumerate() {
        // The last column of an odd width is its own neighbour.
        let last = above.len() - 1;
        let value = mean([above[0][C], above[last][C], below[0][C], below[last][C]], column);
        means.extend(std::iter::repeat_n(value, above.len()));
    }
}

impl ImageBuffer for YCbCrRows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        // Compared with JPEG_SIDE_MAX before.
        self.frame.width as u16
    }

    fn height(&self) -> u16 {
        self.frame.height as u16
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (y, last) = (usize::from(y), self.frame.height as usize - 1);
        let [luma, blue, red, _] = buffers;
        let top = self.row(y);
        let (groups, rest) = top.as_chunks::<GROUP>();
        for group in groups {
            luma.extend_from_slice(&group.map(|pixel| pixel[0]));
        }
        luma.extend(rest.iter().map(|pixel| pixel[0]));
        if y % 2 == 1 && y != last {
            // Never looked at, but it must be there.
            blue.resize(blue.len() + top.len(), 0);
            red.resize(red.len() + top.len(), 0);
            return;
        }
        // The last row is repeated to fill a unit, so its mean is needed whatever its number.
        let (top, bottom) = if y % 2 == 1 { (top, top) } else { (top, self.row((y + 1).min(last))) };
        push_means::<1>(blue, top, bottom);
        push_means::<2>(red, top, bottom);
    }
}

/// Encodes a frame as a baseline JFIF JPEG of one scan: 4:2:0 with averaged chroma, or gray, and nothing about camera,
/// place or time.
///
/// Huffman tables are the standard's. Computed ones would save 4 % of a thumbnail's bytes, but jpeg-encoder 0.7 writes
/// them with one scan per component, which zune-jpeg 0.5.15 decodes to plain green: this crate could not read its own
/// variants.
///
/// `quality` is 1 to 100 on libjpeg's scale. Fails with the encoder's words, for a frame wider or taller than 65,535
/// pixels.
pub(crate) fn encode_jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>, String> {
    if frame.width > JPEG_SIDE_MAX || frame.height > JPEG_SIDE_MAX {
        return Err(format!(
            "{}×{} pixels are more than a JPEG can have, which is {JPEG_SIDE_MAX} a side",
            frame.width, frame.height
        ));
    }
    // Compared just above.
    let (width, height) = (frame.width as u16, frame.height as u16);
    let mut bytes = Vec::with_capacity(first_capacity(frame.width, frame.height));
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(match frame.layout {
        Layout::YCbCr => ChromaSubsamplingMethod::Nearest,
        Layout::Luma | Layout::Rgb => ChromaSubsamplingMethod::Average,
    });
    let outcome = match frame.layout {
        Layout::Luma => encoder.encode(&frame.data, width, height, ColorType::Luma),
        Layout::Rgb => encoder.encode(&frame.data, width, height, ColorType::Rgb),
        Layout::YCbCr => encoder.encode_image(YCbCrRows { frame }),
    };
    outcome.map_err(|error: EncodingError| error.to_string())?;
    // Variants wait to be stored, and are charged by their length.
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// A third of a byte per pixel holds most photos at quality 80 without growing.
fn first_capacity(width: u32, height: u32) -> usize {
    (width as usize * height as usize) / 3 + 1024
}

/// An upper bound of the bytes that are held while a picture of so many pixels is encoded, without the picture itself.
///
/// Noise of full contrast takes 1.9 bytes per pixel at quality 85 and 3.4 at 100; while the buffer grows, the old one and
/// the new one of twice the size are held.
pub(crate) fn encoding_bytes_max(width: u32, height: u32, quality: u8) -> u64 {
    // Rows of one MCU in three full-size planes.
    let mcu_rows = (u64::from(width) + 16) * 16 * 3;
    encoded_bytes_max(width, height, quality) * 3 + mcu_rows
}

/// An upper bound of a JPEG's bytes.
pub(crate) fn encoded_bytes_max(width: u32, height: u32, quality: u8) -> u64 {
    let per_pixel = if quality <= 85 { 2 } else { 4 };
    // At least one MCU, and the headers with their tables.
    (u64::from(width) + 15) * (u64::from(height) + 15) * per_pixel + 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: u32, height: u32, layout: Layout) -> Frame {
        let mut frame = Frame::zeroed(width, height, layout);
        let mut state = 0x1234_5678_u32;
        for byte in &mut frame.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = if state >> 31 == 0 { 0 } else { 255 };
        }
        frame
    }

    #[test]
    fn even_noise_of_full_contrast_stays_below_the_bound() {
        for quality in [1, 80, 85, 100] {
            for layout in [Layout::Luma, Layout::YCbCr, Layout::Rgb] {
                let bytes = encode_jpeg(&noise(640, 480, layout), quality).unwrap().len() as u64;
                let bound = encoded_bytes_max(640, 480, quality);
                assert!(bytes <= bound, "{layout:?} at quality {quality}: {bytes} bytes, bound {bound}");
            }
        }
    }

    #[test]
    fn chroma_is_averaged_as_the_encoder_would() {
        // Widths without padding, in which alone the two round differently.
        for (width, height) in [(64, 48), (16, 47), (32, 1), (48, 2), (80, 33)] {
            let frame = noise(width, height, Layout::YCbCr);
            let mut expected = Vec::new();
            let mut encoder = Encoder::new(&mut expected, 90);
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
            encoder.encode(&frame.data, width as u16, height as u16, ColorType::Ycbcr).unwrap();
            assert!(encode_jpeg(&frame, 90).unwrap() == expected, "{width}×{height}");
        }
    }

    #[test]
    fn the_last_column_of_an_odd_width_is_its_own_neighbour() {
        let top = [[0, 10, 1], [0, 20, 2], [0, 30, 3], [0, 41, 4], [0, 50, 5]];
        let bottom = [[0, 10, 1], [0, 20, 2], [0, 30, 3], [0, 41, 4], [0, 51, 5]];
        let mut means = Vec::new();
        push_means::<1>(&mut means, &top, &bottom);
        assert_eq!(means, [15, 15, 36, 36, 50]);
    }

    #[test]
    fn a_variant_has_no_segment_but_what_decoding_needs() {
        let bytes = encode_jpeg(&noise(40, 30, Layout::Rgb), 80).unwrap();
        let mut at = 2;
        let mut markers = Vec::new();
        while bytes[at + 1] != 0xDA {
            markers.push(bytes[at + 1]);
            at += 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        }
        assert_eq!(bytes[6..11], *b"JFIF\0");
        // JFIF, frame, quantisation and Huffman tables.
        assert!(markers.iter().all(|marker| [0xE0, 0xC0, 0xDB, 0xC4].contains(marker)), "{markers:02X?}");
        assert!(!markers[1..].contains(&0xE0), "one JFIF segment, first: {markers:02X?}");
    }

    #[test]
    fn a_side_beyond_jpeg_is_refused_with_its_size() {
        let error = encode_jpeg(&Frame::zeroed(65_536, 1, Layout::Luma), 80).unwrap_err();
        assert!(error.contains("65536×1"), "{error}");
    }
}
