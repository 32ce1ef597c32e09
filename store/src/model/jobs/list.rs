//! What an operator sees: jobs and letters, page by page.

use std::str::FromStr;

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::{DEAD_JOBS_BY_DEATH, JOBS_BY_VESTING};
use crate::model::{JobId, Timestamp};

use super::queue::{due_range, get};
use super::{Class, DeadJob, Job, dead};

/// Rows read for one page at most, so that looking for the few held jobs among many that back off stays one short
/// transaction; the page then ends early, with a cursor.
const ROWS_MAX: usize = 1000;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// To be taken by the next node that has room.
    Due,
    /// A node holds it.
    Leased,
    /// It backs off until later.
    Waiting,
    /// It was given up.
    Dead,
}

impl Standing {
    /// Every standing, in the order of a page.
    pub const ALL: [Self; 4] = [Self::Due, Self::Leased, Self::Waiting, Self::Dead];

    /// Where a live job stands at `now`.
    pub fn of(job: &Job, now: Timestamp) -> Self {
        match job.lease {
            _ if job.vesting <= now => Self::Due,
            Some(_) => Self::Leased,
            None => Self::Waiting,
        }
    }

    /// The word in the API and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for Standing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|standing| standing.as_str() == text);
        known.ok_or_else(|| format!("{text:?} is no state of jobs: it is due, leased, waiting or dead"))
    }
}

/// A job that lives, or the letter of one that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It lives.
    Live(Job),
    /// It was given up.
    Dead(DeadJob),
}

impl Entry {
    /// The job.
    pub fn job(&self) -> &Job {
        match self {
            Self::Live(job) => job,
            Self::Dead(letter) => &letter.job,
        }
    }

    /// Where it stands at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self {
            Self::Live(job) => Standing::of(job, now),
            Self::Dead(_) => Standing::Dead,
        }
    }
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only of this class.
    pub class: Option<Class>,
    /// Only those that stand so.
    pub standing: Option<Standing>,
    /// After this row: a page's [`Page::next`].
    pub after: Option<Vec<u8>>,
    /// At most so many.
    pub limit: usize,
}

/// Some jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Those that live by class and then by vesting time, then letters, the oldest first.
    pub entries: Vec<Entry>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Vec<u8>>,
}

/// The job or the letter with this id.
///
/// # Errors
/// Those of the engine.
pub async fn show(tx: &Transaction, id: JobId) -> Result<Option<Entry>, StoreError> {
    match get(tx, id).await? {
        Some(job) => Ok(Some(Entry::Live(job))),
        None => Ok(dead(tx, id).await?.map(Entry::Dead)),
    }
}

/// A page of jobs.
///
/// # Errors
/// Those of the engine.
pub async fn list(tx: &Transaction, wanted: &Wanted, now: Timestamp) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let mut rows_left = ROWS_MAX;
    for mut range in ranges(wanted, now) {
        if let Some(after) = &wanted.after {
            range = range.after(after);
        }
        if range.is_empty() {
            continue;
        }
        let rows = tx.get_range(&range, RangeOptions::first(rows_left + 1).snapshot()).await?;
        for (index, (key, _)) in rows.iter().enumerate() {
            let full = page.entries.len() == wanted.limit || index == rows_left;
            if full && page.next.is_some() {
                return Ok(page);
            }
            page.next = Some(key.clone());
            match entry(tx, key).await {
                Ok(entry) => page.entries.extend(entry.filter(|entry| fits(entry, wanted, now))),
                // One record that cannot be read must not hide those behind it.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "a job's record cannot be read; it is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        rows_left = rows_left.saturating_sub(rows.len());
    }
    page.next = None;
    Ok(page)
}

/// The rows to look through, in order.
fn ranges(wanted: &Wanted, now: Timestamp) -> Vec<KeyRange> {
    let mut ranges = Vec::new();
    for class in Class::ALL.into_iter().filter(|class| wanted.class.is_none_or(|wanted| wanted == *class)) {
        let due = due_range(class, now);
        let end = JOBS_BY_VESTING.range(&(class.number(),)).end;
        ranges.extend(match wanted.standing {
            None => Some(KeyRange::new(due.begin, end)),
            Some(Standing::Due) => Some(due),
            Some(Standing::Leased | Standing::Waiting) => Some(KeyRange::new(due.end, end)),
            Some(Standing::Dead) => None,
        });
    }
    if wanted.standing.is_none_or(|standing| standing == Standing::Dead) {
        ranges.push(DEAD_JOBS_BY_DEATH.all());
    }
    ranges
}

async fn entry(tx: &Transaction, row: &[u8]) -> Result<Option<Entry>, StoreError> {
    if DEAD_JOBS_BY_DEATH.all().contains(row) {
        let (_, id) = DEAD_JOBS_BY_DEATH.unpack::<(u64, uuid::Uuid)>(row)?;
        return Ok(dead(tx, JobId(id)).await?.map(Entry::Dead));
    }
    let (_, _, id) = JOBS_BY_VESTING.unpack::<(u64, u64, uuid::Uuid)>(row)?;
    Ok(get(tx, JobId(id)).await?.map(Entry::Live))
}

fn fits(entry: &Entry, wanted: &Wanted, now: Timestamp) -> bool {
    wanted.class.is_none_or(|class| class == entry.job().class)
        && wanted.standing.is_none_or(|standing| standing == entry.standing(now))
}
