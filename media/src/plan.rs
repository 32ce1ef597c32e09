//! Which frames a ladder of presets needs, and from which larger frame each of them is made.
//!
//! Rendering and its estimate of memory both follow this plan, so that they cannot disagree.

use crate::{OutputFormat, Preset};

/// A frame is made from a smaller one than the photo if that one is at least this many times larger on both axes: below
/// it, resampling twice would show.
const CASCADE_RATIO: f64 = 1.4;

/// Where the pixels of a rung come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The decoded photo, resampled.
    Photo,
    /// The decoded photo itself, because it is not larger.
    WholePhoto,
    /// The frame of an earlier rung, by index.
    Rung(usize),
}

/// One encoded file, and the presets that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: OutputFormat,
    pub(crate) quality: u8,
    /// Indices into the presets, all with these settings and this size.
    pub(crate) presets: Vec<usize>,
}

/// One frame of the cascade. Sizes are in pixels, as shown (after orientation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rung {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Whether the photo's sides are cut off.
    pub(crate) cropped: bool,
    pub(crate) source: Source,
    pub(crate) outputs: Vec<Output>,
    /// The last rung that is made from this one; its own index if none is.
    pub(crate) last_use: usize,
}

/// The rungs, largest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) rungs: Vec<Rung>,
    /// The last rung that is made from the decoded photo.
    pub(crate) photo_last_use: usize,
}

impl Plan {
    /// For a photo shown (after orientation) with this width and height in pixels.
    pub(crate) fn new((width, height): (u32, u32), presets: &[Preset]) -> Self {
        let mut rungs: Vec<Rung> = Vec::with_capacity(presets.len());
        for (index, preset) in presets.iter().enumerate() {
            let (out_width, out_height) = preset.output_size(width, height);
            let cropped =
                preset.fit == crate::Fit::Cover && !same_aspect((width, height), (out_width, out_height));
            let known = rungs
                .iter_mut()
                .find(|rung| (rung.width, rung.height, rung.cropped) == (out_width, out_height, cropped));
            if let Some(rung) = known {
                rung.add(index, preset);
            } else {
                let mut rung = Rung {
                    width: out_width,
                    height: out_height,
                    cropped,
                    source: Source::Photo,
                    outputs: Vec::new(),
                    last_use: 0,
                };
                rung.add(index, preset);
                rungs.push(rung);
            }
        }
        // A cropped frame is the source of none, so of two equally large ones the whole one goes first.
        rungs.sort_by_key(|rung| {
            (std::cmp::Reverse(u64::from(rung.width) * u64::from(rung.height)), rung.cropped)
        });
        Self { rungs, photo_last_use: 0 }.with_sources((width, height))
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

impl Rung {
    fn add(&mut self, index: usize, preset: &Preset) {
        let same = |output: &&mut Output| (output.format, output.quality) == (preset.format, preset.quality);
        if let Some(output) = self.outputs.iter_mut().find(same) {
            output.presets.push(index);
        } else {
            let (format, quality) = (preset.format, preset.quality);
            self.outputs.push(Output { format, quality, presets: vec![index] });
        }
    }
}

/// Whether `out` is `photo` made smaller and nothing cut off, to the nearest pixel.
fn same_aspect(photo: (u32, u32), out: (u32, u32)) -> bool {
    let (w, h) = (f64::from(photo.0), f64::from(photo.1));
    let (out_w, out_h) = (f64::from(out.0), f64::from(out.1));
    (out_w * h / w - out_h).abs() <= 0.5 && (out_h * w / h - out_w).abs() <= 0.5
}

/// The smallest earlier frame that is large enough, else the photo.
fn source(rungs: &[Rung], index: usize, photo: (u32, u32)) -> Source {
    let rung = &rungs[index];
    if !rung.cropped && (rung.width, rung.height) == photo {
        return Source::WholePhoto;
    }
    // What fraction of each axis the rung shows: only that part of the source counts.
    let (crop_width, crop_height) = if rung.cropped {
        crop(photo, (rung.width, rung.height))
    } else {
        (f64::from(photo.0), f64::from(photo.1))
    };
    let shown = (crop_width / f64::from(photo.0), crop_height / f64::from(photo.1));
    let large_enough = |candidate: &Rung| {
        let axis = |from: u32, whole: u32, shown: f64, to: u32| {
            from == whole || f64::from(from) * shown >= f64::from(to) * CASCADE_RATIO
        };
        !candidate.cropped
            && axis(candidate.width, photo.0, shown.0, rung.width)
            && axis(candidate.height, photo.1, shown.1, rung.height)
    };
    // Sorted largest first, so the last that is large enough is the nearest.
    match rungs[..index].iter().rposition(large_enough) {
        Some(from) => Source::Rung(from),
        None => Source::Photo,
    }
}

/// Width and height of the centred part of `source` that has the aspect of `out`, in pixels of the source.
///
/// In steps of 1/256 pixel, so that the sums that the resizer checks against the source's edges are exact.
pub(crate) fn crop(source: (u32, u32), out: (u32, u32)) -> (f64, f64) {
    let (w, h) = (f64::from(source.0), f64::from(source.1));
    let aspect = f64::from(out.0) / f64::from(out.1);
    let step = |value: f64, most: f64| ((value * 256.0).round() / 256.0).clamp(1.0 / 256.0, most);
    (step(h * aspect, w), step(w / aspect, h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fit;

    fn inside(side: u32, quality: u8) -> Preset {
        Preset { width: side, height: side, quality, ..Preset::default_ladder().remove(0) }
    }

    #[test]
    fn a_phone_photo_goes_down_the_ladder_step_by_step() {
        let plan = Plan::new((3024, 4032), &Preset::default_ladder());
        let sources: Vec<Source> = plan.rungs.iter().map(|rung| rung.source).collect();
        assert_eq!(
            sources,
            [Source::Photo, Source::Rung(0), Source::Rung(1), Source::Rung(2), Source::Rung(3)]
        );
        assert_eq!(plan.photo_last_use, 0, "the photo's frame is free after the first rung");
        assert_eq!(plan.rungs[0].last_use, 1);
        assert!(plan.rungs[4].cropped);
    }

    #[test]
    fn a_size_that_is_too_close_is_made_from_the_one_above() {
        let plan = Plan::new((4000, 3000), &[inside(1000, 80), inside(900, 80), inside(600, 80)]);
        let sources: Vec<Source> = plan.rungs.iter().map(|rung| rung.source).collect();
        // 1000 / 900 is too little; 900 / 600 is enough.
        assert_eq!(sources, [Source::Photo, Source::Photo, Source::Rung(1)]);
        assert_eq!(plan.photo_last_use, 1);
    }

    #[test]
    fn a_small_photo_is_one_frame_for_all_presets_that_it_fits() {
        let plan = Plan::new((100, 80), &Preset::default_ladder());
        assert_eq!(plan.rungs.len(), 2);
        assert_eq!(plan.rungs[0].source, Source::WholePhoto);
        assert_eq!(plan.rungs[0].outputs.len(), 1);
        assert_eq!(plan.rungs[0].outputs[0].presets, [0, 1, 2, 3]);
        assert_eq!((plan.rungs[1].source, plan.rungs[1].cropped), (Source::Rung(0), true));
    }

    #[test]
    fn other_qualities_share_the_frame_and_not_the_file() {
        let plan = Plan::new((4000, 3000), &[inside(1000, 80), inside(1000, 60), inside(1000, 80)]);
        assert_eq!(plan.rungs.len(), 1);
        let presets: Vec<_> = plan.rungs[0].outputs.iter().map(|output| output.presets.clone()).collect();
        assert_eq!(presets, [vec![0, 2], vec![1]]);
    }

    #[test]
    fn presets_in_any_order_go_largest_first() {
        let plan = Plan::new((4000, 3000), &[inside(100, 80), inside(1000, 80), inside(300, 80)]);
        let widths: Vec<u32> = plan.rungs.iter().map(|rung| rung.width).collect();
        assert_eq!(widths, [1000, 300, 100]);
    }

    #[test]
    fn an_axis_that_cannot_shrink_does_not_stop_the_cascade() {
        let plan = Plan::new((65_500, 1), &Preset::default_ladder());
        assert_eq!(plan.rungs[1].source, Source::Rung(0));
    }

    #[test]
    fn a_crop_is_centred_exactly_and_inside() {
        for source in [(3024, 4032), (1536, 2048), (17, 3), (65_500, 1), (1, 1), (641, 480)] {
            for out in [(150, 150), (1, 1), (1200, 300), (3, 3)] {
                let (width, height) = crop(source, out);
                let (w, h) = (f64::from(source.0), f64::from(source.1));
                assert!(width > 0.0 && height > 0.0);
                assert!((w - width) / 2.0 + width <= w, "{source:?} to {out:?}");
                assert!((h - height) / 2.0 + height <= h, "{source:?} to {out:?}");
            }
        }
        let banner = Preset { width: 150, height: 150, fit: Fit::Cover, ..inside(1, 80) };
        assert_eq!(crop((240, 320), banner.output_size(3024, 4032)), (240.0, 240.0));
    }
}
