//! Resampling a plane, a frame, or a whole picture.
//!
//! Lanczos with a radius of 3, on the values as they are encoded (gamma), as sharp and libvips do, or in linear light
//! where a preset asks for it. A window of the source can be taken; of the rest only what lies under the filter at its edges is looked at.

use std::sync::LazyLock;

use fast_image_resize::images::{CroppedImageMut, Image, ImageRef};
use fast_image_resize::{
    FilterType, PixelComponentMapper, PixelType, ResizeAlg, ResizeOptions, Resizer, create_srgb_mapper,
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
    /// Rows of the sharpening.
    pub(crate) rows: Vec<u8>,
}

impl Scratch {
    /// Most bytes that are held between two photos: enough for the intermediate picture of a 20 MP photo.
    pub const KEPT_BYTES_MAX: u64 = 32 << 20;

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        (self.resizer.size_of_internal_buffers() + self.rows.capacity()) as u64
    }

    /// Makes room for an intermediate picture. A buffer that is too small is released first: growing it would hold two at
    /// once, and up to twice what is needed afterwards.
    fn reserve(&mut self, bytes: u64) {
        if (self.resizer.size_of_internal_buffers() as u64) < bytes {
            self.resizer.reset_internal_buffers();
        }
    }

    /// After a photo: keeps what is worth keeping.
    pub(crate) fn settle(&mut self) {
        if self.bytes() > Self::KEPT_BYTES_MAX {
            self.resizer.reset_internal_buffers();
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

/// Bytes of the picture between the two passes of resizing `source` to `out`: the resizer goes down first, then across.
/// Also what it asks for beyond the pixels, to align them.
pub(crate) fn intermediate_bytes(source: (u32, u32), out: (u32, u32), pixel_bytes: u64) -> u64 {
    u64::from(source.0) * u64::from(out.1) * pixel_bytes + pixel_bytes
}

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
        let pixel_bytes = self.pixel.size() as u64;
        scratch.reserve(intermediate_bytes(self.source, self.out, pixel_bytes));
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
        scratch.reserve(intermediate_bytes(self.source, self.out, self.pixel.size() as u64));
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
        scratch.reserve(intermediate_bytes(self.source, self.out, wide.size() as u64));
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
    Ok(Plane { width: out.0, height: out.1, data: job.run(FilterType::Lanczos3, scratch)? })
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
        Chroma::Half(turning) => halve_plane(plane, window, out, turning, FilterType::Lanczos3, scratch),
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
        Light::Encoded => job.run(FilterType::Lanczos3, scratch)?,
        Light::Linear => job.run_linear(FilterType::Lanczos3, scratch)?,
    };
    Ok(Frame { width: out.0, height: out.1, layout: frame.layout, data })
}

/// A component brought to the picture's size, if it is not of that size, interpolating between its samples.
pub(crate) fn resize_to(plane: Plane, out: (u32, u32), scratch: &mut Scratch) -> Result<Plane, String> {
    let source = (plane.width, plane.height);
    if source == out {
        return Ok(plane);
    }
    // Sampled once for a whole number of pixels, of which the last may lie outside.
    let along = |part: u32, whole: u32| {
        let step = f64::from(whole.div_ceil(part));
        (f64::from(whole) / step).min(f64::from(part))
    };
    let window = (0.0, 0.0, along(source.0, out.0), along(source.1, out.1));
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

/// Brings the chroma of planes to the luma's size, interpolating between the samples where they lie.
pub(crate) fn with_full_chroma(planes: Planes, scratch: &mut Scratch) -> Result<Planes, String> {
    if planes.step == (1, 1) {
        return Ok(planes);
    }
    let out = planes.size();
    let (width, height) =
        (f64::from(out.0) / f64::from(planes.step.0), f64::from(out.1) / f64::from(planes.step.1));
    let mut enlarge = |plane: Plane| {
        let job = Job {
            source: (plane.width, plane.height),
            out,
            window: (0.0, 0.0, width, height),
            pixel: PixelType::U8,
            data: &plane.data,
        };
        let data = job.run(FilterType::Bilinear, scratch)?;
        Ok::<_, String>(Plane { width: out.0, height: out.1, data })
    };
    Ok(Planes { blue: enlarge(planes.blue)?, red: enlarge(planes.red)?, luma: planes.luma, step: (1, 1) })
}

/// The same planes with chroma halved both ways.
pub(crate) fn with_half_chroma(planes: Planes, scratch: &mut Scratch) -> Result<Planes, String> {
    if planes.step == (2, 2) {
        return Ok(planes);
    }
    let size = planes.size();
    let window = (
        0.0,
        0.0,
        f64::from(size.0) / f64::from(planes.step.0),
        f64::from(size.1) / f64::from(planes.step.1),
    );
    let mut halve =
        |plane: &Plane| halve_plane(plane, window, size, Orientation::Upright, FilterType::Bilinear, scratch);
    Ok(Planes { blue: halve(&planes.blue)?, red: halve(&planes.red)?, luma: planes.luma, step: (2, 2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(out: u32, lone_first: bool) -> Vec<(f64, f64, u32)> {
        halved(2.0, 10.0, out, lone_first).iter().map(|span| (span.start, span.length, span.out)).collect()
    }

    #[test]
    fn each_chroma_sample_is_made_of_what_its_pixels_are() {
        assert_eq!(spans(4, false), [(2.0, 10.0, 2)]);
        assert_eq!(spans(1, true), [(2.0, 10.0, 1)]);
        assert_eq!(spans(5, false), [(2.0, 8.0, 2), (10.0, 2.0, 1)]);
        assert_eq!(spans(5, true), [(2.0, 2.0, 1), (4.0, 8.0, 2)]);
    }
}
