//! The side `darkroom`: threads of this process, each with one photo at a time.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::side::{Encoding, KEPT_PHOTOS_MAX, Kept, Rate, file_name};
use super::task::Task;
use super::window::Window;
use crate::engine::{Engine, Preset, presets};
use crate::folder::Photo;

/// What is used, for the settings.
pub(super) fn way(encoding: Encoding, single: bool, lanes: usize) -> String {
    let once = if single { "one resize" } else { "cascade" };
    let tuned = match encoding {
        Encoding::Jpeg { .. } => "",
        Encoding::WebP { .. } => ", libwebp's simple filter at strength 100, sns 30 and 0.65 of quality more",
    };
    format!(
        "no shrink-on-load, {once}, Lanczos3, 4:2:0{tuned}, metadata stripped, one photo per thread, {lanes} threads, mimalloc"
    )
}

/// Renders every photo once, and writes the variants of the first ones to `folder`.
pub(super) fn keep(task: &Task, encoding: Encoding, folder: &Path) -> Result<Kept, String> {
    let presets = presets(&task.sizes, encoding.output())?;
    let mut engine = Engine::default();
    let mut bytes = 0;
    for (index, photo) in task.photos.iter().enumerate() {
        let rendered =
            engine.probe_decode_render(&photo.bytes, &presets).map_err(|error| error.to_string())?;
        for (variant, _) in rendered.variants {
            bytes += variant.bytes.len();
            if index < KEPT_PHOTOS_MAX {
                let path = folder.join(file_name(index, &variant.preset, encoding));
                fs::write(&path, &variant.bytes)
                    .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
            }
        }
    }
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let versions = format!("darkroom {} ({build})", env!("CARGO_PKG_VERSION"));
    Ok(Kept { versions, bytes: bytes as f64 / task.photos.len() as f64 })
}

/// What the lanes share.
struct Turn<'a> {
    photos: &'a [Photo],
    presets: &'a [Preset],
    started: Instant,
    next: AtomicUsize,
    window: Mutex<Window>,
    over: AtomicBool,
}

/// Measures `lanes` threads for `time` and until a pass over the photos is whole. Fails with the sentence of a photo that
/// fails.
pub(super) fn measure(
    photos: &[Photo],
    presets: &[Preset],
    lanes: usize,
    time: Duration,
) -> Result<Rate, String> {
    let turn = Turn {
        photos,
        presets,
        started: Instant::now(),
        next: AtomicUsize::new(0),
        window: Mutex::new(Window::new(lanes, photos.len(), time.as_secs_f64())),
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let turn = &turn;
        let lanes: Vec<_> = (0..lanes).map(|index| scope.spawn(move || turn.lane(index))).collect();
        let mut joined = lanes.into_iter().map(thread::ScopedJoinHandle::join);
        joined.try_for_each(|ended| ended.unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })?;
    let window = turn.window.into_inner().unwrap_or_else(PoisonError::into_inner);
    window.rate().ok_or_else(|| "the turn ended before anything was measured".to_owned())
}

/// Ends all lanes when one ends, also by a failure or a panic: they would wait for it for ever.
struct EndAll<'a>(&'a AtomicBool);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Turn<'_> {
    /// One photo after the other until the turn is over.
    fn lane(&self, index: usize) -> Result<(), String> {
        let _end = EndAll(&self.over);
        let mut engine = Engine::default();
        while !self.over.load(Ordering::Relaxed) {
            let photo = &self.photos[self.next.fetch_add(1, Ordering::Relaxed) % self.photos.len()];
            engine.probe_decode_render(&photo.bytes, self.presets).map_err(|error| error.to_string())?;
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            // The clocks are read while the others wait, so that completions come in order.
            if window.completed(index, self.started.elapsed().as_secs_f64(), thread_cpu_seconds()) {
                break;
            }
        }
        Ok(())
    }
}

/// User and system time of this thread.
fn thread_cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use darkroom_media::synth::PhotoSpec;

    use super::*;
    use crate::engine::default_ladders;
    use crate::samples::generated;

    fn small(seed: u64) -> Photo {
        generated("small", &PhotoSpec { seed, width: 160, height: 120, ..PhotoSpec::default() })
    }

    #[test]
    fn lanes_are_added_up() {
        let photos = [small(0), small(1), small(2)];
        let rate = measure(&photos, &default_ladders()[0], 2, Duration::from_millis(50)).unwrap();
        assert!(rate.photos_per_second > 0.0 && rate.cpu_ms_per_photo > 0.0, "{rate:?}");
        // Two threads cannot use more than two seconds a second; with room for the clocks' grain.
        assert!(rate.photos_per_second * rate.cpu_ms_per_photo / 1e3 < 2.2, "{rate:?}");
    }

    #[test]
    fn one_photo_that_fails_ends_all_lanes() {
        let broken = Photo { bytes: Bytes::from_static(b"no photo"), ..small(0) };
        let photos = [small(0), broken];
        let error = measure(&photos, &default_ladders()[0], 2, Duration::from_secs(60)).unwrap_err();
        assert!(!error.is_empty());
    }
}
