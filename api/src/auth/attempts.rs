//! How often a wrong password or key may be tried.
//!
//! Only failures count, by what was tried and from where, so that nobody locks anybody else out, and by the address alone,
//! within a wider bound, against whoever tries many. Kept in memory on each node, like requests per second, by the same
//! algorithm (GCRA): one time for each, at which it will have no failure left. When as many are known as may be, those with
//! nothing left are forgotten; while none can be, the newcomers share one place.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use darkroom_store::model::ContentHash;
use tokio::time::Instant;

use crate::caller::ClientKey;
use crate::problem::Problem;

/// The time over which the bounds hold.
const WINDOW: Duration = Duration::from_secs(60);

/// How often something wrong may be tried; 0 is any number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failures per minute for one e-mail address or key, from one client.
    pub per_account: u32,
    /// Failures per minute from one client, whatever it tries.
    pub per_client: u32,
    /// How many of either are known at once.
    pub tracked_max: usize,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { per_account: 10, per_client: 100, tracked_max: 10_000 }
    }
}

/// What was tried, from where.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    account: ContentHash,
    client: Option<ContentHash>,
}

impl Tried {
    /// The account by its e-mail address or key id; `kind` tells the two apart.
    pub fn new(kind: &str, account: &str, client: ClientKey) -> Self {
        let client = match client {
            // The operator's own socket: its file's permission is the authentication.
            ClientKey::Local => None,
            ClientKey::Network(address) => Some(address.to_string()),
        };
        let of_client = client.as_deref().unwrap_or("local");
        let account = ContentHash::of(format!("{kind}\0{of_client}\0{}", account.to_lowercase()).as_bytes());
        Self { account, client: client.map(|client| ContentHash::of(client.as_bytes())) }
    }
}

/// Failures that were counted.
pub struct Attempts {
    limits: AttemptLimits,
    began: Instant,
    known: Mutex<HashMap<ContentHash, Duration>>,
}

impl Attempts {
    /// With none so far.
    pub fn new(limits: AttemptLimits) -> Self {
        Self { limits, began: Instant::now(), known: Mutex::default() }
    }

    /// Whether one more may be tried.
    ///
    /// # Errors
    /// `too-many-attempts`.
    pub fn may(&self, tried: &Tried) -> Result<(), Problem> {
        let now = self.began.elapsed();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let over = self.bounds(tried).into_iter().filter_map(|(what, max)| {
            let rested = known.get(&what).copied().unwrap_or_default();
            (rested + interval(max)).checked_sub(now + WINDOW)
        });
        match over.max() {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(too_many(wait)),
        }
    }

    /// It was wrong.
    pub fn failed(&self, tried: &Tried) {
        metrics::counter!("darkroom_sign_in_failures_total").increment(1);
        let now = self.began.elapsed();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (mut what, max) in self.bounds(tried) {
            if known.len() >= self.limits.tracked_max && !known.contains_key(&what) {
                known.retain(|_, rested| *rested > now);
                if known.len() >= self.limits.tracked_max {
                    what = ContentHash([0; 32]);
                }
            }
            let rested = known.entry(what).or_default();
            *rested = (*rested).max(now) + interval(max);
        }
    }

    fn bounds(&self, tried: &Tried) -> Vec<(ContentHash, u32)> {
        let limits = &self.limits;
        let mut bounds = vec![(tried.account, limits.per_account)];
        bounds.extend(tried.client.map(|client| (client, limits.per_client)));
        bounds.retain(|(_, max)| *max > 0);
        bounds
    }
}

fn interval(max: u32) -> Duration {
    WINDOW / max.max(1)
}

fn too_many(wait: Duration) -> Problem {
    crate::limits::refused("attempts");
    let seconds = wait.as_secs() + 1;
    let detail = format!("too many attempts that failed came from you; try again in {seconds} s");
    Problem::new("too-many-attempts", detail).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn from(last: u8) -> ClientKey {
        ClientKey::Network(Ipv4Addr::new(10, 0, 0, last).into())
    }

    fn limits() -> AttemptLimits {
        AttemptLimits { per_account: 3, per_client: 5, tracked_max: 4 }
    }

    /// How many more of these are let through, each failing.
    fn failures(attempts: &Attempts, tried: &Tried) -> u32 {
        (0..100).take_while(|_| attempts.may(tried).map(|()| attempts.failed(tried)).is_ok()).count() as u32
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_tried_so_often_and_again_after_a_while() {
        let attempts = Attempts::new(limits());
        let ann = Tried::new("email", "Ann@example.org", from(1));
        assert_eq!(failures(&attempts, &ann), 3);
        let refused = attempts.may(&ann).unwrap_err();
        assert!(refused.is("too-many-attempts") && refused.retry_after.unwrap() <= 21, "{refused:?}");
        // Whoever comes from elsewhere is not locked out by that.
        assert!(attempts.may(&Tried::new("email", "ann@example.org", from(2))).is_ok());
        assert!(attempts.may(&Tried::new("email", "ann@example.org", from(1))).is_err());
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(failures(&attempts, &ann), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_tries_many_accounts_meets_its_own_bound() {
        let attempts = Attempts::new(AttemptLimits { tracked_max: 100, ..limits() });
        let tried: u32 = (0..20)
            .map(|n| failures(&attempts, &Tried::new("email", &format!("{n}@example.org"), from(1))))
            .sum();
        assert_eq!(tried, 5);
        assert!(attempts.may(&Tried::new("email", "x@example.org", from(2))).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_known_than_may_be() {
        let attempts = Attempts::new(limits());
        for n in 0..100 {
            attempts.failed(&Tried::new("email", &format!("{n}@example.org"), from(n)));
        }
        assert!(attempts.known.lock().unwrap().len() <= 5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(failures(&attempts, &Tried::new("email", "ann@example.org", from(9))), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn with_no_bound_nobody_is_refused() {
        let attempts = Attempts::new(AttemptLimits { per_account: 0, per_client: 0, ..limits() });
        assert_eq!(failures(&attempts, &Tried::new("key", "k", from(1))), 100);
    }
}
