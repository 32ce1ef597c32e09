//! Conditional and range requests (RFC 9110, sections 13 and 14).

use std::ops::Range;
use std::time::SystemTime;

use hyper::HeaderMap;
use hyper::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};

use crate::request::header;

/// What identifies a representation.
pub struct Validators<'v> {
    /// Strong entity tag, with its quotes.
    pub etag: &'v str,
    /// When it was last changed, where that date is sent: no other is compared. It is not where a date could not tell
    /// this representation from another one.
    pub modified: Option<SystemTime>,
}

/// Whether the client has the current representation: then it gets 304. `If-Modified-Since` counts only
/// without `If-None-Match`.
pub fn is_unmodified(headers: &HeaderMap, current: &Validators<'_>) -> bool {
    if headers.contains_key(IF_NONE_MATCH) {
        return headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current.etag);
    }
    let since =
        header(headers, IF_MODIFIED_SINCE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
    // Dates have whole seconds.
    current.modified.zip(since).is_some_and(|(modified, since)| truncated(modified) <= since)
}

fn truncated(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs())
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// Everything: no range, one that is not understood, several, or one of an outdated representation.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that exists: 416.
    Unsatisfiable,
}

/// The bytes asked for, of an object of `length` bytes.
pub fn requested_range(headers: &HeaderMap, length: u64, current: &Validators<'_>) -> Requested {
    let Some(spec) = header(headers, RANGE.as_str()).and_then(|value| value.strip_prefix("bytes=")) else {
        return Requested::Whole;
    };
    let outdated = header(headers, IF_RANGE.as_str()).is_some_and(|condition| match condition {
        tag if tag.starts_with('"') => tag != current.etag,
        date => {
            let date = httpdate::parse_http_date(date).ok();
            date.is_none() || date != current.modified.map(truncated)
        }
    });
    if outdated || spec.contains(',') {
        return Requested::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Requested::Whole };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Requested::Whole,
    };
    if range.is_empty() { Requested::Unsatisfiable } else { Requested::Part(range) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn current() -> Validators<'static> {
        Validators {
            etag: "\"abc\"",
            modified: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_500)),
        }
    }

    #[test]
    fn without_a_date_of_its_own_only_tags_count() {
        let undated = Validators { modified: None, ..current() };
        let date = "Sun, 09 Sep 2001 01:46:40 GMT";
        assert!(!is_unmodified(&headers(&[("if-modified-since", date)]), &undated));
        assert!(is_unmodified(&headers(&[("if-none-match", "\"abc\"")]), &undated));
        let range = |condition| {
            requested_range(&headers(&[("range", "bytes=0-0"), ("if-range", condition)]), 100, &undated)
        };
        assert_eq!(range(date), Requested::Whole);
        assert_eq!(range("nonsense"), Requested::Whole);
        assert_eq!(range("\"abc\""), Requested::Part(0..1));
    }

    #[test]
    fn a_range_is_understood_in_its_three_forms() {
        let range = |value| requested_range(&headers(&[("range", value)]), 100, &current());
        assert_eq!(range("bytes=0-9"), Requested::Part(0..10));
        assert_eq!(range("bytes=90-"), Requested::Part(90..100));
        assert_eq!(range("bytes=-10"), Requested::Part(90..100));
        assert_eq!(range("bytes=0-1000"), Requested::Part(0..100));
        assert_eq!(range("bytes=-1000"), Requested::Part(0..100));
        assert_eq!(range("bytes=100-"), Requested::Unsatisfiable);
        assert_eq!(range("bytes=-0"), Requested::Unsatisfiable);
        for whole in ["bytes=9-0", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=-"] {
            assert_eq!(range(whole), Requested::Whole, "{whole}");
        }
    }

    #[test]
    fn a_range_of_an_outdated_representation_is_everything() {
        let range = |condition| {
            requested_range(&headers(&[("range", "bytes=0-0"), ("if-range", condition)]), 100, &current())
        };
        assert_eq!(range("\"abc\""), Requested::Part(0..1));
        assert_eq!(range("\"old\""), Requested::Whole);
        assert_eq!(range("Sun, 09 Sep 2001 01:46:40 GMT"), Requested::Part(0..1));
        assert_eq!(range("Sun, 09 Sep 2001 01:46:41 GMT"), Requested::Whole);
    }

    #[test]
    fn entity_tags_are_compared_weakly_and_before_dates() {
        let unmodified = |pairs| is_unmodified(&headers(pairs), &current());
        assert!(unmodified(&[("if-none-match", "\"x\", W/\"abc\"")]));
        assert!(unmodified(&[("if-none-match", "*")]));
        assert!(!unmodified(&[
            ("if-none-match", "\"x\""),
            ("if-modified-since", "Sun, 09 Sep 2001 01:46:40 GMT")
        ]));
        assert!(unmodified(&[("if-modified-since", "Sun, 09 Sep 2001 01:46:40 GMT")]));
        assert!(!unmodified(&[("if-modified-since", "Sun, 09 Sep 2001 01:46:39 GMT")]));
        assert!(!unmodified(&[]));
    }
}
