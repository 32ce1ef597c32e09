//! Everything about batches that can be set.

use std::time::Duration;

/// Longest that anything here may take.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Most items of one check: their rows are read within one request's time.
const CHECK_MAX: usize = 100_000;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 4096;

/// How many batches there may be, how long they stay, and who may follow them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// How long a batch is kept after its last change.
    pub keep: Duration,
    /// Open ones of one owner.
    pub open_max: usize,
    /// Longest name of a batch, in bytes. What is kept of a file's name is the pipeline's to say, and is as long.
    pub name_bytes_max: usize,
    /// Files in one check.
    pub check_max: usize,
    /// Checks at once: the body of each is held in memory.
    pub checks_at_once: usize,
    /// Clients that follow batches of this node at once.
    pub subscribers_max: usize,
    /// How often a batch that is followed is looked at.
    pub events_interval: Duration,
    /// After how much silence followers are told that they still are.
    pub events_heartbeat: Duration,
    /// Longest that one request follows a batch.
    pub events_time_max: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 3600),
            open_max: 100,
            name_bytes_max: 255,
            check_max: 1000,
            checks_at_once: 16,
            subscribers_max: 200,
            events_interval: Duration::from_secs(1),
            events_heartbeat: Duration::from_secs(15),
            events_time_max: Duration::from_secs(3600),
        }
    }
}

impl BatchOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        let durations = [
            ("batches.keep", self.keep),
            ("batches.events_interval", self.events_interval),
            ("batches.events_heartbeat", self.events_heartbeat),
            ("batches.events_time_max", self.events_time_max),
        ];
        for (name, value) in durations {
            if value < Duration::from_millis(10) || value > DURATION_MAX {
                return Err(format!("{name} is {value:?}: set it to a time from 10ms to 366 days"));
            }
        }
        let counts = [
            ("batches.open_max", self.open_max, 1000),
            ("batches.name_bytes_max", self.name_bytes_max, NAME_BYTES_MAX),
            ("batches.check_max", self.check_max, CHECK_MAX),
            ("batches.checks_at_once", self.checks_at_once, 10_000),
            ("batches.subscribers_max", self.subscribers_max, 1_000_000),
        ];
        match counts.iter().find(|(_, value, max)| *value == 0 || value > max) {
            Some((name, value, max)) => Err(format!("{name} is {value}: set it to a number from 1 to {max}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        assert_eq!(BatchOptions::default().validate(), Ok(()));
        let refused = |options: BatchOptions| options.validate().unwrap_err();
        let at_once = BatchOptions { keep: Duration::ZERO, ..BatchOptions::default() };
        assert!(refused(at_once).contains("batches.keep"));
        let none = BatchOptions { open_max: 0, ..BatchOptions::default() };
        assert!(refused(none).contains("batches.open_max is 0"));
        let endless = BatchOptions { check_max: CHECK_MAX + 1, ..BatchOptions::default() };
        assert!(refused(endless).contains("from 1 to 100000"));
    }
}
