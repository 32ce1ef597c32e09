//! `[events]`.

use std::time::Duration;

use darkroom_api::EventOptions;
use serde::{Deserialize, Serialize};

use crate::sections::section;

section! {
    /// `[events]`
    Events {
        subscribers_max: usize = EventOptions::default().subscribers_max,
        #[serde(with = "humantime_serde")]
        heartbeat: Duration = EventOptions::default().heartbeat,
        #[serde(with = "humantime_serde")]
        time_max: Duration = EventOptions::default().time_max,
    }
}

impl Events {
    /// How events are told.
    pub(crate) fn options(&self) -> EventOptions {
        EventOptions {
            subscribers_max: self.subscribers_max,
            heartbeat: self.heartbeat,
            time_max: self.time_max,
        }
    }
}
