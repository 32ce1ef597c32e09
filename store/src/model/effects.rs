//! What follows from the entries of the change log: the work of its durable consumer, the Indexer.
//!
//! | Entry | What follows |
//! |---|---|
//! | a photo is ready, or failed | posts that wait for it are published, or fail |
//! | a post is published | it stands in its author's timeline, and is fanned out, unless its author's are merged |
//! | somebody follows | the recent past is filled in; the author may cross `N` |
//! | somebody does no longer, or blocks | the timeline is swept; the author may cross `N` |
//! | a post is published, changed, liked, commented, shared, deleted | it and its tags trend more, or less |
//!
//! Entries are applied in order, several in one transaction, which reads the lease of their shard and moves its cursor. What
//! takes many rows is put down as a [`Task`] in that same transaction. A second run finds the cursor moved, and does nothing.

use super::changes::{Change, What};
use super::fanout::{self, FeedLimits, Manner, Task, TaskKey};
use super::shards::{self, Held, INDEXER, Lost};
use super::subspaces::{COUNTS, FOLLOWING, FOLLOWING_MERGED, POSTS_WAITING};
use super::timelines::{self, Entry};
use super::trending::{self, Trends};
use super::visibility::Visibility;
use super::{PhotoId, Position, PostId, Timestamp, UserId, counters, posts};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// On whose behalf, and within which bounds, entries are applied.
#[derive(Clone, Copy, Debug)]
pub struct Indexing<'a> {
    /// The shard, and the caller's hold on it.
    pub held: Held,
    /// What feeds are bounded by.
    pub limits: &'a FeedLimits,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](super::identity::Identity::history).
    pub history: u64,
}

/// Applies entries of a shard, which follow each other; how many of them are behind the cursor now, at least one. Those
/// that were before are not applied again.
///
/// # Errors
/// Those of the engine, and what is wrong with rows that an entry leads to: then nothing was applied.
pub async fn apply(
    tx: &Transaction,
    indexing: &Indexing<'_>,
    entries: &[(Position, Change)],
) -> Result<Result<usize, Lost>, StoreError> {
    let shard = indexing.held.shard;
    if let Err(lost) = shards::check(tx, indexing.held).await? {
        return Ok(Err(lost));
    }
    let cursor = shards::cursor(tx, shard, INDEXER).await?;
    let (mut applied, mut until) = (0, None);
    for (position, change) in entries {
        if *position > cursor {
            let alone = stands_alone(tx, &change.what).await?;
            if alone && until.is_some() {
                break;
            }
            of_posts(tx, indexing, *position, change).await?;
            of_follows(tx, indexing, *position, &change.what).await?;
            until = Some(*position);
            applied += 1;
            if alone {
                break;
            }
        } else {
            applied += 1;
        }
    }
    if let Some(until) = until {
        shards::set_cursor(tx, shard, INDEXER, until)?;
    }
    Ok(Ok(applied))
}

/// Passes by an entry that cannot be applied, and counts it.
///
/// # Errors
/// Those of the engine.
pub async fn pass_by(
    tx: &Transaction,
    held: Held,
    position: Position,
) -> Result<Result<(), Lost>, StoreError> {
    if let Err(lost) = shards::check(tx, held).await? {
        return Ok(Err(lost));
    }
    if shards::cursor(tx, held.shard, INDEXER).await? < position {
        shards::set_cursor(tx, held.shard, INDEXER, position)?;
        counters::add(tx, COUNTS, &PASSED_BY, 1)?;
    }
    Ok(Ok(()))
}

/// `(noun, state)` of the count of entries that were passed by.
const PASSED_BY: (&str, &str) = ("changes", "passed_by");

/// How many entries were ever passed by. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn passed_by(tx: &Transaction) -> Result<u64, StoreError> {
    Ok(u64::try_from(counters::read(tx, COUNTS, &PASSED_BY).await?).unwrap_or(0))
}

/// Whether an entry publishes posts: their positions are those of its transaction, of which two entries would make the
/// same, and cannot be read in it.
async fn stands_alone(tx: &Transaction, what: &What) -> Result<bool, StoreError> {
    let (What::PhotoReady { photo, .. } | What::PhotoFailed { photo, .. }) = what else { return Ok(false) };
    let waiting = POSTS_WAITING.range(&(photo.0,));
    Ok(!tx.get_range(&waiting, RangeOptions::first(1).snapshot()).await?.is_empty())
}

async fn of_posts(
    tx: &Transaction,
    indexing: &Indexing<'_>,
    position: Position,
    change: &Change,
) -> Result<(), StoreError> {
    let trends = Trends { shard: indexing.held.shard, half_life: indexing.limits.trending_half_life };
    let at = change.at;
    match &change.what {
        What::PhotoReady { photo, .. } | What::PhotoFailed { photo, .. } => {
            settle(tx, indexing, *photo).await
        }
        What::PostPublished { post, author } => {
            published(tx, indexing, position, (*post, *author)).await?;
            trending::post_changed(tx, &trends, *post).await
        }
        What::PostChanged { post, .. } => trending::post_changed(tx, &trends, *post).await,
        What::PostDeleted { post, .. } => {
            let key = TaskKey::of_entry(indexing.held.shard, position, 0);
            fanout::add(tx, key, &Task::Erase { post: *post })?;
            trending::post_gone(tx, &trends, *post).await
        }
        // What an author does to a post of their own says nothing of it.
        What::PostLiked { author, by, .. } | What::PostCommented { author, by, .. } if author == by => Ok(()),
        What::CommentDeleted { author, by, .. } | What::PostShared { author, by, .. } if author == by => {
            Ok(())
        }
        What::PostLiked { post, by, .. } if is_public(tx, *post).await? => {
            trending::liked(tx, &trends, (*post, *by), at).await
        }
        What::PostUnliked { post, by, .. } => trending::unliked(tx, &trends, (*post, *by)).await,
        What::PostCommented { post, comment, .. } if is_public(tx, *post).await? => {
            trending::commented(tx, &trends, *post, *comment).await
        }
        What::CommentDeleted { post, comment, .. } => {
            trending::comment_gone(tx, &trends, *post, *comment).await
        }
        What::PostShared { post, .. } if is_public(tx, *post).await? => {
            trending::shared(tx, &trends, *post, at).await
        }
        _ => Ok(()),
    }
}

async fn settle(tx: &Transaction, indexing: &Indexing<'_>, photo: PhotoId) -> Result<(), StoreError> {
    posts::photo_settled(tx, photo, indexing.now, indexing.history).await
}

async fn is_public(tx: &Transaction, post: PostId) -> Result<bool, StoreError> {
    let post = posts::get(tx, post).await?;
    Ok(post.is_some_and(|post| post.is_shown() && post.visibility == Visibility::Public))
}

/// A post has got a position: its author has it in the timeline, and its followers get it, unless they merge the author's
/// list. Nobody else sees one that was never shown, and it gets another position when it is.
async fn published(
    tx: &Transaction,
    indexing: &Indexing<'_>,
    entry: Position,
    (post, author): (PostId, UserId),
) -> Result<(), StoreError> {
    let Some(record) = posts::get(tx, post).await? else { return Ok(()) };
    // Its position may be a later one by now: then the rows stand there all the sooner.
    let Some(position) = posts::position(tx, post).await? else { return Ok(()) };
    timelines::put(tx, author, &Entry { position, post, author })?;
    if timelines::is_to_be_trimmed(author, position, 1) {
        timelines::trim(tx, author, indexing.limits.timeline_entries_max).await?;
    }
    if record.was_shown && Manner::is_fanned_out(fanout::manner(tx, author).await?) {
        let key = TaskKey::of_entry(indexing.held.shard, entry, 0);
        fanout::add(tx, key, &Task::FanOut { post, author, position, after: None })?;
    }
    Ok(())
}

async fn of_follows(
    tx: &Transaction,
    indexing: &Indexing<'_>,
    entry: Position,
    what: &What,
) -> Result<(), StoreError> {
    let key = |nth| TaskKey::of_entry(indexing.held.shard, entry, nth);
    match *what {
        What::UserFollowed { user, by } => {
            followed(tx, indexing, (by, user), key(0)).await?;
            fanout::crossed(tx, user, indexing.limits, key(1)).await?;
        }
        What::UserUnfollowed { user, by } => {
            fanout::add(tx, key(0), &Task::Sweep { user: by, author: user, before: None })?;
            fanout::crossed(tx, user, indexing.limits, key(1)).await?;
        }
        What::UserBlocked { user, by } => {
            for (nth, (one, other)) in (0..).step_by(2).zip([(user, by), (by, user)]) {
                fanout::add(tx, key(nth), &Task::Sweep { user: one, author: other, before: None })?;
                fanout::crossed(tx, other, indexing.limits, key(nth + 1)).await?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Fills in the recent past, where it is not merged in anyway.
async fn followed(
    tx: &Transaction,
    indexing: &Indexing<'_>,
    (follower, author): (UserId, UserId),
    key: TaskKey,
) -> Result<(), StoreError> {
    let follows = tx.get(&FOLLOWING.key(&(follower.0, author.0))).await?.is_some();
    let merges = tx.get(&FOLLOWING_MERGED.key(&(follower.0, author.0))).await?.is_some();
    if follows && !merges {
        let left = indexing.limits.backfill_posts_max;
        fanout::add(tx, key, &Task::Backfill { follower, author, before: None, left })?;
    }
    Ok(())
}
