//! All that the measurements know of darkroom-media's interface.
//!
//! When that interface changes, this file changes, and what measures stays as it is.

use std::time::{Duration, Instant};

use darkroom_media::{Limits, Looks, PresetFormat, Scratch, decode, probe, render};

pub(crate) use darkroom_media::{
    Cost, Fit, MediaError, Orientation, Preset, Probe, SourceFormat, StepTimes, Variant,
};

/// A format that a measurement wants its variants in, whether darkroom can write it yet or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Jpeg,
    #[value(name = "webp")]
    WebP,
    Png,
}

impl Format {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Jpeg, Self::WebP, Self::Png];

    /// As in names of tasks and in the peers' jobs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::WebP => "webp",
            Self::Png => "png",
        }
    }

    /// The usual ending of a file's name, without the dot.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Png => "png",
        }
    }
}

/// How variants are to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: Format,
    /// 1 to 100; PNG has none.
    pub(crate) quality: u8,
    /// For JPEG: Huffman tables computed for each file rather than the standard's.
    pub(crate) optimise: bool,
    /// For WebP: the method of libwebp, 0 (fastest) to 6 (smallest). `None` leaves it to the library.
    pub(crate) effort: Option<u8>,
}

/// A size, as a measurement asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fit: Fit,
}

/// What `output` is called by this version of darkroom-media. This is the one place that decides what it can write: an
/// `Err` is the sentence that says what it cannot, and the side is left out of the task.
fn output_format(output: Output) -> Result<PresetFormat, String> {
    match (output.format, output.optimise) {
        (Format::Jpeg, false) => Ok(PresetFormat::Jpeg),
        (Format::Jpeg, true) => Err("it writes JPEG with the standard Huffman tables only".to_owned()),
        (Format::WebP, _) => Ok(PresetFormat::WebP),
        (Format::Png, _) => Ok(PresetFormat::Png),
    }
}

/// The presets that make `sizes` with the given settings, or the sentence that says why there are none.
pub(crate) fn presets(sizes: &[Size], output: Output) -> Result<Vec<Preset>, String> {
    let format = output_format(output)?;
    let base = Preset::default_ladder().into_iter().next().ok_or("it has no default preset")?;
    let preset = |size: &Size| {
        let mut preset = base.clone();
        size.name.clone_into(&mut preset.name);
        (preset.width, preset.height, preset.fit) = (size.width, size.height, size.fit);
        (preset.format, preset.quality) = (format, output.quality);
        preset.effort = output.effort.unwrap_or(preset.effort);
        preset
    };
    Ok(sizes.iter().map(preset).collect())
}

/// The size of a variant of an upright photo with the given width and height, both at least 1.
pub(crate) fn output_size(wanted: &Size, (width, height): (u32, u32)) -> (u32, u32) {
    let mut presets = Preset::default_ladder();
    presets.first_mut().map_or((width, height), |preset| {
        (preset.width, preset.height, preset.fit) = (wanted.width, wanted.height, wanted.fit);
        preset.output_size(width, height)
    })
}

/// The default ladder's sizes with the given settings, or the sentence that says why there are none.
pub(crate) fn default_ladder(output: Output) -> Result<Vec<Preset>, String> {
    let format = output_format(output)?;
    let mut presets = Preset::default_ladder();
    for preset in &mut presets {
        (preset.format, preset.quality) = (format, output.quality);
        preset.effort = output.effort.unwrap_or(preset.effort);
    }
    Ok(presets)
}

/// The default ladder, once for each format that this version of darkroom-media can write.
pub(crate) fn default_ladders() -> Vec<Vec<Preset>> {
    let output = |format| Output { format, quality: 80, optimise: false, effort: None };
    Format::ALL.into_iter().filter_map(|format| default_ladder(output(format)).ok()).collect()
}

/// What one photo became, and what each step took.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) probed: Probe,
    pub(crate) probe: Duration,
    pub(crate) decode: Duration,
    /// Largest first.
    pub(crate) variants: Vec<(Variant, StepTimes)>,
    /// Computed beside the variants.
    pub(crate) looks: Looks,
}

/// darkroom-media as one thread uses it: with scratch memory that outlives a photo.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    limits: Limits,
    scratch: Scratch,
}

impl Engine {
    /// The whole way of a photo, from its bytes to the bytes of its variants.
    pub(crate) fn probe_decode_render(
        &mut self,
        bytes: &[u8],
        presets: &[Preset],
    ) -> Result<Rendered, MediaError> {
        let started = Instant::now();
        let probed = probe(bytes, &self.limits)?;
        let probe_time = started.elapsed();
        let started = Instant::now();
        let decoded = decode(bytes, &probed, &self.limits, &mut self.scratch)?;
        let decode_time = started.elapsed();
        let mut variants = Vec::with_capacity(presets.len());
        let looks = render(decoded, presets, &mut self.scratch, &mut |variant, times| {
            variants.push((variant, times));
        })?;
        Ok(Rendered { probed, probe: probe_time, decode: decode_time, variants, looks })
    }
}

/// What a file is, from its bytes and within the default limits, without a pixel being decoded.
pub(crate) fn probe_only(bytes: &[u8]) -> Result<Probe, MediaError> {
    probe(bytes, &Limits::default())
}

/// What admission expects a photo to take.
pub(crate) fn expected(bytes: &[u8], presets: &[Preset]) -> Result<Cost, MediaError> {
    let limits = Limits::default();
    Ok(probe(bytes, &limits)?.cost(presets, &limits))
}

/// The kind of a photo, as it matters to the decoder.
pub(crate) fn kind(probed: &Probe) -> String {
    let mut kind = probed.format.to_string();
    match (probed.format, probed.progressive) {
        (SourceFormat::Jpeg, true) => kind.push_str(" progressive"),
        (SourceFormat::Jpeg, false) => kind.push_str(" baseline"),
        (_, true) => kind.push_str(" interlaced"),
        (_, false) => {}
    }
    if probed.has_alpha {
        kind.push_str(" with alpha");
    }
    if probed.is_animated() {
        kind.push_str(" animated");
    }
    kind
}

#[cfg(test)]
mod tests {
    use darkroom_media::synth::{PhotoSpec, jpeg};

    use super::*;

    fn output(format: Format) -> Output {
        Output { format, quality: 71, optimise: false, effort: None }
    }

    #[test]
    fn sizes_become_presets_with_the_settings_asked_for() {
        let sizes = [Size { name: "banner", width: 90, height: 20, fit: Fit::Cover }];
        let presets = presets(&sizes, output(Format::Jpeg)).unwrap();
        assert_eq!(presets.len(), 1);
        assert_eq!((presets[0].name.as_str(), presets[0].quality), ("banner", 71));
        let bytes = jpeg(&PhotoSpec { width: 200, height: 100, ..PhotoSpec::default() });
        let rendered = Engine::default().probe_decode_render(&bytes, &presets).unwrap();
        let (variant, _) = &rendered.variants[0];
        assert_eq!((variant.width, variant.height), (90, 20));
        assert_eq!(kind(&rendered.probed), "JPEG baseline");
    }

    #[test]
    fn what_cannot_be_written_is_said_in_a_sentence_and_never_written_otherwise() {
        let sizes = [Size { name: "a", width: 9, height: 9, fit: Fit::Inside }];
        for format in Format::ALL {
            match presets(&sizes, output(format)) {
                Ok(presets) => {
                    let name = serde_json::to_string(&presets[0].format).unwrap();
                    assert_eq!(name.trim_matches('"'), format.name());
                }
                Err(sentence) => assert!(sentence.starts_with("it "), "{sentence}"),
            }
        }
    }
}
