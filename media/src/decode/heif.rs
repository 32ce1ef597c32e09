//! AVIF and HEIC: the parts of the main picture, decoded one by one and laid on one canvas as RGB.
//!
//! A picture is one part, or a grid of them: iPhones store tiles of 512 × 512. A part is converted and forgotten before
//! the next is decoded, so a grid costs its canvas and one tile.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::deadline::Deadline;
use super::ycbcr::{Converter, Opacity, Planes, to_8_bits};
use super::{Decoded, avif, check_same_size};
use crate::color::{Color, Reducer};
use crate::frame::{Frame, Layout};
#[cfg(feature = "heic")]
use crate::heif::hevc_configuration;
use crate::heif::{Chroma, Codec, Directory, Layer, Picture, Signal, Window, directory_of, operating_point};
use crate::{Limits, MediaError, Probe};

/// Looks at the clock before and after every part is decoded, and between the rows that are laid on the canvas. Neither
/// codec can be stopped inside a part.
pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    let directory = directory_of(original, probe.format)?;
    let picture = Picture::find(&directory, limits)?;
    check_same_size(probe, picture.window.width.into(), picture.window.height.into())?;
    let file = File { original, directory: &directory, probe, limits, deadline };

    let mut canvas = Canvas::new(&picture);
    // The first part of a grid speaks for all.
    let mut reduction = None;
    file.each_part(&picture.color, &mut |part, at| {
        let signal = picture.color.signal.unwrap_or_else(|| part.signal());
        let converter = Converter::new(part, signal).ok_or_else(|| file.unknown_matrix(signal))?;
        let reduction = reduction.get_or_insert_with(|| {
            let color = color_of(&picture, signal, limits);
            Reduction::new(color, part.bit_depth(), converter.channels())
        });
        canvas.lay(part, at, converter, reduction, deadline)
    })?;
    if let Some(alpha) = &picture.alpha {
        file.each_part(alpha, &mut |part, at| {
            let full_range = alpha.signal.unwrap_or_else(|| part.signal()).full_range;
            canvas.lay_opacity(part, at, Opacity::new(part, full_range), deadline)
        })?;
        if picture.premultiplied {
            unmultiply(&mut canvas.frame.data);
        }
    }
    Ok(Decoded::whole(canvas.frame, reduction.map_or(Color::Srgb, |reduction| reduction.color)))
}

/// A profile says more than code points do. The reader needs both: the code points also say how to get to RGB.
fn color_of(picture: &Picture, signal: Signal, limits: &Limits) -> Color {
    let profile = picture.icc.filter(|profile| limits.allow_profile(profile));
    profile.map_or_else(|| signal.color(), |profile| Color::Icc(profile.to_vec()))
}

/// Takes a part, and the place of its upper left corner.
type Lay<'a> = dyn FnMut(&dyn Planes, (u32, u32)) -> Result<(), MediaError> + 'a;

/// What every part is decoded with.
struct File<'a> {
    original: &'a [u8],
    directory: &'a Directory<'a>,
    probe: &'a Probe,
    /// For HEVC: AV1 says how many frames to expect.
    #[cfg_attr(not(feature = "heic"), expect(dead_code))]
    limits: &'a Limits,
    deadline: &'a Deadline,
}

impl File<'_> {
    fn corrupt(&self, detail: impl Into<String>) -> MediaError {
        MediaError::corrupt(self.probe.format, detail)
    }

    fn unknown_matrix(&self, signal: Signal) -> MediaError {
        let (format, matrix) = (self.probe.format, signal.matrix);
        let found = format!("the colour matrix {matrix} of this {format}");
        MediaError::unsupported(found, "export it with the matrix of BT.601 or BT.709")
    }

    /// Decodes the parts of a layer one after the other, and hands each out.
    fn each_part(&self, layer: &Layer, lay: &mut Lay) -> Result<(), MediaError> {
        let columns = layer.columns(self.directory, self.original)?;
        let (width, height) = layer.part_size;
        for (index, item) in (0_u32..).zip(&layer.parts) {
            self.deadline.check()?;
            let data = self.directory.bytes(self.original, *item)?;
            let part = self.decode_part(layer, *item, data)?;
            self.deadline.check()?;
            if part.size() != layer.part_size {
                let (w, h) = part.size();
                let detail = format!("its header says {width}×{height} pixels and its image {w}×{h}");
                return Err(self.corrupt(detail));
            }
            check_components((part.chroma(), part.bit_depth()), layer)
                .map_err(|detail| self.corrupt(detail))?;
            // Within the canvas, or less than a part beyond it.
            lay(part.as_ref(), (index % columns * width, index / columns * height))?;
        }
        Ok(())
    }

    fn decode_part(&self, layer: &Layer, item: u32, data: Cow<[u8]>) -> Result<Box<dyn Planes>, MediaError> {
        let decode = || match layer.codec {
            Codec::Av1 => {
                let point = operating_point(self.directory, item);
                avif::decode(data, layer, point)
            }
            #[cfg(feature = "heic")]
            Codec::Hevc => {
                let configuration = hevc_configuration(self.directory, item);
                super::heic::decode(&data, configuration, layer, self.limits.scans_max)
            }
            #[cfg(not(feature = "heic"))]
            Codec::Hevc => Err("it is HEVC, which this build does not decode".to_owned()),
        };
        // rav1d panics where it should report that a tile is damaged (in its clean-up after the error). What it has
        // allocated is freed on the way, and nothing of it is used again.
        let decoded = catch_unwind(AssertUnwindSafe(decode));
        let decoded = decoded.unwrap_or_else(|_| Err("its pixel data is damaged".to_owned()));
        decoded.map_err(|detail| self.corrupt(detail))
    }
}

/// Refuses components other than those by which a picture was priced. Encoders have written the wrong subsampling; less
/// than was priced does no harm.
pub(super) fn check_components((chroma, bit_depth): (Chroma, u8), layer: &Layer) -> Result<(), String> {
    let same_kind = (chroma == Chroma::None) == (layer.chroma == Chroma::None);
    let fits = chroma.samples_per_64_pixels() <= layer.chroma.samples_per_64_pixels();
    if same_kind && fits && bit_depth <= layer.bit_depth {
        return Ok(());
    }
    Err("its image has other components than its header says".to_owned())
}

/// How rows of 16 bits become rows of 8.
struct Reduction {
    /// For pictures of more than 8 bits.
    reducer: Option<Reducer>,
    /// What the colours are afterwards.
    color: Color,
    reduced: Vec<u8>,
}

impl Reduction {
    fn new(color: Color, bit_depth: u8, channels: usize) -> Self {
        if bit_depth <= 8 {
            return Self { reducer: None, color, reduced: Vec::new() };
        }
        let (reducer, color) = Reducer::new(color, channels);
        Self { reducer: Some(reducer), color, reduced: Vec::new() }
    }

    fn reduce(&mut self, row: &[u16]) -> &[u8] {
        self.reduced.resize(row.len(), 0);
        match &mut self.reducer {
            Some(reducer) => reducer.reduce(row, &mut self.reduced),
            None => {
                for (reduced, sample) in self.reduced.iter_mut().zip(row) {
                    *reduced = to_8_bits(*sample);
                }
            }
        }
        &self.reduced
    }
}

/// Where a part and the window have pixels in common: from which pixel of the part, to which of the canvas, how many.
#[derive(Debug, Clone, Copy)]
struct Overlap {
    from: usize,
    to: usize,
    count: usize,
}

impl Overlap {
    const NONE: Self = Self { from: 0, to: 0, count: 0 };

    /// Along one axis.
    fn new(part_at: u32, part: u32, window_at: u32, window: u32) -> Self {
        let start = part_at.max(window_at);
        let end = part_at.saturating_add(part).min(window_at.saturating_add(window));
        // A part may lie beyond the window as a whole.
        if end <= start {
            return Self::NONE;
        }
        Self {
            from: (start - part_at) as usize,
            to: (start - window_at) as usize,
            count: (end - start) as usize,
        }
    }
}

/// The picture as it is put together.
struct Canvas {
    frame: Frame,
    /// What of the coded picture is on it.
    window: Window,
}

impl Canvas {
    fn new(picture: &Picture) -> Self {
        let layout = match (picture.alpha.is_some(), picture.color.chroma.subsampling()) {
            (true, _) => Layout::Rgba,
            (false, Some(_)) => Layout::Rgb,
            (false, None) => Layout::Luma,
        };
        let window = picture.window;
        Self { frame: Frame::zeroed(window.width, window.height, layout), window }
    }

    /// What a part whose corner lies at `at` has in common with the window: across, and down.
    fn overlap(&self, part: &dyn Planes, at: (u32, u32)) -> (Overlap, Overlap) {
        let (width, height) = part.size();
        let Window { left, top, width: across, height: down } = self.window;
        let (across, down) = (Overlap::new(at.0, width, left, across), Overlap::new(at.1, height, top, down));
        // Rows without a pixel need not be converted.
        if across.count == 0 { (across, Overlap::NONE) } else { (across, down) }
    }

    /// The pixels of row `y` of an overlap.
    fn line(&mut self, across: Overlap, y: usize) -> &mut [u8] {
        let bytes = self.frame.layout.bytes();
        let start = (y * self.frame.width as usize + across.to) * bytes;
        &mut self.frame.data[start..start + across.count * bytes]
    }

    fn lay(
        &mut self,
        part: &dyn Planes,
        at: (u32, u32),
        mut converter: Converter,
        reduction: &mut Reduction,
        deadline: &Deadline,
    ) -> Result<(), MediaError> {
        let (across, down) = self.overlap(part, at);
        let channels = converter.channels();
        let mut row = vec![0; part.size().0 as usize * channels];
        let mut watch = deadline.watch();
        for y in 0..down.count {
            watch.took(row.len())?;
            converter.row(part, down.from + y, &mut row);
            let seen =
                reduction.reduce(&row[across.from * channels..(across.from + across.count) * channels]);
            let transparent = self.frame.layout == Layout::Rgba;
            let line = self.line(across, down.to + y);
            if !transparent {
                line.copy_from_slice(seen);
                continue;
            }
            for (pixel, color) in line.chunks_exact_mut(4).zip(seen.chunks_exact(channels)) {
                // Gray is three times the same.
                for channel in 0..3 {
                    pixel[channel] = color[channel.min(channels - 1)];
                }
            }
        }
        Ok(())
    }

    fn lay_opacity(
        &mut self,
        part: &dyn Planes,
        at: (u32, u32),
        mut opacity: Opacity,
        deadline: &Deadline,
    ) -> Result<(), MediaError> {
        let (across, down) = self.overlap(part, at);
        let mut watch = deadline.watch();
        for y in 0..down.count {
            watch.took(across.count)?;
            let row = opacity.row(part, down.from + y).skip(across.from);
            for (pixel, opacity) in self.line(across, down.to + y).chunks_exact_mut(4).zip(row) {
                pixel[3] = opacity;
            }
        }
        Ok(())
    }
}

/// Divides the colours of RGBA pixels by their opacity. It is done with 8 bits: what is lost where little is opaque is
/// little when it is laid on white.
pub(super) fn unmultiply(pixels: &mut [u8]) {
    for pixel in pixels.chunks_exact_mut(4) {
        let opacity = u32::from(pixel[3]);
        if opacity == 0 || opacity == 255 {
            continue;
        }
        for color in &mut pixel[..3] {
            // Colours cannot be stronger than white.
            *color = ((u32::from(*color) * 255 + opacity / 2) / opacity).min(255) as u8;
        }
    }
}

/// Tables and contexts of the codecs.
const SMALL_BYTES: u64 = 1 << 20;

impl Probe {
    /// Bytes that the codec of an AVIF holds beside the finished picture.
    pub(crate) fn avif_bytes(&self) -> u64 {
        let chroma = Chroma::from_subsampling(self.subsampling);
        self.heif_bytes(avif::bytes_per_64_pixels(self.bit_depth, chroma)) + self.bytes
    }

    /// Bytes that the codec of a HEIC holds beside the finished picture.
    #[cfg(feature = "heic")]
    pub(crate) fn heic_bytes(&self) -> u64 {
        let chroma = Chroma::from_subsampling(self.subsampling);
        // As a stream with start codes, and without the bytes that keep start codes out of it.
        self.heif_bytes(super::heic::bytes_per_64_pixels(chroma)) + 3 * self.bytes
    }

    /// The picture that the codec holds, rows of it, and the directory.
    fn heif_bytes(&self, bytes_per_64_pixels: u64) -> u64 {
        let coded = self.coded_pixels.unwrap_or_else(|| self.pixels());
        coded * bytes_per_64_pixels / 64 + 4 * self.metadata_bytes + SMALL_BYTES
    }
}

#[cfg(test)]
#[path = "../../tests/common/heif.rs"]
mod files;

#[cfg(test)]
mod tests {
    use super::super::deadline::clock::assert_ends_in_time;
    use super::files::{HeifFile, Item, avif, boxed, grid, ispe, nclx, profile, says_alpha};
    use super::*;
    use crate::heif::exif_item;

    fn picture(bytes: &[u8]) -> (Frame, Color) {
        let limits = Limits::default();
        let probe = crate::probe(bytes, &limits).unwrap();
        let decoded = decode(bytes, &probe, &limits, &Deadline::start(&limits)).unwrap();
        match decoded.picture {
            crate::frame::Picture::Packed(frame) => (frame, decoded.color),
            crate::frame::Picture::Planar(_) => panic!("planes"),
        }
    }

    /// A gradient of every channel.
    fn gradient(width: u32, height: u32) -> Vec<u8> {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let level = |value: u32, whole: u32| (value * 255 / whole) as u8;
        pixels.flat_map(|(x, y)| [level(x, width), level(y, height), level(x + y, width + height)]).collect()
    }

    fn assert_near(found: &[u8], expected: &[u8], within: u8) {
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst.unwrap() <= within, "{worst:?}");
    }

    #[test]
    fn pixels_come_out_as_they_went_in() {
        for (width, height) in [(1, 1), (7, 5), (64, 48), (131, 3)] {
            for depth in [8, 10] {
                let pixels = gradient(width, height);
                let (frame, color) = picture(&avif(1, (width, height), &pixels, depth).0);
                assert_eq!((frame.width, frame.height, frame.layout), (width, height, Layout::Rgb));
                assert_eq!(color, Color::Srgb);
                assert_near(&frame.data, &pixels, 12);
            }
        }
    }

    #[test]
    fn profiles_and_code_points_are_handed_on() {
        let (_, item) = avif(1, (8, 8), &gradient(8, 8), 8);
        let with = |colors: &[Vec<u8>]| {
            let mut item = item.clone();
            item.properties.truncate(2);
            item.properties.extend_from_slice(colors);
            picture(&HeifFile::of(*b"avif", item).bytes())
        };
        let (plain, color) = with(&[nclx(1, 13, 6, true)]);
        assert_eq!(color, Color::Srgb);
        assert_eq!(
            with(&[nclx(12, 16, 6, true)]),
            (plain.clone(), Color::Cicp { primaries: 12, transfer: 16 })
        );
        assert_eq!(with(&[nclx(2, 2, 2, true)]), (plain.clone(), Color::Srgb));
        // The codec's own header says the same as the first.
        assert_eq!(with(&[]), (plain.clone(), Color::Srgb));
        let both = with(&[profile(b"a profile"), nclx(9, 18, 6, true)]);
        assert_eq!(both, (plain.clone(), Color::Icc(b"a profile".to_vec())));
        assert_ne!(with(&[nclx(1, 13, 6, false)]).0, plain);
        assert_ne!(with(&[nclx(1, 13, 1, true)]).0, plain);
    }

    #[test]
    fn a_matrix_that_is_none_is_named() {
        let (_, mut item) = avif(1, (8, 8), &gradient(8, 8), 8);
        item.properties[2] = nclx(9, 16, 14, true);
        let bytes = HeifFile::of(*b"avif", item).bytes();
        let limits = Limits::default();
        let probe = crate::probe(&bytes, &limits).unwrap();
        let error = decode(&bytes, &probe, &limits, &Deadline::start(&limits)).err().unwrap();
        assert!(error.to_string().contains("matrix 14"), "{error}");
    }

    #[test]
    fn alpha_of_an_encoder_is_straight() {
        let pixels: Vec<ravif::RGBA8> = (0..40 * 20)
            .map(|index| ravif::RGBA8::new(200, 100, 50, if index % 40 < 20 { 255 } else { 80 }))
            .collect();
        for depth in [ravif::BitDepth::Eight, ravif::BitDepth::Ten] {
            let encoder = ravif::Encoder::new().with_quality(97.0).with_speed(10).with_bit_depth(depth);
            let encoder = encoder.with_num_threads(Some(1)).with_alpha_quality(97.0);
            let file = encoder.encode_rgba(ravif::Img::new(pixels.as_slice(), 40, 20)).unwrap().avif_file;
            let (frame, _) = picture(&file);
            assert_eq!(frame.layout, Layout::Rgba);
            let expected: Vec<u8> =
                pixels.iter().flat_map(|pixel| [pixel.r, pixel.g, pixel.b, pixel.a]).collect();
            assert_near(&frame.data, &expected, 12);
        }
    }

    /// A picture of one colour and its transparency, which is the luma of another.
    fn with_alpha(color: [u8; 3], opacity: u8) -> HeifFile {
        let mut file = HeifFile::of(*b"avif", avif(1, (16, 16), &color.repeat(256), 8).1);
        let mut alpha = avif(2, (16, 16), &[opacity; 3].repeat(256), 8).1;
        alpha.properties.push(says_alpha());
        file.items.push(alpha);
        file.references.push((*b"auxl", 2, vec![1]));
        file
    }

    #[test]
    fn premultiplied_colours_are_divided() {
        let mut file = with_alpha([60, 30, 100], 100);
        let (straight, _) = picture(&file.bytes());
        assert_near(&straight.data, &[60, 30, 100, 100].repeat(256), 3);
        file.references.push((*b"prem", 1, vec![2]));
        let (divided, _) = picture(&file.bytes());
        assert_near(&divided.data, &[153, 77, 255, 100].repeat(256), 8);
    }

    #[test]
    fn colours_stronger_than_white_and_clear_pixels_stay_in_range() {
        let mut pixels = [200, 100, 50, 100, 10, 20, 30, 0, 10, 20, 30, 255];
        unmultiply(&mut pixels);
        assert_eq!(pixels, [255, 255, 128, 100, 10, 20, 30, 0, 10, 20, 30, 255]);
    }

    #[test]
    fn what_is_auxiliary_but_not_alpha_is_no_alpha() {
        let mut file = with_alpha([60, 30, 100], 100);
        file.items[1].properties.pop();
        file.items[1].properties.push(boxed(*b"auxC", b"\0\0\0\0urn:mpeg:hevc:2015:auxid:2\0"));
        assert_eq!(picture(&file.bytes()).0.layout, Layout::Rgb);
        let mut other_size = with_alpha([60, 30, 100], 100);
        other_size.items[1].properties[0] = ispe(8, 8);
        let error = crate::probe(&other_size.bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.code(), "unsupported-image", "{error}");
    }

    #[test]
    fn tiles_meet_without_a_seam() {
        let whole = gradient(90, 50);
        let tile = |index: u16| {
            let (left, top) = (u32::from(index % 2) * 64, u32::from(index / 2) * 32);
            let pixels: Vec<u8> = (top..top + 32)
                .flat_map(|y| (left..left + 64).map(move |x| (x.min(89), y.min(49))))
                .flat_map(|(x, y)| whole[((y * 90 + x) * 3) as usize..][..3].to_vec())
                .collect();
            avif(index + 1, (64, 32), &pixels, 8).1
        };
        let file = grid(*b"avif", 2, (90, 50), (0..4).map(tile).collect());
        let (frame, _) = picture(&file.bytes());
        assert_eq!((frame.width, frame.height), (90, 50));
        assert_near(&frame.data, &whole, 12);
    }

    #[test]
    fn a_grid_that_is_cut_to_one_of_its_tiles() {
        let tile = |id: u16| avif(id, (64, 32), &[40 * id as u8; 3].repeat(64 * 32), 8).1;
        for (right, down, shown) in [(-59, -16, 40), (59, -16, 80), (-59, 16, 120), (59, 16, 160)] {
            let mut file = grid(*b"avif", 2, (128, 64), (1..=4).map(tile).collect());
            // 10 × 32 pixels whose centre lies so far from that of the whole.
            let numbers: [i32; 8] = [10, 1, 32, 1, right, 1, down, 1];
            let aperture = numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
            let whole = file.items.iter_mut().find(|item| &item.kind == b"grid").unwrap();
            whole.properties.push(boxed(*b"clap", &aperture));
            let (frame, _) = picture(&file.bytes());
            assert_eq!((frame.width, frame.height), (10, 32));
            assert_near(&frame.data, &[shown; 3].repeat(10 * 32), 3);
        }
    }

    #[test]
    fn decoding_ends_in_time() {
        let limits = Limits::default();
        let ends = |looks_min: u32, file: &[u8]| {
            let probe = crate::probe(file, &limits).unwrap();
            assert_ends_in_time(looks_min, |deadline| decode(file, &probe, &limits, deadline));
        };
        // Before and after each tile, and between its rows.
        let tile = |id: u16| avif(id, (16, 16), &[9; 3].repeat(256), 8).1;
        ends(3 * 4, &grid(*b"avif", 2, (32, 32), (1..=4).map(tile).collect()).bytes());
        ends(3 + 3, &with_alpha([60, 30, 100], 100).bytes());
        #[cfg(feature = "heic")]
        {
            let tile = |id: u16| {
                super::files::hevc_planes(id, (64, 64), &[9; 64 * 64], &[128; 32 * 32], &[128; 32 * 32])
            };
            ends(3 * 4, &grid(*b"heic", 2, (128, 128), (1..=4).map(tile).collect()).bytes());
        }
    }

    #[test]
    fn exif_is_found_in_place() {
        let mut file = HeifFile::of(*b"avif", avif(1, (8, 8), &gradient(8, 8), 8).1);
        assert_eq!(exif_item(&file.bytes()), None);
        let data = b"\0\0\0\x06Exif\0\0MM\0*rest".to_vec();
        file.items.push(Item { id: 7, kind: *b"Exif", data, properties: Vec::new() });
        file.references.push((*b"cdsc", 7, vec![1]));
        assert_eq!(exif_item(&file.bytes()), Some(b"MM\0*rest".as_slice()));
        file.items[1].data = b"\xFF\xFF\xFF\xFFMM\0*".to_vec();
        assert_eq!(exif_item(&file.bytes()), None);
        file.items[1].data = b"\0\0".to_vec();
        assert_eq!(exif_item(&file.bytes()), None);
        assert_eq!(exif_item(b"no file"), None);
    }

    #[cfg(feature = "heic")]
    #[test]
    fn hevc_comes_out_as_it_went_in() {
        let luma: Vec<u8> = (0..64_u32 * 48).map(|index| (index % 64 * 3 + 20) as u8).collect();
        let item = super::files::hevc_planes(1, (64, 48), &luma, &[128; 32 * 24], &[128; 32 * 24]);
        let (frame, color) = picture(&HeifFile::of(*b"heic", item).bytes());
        assert_eq!((frame.width, frame.height, frame.layout, color), (64, 48, Layout::Rgb, Color::Srgb));
        let expected: Vec<u8> = luma.iter().flat_map(|luma| [*luma; 3]).collect();
        assert_near(&frame.data, &expected, 4);
    }
}
