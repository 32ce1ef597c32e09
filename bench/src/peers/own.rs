//! The side `darkroom`: threads of this process, each with one photo at a time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use super::side::Rate;
use crate::engine::{Engine, Preset};

/// What the lanes share. They work as those of the peers' scripts do (`bench/peers/lanes.py`): without a pause from the
/// beginning until the last lane has its figure, so that none is measured while another has left it the cores.
struct Shared<'a> {
    photos: &'a [Bytes],
    presets: &'a [Preset],
    lanes: usize,
    time: Duration,
    next: AtomicUsize,
    warm: AtomicUsize,
    /// When the last lane had finished a photo.
    begin: OnceLock<Instant>,
    measured: AtomicUsize,
    failed: AtomicBool,
}

/// The figures of one lane, from one of its completions to another.
struct Lane {
    done: u32,
    seconds: f64,
    cpu_seconds: f64,
}

/// Measures `lanes` threads for about `time`. Fails with the sentence of the first photo that fails.
pub(super) fn measure(
    photos: &[Bytes],
    presets: &[Preset],
    lanes: usize,
    time: Duration,
) -> Result<Rate, String> {
    let shared = Shared {
        photos,
        presets,
        lanes,
        time,
        next: AtomicUsize::new(0),
        warm: AtomicUsize::new(0),
        begin: OnceLock::new(),
        measured: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    let figures = thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(|| shared.lane())).collect();
        let joined = lanes.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|figure| figure.unwrap_or_else(|_| Err("a thread panicked".to_owned())))
            .collect::<Result<Vec<Lane>, String>>()
    })?;
    let done: u32 = figures.iter().map(|lane| lane.done).sum();
    let cpu: f64 = figures.iter().map(|lane| lane.cpu_seconds).sum();
    Ok(Rate {
        photos_per_second: figures.iter().map(|lane| f64::from(lane.done) / lane.seconds).sum(),
        cpu_ms_per_photo: cpu * 1e3 / f64::from(done),
    })
}

/// Ends all lanes when one fails or panics: they would wait for it for ever.
struct EndOthers<'a>(&'a AtomicBool);

impl Drop for EndOthers<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Shared<'_> {
    fn lane(&self) -> Result<Lane, String> {
        let others = EndOthers(&self.failed);
        let figure = self.lane_until_measured()?;
        std::mem::forget(others);
        Ok(figure)
    }

    fn lane_until_measured(&self) -> Result<Lane, String> {
        let mut engine = Engine::default();
        self.one(&mut engine)?;
        if self.warm.fetch_add(1, Ordering::Relaxed) + 1 == self.lanes {
            // Nobody else reaches this number.
            let _ = self.begin.set(Instant::now());
        }
        let begin = loop {
            if let Some(begin) = self.begin.get() {
                break *begin;
            }
            self.one(&mut engine)?;
        };
        let (since, cpu) = (Instant::now(), thread_cpu_seconds());
        let mut done = 0;
        loop {
            self.one(&mut engine)?;
            done += 1;
            if begin.elapsed() >= self.time {
                break;
            }
        }
        let figure =
            Lane { done, seconds: since.elapsed().as_secs_f64(), cpu_seconds: thread_cpu_seconds() - cpu };
        self.measured.fetch_add(1, Ordering::Relaxed);
        while self.measured.load(Ordering::Relaxed) < self.lanes {
            self.one(&mut engine)?;
        }
        Ok(figure)
    }

    /// The next photo that nobody has taken.
    fn one(&self, engine: &mut Engine) -> Result<(), String> {
        if self.failed.load(Ordering::Relaxed) {
            return Err("another thread failed".to_owned());
        }
        let photo = &self.photos[self.next.fetch_add(1, Ordering::Relaxed) % self.photos.len()];
        engine.probe_decode_render(photo, self.presets).map(drop).map_err(|error| error.to_string())
    }
}

/// User and system time of this thread.
fn thread_cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use darkroom_media::synth::{PhotoSpec, jpeg};

    use super::*;
    use crate::engine::default_ladders;

    #[test]
    fn lanes_are_added_up() {
        let photo = Bytes::from(jpeg(&PhotoSpec { width: 160, height: 120, ..PhotoSpec::default() }));
        let rate = measure(&[photo], &default_ladders()[0], 2, Duration::from_millis(50)).unwrap();
        assert!(rate.photos_per_second > 0.0 && rate.cpu_ms_per_photo > 0.0, "{rate:?}");
        // Two threads cannot use more than two seconds a second; with room for the clocks' grain.
        assert!(rate.photos_per_second * rate.cpu_ms_per_photo / 1e3 < 2.2, "{rate:?}");
    }

    #[test]
    fn one_photo_that_fails_ends_all_lanes() {
        let good = Bytes::from(jpeg(&PhotoSpec { width: 160, height: 120, ..PhotoSpec::default() }));
        let photos = [good, Bytes::from_static(b"no photo")];
        let error = measure(&photos, &default_ladders()[0], 2, Duration::from_secs(60)).unwrap_err();
        assert!(!error.is_empty());
    }
}
