//! Resumable uploads: what each request brings becomes durable pieces, and at the end all of them a photo.
//!
//! - [`options`](UploadOptions): what can be set.
//! - `registry`: which requests of this process have an upload in hand.
//! - `receive`: what one request adds. `fold`: when small pieces are made one.
//! - `reader`: the pieces as one stream, for the Ingestor.
//!
//! What is promised rests on the records alone (`store/src/model/uploads`): any node goes on where another stopped.

mod fold;
mod options;
mod reader;
mod receive;
mod registry;

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::idempotency::UploadKey;
use darkroom_store::model::jobs::Lease as Holding;
use darkroom_store::model::uploads::{
    self, Due, End, Ended, Ending, Join, Joined, Kind, NotBegun, State, Swept, Taken, Upload as Record, Usage,
};
use darkroom_store::model::{LeaseId, OwnerId, Timestamp, UploadId, photos};

use crate::error::{BodyError, IngestError};
use crate::faults::Point;
use crate::permits::Lease;
use crate::stages::ingestor::{Body, Ingested, Upload};
use crate::{Pipeline, uploads::reader::Broken};

pub use options::UploadOptions;
use reader::PieceReader;
pub use receive::Held;
pub(crate) use registry::Registry;

/// Pieces buried in one transaction.
const BURIED_AT_ONCE: usize = 200;
/// Uploads looked at in one transaction of the Janitor.
const DUE_AT_ONCE: usize = 100;
/// How often somebody who waits for another request's photo looks whether there is one, if that request came to nothing.
const FINISHES_MAX: u32 = 3;

/// What compares the bytes of a request with what was announced of them.
pub trait Check: Send {
    /// Takes bytes as they come.
    fn update(&mut self, bytes: &[u8]);
    /// What is wrong with them, if they were not those that the client meant.
    fn mismatch(self: Box<Self>) -> Option<BodyError>;
}

/// When no more bytes are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// When as many are there as were announced.
    AtLength,
    /// When this request's are there.
    Yes,
    /// Not after this request.
    No,
}

/// What one request adds.
pub struct Chunk {
    /// The bytes.
    pub body: Body,
    /// How many they are, if the request says so.
    pub bytes: Option<u64>,
    /// Their digests: nothing is kept before they were compared.
    pub check: Option<Box<dyn Check>>,
    /// The length of the whole, if it has become known.
    pub length: Option<u64>,
    /// Whether they are the last.
    pub last: Last,
}

/// Why a request did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The bytes are no photo that can be processed: the upload is to be refused.
    #[error(transparent)]
    Refused(Box<IngestError>),
    /// More came than the upload may have. What came before may be the upload's.
    #[error("more than {limit} bytes came")]
    TooLong {
        /// What it may have.
        limit: u64,
    },
    /// It lies in as many pieces as may be. What came before is the upload's, which is as it is told here.
    #[error("the upload lies in too many pieces")]
    TooManyPieces(Box<Record>),
    /// The client says that there are no more bytes, and there are not as many as it announced. They are the upload's, which
    /// is as it is told here, and not complete.
    #[error("the upload has {} bytes, and another number was announced", .0.offset)]
    OtherLength(Box<Record>),
    /// The bytes are not those that a digest announced; none of them were kept.
    #[error(transparent)]
    OtherBytes(BodyError),
    /// The body broke off. What came is the upload's, which is as it is told here.
    #[error("{1}")]
    Cut(Box<Record>, BodyError),
    /// A later request has the upload now, or the daemon ends. What came is the upload's.
    #[error("the request was stopped")]
    Stopped(Box<Record>),
    /// A later request has the upload now, perhaps at another node. What was not committed is nobody's.
    #[error("another request has taken the upload over")]
    LeaseLost,
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an upload cannot be appended to.
#[derive(Debug)]
pub enum NotHeld {
    /// It does not stand where the client believes.
    Elsewhere(Record),
    /// Nothing can be added to it any more, or never could.
    Closed(Record),
    /// There is none, or none of this owner.
    Missing,
    /// The store could not tell.
    Store(StoreError),
}

impl Pipeline {
    /// Makes an upload durable that has no bytes yet, or finds the one that an earlier attempt at the same request under a
    /// key has begun, as it is now.
    ///
    /// # Errors
    /// Those of the engine; inside, why it may not begin.
    pub async fn begin_upload(
        &self,
        owner: OwnerId,
        kind: Kind,
        length: Option<u64>,
        wishes: uploads::Wishes,
        key: Option<UploadKey>,
    ) -> Result<Result<Record, NotBegun>, StoreError> {
        let record = &self.new_upload(owner, kind, length, wishes);
        let (limits, key) = (&self.options().uploads.limits, key.as_ref());
        let create = |tx| async move { uploads::create(&tx, record, limits, key).await };
        let begun = self.metadata().transact("create upload", create).await?;
        self.house().faults.pass(Point::UploadBegun, 0);
        Ok(begun)
    }

    fn new_upload(&self, owner: OwnerId, kind: Kind, length: Option<u64>, wishes: uploads::Wishes) -> Record {
        let now = Timestamp::now();
        let expires = now.after(self.options().uploads.expire_empty);
        // A length that is not told may be any.
        let reserved = length.unwrap_or(self.options().upload_bytes_max);
        Record {
            id: UploadId::new(),
            owner,
            kind,
            state: State::Open,
            length,
            offset: 0,
            reserved,
            pieces: 0,
            recognized: false,
            wishes,
            created: now,
            updated: now,
            expires,
            look: expires,
            lease: None,
            released_by: None,
        }
    }

    /// Makes one upload out of many partial ones, or finds the one that an earlier attempt has made. It is to be finished
    /// then.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn join_uploads(
        &self,
        owner: OwnerId,
        parts: Vec<UploadId>,
        wishes: uploads::Wishes,
        key: Option<UploadKey>,
    ) -> Result<Joined, StoreError> {
        let key = key.as_ref();
        let whole = &self.new_upload(owner, Kind::Final { parts }, None, wishes);
        let options = self.options();
        let keep_to = &Join {
            bytes_max: options.upload_bytes_max,
            pieces_max: options.uploads.pieces_max,
            parts_expire: whole.created.after(options.uploads.keep),
        };
        let join = |tx| async move { uploads::join(&tx, whole, keep_to, key).await };
        let joined = self.metadata().transact("join uploads", join).await?;
        if let (Joined::Done(made), Kind::Final { parts }) = (&joined, &whole.kind)
            && made.id == whole.id
        {
            note_ended("joined", parts.len() as u64);
        }
        Ok(joined)
    }

    /// The upload as it is now. Whoever appends to it goes on.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn upload(&self, id: UploadId, owner: &OwnerId) -> Result<Option<Record>, StoreError> {
        let found =
            self.metadata().read("read upload", |tx| async move { uploads::get(&tx, id).await }).await?;
        Ok(found.filter(|upload| upload.owner == *owner && upload.state != State::Terminated))
    }

    /// The upload at an offset that stays: whoever appends to it is stopped, and what came is committed first.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn upload_at_rest(&self, id: UploadId, owner: &OwnerId) -> Result<Option<Record>, StoreError> {
        self.stop_appending(id, owner, None).await?;
        let found = self.upload(id, owner).await?;
        if found.as_ref().is_none_or(|upload| upload.lease.is_none()) {
            return Ok(found);
        }
        let release = |tx| async move { uploads::release(&tx, id).await };
        self.metadata().transact("take lease of upload away", release).await
    }

    /// Has the request end, within a bound, that adds bytes on this node. Whatever it does after that, its lease is lost.
    /// Nobody is stopped for a stranger, nor for one who would go on `from` where the upload stands no more.
    async fn stop_appending(
        &self,
        id: UploadId,
        owner: &OwnerId,
        from: Option<u64>,
    ) -> Result<(), StoreError> {
        let works = self.uploads().appending(id);
        if works.is_empty() {
            return Ok(());
        }
        let found = self.upload(id, owner).await?;
        // One who is ahead of it may be so by what the other has received and not committed.
        if found.is_none_or(|upload| from.is_some_and(|from| from < upload.offset)) {
            return Ok(());
        }
        let stopped = futures_util::future::join_all(works.iter().map(registry::Work::stop));
        if tokio::time::timeout(self.options().uploads.takeover_wait, stopped).await.is_err() {
            tracing::warn!(upload = %id, "a request did not stop in time; its lease is taken from it");
        }
        Ok(())
    }

    /// The right to append at `offset`, whoever had it before.
    ///
    /// # Errors
    /// [`NotHeld`].
    pub async fn hold_upload(&self, id: UploadId, owner: &OwnerId, offset: u64) -> Result<Held, NotHeld> {
        self.stop_appending(id, owner, Some(offset)).await.map_err(NotHeld::Store)?;
        let holding = Holding { id: LeaseId::new(), epoch: self.house().epoch };
        let place = self.uploads().enter(id);
        let take = |tx| async move { uploads::take(&tx, (id, owner), (offset, holding), fold::TAIL).await };
        match self.metadata().transact("take lease of upload", take).await.map_err(NotHeld::Store)? {
            Taken::Held(upload, tail) => Ok(Held { upload, tail, holding, place }),
            Taken::Elsewhere(upload) => Err(NotHeld::Elsewhere(upload)),
            Taken::Closed(upload) if upload.state == State::Terminated => Err(NotHeld::Missing),
            Taken::Closed(upload) => Err(NotHeld::Closed(upload)),
            Taken::Missing => Err(NotHeld::Missing),
        }
    }

    /// Appends the body of a request, and runs to the end whether or not somebody waits: bytes that came are kept. The
    /// caller keeps its lease of admission until this returns, and gets it back with the outcome.
    pub async fn append_upload(
        &self,
        held: Held,
        chunk: Chunk,
        lease: Lease,
    ) -> (Result<Record, AppendError>, Option<Lease>) {
        let house = self.house().clone();
        let work = tokio::spawn(async move { (receive::receive(house, held, chunk).await, lease) });
        match work.await {
            Ok((outcome, lease)) => (outcome, Some(lease)),
            Err(error) => (Err(AppendError::Store(cut_off(&error))), None),
        }
    }

    /// Makes the photo of an upload whose bytes are all there, or tells the one that was made before. Runs to the end
    /// whether or not somebody waits.
    ///
    /// # Errors
    /// [`IngestError`]. After one that [`IngestError::is_final`] the upload is to be refused.
    pub async fn finish_upload(&self, upload: &Record, lease: Lease) -> Result<Ingested, IngestError> {
        let mut lease = Some(lease);
        for _ in 0..FINISHES_MAX {
            if let Some(ingested) = self.photo_of(upload).await? {
                return Ok(ingested);
            }
            match self.uploads().enter_finishing(upload.id) {
                Ok(place) => {
                    let Some(lease) = lease.take() else { break };
                    let (pipeline, upload) = (self.clone(), upload.clone());
                    let work = tokio::spawn(async move {
                        let ingested = pipeline.ingest_pieces(&upload, lease).await;
                        drop(place);
                        ingested
                    });
                    return work.await.unwrap_or_else(|error| Err(cut_off(&error).into()));
                }
                Err(work) => work.ended().await,
            }
        }
        let reason = "others were to make the photo, and none has; ask again".to_owned();
        Err(StoreError::Unavailable { reason }.into())
    }

    /// Resolves when nobody on this node makes the upload's photo any more. Whoever waits so holds nothing.
    pub async fn upload_finished(&self, id: UploadId) {
        if let Some(work) = self.uploads().finishing(id) {
            work.ended().await;
        }
    }

    /// The photo that the upload has become, if it has.
    async fn photo_of(&self, upload: &Record) -> Result<Option<Ingested>, IngestError> {
        let (id, owner) = (upload.id, &upload.owner);
        let found = self.upload(id, owner).await?.ok_or(IngestError::UploadGone)?;
        match found.state {
            State::Open | State::Finishing => Ok(None),
            State::Done { photo, duplicate } => {
                let read = |tx| async move { photos::get(&tx, photo).await };
                let photo = self.metadata().read("read photo", read).await?;
                Ok(Some(Ingested { photo: photo.ok_or(IngestError::UploadGone)?, duplicate }))
            }
            State::Refused { .. } | State::Joined { .. } | State::Terminated => Err(IngestError::UploadGone),
        }
    }

    async fn ingest_pieces(&self, upload: &Record, lease: Lease) -> Result<Ingested, IngestError> {
        let reader = PieceReader::new(self.house().clone(), upload.id, 0..upload.offset);
        let wishes = &upload.wishes;
        let (body, failure) = reader::body(reader, wishes.content);
        let expires = Timestamp::now().after(self.options().uploads.keep);
        let ingest = Upload {
            declared_type: wishes.declared_type.clone(),
            name: wishes.name.clone(),
            batch: wishes.batch,
            fields: wishes.fields.clone(),
            allow_duplicate: wishes.allow_duplicate,
            publish: wishes.publish.clone(),
            ending: Some(Ending { upload: upload.id, expires }),
            ..Upload::new(lease, body, upload.owner.clone())
        };
        let outcome = self.ingest(ingest).await;
        let outcome = match (outcome, failure.take()) {
            (Err(IngestError::Body(_)), Some(Broken::OtherContent)) => Err(IngestError::OtherContent),
            (Err(IngestError::Body(_)), Some(Broken::Store(error))) => {
                let error = reader::judged(self.house(), upload.id, error).await;
                // Another node may have made the photo meanwhile, or the upload may have been ended: then its pieces went, and
                // none of them is lost. They go after that is noted, never before.
                if matches!(error, IngestError::BytesLost)
                    && let Some(ingested) = self.photo_of(upload).await?
                {
                    return Ok(ingested);
                }
                Err(error)
            }
            (outcome, _) => outcome,
        };
        if outcome.is_ok() {
            note_ended("done", 1);
            self.bury_pieces_in_background(upload.id);
        }
        outcome
    }

    /// Ends an upload without a photo, unless it has ended, or `holder` is no longer the last that had its lease.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn end_upload(
        &self,
        id: UploadId,
        owner: &OwnerId,
        (state, holder): (State, Option<LeaseId>),
    ) -> Result<Ended, StoreError> {
        let is_wanted = state != State::Terminated;
        let now = Timestamp::now();
        let expires = if is_wanted { now.after(self.options().uploads.keep) } else { now };
        let outcome = if is_wanted { "refused" } else { "terminated" };
        if !is_wanted {
            self.stop_appending(id, owner, None).await?;
        }
        let end = &End { id, state, holder, now, expires };
        let run = |tx| async move { uploads::end(&tx, owner, end).await };
        let ended = self.metadata().transact("end upload", run).await?;
        let Ended::Found(found) = &ended else { return Ok(ended) };
        if !found.state.is_end() {
            note_ended(outcome, 1);
        }
        self.bury_pieces_in_background(id);
        Ok(if found.state == State::Terminated { Ended::Missing } else { ended })
    }

    /// Not for long on anybody's way: the Janitor does what is left.
    fn bury_pieces_in_background(&self, id: UploadId) {
        let (metadata, pipeline) = (self.metadata().in_background(), self.clone());
        tokio::spawn(async move {
            if let Err(error) = sweep(&metadata, id, Timestamp::now()).await {
                tracing::warn!(upload = %id, %error, "an upload's pieces are left to the Janitor");
            }
            pipeline.nudge_janitor();
        });
    }

    /// What is open, of everybody.
    pub(crate) async fn record_upload_gauges(&self) -> Result<(), StoreError> {
        let read = |tx| async move { uploads::usage(&tx, None).await };
        let Usage { open, bytes, reserved } = self.metadata().read("read usage of uploads", read).await?;
        metrics::gauge!("darkroom_upload_open").set(open as f64);
        metrics::gauge!("darkroom_upload_open_bytes").set(bytes as f64);
        metrics::gauge!("darkroom_upload_reserved_bytes").set(reserved as f64);
        Ok(())
    }
}

fn cut_off(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable { reason: format!("the work on an upload was cut off: {error}") }
}

/// Does everything that is due for one upload; whether it is gone.
async fn sweep(metadata: &Metadata, id: UploadId, now: Timestamp) -> Result<bool, StoreError> {
    loop {
        let sweep = |tx| async move { uploads::sweep(&tx, id, now, BURIED_AT_ONCE).await };
        match metadata.transact("sweep upload", sweep).await? {
            Swept::More => {}
            Swept::Expired => note_ended("expired", 1),
            Swept::Clean => return Ok(false),
            Swept::Gone => return Ok(true),
        }
    }
}

/// Ends uploads that have expired, buries what is left of those that have ended, and forgets them in time; how many were
/// forgotten.
///
/// # Errors
/// Those of the engine.
pub(crate) async fn expire(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    let (mut gone, mut after) = (0, None);
    loop {
        let list = |tx| async move { uploads::due(&tx, now, after, DUE_AT_ONCE).await };
        let due = metadata.read("list uploads that are due", list).await?;
        let Some(last) = due.last().copied() else { return Ok(gone) };
        for Due { id, .. } in due {
            match sweep(metadata, id, now).await {
                Ok(is_gone) => gone += usize::from(is_gone),
                // It stays as it is. Whatever else is over goes all the same.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(upload = %id, %error, "an upload that is due cannot be read, and is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        after = Some(last);
    }
}

/// Counts uploads that have ended.
fn note_ended(outcome: &'static str, count: u64) {
    metrics::counter!("darkroom_upload_ended_total", "outcome" => outcome).increment(count);
}
