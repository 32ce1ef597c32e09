//! Tags: words by which photos and posts are found, and the posts of each, newest first.
//!
//! However a tag is written, it is compared, stored and found in one form, which [`folded`] makes.

use futures_util::future::try_join_all;

pub use super::posts::caption::{TAG_CHARS_MAX, tag as folded};
use super::posts::{self, Post};
use super::subspaces::POSTS_BY_TAG;
use super::visibility::{self, Viewer};
use super::{Position, PostId, record};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// A page of a tag's posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first; each may be seen by the viewer. There may be fewer than were asked for.
    pub posts: Vec<Post>,
    /// Before which position it goes on, unless the list ends here.
    pub next: Option<Position>,
}

/// Posts of a tag, folded, before a position, of those that the viewer may see: goes over `limit` of them. To be read in a
/// transaction that only reads.
///
/// # Errors
/// Those of the engine.
pub async fn page(
    tx: &Transaction,
    viewer: Viewer,
    tag: &str,
    before: Option<Position>,
    limit: usize,
) -> Result<Page, StoreError> {
    let list = (tag,);
    let all = POSTS_BY_TAG.range(&list);
    let range = match before {
        Some(before) => all.before(&before.key(POSTS_BY_TAG, &list)),
        None => all,
    };
    // One more than is gone over tells whether there is another page.
    let mut rows = tx.get_range(&range, RangeOptions::last(limit + 1).snapshot()).await?;
    let goes_on = rows.len() > limit;
    rows.truncate(limit);
    let mut entries = Vec::with_capacity(rows.len());
    for (key, bytes) in &rows {
        let post: PostId = record::decode(key, bytes)?;
        entries.push((Position::of_key(POSTS_BY_TAG, &list, key)?, post));
    }
    let next = entries.last().filter(|_| goes_on).map(|(position, _)| *position);
    let look = |(position, id): (Position, PostId)| async move {
        let Some(post) = posts::get(tx, id).await? else { return Ok(None) };
        let stands_here = posts::position(tx, id).await? == Some(position);
        let is_seen = stands_here && visibility::may_see_post(tx, viewer, &post).await?;
        Ok::<_, StoreError>(is_seen.then_some(post))
    };
    let posts = try_join_all(entries.into_iter().map(look)).await?.into_iter().flatten().collect();
    Ok(Page { posts, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_tag_is_written_it_is_one() {
        for (written, one) in [
            ("Sunset", "sunset"),
            (" #SUNSET ", "sunset"),
            ("＃Ｓｕｎｓｅｔ", "sunset"),
            ("e\u{301}t\u{e9}", "\u{e9}t\u{e9}"),
            ("東京", "東京"),
            ("हिन्दी", "हिन्दी"),
            ("İzmir", "i\u{307}zmir"),
            ("golden_hour2", "golden_hour2"),
        ] {
            assert_eq!(folded(written).as_deref(), Some(one), "{written}");
            assert_eq!(folded(one).as_deref(), Some(one), "{one} is folded already");
        }
    }

    #[test]
    fn what_is_no_word_is_no_tag() {
        for text in ["", "#", "##a", "a b", "a,b", "a-b", "2024", "_", "東京。", "😀", "a\u{200b}b"] {
            assert_eq!(folded(text), None, "{text:?}");
        }
        assert!(folded(&"x".repeat(TAG_CHARS_MAX)).is_some());
        assert_eq!(folded(&"x".repeat(TAG_CHARS_MAX + 1)), None);
    }
}
