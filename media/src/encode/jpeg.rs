//! JPEG, through jpeg-encoder.

use jpeg_encoder::{
    ChromaSubsamplingMethod, ColorType, Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor,
};

use crate::frame::{Frame, Layout, Picture, Planes, planes_bytes};
use crate::ycbcr;

/// Greatest width or height that JPEG can express.
const JPEG_SIDE_MAX: u32 = u16::MAX as u32;

/// Planes of 4:2:0, handed to the encoder as it asks for them: in rows as wide as the luma, of which it then takes the
/// nearest chroma sample, the one at even columns of even rows. Each chroma sample is therefore given twice.
struct PlaneRows<'a> {
    planes: &'a Planes,
}

impl ImageBuffer for PlaneRows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        // Compared with JPEG_SIDE_MAX before.
        self.planes.luma.width as u16
    }

    fn height(&self) -> u16 {
        self.planes.luma.height as u16
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (y, last) = (usize::from(y), self.planes.luma.height as usize - 1);
        let [luma, blue, red, _] = buffers;
        let row = self.planes.luma.row(y);
        luma.extend_from_slice(row);
        for (plane, wide) in [(&self.planes.blue, blue), (&self.planes.red, red)] {
            if y % 2 == 1 && y != last {
                // Never looked at, but it must be there.
                wide.resize(wide.len() + row.len(), 0);
            } else {
                // The last row is repeated to fill a unit, so it is needed whatever its number.
                push_twice(wide, plane.row(y / 2), row.len());
            }
        }
    }
}

/// Appends `length` samples, each of `row` twice.
fn push_twice(wide: &mut Vec<u8>, row: &[u8], length: usize) {
    let start = wide.len();
    wide.resize(start + length, 0);
    let (pairs, odd) = wide[start..].as_chunks_mut::<2>();
    for (pair, sample) in pairs.iter_mut().zip(row) {
        *pair = [*sample; 2];
    }
    if let ([odd], Some(sample)) = (odd, row.last()) {
        *odd = *sample;
    }
}

/// Encodes a picture as a baseline JFIF JPEG of one scan: 4:2:0 with averaged chroma, or gray, and nothing about camera,
/// place or time. Transparent pixels must have been laid on a background, and planes have chroma halved both ways.
///
/// Huffman tables are the standard's. Computed ones would save 4 % of a thumbnail's bytes, but jpeg-encoder 0.7 writes
/// them with one scan per component, which costs more than it saves.
///
/// `quality` is 1 to 100 on libjpeg's scale. Fails with the encoder's words, for a picture wider or taller than 65,535
/// pixels.
pub(super) fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>, String> {
    let (width, height) = picture.size();
    if width > JPEG_SIDE_MAX || height > JPEG_SIDE_MAX {
        return Err(format!(
            "{width}×{height} pixels are more than a JPEG can have, which is {JPEG_SIDE_MAX} a side"
        ));
    }
    let mut bytes = Vec::with_capacity(first_capacity(width, height));
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let outcome = match picture {
        Picture::Planar(planes) => planar(encoder, planes),
        // Compared just above.
        Picture::Packed(frame @ Frame { layout: Layout::Luma, .. }) => {
            encoder.encode(&frame.data, width as u16, height as u16, ColorType::Luma)
        }
        Picture::Packed(frame @ Frame { layout: Layout::Rgb, .. }) => {
            planar(encoder, &ycbcr::to_planes(frame))
        }
        Picture::Packed(Frame { layout: Layout::Rgba, .. }) => {
            return Err("a JPEG has no transparent pixels".to_owned());
        }
    };
    outcome.map_err(|error: EncodingError| error.to_string())?;
    // Variants wait to be stored, and are charged by their length.
    bytes.shrink_to_fit();
    Ok(bytes)
}

fn planar(mut encoder: Encoder<&mut Vec<u8>>, planes: &Planes) -> Result<(), EncodingError> {
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
    encoder.encode_image(PlaneRows { planes })
}

/// A third of a byte per pixel holds most photos at quality 80 without growing.
fn first_capacity(width: u32, height: u32) -> usize {
    (width as usize * height as usize) / 3 + 1024
}

/// An upper bound of the bytes that are held while a picture of so many pixels is encoded, without the picture itself.
///
/// Noise of full contrast takes 1.9 bytes per pixel at quality 85 and 3.4 at 100; while the buffer grows, the old one and
/// the new one of twice the size are held.
pub(super) fn encoding_bytes_max(width: u32, height: u32, quality: u8) -> u64 {
    // Rows of one MCU in three full-size planes.
    let mcu_rows = (u64::from(width) + 16) * 16 * 3;
    // RGB becomes planes.
    encoded_bytes_max(width, height, quality) * 3 + mcu_rows + planes_bytes(width, height)
}

/// An upper bound of a JPEG's bytes.
pub(super) fn encoded_bytes_max(width: u32, height: u32, quality: u8) -> u64 {
    let per_pixel = if quality <= 85 { 2 } else { 4 };
    // At least one MCU, and the headers with their tables.
    (u64::from(width) + 15) * (u64::from(height) + 15) * per_pixel + 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Plane;

    fn noise(width: u32, height: u32, channels: usize) -> Vec<u8> {
        let mut state = 0x1234_5678_u32;
        (0..width as usize * height as usize * channels)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 31 == 0 { 0 } else { 255 }
            })
            .collect()
    }

    fn packed(width: u32, height: u32, layout: Layout) -> Picture {
        let data = noise(width, height, layout.bytes());
        Picture::Packed(Frame { width, height, layout, data })
    }

    fn planar(width: u32, height: u32) -> Picture {
        let plane = |width: u32, height: u32| Plane { width, height, data: noise(width, height, 1) };
        let half = (width.div_ceil(2), height.div_ceil(2));
        let [luma, blue, red] = [plane(width, height), plane(half.0, half.1), plane(half.0, half.1)];
        Picture::Planar(Planes { luma, blue, red, step: (2, 2) })
    }

    #[test]
    fn even_noise_of_full_contrast_stays_below_the_bound() {
        for quality in [1, 80, 85, 100] {
            for picture in [packed(640, 480, Layout::Luma), packed(640, 480, Layout::Rgb), planar(640, 480)] {
                let bytes = encode(&picture, quality).unwrap().len() as u64;
                let bound = encoded_bytes_max(640, 480, quality);
                assert!(bytes <= bound, "at quality {quality}: {bytes} bytes, bound {bound}");
            }
        }
    }

    #[test]
    fn planes_are_written_as_the_samples_that_they_are() {
        // The same picture with each chroma sample in all its pixels, averaged by the encoder.
        for (width, height) in [(64, 48), (17, 3), (1, 1), (32, 1), (48, 2), (81, 33)] {
            let Picture::Planar(planes) = planar(width, height) else { unreachable!() };
            let mut interleaved = Vec::new();
            for y in 0..height as usize {
                for x in 0..width as usize {
                    interleaved.extend([
                        planes.luma.row(y)[x],
                        planes.blue.row(y / 2)[x / 2],
                        planes.red.row(y / 2)[x / 2],
                    ]);
                }
            }
            let mut expected = Vec::new();
            let mut encoder = Encoder::new(&mut expected, 90);
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
            encoder.encode(&interleaved, width as u16, height as u16, ColorType::Ycbcr).unwrap();
            assert!(encode(&Picture::Planar(planes), 90).unwrap() == expected, "{width}×{height}");
        }
    }

    #[test]
    fn a_variant_has_no_segment_but_what_decoding_needs() {
        let bytes = encode(&packed(40, 30, Layout::Rgb), 80).unwrap();
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
        let wide = Picture::Packed(Frame::zeroed(65_536, 1, Layout::Luma));
        let error = encode(&wide, 80).unwrap_err();
        assert!(error.contains("65536×1"), "{error}");
    }
}
