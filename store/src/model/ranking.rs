//! The order of the posts on a page. The one place that decides it.
//!
//! Pages are cut from lists by position, whatever the order: every walk through a list shows the same entries. A ranking
//! orders what one page holds.
//!
//! `engagement` sorts by
//!
//! ```text
//! log2(1 + likes + 2 · comments + 3 · shares) + published / half-life
//! ```
//!
//! so that a post which is one half-life older needs about twice as much said and done about it to stand as high. That is
//! the "hot" order of Reddit (`_sorts.pyx` in <https://github.com/reddit-archive/reddit>: the logarithm of the votes plus
//! the seconds of publishing by 45,000), with the weights and the half-life of [`trending`](super::trending).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::posts::Post;
use super::subspaces::POST_COUNTS;
use super::trending::{COMMENT, LIKE, SHARE};
use super::{Timestamp, counters};
use crate::StoreError;
use crate::metadata::Transaction;

/// An order of posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ranking {
    /// Newest first.
    #[default]
    Chronological,
    /// See the module.
    Engagement,
}

impl Ranking {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Chronological, Self::Engagement];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chronological => "chronological",
            Self::Engagement => "engagement",
        }
    }
}

/// A word that names no ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRanking;

impl fmt::Display for NoRanking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ranking is `chronological` or `engagement`")
    }
}

impl FromStr for Ranking {
    type Err = NoRanking;

    fn from_str(word: &str) -> Result<Self, NoRanking> {
        Self::ALL.into_iter().find(|ranking| ranking.as_str() == word).ok_or(NoRanking)
    }
}

/// What was said and done about a post, as far as an order hangs on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Engagement {
    /// Who like it.
    pub likes: u64,
    /// What was said about it.
    pub comments: u64,
    /// How often it was shared.
    pub shares: u64,
    /// When it was published.
    pub published: Timestamp,
}

impl Engagement {
    /// What was said and done about a post. A look that conflicts with nobody.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn of(tx: &Transaction, post: &Post) -> Result<Self, StoreError> {
        let count = async |what: &str| {
            let count = counters::read(tx, POST_COUNTS, &(post.id.0, what)).await?;
            Ok::<_, StoreError>(u64::try_from(count).unwrap_or(0))
        };
        Ok(Self {
            likes: count("likes").await?,
            comments: count("comments").await?,
            shares: count("shares").await?,
            published: post.published.unwrap_or(post.created),
        })
    }

    /// See the module.
    pub fn score(&self, half_life: Duration) -> f64 {
        let weights = LIKE * self.likes as f64 + COMMENT * self.comments as f64 + SHARE * self.shares as f64;
        let half_life_ms = half_life.as_secs_f64().max(1.0) * 1000.0;
        (1.0 + weights).log2() + self.published.0 as f64 / half_life_ms
    }
}

/// Orders a page that is in chronological order.
pub fn order<T>(
    page: &mut [T],
    ranking: Ranking,
    half_life: Duration,
    engagement: impl Fn(&T) -> Engagement,
) {
    match ranking {
        Ranking::Chronological => {}
        Ranking::Engagement => page.sort_by(|one, other| {
            engagement(other).score(half_life).total_cmp(&engagement(one).score(half_life))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_life_is_worth_twice_the_likes() {
        let hour = Duration::from_hours(1);
        let post = |likes, hours: u64| Engagement {
            likes,
            published: Timestamp(1_763_000_000_000 + hours * 3_600_000),
            ..Engagement::default()
        };
        let mut page = [post(0, 3), post(3, 2), post(63, 0), post(1, 1)];
        order(&mut page, Ranking::Chronological, hour, |post| *post);
        assert_eq!(page[0], post(0, 3));
        order(&mut page, Ranking::Engagement, hour, |post| *post);
        assert_eq!(page.map(|post| post.likes), [63, 3, 0, 1]);
        assert!((post(3, 2).score(hour) - post(7, 1).score(hour)).abs() < 1e-6);
    }

    #[test]
    fn rankings_are_known_by_their_words() {
        for ranking in Ranking::ALL {
            assert_eq!(ranking.as_str().parse(), Ok(ranking));
        }
        assert_eq!("best".parse::<Ranking>(), Err(NoRanking));
    }
}
