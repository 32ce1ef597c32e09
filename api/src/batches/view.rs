//! The JSON of batches and their items.

use std::time::Duration;

use darkroom_store::model::batches::{BUCKET, Item, Progress, Recent, Standing};
use darkroom_store::model::photos::Failure;
use darkroom_store::model::{ContentHash, Timestamp};
use serde::Serialize;

use crate::problem::Problem;
use crate::view::{FailureView, rfc3339};

/// The time whose finished files make the rate.
const WINDOW: Duration = Duration::from_secs(60);

/// A batch as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchView {
    /// Its id.
    pub id: String,
    /// What its client calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `open`, `closed` or `cancelled`.
    pub state: Standing,
    /// Nothing is being processed any more, and no more files are taken, or as many as were expected have come.
    pub complete: bool,
    /// When it was opened, RFC 3339.
    pub created_at: String,
    /// When anything of it last changed, RFC 3339.
    pub updated_at: String,
    /// The same.
    #[serde(skip)]
    pub updated: Timestamp,
    /// When it was closed or cancelled, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// When it goes if nothing changes any more, RFC 3339. Its photos stay.
    pub expires_at: String,
    /// How many files its client means to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// How many bytes these have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_bytes: Option<u64>,
    /// How many files are where.
    pub counts: CountsView,
    /// Bytes of the files received.
    pub bytes: u64,
    /// How fast files are finished.
    pub rate: RateView,
    /// How long the rest takes at that rate; `null` if nobody can tell.
    pub estimated_seconds: Option<u64>,
}

/// How many files are where. `received` is the sum of the others but `refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is a state of an item")]
pub struct CountsView {
    pub received: u64,
    pub processing: u64,
    pub ready: u64,
    pub failed: u64,
    pub deleted: u64,
    pub duplicates: u64,
    pub refused: u64,
}

/// How fast files are finished: over the last minute, or, of a batch that is complete, over all its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RateView {
    /// Files that became ready, failed, were duplicates, or were refused.
    pub photos_per_second: f64,
    /// Their bytes.
    pub bytes_per_second: f64,
}

/// The earliest time of which [`BatchView::new`] wants to know what was finished.
pub fn window_start(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX)))
}

impl BatchView {
    /// As it stands at `now`.
    pub fn new(progress: &Progress, now: Timestamp) -> Self {
        let Progress { batch, counts, .. } = progress;
        let rate = rate(progress, now);
        Self {
            id: batch.id.to_string(),
            name: batch.name.clone(),
            state: batch.standing,
            complete: progress.is_complete(),
            created_at: rfc3339(batch.created),
            updated_at: rfc3339(progress.updated),
            updated: progress.updated,
            ended_at: batch.ended.map(rfc3339),
            expires_at: rfc3339(batch.expires(progress.updated)),
            expected: batch.expected,
            expected_bytes: batch.expected_bytes,
            counts: CountsView {
                received: counts.received(),
                processing: counts.processing,
                ready: counts.ready,
                failed: counts.failed,
                deleted: counts.deleted,
                duplicates: counts.duplicates,
                refused: counts.refused,
            },
            bytes: progress.bytes,
            rate,
            estimated_seconds: estimate(progress, rate),
        }
    }

    /// A name of what can be seen of it, times and rate aside: another where anything has changed.
    pub fn version(&self) -> String {
        let seen = format!("{:?} {} {:?} {}", self.state, self.complete, self.counts, self.bytes);
        ContentHash::of(seen.as_bytes()).short()
    }
}

fn rate(progress: &Progress, now: Timestamp) -> RateView {
    let created = progress.batch.created;
    let (items, bytes, took) = if progress.is_complete() {
        (progress.counts.finished(), progress.bytes, progress.last_finished.since(created))
    } else {
        let Recent { since, items, bytes } = progress.recent;
        (items, bytes, now.since(since.max(created)))
    };
    // Of a shorter time nothing can be said: a clock of another node may be a little ahead.
    let seconds = took.as_secs_f64().max(1.0);
    let rounded = |per_second: f64| (per_second * 1000.0).round() / 1000.0;
    RateView {
        photos_per_second: rounded(items as f64 / seconds),
        bytes_per_second: rounded(bytes as f64 / seconds),
    }
}

fn estimate(progress: &Progress, rate: RateView) -> Option<u64> {
    if progress.is_complete() {
        return Some(0);
    }
    let expected = progress.batch.expected.filter(|_| progress.batch.ended.is_none());
    let unsent = expected.map_or(0, |expected| expected.saturating_sub(progress.counts.finished()));
    let left = unsent.max(progress.counts.processing);
    (left > 0 && rate.photos_per_second > 0.0).then(|| (left as f64 / rate.photos_per_second).ceil() as u64)
}

/// A file of a batch.
#[derive(Clone, Debug, Serialize)]
pub struct ItemView {
    /// Its name, if its client gave one.
    pub name: Option<String>,
    /// `processing`, `ready`, `failed`, `deleted`, `duplicate` or `refused`.
    pub state: &'static str,
    /// The id of its photo: for a duplicate, of the one that has its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Why its photo failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// BLAKE3 of its bytes, 64 hex digits, where they were read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// Its size, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its bytes were a photo before: also one that had failed, and was tried again.
    pub duplicate: bool,
    /// When it came, RFC 3339.
    pub received_at: String,
    /// When its state last changed, RFC 3339.
    pub updated_at: String,
}

impl ItemView {
    /// Of this item.
    pub fn new(item: &Item) -> Self {
        let outcome = &item.outcome;
        let (problem, failure) = match (&outcome.problem, outcome.photo) {
            (Some(Failure { code, detail }), None) => (Some(Problem::new(code, detail.clone())), None),
            (Some(Failure { code, detail }), Some(_)) => {
                (None, Some(FailureView { code: code.clone(), detail: detail.clone() }))
            }
            (None, _) => (None, None),
        };
        Self {
            name: item.name.clone(),
            state: item.state.as_str(),
            photo: outcome.photo.map(|photo| photo.to_string()),
            problem,
            failure,
            blake3: outcome.hash.map(|hash| hash.to_string()),
            bytes: outcome.bytes,
            duplicate: item.duplicate,
            received_at: rfc3339(item.received),
            updated_at: rfc3339(item.updated),
        }
    }
}

const _: () = assert!(WINDOW.as_secs() >= 2 * BUCKET.as_secs(), "a window of whole buckets");

#[cfg(test)]
mod tests {
    use darkroom_store::model::batches::{Batch, Counts};
    use darkroom_store::model::{BatchId, OwnerId};

    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn after(seconds: u64) -> Timestamp {
        START.after(Duration::from_secs(seconds))
    }

    fn progress(counts: Counts) -> Progress {
        Progress {
            batch: Batch {
                id: BatchId::new(),
                owner: OwnerId::open(),
                name: None,
                standing: Standing::Open,
                expected: None,
                expected_bytes: None,
                created: START,
                keep_ms: 1000,
                ended: None,
            },
            counts,
            bytes: 4000,
            updated: after(40),
            last_finished: after(40),
            recent: Recent { since: START, items: 20, bytes: 2000 },
        }
    }

    #[test]
    fn the_rate_is_of_the_last_minute_and_in_the_end_of_all() {
        let mut running = progress(Counts { processing: 20, ready: 20, ..Counts::default() });
        let view = BatchView::new(&running, after(10));
        assert_eq!(view.rate, RateView { photos_per_second: 2.0, bytes_per_second: 200.0 });
        assert_eq!((view.estimated_seconds, view.complete), (Some(10), false));
        running.counts = Counts { ready: 40, ..Counts::default() };
        running.batch.ended = Some(after(60));
        let view = BatchView::new(&running, after(10_000));
        assert_eq!(view.rate, RateView { photos_per_second: 1.0, bytes_per_second: 100.0 });
        assert_eq!((view.estimated_seconds, view.complete), (Some(0), true));
    }

    #[test]
    fn what_was_not_sent_yet_counts_until_the_batch_ends() {
        let mut running = progress(Counts { processing: 10, ready: 20, ..Counts::default() });
        running.batch.expected = Some(100);
        assert_eq!(BatchView::new(&running, after(10)).estimated_seconds, Some(40), "80 at 2 a second");
        running.batch.ended = Some(after(1));
        assert_eq!(BatchView::new(&running, after(10)).estimated_seconds, Some(5), "10 at 2 a second");
        running.recent.items = 0;
        assert_eq!(BatchView::new(&running, after(10)).estimated_seconds, None, "nobody can tell");
    }

    #[test]
    fn a_clock_that_is_behind_makes_no_nonsense() {
        let mut running = progress(Counts { processing: 1, ready: 20, ..Counts::default() });
        running.recent.since = after(5);
        let view = BatchView::new(&running, START);
        assert_eq!(view.rate, RateView { photos_per_second: 20.0, bytes_per_second: 2000.0 });
    }

    #[test]
    fn a_version_changes_with_the_counts_and_not_with_time() {
        let running = progress(Counts { processing: 1, ..Counts::default() });
        let (early, late) = (BatchView::new(&running, after(1)), BatchView::new(&running, after(9)));
        assert_eq!(early.version(), late.version());
        let more = progress(Counts { processing: 2, ..Counts::default() });
        assert_ne!(BatchView::new(&more, after(1)).version(), early.version());
    }
}
