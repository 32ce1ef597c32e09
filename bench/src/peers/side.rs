//! Who is measured, and with which settings.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::install::{Tool, Tools};
use super::task::Task;
use super::{child, own};
use crate::engine::{Fit, Format, Output, presets};

/// Beyond the time of measuring: for starting, reading the photos, warming up and the last photo of each lane.
const TIME_BESIDES: Duration = Duration::from_secs(120);
/// Quality of every variant of every side.
pub(super) const QUALITY: u8 = 80;

/// A program or a way of using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Darkroom,
    SharpExpert,
    SharpClone,
    Pyvips,
    Pillow,
}

impl Side {
    /// As in tables and JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Darkroom => "darkroom",
            Self::SharpExpert => "sharp-expert",
            Self::SharpClone => "sharp-clone",
            Self::Pyvips => "pyvips",
            Self::Pillow => "pillow",
        }
    }

    /// What is used of the libraries, for the settings.
    fn way(self, single: bool, cores: usize) -> String {
        let once = if single { "one resize" } else { "decoded once, cascade" };
        let lanes = self.lanes(cores);
        match self {
            Self::Darkroom => format!("one photo per thread, {lanes} threads"),
            Self::SharpExpert => format!(
                "{once}{}, concurrency(1), cache(false), UV_THREADPOOL_SIZE {cores}, {lanes} photos in flight",
                if single { "" } else { " through raw buffers" }
            ),
            Self::SharpClone => {
                let each = if single { "one resize" } else { "clone() per variant" };
                format!("{each}, everything else as by default, {lanes} photos in flight")
            }
            Self::Pyvips => {
                format!(
                    "thumbnail_buffer, {once}, VIPS_CONCURRENCY 1, one photo per process, {lanes} processes"
                )
            }
            Self::Pillow => {
                let how = if single { "draft, one resize" } else { "draft, cascade, reducing_gap 2" };
                format!("{how}, LANCZOS, one photo per process, {lanes} processes")
            }
        }
    }

    /// Photos in flight, so that every core is busy. sharp's expert keeps more than the cores can take, because a lane
    /// returns to JavaScript between two steps.
    const fn lanes(self, cores: usize) -> usize {
        match self {
            Self::SharpExpert => cores * 2,
            Self::Darkroom | Self::SharpClone | Self::Pyvips | Self::Pillow => cores,
        }
    }
}

/// A side with its settings: one row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) side: Side,
    pub(super) output: Output,
}

/// What a measurement gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// Of the wall clock, all cores together.
    pub(super) photos_per_second: f64,
    /// User and system time.
    pub(super) cpu_ms_per_photo: f64,
}

/// What a first run gave, whose variants were kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// Names and versions of what did the work.
    pub(super) versions: String,
    /// Of all variants of a photo, on average.
    pub(super) bytes: f64,
}

/// Every row of a task with this format, in the table's order.
pub(super) fn contenders(format: Format) -> Vec<Contender> {
    let with = |side, optimise, effort| Contender {
        side,
        output: Output { format, quality: QUALITY, optimise, effort },
    };
    match format {
        Format::WebP => {
            let experts = [Side::Darkroom, Side::SharpExpert, Side::Pyvips, Side::Pillow];
            let both =
                experts.into_iter().flat_map(|side| [2, 4].map(|effort| with(side, false, Some(effort))));
            // sharp's default effort is 4.
            both.chain([with(Side::SharpClone, false, None)]).collect()
        }
        Format::Jpeg | Format::Png => vec![
            with(Side::Darkroom, false, None),
            with(Side::Darkroom, true, None),
            with(Side::SharpExpert, false, None),
            with(Side::SharpExpert, true, None),
            // sharp's default is optimised tables, libvips's and Pillow's are the standard ones.
            with(Side::SharpClone, true, None),
            with(Side::Pyvips, false, None),
            with(Side::Pillow, false, None),
        ],
    }
}

/// What the peers' scripts read from standard input.
#[derive(Debug, Serialize)]
struct Job<'a> {
    photos: Vec<String>,
    variants: Vec<Wanted>,
    format: &'a str,
    quality: u8,
    optimise: bool,
    effort: Option<u8>,
    way: &'a str,
    lanes: usize,
    seconds: f64,
    /// Where to keep the first photo's variants; `None` to measure.
    folder: Option<String>,
}

#[derive(Debug, Serialize)]
struct Wanted {
    file: String,
    width: u32,
    height: u32,
    fit: Fit,
}

#[derive(Debug, Deserialize)]
struct MeasuredAnswer {
    photos_per_second: f64,
    cpu_ms_per_photo: f64,
}

#[derive(Debug, Deserialize)]
struct KeptAnswer {
    versions: String,
    bytes: f64,
}

impl Contender {
    /// What sets this row apart from the side's others.
    pub(super) fn label(self) -> String {
        match (self.output.format, self.output.effort) {
            (Format::WebP, None) => "default effort".to_owned(),
            (Format::WebP, Some(effort)) => format!("effort {effort}"),
            _ if self.output.optimise => "opt".to_owned(),
            _ => "no opt".to_owned(),
        }
    }

    /// Everything that a reader needs to do the same again.
    pub(super) fn settings(self, versions: &str, task: &Task, cores: usize) -> String {
        let way = self.side.way(task.sizes.len() == 1, cores);
        format!("{}, quality {QUALITY}; {way}; {versions}", self.label())
    }

    /// Renders the first photos of the task once, and writes the very first one's variants to `folder`.
    pub(super) fn keep(self, task: &Task, tools: &Tools, folder: &Path) -> Result<Kept, String> {
        let photos = &task.photos[..task.photos.len().min(super::KEPT_PHOTOS_MAX)];
        if self.side == Side::Darkroom {
            return self.keep_own(task, photos.len(), folder);
        }
        let limit = TIME_BESIDES + Duration::from_secs(10) * photos.len() as u32;
        let job = self.job(task, photos.len(), 1, Duration::ZERO, Some(folder));
        let answer: KeptAnswer = self.ask(&job, tools, 1, limit)?;
        Ok(Kept { versions: answer.versions, bytes: answer.bytes })
    }

    fn keep_own(self, task: &Task, photos: usize, folder: &Path) -> Result<Kept, String> {
        let presets = presets(&task.sizes, self.output)?;
        let mut engine = crate::engine::Engine::default();
        let mut bytes = 0;
        for (index, photo) in task.photos[..photos].iter().enumerate() {
            let rendered =
                engine.probe_decode_render(&photo.bytes, &presets).map_err(|error| error.to_string())?;
            for (variant, _) in rendered.variants {
                bytes += variant.bytes.len();
                if index == 0 {
                    let path = folder.join(file_name(&variant.preset, self.output.format));
                    std::fs::write(&path, &variant.bytes)
                        .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
                }
            }
        }
        let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
        let versions = format!("darkroom {} ({build})", env!("CARGO_PKG_VERSION"));
        Ok(Kept { versions, bytes: bytes as f64 / photos as f64 })
    }

    /// One round.
    pub(super) fn measure(
        self,
        task: &Task,
        tools: &Tools,
        cores: usize,
        time: Duration,
    ) -> Result<Rate, String> {
        let lanes = self.side.lanes(cores);
        if self.side == Side::Darkroom {
            let photos: Vec<_> = task.photos.iter().map(|photo| photo.bytes.clone()).collect();
            return own::measure(&photos, &presets(&task.sizes, self.output)?, lanes, time);
        }
        let job = self.job(task, task.photos.len(), lanes, time, None);
        let answer: MeasuredAnswer = self.ask(&job, tools, cores, TIME_BESIDES + time * 3)?;
        let rate =
            Rate { photos_per_second: answer.photos_per_second, cpu_ms_per_photo: answer.cpu_ms_per_photo };
        let plausible = |value: f64| value.is_finite() && value > 0.0;
        if plausible(rate.photos_per_second) && plausible(rate.cpu_ms_per_photo) {
            Ok(rate)
        } else {
            Err(format!("its figures make no sense: {answer:?}"))
        }
    }

    fn job<'a>(
        self,
        task: &Task,
        photos: usize,
        lanes: usize,
        time: Duration,
        folder: Option<&Path>,
    ) -> Job<'a> {
        let wanted = |size: &crate::engine::Size| Wanted {
            file: file_name(size.name, self.output.format),
            width: size.width,
            height: size.height,
            fit: size.fit,
        };
        Job {
            photos: task.photos[..photos].iter().map(|photo| photo.name.clone()).collect(),
            variants: task.sizes.iter().map(wanted).collect(),
            format: self.output.format.name(),
            quality: self.output.quality,
            optimise: self.output.optimise,
            effort: self.output.effort,
            way: if self.side == Side::SharpClone { "clone" } else { "cascade" },
            lanes,
            seconds: time.as_secs_f64(),
            folder: folder.map(|folder| folder.display().to_string()),
        }
    }

    /// Runs the side's script on a job.
    fn ask<T: for<'de> Deserialize<'de>>(
        self,
        job: &Job,
        tools: &Tools,
        cores: usize,
        limit: Duration,
    ) -> Result<T, String> {
        let tool = tools.of(self.side)?;
        let mut command = tool.command(self.script());
        if self.side == Side::SharpExpert {
            command.env("UV_THREADPOOL_SIZE", cores.to_string());
        }
        let line = serde_json::to_string(job).map_err(|error| error.to_string())?;
        let answer = child::run(&mut command, Some(&line), limit)?;
        serde_json::from_str(&answer).map_err(|error| format!("its answer cannot be read: {error}"))
    }

    const fn script(self) -> &'static str {
        match self.side {
            Side::Darkroom | Side::SharpExpert | Side::SharpClone => "sharp.mjs",
            Side::Pyvips => "vips.py",
            Side::Pillow => "pillow.py",
        }
    }
}

impl Tools {
    /// What runs a side's script, or the sentence that says why nothing does.
    fn of(&self, side: Side) -> Result<&Tool, String> {
        match side {
            Side::Pyvips | Side::Pillow => self.python.as_ref(),
            Side::Darkroom | Side::SharpExpert | Side::SharpClone => self.node.as_ref(),
        }
        .map_err(Clone::clone)
    }
}

/// Of a kept variant.
pub(super) fn file_name(variant: &str, format: Format) -> String {
    format!("{variant}.{}", format.extension())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        super::super::task::tests::task_of_one_photo()
    }

    #[test]
    fn like_is_compared_with_like() {
        for format in [Format::Jpeg, Format::WebP] {
            let contenders = contenders(format);
            for side in [Side::Darkroom, Side::SharpExpert, Side::SharpClone, Side::Pyvips, Side::Pillow] {
                assert!(contenders.iter().any(|contender| contender.side == side), "{format:?} {side:?}");
            }
            let mut rows: Vec<(&str, String)> =
                contenders.iter().map(|row| (row.side.name(), row.label())).collect();
            rows.sort();
            let all = rows.len();
            rows.dedup();
            assert_eq!(rows.len(), all, "each row differs from the side's others");
        }
        let expert: Vec<String> = contenders(Format::Jpeg)
            .iter()
            .filter(|contender| contender.side == Side::SharpExpert)
            .map(|contender| contender.label())
            .collect();
        assert_eq!(expert, ["no opt", "opt"]);
    }

    #[test]
    fn a_job_says_everything_that_a_script_needs() {
        let task = task();
        let clone = contenders(Format::WebP).into_iter().find(|row| row.side == Side::SharpClone).unwrap();
        let job = serde_json::to_value(clone.job(&task, 1, 2, Duration::from_secs(4), None)).unwrap();
        assert_eq!((&job["way"], &job["effort"]), (&"clone".into(), &serde_json::Value::Null));
        assert_eq!((&job["lanes"], &job["seconds"]), (&2.into(), &4.0.into()));
        assert_eq!(job["variants"][4]["fit"], "cover");
        assert_eq!(job["variants"][0]["file"], "large.webp");
        assert_eq!(job["folder"], serde_json::Value::Null);
        assert_eq!(job["photos"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn settings_name_the_versions_and_what_keeps_the_cores_busy() {
        let task = task();
        let expert = contenders(Format::Jpeg).into_iter().find(|row| row.side == Side::SharpExpert).unwrap();
        let settings = expert.settings("sharp 1.2.3", &task, 2);
        for part in ["no opt", "quality 80", "concurrency(1)", "4 photos in flight", "sharp 1.2.3"] {
            assert!(settings.contains(part), "{settings}");
        }
    }

    #[test]
    fn a_side_without_its_tool_says_why() {
        let task = task();
        let tools = Tools { node: Err("no node".to_owned()), python: Err("no python".to_owned()) };
        for row in contenders(Format::Jpeg).into_iter().filter(|row| row.side != Side::Darkroom) {
            let error = row.measure(&task, &tools, 1, Duration::from_millis(1)).unwrap_err();
            assert!(error.starts_with("no "), "{error}");
        }
    }
}
