//! `[feeds]`.

use std::time::Duration;

use darkroom_actors::FeedOptions;
use serde::{Deserialize, Serialize};

use crate::sections::section;

section! {
    /// `[feeds]`
    Feeds {
        merge_followers_min: u64 = FeedOptions::default().merge_followers_min,
        timeline_entries_max: usize = FeedOptions::default().timeline_entries_max,
        chunk_followers: usize = FeedOptions::default().chunk_followers,
        backfill_posts_max: usize = FeedOptions::default().backfill_posts_max,
        #[serde(with = "humantime_serde")]
        trending_half_life: Duration = FeedOptions::default().trending_half_life,
        #[serde(with = "humantime_serde")]
        changes_age_max: Duration = FeedOptions::default().changes_age_max,
    }
}

impl Feeds {
    /// How posts reach timelines, and what trends.
    pub(crate) fn options(&self) -> FeedOptions {
        FeedOptions {
            merge_followers_min: self.merge_followers_min,
            timeline_entries_max: self.timeline_entries_max,
            chunk_followers: self.chunk_followers,
            backfill_posts_max: self.backfill_posts_max,
            trending_half_life: self.trending_half_life,
            changes_age_max: self.changes_age_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format, Toml};

    use super::*;

    #[test]
    fn every_setting_reaches_the_pipeline_and_what_cannot_work_is_refused() {
        let text = "merge_followers_min = 7\ntimeline_entries_max = 60\nchunk_followers = 5\nbackfill_posts_max = 4\n\
                    trending_half_life = '3h'\nchanges_age_max = '2d'\n";
        let options = Figment::from(Toml::string(text)).extract::<Feeds>().unwrap().options();
        assert_eq!((options.merge_followers_min, options.timeline_entries_max), (7, 60));
        assert_eq!((options.chunk_followers, options.backfill_posts_max), (5, 4));
        let hours = Duration::from_hours;
        assert_eq!((options.trending_half_life, options.changes_age_max), (hours(3), hours(48)));
        options.validate().unwrap();
    }
}
