//! A photo's record and its way: created `processing`, then `ready` or `failed`, until it is deleted.
//!
//! Readers see one of these states and never half of one, because each change is one transaction that
//! moves everything which must move together: record, indexes, job, blob reference, intents, counters,
//! change log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changes::{self, Change, What};
use super::subspaces::{COUNTS, PHOTOS, PHOTOS_BY_CONTENT, PHOTOS_BY_OWNER};
use super::{BatchId, ContentHash, Epoch, JobId, LeaseId, OwnerId, PhotoId, Timestamp};
use super::{blobs, chunks, healing, jobs, objects, record, uploads};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::objects::ObjectKey;

/// Where a photo stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The original is durable; its variants are being made.
    Processing,
    /// Every variant is stored.
    Ready,
    /// It cannot be processed; the record says why.
    Failed,
}

impl State {
    /// Every state, in the order of a photo's life.
    pub const ALL: [Self; 3] = [Self::Processing, Self::Ready, Self::Failed];

    /// The word in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// A user's photo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Photo {
    /// Its id.
    pub id: PhotoId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Where it stands.
    pub state: State,
    /// The batch that its upload named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// The name of the file that was uploaded, as the client gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was acknowledged.
    pub created: Timestamp,
    /// When the record last changed.
    pub updated: Timestamp,
    /// What was uploaded.
    pub original: Original,
    /// What was made of it. A preset whose format is left open has one for each of its formats, side by side, the one
    /// that every client understands first.
    pub variants: Vec<Variant>,
    /// What was computed from its pixels beside the variants, in the media engine's own words: opaque to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looks: Option<Value>,
    /// Why a part of the picture is missing, if one is: a sentence for the photo's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Why it failed, in state `failed`.
    pub failure: Option<Failure>,
    /// Digests of presets that a ready photo could not be made in: they are not tried again.
    #[serde(default)]
    pub unrenderable: Vec<String>,
    /// The lease whose holder last published or failed it: tells a second run of that transaction apart.
    pub settled_by: Option<LeaseId>,
}

/// The bytes that were uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Media type, by the bytes and not by the client's word.
    pub media_type: String,
    /// Width in pixels as shown, after orientation.
    pub width: u32,
    /// Height in pixels as shown, after orientation.
    pub height: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub hash: ContentHash,
    /// Where they are stored. Shared with every photo that has the same bytes.
    pub object: ObjectKey,
    /// What the probe found, in the media engine's own words: opaque to the store.
    pub probe: Value,
    /// Camera, exposure and time, in the media engine's own words: opaque to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Value>,
}

/// A photo in a preset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The preset's name.
    pub preset: String,
    /// Digest of the preset's settings when the variant was made.
    pub preset_digest: String,
    /// Media type.
    pub media_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub hash: ContentHash,
    /// Where they are stored.
    pub object: ObjectKey,
    /// When it was made.
    pub made: Timestamp,
}

/// What was made of a photo.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Made {
    /// Variants, whose objects are stored.
    pub variants: Vec<Variant>,
    /// [`Photo::looks`].
    pub looks: Option<Value>,
    /// [`Photo::damage`].
    pub damage: Option<String>,
}

/// Why a photo failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, kebab-case.
    pub code: String,
    /// A sentence for the photo's user.
    pub detail: String,
}

/// The [`Failure::code`] of a photo whose original's object is gone. Uploading the bytes again heals it.
pub const ORIGINAL_MISSING: &str = "original-missing";

/// The photo, if it exists.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: PhotoId) -> Result<Option<Photo>, StoreError> {
    let key = PHOTOS.key(&(id.0,));
    chunks::read(tx, &key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

pub(super) async fn put(tx: &Transaction, photo: &Photo) -> Result<(), StoreError> {
    chunks::write(tx, &PHOTOS.key(&(photo.id.0,)), &record::encode(photo)?).await
}

/// The owner's photos, newest first, older than `before`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn list(
    tx: &Transaction,
    owner: &OwnerId,
    before: Option<PhotoId>,
    limit: usize,
) -> Result<Vec<Photo>, StoreError> {
    let mut range = PHOTOS_BY_OWNER.range(&(owner.as_str(),));
    if let Some(before) = before {
        range = KeyRange::new(range.begin, PHOTOS_BY_OWNER.key(&(owner.as_str(), before.0)));
    }
    let rows = tx.get_range(&range, RangeOptions { limit, reverse: true, snapshot: true }).await?;
    let mut photos = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let (_, id) = PHOTOS_BY_OWNER.unpack::<(String, uuid::Uuid)>(&key)?;
        photos.extend(get(tx, PhotoId(id)).await?);
    }
    Ok(photos)
}

/// How many photos are in each state.
///
/// # Errors
/// Those of the engine.
pub async fn counts(tx: &Transaction) -> Result<[(State, i64); 3], StoreError> {
    let mut counts = State::ALL.map(|state| (state, 0));
    for (state, count) in &mut counts {
        *count = count_of(tx, *state).await?;
    }
    Ok(counts)
}

/// How many photos are in this state. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn count_of(tx: &Transaction, state: State) -> Result<i64, StoreError> {
    let key = count_key(state);
    let Some(bytes) = tx.snapshot_get(&key).await? else { return Ok(0) };
    let bytes: [u8; 8] =
        (&bytes[..]).try_into().map_err(|_| record::corrupt_key(&key, "not an 8-byte counter"))?;
    Ok(i64::from_le_bytes(bytes))
}

fn count_key(state: State) -> Vec<u8> {
    COUNTS.key(&("photos", state.as_str()))
}

fn count(tx: &Transaction, state: State, by: i64) -> Result<(), StoreError> {
    tx.atomic_add(&count_key(state), by)
}

/// A photo to be created, with its job.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The record, in state `processing`; its original's object has just been put.
    pub photo: Photo,
    /// Its job: leased by the caller, or due at once.
    pub job: jobs::Job,
    /// The epoch under which the object was intended.
    pub epoch: Epoch,
    /// Make a photo of its own even if the owner has one with these bytes.
    pub allow_duplicate: bool,
    /// What the object store said of the object that has had these bytes so far, after [`Created::Stored`]. `None` at
    /// first.
    pub seen: Option<Seen>,
    /// The upload whose bytes these are, which ends with this.
    pub upload: Option<uploads::Ending>,
}

/// An object that was looked for in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is there.
    Present(ObjectKey),
    /// It is not, or not whole: the bytes just put are to take its place.
    Lost(ObjectKey),
}

/// What became of a [`Creation`].
#[derive(Clone, Debug)]
pub enum Created {
    /// The photo is durable. Its original's object is the one of the record returned, which may be one
    /// that was stored before.
    New(Photo),
    /// The owner has a photo with these bytes; nothing was made.
    Duplicate(Photo),
    /// As `Duplicate`, and since that photo had failed it is tried again, with the job of the creation.
    Retried(Photo),
    /// These bytes are stored already, in this object, and nothing was made yet: the caller looks whether it is there,
    /// and comes again with what it has [`Seen`]. Metadata restored from a backup may know of objects that were deleted
    /// since, and an upload must not be acknowledged against one of those.
    Stored(ObjectKey),
    /// The object's intent is gone: it may have been deleted, and must be put again under another key.
    IntentGone,
    /// Somebody else has made the photo of this upload before, and whether that was a duplicate; nothing was made.
    Settled(Photo, bool),
    /// The upload has ended otherwise, or its photo was deleted; nothing was made.
    UploadGone,
}

/// Makes a photo durable, with the object that has its bytes already, or else with the one that was just put. The upload
/// that it comes from ends in the same transaction.
///
/// # Errors
/// Those of the engine.
pub async fn create(tx: &Transaction, creation: &Creation) -> Result<Created, StoreError> {
    let Some(ending) = &creation.upload else { return make(tx, creation).await };
    if let Some(settled) = uploads::settled_before(tx, ending, creation).await? {
        return Ok(settled);
    }
    let created = make(tx, creation).await?;
    let outcome = match &created {
        Created::New(photo) => Some((photo.id, false)),
        Created::Duplicate(photo) | Created::Retried(photo) => Some((photo.id, true)),
        _ => None,
    };
    if let Some(outcome) = outcome {
        uploads::settle(tx, ending, outcome, creation.photo.created).await?;
    }
    Ok(created)
}

async fn make(tx: &Transaction, creation: &Creation) -> Result<Created, StoreError> {
    let mut photo = creation.photo.clone();
    if let Some(photo) = get(tx, photo.id).await? {
        return Ok(Created::New(photo)); // An earlier run of this transaction has committed.
    }
    let by_content = PHOTOS_BY_CONTENT.key(&(photo.owner.as_str(), &photo.original.hash.0[..]));
    let same = match tx.get(&by_content).await? {
        Some(bytes) => get(tx, record::decode(&by_content, &bytes)?).await?,
        None => None,
    };
    let blob = blobs::get(tx, &photo.original.hash).await?;
    if !creation.allow_duplicate
        && let Some(same) = same
    {
        return duplicate(tx, same, blob, creation).await;
    }
    match place(blob.as_ref(), creation) {
        Place::Unseen(object) => return Ok(Created::Stored(object)),
        Place::Kept(object) => photo.original.object = object,
        Place::Fresh => {
            if !store_fresh(tx, &mut photo, blob, creation).await? {
                return Ok(Created::IntentGone);
            }
        }
    }
    blobs::add_reference(tx, &photo.original.hash, photo.id)?;
    put(tx, &photo).await?;
    tx.set(&PHOTOS_BY_OWNER.key(&(photo.owner.as_str(), photo.id.0)), &[])?;
    tx.set(&by_content, &record::encode(&photo.id)?)?;
    jobs::enqueue(tx, &creation.job)?;
    count(tx, photo.state, 1)?;
    Ok(Created::New(photo))
}

/// Where the bytes of a creation are to be found from now on.
enum Place {
    /// Where they were: the object is there.
    Kept(ObjectKey),
    /// Perhaps where they were: nobody has looked yet.
    Unseen(ObjectKey),
    /// Where they were just put.
    Fresh,
}

fn place(blob: Option<&blobs::Blob>, creation: &Creation) -> Place {
    let Some(blob) = blob else { return Place::Fresh };
    let object = blob.object.clone();
    // An earlier run of this transaction, which has committed, has given them their place.
    if object == creation.photo.original.object {
        return Place::Kept(object);
    }
    match &creation.seen {
        Some(Seen::Present(seen)) if *seen == object => Place::Kept(object),
        Some(Seen::Lost(seen)) if *seen == object => Place::Fresh,
        _ => Place::Unseen(object),
    }
}

/// Lets the blob, and the photo with it, be where the creation's object was just put; false if its intent is gone.
async fn store_fresh(
    tx: &Transaction,
    photo: &mut Photo,
    blob: Option<blobs::Blob>,
    creation: &Creation,
) -> Result<bool, StoreError> {
    let fresh = &creation.photo.original;
    if !objects::is_intended(tx, creation.epoch, &fresh.object).await? {
        return Ok(false);
    }
    objects::fulfil(tx, creation.epoch, &fresh.object)?;
    healing::heal(tx, photo, blob, fresh)?;
    Ok(true)
}

/// The owner has a photo with these bytes.
async fn duplicate(
    tx: &Transaction,
    mut photo: Photo,
    blob: Option<blobs::Blob>,
    creation: &Creation,
) -> Result<Created, StoreError> {
    // With the creation's own job, an earlier run of this transaction has revived the photo.
    if photo.state != State::Failed && jobs::get(tx, creation.job.id).await?.is_some() {
        return Ok(Created::Retried(photo));
    }
    // Bytes that were found missing or damaged are replaced, whatever stands in their place.
    let missing = |failure: &Failure| failure.code == ORIGINAL_MISSING;
    let is_lost = photo.state == State::Failed && photo.failure.as_ref().is_some_and(missing);
    let healed = match if is_lost { Place::Fresh } else { place(blob.as_ref(), creation) } {
        Place::Unseen(object) => return Ok(Created::Stored(object)),
        Place::Kept(_) => false,
        Place::Fresh => {
            if !store_fresh(tx, &mut photo, blob, creation).await? {
                return Ok(Created::IntentGone);
            }
            true
        }
    };
    if photo.state != State::Failed {
        if healed {
            put(tx, &photo).await?;
        }
        return Ok(Created::Duplicate(photo));
    }
    let fresh = &creation.photo.original;
    count(tx, photo.state, -1)?;
    // What is read of the same bytes may be more than the daemon that took the first upload read.
    photo.original.probe = fresh.probe.clone();
    photo.original.capture.clone_from(&fresh.capture);
    photo.damage.clone_from(&creation.photo.damage);
    photo.state = State::Processing;
    photo.failure = None;
    photo.updated = creation.photo.created;
    count(tx, photo.state, 1)?;
    put(tx, &photo).await?;
    jobs::enqueue(tx, &creation.job.clone().for_photo(photo.id))?;
    Ok(Created::Retried(photo))
}

/// Who settles a photo: the holder of its job.
#[derive(Clone, Copy, Debug)]
pub struct Settling {
    /// The photo.
    pub photo: PhotoId,
    /// Its job.
    pub job: JobId,
    /// The caller's lease on it.
    pub lease: jobs::Lease,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](super::identity::Identity::history).
    pub history: u64,
}

/// What became of a photo that was to be published or failed.
#[derive(Clone, Debug)]
pub enum Settled {
    /// It is as it was to be.
    Done(Photo),
    /// Somebody else holds the job now, or it is finished: nothing changed.
    LeaseLost,
    /// The photo was deleted in the meantime: nothing changed.
    PhotoGone,
    /// A variant's intent is gone: nothing changed, and its objects must be put again under other keys.
    IntentGone,
}

/// Either the photo and the job that the caller holds, or why not.
async fn settle(tx: &Transaction, by: &Settling) -> Result<Result<(Photo, jobs::Job), Settled>, StoreError> {
    let Some(photo) = get(tx, by.photo).await? else { return Ok(Err(Settled::PhotoGone)) };
    if photo.settled_by == Some(by.lease.id) {
        return Ok(Err(Settled::Done(photo))); // An earlier run of this transaction has committed.
    }
    match jobs::held(tx, by.job, by.lease.id).await? {
        Some(job) => Ok(Ok((photo, job))),
        None => Ok(Err(Settled::LeaseLost)),
    }
}

/// Makes a photo ready: its variants recorded, its job gone, all at once. A variant replaces the one of the
/// same preset, whose object gets a tombstone.
///
/// # Errors
/// Those of the engine.
pub async fn publish(tx: &Transaction, by: &Settling, made: &Made) -> Result<Settled, StoreError> {
    let Made { variants, looks, damage } = made;
    let (mut photo, job) = match settle(tx, by).await? {
        Ok(found) => found,
        Err(settled) => return Ok(settled),
    };
    for variant in variants {
        if !objects::is_intended(tx, by.lease.epoch, &variant.object).await? {
            return Ok(Settled::IntentGone);
        }
    }
    // A preset's variants are replaced together: it may have more of them, or fewer, than before.
    let remade = |old: &Variant| variants.iter().any(|variant| variant.preset == old.preset);
    for old in photo.variants.iter().filter(|old| remade(old)) {
        objects::bury(tx, &old.object)?;
    }
    photo.variants.retain(|old| !remade(old));
    for variant in variants {
        objects::fulfil(tx, by.lease.epoch, &variant.object)?;
        photo.variants.push(variant.clone());
    }
    photo.looks.clone_from(looks);
    photo.damage.clone_from(damage);
    let photo = transition(tx, photo, State::Ready, by, What::PhotoReady { photo: by.photo }).await?;
    jobs::remove(tx, &job)?;
    Ok(Settled::Done(photo))
}

/// Ends a photo as failed, with a reason that its user can read. A ready photo whose new variants could not
/// be made stays ready with those it has, and remembers the digests of those that were `wanted`.
///
/// # Errors
/// Those of the engine.
pub async fn fail(
    tx: &Transaction,
    by: &Settling,
    failure: &Failure,
    wanted: &[String],
) -> Result<Settled, StoreError> {
    let (photo, job) = match settle(tx, by).await? {
        Ok(found) => found,
        Err(settled) => return Ok(settled),
    };
    jobs::remove(tx, &job)?;
    end_failed(tx, photo, by, failure, wanted).await.map(Settled::Done)
}

/// As [`fail`], where another attempt might end otherwise and it is we who make none: the job's letter is kept for the
/// operator.
///
/// # Errors
/// Those of the engine.
pub async fn give_up(
    tx: &Transaction,
    by: &Settling,
    failure: &Failure,
    wanted: &[String],
) -> Result<Settled, StoreError> {
    let held = jobs::held(tx, by.job, by.lease.id).await?;
    let settled = fail(tx, by, failure, wanted).await?;
    // A second run finds no job that it holds: the first has left the letter.
    if let (Settled::Done(_), Some(job)) = (&settled, held) {
        let (code, detail) = (failure.code.clone(), failure.detail.clone());
        jobs::bury(tx, &jobs::DeadJob { job, code, detail, died: by.now })?;
    }
    Ok(settled)
}

async fn end_failed(
    tx: &Transaction,
    mut photo: Photo,
    by: &Settling,
    failure: &Failure,
    wanted: &[String],
) -> Result<Photo, StoreError> {
    if photo.state == State::Ready {
        photo.unrenderable = wanted.to_vec();
        return transition(tx, photo, State::Ready, by, What::PhotoReady { photo: by.photo }).await;
    }
    photo.failure = Some(failure.clone());
    transition(tx, photo, State::Failed, by, What::PhotoFailed { photo: by.photo }).await
}

/// The photo's job is dropped: one that was being processed ends as failed, any other stays as it is. `by` is left on
/// it in either case. The caller has found the job in the same transaction.
///
/// # Errors
/// Those of the engine.
pub(super) async fn give_up_unfinished(
    tx: &Transaction,
    by: &Settling,
    failure: &Failure,
) -> Result<(), StoreError> {
    let Some(mut photo) = get(tx, by.photo).await? else { return Ok(()) };
    if photo.state == State::Processing {
        return end_failed(tx, photo, by, failure, &[]).await.map(|_| ());
    }
    photo.settled_by = Some(by.lease.id);
    put(tx, &photo).await
}

/// A failed photo is tried again. The caller adds its job.
///
/// # Errors
/// Those of the engine.
pub(super) async fn revive(tx: &Transaction, mut photo: Photo, now: Timestamp) -> Result<(), StoreError> {
    count(tx, photo.state, -1)?;
    photo.state = State::Processing;
    photo.failure = None;
    photo.updated = now;
    count(tx, photo.state, 1)?;
    put(tx, &photo).await
}

/// Variants that could not be made may be asked for again.
///
/// # Errors
/// Those of the engine.
pub(super) async fn forget_unrenderable(tx: &Transaction, mut photo: Photo) -> Result<(), StoreError> {
    photo.unrenderable.clear();
    put(tx, &photo).await
}

async fn transition(
    tx: &Transaction,
    mut photo: Photo,
    to: State,
    by: &Settling,
    what: What,
) -> Result<Photo, StoreError> {
    count(tx, photo.state, -1)?;
    count(tx, to, 1)?;
    photo.state = to;
    photo.updated = by.now;
    photo.settled_by = Some(by.lease.id);
    put(tx, &photo).await?;
    changes::append(tx, by.history, &Change { at: by.now, what })?;
    Ok(photo)
}

/// Asks for the variants that a ready photo lacks. Returns whether there is a job now that was not there
/// before. A second run finds its own job. (If that was done in between, it adds it once more, and nothing is
/// rendered, since nothing is lacking.)
///
/// # Errors
/// Those of the engine.
pub async fn request_render(tx: &Transaction, job: &jobs::Job) -> Result<bool, StoreError> {
    let Some(id) = job.photo() else { return Ok(false) };
    if let Some(there) = jobs::of_photo(tx, id).await? {
        return Ok(there.id == job.id); // By an earlier run of this transaction, if it is this one.
    }
    if get(tx, id).await?.is_none_or(|photo| photo.state != State::Ready) {
        return Ok(false);
    }
    jobs::enqueue(tx, job)?;
    Ok(true)
}

/// Removes a photo from every reader's sight; false if there is none. Its variants get tombstones, its blob
/// is left to the Janitor.
///
/// # Errors
/// Those of the engine.
pub async fn delete(tx: &Transaction, id: PhotoId, now: Timestamp, history: u64) -> Result<bool, StoreError> {
    // The photo's absence is the marker: an earlier run of this transaction that may have committed had seen it.
    let Some(photo) = get(tx, id).await? else { return Ok(tx.may_repeat()) };
    for variant in &photo.variants {
        objects::bury(tx, &variant.object)?;
    }
    blobs::remove_reference(tx, &photo.original.hash, id)?;
    if let Some(job) = jobs::of_photo(tx, id).await? {
        jobs::remove(tx, &job)?;
    }
    let by_content = PHOTOS_BY_CONTENT.key(&(photo.owner.as_str(), &photo.original.hash.0[..]));
    if let Some(bytes) = tx.get(&by_content).await?
        && record::decode::<PhotoId>(&by_content, &bytes)? == id
    {
        tx.clear(&by_content)?;
    }
    tx.clear(&PHOTOS_BY_OWNER.key(&(photo.owner.as_str(), id.0)))?;
    chunks::clear(tx, &PHOTOS.key(&(id.0,))).await?;
    count(tx, photo.state, -1)?;
    changes::append(tx, history, &Change { at: now, what: What::PhotoDeleted { photo: id } })?;
    Ok(true)
}
