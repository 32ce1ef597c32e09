//! `[batches]`.

use std::time::Duration;

use darkroom_actors::PipelineOptions;
use darkroom_api::BatchOptions;
use serde::{Deserialize, Serialize};

use crate::sections::section;

section! {
    /// `[batches]`
    Batches {
        #[serde(with = "humantime_serde")]
        keep: Duration = BatchOptions::default().keep,
        open_max: usize = BatchOptions::default().open_max,
        name_bytes_max: usize = BatchOptions::default().name_bytes_max,
        refused_max: u64 = PipelineOptions::default().refused_kept_max,
        check_max: usize = BatchOptions::default().check_max,
        checks_at_once: usize = BatchOptions::default().checks_at_once,
        subscribers_max: usize = BatchOptions::default().subscribers_max,
        #[serde(with = "humantime_serde")]
        events_interval: Duration = BatchOptions::default().events_interval,
        #[serde(with = "humantime_serde")]
        events_heartbeat: Duration = BatchOptions::default().events_heartbeat,
        #[serde(with = "humantime_serde")]
        events_time_max: Duration = BatchOptions::default().events_time_max,
    }
}

impl Batches {
    /// How batches are kept and followed.
    pub(crate) fn options(&self) -> BatchOptions {
        BatchOptions {
            keep: self.keep,
            open_max: self.open_max,
            name_bytes_max: self.name_bytes_max,
            check_max: self.check_max,
            checks_at_once: self.checks_at_once,
            subscribers_max: self.subscribers_max,
            events_interval: self.events_interval,
            events_heartbeat: self.events_heartbeat,
            events_time_max: self.events_time_max,
        }
    }
}
