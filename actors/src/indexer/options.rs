//! How posts reach timelines, and what trends: what can be set.

use std::ops::RangeInclusive;
use std::time::Duration;

use darkroom_store::model::fanout::FeedLimits;

/// A page of a timeline is found by walking down from the newest: longer ones cost what nobody reads.
const ENTRIES: RangeInclusive<usize> = 1..=5_000;
/// More would make transactions that others wait for.
const CHUNK: RangeInclusive<usize> = 1..=1_000;
const HALF_LIFE: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);
const LOG_AGE: RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(365 * 24);

/// How posts reach timelines, and what trends.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// Posts of authors with more followers than that are not written into each timeline, but merged when one is read.
    pub merge_followers_min: u64,
    /// Entries of a timeline: there it ends.
    pub timeline_entries_max: usize,
    /// Followers that one transaction writes for.
    pub chunk_followers: usize,
    /// Posts of somebody's that come into the timeline of a new follower.
    pub backfill_posts_max: usize,
    /// In which time what trends loses half of its weight.
    pub trending_half_life: Duration,
    /// How long entries of the change log are kept, at least.
    pub changes_age_max: Duration,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            merge_followers_min: 10_000,
            timeline_entries_max: 1_000,
            chunk_followers: 1_000,
            backfill_posts_max: 100,
            trending_half_life: Duration::from_hours(12),
            changes_age_max: Duration::from_hours(7 * 24),
        }
    }
}

impl FeedOptions {
    /// Refuses what could not work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        let counts = [
            ("timeline_entries_max", self.timeline_entries_max, ENTRIES),
            ("chunk_followers", self.chunk_followers, CHUNK),
            ("backfill_posts_max", self.backfill_posts_max, 1..=self.timeline_entries_max),
        ];
        for (name, value, range) in counts {
            if !range.contains(&value) {
                return Err(format!(
                    "feeds.{name} is {value}: set it from {} to {}",
                    range.start(),
                    range.end()
                ));
            }
        }
        if self.merge_followers_min < 2 {
            return Err(format!(
                "feeds.merge_followers_min is {}: set it to 2 or more (an author with fewer than half of it is fanned out again)",
                self.merge_followers_min
            ));
        }
        if !HALF_LIFE.contains(&self.trending_half_life) {
            return Err("feeds.trending_half_life must be from 1 min to 30 days".to_owned());
        }
        if !LOG_AGE.contains(&self.changes_age_max) {
            return Err(
                "feeds.changes_age_max must be from 1 h to 365 days: set it to how long a client may be away and \
                        still go on where it was"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// As the model takes them.
    pub fn limits(&self) -> FeedLimits {
        FeedLimits {
            merge_followers_min: self.merge_followers_min,
            timeline_entries_max: self.timeline_entries_max,
            chunk_followers: self.chunk_followers,
            backfill_posts_max: self.backfill_posts_max,
            trending_half_life: self.trending_half_life,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_their_ranges_are_refused_by_name() {
        FeedOptions::default().validate().unwrap();
        let zero = Duration::ZERO;
        for (options, name) in [
            (FeedOptions { merge_followers_min: 1, ..Default::default() }, "feeds.merge_followers_min"),
            (FeedOptions { timeline_entries_max: 0, ..Default::default() }, "feeds.timeline_entries_max"),
            (FeedOptions { chunk_followers: 1_001, ..Default::default() }, "feeds.chunk_followers"),
            (FeedOptions { backfill_posts_max: 1_001, ..Default::default() }, "feeds.backfill_posts_max"),
            (FeedOptions { trending_half_life: zero, ..Default::default() }, "feeds.trending_half_life"),
            (FeedOptions { changes_age_max: zero, ..Default::default() }, "feeds.changes_age_max"),
        ] {
            let error = options.validate().unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
