//! For the operator: what is in the durable queue, and what was given up.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::jobs::{self, Dropped, Entry, Retried, Wanted};
use darkroom_store::model::{JobId, Timestamp};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};
use crate::view::rfc3339;

/// Jobs of a page that does not say how many it wants.
const LIMIT_DEFAULT: usize = 50;
/// Jobs of a page at most.
pub const LIMIT_MAX: usize = 200;

/// A job as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// `process` or `render`.
    pub kind: String,
    /// The photo that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
    /// `interactive`, `bulk` or `background`.
    pub class: String,
    /// `due`, `leased`, `waiting` (it backs off), or `dead` (it was given up).
    pub state: String,
    /// When it was asked for, RFC 3339.
    pub enqueued_at: String,
    /// When it is due, or when its lease runs out; for a dead one, when it was last due. RFC 3339.
    pub due_at: String,
    /// Attempts that count.
    pub attempts: u32,
    /// How often a process died while decoding it.
    pub deaths: u32,
    /// How often it was interrupted for reasons not its own.
    pub interruptions: u32,
    /// The epoch of the node that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by_epoch: Option<u64>,
    /// The last failures, oldest first.
    #[serde(default)]
    pub failures: Vec<FailedView>,
    /// Why it was given up, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadView>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedView {
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub error: String,
}

/// Why a job was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadView {
    /// When, RFC 3339.
    pub at: String,
    /// Stable, kebab-case.
    pub code: String,
    /// For people.
    pub detail: String,
}

impl JobView {
    /// As it stands at `now`.
    pub fn new(entry: &Entry, now: Timestamp) -> Self {
        let job = entry.job();
        let failures = job.failures.iter();
        Self {
            id: job.id.to_string(),
            kind: job.work.kind().as_str().to_owned(),
            photo: job.photo().map(|photo| photo.to_string()),
            class: job.class.as_str().to_owned(),
            state: entry.standing(now).as_str().to_owned(),
            enqueued_at: rfc3339(job.enqueued),
            due_at: rfc3339(job.vesting),
            attempts: job.attempts,
            deaths: job.deaths,
            interruptions: job.interruptions,
            held_by_epoch: match entry {
                Entry::Live(job) => job.lease.map(|lease| lease.epoch.0),
                Entry::Dead(_) => None,
            },
            failures: failures
                .map(|failed| FailedView { at: rfc3339(failed.at), error: failed.error.clone() })
                .collect(),
            dead: match entry {
                Entry::Live(_) => None,
                Entry::Dead(letter) => Some(DeadView {
                    at: rfc3339(letter.died),
                    code: letter.code.clone(),
                    detail: letter.detail.clone(),
                }),
            },
        }
    }
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPage {
    /// Those that live by class and by when they are due, then those that were given up, the oldest first.
    pub items: Vec<JobView>,
    /// Where the next page begins. A page may be short, or empty, and there is a next one all the same.
    pub next: Option<String>,
}

/// The jobs that are `wanted`, from the store itself.
///
/// # Errors
/// Those of the store.
pub async fn page(metadata: &Metadata, wanted: &Wanted) -> Result<JobPage, StoreError> {
    let now = Timestamp::now();
    let page = metadata.read("list jobs", |tx| async move { jobs::list(&tx, wanted, now).await }).await?;
    Ok(JobPage {
        items: page.entries.iter().map(|entry| JobView::new(entry, now)).collect(),
        next: page.next.map(|key| to_hex(&key)),
    })
}

/// The job, or the letter of one that was given up, from the store itself.
///
/// # Errors
/// Those of the store.
pub async fn find(metadata: &Metadata, id: JobId) -> Result<Option<Entry>, StoreError> {
    metadata.read("show job", |tx| async move { jobs::show(&tx, id).await }).await
}

/// What a query asks for: `class`, `state`, `limit`, `cursor`.
///
/// # Errors
/// `invalid-parameter`.
pub fn wanted(query: Option<&str>) -> Result<Wanted, Problem> {
    let query = Query::parse(query, &["class", "state", "limit", "cursor"])?;
    let invalid = |detail: String| Problem::new("invalid-parameter", detail);
    Ok(Wanted {
        class: query.get("class").map(str::parse).transpose().map_err(invalid)?,
        standing: query.get("state").map(str::parse).transpose().map_err(invalid)?,
        limit: match query.get("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => limit,
                _ => return Err(invalid(format!("limit={text:?} is not a number from 1 to {LIMIT_MAX}"))),
            },
        },
        after: match query.get("cursor") {
            None => None,
            Some(text) => Some(from_hex(text).ok_or_else(|| {
                invalid("the cursor is damaged: take it from `next` of the page before".to_owned())
            })?),
        },
    })
}

/// `GET /v1/admin/jobs`.
///
/// # Errors
/// `invalid-parameter`, and those of the store.
pub async fn list(api: &Api, query: Option<&str>) -> Result<Answer, Problem> {
    let wanted = wanted(query)?;
    let page = page(api.pipeline().metadata(), &wanted).await?;
    Ok(response::json(StatusCode::OK, &page))
}

/// `GET /v1/admin/jobs/{id}`.
///
/// # Errors
/// `job-not-found`, and those of the store.
pub async fn show(api: &Api, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let entry = load(api, id).await?;
    Ok(response::json(StatusCode::OK, &JobView::new(&entry, Timestamp::now())))
}

async fn load(api: &Api, id: &str) -> Result<Entry, Problem> {
    // What is no id is no job's.
    let parsed: JobId = id.parse().map_err(|_| Problem::job_not_found(id))?;
    let found = find(api.pipeline().metadata(), parsed).await?;
    found.ok_or_else(|| Problem::job_not_found(id))
}

/// `POST /v1/admin/jobs/{id}/retry`: the job is due now, and its photo, if it had failed, is being processed again.
///
/// # Errors
/// `job-not-found`, `job-held`, `job-not-needed`, and those of the store.
pub async fn retry(api: &Api, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let entry = load(api, id).await?;
    let retried = api.pipeline().retry_job(entry.job().id).await?;
    let job = due_job(retried, id)?;
    Ok(response::json(StatusCode::OK, &JobView::new(&job, Timestamp::now())))
}

/// The job, if it is due now.
///
/// # Errors
/// Why not.
pub fn due_job(retried: Retried, id: &str) -> Result<Entry, Problem> {
    match retried {
        Retried::Due(job) => Ok(Entry::Live(job)),
        Retried::Held(job) => {
            let epoch = job.lease.map_or(0, |lease| lease.epoch.0);
            let detail =
                format!("the node of epoch {epoch} is working on job {id}: there is nothing to retry yet");
            Err(Problem::new("job-held", detail))
        }
        Retried::Unneeded => Err(Problem::new(
            "job-not-needed",
            format!(
                "what job {id} was to do is no longer wanted: its photo was deleted, uploaded again, or is being \
                 worked on; drop the job to be rid of it"
            ),
        )),
        Retried::NotFound => Err(Problem::job_not_found(id)),
    }
}

/// `DELETE /v1/admin/jobs/{id}`: the job is gone; a photo that was to be processed ends `failed`.
///
/// # Errors
/// `job-not-found`, and those of the store.
pub async fn delete(api: &Api, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let entry = load(api, id).await?;
    match api.pipeline().drop_job(&entry).await? {
        Dropped::Done => Ok(response::empty(StatusCode::NO_CONTENT)),
        Dropped::NotFound => Err(Problem::job_not_found(id)),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Longest key that a cursor holds: rows of the queue are shorter.
const CURSOR_BYTES_MAX: usize = 64;

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > 2 * CURSOR_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form_and_a_damaged_one_is_refused() {
        let key = vec![0x31, 0, 0xFF, 7];
        assert_eq!(from_hex(&to_hex(&key)), Some(key));
        for damaged in ["1", "zz", "é1", &"00".repeat(CURSOR_BYTES_MAX + 1)] {
            assert_eq!(from_hex(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_query_that_asks_for_what_there_is_not_is_refused_by_name() {
        for (query, word) in
            [("class=urgent", "urgent"), ("state=lost", "lost"), ("limit=0", "limit"), ("page=2", "page")]
        {
            let problem = wanted(Some(query)).unwrap_err();
            assert!(problem.is("invalid-parameter") && problem.detail.contains(word), "{}", problem.detail);
        }
        let fine = wanted(Some("class=bulk&state=dead&limit=7")).unwrap();
        assert_eq!((fine.limit, fine.class.is_some(), fine.standing.is_some()), (7, true, true));
    }
}
