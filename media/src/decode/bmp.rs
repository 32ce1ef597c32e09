//! BMP, decoded here: the format is a header, rows of bytes, and one simple run-length code.
//!
//! The alternative would be a crate that reads more of the format's oddities and has its own idea of what to allocate for
//! them. Every access below is checked against the file's end, and the only memory is the frame.

use super::deadline::{Deadline, Watch};
use super::{Decoded, check_same_size};
use crate::bitmap::{Coding, FILE_HEADER_BYTES, Header, header_bytes};
use crate::color::Color;
use crate::frame::{Frame, Layout};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// Held while a BMP is decoded, beside its frame: a copy of its colour profile.
pub(crate) const fn bmp_bytes(probe: &Probe) -> u64 {
    probe.metadata_bytes
}

fn truncated() -> MediaError {
    MediaError::Truncated { format: SourceFormat::Bmp, what: "the pixel data" }
}

/// Looks at the clock now and then, between rows or codes.
pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    if original.len() < FILE_HEADER_BYTES + 4 {
        return Err(truncated());
    }
    let held = header_bytes(original)?.min(original.len());
    let header = Header::read(&original[..held], limits)?;
    check_same_size(probe, header.width.into(), header.height.into())?;
    let pixels = usize::try_from(header.pixels_offset).ok().and_then(|offset| original.get(offset..));
    let pixels = pixels.ok_or_else(truncated)?;
    if header.pixels_end().is_some_and(|end| end > original.len() as u64) {
        return Err(truncated());
    }
    let layout = if header.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let mut frame = Frame::zeroed(header.width, header.height, layout);
    let (palette, watch) = (palette(&header, original), deadline.watch());
    match header.coding {
        Coding::Plain => plain(&header, &palette, pixels, &mut frame, watch)?,
        Coding::RunLengths => RunLengths::new(&header, &palette, &mut frame, watch).read(pixels)?,
    }
    let color = header.profile(original).map_or(Color::Srgb, |profile| Color::of_profile(profile, limits));
    Ok(Decoded::whole(frame, color))
}

/// The palette, as red, green and blue. Indices that it lacks are black, as in browsers.
fn palette(header: &Header, original: &[u8]) -> [[u8; 3]; 256] {
    let mut colors = [[0; 3]; 256];
    let entries = original.get(header.palette_offset..).unwrap_or_default();
    let entries = entries.chunks_exact(header.palette_stride).take(header.palette_colors);
    for (color, entry) in colors.iter_mut().zip(entries) {
        *color = [entry[2], entry[1], entry[0]];
    }
    colors
}

/// Which row of the picture is the one that is stored at `index`.
const fn shown_row(header: &Header, index: usize) -> usize {
    if header.top_down { index } else { header.height as usize - 1 - index }
}

/// Rows of bytes. The caller has compared their end with the file's.
fn plain(
    header: &Header,
    palette: &[[u8; 3]; 256],
    pixels: &[u8],
    frame: &mut Frame,
    mut watch: Watch,
) -> Result<(), MediaError> {
    let (row_bytes, stride) = header.row_bytes();
    let line_bytes = header.width as usize * frame.layout.bytes();
    for (index, row) in pixels.chunks(stride as usize).take(header.height as usize).enumerate() {
        watch.took(line_bytes)?;
        let row = row.get(..row_bytes as usize).unwrap_or(row);
        let at = shown_row(header, index) * line_bytes;
        let line = &mut frame.data[at..at + line_bytes];
        match header.bits {
            24 => {
                for (pixel, bgr) in line.chunks_exact_mut(3).zip(row.chunks_exact(3)) {
                    pixel.copy_from_slice(&[bgr[2], bgr[1], bgr[0]]);
                }
            }
            16 | 32 => masked(header, row, line),
            bits => indexed(usize::from(bits), palette, row, line),
        }
    }
    // Writers that leave the alpha at zero everywhere mean a picture that is there.
    if frame.layout == Layout::Rgba && frame.data.iter().skip(3).step_by(4).all(|alpha| *alpha == 0) {
        frame.data.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 255);
    }
    Ok(())
}

/// A row of indices of 1, 2, 4 or 8 bits, the leftmost in the most significant bits.
fn indexed(bits: usize, palette: &[[u8; 3]; 256], row: &[u8], line: &mut [u8]) {
    let per_byte = 8 / bits;
    for (pixels, byte) in line.chunks_mut(3 * per_byte).zip(row) {
        for (place, pixel) in pixels.chunks_exact_mut(3).enumerate() {
            let index = byte >> (8 - bits * (place + 1)) & (0xFF >> (8 - bits));
            pixel.copy_from_slice(&palette[usize::from(index)]);
        }
    }
}

/// A row of pixels of 16 or 32 bits.
fn masked(header: &Header, row: &[u8], line: &mut [u8]) {
    let (bytes, channels) = (usize::from(header.bits / 8), if header.has_alpha() { 4 } else { 3 });
    for (pixel, stored) in line.chunks_exact_mut(channels).zip(row.chunks_exact(bytes)) {
        let value = stored.iter().rev().fold(0, |value: u32, byte| value << 8 | u32::from(*byte));
        for (channel, mask) in pixel.iter_mut().zip(header.masks) {
            *channel = scaled(value, mask);
        }
    }
}

/// The bits of a mask, to 0 to 255. A colour without bits is absent.
const fn scaled(value: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let shift = mask.trailing_zeros();
    let (value, most) = (((value & mask) >> shift) as u64, (mask >> shift) as u64);
    // At most 255.
    ((value * 255 + most / 2) / most) as u8
}

/// `BI_RLE4` and `BI_RLE8`: pairs of a count and a value, and escapes that begin with a zero.
struct RunLengths<'a> {
    header: &'a Header,
    palette: &'a [[u8; 3]; 256],
    frame: &'a mut Frame,
    x: usize,
    /// Counted as stored.
    y: usize,
    watch: Watch,
}

impl<'a> RunLengths<'a> {
    /// Pixels that no code reaches are transparent in browsers, so they are white here.
    fn new(header: &'a Header, palette: &'a [[u8; 3]; 256], frame: &'a mut Frame, watch: Watch) -> Self {
        frame.data.fill(255);
        Self { header, palette, frame, x: 0, y: 0, watch }
    }

    fn read(mut self, codes: &[u8]) -> Result<(), MediaError> {
        let mut rest = codes;
        while let [first, second, after @ ..] = rest {
            rest = after;
            // A code stands for at most so many pixels.
            self.watch.took(usize::from((*first).max(*second)))?;
            match (*first, *second) {
                (0, 0) => self.next_row(),
                (0, 1) => return Ok(()),
                (0, 2) => {
                    let [right, up, after @ ..] = rest else { break };
                    self.x = self.x.saturating_add(usize::from(*right));
                    self.y = self.y.saturating_add(usize::from(*up));
                    rest = after;
                }
                (0, count) => {
                    let count = usize::from(count);
                    let bytes = if self.header.bits == 8 { count } else { count.div_ceil(2) };
                    // Padded to an even number of bytes, which may be missing at the very end.
                    let Some(values) = rest.get(..bytes) else { break };
                    self.literal(values, count);
                    rest = rest.get(bytes.next_multiple_of(2)..).unwrap_or_default();
                }
                (count, value) => self.run(usize::from(count), value),
            }
        }
        // The end of the picture may be left unsaid.
        let (width, height) = (self.header.width as usize, self.header.height as usize);
        if self.y >= height || self.y + 1 == height && self.x >= width { Ok(()) } else { Err(truncated()) }
    }

    const fn next_row(&mut self) {
        self.x = 0;
        self.y = self.y.saturating_add(1);
    }

    /// The next pixels of this row, at most `count` of them; nothing beyond the picture. Moves behind them.
    fn pixels(&mut self, count: usize) -> &mut [[u8; 3]] {
        let (width, height) = (self.header.width as usize, self.header.height as usize);
        let from = self.x.min(width);
        let to = self.x.saturating_add(count).min(width);
        self.x = self.x.saturating_add(count);
        if self.y >= height {
            return &mut [];
        }
        let row = shown_row(self.header, self.y) * width;
        &mut self.frame.data.as_chunks_mut::<3>().0[row + from..row + to]
    }

    fn literal(&mut self, values: &[u8], count: usize) {
        let (palette, bits) = (self.palette, self.header.bits);
        for (index, pixel) in self.pixels(count).iter_mut().enumerate() {
            let value = if bits == 8 { values[index] } else { half(values[index / 2], index) };
            *pixel = palette[usize::from(value)];
        }
    }

    fn run(&mut self, count: usize, value: u8) {
        let (palette, bits) = (self.palette, self.header.bits);
        for (index, pixel) in self.pixels(count).iter_mut().enumerate() {
            let value = if bits == 8 { value } else { half(value, index) };
            *pixel = palette[usize::from(value)];
        }
    }
}

/// The upper four bits of a byte for even indices, the lower for odd ones.
const fn half(byte: u8, index: usize) -> u8 {
    if index.is_multiple_of(2) { byte >> 4 } else { byte & 0x0F }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::build::Bmp;
    use crate::decode::deadline::clock::assert_ends_in_time;
    use crate::frame::Picture;

    fn frame(bmp: &Bmp) -> Frame {
        let (file, limits) = (bmp.build(), Limits::default());
        let found = crate::probe(&file, &limits).unwrap();
        match decode(&file, &found, &limits, &Deadline::start(&limits)).unwrap().picture {
            Picture::Packed(frame) => frame,
            Picture::Planar(_) => panic!("a BMP is not decoded to planes"),
        }
    }

    const SIZES: [(usize, usize); 5] = [(1, 1), (17, 3), (3, 17), (8, 8), (33, 2)];

    /// Some colour for every place.
    fn color(x: usize, y: usize) -> [u8; 3] {
        [(x * 37 + y) as u8, (y * 91 + x * x) as u8, (x * y + 5) as u8]
    }

    /// Rows upwards, each padded to four bytes.
    fn padded(rows: impl DoubleEndedIterator<Item = Vec<u8>>) -> Vec<u8> {
        rows.rev()
            .flat_map(|mut row| {
                row.resize(row.len().next_multiple_of(4), 0xEE);
                row
            })
            .collect()
    }

    #[test]
    fn indices_of_every_depth_and_header() {
        for (width, height) in SIZES {
            for (bits, header) in [
                (1, 40),
                (2, 40),
                (4, 40),
                (8, 40),
                (1, 12),
                (4, 12),
                (8, 12),
                (8, 16),
                (8, 64),
                (4, 108),
                (8, 124),
            ] {
                let index = |x: usize, y: usize| (x * 7 + y * 3) % (1 << bits);
                let row = |y: usize| {
                    crate::decode::build::pack(
                        &(0..width).map(|x| index(x, y) as u64).collect::<Vec<_>>(),
                        bits,
                        true,
                    )
                };
                let mut bmp =
                    Bmp::new(width as i32, height as i32, bits as u16, padded((0..height).map(row)));
                bmp.header = header;
                bmp.palette = (0..1 << bits).map(|index| color(index, 3)).collect();
                let expected: Vec<u8> = (0..height)
                    .flat_map(|y| {
                        (0..width).flat_map(move |x| {
                            let [b, g, r] = color(index(x, y), 3);
                            [r, g, b]
                        })
                    })
                    .collect();
                let found = frame(&bmp);
                assert_eq!(
                    (found.layout, &found.data),
                    (Layout::Rgb, &expected),
                    "{bits} bits, header {header}"
                );
                // The other way up.
                if header > 12 {
                    bmp.height = -bmp.height;
                    bmp.pixels = padded((0..height).rev().map(row));
                    assert_eq!(frame(&bmp).data, expected, "{bits} bits, header {header}, top down");
                }
            }
        }
    }

    #[test]
    fn an_index_beyond_the_palette_is_black() {
        let mut bmp = Bmp::new(2, 1, 8, [0, 9, 0, 0]);
        bmp.palette = vec![[1, 2, 3]];
        assert_eq!(frame(&bmp).data, [3, 2, 1, 0, 0, 0]);
    }

    #[test]
    fn true_colors_of_24_and_32_bits() {
        for (width, height) in SIZES {
            let expected: Vec<u8> =
                (0..height).flat_map(|y| (0..width).flat_map(move |x| color(x, y))).collect();
            let row = |y: usize, rest: &[u8]| {
                (0..width)
                    .flat_map(|x| {
                        let [r, g, b] = color(x, y);
                        [&[b, g, r], rest].concat()
                    })
                    .collect::<Vec<u8>>()
            };
            for header in [12, 40, 52, 56, 64, 108, 124] {
                let mut bmp =
                    Bmp::new(width as i32, height as i32, 24, padded((0..height).map(|y| row(y, &[]))));
                bmp.header = header;
                assert_eq!(frame(&bmp).data, expected, "{header}");
                if header > 12 {
                    bmp.bits = 32;
                    // The fourth byte means nothing here, though some write an alpha into it.
                    bmp.pixels = padded((0..height).map(|y| row(y, &[0x33])));
                    let found = frame(&bmp);
                    assert_eq!(
                        (found.layout, found.data),
                        (Layout::Rgb, expected.clone()),
                        "{header}, 32 bits"
                    );
                }
            }
        }
    }

    #[test]
    fn bit_fields_are_scaled_to_the_nearest() {
        // 21 of 31, 27 of 63, 24 of 31.
        let value = 0b1010_1011_0111_1000_u16.to_le_bytes();
        let mut bmp = Bmp::new(1, 1, 16, [value[0], value[1], 0, 0]);
        bmp.compression = 3;
        bmp.masks = vec![0xF800, 0x07E0, 0x001F];
        assert_eq!(frame(&bmp).data, [173, 109, 197]);
        // Without masks: five bits each.
        (bmp.compression, bmp.masks) = (0, Vec::new());
        bmp.pixels = vec![0b0011_1000, 0b0000_0110, 0, 0];
        let word = u16::from_le_bytes([bmp.pixels[0], bmp.pixels[1]]);
        let five = |shift: u16| ((u32::from(word >> shift & 31) * 255 + 15) / 31) as u8;
        assert_eq!(frame(&bmp).data, [five(10), five(5), five(0)]);
        // Ten bits each, and all 32 in one colour.
        let mut bmp = Bmp::new(1, 1, 32, (1023_u32 << 20 | 512 << 10 | 1).to_le_bytes());
        bmp.compression = 3;
        bmp.masks = vec![1023 << 20, 1023 << 10, 1023];
        assert_eq!(frame(&bmp).data, [255, 128, 0]);
        bmp.masks = vec![u32::MAX, 0, 0];
        bmp.pixels = vec![0xFF; 4];
        assert_eq!(frame(&bmp).data, [255, 0, 0]);
    }

    #[test]
    fn alpha_is_read_where_a_mask_names_it() {
        let pixels: Vec<u8> = vec![3, 2, 1, 128, 6, 5, 4, 255];
        let masks = vec![0x00FF_0000, 0x0000_FF00, 0x0000_00FF, 0xFF00_0000];
        for (header, compression) in [(40, 6), (56, 3), (108, 3), (124, 3)] {
            let mut bmp = Bmp::new(2, 1, 32, pixels.clone());
            (bmp.header, bmp.compression, bmp.masks) = (header, compression, masks.clone());
            let found = frame(&bmp);
            assert_eq!(
                (found.layout, found.data.as_slice()),
                (Layout::Rgba, [1, 2, 3, 128, 4, 5, 6, 255].as_slice())
            );
            // Zero everywhere: nobody saves a picture that cannot be seen.
            bmp.pixels = vec![3, 2, 1, 0, 6, 5, 4, 0];
            assert_eq!(frame(&bmp).data, [1, 2, 3, 255, 4, 5, 6, 255]);
        }
        // A header of 52 bytes has no room for the mask.
        let mut bmp = Bmp::new(2, 1, 32, pixels);
        (bmp.header, bmp.compression, bmp.masks) = (52, 3, masks[..3].to_vec());
        assert_eq!(frame(&bmp).layout, Layout::Rgb);
    }

    fn indices(bmp: &Bmp) -> Vec<u8> {
        frame(bmp).data.iter().step_by(3).copied().collect()
    }

    fn run_lengths(width: i32, height: i32, bits: u16, codes: &[u8]) -> Bmp {
        let mut bmp = Bmp::new(width, height, bits, codes);
        bmp.compression = if bits == 8 { 1 } else { 2 };
        // Red is the index.
        bmp.palette = (0..1 << bits).map(|index| [0, 0, index as u8]).collect();
        bmp
    }

    #[test]
    fn decoding_ends_in_time() {
        let ends = |looks_min: u32, bmp: &Bmp| {
            let (file, limits) = (bmp.build(), Limits::default());
            let found = crate::probe(&file, &limits).unwrap();
            assert_ends_in_time(looks_min, |deadline| decode(&file, &found, &limits, deadline));
        };
        ends(3, &Bmp::new(200, 100, 24, vec![7; 200 * 100 * 3]));
        // Codes that show nothing: jumps to where the picture is already.
        let codes = [[0, 2, 0, 0].repeat(30_000), vec![1, 5, 0, 1]].concat();
        ends(3, &run_lengths(1, 1, 8, &codes));
    }

    #[test]
    fn run_lengths_of_8_bits() {
        // Row 0 (the lowest): three 7s, then 1 2 as a literal; row 1: a jump right; row 2: beyond its end.
        let codes = [3, 7, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 2, 0, 1, 9, 0, 0, 200, 4, 0, 1];
        let expected = [4, 4, 4, 4, 4, 4, 255, 255, 9, 255, 255, 255, 7, 7, 7, 1, 2, 3];
        assert_eq!(indices(&run_lengths(6, 3, 8, &codes)), expected);
        // The same from the top.
        let mut down = run_lengths(6, 3, 8, &codes);
        down.height = -3;
        let expected: Vec<u8> = expected.chunks(6).rev().flatten().copied().collect();
        assert_eq!(indices(&down), expected);
        // The end is unsaid, but all rows are there.
        assert_eq!(indices(&run_lengths(2, 1, 8, &[2, 5])), [5, 5]);
        // A jump upwards, and codes beyond the picture.
        assert_eq!(
            indices(&run_lengths(2, 2, 8, &[0, 2, 0, 1, 2, 8, 0, 2, 9, 9, 5, 5, 0, 1])),
            [8, 8, 255, 255]
        );
    }

    #[test]
    fn run_lengths_of_4_bits_alternate() {
        let codes = [5, 0x12, 0, 0, 0, 5, 0x34, 0x56, 0x70, 0, 0, 1];
        assert_eq!(indices(&run_lengths(5, 2, 4, &codes)), [3, 4, 5, 6, 7, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn run_lengths_that_stop_too_early_are_an_error() {
        for codes in [&[][..], &[3, 7], &[3, 7, 0], &[0, 2, 1], &[0, 9, 1, 2, 3], &[6, 1, 0, 0, 5, 1]] {
            let file = run_lengths(6, 2, 8, codes).build();
            let limits = Limits::default();
            let found = crate::probe(&file, &limits).unwrap();
            let error = decode(&file, &found, &limits, &Deadline::start(&limits)).err();
            assert!(matches!(error, Some(MediaError::Truncated { .. })), "{codes:?}: {error:?}");
        }
    }

    #[test]
    fn an_embedded_profile_comes_with_the_pixels() {
        let mut bmp = Bmp::new(1, 1, 24, [3, 2, 1, 0]);
        (bmp.header, bmp.profile) = (124, vec![5; 200]);
        let (file, limits) = (bmp.build(), Limits::default());
        let found = crate::probe(&file, &limits).unwrap();
        assert_eq!((found.metadata_bytes, found.image_bytes), (200, file.len() as u64));
        assert_eq!(
            decode(&file, &found, &limits, &Deadline::start(&limits)).unwrap().color,
            Color::Icc(vec![5; 200])
        );
        assert!(crate::probe(&file[..file.len() - 1], &limits).is_err());
    }
}
