//! Which frames a ladder of presets needs, and from which larger frame each of them is made.
//!
//! Rendering and its estimate of memory both follow this plan, so that they cannot disagree.

use crate::resize::{Light, Window};
use crate::{Background, Fit, Focus, Gamut, OutputFormat, Preset, PresetFormat, Strip};

/// A frame is made from a smaller one than the photo if that one is at least this many times larger on both axes: below
/// it, resampling twice would show.
const CASCADE_RATIO: f64 = 1.4;

/// The frame from which placeholders are computed is at most so long: a larger one would cost more than it tells.
const LOOKS_SIDE_MAX: u32 = 512;
/// The side of the box of a frame that is made for them alone.
const LOOKS_SIDE: u32 = 128;

/// What decides the formats of presets that leave them open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A photo like most.
    Opaque,
    /// Some of its pixels are transparent.
    Transparent,
    /// A drawing, a screenshot.
    Flat,
    /// Not known yet: everything that may be needed.
    Unknown,
}

impl Kind {
    /// `moves`: whether the variant keeps an animation's motion where its format can.
    fn formats(self, format: PresetFormat, moves: bool) -> &'static [OutputFormat] {
        use OutputFormat as Out;
        match (format, self) {
            (PresetFormat::Auto, Self::Opaque) => &[Out::Jpeg, Out::WebP],
            (PresetFormat::Auto, Self::Transparent) => &[Out::Png, Out::WebP],
            // Most animations are drawn, and PNG would hold them still.
            (PresetFormat::Auto, Self::Flat) if moves => &[Out::Png, Out::WebP],
            (PresetFormat::Auto, Self::Unknown) => &[Out::Png, Out::Jpeg, Out::WebP],
            (PresetFormat::Jpeg, _) => &[Out::Jpeg],
            (PresetFormat::WebP, _) => &[Out::WebP],
            // What is flat is smaller without loss than with it, and sharp.
            (PresetFormat::Png, _) | (PresetFormat::Auto, Self::Flat) => &[Out::Png],
            (PresetFormat::Avif, _) => &[Out::Avif],
        }
    }
}

/// Where the pixels of a rung come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The decoded photo, resampled.
    Photo,
    /// The decoded photo itself, because it has that size.
    WholePhoto,
    /// The frame of an earlier rung, by index.
    Rung(usize),
}

/// All that happens to a frame between the cascade and the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finish {
    pub(crate) format: OutputFormat,
    pub(crate) quality: u8,
    pub(crate) effort: u8,
    pub(crate) background: Background,
    pub(crate) sharpen: u8,
    pub(crate) gamut: Gamut,
    pub(crate) strip: Strip,
    pub(crate) copyright: bool,
    /// Size of the file's picture; larger than the frame where a border is added.
    pub(crate) canvas: (u32, u32),
}

impl Finish {
    fn new(preset: &Preset, format: OutputFormat, canvas: (u32, u32)) -> Self {
        Self {
            format,
            quality: preset.quality,
            effort: preset.effort,
            background: preset.background,
            sharpen: preset.sharpen,
            // No profile is put into an AVIF here, so its numbers must be sRGB's.
            gamut: if format == OutputFormat::Avif { Gamut::Srgb } else { preset.gamut },
            strip: preset.strip,
            copyright: preset.copyright,
            canvas,
        }
    }
}

/// One encoded file, and the presets that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) finish: Finish,
    /// Indices into the presets, all with these settings and this size.
    pub(crate) presets: Vec<usize>,
}

/// What decides the pixels of a frame, beside the photo. Sizes are in pixels, as shown (after orientation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Whether the photo's sides are cut off, and around which point.
    pub(crate) crop: Option<Focus>,
    pub(crate) light: Light,
}

impl Shape {
    fn new(photo: (u32, u32), preset: &Preset) -> Self {
        let (width, height) = preset.content_size(photo.0, photo.1);
        let cropped = preset.fit == Fit::Cover && !same_aspect(photo, (width, height));
        let light = if preset.linear { Light::Linear } else { Light::Encoded };
        Self { width, height, crop: cropped.then_some(preset.focus), light }
    }

    pub(crate) const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// One frame of the cascade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rung {
    pub(crate) shape: Shape,
    pub(crate) source: Source,
    pub(crate) outputs: Vec<Output>,
    /// The last rung that is made from this one; its own index if none is.
    pub(crate) last_use: usize,
}

/// One animated file. It is made frame by frame, beside the cascade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moving {
    pub(crate) shape: Shape,
    pub(crate) output: Output,
}

/// The rungs, largest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) rungs: Vec<Rung>,
    /// The last rung that is made from the decoded photo.
    pub(crate) photo_last_use: usize,
    /// The rung that placeholders are computed from: uncut, small.
    pub(crate) looks: Shape,
    /// Files that keep an animation's motion.
    pub(crate) moving: Vec<Moving>,
    /// Whether an output has chroma at full size, so that planes need it too.
    pub(crate) full_chroma: bool,
}

impl Plan {
    /// For a photo shown (after orientation) with this width and height in pixels. `moves`: whether it is an animation
    /// whose motion can be kept.
    pub(crate) fn new(photo: (u32, u32), presets: &[Preset], kind: Kind, moves: bool) -> Self {
        let mut plan = Self {
            rungs: Vec::with_capacity(presets.len() + 1),
            photo_last_use: 0,
            looks: Shape::new(photo, &Preset::new("", LOOKS_SIDE, LOOKS_SIDE, Fit::Inside)),
            moving: Vec::new(),
            full_chroma: false,
        };
        for (index, preset) in presets.iter().enumerate() {
            let shape = Shape::new(photo, preset);
            let canvas = preset.output_size(photo.0, photo.1);
            for format in kind.formats(preset.format, moves && preset.animated) {
                let finish = Finish::new(preset, *format, canvas);
                if moves && preset.animated && *format == OutputFormat::WebP {
                    plan.add_moving(shape, finish, index);
                } else {
                    plan.add(shape, finish, index);
                }
            }
        }
        // A file may serve a preset before this one's first: what every client understands must be handed out first.
        for rung in &mut plan.rungs {
            rung.outputs.sort_by_key(|output| output.finish.format.novelty());
        }
        plan.add_looks(photo);
        // A cut frame is the source of none, so of two equally large ones the whole one goes first.
        plan.rungs
            .sort_by_key(|Rung { shape, .. }| (std::cmp::Reverse(shape.pixels()), shape.crop.is_some()));
        plan.with_sources(photo)
    }

    /// The rung of this shape, made if it is not there.
    fn rung(&mut self, shape: Shape) -> &mut Rung {
        let at = self.rungs.iter().position(|rung| rung.shape == shape).unwrap_or_else(|| {
            self.rungs.push(Rung { shape, source: Source::Photo, outputs: Vec::new(), last_use: 0 });
            self.rungs.len() - 1
        });
        &mut self.rungs[at]
    }

    fn add(&mut self, shape: Shape, finish: Finish, preset: usize) {
        self.full_chroma |= matches!(finish.format, OutputFormat::Png | OutputFormat::Avif);
        let outputs = &mut self.rung(shape).outputs;
        if let Some(output) = outputs.iter_mut().find(|output| output.finish == finish) {
            output.presets.push(preset);
        } else {
            outputs.push(Output { finish, presets: vec![preset] });
        }
    }

    fn add_moving(&mut self, shape: Shape, finish: Finish, preset: usize) {
        let same = |moving: &&mut Moving| moving.shape == shape && moving.output.finish == finish;
        if let Some(moving) = self.moving.iter_mut().find(same) {
            moving.output.presets.push(preset);
        } else {
            self.moving.push(Moving { shape, output: Output { finish, presets: vec![preset] } });
        }
    }

    /// The smallest frame that shows the whole photo and is not too large; one for placeholders alone if there is none.
    fn add_looks(&mut self, photo: (u32, u32)) {
        let shapes = self.rungs.iter().map(|rung| rung.shape);
        let serves =
            |shape: &Shape| shape.width.max(shape.height) <= LOOKS_SIDE_MAX && undistorted(photo, shape);
        match shapes.filter(serves).min_by_key(Shape::pixels) {
            Some(shape) => self.looks = shape,
            None => _ = self.rung(self.looks),
        }
    }

    fn with_sources(mut self, photo: (u32, u32)) -> Self {
        for index in 0..self.rungs.len() {
            let source = source(&self.rungs, index, photo);
            self.rungs[index].source = source;
            self.rungs[index].last_use = index;
            match source {
                Source::Photo | Source::WholePhoto => self.photo_last_use = index,
                Source::Rung(from) => self.rungs[from].last_use = index,
            }
        }
        self
    }
}

/// Whether `out` is `photo` at another size and nothing cut off: one side follows from the other, to the nearest pixel. (The
/// longer one need not follow from the shorter, whose rounding it would multiply.)
fn same_aspect(photo: (u32, u32), out: (u32, u32)) -> bool {
    let (w, h) = (f64::from(photo.0), f64::from(photo.1));
    let (out_w, out_h) = (f64::from(out.0), f64::from(out.1));
    (out_w * h / w - out_h).abs() <= 0.5 || (out_h * w / h - out_w).abs() <= 0.5
}

/// Whether a frame shows the whole photo in its own proportions, as nearly as its pixels allow.
fn undistorted(photo: (u32, u32), shape: &Shape) -> bool {
    let thin = shape.width.min(shape.height) == 1;
    shape.crop.is_none() && shape.light == Light::Encoded && (thin || same_aspect(photo, shape.size()))
}

/// The smallest earlier frame that is large enough, else the photo.
fn source(rungs: &[Rung], index: usize, photo: (u32, u32)) -> Source {
    let shape = rungs[index].shape;
    if shape.crop.is_none() && shape.size() == photo {
        return Source::WholePhoto;
    }
    // What fraction of each axis the rung shows: only that part of the source counts.
    let shown = if shape.crop.is_some() { cut(photo, shape.size(), (0.5, 0.5)) } else { Window::WHOLE };
    let large_enough = |candidate: &Rung| {
        let from = candidate.shape;
        let axis = |from: u32, whole: u32, shown: f64, to: u32| {
            from == whole || (from < whole && f64::from(from) * shown >= f64::from(to) * CASCADE_RATIO)
        };
        from.crop.is_none()
            && from.light == shape.light
            && axis(from.width, photo.0, shown.width, shape.width)
            && axis(from.height, photo.1, shown.height, shape.height)
    };
    // Sorted largest first, so the last that is large enough is the nearest.
    match rungs[..index].iter().rposition(large_enough) {
        Some(from) => Source::Rung(from),
        None => Source::Photo,
    }
}

/// The largest part of `source` that has the aspect of `out`, as near around a focal point (fractions of width and height)
/// as the edges allow.
pub(crate) fn cut(source: (u32, u32), out: (u32, u32), focus: (f64, f64)) -> Window {
    let (w, h) = (f64::from(source.0), f64::from(source.1));
    let aspect = f64::from(out.0) / f64::from(out.1);
    let (width, height) = ((h * aspect / w).min(1.0), (w / aspect / h).min(1.0));
    let start = |focus: f64, length: f64| (focus - length / 2.0).clamp(0.0, 1.0 - length);
    Window { left: start(focus.0, width), top: start(focus.1, height), width, height }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OutputFormat::{Jpeg, Png, WebP};

    fn inside(side: u32, quality: u8) -> Preset {
        Preset { quality, ..Preset::new("x", side, side, Fit::Inside) }
    }

    fn plan(photo: (u32, u32), presets: &[Preset]) -> Plan {
        Plan::new(photo, presets, Kind::Opaque, false)
    }

    fn sources(plan: &Plan) -> Vec<Source> {
        plan.rungs.iter().map(|rung| rung.source).collect()
    }

    #[test]
    fn a_phone_photo_goes_down_the_ladder_step_by_step() {
        let plan = plan((3024, 4032), &Preset::default_ladder());
        let expected = [Source::Photo, Source::Rung(0), Source::Rung(1), Source::Rung(2), Source::Rung(3)];
        assert_eq!(sources(&plan), expected);
        assert_eq!(plan.photo_last_use, 0, "the photo's frame is free after the first rung");
        assert_eq!(plan.rungs[0].last_use, 1);
        assert_eq!(plan.rungs[4].shape.crop, Some(Focus::Center));
        assert_eq!(plan.looks, plan.rungs[3].shape, "the smallest uncut one");
        assert!(!plan.full_chroma);
    }

    #[test]
    fn a_size_that_is_too_close_is_made_from_the_one_above() {
        let plan = plan((4000, 3000), &[inside(1000, 80), inside(900, 80), inside(600, 80), inside(300, 80)]);
        // 1000 / 900 is too little; 900 / 600 is enough.
        assert_eq!(sources(&plan), [Source::Photo, Source::Photo, Source::Rung(1), Source::Rung(2)]);
        assert_eq!(plan.photo_last_use, 1);
    }

    #[test]
    fn a_small_photo_is_one_frame_for_all_presets_that_it_fits() {
        let plan = plan((100, 80), &Preset::default_ladder());
        assert_eq!(plan.rungs.len(), 2);
        assert_eq!(plan.rungs[0].source, Source::WholePhoto);
        assert_eq!(plan.rungs[0].outputs.len(), 1);
        assert_eq!(plan.rungs[0].outputs[0].presets, [0, 1, 2, 3]);
        assert_eq!((plan.rungs[1].source, plan.rungs[1].shape.crop), (Source::Rung(0), Some(Focus::Center)));
    }

    #[test]
    fn other_qualities_share_the_frame_and_not_the_file() {
        let plan = plan((4000, 3000), &[inside(500, 80), inside(500, 60), inside(500, 80)]);
        assert_eq!(plan.rungs.len(), 1);
        let presets: Vec<_> = plan.rungs[0].outputs.iter().map(|output| output.presets.clone()).collect();
        assert_eq!(presets, [vec![0, 2], vec![1]]);
    }

    #[test]
    fn presets_in_any_order_go_largest_first() {
        let plan = plan((4000, 3000), &[inside(100, 80), inside(1000, 80), inside(300, 80)]);
        let widths: Vec<u32> = plan.rungs.iter().map(|rung| rung.shape.width).collect();
        assert_eq!(widths, [1000, 300, 100]);
    }

    #[test]
    fn an_axis_that_cannot_shrink_does_not_stop_the_cascade() {
        let plan = plan((65_500, 1), &Preset::default_ladder());
        assert_eq!(plan.rungs[1].source, Source::Rung(0));
    }

    #[test]
    fn what_is_enlarged_is_made_from_the_photo_and_serves_nobody() {
        let large = Preset { enlarge: true, ..inside(3000, 80) };
        let plan = plan((1000, 800), &[large, inside(2000, 80), inside(500, 80)]);
        assert_eq!(sources(&plan), [Source::Photo, Source::WholePhoto, Source::Rung(1)]);
    }

    #[test]
    fn placeholders_get_a_frame_of_their_own_if_none_serves() {
        let square = Preset::new("square", 150, 150, Fit::Cover);
        let plan = plan((4000, 3000), &[square, inside(2000, 80)]);
        assert_eq!(plan.looks.size(), (128, 96));
        let own: Vec<&Rung> = plan.rungs.iter().filter(|rung| rung.shape == plan.looks).collect();
        assert!(own.len() == 1 && own[0].outputs.is_empty());
    }

    #[test]
    fn placeholders_show_the_whole_photo_whatever_its_aspect() {
        let square = Preset::new("square", 150, 150, Fit::Cover);
        for width in 1..600 {
            let photo = (width * 7, 2604);
            for presets in [Preset::default_ladder(), vec![square.clone()]] {
                let plan = plan(photo, &presets);
                let (shape, found) = (plan.looks, plan.rungs.iter().any(|rung| rung.shape == plan.looks));
                assert!(found && shape.crop.is_none(), "{photo:?}");
                assert!(shape.width.max(shape.height) <= LOOKS_SIDE_MAX, "{photo:?}: {shape:?}");
                // The ladder has one, and a square that cuts nothing off is one.
                let own = presets.len() == 1 && plan.looks.size() != (150, 150);
                assert_eq!(plan.rungs.len(), presets.len() + usize::from(own), "{photo:?}");
            }
        }
    }

    #[test]
    fn formats_that_are_left_open_follow_the_photo() {
        let auto = Preset { format: PresetFormat::Auto, ..inside(500, 80) };
        let formats = |kind| {
            let plan = Plan::new((4000, 3000), std::slice::from_ref(&auto), kind, false);
            let formats: Vec<_> = plan.rungs[0].outputs.iter().map(|output| output.finish.format).collect();
            (formats, plan.full_chroma)
        };
        assert_eq!(formats(Kind::Opaque), (vec![Jpeg, WebP], false));
        assert_eq!(formats(Kind::Transparent), (vec![Png, WebP], true));
        assert_eq!(formats(Kind::Flat), (vec![Png], true));
    }

    #[test]
    fn what_every_client_understands_comes_first_whoever_asked_for_the_other_before() {
        let webp = Preset { format: PresetFormat::WebP, ..inside(500, 80) };
        let auto = |side| Preset { format: PresetFormat::Auto, ..inside(side, 80) };
        // Of the same shape, and inside boxes that are both larger than the photo.
        for (photo, side) in [((4000, 3000), 500), ((400, 300), 800)] {
            for (kind, first) in [(Kind::Opaque, Jpeg), (Kind::Transparent, Png)] {
                let plan = Plan::new(photo, &[webp.clone(), auto(side)], kind, false);
                let outputs: Vec<_> = plan.rungs[0]
                    .outputs
                    .iter()
                    .map(|output| (output.finish.format, output.presets.clone()))
                    .collect();
                assert_eq!(outputs, [(first, vec![1]), (WebP, vec![0, 1])], "{photo:?} {kind:?}");
            }
        }
    }

    #[test]
    fn motion_is_kept_where_the_preset_and_the_format_allow() {
        let auto = Preset { format: PresetFormat::Auto, animated: true, ..inside(500, 80) };
        let plan = Plan::new((600, 400), &[auto, inside(500, 80)], Kind::Opaque, true);
        assert_eq!(plan.moving.len(), 1);
        assert_eq!(plan.moving[0].output.finish.format, OutputFormat::WebP);
        let stills: Vec<_> = plan.rungs[0].outputs.iter().map(|output| output.presets.clone()).collect();
        assert_eq!(stills, [[0, 1]], "a still JPEG for those who do not take WebP");
    }

    #[test]
    fn a_drawn_animation_moves_too() {
        let auto = Preset { format: PresetFormat::Auto, animated: true, ..inside(500, 80) };
        let files = |preset: &Preset, moves| {
            let plan = Plan::new((600, 400), std::slice::from_ref(preset), Kind::Flat, moves);
            let still: Vec<_> = plan.rungs[0].outputs.iter().map(|output| output.finish.format).collect();
            let moving: Vec<_> = plan.moving.iter().map(|moving| moving.output.finish.format).collect();
            (still, moving)
        };
        assert_eq!(files(&auto, true), (vec![Png], vec![WebP]));
        assert_eq!(files(&auto, false), (vec![Png], vec![]));
        assert_eq!(files(&Preset { animated: false, ..auto }, true), (vec![Png], vec![]));
    }

    #[test]
    fn a_cut_is_inside_and_around_its_focus() {
        for source in [(3024, 4032), (1536, 2048), (17, 3), (65_500, 1), (1, 1), (641, 480)] {
            for out in [(150, 150), (1, 1), (1200, 300), (3, 3)] {
                for focus in [(0.5, 0.5), (0.0, 1.0), (0.9, 0.1)] {
                    let window = cut(source, out, focus);
                    assert!(window.width > 0.0 && window.height > 0.0 && window.left >= 0.0);
                    assert!(window.left + window.width <= 1.0 + 1e-12, "{source:?} to {out:?}");
                    assert!(window.top >= 0.0 && window.top + window.height <= 1.0 + 1e-12);
                }
            }
        }
        let window = cut((200, 100), (50, 50), (0.5, 0.5));
        assert_eq!((window.left, window.top, window.width, window.height), (0.25, 0.0, 0.5, 1.0));
        assert!((cut((200, 100), (50, 50), (0.9, 0.5)).left - 0.5).abs() < 1e-9);
    }
}
