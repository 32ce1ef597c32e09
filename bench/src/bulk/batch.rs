//! One batch on the server.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::StatusCode;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::connection::Target;
use crate::upload::load::{Line, Uploaded};

/// Between two looks at the counts.
const LOOK: Duration = Duration::from_millis(200);

/// A batch that is open.
pub(super) struct Batch {
    pub(super) id: String,
}

/// What the server tells of it.
#[derive(Debug, Clone, Deserialize)]
struct Record {
    id: String,
    #[serde(default)]
    counts: Counts,
    #[serde(default)]
    bytes: u64,
}

/// How many of its files are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) processing: u64,
    pub(super) ready: u64,
    pub(super) failed: u64,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
}

/// What it counted in the end.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Counted {
    pub(super) counts: Counts,
    pub(super) bytes: u64,
}

impl Batch {
    /// A new one, for so many photos.
    pub(super) async fn open(target: &Target, photos: u64) -> anyhow::Result<Self> {
        let json = serde_json::json!({ "name": "darkroom-bench bulk", "expected": photos }).to_string();
        let mut connection =
            target.connect().await.with_context(|| format!("cannot reach {}", target.authority()))?;
        let answer = connection.post_json("/v1/batches", Bytes::from(json)).await?;
        if answer.status != StatusCode::CREATED {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            bail!("no batch could be opened: {}: {body}", answer.status);
        }
        let record: Record = serde_json::from_slice(&answer.body).context("the batch has no id")?;
        Ok(Self { id: record.id })
    }

    /// Its counts once nothing is being processed any more and it knows of all that was acknowledged, or after `longest`.
    pub(super) async fn follow(
        &self,
        target: &Target,
        uploaded: &Uploaded,
        longest: Duration,
        bar: &ProgressBar,
    ) -> anyhow::Result<Counted> {
        let (began, mut line) = (Instant::now(), Line::default());
        loop {
            let found = self.look(target, &mut line).await;
            if found.is_err() {
                line.close();
            }
            if let Ok(Record { counts, bytes, .. }) = found {
                bar.set_position(counts.ready + counts.failed);
                let acknowledged = uploaded.created + uploaded.duplicates;
                let is_over = began.elapsed() >= longest;
                if is_over || (counts.processing == 0 && counts.received >= acknowledged) {
                    return Ok(Counted { counts, bytes });
                }
            } else if began.elapsed() >= longest {
                return found.map(|record| Counted { counts: record.counts, bytes: record.bytes });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self, target: &Target, line: &mut Line) -> anyhow::Result<Record> {
        let answer = line.open(target).await?.get(&format!("/v1/batches/{}", self.id)).await?;
        if answer.status != StatusCode::OK {
            bail!("the batch is not told: {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }
}
