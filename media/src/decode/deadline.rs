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
        TimedReader { inner: Cursor::new(original), deadline: *self, before_look: BYTES_BETWEEN_LOOKS }
    }
}

/// Bytes in memory that cannot be read any more once the deadline has passed. It is how a codec that knows no deadlines
/// is stopped.
#[derive(Debug, Clone)]
pub(crate) struct TimedReader<'a> {
    inner: Cursor<&'a [u8]>,
    deadline: Deadline,
    before_look: usize,
}

impl TimedReader<'_> {
    fn took(&mut self, bytes: usize) -> Result<()> {
        match self.before_look.checked_sub(bytes.max(1)) {
            Some(left) => self.before_look = left,
            None if self.deadline.passed() => return Err(std::io::ErrorKind::TimedOut.into()),
            None => self.before_look = BYTES_BETWEEN_LOOKS,
        }
        Ok(())
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
        self.inner.consume(amount);
    }
}

impl Seek for TimedReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.took(0)?;
        self.inner.seek(to)
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
}
