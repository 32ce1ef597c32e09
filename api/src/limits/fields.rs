//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): lists of strings with parameters, one item
//! for each policy.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::ClientLimits;
use super::clients::Standing;

/// The policies' names, also in `violated-policies`.
pub(super) const REQUESTS: &str = "requests";
pub(super) const UPLOADS: &str = "uploads";
pub(super) const BYTES: &str = "bytes";

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How many requests may come: `q` at once, which `w` seconds bring back; `r` are left, and `t` seconds bring one more.
pub(super) fn tell_requests(headers: &mut HeaderMap, limits: &ClientLimits, standing: &Standing) {
    let (quota, rate) = (limits.burst().max(1), limits.requests_per_second.max(1));
    append(headers, &POLICY, &format!("\"{REQUESTS}\";q={quota};w={}", quota.div_ceil(rate)));
    append(headers, &LIMIT, &format!("\"{REQUESTS}\";r={};t={}", standing.left, standing.more_in));
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
    fn the_fields_have_the_drafts_syntax() {
        let limits = ClientLimits { requests_per_second: 4, requests_burst: 10, ..Default::default() };
        let mut headers = HeaderMap::new();
        tell_requests(&mut headers, &limits, &Standing { left: 7, more_in: 1 });
        assert_eq!(headers[&POLICY], r#""requests";q=10;w=3"#);
        assert_eq!(headers[&LIMIT], r#""requests";r=7;t=1"#);
        let mut headers = HeaderMap::new();
        tell_uploads(&mut headers, BYTES, 90, 100);
        assert_eq!(headers[&POLICY], r#""bytes";q=100;qu="content-bytes""#);
        assert_eq!(headers[&LIMIT], r#""bytes";r=10"#);
    }
}
