//! Idempotency keys: a request whose answer was lost is answered as it was, and not counted as another one
//! (docs/uploading.md).

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::patience::Verdict;

/// Keys that one import uses. A daemon remembers each for a day, and by default a million of one user: that one's other
/// programs need some, too. What is sent beyond is sent without.
const KEYS_MAX: u64 = 100_000;

static KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How many are left.
#[derive(Debug)]
pub(super) struct Keys(AtomicU64);

impl Default for Keys {
    fn default() -> Self {
        Self(AtomicU64::new(KEYS_MAX))
    }
}

impl Keys {
    /// Gives a request a key, if there is one left: one for all its tries.
    pub(super) fn give(&self, headers: &mut HeaderMap) {
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if taken && let Ok(key) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
            headers.insert(KEY.clone(), key);
        }
    }

    /// Whether a request is to be sent again without its key, at once: the daemon remembers as many as it may. Nor does any
    /// other get one then.
    pub(super) fn are_too_many(&self, verdict: &Verdict, headers: &mut HeaderMap) -> bool {
        let is_one_too_many = is_too_many(verdict, headers);
        if is_one_too_many {
            self.0.store(0, Ordering::Relaxed);
        }
        is_one_too_many
    }
}

/// Whether a request is to be sent again without its key, which it has no more then.
pub(super) fn is_too_many(verdict: &Verdict, headers: &mut HeaderMap) -> bool {
    matches!(verdict, Verdict::Busy(_, reason) if reason.is("too-many-idempotency-keys"))
        && headers.remove(&KEY).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::patience::Reason;
    use super::*;

    fn is_given(keys: &Keys) -> bool {
        let mut headers = HeaderMap::new();
        keys.give(&mut headers);
        headers.contains_key(&KEY)
    }

    #[test]
    fn keys_end_and_leave_others_some() {
        let keys = Keys(AtomicU64::new(2));
        assert!(is_given(&keys) && is_given(&keys));
        assert!(!is_given(&keys));
    }

    #[test]
    fn a_daemon_that_remembers_no_more_gets_no_more() {
        let (keys, mut headers) = (Keys::default(), HeaderMap::new());
        keys.give(&mut headers);
        let busy = Verdict::Busy(None, Reason::local("full"));
        assert!(!keys.are_too_many(&busy, &mut headers) && headers.contains_key(&KEY));
        let code = Some("too-many-idempotency-keys".to_owned());
        let too_many = Verdict::Busy(None, Reason { code, detail: String::new() });
        assert!(keys.are_too_many(&too_many, &mut headers) && !headers.contains_key(&KEY));
        // It has none any more: then it is like any 429.
        assert!(!keys.are_too_many(&too_many, &mut headers));
        assert!(!is_given(&keys));
    }
}
