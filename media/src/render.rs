//! The cascade: from one decoded photo to all its variants.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::animate::animate;
use crate::color::Space;
use crate::crop::Cropper;
use crate::decode::Deadline;
use crate::encode::{Settings, encode, packed};
use crate::finish::finish;
use crate::frame::{Layout, Picture, Planes};
use crate::looks::looks;
use crate::metadata::{Keep, embed, filtered};
use crate::plan::{Kind, Output, Plan, Source};
use crate::resize::{Chroma, Light, Scratch, Window, full_chroma, resize};
use crate::{DecodedPhoto, Looks, MediaError, Orientation, OutputFormat, Preset, Strip};

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
    /// The file. What it carries of the photo's metadata is what the preset says; never a place or a serial number.
    pub bytes: Vec<u8>,
}

/// What making a variant took. A variant that shares its frame with one before it has no time for resizing, one that shares
/// its file none at all. Animations are made together, resizing included: the first has the time for encoding all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepTimes {
    /// Resizing its frame, and turning it upright where that was done.
    pub resize: Duration,
    /// Finishing (colour, background, sharpening, border) and encoding its file.
    pub encode: Duration,
}

/// Makes every variant that `presets` ask for and hands each out as soon as it is encoded, largest first, so that it
/// can be stored while the next is made. A preset of format `auto` has one variant for each of its formats.
///
/// The photo's frame is dropped as soon as no variant needs it. Resampling is Lanczos with a radius of 3 in encoded
/// (gamma) values unless a preset asks for linear light; each variant is made from the nearest larger one that is at
/// least 1.4 times as large, else from the photo. The photo is turned upright where it is smallest: after its first
/// reduction. Colours are converted last, variant by variant.
///
/// Fails only with [`MediaError::Encode`] and [`MediaError::TooSlow`] (after [`Limits::seconds_max`](crate::Limits),
/// counted from here), and for an animation with what is wrong with its frames. Variants handed out before remain valid.
pub fn render(
    photo: DecodedPhoto,
    presets: &[Preset],
    scratch: &mut Scratch,
    each: &mut dyn FnMut(Variant, StepTimes),
) -> Result<Looks, MediaError> {
    let mut rendering = Rendering::new(photo, presets, scratch);
    let looks = rendering.run(each);
    rendering.cascade.scratch.settle();
    looks
}

/// One photo on its way.
struct Rendering<'a> {
    plan: Plan,
    presets: &'a [Preset],
    space: Space,
    exif: Option<Vec<u8>>,
    deadline: Deadline,
    moving: Option<(crate::decode::MotionSource, crate::Limits)>,
    cascade: Cascade<'a>,
}

impl<'a> Rendering<'a> {
    fn new(photo: DecodedPhoto, presets: &'a [Preset], scratch: &'a mut Scratch) -> Self {
        let size = photo.orientation.turn(photo.picture.size());
        let kind = kind(&photo);
        let plan = Plan::new(size, presets, kind, photo.motion.is_some());
        let layout = match &photo.picture {
            Picture::Planar(_) => Layout::Rgb,
            Picture::Packed(frame) => frame.layout,
        };
        let space = Space::new(&photo.color, layout);
        let deadline = Deadline::start(&photo.limits);
        let moving = photo.motion.map(|motion| (motion, photo.limits));
        let cascade = Cascade {
            photo: Some(photo.picture),
            orientation: photo.orientation,
            full_chroma: plan.full_chroma,
            frames: Vec::new(),
            cropper: Cropper::default(),
            scratch,
        };
        Self { plan, presets, space, exif: photo.exif, deadline, moving, cascade }
    }

    fn run(&mut self, each: &mut dyn FnMut(Variant, StepTimes)) -> Result<Looks, MediaError> {
        let mut looks = None;
        for index in 0..self.plan.rungs.len() {
            self.deadline.check()?;
            let started = Instant::now();
            let frame = self.cascade.frame(&self.plan, index).map_err(|detail| self.error(index, detail))?;
            self.cascade.frames.push(Some(frame));
            let resized = started.elapsed();
            self.cascade.drop_unneeded_sources(&self.plan, index);
            self.hand_out(index, resized, each)?;
            if self.plan.rungs[index].shape == self.plan.looks {
                looks = Some(self.looks(index).map_err(|detail| self.error(index, detail))?);
            }
            self.cascade.drop_unneeded(&self.plan, index);
        }
        self.hand_out_moving(each)?;
        looks.ok_or_else(|| self.error(0, "no frame was left to compute placeholders from".to_owned()))
    }

    /// Encodes a rung's frame once for each of its outputs and hands out its variants.
    fn hand_out(
        &mut self,
        index: usize,
        resized: Duration,
        each: &mut dyn FnMut(Variant, StepTimes),
    ) -> Result<(), MediaError> {
        let mut resize = resized;
        for number in 0..self.plan.rungs[index].outputs.len() {
            self.deadline.check()?;
            let output = &self.plan.rungs[index].outputs[number];
            let started = Instant::now();
            let frame = self.cascade.frames[index].as_ref();
            let frame = frame.ok_or_else(|| encode_error(self.presets, output, gone()))?;
            let bytes = self.space.encode(frame, output, self.exif.as_deref(), self.cascade.scratch);
            let bytes = bytes.map_err(|detail| encode_error(self.presets, output, detail))?;
            let times = StepTimes { resize: std::mem::take(&mut resize), encode: started.elapsed() };
            give(output, self.presets, bytes, times, each);
        }
        Ok(())
    }

    fn hand_out_moving(&mut self, each: &mut dyn FnMut(Variant, StepTimes)) -> Result<(), MediaError> {
        let Some((source, limits)) = self.moving.take() else { return Ok(()) };
        let moving = std::mem::take(&mut self.plan.moving);
        if moving.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let deadline = self.deadline;
        let Cascade { cropper, scratch, .. } = &mut self.cascade;
        let source = (&source, &limits);
        let files = animate(source, &moving, self.presets, &self.space, deadline, cropper, scratch)?;
        let mut encode = started.elapsed();
        for (moving, file) in moving.iter().zip(files) {
            let bytes = with_metadata(file, &moving.output, &self.space, self.exif.as_deref());
            let times = StepTimes { resize: Duration::ZERO, encode: std::mem::take(&mut encode) };
            give(&moving.output, self.presets, bytes, times, each);
        }
        Ok(())
    }

    fn looks(&mut self, index: usize) -> Result<Looks, String> {
        let picture = self.cascade.frames[index].as_ref().ok_or_else(gone)?;
        let frame = packed(picture, self.cascade.scratch)?;
        let frame = self.space.to_srgb(&frame)?;
        Ok(looks(frame.width, frame.height, &frame.rgba().data))
    }

    fn error(&self, index: usize, detail: String) -> MediaError {
        match self.plan.rungs.get(index).and_then(|rung| rung.outputs.first()) {
            Some(output) => encode_error(self.presets, output, detail),
            None => MediaError::Encode { preset: String::new(), detail },
        }
    }
}

fn kind(photo: &DecodedPhoto) -> Kind {
    match (photo.flat, photo.picture.has_alpha()) {
        (true, _) => Kind::Flat,
        (false, true) => Kind::Transparent,
        (false, false) => Kind::Opaque,
    }
}

impl Space {
    /// A frame to the file of an output.
    fn encode(
        &self,
        frame: &Picture,
        output: &Output,
        exif: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<Vec<u8>, String> {
        let finished = finish(frame, &output.finish, self, scratch)?;
        let settings = Settings {
            format: output.finish.format,
            quality: output.finish.quality,
            effort: output.finish.effort,
        };
        let file = encode(&finished, settings, scratch)?;
        Ok(with_metadata(file, output, self, exif))
    }
}

/// Adds what the preset keeps of the photo's EXIF, and the profile of colours that are not sRGB.
fn with_metadata(file: Vec<u8>, output: &Output, space: &Space, exif: Option<&[u8]>) -> Vec<u8> {
    let keep = match (output.finish.strip, output.finish.copyright) {
        (Strip::All, false) => None,
        (Strip::All, true) => Some(Keep::Copyright),
        (Strip::Private, _) => Some(Keep::Descriptive),
        (Strip::None, _) => Some(Keep::AllButPrivate),
    };
    let exif = keep.zip(exif).and_then(|(keep, exif)| filtered(exif, keep));
    let profile = space.kept_profile(output.finish.gamut);
    if exif.is_none() && profile.is_none() {
        return file;
    }
    embed(output.finish.format, file, exif.as_deref(), profile.as_deref())
}

/// Hands out a file to every preset that it serves.
fn give(
    output: &Output,
    presets: &[Preset],
    mut bytes: Vec<u8>,
    times: StepTimes,
    each: &mut dyn FnMut(Variant, StepTimes),
) {
    let mut times = times;
    let mut left = output.presets.len();
    for preset in output.presets.iter().map(|index| &presets[*index]) {
        left -= 1;
        let variant = Variant {
            preset: preset.name.clone(),
            preset_digest: preset.digest(),
            width: output.finish.canvas.0,
            height: output.finish.canvas.1,
            format: output.finish.format,
            bytes: if left == 0 { std::mem::take(&mut bytes) } else { bytes.clone() },
        };
        each(variant, std::mem::take(&mut times));
    }
}

/// Names the first preset that could not be made.
pub(crate) fn encode_error(presets: &[Preset], output: &Output, detail: String) -> MediaError {
    let preset = output.presets.first().map_or_else(String::new, |index| presets[*index].name.clone());
    MediaError::Encode { preset, detail }
}

/// Of a frame that was dropped before its last use: the plan is wrong.
fn gone() -> String {
    "a frame that the plan needs is gone".to_owned()
}

/// The frames that are alive between two rungs.
struct Cascade<'a> {
    photo: Option<Picture>,
    orientation: Orientation,
    full_chroma: bool,
    /// By rung; `None` once no later rung is made from it.
    frames: Vec<Option<Picture>>,
    cropper: Cropper,
    scratch: &'a mut Scratch,
}

impl Cascade<'_> {
    /// The upright frame of a rung.
    fn frame(&mut self, plan: &Plan, index: usize) -> Result<Picture, String> {
        let rung = &plan.rungs[index];
        let shape = rung.shape;
        match rung.source {
            Source::WholePhoto => {
                let last = plan.photo_last_use <= index;
                let photo = if last { self.photo.take() } else { self.photo.clone() };
                self.upright(photo.ok_or_else(gone)?)
            }
            Source::Photo => {
                let photo = self.photo.take().ok_or_else(gone)?;
                // The window is chosen in the photo as it is shown, and cut out of it as it is stored.
                let window = self.cropper.window(&photo, self.orientation, shape, self.scratch)?;
                let out = self.orientation.turn(shape.size());
                let chroma = self.chroma(self.orientation);
                let window = self.orientation.untwist(window);
                let resized = self.resize(&photo, window, out, shape.light, chroma)?;
                // Before it is turned: that takes a picture more.
                self.photo = (plan.photo_last_use > index).then_some(photo);
                Ok(resized.turned(self.orientation))
            }
            Source::Rung(from) => {
                let source = self.frames[from].take().ok_or_else(gone)?;
                let window = self.cropper.window(&source, Orientation::Upright, shape, self.scratch)?;
                let chroma = self.chroma(Orientation::Upright);
                let resized = self.resize(&source, window, shape.size(), shape.light, chroma);
                self.frames[from] = Some(source);
                resized
            }
        }
    }

    /// Of a frame that will be turned like this.
    const fn chroma(&self, turning: Orientation) -> Chroma {
        if self.full_chroma { Chroma::Full } else { Chroma::Half(turning) }
    }

    fn resize(
        &mut self,
        source: &Picture,
        window: Window,
        out: (u32, u32),
        light: Light,
        chroma: Chroma,
    ) -> Result<Picture, String> {
        if light == Light::Linear && matches!(source, Picture::Planar(_)) {
            // Light is in proportion to RGB only.
            let frame = packed(source, self.scratch)?.into_owned();
            return resize(&Picture::Packed(frame), window, out, light, chroma, self.scratch);
        }
        resize(source, window, out, light, chroma, self.scratch)
    }

    /// The whole photo, turned. Chroma that would not lie where it was is brought to the luma's size before.
    fn upright(&mut self, photo: Picture) -> Result<Picture, String> {
        let photo = match photo {
            Picture::Planar(planes) => {
                let (width, height) = planes.size();
                let whole = width % planes.step.0 == 0 && height % planes.step.1 == 0;
                let stays = whole || self.orientation == Orientation::Upright;
                let wanted = !stays || self.full_chroma;
                if wanted && planes.step != (1, 1) {
                    let [blue, red] = full_chroma(&planes, self.scratch)?.map(Cow::into_owned);
                    Picture::Planar(Planes { luma: planes.luma, blue, red, step: (1, 1) })
                } else {
                    Picture::Planar(planes)
                }
            }
            packed @ Picture::Packed(_) => packed,
        };
        Ok(photo.turned(self.orientation))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::{PhotoSpec, jpeg};
    use crate::{Fit, Limits, PresetFormat, decode, probe};

    #[test]
    fn a_photo_without_time_is_not_rendered() {
        let original = jpeg(&PhotoSpec { width: 64, height: 48, ..PhotoSpec::default() });
        let (limits, mut scratch) = (Limits::default(), Scratch::default());
        let found = crate::probe(&original, &limits).unwrap();
        let mut photo = crate::decode(&original, &found, &limits, &mut scratch).unwrap();
        photo.limits.seconds_max = 0;
        let preset = Preset::new("x", 32, 32, Fit::Inside);
        let outcome = render(photo, &[preset], &mut scratch, &mut |_, _| panic!("there was no time for it"));
        assert_eq!(outcome, Err(MediaError::TooSlow { limit: 0 }));
    }

    #[test]
    fn motion_has_no_more_time_than_the_rest_of_its_photo() {
        let original = include_bytes!("../tests/data/animated.webp");
        let limits = Limits::default();
        let mut scratch = Scratch::default();
        let found = probe(original, &limits).unwrap();
        let photo = decode(original, &found, &limits, &mut scratch).unwrap();
        let photo = photo.with_motion(original.to_vec().into(), &found);
        let moving = Preset {
            format: PresetFormat::WebP,
            animated: true,
            ..Preset::new("moving", 80, 80, Fit::Inside)
        };
        let presets = [moving];
        let mut rendering = Rendering::new(photo, &presets, &mut scratch);
        rendering.deadline = Deadline::start(&Limits { seconds_max: 0, ..limits });
        let outcome = rendering.hand_out_moving(&mut |_, _| {});
        assert_eq!(outcome, Err(MediaError::TooSlow { limit: 0 }));
    }
}
