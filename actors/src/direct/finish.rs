//! A direct upload is finished: what lies under its key is copied, looked at, and made a photo.
//!
//! Whoever is told that it is there may begin: its client, or an event of the bucket, again and again. One at a time
//! does the work, in a task that goes on when the one who asked has gone.

use darkroom_store::model::batches::{self, Refusal};
use darkroom_store::model::direct::{self, Claim, Claimed, DirectUpload, Source, State};
use darkroom_store::model::photos::{self, Failure};
use darkroom_store::model::{BatchId, ItemId, Timestamp, UploadId, file_name};
use darkroom_store::objects::s3::{Bucket, Completion, FoundObject};
use darkroom_store::objects::{ObjectKind, ObjectReader};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::error::{DirectError, refusal};
use super::open::note;
use super::sweep::abort_parts;
use crate::error::{BodyError, IngestError};
use crate::permits::Lease;
use crate::pipeline::Pipeline;
use crate::stages::ingestor::{Announced, Body, Ingested, Stored, Upload};

/// What a client says when it completes an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The parts that it has sent: their numbers and `ETag`s. Empty where it says nothing of parts.
    pub parts: Vec<(u64, String)>,
    /// The batch that the photo belongs to.
    pub batch: BatchOf,
}

/// To which batch the photo of a direct upload belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchOf {
    /// The one that was announced, or none if none was.
    #[default]
    Announced,
    /// This one in its place, or none.
    Instead(Option<BatchId>),
}

impl Pipeline {
    /// Makes a photo of what was put, or tells what became of it before. When this returns `Ok`, it is durable.
    ///
    /// # Errors
    /// [`DirectError`].
    pub async fn finish_direct(
        &self,
        lease: Lease,
        id: UploadId,
        sent: Sent,
    ) -> Result<Ingested, DirectError> {
        self.bucket()?;
        let now = Timestamp::now();
        let until = now.after(self.options().direct.finish_timeout);
        let claim = Claim { id: Uuid::new_v4(), epoch: self.house().epoch, until };
        let claiming = |tx| async move { direct::claim(&tx, id, claim, now).await };
        match self.metadata().transact("claim direct upload", claiming).await? {
            Claimed::Ours(mut upload) => {
                if let BatchOf::Instead(batch) = sent.batch {
                    upload.batch = batch;
                }
                let pipeline = self.clone();
                let work = async move { pipeline.finish_claimed(lease, upload, claim.id, sent).await };
                // Cut off only with the process, whose claims are void then.
                tokio::spawn(work).await.unwrap_or(Err(IngestError::Restarting.into()))
            }
            Claimed::Settled(upload) => self.outcome_of(&upload).await,
            Claimed::Busy => Err(DirectError::Busy(id)),
            Claimed::Absent => Err(DirectError::Unknown(id)),
        }
    }

    /// What became of an upload that is settled.
    ///
    /// # Errors
    /// [`DirectError`].
    pub async fn outcome_of(&self, upload: &DirectUpload) -> Result<Ingested, DirectError> {
        let id = upload.id;
        match &upload.state {
            State::Done { photo, duplicate, .. } => {
                let (photo, duplicate) = (*photo, *duplicate);
                let found = self
                    .metadata()
                    .read("photo of a direct upload", |tx| async move { photos::get(&tx, photo).await });
                let photo = found.await?.ok_or(DirectError::PhotoGone(photo))?;
                Ok(Ingested { photo, duplicate })
            }
            State::Refused { failure, .. } => Err(DirectError::Refused(failure.clone())),
            state => Err(DirectError::Over { id, state: state.as_str() }),
        }
    }

    async fn finish_claimed(
        &self,
        lease: Lease,
        upload: DirectUpload,
        claim: Uuid,
        sent: Sent,
    ) -> Result<Ingested, DirectError> {
        let id = upload.id;
        let finished = self.take_in(lease, &upload, sent).await;
        let failure = match &finished {
            Ok(_) => {
                note("done");
                return finished;
            }
            Err(DirectError::Refused(failure)) => Some(failure.clone()),
            Err(DirectError::Ingest(error)) => refusal(error),
            Err(_) => None,
        };
        let Some(failure) = failure else {
            let give_back = |tx| async move { direct::give_back(&tx, id, claim).await };
            if let Err(error) = self.metadata().transact("give direct upload back", give_back).await {
                tracing::warn!(upload = %id, %error, "a direct upload can be finished again when its claim has ended");
            }
            return finished;
        };
        self.refuse(&upload, claim, failure).await
    }

    /// Nothing will come of it: what was put is deleted, the record says why, and so does an item of its batch, in the
    /// same transaction. Whoever asks for the upload later finds it over, and would not come here again.
    async fn refuse(
        &self,
        upload: &DirectUpload,
        claim: Uuid,
        failure: Failure,
    ) -> Result<Ingested, DirectError> {
        let (id, now, why) = (upload.id, Timestamp::now(), &failure);
        let refusal = &self.refusal_in_batch(upload, why, now);
        let refuse = |tx| async move { direct::refuse(&tx, id, claim, why, refusal.as_ref(), now).await };
        if self.metadata().transact("refuse direct upload", refuse).await? {
            note("refused");
            if let Err(error) = abort_parts(self.bucket()?, upload).await {
                tracing::warn!(upload = %id, %error, "the parts of a direct upload are removed later");
            }
        }
        Err(DirectError::Refused(failure))
    }

    /// What a batch is to keep of an upload that is refused, if it names one.
    pub(super) fn refusal_in_batch(
        &self,
        upload: &DirectUpload,
        failure: &Failure,
        now: Timestamp,
    ) -> Option<Refusal> {
        let options = self.options();
        Some(Refusal {
            batch: upload.batch?,
            owner: upload.owner.clone(),
            item: ItemId(upload.id.0),
            name: upload.name.as_deref().and_then(|name| file_name::tidied(name, options.name_bytes_max)),
            bytes: Some(upload.bytes),
            problem: failure.clone(),
            now,
            kept_max: options.refused_kept_max,
        })
    }

    /// Whether the batch takes the photo now: the transaction that makes it asks again, and this spares a copy that it
    /// would refuse.
    async fn check_batch(&self, upload: &DirectUpload) -> Result<(), DirectError> {
        let Some(batch) = upload.batch else { return Ok(()) };
        let look = |tx| async move { batches::admission(&tx, batch, &upload.owner).await };
        self.metadata().read("batch of a direct upload", look).await?.map_err(IngestError::from)?;
        Ok(())
    }

    async fn take_in(
        &self,
        lease: Lease,
        upload: &DirectUpload,
        sent: Sent,
    ) -> Result<Ingested, DirectError> {
        let bucket = self.bucket()?;
        self.check_batch(upload).await?;
        complete(bucket, upload, sent.parts).await?;
        let name = match &upload.source {
            Source::Uploaded(key) => bucket.name_of(key)?,
            Source::Found { name, .. } => name.clone(),
        };
        let found = bucket.look_at(&name).await?.ok_or_else(|| nothing_there(upload))?;
        check(upload, &found)?;
        let key = self.house().keys.take(ObjectKind::Original).await?;
        let key = key.copy(bucket.clone(), name, found.bytes).await?.ok_or_else(|| nothing_there(upload))?;
        metrics::counter!("darkroom_direct_uploads_copied_bytes_total").increment(found.bytes);
        let reader = self.objects().get(key.key(), None).await?.ok_or_else(|| nothing_there(upload))?;
        let announced =
            Announced { bytes: upload.bytes, blake3: upload.blake3, sha256: upload.sha256.clone() };
        let stored = Stored { key, direct: upload.id, announced };
        let arrived = Upload {
            declared_type: upload.media_type.clone(),
            name: upload.name.clone(),
            batch: upload.batch,
            fields: upload.fields.clone(),
            allow_duplicate: upload.allow_duplicate,
            publish: upload.publish.clone(),
            stored: Some(stored),
            ..Upload::new(lease, read(reader), upload.owner.clone())
        };
        Ok(self.ingest(arrived).await?)
    }
}

/// Has the parts put together that the client has sent, where it says so.
async fn complete(
    bucket: &Bucket,
    upload: &DirectUpload,
    sent: Vec<(u64, String)>,
) -> Result<(), DirectError> {
    let (Source::Uploaded(key), Some(parts)) = (&upload.source, &upload.parts) else { return Ok(()) };
    if sent.is_empty() {
        return Ok(()); // By an event, or again: what is there tells.
    }
    let begun = parts.upload.as_deref().ok_or_else(|| nothing_there(upload))?;
    let count = parts.count(upload.bytes);
    if !sent.iter().map(|(number, _)| *number).eq(1..=count) {
        let detail =
            format!("give the number and the ETag of every part from 1 to {count}, once and in this order");
        return Err(DirectError::Incomplete(detail));
    }
    let sent: Vec<_> =
        sent.into_iter().map(|(number, tag)| (i32::try_from(number).unwrap_or(i32::MAX), tag)).collect();
    match bucket.complete_sent(key, begun, &sent).await? {
        // Unknown: completed by an earlier call, whose object is there.
        Completion::Done | Completion::Unknown => Ok(()),
        Completion::Wrong(words) => Err(DirectError::Incomplete(format!(
            "the parts cannot be put together ({words}): send those that are missing or wrong again, and complete with the \
             ETags of the answers"
        ))),
    }
}

fn nothing_there(upload: &DirectUpload) -> DirectError {
    DirectError::Incomplete(match (&upload.source, &upload.parts) {
        (Source::Found { name, .. }, _) => format!("there is no object {name:?} any more"),
        (_, None) => "nothing was put with the upload's URL yet: put it, and complete then".to_owned(),
        (_, Some(_)) => {
            "its parts were not put together yet: send each to its URL, and complete with their ETags"
                .to_owned()
        }
    })
}

/// Compares what the server tells of what was put with what was announced. The look at the copy is what counts: this
/// spares making one.
fn check(upload: &DirectUpload, found: &FoundObject) -> Result<(), DirectError> {
    if let Source::Found { tag, name } = &upload.source
        && *tag != found.tag
    {
        return Err(DirectError::Incomplete(format!("the object {name:?} is another one by now")));
    }
    if found.bytes != upload.bytes {
        let detail = format!("{} bytes were put, and {} were announced", found.bytes, upload.bytes);
        return Err(IngestError::NotAnnounced(detail).into());
    }
    Ok(())
}

/// An object as the body of an upload.
fn read(reader: ObjectReader) -> Body {
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(BodyError::Store(error)), None)),
        }
    })
    .boxed()
}
