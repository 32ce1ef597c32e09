//! One piece of long work in one transaction.
//!
//! Every piece begins with the task as it stands: a second run finds that the first has moved it on, and does the next
//! piece. What is written twice is the same.

use super::manner::walked;
use super::task::get;
use super::{FeedLimits, Manner, Task, TaskKey, add};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::shards::{self, Held, Lost};
use crate::model::subspaces::{FOLLOWING, FOLLOWING_MERGED};
use crate::model::timelines::{self, Entry};
use crate::model::{Position, UserId, follows, posts};

/// What one transaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// Tasks that are done.
    pub done: usize,
    /// Pieces.
    pub chunks: usize,
    /// The last task that was worked on.
    pub last: Option<TaskKey>,
}

/// What became of one piece.
enum Piece {
    Done { rows: usize },
    Then { task: Task, rows: usize },
}

/// Does a piece of each of these tasks, in order, as far as one transaction reaches: at most `chunk_followers` rows, or one
/// piece.
///
/// # Errors
/// Those of the engine.
pub async fn work(
    tx: &Transaction,
    held: Held,
    keys: &[TaskKey],
    limits: &FeedLimits,
) -> Result<Result<Worked, Lost>, StoreError> {
    if let Err(lost) = shards::check(tx, held).await? {
        return Ok(Err(lost));
    }
    let (mut left, mut worked) = (limits.chunk_followers, Worked::default());
    for key in keys {
        worked.last = Some(*key);
        let Some(task) = get(tx, *key).await? else { continue };
        worked.chunks += 1;
        let rows = match piece(tx, *key, task, left, limits).await? {
            Piece::Done { rows } => {
                tx.clear(&key.key())?;
                worked.done += 1;
                rows
            }
            Piece::Then { task, rows } => {
                add(tx, *key, &task)?;
                rows
            }
        };
        // Even a piece that finds nothing to write has read something.
        left = left.saturating_sub(rows.max(1));
        if left == 0 {
            break;
        }
    }
    Ok(Ok(worked))
}

async fn piece(
    tx: &Transaction,
    key: TaskKey,
    task: Task,
    rows: usize,
    limits: &FeedLimits,
) -> Result<Piece, StoreError> {
    match task {
        Task::FanOut { post, author, position, after } => {
            fan_out(tx, Entry { position, post, author }, after, rows, limits).await
        }
        Task::Backfill { follower, author, before, left } => {
            backfill(tx, (follower, author), before, left, rows, limits).await
        }
        Task::Promote { author, after } => promote(tx, key, (author, after), rows, limits).await,
        Task::Demote { author, after } => demote(tx, key, (author, after), rows, limits).await,
        Task::Sweep { user, author, before } => sweep(tx, (user, author), before, rows).await,
        Task::Erase { post } => Ok(if posts::erase_rows(tx, post, rows).await? {
            Piece::Done { rows }
        } else {
            Piece::Then { task: Task::Erase { post }, rows }
        }),
    }
}

async fn fan_out(
    tx: &Transaction,
    entry: Entry,
    after: Option<UserId>,
    rows: usize,
    limits: &FeedLimits,
) -> Result<Piece, StoreError> {
    // One that is deleted, or stands elsewhere by now, needs no rows: they would be void.
    if posts::position(tx, entry.post).await? != Some(entry.position) {
        return Ok(Piece::Done { rows: 1 });
    }
    let followers = follows::followers(tx, entry.author, after, rows).await?;
    for follower in &followers {
        timelines::put(tx, *follower, &entry)?;
    }
    // One is enough: those of so many followers that are due come by turns.
    if let Some(due) = followers.iter().find(|user| timelines::is_to_be_trimmed(**user, entry.position, 1)) {
        timelines::trim(tx, *due, limits.timeline_entries_max).await?;
    }
    Ok(match followers.last() {
        Some(last) if followers.len() == rows => {
            let Entry { post, author, position } = entry;
            Piece::Then { task: Task::FanOut { post, author, position, after: Some(*last) }, rows }
        }
        _ => Piece::Done { rows: followers.len() },
    })
}

async fn backfill(
    tx: &Transaction,
    (follower, author): (UserId, UserId),
    before: Option<Position>,
    left: usize,
    rows: usize,
    limits: &FeedLimits,
) -> Result<Piece, StoreError> {
    // Who follows no more meanwhile needs nothing, and conflicts with this.
    if tx.get(&FOLLOWING.key(&(follower.0, author.0))).await?.is_none() {
        return Ok(Piece::Done { rows: 1 });
    }
    let wanted = rows.min(left);
    let posts = posts::of_author(tx, author, before, wanted).await?;
    for (position, post) in &posts {
        timelines::put(tx, follower, &Entry { position: *position, post: *post, author })?;
    }
    let Some((last, _)) = posts.last() else { return Ok(Piece::Done { rows: 1 }) };
    if timelines::is_to_be_trimmed(follower, *last, posts.len()) {
        timelines::trim(tx, follower, limits.timeline_entries_max).await?;
    }
    let left = left - posts.len();
    if posts.len() < wanted || left == 0 {
        return Ok(Piece::Done { rows: posts.len() });
    }
    let task = Task::Backfill { follower, author, before: Some(*last), left };
    Ok(Piece::Then { task, rows: posts.len() })
}

async fn promote(
    tx: &Transaction,
    key: TaskKey,
    (author, after): (UserId, Option<UserId>),
    rows: usize,
    limits: &FeedLimits,
) -> Result<Piece, StoreError> {
    let followers = follows::followers(tx, author, after, rows).await?;
    for follower in &followers {
        tx.set(&FOLLOWING_MERGED.key(&(follower.0, author.0)), &[])?;
    }
    match followers.last() {
        Some(last) if followers.len() == rows => {
            Ok(Piece::Then { task: Task::Promote { author, after: Some(*last) }, rows })
        }
        _ => end_of_walk(tx, key, (author, Manner::Promoting), followers.len(), limits).await,
    }
}

async fn demote(
    tx: &Transaction,
    key: TaskKey,
    (author, after): (UserId, Option<UserId>),
    rows: usize,
    limits: &FeedLimits,
) -> Result<Piece, StoreError> {
    // All that a timeline may show: what a walk through one has seen of the author's list must not be missing further on.
    let posts = posts::of_author(tx, author, None, limits.timeline_entries_max).await?;
    let at_once = (rows / posts.len().max(1)).max(1);
    let followers = follows::followers(tx, author, after, at_once).await?;
    let mut written = 0;
    for follower in &followers {
        let merged = FOLLOWING_MERGED.key(&(follower.0, author.0));
        // Who has begun to follow meanwhile gets the past filled in for that.
        if tx.get(&merged).await?.is_none() {
            continue;
        }
        for (position, post) in &posts {
            timelines::put(tx, *follower, &Entry { position: *position, post: *post, author })?;
        }
        tx.clear(&merged)?;
        written += posts.len() + 1;
        if let Some((last, _)) = posts.last()
            && timelines::is_to_be_trimmed(*follower, *last, posts.len())
        {
            timelines::trim(tx, *follower, limits.timeline_entries_max).await?;
        }
    }
    match followers.last() {
        Some(last) if followers.len() == at_once => {
            Ok(Piece::Then { task: Task::Demote { author, after: Some(*last) }, rows: written.max(at_once) })
        }
        _ => end_of_walk(tx, key, (author, Manner::Demoting), written, limits).await,
    }
}

/// A walk is over. One back, if there is to be one, is a task of its own.
async fn end_of_walk(
    tx: &Transaction,
    key: TaskKey,
    (author, was): (UserId, Manner),
    rows: usize,
    limits: &FeedLimits,
) -> Result<Piece, StoreError> {
    if let Some(next) = walked(tx, author, was, limits).await? {
        add(tx, key.next(), &next)?;
    }
    Ok(Piece::Done { rows })
}

async fn sweep(
    tx: &Transaction,
    (user, author): (UserId, UserId),
    before: Option<Position>,
    rows: usize,
) -> Result<Piece, StoreError> {
    // Who follows again keeps what is there, and conflicts with this.
    if tx.get(&FOLLOWING.key(&(user.0, author.0))).await?.is_some() {
        return Ok(Piece::Done { rows: 1 });
    }
    let entries = timelines::rows_of(tx, user, before, rows).await?;
    for entry in entries.iter().filter(|entry| entry.author == author) {
        timelines::remove(tx, user, entry)?;
    }
    Ok(match entries.last() {
        Some(last) if entries.len() == rows => {
            Piece::Then { task: Task::Sweep { user, author, before: Some(last.position) }, rows }
        }
        _ => Piece::Done { rows: entries.len() },
    })
}
