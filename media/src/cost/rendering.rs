//! What the cascade holds on its way down.

use crate::crop::FOCUS_SIDE;
use crate::encode::{Settings, encoded_bytes_max, encoding_bytes_max};
use crate::frame::{Layout, frame_bytes, planes_bytes};
use crate::plan::{Finish, Kind, Moving, Output, Plan, Rung, Shape, Source};
use crate::resize::{Light, intermediate_bytes};
use crate::{Focus, Orientation, OutputFormat, Preset, Probe, SourceFormat};

impl From<&Finish> for Settings {
    fn from(finish: &Finish) -> Self {
        Self { format: finish.format, quality: finish.quality, effort: finish.effort }
    }
}

/// The state of the cascade, as far as memory goes.
struct Ledger<'a> {
    probe: &'a Probe,
    plan: Plan,
    photo: u64,
    frames: Vec<u64>,
    outputs: u64,
    /// Kept by the resizer from one frame to the next: the picture between its passes, and the premultiplied source.
    intermediate: u64,
    premultiplied: u64,
    peak: u64,
}

impl Probe {
    /// Held while the cascade goes down, at the worst of its rungs. `moves`: whether motion is kept.
    pub(super) fn rendering_bytes(&self, presets: &[Preset], moves: bool) -> u64 {
        let plan = Plan::new(self.shown_size(), presets, self.expected_kind(), moves);
        let photo = self.photo_bytes();
        let frames = vec![0; plan.rungs.len()];
        let mut ledger = Ledger {
            probe: self,
            plan,
            photo,
            frames,
            outputs: 0,
            intermediate: 0,
            premultiplied: 0,
            peak: photo,
        };
        for index in 0..ledger.plan.rungs.len() {
            ledger.rung(index);
        }
        let moving = ledger.moving();
        ledger.peak.max(moving) + if moves { self.bytes } else { 0 }
    }

    /// A JPEG is neither transparent nor flat; what others are is seen when they are decoded.
    const fn expected_kind(&self) -> Kind {
        if matches!(self.format, SourceFormat::Jpeg) { Kind::Opaque } else { Kind::Unknown }
    }
}

impl Ledger<'_> {
    fn held(&self) -> u64 {
        self.photo + self.frames.iter().sum::<u64>() + self.outputs + self.intermediate + self.premultiplied
    }

    fn frame_bytes(&self, (width, height): (u32, u32), light: Light) -> u64 {
        match (self.probe.planar, light) {
            (true, Light::Linear) => frame_bytes(width, height, Layout::Rgb),
            (true, Light::Encoded) if self.plan.full_chroma => frame_bytes(width, height, Layout::Rgb),
            (true, Light::Encoded) => planes_bytes(width, height),
            (false, _) => frame_bytes(width, height, self.probe.layout()),
        }
    }

    /// Held beside source and target while one is resized to the other.
    fn resizing_bytes(&mut self, source: (u32, u32), target: (u32, u32), light: Light) -> u64 {
        let planar = self.probe.planar && light == Light::Encoded;
        let layout = if self.probe.planar { Layout::Rgb } else { self.probe.layout() };
        // The largest plane goes first.
        let bytes = if planar { 1 } else { layout.bytes() as u64 };
        let linear = light == Light::Linear;
        let wide = if linear { 2 } else { 1 };
        let between = intermediate_bytes(source, target, bytes * wide, linear);
        self.intermediate = self.intermediate.max(between);
        let from = frame_bytes(source.0, source.1, layout);
        if layout == Layout::Rgba {
            self.premultiplied = self.premultiplied.max(from * wide);
        }
        let linear = if linear {
            // Planes are interpolated and converted first; then both pictures are held in 16 bits as well.
            let converted = if self.probe.planar { 3 * from } else { 0 };
            converted + 2 * from + 2 * frame_bytes(target.0, target.1, layout)
        } else {
            0
        };
        let weights = weights_bytes(source.0, target.0) + weights_bytes(source.1, target.1);
        linear + weights
    }

    fn rung(&mut self, index: usize) {
        let Rung { shape, source, outputs, last_use } = self.plan.rungs[index].clone();
        let out = shape.size();
        let frame = self.frame_bytes(out, shape.light);
        let turning = self.probe.orientation != Orientation::Upright;
        if matches!(shape.crop, Some(Focus::Entropy | Focus::Attention)) {
            self.looking_for_focus();
        }
        match source {
            Source::WholePhoto => {
                // Turning, and chroma at full size, make another picture of it.
                self.peak = self.peak.max(self.held() + 2 * frame);
                self.frames[index] = frame.max(self.photo);
                if self.plan.photo_last_use <= index {
                    self.photo = 0;
                }
            }
            Source::Photo => {
                let stored = (self.probe.width, self.probe.height);
                let resizing = self.resizing_bytes(stored, self.probe.orientation.turn(out), shape.light);
                self.peak = self.peak.max(self.held() + frame + resizing);
                self.frames[index] = frame;
                if self.plan.photo_last_use <= index {
                    self.photo = 0;
                }
                if turning {
                    self.peak = self.peak.max(self.held() + frame);
                }
            }
            Source::Rung(from) => {
                let source = self.plan.rungs[from].shape.size();
                let resizing = self.resizing_bytes(source, out, shape.light);
                self.peak = self.peak.max(self.held() + frame + resizing);
                self.frames[index] = frame;
                if self.plan.rungs[from].last_use <= index {
                    self.frames[from] = 0;
                }
            }
        }
        for output in &outputs {
            self.output(output, &shape, frame);
        }
        if shape == self.plan.looks {
            self.peak = self.peak.max(self.held() + looks_bytes(out));
        }
        if last_use <= index {
            self.frames[index] = 0;
        }
    }

    /// What is of interest is looked for in a small copy of the photo, or of a frame.
    fn looking_for_focus(&mut self) {
        let small = (FOCUS_SIDE, FOCUS_SIDE);
        let resizing = self.resizing_bytes((self.probe.width, self.probe.height), small, Light::Encoded);
        // The copy, the same as RGB and as luma, and maps of what stands out.
        let maps = 4 * frame_bytes(small.0, small.1, Layout::Rgba);
        self.peak = self.peak.max(self.held() + resizing + maps);
    }

    fn output(&mut self, output: &Output, shape: &Shape, frame: u64) {
        let finish = &output.finish;
        let layout = if self.is_planar(shape) { None } else { Some(self.probe.layout()) };
        let settings = Settings::from(finish);
        let finishing = self.finishing_bytes(finish, shape, frame);
        let encoding = encoding_bytes_max(finish.canvas, layout, settings);
        let file = encoded_bytes_max(finish.canvas, layout, settings);
        self.peak = self.peak.max(self.held() + finishing + encoding);
        // Each preset that it serves has its own copy. Few files are near their bound, and all of them together never are.
        self.outputs += file * output.presets.len() as u64;
        self.peak = self.peak.max(self.held());
    }

    fn is_planar(&self, shape: &Shape) -> bool {
        self.probe.planar && shape.light == Light::Encoded
    }

    /// Held while a frame is made ready for its encoder.
    fn finishing_bytes(&self, finish: &Finish, shape: &Shape, frame: u64) -> u64 {
        let rgba = |(width, height): (u32, u32)| frame_bytes(width, height, Layout::Rgba);
        let (content, canvas) = (rgba(shape.size()), rgba(finish.canvas));
        // Inks were converted when they were decoded.
        let other_colours = self.probe.has_profile && self.probe.components != 4;
        let packs = matches!(finish.format, OutputFormat::Png | OutputFormat::Avif);
        let converting = match (self.is_planar(shape), other_colours || packs) {
            (_, false) => 0,
            // Halved chroma is converted as it is.
            (true, true) if !self.plan.full_chroma => frame,
            // Chroma at full size, RGB, and the same in other colours.
            (true, true) => 3 * content,
            (false, true) => content,
        };
        let sharpening = if finish.sharpen > 0 { frame } else { 0 };
        let flattening = if self.probe.has_alpha { content } else { 0 };
        // The frame as RGB, the canvas, and planes of it.
        let bordering = if shape.size() == finish.canvas { 0 } else { 2 * content + 2 * canvas };
        converting + sharpening + flattening + bordering
    }

    /// Held while an animation is made, the cascade's files included.
    fn moving(&self) -> u64 {
        if self.plan.moving.is_empty() {
            return 0;
        }
        // The canvas, what it is restored to, the state that is rendered, and its premultiplied copy.
        let canvas = 4 * frame_bytes(self.probe.width, self.probe.height, Layout::Rgba);
        let all = &self.plan.moving;
        let encoders: u64 = all.iter().map(|moving| self.encoder_bytes(moving)).sum();
        // Encoded frames wait for the last; from then on they are a file, with a copy for each preset that it serves.
        let file = |moving: &Moving| self.moving_file_bytes_max(&moving.output);
        let files: u64 = all.iter().map(|moving| file(moving) * moving.output.presets.len() as u64).sum();
        // Of one at a time libwebp holds its frames, the file that it made of them, and we a copy of that.
        let assembling = 2 * all.iter().map(file).max().unwrap_or(0);
        canvas + encoders + files + assembling + self.outputs
    }

    /// An upper bound of an animated file's bytes.
    fn moving_file_bytes_max(&self, output: &Output) -> u64 {
        let frame = encoded_bytes_max(
            output.finish.canvas,
            Some(self.probe.layout()),
            Settings::from(&output.finish),
        );
        frame * u64::from(self.probe.frames)
    }

    /// Held while one frame of an animation is made, beside the files.
    fn encoder_bytes(&self, Moving { shape, output }: &Moving) -> u64 {
        let (width, height) = output.finish.canvas;
        let pixels = u64::from(width) * u64::from(height);
        // Resized, finished, handed over; libwebp holds three canvases and tries two ways of every frame.
        let frames = (4 + 4 + 4 + 3 * 4 + 4 * 4) * pixels;
        let resizing = intermediate_bytes((self.probe.width, self.probe.height), shape.size(), 8, false);
        frames + resizing + (1 << 20)
    }
}

/// Held while placeholders are computed, beside the frame: chroma at full size, RGB, the same in other colours, and RGBA; the
/// picture's reductions.
fn looks_bytes((width, height): (u32, u32)) -> u64 {
    4 * frame_bytes(width, height, Layout::Rgba) + (512 << 10)
}

/// The resizer's weights along one axis: for each output pixel a window of them as `f64`, again as integers, and two
/// records of where they begin.
fn weights_bytes(from: u32, to: u32) -> u64 {
    let scale = (f64::from(from) / f64::from(to)).max(1.0);
    let window = (3.0 * scale).ceil() as u64 * 2 + 1;
    u64::from(to) * (window * (8 + 4) + 64)
}
