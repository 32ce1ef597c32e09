//! Many photos in one tar archive. Each file's outcome is a line of the answer, written as soon as it is durable or refused,
//! while the archive still arrives.
//!
//! A few files are on their way to durability at once, so that the disk's syncs of one are the next one's time to arrive. Each
//! has a lease of its own. When there is none, nothing is read from the client until there is: it streams, so it feels that as
//! a slow line, and nothing has to be sent again.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use darkroom_actors::{Body, BodyError, Lease};
use darkroom_store::model::SeriesId;
use futures_util::{FutureExt, StreamExt, stream};
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::archive::{Entries, Entry, TarError};
use super::intake::{File, Intake};
use super::item::Item;
use super::lines::{Lines, NobodyReads, lines};
use super::room::admitted;
use crate::Api;
use crate::activity::StillReading;
use crate::idempotency::Claim;
use crate::problem::Problem;
use crate::response::{self, Answer};
use crate::view::PhotoView;

/// Files of one archive on their way to durability at once.
const FILES_AT_ONCE: u32 = 8;

/// The line of one file.
#[derive(Serialize)]
struct FileLine {
    /// Which file of the archive it is, from 0: names may repeat, and lines come in the order in which files are done.
    index: u64,
    #[serde(flatten)]
    item: Item,
}

/// The last line, by which a whole answer is told from a cut one.
#[derive(Serialize)]
struct LastLine {
    totals: Totals,
    /// Why the archive was not read to its end, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// What became of the files in all.
#[derive(Clone, Copy, Default, Serialize)]
struct Totals {
    /// New photos.
    created: u64,
    /// Files whose photo was there before.
    duplicates: u64,
    /// Files that became no photo.
    refused: u64,
    /// Directories, links and the like, which have no line.
    skipped: u64,
    /// Bytes of the photos, new or not.
    bytes: u64,
}

impl Totals {
    fn add(&mut self, item: &Item) {
        match &item.photo {
            None => self.refused += 1,
            Some(photo) => {
                let count = if photo.duplicate { &mut self.duplicates } else { &mut self.created };
                *count += 1;
                self.bytes += photo.bytes;
            }
        }
    }
}

/// Takes an archive's files.
///
/// # Errors
/// When the body does not begin as an archive does, or there is no place for another one.
pub async fn take(
    api: &Api,
    first: Lease,
    intake: Intake,
    body: Body,
    claim: Claim,
) -> Result<Answer, Problem> {
    let mut entries = Entries::new(body);
    // A place is taken when the first file is there, so that a client which sends nothing holds none; and given back when
    // the last line is written.
    let begun = match entries.next().await {
        Ok(entry) => api.tar_place(&intake.caller).map(|place| (entry, place)),
        Err(error) => Err(error.into()),
    };
    let (entry, place) = match begun {
        Ok(begun) => begun,
        Err(problem) => return claim.end(Err(problem)).await,
    };
    let options = api.options();
    let (lines, written) = lines(options.tar_answer_bytes, options.tar_patience);
    // The body's own deadline comes before; then what was taken in is still told.
    let deadline = Instant::now() + options.tar_timeout + 2 * options.tar_patience;
    let desk = Arc::new(Desk { api: api.clone(), intake, lines, totals: Mutex::default() });
    let taking = Taking {
        desk,
        claim,
        entries,
        lease: Some(first),
        index: 0,
        at_once: Arc::new(Semaphore::new(FILES_AT_ONCE as usize)),
    };
    let mut answer = response::streamed("application/x-ndjson", written, deadline);
    let reading = StillReading::default();
    answer.extensions_mut().insert(reading.clone());
    tokio::spawn(async move {
        taking.run(entry).await;
        drop((place, reading));
    });
    Ok(answer)
}

/// Why an archive is not read to its end.
enum Ending {
    /// The client is told.
    Told(Problem),
    /// There is nobody to be told.
    Unheard,
}

impl From<NobodyReads> for Ending {
    fn from(_: NobodyReads) -> Self {
        Self::Unheard
    }
}

/// The reading of one archive.
struct Taking {
    desk: Arc<Desk>,
    /// Given back before the last line, so that whoever has read that finds it free.
    claim: Claim,
    entries: Entries,
    /// The request's, for its first file.
    lease: Option<Lease>,
    index: u64,
    at_once: Arc<Semaphore>,
}

impl Taking {
    async fn run(mut self, first: Option<Entry>) {
        let ending = self.files(first).await;
        // Those that are still on their way have their lines first.
        let _ = self.at_once.acquire_many(FILES_AT_ONCE).await;
        let totals = Totals { skipped: self.entries.others(), ..self.desk.totals() };
        // Where some files were refused, the same request may be sent again for them.
        let _ = self.claim.end(Ok(response::empty(StatusCode::OK))).await;
        let problem = match ending {
            Ok(()) => None,
            Err(Ending::Told(problem)) => Some(problem),
            Err(Ending::Unheard) => {
                tracing::debug!(
                    files = self.index,
                    "the sender of an archive reads no answer; it was given up"
                );
                return;
            }
        };
        // Nobody may be there to be told.
        let _ = self.desk.lines.write(&LastLine { totals, problem }).await;
    }

    async fn files(&mut self, first: Option<Entry>) -> Result<(), Ending> {
        let mut next = first;
        while let Some(entry) = next {
            let max = self.desk.api.options().tar_entries_max;
            if self.index >= max {
                let detail =
                    format!("only the first {max} files were taken; send the rest as another archive");
                return Err(Ending::Told(Problem::new("too-many-parts", detail)));
            }
            self.file(entry).await?;
            self.index += 1;
            next = self.entries.next().await.map_err(|error| Ending::Told(error.into()))?;
        }
        Ok(())
    }

    /// Hands a file's bytes on, and does not wait for what becomes of it. What is refused is passed over.
    async fn file(&mut self, entry: Entry) -> Result<(), Ending> {
        let Ok(place) = self.at_once.clone().acquire_owned().await else {
            return Err(Ending::Unheard); // Never closed.
        };
        if self.desk.lines.are_over() {
            return Err(Ending::Unheard);
        }
        let lease = match self.lease(&entry).await {
            Ok(lease) => lease,
            Err(problem) if problem.is("draining") => return Err(Ending::Told(problem)),
            Err(problem) => return Ok(self.desk.tell(self.index, entry.path, Err(problem)).await?),
        };
        let (pieces, arriving) = mpsc::channel(1);
        let (desk, index, kept) = (self.desk.clone(), self.index, self.claim.photo(self.index));
        tokio::spawn(async move {
            let file =
                File { name: Some(entry.path), declared_type: None, body: content(arriving, entry.size) };
            desk.take(lease, index, file, kept).await;
            drop(place);
        });
        self.hand_on(&pieces).await
    }

    async fn hand_on(&mut self, pieces: &mpsc::Sender<Result<Bytes, BodyError>>) -> Result<(), Ending> {
        loop {
            match self.entries.piece().await {
                Ok(Some(piece)) => {
                    if pieces.send(Ok(piece)).await.is_err() {
                        return Ok(()); // Refused before its end.
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    // The last line says it in full.
                    let _ = pieces.send(Err(BodyError::Broken(format!("its archive did: {error}")))).await;
                    return Err(Ending::Told(TarError::Body(error).into()));
                }
            }
        }
    }

    /// A lease for a file that can be a photo.
    async fn lease(&mut self, entry: &Entry) -> Result<Lease, Problem> {
        if let Some(why) = entry.unsupported {
            let detail = format!("{:?} {why}: pack it as an ordinary file, with a shorter path", entry.path);
            return Err(Problem::new("tar-entry-unsupported", detail));
        }
        let limit = self.desk.api.pipeline().options().upload_bytes_max;
        if entry.size > limit {
            return Err(BodyError::TooLarge { limit }.into());
        }
        match self.lease.take() {
            Some(lease) => Ok(lease),
            None => admitted(&self.desk.api, &self.desk.intake.caller, Some(entry.size)).await,
        }
    }
}

/// What all files of an archive share.
struct Desk {
    api: Api,
    intake: Intake,
    lines: Lines,
    totals: Mutex<Totals>,
}

impl Desk {
    async fn take(&self, lease: Lease, index: u64, file: File, kept: Option<(SeriesId, u64)>) {
        let name = file.name.clone().unwrap_or_default();
        let taking = self.intake.take_in_place(&self.api, lease, file, kept);
        let taken = AssertUnwindSafe(taking).catch_unwind().await;
        let result = taken.unwrap_or_else(|_| {
            // The panic hook has logged it.
            Err(Problem::new("internal-error", "a bug of the daemon's own; its log says where"))
        });
        // That nobody reads is found by whoever reads the archive.
        let _ = self.tell(index, name, result).await;
    }

    async fn tell(
        &self,
        index: u64,
        name: String,
        result: Result<PhotoView, Problem>,
    ) -> Result<(), NobodyReads> {
        let item = Item::new(name, result);
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).add(&item);
        self.lines.write(&FileLine { index, item }).await
    }

    fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file's bytes as they are handed on. Should nobody hand them on any more, that is not their end.
fn content(arriving: mpsc::Receiver<Result<Bytes, BodyError>>, size: u64) -> Body {
    stream::unfold((arriving, size), |(mut arriving, left)| async move {
        if left == 0 {
            return None;
        }
        match arriving.recv().await {
            Some(Ok(bytes)) => {
                let left = left.saturating_sub(bytes.len() as u64);
                Some((Ok(bytes), (arriving, left)))
            }
            Some(Err(error)) => Some((Err(error), (arriving, 0))),
            None => Some((
                Err(BodyError::Broken("the archive is not read any further".to_owned())),
                (arriving, 0),
            )),
        }
    })
    .boxed()
}
