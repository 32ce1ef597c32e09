//! A job's record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::subspaces::{JOBS_BY_EPOCH, JOBS_BY_VESTING};
use crate::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp};

/// Failures that a record keeps: the last so many.
const FAILURES_KEPT: usize = 8;
/// Bytes kept of each of their reasons.
const REASON_BYTES_MAX: usize = 1000;
/// Attempts whose fate is not known that a record keeps: the last so many.
const UNSETTLED_KEPT: usize = 8;

/// How long a job waits after its first interruption.
pub const INTERRUPTION_PAUSE_FIRST: Duration = Duration::from_millis(500);

/// What is to be done, and to what. A job of another kind (one without a photo) is another variant here; stored, it
/// is the job's field `kind` and whatever its variant holds beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Make every variant of a new photo.
    Process {
        /// Which.
        photo: PhotoId,
    },
    /// Make the variants that a ready photo lacks, or has under other settings.
    Render {
        /// Which.
        photo: PhotoId,
    },
}

impl Work {
    /// The photo that it is about, if it is about one.
    pub fn photo(&self) -> Option<PhotoId> {
        match self {
            Self::Process { photo } | Self::Render { photo } => Some(*photo),
        }
    }

    /// Its kind, as stored and shown.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Process { .. } => Kind::Process,
            Self::Render { .. } => Kind::Render,
        }
    }
}

/// A kind of [`Work`], without what it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Work::Process`].
    Process,
    /// [`Work::Render`].
    Render,
}

impl Kind {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Render => "render",
        }
    }

    fn of(self, photo: PhotoId) -> Work {
        match self {
            Self::Process => Work::Process { photo },
            Self::Render => Work::Render { photo },
        }
    }

    fn class(self) -> Class {
        match self {
            Self::Process => Class::Interactive,
            Self::Render => Class::Background,
        }
    }
}

/// How urgent. Each class has its turn, the earlier ones more often: see [`choose`](super::choose).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Somebody waits for it.
    Interactive,
    /// Somebody will look at the result of many.
    Bulk,
    /// Nobody waits for it.
    Background,
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Background];

    /// Its place in keys, and in [`Class::ALL`].
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Interactive => 0,
            Self::Bulk => 1,
            Self::Background => 2,
        }
    }

    /// The word in the API, in metrics and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
            Self::Background => "background",
        }
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|class| class.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no class of jobs: it is interactive, bulk or background"))
    }
}

/// Who holds a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Random, so that a holder who lost it can tell.
    pub id: LeaseId,
    /// The holder's life; when that is over, the lease is void.
    pub epoch: Epoch,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// Why, for people.
    pub error: String,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    #[serde(flatten)]
    pub work: Work,
    /// How urgent.
    pub class: Class,
    /// When it was asked for.
    pub enqueued: Timestamp,
    /// When it is due; in the future while it is leased or backs off.
    pub vesting: Timestamp,
    /// How often decoding was started, without those runs that ended for reasons not the photo's.
    pub attempts: u32,
    /// How often the process died while decoding it.
    pub deaths: u32,
    /// The epoch in which decoding was started and has not ended.
    pub decoding: Option<Epoch>,
    /// The lease under which the last attempt was counted, until that attempt is accounted for: it tells a second run
    /// of the transaction that counts from the first, and what to take back of an attempt that must not count.
    #[serde(default)]
    pub attempt: Option<LeaseId>,
    /// Attempts that were begun by nodes which lost their lease by vesting, and of which it is not known whether they
    /// killed their node. See [`claim`](super::claim).
    #[serde(default)]
    pub unsettled: Vec<Lease>,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// Whose lease had vested when the present holder took the job.
    #[serde(default)]
    pub taken_from: Option<Lease>,
    /// The lease that was given back last: tells a second run of that transaction.
    #[serde(default)]
    pub given_back: Option<LeaseId>,
    /// The operator's command that last made it due: tells a second run of that transaction.
    #[serde(default)]
    pub retried: Option<LeaseId>,
    /// How often it was interrupted for reasons not the photo's: each time it waits longer.
    #[serde(default)]
    pub interruptions: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The last failures, oldest first.
    #[serde(default)]
    pub failures: Vec<Failed>,
}

impl Job {
    /// A new job for a photo, due at `now`.
    pub fn new(id: JobId, kind: Kind, photo: PhotoId, now: Timestamp) -> Self {
        Self::untouched(id, kind.of(photo), now)
    }

    /// A job that nobody has taken yet, due at `now`.
    fn untouched(id: JobId, work: Work, now: Timestamp) -> Self {
        Self {
            id,
            class: work.kind().class(),
            work,
            enqueued: now,
            vesting: now,
            attempts: 0,
            deaths: 0,
            decoding: None,
            attempt: None,
            unsettled: Vec::new(),
            lease: None,
            taken_from: None,
            given_back: None,
            retried: None,
            interruptions: 0,
            last_error: None,
            failures: Vec::new(),
        }
    }

    /// The same job, held by `lease` until `until`.
    #[must_use]
    pub fn leased(mut self, lease: Lease, until: Timestamp) -> Self {
        self.lease = Some(lease);
        self.vesting = until;
        self
    }

    /// The same job, for this photo.
    #[must_use]
    pub fn for_photo(mut self, photo: PhotoId) -> Self {
        self.work = self.work.kind().of(photo);
        self
    }

    /// The photo that it is about, if it is about one.
    pub fn photo(&self) -> Option<PhotoId> {
        self.work.photo()
    }

    pub(super) fn is_held_by(&self, lease: LeaseId) -> bool {
        self.lease.is_some_and(|held| held.id == lease)
    }

    /// As new, but for what went wrong before, due at `now`: for a second life by an operator's command, which `by`
    /// names.
    pub(super) fn afresh(&self, now: Timestamp, by: LeaseId) -> Self {
        Self {
            class: self.class,
            enqueued: self.enqueued,
            retried: Some(by),
            last_error: self.last_error.clone(),
            failures: self.failures.clone(),
            ..Self::untouched(self.id, self.work.clone(), now)
        }
    }

    /// Notes a failure, and forgets those of long ago.
    pub(super) fn note_failure(&mut self, at: Timestamp, error: &str) {
        let error = shortened(error);
        self.last_error = Some(error.to_owned());
        self.failures.push(Failed { at, error: error.to_owned() });
        let superfluous = self.failures.len().saturating_sub(FAILURES_KEPT);
        self.failures.drain(..superfluous);
    }

    /// Keeps these attempts in doubt, the latest of them.
    pub(super) fn keep_unsettled(&mut self, mut attempts: Vec<Lease>) {
        let superfluous = attempts.len().saturating_sub(UNSETTLED_KEPT);
        attempts.drain(..superfluous);
        self.unsettled = attempts;
    }

    /// How long to wait after another interruption that is not the photo's fault: [`INTERRUPTION_PAUSE_FIRST`], doubled
    /// by each before it, at most `max`. Without a bound of its own, the photos that wait for a store would wait on for
    /// as long as it was away, after it is back.
    pub fn interruption_pause(&self, max: Duration) -> Duration {
        INTERRUPTION_PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(self.interruptions)).min(max)
    }

    /// Its row in the queue.
    pub(super) fn queue_key(&self) -> Vec<u8> {
        JOBS_BY_VESTING.key(&(self.class.number(), self.vesting.0, self.id.0))
    }

    /// Its row among those that its holder's epoch holds.
    pub(super) fn lease_key(&self) -> Option<Vec<u8>> {
        self.lease.map(|lease| JOBS_BY_EPOCH.key(&(lease.epoch.0, self.id.0)))
    }
}

/// The beginning of a reason, which may be a server's whole answer: a record with several of them must fit into a value, or
/// the job could not even be given back.
pub(super) fn shortened(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record;

    #[test]
    fn a_record_of_an_older_daemon_is_read_and_one_of_ours_is_read_by_it() {
        let (id, photo) = (JobId::new(), PhotoId::new());
        // As it was written before jobs had more than a photo to be about.
        let old = serde_json::json!({
            "id": id, "kind": "render", "photo": photo, "class": "background", "enqueued": 5, "vesting": 7,
            "attempts": 1, "deaths": 0, "decoding": null, "lease": null, "interruptions": 2, "last_error": "why"
        });
        let stored = record::encode(&old).unwrap();
        let job: Job = record::decode(b"k", &stored).unwrap();
        assert_eq!((&job.work, job.interruptions), (&Work::Render { photo }, 2));
        let written = serde_json::to_value(&job).unwrap();
        for (name, value) in old.as_object().unwrap() {
            assert_eq!(&written[name], value, "{name}");
        }
    }

    #[test]
    fn a_record_stays_small_however_often_its_job_fails() {
        let mut job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), Timestamp(0));
        for at in 0..100 {
            job.note_failure(Timestamp(at), "why");
        }
        assert_eq!(job.failures.len(), FAILURES_KEPT);
        assert_eq!(job.failures.last().map(|failed| failed.at), Some(Timestamp(99)));
    }

    #[test]
    fn a_job_with_nothing_but_long_reasons_fits_into_a_value() {
        let mut job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), Timestamp(0));
        // Of all characters these take most in JSON, and one lies across the bound.
        let reason = format!("x{}", "\u{1}é".repeat(100_000));
        for at in 0..20 {
            job.note_failure(Timestamp(at), &reason);
        }
        assert!(reason.starts_with(job.last_error.as_deref().unwrap_or_default()));
        let record = crate::model::record::encode(&job).unwrap();
        assert!(record.len() < crate::metadata::VALUE_BYTES_MAX, "{}", record.len());
    }

    #[test]
    fn interruptions_wait_longer_each_time_up_to_a_bound() {
        let mut job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), Timestamp(0));
        let max = Duration::from_secs(20);
        assert_eq!(job.interruption_pause(max), Duration::from_millis(500));
        job.interruptions = 3;
        assert_eq!(job.interruption_pause(max), Duration::from_secs(4));
        // As after a minute without the store, and as an older daemon may have left it.
        for interruptions in [6, 12, u32::MAX] {
            job.interruptions = interruptions;
            assert_eq!(job.interruption_pause(max), max);
        }
    }
}
