//! Direct uploads: bytes that a client sends to the object store by itself, and what becomes of them.
//!
//! The record names the owner and the key that the client may write to, and nothing else does: whoever puts something
//! there, the photo is that owner's. A signed URL outlives the look at what was put with it, so the bytes are copied to
//! a key of their own before they are looked at, and the upload key is buried again and again: when the upload is settled;
//! when nothing can be put under it any more, reckoned by a slow client ([`DirectUpload::due`]); and when the record is
//! forgotten, by which a slower one is done: how long a put takes that was begun in time is for the client to say.
//!
//! Whoever finishes an upload claims it first, so that a client's request and an event about the same object do not do
//! the work twice. The claim saves work and no more: that one photo comes of it at most is because [`standing`] and
//! [`done`] are part of the transaction that makes the photo.
//!
//! Objects that others put into the bucket ([`Source::Found`]) have such a record, too, under an id that follows from
//! their name and content, so that an event that comes again finds what became of the first.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::batches::{self, NotAdmitted, Refusal};
use super::idempotency::{self, UploadKey};
use super::photos::{Failure, Fields};
use super::posts::Draft;
use super::subspaces::{DIRECT_UPLOADS, DIRECT_UPLOADS_DUE, DIRECT_UPLOADS_OPEN};
use super::{
    BatchId, ContentHash, Epoch, JobId, OwnerId, PhotoId, Timestamp, UploadId, nodes, objects, record,
};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::objects::{ObjectKey, ObjectKind};

/// An upload that goes past the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectUpload {
    /// Its id.
    pub id: UploadId,
    /// Whose photo it will be.
    pub owner: OwnerId,
    /// Where its bytes are.
    pub source: Source,
    /// How many there are to be.
    pub bytes: u64,
    /// The client's word on their type.
    #[serde(default)]
    pub media_type: Option<String>,
    /// The BLAKE3 that they are to have, where the client said.
    #[serde(default)]
    pub blake3: Option<ContentHash>,
    /// The SHA-256 that they are to have, in hex, where the client said.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The file's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The batch that the photo belongs to.
    #[serde(default)]
    pub batch: Option<BatchId>,
    /// What is said of the photo.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// Make a photo of its own even if the owner has one with these bytes.
    #[serde(default)]
    pub allow_duplicate: bool,
    /// The post in which it is to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Draft>,
    /// Where it is sent in parts.
    #[serde(default)]
    pub parts: Option<Parts>,
    /// When it was announced.
    pub created: Timestamp,
    /// Until when the client's URLs are valid.
    pub expires: Timestamp,
    /// How long the record is kept after it was settled, in milliseconds.
    pub kept_ms: u64,
    /// When the Janitor looks at it next. For one that is open: when nothing can be put with its URLs any more.
    pub due: Timestamp,
    /// Where it stands.
    pub state: State,
    /// Who is finishing it.
    #[serde(default)]
    pub claim: Option<Claim>,
    /// The upload key was buried when its URLs had ended: only the record is left, to be asked for.
    #[serde(default)]
    pub swept: bool,
}

/// Where the bytes of a direct upload are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Under a key that the client was given URLs for.
    Uploaded(ObjectKey),
    /// Somebody else has put an object of this name into the bucket.
    Found {
        /// Its name in the bucket.
        name: String,
        /// The store's word for this content of it (`ETag`).
        tag: String,
    },
}

impl Source {
    /// The key that is ours to delete.
    fn upload_key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Uploaded(key) => Some(key),
            Self::Found { .. } => None,
        }
    }
}

/// How an upload in parts is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Size of each part but the last.
    pub part_bytes: u64,
    /// The object store's id of the upload; `None` while it is being begun.
    pub upload: Option<String>,
}

impl Parts {
    /// How many parts `bytes` are sent in.
    #[must_use]
    pub fn count(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.part_bytes.max(1)).max(1)
    }

    /// The size of a part, numbered from 1; `None` where there is no such part.
    #[must_use]
    pub fn size(&self, bytes: u64, number: u64) -> Option<u64> {
        let begins = number.checked_sub(1)?.checked_mul(self.part_bytes)?;
        (number <= self.count(bytes)).then(|| bytes.saturating_sub(begins).min(self.part_bytes))
    }
}

/// Where a direct upload stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum State {
    /// The client may send, or has sent.
    Open,
    /// It is a photo.
    Done {
        /// Which.
        photo: PhotoId,
        /// The owner had one with these bytes before, and it is that one.
        duplicate: bool,
        /// The job of the creation that did it: tells a second run of that transaction apart.
        by: JobId,
        /// When.
        at: Timestamp,
    },
    /// What was put is no photo, or not what was announced.
    Refused {
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// The client gave it up.
    Aborted {
        /// When.
        at: Timestamp,
    },
    /// It was not completed in time.
    Expired {
        /// When that was noticed.
        at: Timestamp,
    },
}

impl State {
    /// The word in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done { .. } => "done",
            Self::Refused { .. } => "refused",
            Self::Aborted { .. } => "aborted",
            Self::Expired { .. } => "expired",
        }
    }

    /// When it was settled; `None` while it is open.
    fn settled_at(&self) -> Option<Timestamp> {
        match self {
            Self::Open => None,
            Self::Done { at, .. }
            | Self::Refused { at, .. }
            | Self::Aborted { at }
            | Self::Expired { at } => Some(*at),
        }
    }
}

/// Somebody is finishing an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Random, so that nobody can hold one by accident.
    pub id: Uuid,
    /// The node. Its claims are void when it is dead.
    pub epoch: Epoch,
    /// Until when, also if it lives.
    pub until: Timestamp,
}

/// The upload, if there is one.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: UploadId) -> Result<Option<DirectUpload>, StoreError> {
    let key = DIRECT_UPLOADS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

fn put(tx: &Transaction, upload: &DirectUpload) -> Result<(), StoreError> {
    tx.set(&DIRECT_UPLOADS.key(&(upload.id.0,)), &record::encode(upload)?)
}

fn due_key(upload: &DirectUpload) -> Vec<u8> {
    DIRECT_UPLOADS_DUE.key(&(upload.due.0, upload.id.0))
}

/// What an owner may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenLimits {
    /// Uploads.
    pub uploads_max: u64,
    /// Their bytes together.
    pub bytes_max: u64,
}

/// What became of an upload that was to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    New,
    /// An earlier attempt at the same request has opened this one, which may have ended, or gone, since.
    Before(UploadId),
    /// The owner has so many open already.
    TooMany(u64),
    /// The owner's open ones have so many bytes already.
    TooLarge(u64),
    /// The batch that it names does not take it. The transaction that makes the photo asks again.
    NotAdmitted(NotAdmitted),
}

/// The key that the client of an upload may write to.
#[must_use]
pub fn upload_key(id: UploadId) -> ObjectKey {
    ObjectKey::from_stored(format!("{}/{id}", ObjectKind::Upload.prefix()))
}

/// Opens an upload, bound to the request under a key that opens it. The limits are looked at without a conflict, so that
/// uploads opened at the same moment do not wait for each other: those may go beyond by as many as there are.
///
/// # Errors
/// Those of the engine.
pub async fn open(
    tx: &Transaction,
    upload: &DirectUpload,
    limits: OpenLimits,
    key: Option<&UploadKey>,
) -> Result<Opened, StoreError> {
    if get(tx, upload.id).await?.is_some() {
        return Ok(Opened::New); // An earlier run of this transaction has committed.
    }
    if let Some(key) = key
        && let Some(earlier) = idempotency::upload_of(tx, key).await?
    {
        return Ok(Opened::Before(earlier));
    }
    if let Some(batch) = upload.batch
        && let Err(why) = batches::admission(tx, batch, &upload.owner).await?
    {
        return Ok(Opened::NotAdmitted(why));
    }
    if upload.source.upload_key().is_some() {
        let (uploads, bytes) = open_of(tx, &upload.owner).await?;
        if uploads >= limits.uploads_max {
            return Ok(Opened::TooMany(uploads));
        }
        if bytes.saturating_add(upload.bytes) > limits.bytes_max {
            return Ok(Opened::TooLarge(bytes));
        }
        count(tx, upload, 1)?;
    }
    tx.set(&due_key(upload), &[])?;
    put(tx, upload)?;
    if let Some(key) = key {
        idempotency::bind_upload(tx, key, upload.id).await?;
    }
    Ok(Opened::New)
}

fn counter(owner: &OwnerId, what: &str) -> Vec<u8> {
    DIRECT_UPLOADS_OPEN.key(&(owner.as_str(), what))
}

/// How many uploads an owner has open, and their bytes. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn open_of(tx: &Transaction, owner: &OwnerId) -> Result<(u64, u64), StoreError> {
    let read = async |what| {
        let key = counter(owner, what);
        let Some(bytes) = tx.snapshot_get(&key).await? else { return Ok(0) };
        let bytes = bytes[..].try_into().map_err(|_| record::corrupt_key(&key, "not an 8-byte counter"))?;
        Ok::<_, StoreError>(u64::try_from(i64::from_le_bytes(bytes)).unwrap_or(0))
    };
    Ok((read("uploads").await?, read("bytes").await?))
}

fn count(tx: &Transaction, upload: &DirectUpload, by: i64) -> Result<(), StoreError> {
    let bytes = i64::try_from(upload.bytes).unwrap_or(i64::MAX);
    tx.atomic_add(&counter(&upload.owner, "uploads"), by)?;
    tx.atomic_add(&counter(&upload.owner, "bytes"), bytes.saturating_mul(by))
}

/// Notes the object store's id of an upload in parts. The one that counts, which is another where somebody has begun the
/// same upload's parts before; `None` where the upload is not open any more.
///
/// # Errors
/// Those of the engine.
pub async fn begun(tx: &Transaction, id: UploadId, begun: &str) -> Result<Option<String>, StoreError> {
    let Some(mut upload) = get(tx, id).await?.filter(|upload| upload.state == State::Open) else {
        return Ok(None);
    };
    if let Some(parts) = &mut upload.parts {
        if let Some(earlier) = &parts.upload {
            return Ok(Some(earlier.clone()));
        }
        parts.upload = Some(begun.to_owned());
    }
    put(tx, &upload)?;
    Ok(Some(begun.to_owned()))
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The caller has it, and finishes the upload.
    Ours(DirectUpload),
    /// Somebody else has.
    Busy,
    /// There is nothing left to finish.
    Settled(DirectUpload),
    /// There is no such upload.
    Absent,
}

/// Claims an upload, to finish it.
///
/// # Errors
/// Those of the engine.
pub async fn claim(
    tx: &Transaction,
    id: UploadId,
    claim: Claim,
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let Some(mut upload) = get(tx, id).await? else { return Ok(Claimed::Absent) };
    if upload.state != State::Open {
        return Ok(Claimed::Settled(upload));
    }
    if is_claimed(tx, &upload, claim.id, now).await? {
        return Ok(Claimed::Busy);
    }
    upload.claim = Some(claim);
    put(tx, &upload)?;
    Ok(Claimed::Ours(upload))
}

/// Whether somebody other than `except` is finishing it.
async fn is_claimed(
    tx: &Transaction,
    upload: &DirectUpload,
    except: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(claim) = upload.claim.filter(|claim| claim.id != except && claim.until > now) else {
        return Ok(false);
    };
    nodes::is_alive(tx, claim.epoch).await
}

/// Gives a claim back: the upload could not be finished now.
///
/// # Errors
/// Those of the engine.
pub async fn give_back(tx: &Transaction, id: UploadId, claim: Uuid) -> Result<(), StoreError> {
    let held = |upload: &DirectUpload| upload.claim.is_some_and(|held| held.id == claim);
    let Some(mut upload) = get(tx, id).await?.filter(held) else { return Ok(()) };
    upload.claim = None;
    put(tx, &upload)
}

/// Whether a photo may be made of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may; or an earlier run of this transaction has made it.
    Free,
    /// This one was made of it before, and whether it was a duplicate.
    Done(PhotoId, bool),
    /// It was refused, given up, or has expired.
    Over,
}

/// Whether a photo may be made of an upload by the creation with the job `by`. Read by the transaction that makes it.
///
/// # Errors
/// Those of the engine.
pub async fn standing(tx: &Transaction, id: UploadId, by: JobId) -> Result<Standing, StoreError> {
    Ok(match get(tx, id).await?.map(|upload| upload.state) {
        Some(State::Open) => Standing::Free,
        Some(State::Done { by: earlier, .. }) if earlier == by => Standing::Free,
        Some(State::Done { photo, duplicate, .. }) => Standing::Done(photo, duplicate),
        _ => Standing::Over,
    })
}

/// The upload is a photo. Part of the transaction that made it, after [`standing`].
///
/// # Errors
/// Those of the engine.
pub async fn done(
    tx: &Transaction,
    id: UploadId,
    photo: PhotoId,
    duplicate: bool,
    by: JobId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let Some(upload) = get(tx, id).await?.filter(|upload| upload.state == State::Open) else { return Ok(()) };
    settle(tx, upload, State::Done { photo, duplicate, by, at })
}

/// Ends an open upload: what lies under its upload key is nobody's.
fn settle(tx: &Transaction, mut upload: DirectUpload, state: State) -> Result<(), StoreError> {
    if let Some(key) = upload.source.upload_key() {
        objects::bury(tx, key)?;
        count(tx, &upload, -1)?;
    }
    (upload.state, upload.claim) = (state, None);
    put(tx, &upload)
}

/// What was put is refused for good, by the holder of `claim`; false if it is the holder's no more. Its batch, if
/// `noted` names one that still takes what comes, keeps that as an item.
///
/// # Errors
/// Those of the engine.
pub async fn refuse(
    tx: &Transaction,
    id: UploadId,
    claim: Uuid,
    failure: &Failure,
    noted: Option<&Refusal>,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let held = |upload: &DirectUpload| upload.claim.is_some_and(|held| held.id == claim);
    let Some(upload) = get(tx, id).await?.filter(held) else { return Ok(false) };
    settle(tx, upload, State::Refused { failure: failure.clone(), at })?;
    if let Some(noted) = noted {
        // A batch that is closed by now is told no more: that is as its client wants it.
        let _ = batches::refused(tx, noted).await?;
    }
    Ok(true)
}

/// The client gives an upload up. [`Claimed::Ours`] has it as it was before.
///
/// # Errors
/// Those of the engine.
pub async fn abort(tx: &Transaction, id: UploadId, now: Timestamp) -> Result<Claimed, StoreError> {
    let Some(upload) = get(tx, id).await? else { return Ok(Claimed::Absent) };
    if upload.state != State::Open {
        return Ok(Claimed::Settled(upload));
    }
    if is_claimed(tx, &upload, Uuid::nil(), now).await? {
        return Ok(Claimed::Busy);
    }
    settle(tx, upload.clone(), State::Aborted { at: now })?;
    Ok(Claimed::Ours(upload))
}

/// Uploads that the Janitor is to look at, the longest due first, those after `after`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn due(
    tx: &Transaction,
    now: Timestamp,
    after: Option<(Timestamp, UploadId)>,
    limit: usize,
) -> Result<Vec<(Timestamp, UploadId)>, StoreError> {
    let all = DIRECT_UPLOADS_DUE.all();
    let from = after.map_or(all.clone(), |(due, id)| all.after(&DIRECT_UPLOADS_DUE.key(&(due.0, id.0))));
    let range = KeyRange::new(from.begin, DIRECT_UPLOADS_DUE.key(&(now.0.saturating_add(1),)));
    let rows = tx.get_range(&range, RangeOptions { limit, snapshot: true, ..Default::default() }).await?;
    let read = |(key, _): &(Vec<u8>, Vec<u8>)| {
        let (due, id) = DIRECT_UPLOADS_DUE.unpack::<(u64, Uuid)>(key)?;
        Ok((Timestamp(due), UploadId(id)))
    };
    rows.iter().map(read).collect()
}

/// What the Janitor did with an upload that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It was never completed: it has expired, and what was put is buried.
    Expired,
    /// It was settled before: what may have been put since is buried, too.
    Buried,
    /// Nobody has asked for it for long: the record is gone, and what a slow client has put meanwhile is buried.
    Forgotten,
    /// It is not due any more.
    Kept,
}

/// Takes an upload that is due one step further.
///
/// # Errors
/// Those of the engine.
pub async fn sweep(tx: &Transaction, id: UploadId, now: Timestamp) -> Result<Swept, StoreError> {
    let Some(mut upload) = get(tx, id).await?.filter(|upload| upload.due <= now) else {
        return Ok(Swept::Kept);
    };
    if let Some(until) = upload.claim.map(|claim| claim.until).filter(|until| *until > now) {
        move_due(tx, &mut upload, until)?;
        put(tx, &upload)?;
        return Ok(Swept::Kept);
    }
    let found = upload.source.upload_key().is_none();
    let Some(settled) = upload.state.settled_at().filter(|_| !upload.swept) else {
        if upload.swept || found {
            if let Some(key) = upload.source.upload_key() {
                objects::bury(tx, key)?;
            }
            tx.clear(&due_key(&upload))?;
            tx.clear(&DIRECT_UPLOADS.key(&(id.0,)))?;
            return Ok(Swept::Forgotten);
        }
        upload.swept = true;
        let kept = Timestamp(now.0.saturating_add(upload.kept_ms));
        move_due(tx, &mut upload, kept)?;
        settle(tx, upload, State::Expired { at: now })?;
        return Ok(Swept::Expired);
    };
    if let Some(key) = upload.source.upload_key() {
        objects::bury(tx, key)?;
    }
    upload.swept = true;
    let kept = Timestamp(settled.0.saturating_add(upload.kept_ms).max(now.0.saturating_add(1)));
    move_due(tx, &mut upload, kept)?;
    put(tx, &upload)?;
    Ok(Swept::Buried)
}

/// The caller writes the record.
fn move_due(tx: &Transaction, upload: &mut DirectUpload, due: Timestamp) -> Result<(), StoreError> {
    tx.clear(&due_key(upload))?;
    upload.due = due;
    tx.set(&due_key(upload), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_upload_are_its_bytes() {
        let parts = Parts { part_bytes: 10, upload: None };
        for bytes in [1, 9, 10, 11, 25, 30] {
            let sizes: Vec<_> = (1..).map_while(|number| parts.size(bytes, number)).collect();
            assert_eq!(sizes.len() as u64, parts.count(bytes));
            assert_eq!(sizes.iter().sum::<u64>(), bytes);
            assert!(
                sizes[..sizes.len() - 1].iter().all(|size| *size == 10) && sizes.iter().all(|size| *size > 0)
            );
        }
        assert_eq!(parts.size(25, 0), None);
        assert_eq!(parts.size(25, u64::MAX), None);
    }
}
