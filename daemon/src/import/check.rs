//! Asks the daemon which of the files it has, in groups.

use std::sync::Arc;

use anyhow::bail;
use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::ask::Asker;
use super::digest::Hashed;
use super::ledger::{Event, Outcome};
use super::patience::{GaveUp, Problem, Reason};
use super::sender::Needed;
use super::stop::Why;
use super::twins::{Met, Twins};
use super::walk::Found;

/// Files that are asked about at once: as many as a daemon takes by default. One that takes fewer is asked about fewer.
const GROUP_MAX: usize = 1000;

#[derive(Serialize)]
struct Question<'q> {
    items: Vec<QuestionItem<'q>>,
}

#[derive(Serialize)]
struct QuestionItem<'q> {
    blake3: String,
    bytes: u64,
    name: std::borrow::Cow<'q, str>,
}

#[derive(Deserialize)]
struct Reply {
    items: Vec<ReplyItem>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum ReplyItem {
    Have { photo: Option<String> },
    Need { upload: Option<String>, offset: Option<u64> },
    Refused { problem: Problem },
}

/// Asks about some files; the answers are in their order.
///
/// # Errors
/// Why there are none.
async fn ask(
    asker: &Asker,
    files: &[Found],
    batch: &str,
    asked: &[Hashed],
) -> Result<Vec<ReplyItem>, GaveUp> {
    let items = asked.iter().map(|file| QuestionItem {
        blake3: file.hash.to_hex().to_string(),
        bytes: file.state.bytes,
        name: files[file.index].path.file_name().unwrap_or_default().to_string_lossy(),
    });
    let question = Question { items: items.collect() };
    let path = format!("/v1/batches/{batch}/check");
    let answer = asker.ask(Method::POST, &path, Some(&question)).await?;
    let failed = |detail: String| GaveUp::Failed(Reason::local(detail));
    let reply: Reply = serde_json::from_slice(&answer.body)
        .map_err(|error| failed(format!("the answer of a check is not understood: {error}")))?;
    if reply.items.len() != asked.len() {
        let (told, asked) = (reply.items.len(), asked.len());
        return Err(failed(format!("it answered for {told} files, and {asked} were asked about")));
    }
    Ok(reply.items)
}

/// The photo with the bytes of a file, if there is one by now.
///
/// # Errors
/// Why that cannot be known.
pub(super) async fn photo_of(
    asker: &Asker,
    files: &[Found],
    batch: &str,
    file: &Hashed,
) -> Result<Option<String>, GaveUp> {
    let items = ask(asker, files, batch, std::slice::from_ref(file)).await?;
    Ok(items.into_iter().find_map(|item| match item {
        ReplyItem::Have { photo } => photo,
        _ => None,
    }))
}

/// Asks about files, and gives on what is needed.
pub(super) struct Checker {
    pub(super) asker: Asker,
    pub(super) files: Arc<Vec<Found>>,
    pub(super) batch: String,
    pub(super) events: mpsc::Sender<Event>,
    /// Where needed files go; nowhere, if nothing is to be sent.
    pub(super) needed: Option<mpsc::Sender<Needed>>,
    pub(super) twins: Arc<Twins>,
    /// Files that are asked about at once.
    group_max: usize,
}

impl Checker {
    pub(super) fn new(
        asker: Asker,
        files: Arc<Vec<Found>>,
        batch: String,
        events: mpsc::Sender<Event>,
        needed: Option<mpsc::Sender<Needed>>,
        twins: Arc<Twins>,
    ) -> Self {
        Self { asker, files, batch, events, needed, twins, group_max: GROUP_MAX }
    }

    /// Asks about all that comes, until nothing comes any more or the import ends.
    pub(super) async fn run(mut self, mut hashed: mpsc::Receiver<Hashed>) {
        let stop = self.asker.stop.clone();
        loop {
            // As many as are there: while an answer is on its way, the next group gathers.
            let mut group = Vec::new();
            let count = tokio::select! {
                biased;
                () = stop.asked() => return,
                count = hashed.recv_many(&mut group, self.group_max) => count,
            };
            if count == 0 {
                return;
            }
            if let Err(error) = self.group(group).await {
                stop.because(Why::Hopeless(format!("{error:#}")));
                return;
            }
        }
    }

    async fn group(&mut self, group: Vec<Hashed>) -> anyhow::Result<()> {
        let mut asked = Vec::with_capacity(group.len());
        for file in group {
            let index = file.index;
            match self.twins.meet(file) {
                Met::First(file) => asked.push(file),
                Met::Waits => {}
                Met::SameAs(first) => {
                    self.events.send(Event::settled(index, Outcome::SameAs(first))).await?;
                }
            }
        }
        while !asked.is_empty() {
            let rest = asked.split_off(self.group_max.min(asked.len()));
            let items = match ask(&self.asker, &self.files, &self.batch, &asked).await {
                Ok(items) => items,
                Err(GaveUp::Stopped) => return Ok(()),
                Err(GaveUp::Refused(reason)) if asked.len() > 1 && is_too_much(&reason) => {
                    self.group_max = asked.len() / 2;
                    asked.extend(rest);
                    continue;
                }
                Err(GaveUp::Refused(reason) | GaveUp::Failed(reason)) => {
                    bail!("the daemon could not be asked what it has: {reason}")
                }
            };
            for (file, item) in std::mem::replace(&mut asked, rest).into_iter().zip(items) {
                self.sort(file, item).await?;
            }
        }
        Ok(())
    }

    async fn sort(&self, file: Hashed, item: ReplyItem) -> anyhow::Result<()> {
        match (item, &self.needed) {
            (ReplyItem::Have { photo }, _) => self.tell(&file, Outcome::Have { photo }).await,
            (ReplyItem::Refused { problem }, _) => {
                let reason = Reason::from(problem);
                if reason.is_of_batch() {
                    bail!("the batch takes nothing more: {reason}");
                }
                self.tell(&file, Outcome::Refused(reason)).await
            }
            (ReplyItem::Need { offset, .. }, None) => {
                self.tell(&file, Outcome::Need { offset: offset.unwrap_or(0) }).await
            }
            (ReplyItem::Need { upload, .. }, Some(needed)) => {
                // It is told as a path.
                let upload = upload.and_then(|path| path.rsplit('/').next().map(ToOwned::to_owned));
                // Senders that have ended take no more, because the import ends.
                let _ = needed.send(Needed { file, upload }).await;
                Ok(())
            }
        }
    }

    async fn tell(&self, file: &Hashed, outcome: Outcome) -> anyhow::Result<()> {
        // Nothing was read, so that none has to take its place.
        self.twins.settle((file.index, file.hash), outcome, &self.events).await?;
        Ok(())
    }
}

/// The question was too long: shorter ones may do.
fn is_too_much(reason: &Reason) -> bool {
    reason.is("too-many-items") || reason.is("body-too-large")
}
