//! Other libraries, each through its script in `bench/peers/`.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child;
use super::install::{Tool, Tools};
use super::side::{Encoding, KEPT_PHOTOS_MAX, Kept, QUALITY, Rate, wanted_name};
use super::task::Task;
use crate::engine::Fit;

/// Beyond the time of measuring: for starting, reading the photos and warming up.
const TIME_BESIDES: Duration = Duration::from_secs(120);
/// For one photo, of which a turn needs as many as make its last pass whole.
const PHOTO_TIME_MAX: Duration = Duration::from_secs(10);

/// A library, or a way of using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    SharpExpert,
    SharpClone,
    Pyvips,
    Pillow,
}

/// What the scripts read from standard input.
#[derive(Debug, Serialize)]
struct Job<'a> {
    photos: Vec<&'a str>,
    variants: Vec<Wanted>,
    format: &'static str,
    quality: u8,
    optimise: bool,
    effort: Option<u8>,
    way: &'static str,
    lanes: usize,
    seconds: f64,
    /// Of how many photos the variants are written to `folder`.
    kept: usize,
    /// `None` to measure.
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

impl Peer {
    /// As in tables and JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SharpExpert => "sharp-expert",
            Self::SharpClone => "sharp-clone",
            Self::Pyvips => "pyvips",
            Self::Pillow => "pillow",
        }
    }

    /// What is used of the library, for the settings.
    pub(super) fn way(self, single: bool, cores: usize) -> String {
        let once = if single { "one resize" } else { "decoded once, cascade" };
        let lanes = self.lanes(cores);
        match self {
            Self::SharpExpert => format!(
                "shrink-on-load, {once}{}, lanczos3, 4:2:0, metadata stripped, concurrency(1), cache(false), UV_THREADPOOL_SIZE {cores}, {lanes} photos in flight",
                if single { "" } else { " through raw buffers" }
            ),
            Self::SharpClone => {
                let each = if single { "one resize" } else { "clone() per variant" };
                format!(
                    "{each}, everything else as by default (shrink-on-load, lanczos3, 4:2:0, metadata stripped, libuv's 4 threads), {lanes} photos in flight"
                )
            }
            Self::Pyvips => format!(
                "thumbnail_buffer (shrink-on-load), {once}, lanczos3, subsample_mode on (4:2:0), keep none, VIPS_CONCURRENCY 1, one photo per process, {lanes} processes"
            ),
            Self::Pillow => {
                let how = if single { "one resize" } else { "cascade" };
                format!(
                    "draft (shrink-on-load), {how}, LANCZOS, reducing_gap 2, 4:2:0, metadata stripped, one photo per process, {lanes} processes"
                )
            }
        }
    }

    /// Photos in flight, so that every core is busy. sharp's expert keeps more than the cores can take, because a lane
    /// returns to JavaScript between two steps.
    const fn lanes(self, cores: usize) -> usize {
        match self {
            Self::SharpExpert => cores * 2,
            Self::SharpClone | Self::Pyvips | Self::Pillow => cores,
        }
    }

    /// Renders every photo of the task once, and writes the variants of the first ones to `folder`.
    pub(super) fn keep(
        self,
        task: &Task,
        encoding: Encoding,
        tools: &Tools,
        folder: &Path,
    ) -> Result<Kept, String> {
        let limit = TIME_BESIDES + PHOTO_TIME_MAX * task.photos.len() as u32;
        let job = self.job(task, encoding, 1, Duration::ZERO, Some(folder));
        let answer: KeptAnswer = self.ask(&job, tools, 1, limit)?;
        Ok(Kept { versions: answer.versions, bytes: answer.bytes })
    }

    /// One round.
    pub(super) fn measure(
        self,
        task: &Task,
        encoding: Encoding,
        tools: &Tools,
        cores: usize,
        time: Duration,
    ) -> Result<Rate, String> {
        let job = self.job(task, encoding, self.lanes(cores), time, None);
        let limit = TIME_BESIDES + time + PHOTO_TIME_MAX * task.photos.len() as u32;
        let answer: MeasuredAnswer = self.ask(&job, tools, cores, limit)?;
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
        task: &'a Task,
        encoding: Encoding,
        lanes: usize,
        time: Duration,
        folder: Option<&Path>,
    ) -> Job<'a> {
        let wanted = |size: &crate::engine::Size| Wanted {
            file: wanted_name(size.name, encoding),
            width: size.width,
            height: size.height,
            fit: size.fit,
        };
        let (optimise, effort) = match encoding {
            Encoding::Jpeg { optimise } => (optimise, None),
            Encoding::WebP { effort } => (false, Some(effort)),
        };
        Job {
            photos: task.photos.iter().map(|photo| photo.name.as_str()).collect(),
            variants: task.sizes.iter().map(wanted).collect(),
            format: encoding.output().format.name(),
            quality: QUALITY,
            optimise,
            effort,
            way: if self == Self::SharpClone { "clone" } else { "cascade" },
            lanes,
            seconds: time.as_secs_f64(),
            kept: KEPT_PHOTOS_MAX,
            folder: folder.map(|folder| folder.display().to_string()),
        }
    }

    /// Runs the script on a job.
    fn ask<T: for<'de> Deserialize<'de>>(
        self,
        job: &Job,
        tools: &Tools,
        cores: usize,
        limit: Duration,
    ) -> Result<T, String> {
        let mut command = self.tool(tools)?.command(self.script());
        if self == Self::SharpExpert {
            command.env("UV_THREADPOOL_SIZE", cores.to_string());
        }
        let line = serde_json::to_string(job).map_err(|error| error.to_string())?;
        let answer = child::run(&mut command, Some(&line), limit)?;
        serde_json::from_str(&answer).map_err(|error| format!("its answer cannot be read: {error}"))
    }

    const fn script(self) -> &'static str {
        match self {
            Self::SharpExpert | Self::SharpClone => "sharp.mjs",
            Self::Pyvips => "vips.py",
            Self::Pillow => "pillow.py",
        }
    }

    /// What runs the script, or the sentence that says why nothing does.
    fn tool(self, tools: &Tools) -> Result<&Tool, String> {
        match self {
            Self::Pyvips | Self::Pillow => tools.python.as_ref(),
            Self::SharpExpert | Self::SharpClone => tools.node.as_ref(),
        }
        .map_err(Clone::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::task::tests::task_of_one_photo;

    #[test]
    fn a_job_says_everything_that_a_script_needs() {
        let task = task_of_one_photo();
        let webp = Encoding::WebP { effort: 4 };
        let job = Peer::SharpClone.job(&task, webp, 2, Duration::from_secs(4), None);
        let job = serde_json::to_value(job).unwrap();
        assert_eq!((&job["way"], &job["effort"]), (&"clone".into(), &4.into()));
        assert_eq!((&job["lanes"], &job["seconds"]), (&2.into(), &4.0.into()));
        assert_eq!(job["variants"][4]["fit"], "cover");
        assert_eq!(job["variants"][0]["file"], "large.webp");
        assert_eq!((&job["folder"], &job["kept"]), (&serde_json::Value::Null, &4.into()));
        assert_eq!(job["photos"].as_array().unwrap().len(), 1);
        let jpeg = Encoding::Jpeg { optimise: true };
        let job = Peer::Pillow.job(&task, jpeg, 1, Duration::ZERO, Some(Path::new("/x")));
        let job = serde_json::to_value(job).unwrap();
        assert_eq!((&job["way"], &job["optimise"]), (&"cascade".into(), &true.into()));
        assert_eq!((&job["effort"], &job["folder"]), (&serde_json::Value::Null, &"/x".into()));
    }

    #[test]
    fn a_peer_without_its_tool_says_why() {
        let task = task_of_one_photo();
        let tools = Tools { node: Err("no node".to_owned()), python: Err("no python".to_owned()) };
        for (peer, why) in [(Peer::SharpClone, "no node"), (Peer::Pillow, "no python")] {
            let jpeg = Encoding::Jpeg { optimise: false };
            let measured = peer.measure(&task, jpeg, &tools, 1, Duration::from_millis(1));
            assert_eq!(measured, Err(why.to_owned()));
        }
    }
}
