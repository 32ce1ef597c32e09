//! Posts come into the timelines of those who follow their authors.
//!
//! - `manner`: how an author's posts reach followers, and when that changes.
//! - `task`: long work over many rows, as it stands in the store.
//! - `chunks`: one piece of it in one transaction.
//!
//! An ordinary author's posts are written into the timeline of each follower. An author with more than `N` followers
//! ([`FeedLimits::merge_followers_min`]) has none written: readers merge the author's list, and know by a row of their own
//! (`FOLLOWING_MERGED`) whose. An author crosses `N` in steps, so that at every moment each follower has each post in at
//! least one of the two ways:
//!
//! | [`Manner`] | posts are fanned out | who follows then | what goes on |
//! |---|---|---|---|
//! | none | yes | gets the recent past filled in | |
//! | `Promoting` | yes | gets the row | a walk gives each follower the row |
//! | `Merged` | no | gets the row | |
//! | `Demoting` | yes | gets the recent past filled in | a walk takes each follower's row, and fills in the past with it |
//!
//! That holds also where these meet in time, since whoever acts on a manner reads it in the transaction of the act, and so
//! conflicts with its change: a follow, the decision to fan a post out, the end of a walk. What a walk sees of an author's
//! posts was published before it looked; what is published later is fanned out by its own entry in the change log, which
//! is carried out after it was appended, and so after the change of manner. Every chunk reads the rows of the followers that
//! it writes for, and conflicts with those who end to follow meanwhile.

mod chunks;
mod manner;
mod task;

use std::time::Duration;

pub use chunks::{Worked, work};
pub use manner::{Manner, crossed, manner};
pub(super) use task::add;
pub use task::{Task, TaskKey, count, drop_task, tasks};

/// What feeds are bounded by.
#[derive(Clone, Debug)]
pub struct FeedLimits {
    /// `N`: an author with more followers than that is merged when timelines are read; one with fewer than half of it is
    /// fanned out again.
    pub merge_followers_min: u64,
    /// Where every timeline ends.
    pub timeline_entries_max: usize,
    /// Most followers that one transaction writes for.
    pub chunk_followers: usize,
    /// Most posts of somebody's that come into the timeline of a new follower.
    pub backfill_posts_max: usize,
    /// In which time what trends loses half of its weight.
    pub trending_half_life: Duration,
}
