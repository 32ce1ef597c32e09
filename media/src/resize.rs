//! Resampling a plane, a frame, or a whole picture.
//!
//! Lanczos with a radius of 3, on the values as they are encoded (gamma), as sharp and libvips do, or in linear light
//! where a preset asks for it. A window of the source can be taken; of the rest only what lies under the filter at its edges is looked at.

use std::borrow::Cow;
use std::f64::consts::PI;
use std::sync::LazyLock;

use fast_image_resize::images::{CroppedImageMut, Image, ImageRef};
use fast_image_resize::{
    Filter, FilterType, PixelComponentMapper, PixelType, ResizeAlg, ResizeOptions, Resizer,
    create_srgb_mapper,
};

use crate::Orientation;
use crate::frame::{Frame, Layout, Picture, Plane, Planes};

/// Memory of one thread that outlives a photo, so that the next one need not ask the system for it again.
///
/// Holds at most [`Scratch::KEPT_BYTES_MAX`] between two photos; what a large photo needs beyond that is released
/// after it. [`Probe::cost`](crate::Probe::cost) contains all that the photo itself needs of it, so a budget that also
/// sets aside `KEPT_BYTES_MAX` for each thread is never exceeded.
#[derive(Debug, Default)]
pub struct Scratch {
    resizer: Resizer,
    /// Bytes that the resizer's two buffers had to hold since they were last released.
    reserved: Buffers,
    /// Rows of the sharpening.
    pub(crate) rows: Vec<u8>,
}

/// What the resizer holds: the picture between its passes, and the premultiplied source.
#[derive(Debug, Clone, Copy, Default)]
struct Buffers {
    between: u64,
    premultiplied: u64,
}

impl Scratch {
    /// Most bytes that are held between two photos: enough for the intermediate picture of a 20 MP photo.
    pub const KEPT_BYTES_MAX: u64 = 32 << 20;

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        (self.resizer.size_of_internal_buffers() + self.rows.capacity()) as u64
    }

    /// Makes room for a job. A buffer that is too small is released first: growing it would hold two at once, and up to twice
    /// what is needed afterwards.
    fn reserve(&mut self, job: &Job<'_>, pixel: PixelType, wide: bool) {
        let pixel_bytes = pixel.size() as u64;
        let source = u64::from(job.source.0) * u64::from(job.source.1) * pixel_bytes;
        let needed = Buffers {
            between: intermediate_bytes(job.source, job.out, pixel_bytes, wide),
            premultiplied: if job.pixel == PixelType::U8x4 { source } else { 0 },
        };
        let Buffers { between, premultiplied } = self.reserved;
        if needed.between > between || needed.premultiplied > premultiplied {
            self.resizer.reset_internal_buffers();
            self.reserved = needed;
        }
    }

    /// After a photo: keeps what is worth keeping.
    pub(crate) fn settle(&mut self) {
        if self.bytes() > Self::KEPT_BYTES_MAX {
            self.resizer.reset_internal_buffers();
            self.reserved = Buffers::default();
            self.rows = Vec::new();
        }
    }
}

/// A part of a picture, as fractions of its width and height: all between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Window {
    /// All of it.
    pub(crate) const WHOLE: Self = Self { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

    /// Left, top, width and height in the samples of a picture of this size.
    fn of(self, width: f64, height: f64) -> (f64, f64, f64, f64) {
        (self.left * width, self.top * height, self.width * width, self.height * height)
    }
}

/// In which values pixels are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Light {
    /// As they are encoded.
    Encoded,
    /// In proportion to light. Only for packed frames.
    Linear,
}

/// The size of the chroma that planes get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chroma {
    /// As large as the luma.
    Full,
    /// Halved both ways, in a picture that will then be turned like this.
    Half(Orientation),
}

/// How much is made of what, in samples.
#[derive(Debug, Clone, Copy)]
struct Job<'a> {
    source: (u32, u32),
    out: (u32, u32),
    /// Left, top, width and height of the source's part.
    window: (f64, f64, f64, f64),
    pixel: PixelType,
    data: &'a [u8],
}

/// Bytes of the picture between the two passes of resizing `source` to `out`, and what the resizer asks for beyond the pixels
/// to align them. It goes down first, then across, but for samples of 16 bits (`wide`), where it goes across first.
pub(crate) fn intermediate_bytes(source: (u32, u32), out: (u32, u32), pixel_bytes: u64, wide: bool) -> u64 {
    let (width, height) = if wide { (out.0, source.1) } else { (source.0, out.1) };
    u64::from(width) * u64::from(height) * pixel_bytes + pixel_bytes
}

/// Lanczos with a radius of 3 and one sine for each weight instead of two: sin 3t = (3 − 4 sin² t) sin t. A photo's ladder
/// takes nearly 200,000 of them.
fn lanczos3(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if !(-3.0..3.0).contains(&x) {
        return 0.0;
    }
    let third = x * (PI / 3.0);
    let square = third.sin().powi(2);
    let weight = square * (3.0 - 4.0 * square) / (3.0 * third * third);
    // The resizer leaves out zeros at the beginning of a pixel's window and relies on windows that begin in order, which zeros
    // at whole distances would break.
    if weight == 0.0 { f64::MIN_POSITIVE } else { weight }
}

static LANCZOS: LazyLock<FilterType> = LazyLock::new(|| {
    // Fails for a radius that is not above zero.
    Filter::new("Lanczos3", lanczos3, 3.0).map_or(FilterType::Lanczos3, FilterType::Custom)
});

const fn pixel_type(layout: Layout) -> PixelType {
    match layout {
        Layout::Luma => PixelType::U8,
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba => PixelType::U8x4,
    }
}

/// Cuts a span of `whole` samples to what the resizer accepts: at least a little, and never beyond the end. In steps of
/// 1/256 sample, so that the sums that it checks against the edges are exact.
fn span(start: f64, length: f64, whole: u32) -> (f64, f64) {
    let step = |value: f64| (value * 256.0).round() / 256.0;
    let whole = f64::from(whole);
    let length = step(length).clamp(1.0 / 256.0, whole);
    (step(start).clamp(0.0, whole - length), length)
}

impl Job<'_> {
    fn options(&self, filter: FilterType) -> ResizeOptions {
        let (left, width) = span(self.window.0, self.window.2, self.source.0);
        let (top, height) = span(self.window.1, self.window.3, self.source.1);
        ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .use_alpha(self.pixel == PixelType::U8x4)
            .crop(left, top, width, height)
    }

    fn run(&self, filter: FilterType, scratch: &mut Scratch) -> Result<Vec<u8>, String> {
        let ((width, height), (out_width, out_height)) = (self.source, self.out);
        scratch.reserve(self, self.pixel, false);
        let mut out = vec![0; out_width as usize * out_height as usize * self.pixel.size()];
        let from = ImageRef::new(width, height, self.data, self.pixel).map_err(|error| error.to_string())?;
        let mut to = Image::from_slice_u8(out_width, out_height, &mut out, self.pixel)
            .map_err(|error| error.to_string())?;
        scratch.resizer.resize(&from, &mut to, &self.options(filter)).map_err(|error| error.to_string())?;
        Ok(out)
    }

    /// To a place (left, top) in a plane that has room for it there.
    fn run_into(
        &self,
        plane: &mut Plane,
        (left, top): (u32, u32),
        filter: FilterType,
        scratch: &mut Scratch,
    ) -> Result<(), String> {
        let ((width, height), (out_width, out_height)) = (self.source, self.out);
        scratch.reserve(self, self.pixel, false);
        let from = ImageRef::new(width, height, self.data, self.pixel).map_err(|error| error.to_string())?;
        let mut whole = Image::from_slice_u8(plane.width, plane.height, &mut plane.data, self.pixel)
            .map_err(|error| error.to_string())?;
        let mut to = CroppedImageMut::new(&mut whole, left, top, out_width, out_height)
            .map_err(|error| error.to_string())?;
        scratch.resizer.resize(&from, &mut to, &self.options(filter)).map_err(|error| error.to_string())
    }

    /// In 16 bits, which hold linear light as finely as 8 bits hold encoded values.
    fn run_linear(&self, filter: FilterType, scratch: &mut Scratch) -> Result<Vec<u8>, String> {
        static SRGB: LazyLock<PixelComponentMapper> = LazyLock::new(create_srgb_mapper);
        let wide = match self.pixel {
            PixelType::U8 => PixelType::U16,
            PixelType::U8x3 => PixelType::U16x3,
            _ => PixelType::U16x4,
        };
        let ((width, height), (out_width, out_height)) = (self.source, self.out);
        scratch.reserve(self, wide, true);
        let from = ImageRef::new(width, height, self.data, self.pixel).map_err(|error| error.to_string())?;
        let mut light = Image::new(width, height, wide);
        SRGB.forward_map(&from, &mut light).map_err(|error| error.to_string())?;
        let mut reduced = Image::new(out_width, out_height, wide);
        scratch
            .resizer
            .resize(&light, &mut reduced, &self.options(filter))
            .map_err(|error| error.to_string())?;
        drop(light);
        let mut to = Image::new(out_width, out_height, self.pixel);
        SRGB.backward_map(&reduced, &mut to).map_err(|error| error.to_string())?;
        Ok(to.into_vec())
    }
}

/// Resamples a window of a plane, given in samples (left, top, width, height), to a size.
fn resize_plane(
    plane: &Plane,
    window: (f64, f64, f64, f64),
    out: (u32, u32),
    scratch: &mut Scratch,
) -> Result<Plane, String> {
    let source = (plane.width, plane.height);
    let whole = (0.0, 0.0, f64::from(source.0), f64::from(source.1));
    if source == out && window == whole {
        return Ok(plane.clone());
    }
    let job = Job { source, out, window, pixel: PixelType::U8, data: &plane.data };
    Ok(Plane { width: out.0, height: out.1, data: job.run(*LANCZOS, scratch)? })
}

/// A part of one axis of a plane: where it begins and how long it is in the source, and how many samples become of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start: f64,
    length: f64,
    out: u32,
}

/// What halved chroma is made of along an axis on which a part of the source becomes `out` samples of luma.
///
/// Of an odd number, one chroma sample stands for a single pixel, so it is made of half as much as the others: else all
/// would lie a little beside their pixels, by half a pixel at the end. It is the last one, or with `lone_first` the first.
fn halved(start: f64, length: f64, out: u32, lone_first: bool) -> Vec<Span> {
    let pairs = out / 2;
    if out.is_multiple_of(2) || pairs == 0 {
        return vec![Span { start, length, out: out.div_ceil(2) }];
    }
    let lone = length / f64::from(out);
    let paired = length - lone;
    if lone_first {
        vec![Span { start, length: lone, out: 1 }, Span { start: start + lone, length: paired, out: pairs }]
    } else {
        vec![Span { start, length: paired, out: pairs }, Span { start: start + paired, length: lone, out: 1 }]
    }
}

/// Resamples a window of a chroma plane, given in samples (left, top, width, height), to half of a size of luma.
fn halve_plane(
    plane: &Plane,
    window: (f64, f64, f64, f64),
    luma_out: (u32, u32),
    turning: Orientation,
    filter: FilterType,
    scratch: &mut Scratch,
) -> Result<Plane, String> {
    // What is read backwards is turned: its first sample becomes the last, as planes have it.
    let across = halved(window.0, window.2, luma_out.0, turning.reads_columns_backwards());
    let down = halved(window.1, window.3, luma_out.1, turning.reads_rows_backwards());
    let mut whole = Plane::filled(luma_out.0.div_ceil(2), luma_out.1.div_ceil(2), 0);
    let mut top = 0;
    for rows in &down {
        let mut left = 0;
        for columns in &across {
            let job = Job {
                source: (plane.width, plane.height),
                out: (columns.out, rows.out),
                window: (columns.start, rows.start, columns.length, rows.length),
                pixel: PixelType::U8,
                data: &plane.data,
            };
            job.run_into(&mut whole, (left, top), filter, scratch)?;
            left += columns.out;
        }
        top += rows.out;
    }
    Ok(whole)
}

/// Resamples a window of planes to a size. Chroma gets the size that is asked for, whatever it was.
fn resize_planes(
    planes: &Planes,
    window: Window,
    out: (u32, u32),
    chroma: Chroma,
    scratch: &mut Scratch,
) -> Result<Planes, String> {
    // Chroma samples do not end where the luma does, so their window is counted in fractions of luma.
    let scaled = |(across, down): (u32, u32)| {
        let width = f64::from(planes.luma.width) / f64::from(across);
        let height = f64::from(planes.luma.height) / f64::from(down);
        window.of(width, height)
    };
    let luma = resize_plane(&planes.luma, scaled((1, 1)), out, scratch)?;
    let window = scaled(planes.step);
    let mut resized = |plane: &Plane| match chroma {
        Chroma::Full => resize_plane(plane, window, out, scratch),
        Chroma::Half(turning) => halve_plane(plane, window, out, turning, *LANCZOS, scratch),
    };
    let (blue, red) = (resized(&planes.blue)?, resized(&planes.red)?);
    let step = if chroma == Chroma::Full { 1 } else { 2 };
    Ok(Planes { luma, blue, red, step: (step, step) })
}

/// Resamples a window of a frame to a size. Transparent pixels do not count by their colour.
fn resize_frame(
    frame: &Frame,
    window: Window,
    out: (u32, u32),
    light: Light,
    scratch: &mut Scratch,
) -> Result<Frame, String> {
    let job = Job {
        source: (frame.width, frame.height),
        out,
        window: window.of(frame.width.into(), frame.height.into()),
        pixel: pixel_type(frame.layout),
        data: &frame.data,
    };
    let data = match light {
        Light::Encoded => job.run(*LANCZOS, scratch)?,
        Light::Linear => job.run_linear(*LANCZOS, scratch)?,
    };
    Ok(Frame { width: out.0, height: out.1, layout: frame.layout, data })
}

/// A component brought to the picture's size, if it is not of that size, interpolating between its samples. `step`: pixels
/// of the picture per sample, across and down. The last sample may reach beyond the picture.
pub(crate) fn resize_to(
    plane: Plane,
    step: (f64, f64),
    out: (u32, u32),
    scratch: &mut Scratch,
) -> Result<Plane, String> {
    let source = (plane.width, plane.height);
    if source == out {
        return Ok(plane);
    }
    let window = (0.0, 0.0, f64::from(out.0) / step.0, f64::from(out.1) / step.1);
    let job = Job { source, out, window, pixel: PixelType::U8, data: &plane.data };
    Ok(Plane { width: out.0, height: out.1, data: job.run(FilterType::Bilinear, scratch)? })
}

/// Resamples a window of a picture to a size; the chroma of planes to its own. Fails with the resizer's words.
pub(crate) fn resize(
    picture: &Picture,
    window: Window,
    out: (u32, u32),
    light: Light,
    chroma: Chroma,
    scratch: &mut Scratch,
) -> Result<Picture, String> {
    Ok(match picture {
        Picture::Planar(planes) => Picture::Planar(resize_planes(planes, window, out, chroma, scratch)?),
        Picture::Packed(frame) => Picture::Packed(resize_frame(frame, window, out, light, scratch)?),
    })
}

/// All of a chroma plane, in its samples: as far as the luma goes.
fn under_luma(planes: &Planes) -> (f64, f64, f64, f64) {
    let (width, height) = planes.size();
    (0.0, 0.0, f64::from(width) / f64::from(planes.step.0), f64::from(height) / f64::from(planes.step.1))
}

/// Blue and red difference at the luma's size, interpolated between the samples where they lie. Borrowed where they have it.
pub(crate) fn full_chroma<'a>(
    planes: &'a Planes,
    scratch: &mut Scratch,
) -> Result<[Cow<'a, Plane>; 2], String> {
    if planes.step == (1, 1) {
        return Ok([Cow::Borrowed(&planes.blue), Cow::Borrowed(&planes.red)]);
    }
    let (out, window) = (planes.size(), under_luma(planes));
    let mut enlarge = |plane: &Plane| {
        let job =
            Job { source: (plane.width, plane.height), out, window, pixel: PixelType::U8, data: &plane.data };
        let data = job.run(FilterType::Bilinear, scratch)?;
        Ok::<_, String>(Cow::Owned(Plane { width: out.0, height: out.1, data }))
    };
    Ok([enlarge(&planes.blue)?, enlarge(&planes.red)?])
}

/// Blue and red difference halved both ways, whatever they were.
pub(crate) fn half_chroma(planes: &Planes, scratch: &mut Scratch) -> Result<[Plane; 2], String> {
    let (size, window) = (planes.size(), under_luma(planes));
    let mut halve =
        |plane: &Plane| halve_plane(plane, window, size, Orientation::Upright, FilterType::Bilinear, scratch);
    Ok([halve(&planes.blue)?, halve(&planes.red)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(out: u32, lone_first: bool) -> Vec<(f64, f64, u32)> {
        halved(2.0, 10.0, out, lone_first).iter().map(|span| (span.start, span.length, span.out)).collect()
    }

    #[test]
    fn one_sine_gives_the_weights_of_two() {
        let sinc = |x: f64| (x * PI).sin() / (x * PI);
        for step in -3100..3100 {
            let x = f64::from(step) / 1000.0 + 1e-5;
            let expected = if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 };
            assert!((lanczos3(x) - expected).abs() < 1e-12, "{x}: {} {expected}", lanczos3(x));
        }
        // None is zero inside: the resizer would begin a window behind the next one's.
        assert!([-3.0, -2.0, -1.0, 1.0, 2.0].iter().all(|x| lanczos3(*x) != 0.0));
        assert_eq!((lanczos3(0.0), lanczos3(3.0), lanczos3(-3.5)), (1.0, 0.0, 0.0));
        assert!(matches!(*LANCZOS, FilterType::Custom(_)));
    }

    #[test]
    fn a_component_lies_where_it_was_sampled() {
        // A ramp of 16 a pixel, sampled once in four: the middles of the samples lie at 2, 6 and 10 pixels.
        for (out, samples) in [(5, 2), (9, 3), (10, 3)] {
            let row: Vec<u8> = (0..samples).map(|index| 16 * (4 * index + 2)).collect();
            for (size, step, whole) in [
                ((u32::from(samples), 1), (4.0, 1.0), (out, 1)),
                ((1, u32::from(samples)), (1.0, 4.0), (1, out)),
            ] {
                let plane = Plane { width: size.0, height: size.1, data: row.clone() };
                let found = resize_to(plane, step, whole, &mut Scratch::default()).unwrap().data;
                // Between the middles of the first and the last sample, the ramp itself.
                for (x, value) in (0_u8..).zip(&found).skip(2).take(4 * usize::from(samples) - 5) {
                    assert!(value.abs_diff(16 * x + 8) <= 1, "{out} of {samples}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn each_chroma_sample_is_made_of_what_its_pixels_are() {
        assert_eq!(spans(4, false), [(2.0, 10.0, 2)]);
        assert_eq!(spans(1, true), [(2.0, 10.0, 1)]);
        assert_eq!(spans(5, false), [(2.0, 8.0, 2), (10.0, 2.0, 1)]);
        assert_eq!(spans(5, true), [(2.0, 2.0, 1), (4.0, 8.0, 2)]);
    }
}
