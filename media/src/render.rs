//! The cascade: from one decoded photo to all its variants.

use std::time::{Duration, Instant};

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::encode::encode_jpeg;
use crate::frame::{Frame, Layout, frame_bytes};
use crate::plan::{Plan, Rung, Source, crop};
use crate::{DecodedPhoto, MediaError, Orientation, OutputFormat, Preset};

/// A photo in a preset, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Name of the preset.
    pub preset: String,
    /// [`Preset::digest`] of its settings.
    pub preset_digest: String,
    /// Pixels per row, upright.
    pub width: u32,
    /// Rows, upright.
    pub height: u32,
    /// The format of `bytes`.
    pub format: OutputFormat,
    /// The file. It carries no metadata: no place, no camera, no time.
    pub bytes: Vec<u8>,
}

/// What making a variant took. Both are zero where a variant shares its frame or its file with one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepTimes {
    /// Resizing its frame, and turning it upright where that was done.
    pub resize: Duration,
    /// Encoding its file.
    pub encode: Duration,
}

/// Memory of one thread that outlives a photo, so that the next one need not ask the system for it again.
///
/// Holds at most [`Scratch::KEPT_BYTES_MAX`] between two photos; what a large photo needs beyond that is released
/// after it. [`Probe::cost`](crate::Probe::cost) contains all that the photo itself needs of it, so a budget that also
/// sets aside `KEPT_BYTES_MAX` for each thread is never exceeded.
#[derive(Debug, Default)]
pub struct Scratch {
    resizer: Resizer,
}

impl Scratch {
    /// Most bytes that are held between two photos: enough for the intermediate picture of a 20 MP photo.
    pub const KEPT_BYTES_MAX: u64 = 32 << 20;

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.resizer.size_of_internal_buffers() as u64
    }

    /// Makes room for an intermediate picture. A buffer that is too small is released first: growing it would hold two at
    /// once, and up to twice what is needed afterwards.
    fn reserve(&mut self, bytes: u64) {
        if self.bytes() < bytes {
            self.resizer.reset_internal_buffers();
        }
    }

    /// After a photo: keeps what is worth keeping.
    fn settle(&mut self) {
        if self.bytes() > Self::KEPT_BYTES_MAX {
            self.resizer.reset_internal_buffers();
        }
    }
}

/// Bytes of the picture between the two passes of resizing `source` to `out`: the resizer goes down first, then across.
/// Also what it asks for beyond the pixels, to align them.
pub(crate) fn intermediate_bytes(source: (u32, u32), out: (u32, u32), layout: Layout) -> u64 {
    frame_bytes(source.0, out.1, layout) + layout.bytes() as u64
}

/// Makes every variant that `presets` ask for and hands each out as soon as it is encoded, largest first, so that it
/// can be stored while the next is made.
///
/// The photo's frame is dropped as soon as no variant needs it. Resampling is Lanczos with a radius of 3 in encoded
/// (gamma) values, as sharp and libvips do; each variant is made from the nearest larger one that is at least 1.4 times
/// as large, else from the photo. The photo is turned upright where it is smallest: after its first reduction.
///
/// Fails only with [`MediaError::Encode`]. Variants handed out before remain valid.
pub fn render(
    photo: DecodedPhoto,
    presets: &[Preset],
    scratch: &mut Scratch,
    each: &mut dyn FnMut(Variant, StepTimes),
) -> Result<(), MediaError> {
    let DecodedPhoto { frame, orientation } = photo;
    let plan = Plan::new(orientation.turn((frame.width, frame.height)), presets);
    let mut cascade = Cascade { photo: Some(frame), orientation, frames: Vec::new(), scratch };
    for (index, rung) in plan.rungs.iter().enumerate() {
        let started = Instant::now();
        let frame = cascade.frame(&plan, index).map_err(|detail| encode_error(presets, rung, detail))?;
        cascade.frames.push(Some(frame));
        let resized = started.elapsed();
        cascade.drop_unneeded_sources(&plan, index);
        if let Some(frame) = &cascade.frames[index] {
            hand_out(frame, rung, presets, resized, each)?;
        }
        cascade.drop_unneeded(&plan, index);
    }
    cascade.scratch.settle();
    Ok(())
}

/// The frames that are alive between two rungs.
struct Cascade<'a> {
    photo: Option<Frame>,
    orientation: Orientation,
    /// By rung; `None` once no later rung is made from it.
    frames: Vec<Option<Frame>>,
    scratch: &'a mut Scratch,
}

impl Cascade<'_> {
    /// The upright frame of a rung.
    fn frame(&mut self, plan: &Plan, index: usize) -> Result<Frame, String> {
        let rung = &plan.rungs[index];
        let out = (rung.width, rung.height);
        let missing = || "a frame that the plan needs is gone".to_owned();
        match rung.source {
            Source::WholePhoto => {
                let photo = self.photo.take().ok_or_else(missing)?;
                Ok(photo.turned(self.orientation))
            }
            Source::Photo => {
                let photo = self.photo.as_ref().ok_or_else(missing)?;
                let resized = resize(photo, self.orientation.turn(out), rung.cropped, self.scratch)?;
                if plan.photo_last_use == index {
                    self.photo = None;
                }
                Ok(resized.turned(self.orientation))
            }
            Source::Rung(from) => {
                let source = self.frames[from].as_ref().ok_or_else(missing)?;
                resize(source, out, rung.cropped, self.scratch)
            }
        }
    }

    /// Before encoding: what was made last has no further use for its source, if nobody else has.
    fn drop_unneeded_sources(&mut self, plan: &Plan, index: usize) {
        if let Source::Rung(from) = plan.rungs[index].source
            && plan.rungs[from].last_use <= index
        {
            self.frames[from] = None;
        }
    }

    /// After encoding.
    fn drop_unneeded(&mut self, plan: &Plan, index: usize) {
        if plan.rungs[index].last_use <= index {
            self.frames[index] = None;
        }
    }
}

/// Resamples a frame, or the centred part of it that has the aspect of `out`.
fn resize(source: &Frame, out: (u32, u32), cropped: bool, scratch: &mut Scratch) -> Result<Frame, String> {
    let pixel = match source.layout {
        Layout::Luma => PixelType::U8,
        Layout::YCbCr | Layout::Rgb => PixelType::U8x3,
    };
    let size = (source.width, source.height);
    scratch.reserve(intermediate_bytes(size, out, source.layout));
    let mut options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(false);
    if cropped {
        let (width, height) = crop(size, out);
        let (left, top) = ((f64::from(size.0) - width) / 2.0, (f64::from(size.1) - height) / 2.0);
        options = options.crop(left, top, width, height);
    }
    let mut frame = Frame::zeroed(out.0, out.1, source.layout);
    let from = ImageRef::new(size.0, size.1, &source.data, pixel).map_err(|error| error.to_string())?;
    let mut to =
        Image::from_slice_u8(out.0, out.1, &mut frame.data, pixel).map_err(|error| error.to_string())?;
    scratch.resizer.resize(&from, &mut to, &options).map_err(|error| error.to_string())?;
    Ok(frame)
}

/// Encodes a rung's frame once for each of its settings and hands out its variants.
fn hand_out(
    frame: &Frame,
    rung: &Rung,
    presets: &[Preset],
    resized: Duration,
    each: &mut dyn FnMut(Variant, StepTimes),
) -> Result<(), MediaError> {
    let mut resize = resized;
    for output in &rung.outputs {
        let started = Instant::now();
        let encoded = match output.format {
            OutputFormat::Jpeg => encode_jpeg(frame, output.quality),
        };
        let mut bytes = encoded.map_err(|detail| encode_error(presets, rung, detail))?;
        let mut encode = started.elapsed();
        let mut left = output.presets.len();
        for preset in output.presets.iter().map(|index| &presets[*index]) {
            left -= 1;
            let variant = Variant {
                preset: preset.name.clone(),
                preset_digest: preset.digest(),
                width: frame.width,
                height: frame.height,
                format: output.format,
                bytes: if left == 0 { std::mem::take(&mut bytes) } else { bytes.clone() },
            };
            each(
                variant,
                StepTimes { resize: std::mem::take(&mut resize), encode: std::mem::take(&mut encode) },
            );
        }
    }
    Ok(())
}

/// Names the first preset of a rung that could not be made.
fn encode_error(presets: &[Preset], rung: &Rung, detail: String) -> MediaError {
    let first = rung.outputs.first().and_then(|output| output.presets.first());
    let preset = first.map_or_else(String::new, |index| presets[*index].name.clone());
    MediaError::Encode { preset, detail }
}
