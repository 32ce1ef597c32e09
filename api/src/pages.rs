//! Lists in pages: `{"items": […], "next": cursor or null}`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::request::Query;

/// Items of a page that does not say how many it wants.
pub const LIMIT_DEFAULT: usize = 50;
/// Items of a page at most.
pub const LIMIT_MAX: usize = 200;

/// A page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; none after the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of what was found, one more than asked for telling whether there is a next one.
    pub fn of(mut found: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        Self { next: found.last().filter(|_| more).map(cursor), items: found }
    }

    /// The same with other items.
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(item).collect(), next: self.next }
    }
}

/// The query's `limit`: from 1 to [`LIMIT_MAX`].
///
/// # Errors
/// `invalid-parameter`.
pub fn limit(query: &Query) -> Result<usize, Problem> {
    limit_within(query, LIMIT_DEFAULT, LIMIT_MAX)
}

/// The query's `limit`: from 1 to `max`, or `default` if it says none.
///
/// # Errors
/// `invalid-parameter`.
pub fn limit_within(query: &Query, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = query.get("limit") else { return Ok(default) };
    text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
        Problem::new("invalid-parameter", format!("limit={text:?} is not a number from 1 to {max}"))
    })
}

/// The query's `cursor`.
///
/// # Errors
/// `invalid-parameter`.
pub fn cursor<T: FromStr>(query: &Query) -> Result<Option<T>, Problem> {
    let damaged = |_| {
        Problem::new("invalid-parameter", "the cursor is damaged: take it from `next` of the page before")
    };
    query.get("cursor").map(|text| text.parse().map_err(damaged)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_next_one_only_where_more_was_found() {
        let page = |found: &[u32]| Page::of(found.to_vec(), 2, ToString::to_string);
        assert_eq!(page(&[1, 2, 3]).next, Some("2".to_owned()));
        assert_eq!(page(&[1, 2, 3]).items, [1, 2]);
        assert_eq!(page(&[1, 2]).next, None);
        assert_eq!(page(&[]).next, None);
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused_by_name() {
        let query = |text| Query::parse(Some(text), &["limit", "cursor"]).unwrap();
        assert_eq!(limit(&query("")).unwrap(), LIMIT_DEFAULT);
        assert_eq!(limit(&query("limit=200")).unwrap(), 200);
        for bad in ["limit=0", "limit=201", "limit=x"] {
            assert!(limit(&query(bad)).unwrap_err().detail.contains("1 to 200"));
        }
        assert!(cursor::<u64>(&query("cursor=x")).is_err());
    }
}
