//! Asks the daemon which of the files it has, in groups.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use anyhow::{Context, bail};
use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::ask::Asker;
use super::digest::Hashed;
use super::ledger::{Event, Outcome};
use super::patience::{GaveUp, Problem, Reason};
use super::sender::Needed;
use super::stop::Why;
use super::walk::Found;

/// Files that are asked about at once: as many as the daemon takes.
pub(super) const GROUP_MAX: usize = 1000;

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
    /// The first file with each content.
    first: HashMap<blake3::Hash, usize>,
}

impl Checker {
    pub(super) fn new(
        asker: Asker,
        files: Arc<Vec<Found>>,
        batch: String,
        events: mpsc::Sender<Event>,
        needed: Option<mpsc::Sender<Needed>>,
    ) -> Self {
        Self { asker, files, batch, events, needed, first: HashMap::new() }
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
                count = hashed.recv_many(&mut group, GROUP_MAX) => count,
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
            match self.first.entry(file.hash) {
                Entry::Occupied(first) => {
                    let outcome = Outcome::SameAs(*first.get());
                    self.tell(file.index, outcome).await?;
                }
                Entry::Vacant(place) => {
                    place.insert(file.index);
                    asked.push(file);
                }
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let items = match ask(&self.asker, &self.files, &self.batch, &asked).await {
            Ok(items) => items,
            Err(GaveUp::Stopped) => return Ok(()),
            Err(GaveUp::Refused(reason) | GaveUp::Failed(reason)) => {
                bail!("the daemon could not be asked what it has: {reason}")
            }
        };
        for (file, item) in asked.into_iter().zip(items) {
            self.sort(file, item).await?;
        }
        Ok(())
    }

    async fn sort(&self, file: Hashed, item: ReplyItem) -> anyhow::Result<()> {
        match (item, &self.needed) {
            (ReplyItem::Have { photo }, _) => self.tell(file.index, Outcome::Have { photo }).await,
            (ReplyItem::Refused { problem }, _) => {
                let reason = Reason::from(problem);
                if reason.is_of_batch() {
                    bail!("the batch takes nothing more: {reason}");
                }
                self.tell(file.index, Outcome::Refused(reason)).await
            }
            (ReplyItem::Need { offset, .. }, None) => {
                self.tell(file.index, Outcome::Need { offset: offset.unwrap_or(0) }).await
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

    async fn tell(&self, index: usize, outcome: Outcome) -> anyhow::Result<()> {
        self.events.send(Event::settled(index, outcome)).await.context("nobody keeps account any more")
    }
}
