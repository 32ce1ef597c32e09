//! How long decoding and rendering one photo may take.

use std::io::{BufRead, Cursor, Read, Result, Seek, SeekFrom};
use std::time::{Duration, Instant};

use crate::{Limits, MediaError};

/// Bytes that a codec takes between two looks at the clock.
const BYTES_BETWEEN_LOOKS: usize = 16 << 10;

/// The end of a photo's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    until: Instant,
    seconds: u32,
}

impl Deadline {
    /// From now on.
    pub(crate) fn start(limits: &Limits) -> Self {
        let seconds = limits.seconds_max;
        Self { until: Instant::now() + Duration::from_secs(seconds.into()), seconds }
    }

    pub(crate) fn passed(&self) -> bool {
        #[cfg(test)]
        if clock::has_run_out() {
            return true;
        }
        Instant::now() >= self.until
    }

    /// Fails with [`MediaError::TooSlow`] when it has passed.
    pub(crate) fn check(&self) -> std::result::Result<(), MediaError> {
        if self.passed() { Err(self.error()) } else { Ok(()) }
    }

    pub(crate) const fn error(&self) -> MediaError {
        MediaError::TooSlow { limit: self.seconds }
    }

    /// An error of a codec that read through [`TimedReader`]: the deadline's if that is why it stopped.
    pub(crate) fn or(&self, error: MediaError) -> MediaError {
        if self.passed() { self.error() } else { error }
    }

    /// Reads from memory until the deadline.
    pub(crate) fn reader<'a>(&self, original: &'a [u8]) -> TimedReader<'a> {
        TimedReader { inner: Cursor::new(original), watch: self.watch() }
    }

    pub(crate) const fn watch(&self) -> Watch {
        Watch { deadline: *self, before_look: 0 }
    }
}

/// Looks at the clock now and then: at once, and then whenever so much work was done that a look does not count.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    deadline: Deadline,
    before_look: usize,
}

impl Watch {
    /// Counts work, in bytes that it read or wrote. Says whether the deadline was seen to have passed.
    fn runs_out(&mut self, bytes: usize) -> bool {
        if let Some(left) = self.before_look.checked_sub(bytes.max(1)) {
            self.before_look = left;
            return false;
        }
        self.before_look = BYTES_BETWEEN_LOOKS;
        self.deadline.passed()
    }

    /// Counts work, in bytes that it reads or writes. Fails with [`MediaError::TooSlow`] when the time has passed.
    pub(crate) fn took(&mut self, bytes: usize) -> std::result::Result<(), MediaError> {
        if self.runs_out(bytes) { Err(self.deadline.error()) } else { Ok(()) }
    }
}

/// Bytes in memory that cannot be read any more once the deadline has passed. It is how a codec that knows no deadlines
/// is stopped.
#[derive(Debug, Clone)]
pub(crate) struct TimedReader<'a> {
    inner: Cursor<&'a [u8]>,
    watch: Watch,
}

impl TimedReader<'_> {
    /// Bytes that were read.
    pub(crate) const fn position(&self) -> u64 {
        self.inner.position()
    }

    fn took(&mut self, bytes: usize) -> Result<()> {
        if self.watch.runs_out(bytes) { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Read for TimedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(buffer)?;
        self.took(count)?;
        Ok(count)
    }
}

impl BufRead for TimedReader<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        self.took(0)?;
        // In pieces, so that a codec that takes all it is given comes back.
        let rest = self.inner.fill_buf()?;
        Ok(&rest[..rest.len().min(BYTES_BETWEEN_LOOKS)])
    }

    fn consume(&mut self, amount: usize) {
        // The look itself is left to the next call that can fail.
        self.watch.before_look = self.watch.before_look.saturating_sub(amount);
        self.inner.consume(amount);
    }
}

impl Seek for TimedReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.took(0)?;
        self.inner.seek(to)
    }
}

/// A clock for tests, which is moved by looking at it.
#[cfg(test)]
pub(crate) mod clock {
    use std::cell::Cell;

    use super::Deadline;
    use crate::{Limits, MediaError};

    thread_local! {
        /// Looks after which every deadline of this thread has passed; `None` while the real clock counts.
        static LOOKS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    pub(super) fn has_run_out() -> bool {
        let left = LOOKS_LEFT.get();
        LOOKS_LEFT.set(left.map(|left| left.saturating_sub(1)));
        left == Some(0)
    }

    /// What `work` comes to if the time has passed after so many looks at the clock, and how many were left.
    fn running_out<T>(looks: u32, work: impl FnOnce() -> T) -> (T, u32) {
        LOOKS_LEFT.set(Some(looks));
        let outcome = work();
        (outcome, LOOKS_LEFT.take().unwrap_or_default())
    }

    /// Asserts that `decode` looks at the clock at least so often, and ends at whichever look the time has passed.
    pub(crate) fn assert_ends_in_time<T>(
        looks_min: u32,
        decode: impl Fn(&Deadline) -> Result<T, MediaError>,
    ) {
        let limits = Limits::default();
        let deadline = Deadline::start(&limits);
        let (outcome, left) = running_out(u32::MAX, || decode(&deadline));
        assert!(outcome.is_ok(), "{:?}", outcome.err());
        let looks = u32::MAX - left;
        assert!(looks >= looks_min, "{looks} looks at the clock, and {looks_min} are expected");
        for looks in 0..looks {
            let (outcome, _) = running_out(looks, || decode(&deadline));
            let error = outcome.err();
            assert_eq!(error, Some(MediaError::TooSlow { limit: limits.seconds_max }), "look {looks}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_at_the_deadline() {
        let bytes = vec![7; 200_000];
        let limits = Limits { seconds_max: 3600, ..Limits::default() };
        let mut read = Vec::new();
        assert_eq!(Deadline::start(&limits).reader(&bytes).read_to_end(&mut read).unwrap(), 200_000);

        let deadline = Deadline { until: Instant::now(), seconds: 5 };
        assert_eq!(deadline.check(), Err(MediaError::TooSlow { limit: 5 }));
        let error = deadline.reader(&bytes).read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let mut reader = deadline.reader(&bytes);
        let ended = (0..=BYTES_BETWEEN_LOOKS).any(|_| reader.fill_buf().is_err());
        assert!(ended);
    }

    #[test]
    fn what_is_taken_out_of_the_buffer_counts_as_read() {
        let bytes = vec![7; 10 * BYTES_BETWEEN_LOOKS];
        clock::assert_ends_in_time(10, |deadline| {
            let mut reader = deadline.reader(&bytes);
            loop {
                match reader.fill_buf().map(<[u8]>::len) {
                    Ok(0) => return Ok(()),
                    Ok(count) => reader.consume(count),
                    Err(_) => return deadline.check(),
                }
            }
        });
    }
}
