//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): lists of strings with parameters, one item
//! for each policy.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::ClientLimits;
use super::clients::Standing;

/// The policies' names, also in `violated-policies`.
pub(super) const REQUESTS: &str = "requests";
pub(super) const UPLOADS: &str = "uploads";
pub(super) const BYTES: &str = "bytes";

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How many requests may come: `q` at once, which `w` seconds bring back; `r` are left.
///
/// While any are left, `t` is the time in which as many more come, so that a client that spends `r` over `t` seconds keeps
/// to the rate (the draft's section 8.5). When none is, it is the time until there is one. It is left out where the answer
/// asks to wait for something else, and for less than that (section 6).
pub(super) fn tell_requests(headers: &mut HeaderMap, limits: &ClientLimits, standing: &Standing) {
    let (quota, rate) = (limits.burst().max(1), limits.requests_per_second.max(1));
    append(headers, &POLICY, &format!("\"{REQUESTS}\";q={quota};w={}", quota.div_ceil(rate)));
    let reset = standing.left.div_ceil(rate.into()).max(standing.more_in);
    let earlier = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_told = earlier.is_none_or(|seconds| seconds >= reset);
    let reset = if is_told { format!(";t={reset}") } else { String::new() };
    append(headers, &LIMIT, &format!("\"{REQUESTS}\";r={}{reset}", standing.left));
}

/// How many uploads, or bytes of them, may be on their way at once.
pub(super) fn tell_uploads(headers: &mut HeaderMap, policy: &str, used: u64, max: u64) {
    let unit = if policy == BYTES { "content-bytes" } else { "concurrent-requests" };
    append(headers, &POLICY, &format!("\"{policy}\";q={max};qu=\"{unit}\""));
    append(headers, &LIMIT, &format!("\"{policy}\";r={}", max.saturating_sub(used)));
}

fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    // Made of names and numbers: it is always a header's value.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spends_what_is_left_over_the_time_that_is_told_keeps_to_the_rate() {
        let limits = ClientLimits { requests_per_second: 10, requests_burst: 100, ..Default::default() };
        let told = |left, retry_after: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(retry_after.map(|value| (Some(RETRY_AFTER), HeaderValue::from_static(value))));
            tell_requests(&mut headers, &limits, &Standing { left, more_in: 1 });
            headers[&LIMIT].to_str().unwrap().to_owned()
        };
        assert_eq!(told(100, None), r#""requests";r=100;t=10"#);
        assert_eq!(told(97, None), r#""requests";r=97;t=10"#);
        assert_eq!(told(5, None), r#""requests";r=5;t=1"#);
        assert_eq!(told(0, Some("1")), r#""requests";r=0;t=1"#);
        assert_eq!(
            told(97, Some("1")),
            r#""requests";r=97"#,
            "it says when another thing is to be tried again"
        );
        assert_eq!(told(97, Some("60")), r#""requests";r=97;t=10"#);
    }

    #[test]
    fn the_fields_have_the_drafts_syntax() {
        let limits = ClientLimits { requests_per_second: 4, requests_burst: 10, ..Default::default() };
        let mut headers = HeaderMap::new();
        tell_requests(&mut headers, &limits, &Standing { left: 7, more_in: 1 });
        assert_eq!(headers[&POLICY], r#""requests";q=10;w=3"#);
        assert_eq!(headers[&LIMIT], r#""requests";r=7;t=2"#);
        let mut headers = HeaderMap::new();
        tell_uploads(&mut headers, BYTES, 90, 100);
        assert_eq!(headers[&POLICY], r#""bytes";q=100;qu="content-bytes""#);
        assert_eq!(headers[&LIMIT], r#""bytes";r=10"#);
    }
}
