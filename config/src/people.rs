//! `[people]`.

use darkroom_api::PeopleOptions;
use serde::{Deserialize, Serialize};

use crate::sections::section;

section! {
    /// `[people]`
    People {
        following_max: u64 = PeopleOptions::default().following_max,
        albums_max: usize = PeopleOptions::default().albums_max,
        originals_for_viewers: bool = PeopleOptions::default().originals_for_viewers,
    }
}

impl People {
    /// What people may do, and see of each other's.
    pub(crate) fn options(&self) -> PeopleOptions {
        PeopleOptions {
            following_max: self.following_max,
            albums_max: self.albums_max,
            originals_for_viewers: self.originals_for_viewers,
        }
    }
}
