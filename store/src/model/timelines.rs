//! Home timelines: what those whom a user follows have published, and the user's own posts, newest first.
//!
//! A timeline is made of rows that [`fanout`](super::fanout) wrote, and of the lists of those authors who have so many
//! followers that their posts are merged in when the timeline is read. **Rows promise nothing.** Each entry is checked in
//! the transaction that reads it: whether the post is there and stands at this very position, whether its author is
//! followed still, whether either has blocked the other, whether the post may be seen. So a page may be shorter than was
//! asked for, and only the absence of a cursor ends the list.
//!
//! What a page costs hangs on the page and on how many authors are merged, and neither on the number of users nor on that of
//! posts: about one short range per merged author, and for each entry its post, its position, and per author who follows
//! and blocks whom.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::posts::{self, Post};
use super::subspaces::{FOLLOWING_MERGED, TIMELINES};
use super::visibility::{self, Relation, Viewer};
use super::{Position, PostId, UserId, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// How often as many rows as a timeline may show it keeps, so that a walk through it is not cut off by what is added
/// meanwhile.
const KEPT: usize = 2;
/// A timeline is trimmed about once in so many rows that are written to it: what it holds beyond [`KEPT`].
const ROWS_PER_TRIM: u64 = 512;
/// Rows of one list read at once, at least.
const ROWS_READ_MIN: usize = 2;

/// One place in a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The post's.
    pub position: Position,
    /// The post.
    pub post: PostId,
    /// Whose it is.
    pub author: UserId,
}

#[derive(Serialize, Deserialize)]
struct Row(PostId, UserId);

/// Where a walk through a timeline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// It goes on before this.
    pub before: Position,
    /// Entries that it has gone over, also those that were not to be seen.
    pub walked: u32,
}

/// A page of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first; each may be seen by the timeline's user.
    pub entries: Vec<(Entry, Post)>,
    /// Where it goes on, unless the list ends here.
    pub next: Option<Cursor>,
}

/// What of a timeline is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Where to go on; from the newest if absent.
    pub after: Option<Cursor>,
    /// Entries to go over, one at least.
    pub limit: usize,
    /// Where every timeline ends.
    pub entries_max: usize,
}

/// Puts a post into a timeline. To do it twice is to do it once.
///
/// # Errors
/// Those of the engine.
pub fn put(tx: &Transaction, user: UserId, entry: &Entry) -> Result<(), StoreError> {
    let row = record::encode(&Row(entry.post, entry.author))?;
    tx.set(&entry.position.key(TIMELINES, &(user.0,)), &row)
}

/// Whether it is time to trim a timeline to which `rows` were written, the last at `position`. The same answer for the same
/// question, so that a transaction that runs twice does the same.
pub fn is_to_be_trimmed(user: UserId, position: Position, rows: usize) -> bool {
    let mut hasher = Xxh3::new();
    hasher.write(user.0.as_bytes());
    hasher.write(&position.to_value());
    let rows = u64::try_from(rows).unwrap_or(ROWS_PER_TRIM);
    hasher.finish() % ROWS_PER_TRIM < rows
}

/// Removes the oldest rows of a timeline, which no walk through `entries_max` entries comes to.
///
/// # Errors
/// Those of the engine.
pub async fn trim(tx: &Transaction, user: UserId, entries_max: usize) -> Result<(), StoreError> {
    let all = TIMELINES.range(&(user.0,));
    let kept = tx.get_range(&all, RangeOptions::last(KEPT * entries_max).snapshot()).await?;
    match kept.last() {
        Some((oldest, _)) if kept.len() == KEPT * entries_max => tx.clear_range(&all.before(oldest)),
        _ => Ok(()),
    }
}

/// A page of the timeline of `user`. To be read in a transaction that only reads, whose every read is of one moment.
///
/// # Errors
/// Those of the engine.
pub async fn page(tx: &Transaction, user: UserId, wanted: &Wanted) -> Result<Page, StoreError> {
    let walked = wanted.after.map_or(0, |cursor| cursor.walked) as usize;
    let limit = wanted.limit.min(wanted.entries_max.saturating_sub(walked));
    let before = wanted.after.map(|cursor| cursor.before);
    // One more than is shown tells whether there is another page.
    let mut merged = merged(tx, user, before, limit + 1).await?;
    let goes_on = merged.len() > limit && walked + limit < wanted.entries_max;
    merged.truncate(limit);
    let next = merged.last().filter(|_| goes_on).map(|last| {
        let walked = u32::try_from(walked + limit).unwrap_or(u32::MAX);
        Cursor { before: last.position, walked }
    });
    Ok(Page { entries: seen(tx, user, merged).await?, next })
}

/// The newest `limit` entries of all lists before a position, each position once.
async fn merged(
    tx: &Transaction,
    user: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let rows = tx.get_range(&FOLLOWING_MERGED.range(&(user.0,)), RangeOptions::default()).await?;
    let mut lists = vec![List { source: Source::Rows(user), before, ahead: VecDeque::new(), is_over: false }];
    for (key, _) in &rows {
        let (_, author): (Uuid, Uuid) = FOLLOWING_MERGED.unpack(key)?;
        let source = Source::Author(UserId(author));
        lists.push(List { source, before, ahead: VecDeque::new(), is_over: false });
    }
    let at_once = (2 * limit / lists.len()).clamp(ROWS_READ_MIN, limit.max(ROWS_READ_MIN));
    try_join_all(lists.iter_mut().map(|list| list.look_ahead(tx, at_once))).await?;
    let mut entries: Vec<Entry> = Vec::with_capacity(limit);
    while entries.len() < limit {
        let newest = lists.iter_mut().filter(|list| !list.ahead.is_empty()).max_by_key(|list| list.ahead[0]);
        let Some(list) = newest else { break };
        if let Some(entry) = list.ahead.pop_front()
            && entries.last().is_none_or(|last| last.position != entry.position)
        {
            entries.push(entry);
        }
        if list.ahead.is_empty() {
            list.look_ahead(tx, at_once).await?;
        }
    }
    Ok(entries)
}

/// One list that a timeline is merged from.
struct List {
    source: Source,
    /// What is read next lies before this.
    before: Option<Position>,
    /// What was read and is not yet taken, newest first. Empty only at the end of the list.
    ahead: VecDeque<Entry>,
    is_over: bool,
}

enum Source {
    /// What was written for this user.
    Rows(UserId),
    /// What this author has published.
    Author(UserId),
}

impl List {
    async fn look_ahead(&mut self, tx: &Transaction, rows: usize) -> Result<(), StoreError> {
        if self.is_over {
            return Ok(());
        }
        let entries = match self.source {
            Source::Rows(user) => rows_of(tx, user, self.before, rows).await?,
            Source::Author(author) => posts::of_author(tx, author, self.before, rows)
                .await?
                .into_iter()
                .map(|(position, post)| Entry { position, post, author })
                .collect(),
        };
        self.is_over = entries.len() < rows;
        self.before = entries.last().map_or(self.before, |last| Some(last.position));
        self.ahead.extend(entries);
        Ok(())
    }
}

/// The rows of a timeline before a position, newest first. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn rows_of(
    tx: &Transaction,
    user: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let list = (user.0,);
    let all = TIMELINES.range(&list);
    let range: KeyRange = match before {
        Some(before) => all.before(&before.key(TIMELINES, &list)),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::last(limit).snapshot()).await?;
    rows.iter()
        .map(|(key, bytes)| {
            let Row(post, author) = record::decode(key, bytes)?;
            Ok(Entry { position: Position::of_key(TIMELINES, &list, key)?, post, author })
        })
        .collect()
}

/// Removes a row, which stands for nothing any more.
pub(super) fn remove(tx: &Transaction, user: UserId, entry: &Entry) -> Result<(), StoreError> {
    tx.clear(&entry.position.key(TIMELINES, &(user.0,)))
}

/// Those of the entries that the user may see.
async fn seen(tx: &Transaction, user: UserId, entries: Vec<Entry>) -> Result<Vec<(Entry, Post)>, StoreError> {
    let relations = relations(tx, user, &entries).await?;
    let look = |entry: Entry| {
        let relation = relations.get(&entry.author).copied();
        async move {
            // Who is neither followed nor oneself has nothing in a timeline, however visible it is.
            let Some(relation @ (Relation::Owner | Relation::Follower)) = relation else { return Ok(None) };
            if posts::position(tx, entry.post).await? != Some(entry.position) {
                return Ok(None);
            }
            let post = posts::get(tx, entry.post).await?.filter(|post| post.author == entry.author);
            Ok::<_, StoreError>(post.filter(|post| post.admits(relation)).map(|post| (entry, post)))
        }
    };
    Ok(try_join_all(entries.into_iter().map(look)).await?.into_iter().flatten().collect())
}

/// How the user stands to the authors of these entries.
async fn relations(
    tx: &Transaction,
    user: UserId,
    entries: &[Entry],
) -> Result<HashMap<UserId, Relation>, StoreError> {
    let mut authors: Vec<_> = entries.iter().map(|entry| entry.author).collect();
    authors.sort_unstable();
    authors.dedup();
    let look = |author| async move {
        visibility::relation(tx, Viewer::User(user), author).await.map(|relation| (author, relation))
    };
    Ok(try_join_all(authors.into_iter().map(look)).await?.into_iter().collect())
}

/// The position, a hyphen, and how many entries were gone over.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.before, self.walked)
    }
}

/// What is not a cursor of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of a timeline")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (before, walked) = text.split_once('-').ok_or(NotACursor)?;
        if !walked.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotACursor);
        }
        let (before, walked) = (before.parse().ok(), walked.parse().ok());
        before.zip(walked).map(|(before, walked)| Self { before, walked }).ok_or(NotACursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form_and_nothing_else_is_one() {
        let cursor = Cursor { before: Position { history: 1, stamp: [7; 12] }, walked: 40 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "-", "00-1", "x", &format!("{}-", cursor.before), &format!("{}-+1", cursor.before)] {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
    }

    #[test]
    fn timelines_are_trimmed_about_as_often_as_said() {
        let (position, rows) = (Position::START, 64);
        let trimmed = (0..4096).filter(|_| is_to_be_trimmed(UserId::new(), position, rows)).count();
        assert!((256..1024).contains(&trimmed), "{trimmed} of 4096, where 512 are meant");
        assert!(is_to_be_trimmed(UserId::OPEN, position, 512));
    }
}
