//! The part of a turn that is measured. The peers' scripts measure in the same way (`bench/peers/`).
//!
//! Lanes take the photos from one counter, round and round, and work without a pause until the turn is over, so that none is
//! measured while another has left it the cores. The window begins with the completion that makes every lane warm, and ends
//! with the first one, at or after the time asked for, that makes the completions in between whole passes over the photos:
//! each photo counts as often as any other, and the photos under way are the same at both ends. A lane's own part of the
//! window runs from one of its completions to another, and it has at least one.

use super::side::Rate;

/// A lane at its last completion. Times are in seconds, on clocks that all lanes share.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mark {
    done: usize,
    at: f64,
    cpu: f64,
}

/// Fed with every completion, in order.
#[derive(Debug)]
pub(super) struct Window {
    photos: usize,
    seconds: f64,
    now: Vec<Mark>,
    begin: Option<(f64, Vec<Mark>)>,
    end: Option<Vec<Mark>>,
}

impl Window {
    /// For `lanes` lanes and passes of `photos` photos, and for at least `seconds`.
    pub(super) fn new(lanes: usize, photos: usize, seconds: f64) -> Self {
        Self { photos, seconds, now: vec![Mark::default(); lanes], begin: None, end: None }
    }

    /// A lane has completed a photo at the time `at`, and has used `cpu` of the processor since it began. Says whether the
    /// turn is over.
    pub(super) fn completed(&mut self, lane: usize, at: f64, cpu: f64) -> bool {
        self.now[lane] = Mark { done: self.now[lane].done + 1, at, cpu };
        match &self.begin {
            None if self.now.iter().all(|mark| mark.done > 0) => self.begin = Some((at, self.now.clone())),
            Some((since, begin)) if self.end.is_none() && at - since >= self.seconds => {
                let done = || begin.iter().zip(&self.now).map(|(begin, now)| now.done - begin.done);
                if done().all(|done| done > 0) && done().sum::<usize>().is_multiple_of(self.photos) {
                    self.end = Some(self.now.clone());
                }
            }
            None | Some(_) => {}
        }
        self.end.is_some()
    }

    /// `None` before the turn is over.
    pub(super) fn rate(&self) -> Option<Rate> {
        let ((_, begin), end) = self.begin.as_ref().zip(self.end.as_ref())?;
        let spans = || {
            begin.iter().zip(end).map(|(begin, end)| Mark {
                done: end.done - begin.done,
                at: end.at - begin.at,
                cpu: end.cpu - begin.cpu,
            })
        };
        let done: usize = spans().map(|span| span.done).sum();
        Some(Rate {
            photos_per_second: spans().map(|span| span.done as f64 / span.at).sum(),
            cpu_ms_per_photo: spans().map(|span| span.cpu).sum::<f64>() * 1e3 / done as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_with_a_whole_pass() {
        // One lane, three photos of 1, 2 and 4 seconds, of which half is the processor's.
        let mut window = Window::new(1, 3, 8.0);
        let (mut at, mut completions) = (0.0, 0);
        loop {
            at += [1.0, 2.0, 4.0][completions % 3];
            completions += 1;
            assert_eq!(window.rate(), None);
            if window.completed(0, at, at / 2.0) {
                break;
            }
        }
        // Begun after the first photo at 1 s; 8 s later a second pass is under way, which ends with the seventh photo.
        assert_eq!(completions, 7);
        let rate = window.rate().unwrap();
        assert!((rate.photos_per_second - 6.0 / 14.0).abs() < 1e-12, "{rate:?}");
        assert!((rate.cpu_ms_per_photo - 7000.0 / 6.0).abs() < 1e-9, "{rate:?}");
    }

    #[test]
    fn each_lane_is_measured_between_its_own_completions() {
        // Lanes that complete a photo every 2 and every 3 seconds: what is not whole at an end belongs to neither.
        let mut window = Window::new(2, 1, 5.0);
        assert!(!window.completed(0, 2.0, 2.0));
        assert!(!window.completed(1, 3.0, 3.0));
        assert!(!window.completed(0, 4.0, 4.0));
        assert!(!window.completed(0, 6.0, 6.0));
        assert!(!window.completed(1, 6.0, 6.0));
        assert!(window.completed(0, 8.0, 8.0));
        assert!(window.completed(1, 9.0, 9.0), "what comes later is not counted");
        let rate = window.rate().unwrap();
        assert!((rate.photos_per_second - (1.0 / 2.0 + 1.0 / 3.0)).abs() < 1e-12, "{rate:?}");
        assert!((rate.cpu_ms_per_photo - 9000.0 / 4.0).abs() < 1e-9, "{rate:?}");
    }

    #[test]
    fn a_turn_waits_for_its_slowest_lane() {
        let mut window = Window::new(2, 1, 0.0);
        assert!(!window.completed(0, 1.0, 1.0));
        assert!(!window.completed(1, 2.0, 2.0));
        assert!(!window.completed(0, 3.0, 3.0), "the other has completed nothing in the window");
        assert!(window.completed(1, 4.0, 4.0));
    }
}
