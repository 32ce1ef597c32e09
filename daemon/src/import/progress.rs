//! Shows how far it is: a bar on a terminal, now and then a line elsewhere.

#![expect(clippy::print_stderr, reason = "progress is for whoever watches, and no result")]

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::Meter;
use super::ledger::{Kind, Tally};
use super::report::rate;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often the bar is drawn at most, a second.
const DRAWN_HZ: u8 = 5;

/// Where progress goes.
pub(super) struct Progress {
    shown: Shown,
    files: u64,
    bytes: u64,
    began: Instant,
    /// The furthest that was shown. What is sent again after a break is no step back to whoever watches.
    furthest: u64,
}

enum Shown {
    Nowhere,
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// On standard error, in whichever way suits that.
    pub(super) fn new(files: u64, bytes: u64) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            Shown::Bar(bar(bytes))
        } else {
            Shown::Lines { last: Instant::now() }
        };
        Self { shown, files, bytes, began: Instant::now(), furthest: 0 }
    }

    /// Not at all.
    pub(super) fn silent() -> Self {
        Self { shown: Shown::Nowhere, files: 0, bytes: 0, began: Instant::now(), furthest: 0 }
    }

    pub(super) fn show(&mut self, tally: &Tally, meter: &Meter) {
        let settled = tally.settled();
        let bytes = self.position(settled.bytes, meter);
        let text = || {
            let bad = tally.bad().files;
            let bad = if bad == 0 { String::new() } else { format!(", {bad} not taken") };
            let repeated = meter.repeated.load(Ordering::Relaxed);
            let repeated = if repeated == 0 { String::new() } else { format!(", {repeated} tried again") };
            let sent = rate(meter.sent.load(Ordering::Relaxed), self.began.elapsed());
            let had = tally.of(Kind::Have).files + tally.of(Kind::Duplicate).files;
            format!("{}/{} files, {had} there already{bad}{repeated}, {sent}", settled.files, self.files)
        };
        match &mut self.shown {
            Shown::Nowhere => {}
            Shown::Bar(bar) => {
                bar.set_position(bytes.min(self.bytes));
                bar.set_message(text());
            }
            Shown::Lines { last } if last.elapsed() < LINE_EVERY => {}
            Shown::Lines { last } => {
                *last = Instant::now();
                let left = remaining(bytes, self.bytes, self.began.elapsed());
                let left =
                    left.map_or_else(String::new, |left| format!(", {} left", super::report::time(left)));
                eprintln!("{} of {}, {}{left}", ByteSize(bytes), ByteSize(self.bytes), text());
            }
        }
    }

    /// How far it is, by what is settled and what is on its way.
    fn position(&mut self, settled: u64, meter: &Meter) -> u64 {
        self.furthest = self.furthest.max(settled + meter.in_flight.load(Ordering::Relaxed));
        self.furthest
    }

    pub(super) fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Shows how far the processing of photos is.
pub(super) struct Waiting(Shown);

impl Waiting {
    /// On standard error, or not at all.
    pub(super) fn new(quiet: bool) -> Self {
        if quiet {
            return Self(Shown::Nowhere);
        }
        if !std::io::stderr().is_terminal() {
            return Self(Shown::Lines { last: Instant::now() });
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWN_HZ));
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {msg}, {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(Shown::Bar(bar))
    }

    pub(super) fn show(&mut self, done: u64, left: u64) {
        let text = format!("{done} of {} photos processed", done + left);
        match &mut self.0 {
            Shown::Nowhere => {}
            Shown::Bar(bar) => {
                bar.set_length(done + left);
                bar.set_position(done);
                bar.set_message(text);
            }
            Shown::Lines { last } if last.elapsed() < LINE_EVERY => {}
            Shown::Lines { last } => {
                *last = Instant::now();
                eprintln!("{text}");
            }
        }
    }

    pub(super) fn end(&self) {
        if let Shown::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(DRAWN_HZ));
    let template = "{elapsed_precise} [{wide_bar}] {binary_bytes}/{binary_total_bytes}, {msg}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// How long the rest takes if it goes on like this.
fn remaining(done: u64, all: u64, elapsed: Duration) -> Option<Duration> {
    let share = (done > 0).then(|| all.saturating_sub(done) as f64 / done as f64)?;
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let (mut progress, meter) = (Progress::silent(), Meter::new());
        meter.in_flight.store(30, Ordering::Relaxed);
        assert_eq!(progress.position(10, &meter), 40);
        // A connection broke, or what has arrived is not counted as settled yet.
        meter.in_flight.store(0, Ordering::Relaxed);
        assert_eq!(progress.position(10, &meter), 40);
        assert_eq!(progress.position(50, &meter), 50);
    }

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done() {
        assert_eq!(remaining(0, 10, Duration::from_secs(5)), None);
        assert_eq!(remaining(5, 20, Duration::from_secs(5)), Some(Duration::from_secs(15)));
        assert_eq!(remaining(5, 5, Duration::from_secs(5)), Some(Duration::ZERO));
    }
}
