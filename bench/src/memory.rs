//! How much memory a process holds, over time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Points of a curve that are told.
const POINTS: usize = 60;
/// The steps of a curve that is drawn as text.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Looks at a process until it is asked for what it saw. Linux only.
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<Sample>>>,
    status: PathBuf,
    watching: JoinHandle<()>,
}

/// Resident bytes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Since the first one.
    seconds: f64,
    bytes: u64,
}

/// What a process held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Memory {
    /// The most it ever held, also between two looks, as the kernel tells it.
    pub(crate) peak_bytes: u64,
    /// The mean of the second quarter of the time: the first is for warming up.
    pub(crate) early_bytes: u64,
    /// The mean of the last quarter.
    pub(crate) late_bytes: u64,
    /// Means of equal spans of time.
    pub(crate) curve: Vec<Sample>,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn begin(pid: u32) -> Self {
        let status = PathBuf::from(format!("/proc/{pid}/status"));
        let (seen, began) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let (sink, path) = (Arc::clone(&seen), status.clone());
        let watching = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                if let Some(bytes) = read(&path, "VmRSS:") {
                    let sample = Sample { seconds: began.elapsed().as_secs_f64(), bytes };
                    sink.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            }
        });
        Self { seen, status, watching }
    }

    /// What was seen; `None` if nothing was.
    pub(crate) fn end(self) -> Option<Memory> {
        self.watching.abort();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        Memory::of(&seen, read(&self.status, "VmHWM:"))
    }
}

/// A line of the kernel's, in bytes.
fn read(status: &PathBuf, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|found| found.strip_prefix(line))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn mean(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.bytes).sum::<u64>() / samples.len().max(1) as u64
}

impl Memory {
    fn of(seen: &[Sample], peak: Option<u64>) -> Option<Self> {
        let quarter = seen.len().div_ceil(4);
        let late = seen.get(seen.len() - quarter..).filter(|late| !late.is_empty())?;
        let early = seen.get(quarter..2 * quarter).unwrap_or(late);
        let span = seen.len().div_ceil(POINTS);
        let curve = seen.chunks(span).map(|span| Sample { seconds: span[0].seconds, bytes: mean(span) });
        let most = seen.iter().map(|sample| sample.bytes).max()?;
        Some(Self {
            peak_bytes: peak.unwrap_or(most),
            early_bytes: mean(early),
            late_bytes: mean(late),
            curve: curve.collect(),
        })
    }

    /// The curve as a line of text, from nothing at its foot to the peak.
    pub(crate) fn drawn(&self) -> String {
        let step = |sample: &Sample| {
            let height = sample.bytes * STEPS.len() as u64 / self.peak_bytes.max(1);
            STEPS[(height as usize).min(STEPS.len() - 1)]
        };
        self.curve.iter().map(step).collect()
    }

    /// Two lines for people.
    pub(crate) fn told(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let seconds = self.curve.last().map_or(0.0, |last| last.seconds);
        format!(
            "memory        peak {:.0} MiB resident; {:.0} MiB in the second quarter of the time, {:.0} MiB in the last\n\
             over time     {} 0 to {:.0} MiB, {seconds:.0} s",
            mib(self.peak_bytes),
            mib(self.early_bytes),
            mib(self.late_bytes),
            self.drawn(),
            mib(self.peak_bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_tells_whether_memory_is_flat() {
        let samples: Vec<Sample> =
            (0..240_u64).map(|at| Sample { seconds: at as f64 / 2.0, bytes: (at + 1) << 20 }).collect();
        let memory = Memory::of(&samples, Some(300 << 20)).unwrap();
        assert_eq!(memory.curve.len(), POINTS);
        assert_eq!(memory.curve[1], Sample { seconds: 2.0, bytes: (5 << 20) + (3 << 19) });
        assert_eq!((memory.early_bytes >> 20, memory.late_bytes >> 20), (90, 210));
        assert_eq!(memory.drawn().chars().next(), Some('▁'));
        assert!(
            memory.told().starts_with("memory        peak 300 MiB resident; 90 MiB in"),
            "{}",
            memory.told()
        );
        assert!(Memory::of(&[], None).is_none());
        assert_eq!(Memory::of(&samples[..1], None).unwrap().late_bytes, 1 << 20);
    }

    #[tokio::test]
    async fn this_process_holds_something() {
        let watch = Watch::begin(std::process::id());
        while watch.seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let memory = watch.end().unwrap();
        assert!(memory.peak_bytes >= memory.late_bytes && memory.late_bytes > 1 << 20, "{memory:?}");
    }
}
