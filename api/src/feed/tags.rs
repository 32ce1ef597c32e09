//! The posts of a tag.

use darkroom_store::metadata::Transaction;
use darkroom_store::model::tags;
use hyper::StatusCode;

use crate::Api;
use crate::caller::Caller;
use crate::pages::{self, Page};
use crate::posts;
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};

/// `GET /v1/tags/{tag}/posts`: those that the caller may see, newest first.
///
/// # Errors
/// `invalid-parameter`, `not-found` for what cannot be a tag, and those of the store.
pub async fn page(api: &Api, caller: &Caller, query: Option<&str>, tag: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (before, limit) = (pages::cursor(&query)?, pages::limit(&query)?);
    let Some(tag) = &decoded(tag).and_then(|tag| tags::folded(&tag)) else {
        let detail =
            format!("{tag:?} is no tag: give one as it stands behind the # in a caption, percent-encoded");
        return Err(Problem::new("not-found", detail));
    };
    let viewer = caller.viewer;
    let read = |tx: Transaction| async move { tags::page(&tx, viewer, tag, before, limit).await };
    let page = api.pipeline().metadata().read("read tag", read).await?;
    let ids: Vec<_> = page.posts.iter().map(|post| post.id).collect();
    let items: Vec<_> = posts::views(api, viewer, &ids).await?.into_iter().flatten().collect();
    Ok(response::json(StatusCode::OK, &Page { items, next: page.next.map(|next| next.to_string()) }))
}

/// The text of a path's segment; `None` if it is not UTF-8 that is percent-encoded (RFC 3986, section 2.1).
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_from_paths_as_they_are_written_in_them() {
        let read = |segment| decoded(segment).and_then(|tag| tags::folded(&tag));
        assert_eq!(read("%23Sea").as_deref(), Some("sea"));
        assert_eq!(read("%C3%89t%C3%A9_1").as_deref(), Some("été_1"));
        for bad in ["", "%", "%4", "%zz", "%+1", "%ff", "a%20b", "%23"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&"a".repeat(101)), None);
    }
}
