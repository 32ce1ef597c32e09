//! What many like at present: posts and tags, by weights that halve in a set time.
//!
//! A weight `w` at time `t` counts for `w · 2^(-(now - t) / h)`, where `h` is the half-life. The sum of such weights changes
//! all the time, but the *order* of two sums does not, as long as neither gets anything new. So what is kept of each is its
//! level, `L = log2(Σ w · 2^(t / h))`, from which the sum at any moment is `2^(L - now / h)`: *forward decay* (G. Cormode,
//! V. Shkapenyuk, D. Srivastava, B. Xu: "Forward Decay: A Practical Time Decay Model for Streaming Systems", ICDE 2009). An
//! index by level never has to be rewritten because time has passed. An event reads and writes a handful of rows, however
//! many posts there are; what trends is the end of sixteen short ranges, one for each shard of the change log, since
//! those are written by different nodes. A tag has a level in each shard, and trends by their sum.
//!
//! A like that is taken back takes its weight with it, decayed as it is: the time of each like is kept beside the level. What
//! has decayed to almost nothing goes, in bounded steps.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::changes::SHARDS;
use super::shards::{self, Held, Lost};
use super::subspaces::{TRENDING, TRENDING_LIKES, TRENDING_SCORES};
use super::visibility::Visibility;
use super::{CommentId, PostId, Timestamp, UserId, posts, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// What a public post has because it was published, at that time: so that new ones come before old ones where nobody likes
/// any.
pub const PUBLISHED: f64 = 0.25;
/// What a like gives a post.
pub const LIKE: f64 = 1.0;
/// What a comment does.
pub const COMMENT: f64 = 2.0;
/// What it does to be shared.
pub const SHARE: f64 = 3.0;
/// What a public post gives each of its tags.
pub const TAGGED: f64 = 1.0;

/// Half-lives after which a weight of one is as good as nothing.
const HALF_LIVES_MAX: f64 = 10.0;
/// What is left of a sum after a weight was taken back is nothing, if it is less than this part of it: an error of rounding.
const ROUNDING: f64 = 1e-6;
/// How many more are read of each shard than are wanted in all: a tag may be less in one shard than in others.
const READ_AHEAD: usize = 2;

/// What trends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Posts.
    Posts,
    /// Tags.
    Tags,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Posts, Self::Tags];

    fn code(self) -> u64 {
        match self {
            Self::Posts => 0,
            Self::Tags => 1,
        }
    }
}

/// Where levels are kept.
#[derive(Clone, Copy, Debug)]
pub struct Trends {
    /// Of the change log.
    pub shard: u8,
    /// In which time a weight halves. Levels of another are of no use: each has an index of its own.
    pub half_life: Duration,
}

/// How something stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// See the module.
    pub level: f64,
    /// Of a post: tags that have a weight by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Since when they have.
    #[serde(default)]
    pub tagged: Timestamp,
}

/// The logarithm of a sum, from those of both parts.
fn sum(one: f64, other: f64) -> f64 {
    let (more, less) = if one > other { (one, other) } else { (other, one) };
    more + (less - more).exp2().ln_1p() / std::f64::consts::LN_2
}

/// That of a difference; `None` if nothing is left.
fn difference(whole: f64, part: f64) -> Option<f64> {
    let rest = 1.0 - (part - whole).exp2();
    (rest > ROUNDING).then(|| whole + rest.log2())
}

impl Trends {
    fn half_life_s(&self) -> u64 {
        self.half_life.as_secs().max(1)
    }

    /// The level of a weight at a time.
    fn level(&self, weight: f64, at: Timestamp) -> f64 {
        at.0 as f64 / 1000.0 / self.half_life_s() as f64 + weight.log2()
    }

    fn standing_key(&self, kind: Kind, what: &str) -> Vec<u8> {
        TRENDING_SCORES.key(&(kind.code(), u64::from(self.shard), self.half_life_s(), what))
    }

    fn index_key(&self, kind: Kind, level: f64, what: &str) -> Vec<u8> {
        TRENDING.key(&(kind.code(), u64::from(self.shard), self.half_life_s(), level, what))
    }

    fn range(&self, kind: Kind) -> KeyRange {
        TRENDING.range(&(kind.code(), u64::from(self.shard), self.half_life_s()))
    }

    async fn standing(
        &self,
        tx: &Transaction,
        kind: Kind,
        what: &str,
    ) -> Result<Option<Standing>, StoreError> {
        let key = self.standing_key(kind, what);
        tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
    }

    /// Writes how something stands, in place of how it stood.
    fn put(
        &self,
        tx: &Transaction,
        (kind, what): (Kind, &str),
        before: Option<&Standing>,
        now: Option<&Standing>,
    ) -> Result<(), StoreError> {
        if let Some(before) = before {
            tx.clear(&self.index_key(kind, before.level, what))?;
        }
        match now {
            Some(now) => {
                tx.set(&self.index_key(kind, now.level, what), &[])?;
                tx.set(&self.standing_key(kind, what), &record::encode(now)?)
            }
            None => tx.clear(&self.standing_key(kind, what)),
        }
    }

    async fn give(
        &self,
        tx: &Transaction,
        (kind, what): (Kind, &str),
        weight: f64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let before = self.standing(tx, kind, what).await?;
        let level = self.level(weight, at);
        let now = match &before {
            Some(before) => Standing { level: sum(before.level, level), ..before.clone() },
            None => Standing { level, tags: Vec::new(), tagged: Timestamp(0) },
        };
        self.put(tx, (kind, what), before.as_ref(), Some(&now))
    }

    /// Takes back what [`Self::give`] gave, unless that went already.
    async fn take(
        &self,
        tx: &Transaction,
        (kind, what): (Kind, &str),
        weight: f64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(before) = self.standing(tx, kind, what).await? else { return Ok(()) };
        let level = difference(before.level, self.level(weight, at));
        // A post stays, far below all that trends, until what is kept of its likes has gone, too.
        let level = if kind == Kind::Posts { Some(level.unwrap_or(0.0)) } else { level };
        let now = level.map(|level| Standing { level, ..before.clone() });
        self.put(tx, (kind, what), Some(&before), now.as_ref())
    }
}

/// A post was published, or its visibility or its tags are others: it and they trend if it is public.
///
/// # Errors
/// Those of the engine.
pub async fn post_changed(tx: &Transaction, trends: &Trends, id: PostId) -> Result<(), StoreError> {
    let public = posts::get(tx, id).await?.filter(|post| post.visibility == Visibility::Public);
    let Some((post, published)) = public.and_then(|post| Some((post.clone(), post.published?))) else {
        return post_gone(tx, trends, id).await;
    };
    let what = id.to_string();
    let before = trends.standing(tx, Kind::Posts, &what).await?;
    let (had, since) = before.as_ref().map_or((&[][..], published), |before| {
        (&before.tags[..], if before.tags.is_empty() { published } else { before.tagged })
    });
    for tag in had.iter().filter(|tag| !post.tags.contains(tag)) {
        trends.take(tx, (Kind::Tags, tag), TAGGED, since).await?;
    }
    for tag in post.tags.iter().filter(|tag| !had.contains(tag)) {
        trends.give(tx, (Kind::Tags, tag), TAGGED, since).await?;
    }
    let level = match &before {
        // One that is counted already; those that were taken out stand at 0.
        Some(before) if before.level > 0.0 => before.level,
        _ => trends.level(PUBLISHED, published),
    };
    let now = Standing { level, tags: post.tags, tagged: since };
    trends.put(tx, (Kind::Posts, &what), before.as_ref(), Some(&now))
}

/// A post is gone, or not public any more: neither it nor its tags by it trend.
///
/// # Errors
/// Those of the engine.
pub async fn post_gone(tx: &Transaction, trends: &Trends, post: PostId) -> Result<(), StoreError> {
    let what = post.to_string();
    let Some(before) = trends.standing(tx, Kind::Posts, &what).await? else { return Ok(()) };
    for tag in &before.tags {
        trends.take(tx, (Kind::Tags, tag), TAGGED, before.tagged).await?;
    }
    let now = Standing { level: 0.0, tags: Vec::new(), tagged: Timestamp(0) };
    trends.put(tx, (Kind::Posts, &what), Some(&before), Some(&now))
}

/// Somebody likes a post. Who likes it in another way than before gives it nothing more.
///
/// # Errors
/// Those of the engine.
pub async fn liked(
    tx: &Transaction,
    trends: &Trends,
    (post, by): (PostId, UserId),
    at: Timestamp,
) -> Result<(), StoreError> {
    let key = TRENDING_LIKES.key(&(post.0, by.0));
    if tx.get(&key).await?.is_some() {
        return Ok(());
    }
    tx.set(&key, &record::encode(&at)?)?;
    trends.give(tx, (Kind::Posts, &post.to_string()), LIKE, at).await
}

/// Somebody does no longer.
///
/// # Errors
/// Those of the engine.
pub async fn unliked(
    tx: &Transaction,
    trends: &Trends,
    (post, by): (PostId, UserId),
) -> Result<(), StoreError> {
    let key = TRENDING_LIKES.key(&(post.0, by.0));
    let Some(bytes) = tx.get(&key).await? else { return Ok(()) };
    tx.clear(&key)?;
    trends.take(tx, (Kind::Posts, &post.to_string()), LIKE, record::decode(&key, &bytes)?).await
}

/// When a comment was written: its id says so.
fn written(comment: CommentId) -> Timestamp {
    let time = comment.0.get_timestamp().map_or((0, 0), |time| time.to_unix());
    Timestamp(time.0 * 1000 + u64::from(time.1) / 1_000_000)
}

/// Somebody has said something about a post.
///
/// # Errors
/// Those of the engine.
pub async fn commented(
    tx: &Transaction,
    trends: &Trends,
    post: PostId,
    comment: CommentId,
) -> Result<(), StoreError> {
    trends.give(tx, (Kind::Posts, &post.to_string()), COMMENT, written(comment)).await
}

/// What was said is gone.
///
/// # Errors
/// Those of the engine.
pub async fn comment_gone(
    tx: &Transaction,
    trends: &Trends,
    post: PostId,
    comment: CommentId,
) -> Result<(), StoreError> {
    trends.take(tx, (Kind::Posts, &post.to_string()), COMMENT, written(comment)).await
}

/// Somebody shows a post in one of their own. That stays, whatever becomes of theirs.
///
/// # Errors
/// Those of the engine.
pub async fn shared(
    tx: &Transaction,
    trends: &Trends,
    post: PostId,
    at: Timestamp,
) -> Result<(), StoreError> {
    trends.give(tx, (Kind::Posts, &post.to_string()), SHARE, at).await
}

/// What has the highest sums of weights at `now`, the highest first, at most `limit`. Of tags, those that are among the
/// highest of some shard. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn top(
    tx: &Transaction,
    kind: Kind,
    half_life: Duration,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(String, f64)>, StoreError> {
    let look = |shard| async move {
        let range = Trends { shard, half_life }.range(kind);
        tx.get_range(&range, RangeOptions::last(READ_AHEAD * limit).snapshot()).await
    };
    let mut levels: HashMap<String, f64> = HashMap::new();
    for rows in try_join_all((0..SHARDS).map(look)).await? {
        for (key, _) in rows {
            let (_, _, _, level, what): (u64, u64, u64, f64, String) = TRENDING.unpack(&key)?;
            levels.entry(what).and_modify(|all| *all = sum(*all, level)).or_insert(level);
        }
    }
    let nothing = Trends { shard: 0, half_life }.level(1.0, now) - HALF_LIVES_MAX;
    let mut top: Vec<_> = levels.into_iter().filter(|(_, level)| *level > nothing).collect();
    top.sort_by(|(one, less), (other, more)| more.total_cmp(less).then_with(|| one.cmp(other)));
    top.truncate(limit);
    let zero = nothing + HALF_LIVES_MAX;
    Ok(top.into_iter().map(|(what, level)| (what, (level - zero).exp2())).collect())
}

/// Removes what has decayed to almost nothing, and what stands by another half-life, at most about `limit` rows; how many.
///
/// # Errors
/// Those of the engine.
pub async fn forget(
    tx: &Transaction,
    held: Held,
    half_life: Duration,
    now: Timestamp,
    limit: usize,
) -> Result<Result<usize, Lost>, StoreError> {
    if let Err(lost) = shards::check(tx, held).await? {
        return Ok(Err(lost));
    }
    let trends = Trends { shard: held.shard, half_life };
    let nothing = trends.level(1.0, now) - HALF_LIVES_MAX;
    let mut forgotten = 0;
    for kind in Kind::ALL {
        let ours = trends.range(kind);
        let all = TRENDING.range(&(kind.code(), u64::from(held.shard)));
        let decayed = KeyRange::new(ours.begin.clone(), trends.index_key(kind, nothing, ""));
        for range in [KeyRange::new(all.begin, ours.begin), decayed, KeyRange::new(ours.end, all.end)] {
            let left = limit.saturating_sub(forgotten);
            if left > 0 {
                forgotten += forget_rows(tx, &range, left).await?;
            }
        }
    }
    Ok(Ok(forgotten))
}

async fn forget_rows(tx: &Transaction, range: &KeyRange, limit: usize) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    for (key, _) in tx.get_range(range, RangeOptions::first(limit)).await? {
        let (kind, shard, half_life, _, what): (u64, u64, u64, f64, String) = TRENDING.unpack(&key)?;
        if forgotten >= limit {
            break;
        }
        if kind == Kind::Posts.code() {
            let post: Uuid = what.parse().map_err(|_| record::corrupt_key(&key, "not a post"))?;
            let likes = TRENDING_LIKES.range(&(post,));
            let likes = tx.get_range(&likes, RangeOptions::first(limit - forgotten)).await?;
            for (like, _) in &likes {
                tx.clear(like)?;
            }
            forgotten += likes.len();
            if forgotten >= limit {
                break; // There may be more of them: the post goes after the last.
            }
        }
        tx.clear(&key)?;
        tx.clear(&TRENDING_SCORES.key(&(kind, shard, half_life, &what[..])))?;
        forgotten += 1;
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_decays_by_half_in_each_half_life_and_is_taken_back_whole() {
        let trends = Trends { shard: 0, half_life: Duration::from_hours(6) };
        let hours = |hours: u64| Timestamp(1_763_000_000_000 + hours * 3_600_000);
        let at = |level: f64, now| (level - trends.level(1.0, now)).exp2();
        let one = trends.level(1.0, hours(0));
        assert!((at(one, hours(6)) - 0.5).abs() < 1e-6);
        let both = sum(one, trends.level(2.0, hours(12)));
        assert!((at(both, hours(12)) - 2.25).abs() < 1e-6, "{}", at(both, hours(12)));
        let left = difference(both, trends.level(2.0, hours(12))).unwrap();
        assert!((at(left, hours(0)) - 1.0).abs() < 1e-6);
        assert_eq!(difference(left, one), None, "nothing is left");
    }
}
