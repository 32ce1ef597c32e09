//! Requests that are carried out once, however often they are sent.
//!
//! A client names a request by a key of its own. All attempts at that request are one **series**. What the series has made
//! is bound to it in the transaction that makes it, so that no crash comes between the two: a photo by its number in the
//! request ([`Bound`]); an upload, resumable or direct, by its id in the key's record ([`UploadKey`]); anything else by having
//! the series' id, or an id that follows from it, which the transaction that creates it finds there at the next attempt.
//! The answer to a small request is kept, too ([`finish`]).
//!
//! Beside that stands a mark of the attempt that is under way, so that a second one at the same time is told to wait. It
//! makes nothing exact, and may be void: it carries the epoch of the node that works on it, and a time at which that node
//! has certainly ended. So a crash, or a node that is lost, frees the key.
//!
//! A row by time of expiry has everything of a series forgotten ([`expire`]), and all rows of an owner are counted, since
//! somebody has to keep them: [`begin`] takes no new key beyond a limit.

use serde::{Deserialize, Serialize};

use super::photos::{self, Created, Creation, Photo};
use super::subspaces::{COUNTS, IDEMPOTENCY, IDEMPOTENCY_BY_EXPIRY, IDEMPOTENCY_PHOTOS};
use super::{
    ContentHash, Epoch, JobId, LeaseId, OwnerId, SeriesId, Timestamp, UploadId, chunks, direct, nodes,
    record, uploads,
};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// A request under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Whose request it is. Another owner's keys are others.
    pub owner: OwnerId,
    /// The client's name for it, at most 255 bytes.
    pub key: String,
    /// Digest of everything that makes it this request, as far as it is known before a body of photos is read.
    pub fingerprint: ContentHash,
    /// Whether it makes one photo: once that is bound, as number 0, nothing of the request is left to do.
    pub single: bool,
}

/// One attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Random: tells a second run of the transaction that it is its own.
    pub id: LeaseId,
    /// The series that it begins, if there is none that it continues.
    pub series: SeriesId,
    /// The node that makes it.
    pub epoch: Epoch,
    /// When it begins.
    pub now: Timestamp,
    /// When it is certainly over.
    pub until: Timestamp,
    /// Until when the key is remembered if nothing else is heard of the attempt.
    pub expires: Timestamp,
}

/// What a request under a key is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// To be carried out as a part of this series. What was bound to it before is there.
    Go(SeriesId),
    /// To be carried out in so far as an earlier attempt has not: that has made this upload, which may have gone since.
    GoOn(SeriesId, UploadId),
    /// Nothing: this was answered.
    Answered(Answer),
    /// To wait: another attempt is under way, which is over at this time at the latest.
    InProgress(Timestamp),
    /// To be refused: the key belongs to another request.
    Reused,
    /// To be refused: its owner has as many keys as may be remembered.
    TooMany,
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: String,
}

/// What is known of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    series: SeriesId,
    fingerprint: ContentHash,
    expires: Timestamp,
    stage: Stage,
    /// The upload that it has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<UploadId>,
    /// Whether more than one attempt was made. An earlier one may still be about to make something, though its client has
    /// gone away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
    /// Until when it is remembered if there are photos at `expires`: one that has made nothing is kept only until its last
    /// attempt is certainly over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with_photos: Option<Timestamp>,
}

impl Remembered {
    /// What an attempt at the same request is to do.
    fn go(&self) -> Begun {
        self.upload.map_or(Begun::Go(self.series), |upload| Begun::GoOn(self.series, upload))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    InProgress {
        attempt: LeaseId,
        epoch: Epoch,
        until: Timestamp,
    },
    /// Nobody is at it, and no answer is kept: it may be tried again.
    Open,
    Answered(Answer),
}

/// The place of a photo in a request under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhotoKey {
    /// The request's series.
    pub series: SeriesId,
    /// Which of its photos it is.
    pub number: u64,
    /// Digest of what the client said of it beside its bytes.
    pub parameters: ContentHash,
}

/// The place of an upload in a request under a key, which makes one at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadKey {
    /// The request.
    pub request: Keyed,
    /// Its series.
    pub series: SeriesId,
}

/// A photo that a request under a key has made, or found to be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Of the creation that bound it: tells a second run of that transaction apart.
    job: JobId,
    parameters: ContentHash,
    outcome: Outcome,
    /// As it was then, without what the probe found.
    photo: Photo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    New,
    Duplicate,
    Retried,
}

impl Bound {
    /// Whether these are its bytes, and what was said of them.
    pub fn is_of(&self, hash: &ContentHash, key: &PhotoKey) -> bool {
        self.photo.original.hash == *hash && self.parameters == key.parameters
    }

    /// The size of its bytes.
    pub fn bytes(&self) -> u64 {
        self.photo.original.bytes
    }

    /// The photo as it was acknowledged, and whether as one that the owner had before.
    pub fn into_answer(self) -> (Photo, bool) {
        (self.photo, self.outcome != Outcome::New)
    }
}

/// Begins an attempt. A second run finds it begun.
///
/// # Errors
/// Those of the engine.
pub async fn begin(
    tx: &Transaction,
    request: &Keyed,
    attempt: &Attempt,
    keys_max: u64,
) -> Result<Begun, StoreError> {
    let known = match get(tx, request).await? {
        Some(known) if is_remembered(tx, &known, attempt.now).await? => Some(known),
        _ => None,
    };
    match known {
        Some(known) if known.fingerprint == request.fingerprint => again(tx, request, attempt, known).await,
        Some(known) if is_taken(tx, attempt, &known).await? => Ok(Begun::Reused),
        // There is none; or every attempt at the other request has failed, whose series is forgotten at its own time.
        _ => begin_series(tx, request, attempt, keys_max).await,
    }
}

async fn is_remembered(tx: &Transaction, known: &Remembered, now: Timestamp) -> Result<bool, StoreError> {
    let later = known.with_photos.is_some_and(|later| later > now);
    Ok(known.expires > now || (later && has_photos(tx, known.series).await?))
}

async fn begin_series(
    tx: &Transaction,
    request: &Keyed,
    attempt: &Attempt,
    keys_max: u64,
) -> Result<Begun, StoreError> {
    // A look that conflicts with nobody: a few keys more do no harm.
    if count(tx, &request.owner).await? >= i64::try_from(keys_max).unwrap_or(i64::MAX) {
        return Ok(Begun::TooMany);
    }
    let known = Remembered {
        series: attempt.series,
        fingerprint: request.fingerprint,
        expires: attempt.expires,
        stage: in_progress(attempt),
        upload: None,
        again: false,
        with_photos: None,
    };
    put(tx, request, &known, None).await?;
    tx.atomic_add(&count_key(&request.owner), 1)?;
    Ok(Begun::Go(attempt.series))
}

/// The same request again.
async fn again(
    tx: &Transaction,
    request: &Keyed,
    attempt: &Attempt,
    mut known: Remembered,
) -> Result<Begun, StoreError> {
    let series = known.series;
    match &known.stage {
        Stage::Answered(answer) => return Ok(Begun::Answered(answer.clone())),
        Stage::InProgress { attempt: id, .. } if *id == attempt.id => return Ok(known.go()),
        // Whatever the mark says, there is nothing left to do but to answer.
        _ if request.single && tx.get(&photo_key(series, 0)).await?.is_some() => {
            return Ok(Begun::Go(series));
        }
        Stage::InProgress { until, epoch, .. } if is_at_it(tx, *epoch, *until, attempt.now).await? => {
            return Ok(Begun::InProgress(*until));
        }
        Stage::InProgress { .. } | Stage::Open => {}
    }
    let before = std::mem::replace(&mut known.expires, attempt.expires);
    known.stage = in_progress(attempt);
    (known.again, known.with_photos) = (true, None);
    put(tx, request, &known, Some(before)).await?;
    Ok(known.go())
}

/// Whether a key belongs to the request that is known under it, so that no other may have it.
async fn is_taken(tx: &Transaction, attempt: &Attempt, known: &Remembered) -> Result<bool, StoreError> {
    match known.stage {
        Stage::Answered(_) => Ok(true),
        Stage::InProgress { epoch, until, .. } if is_at_it(tx, epoch, until, attempt.now).await? => Ok(true),
        Stage::InProgress { .. } | Stage::Open if known.upload.is_some() => Ok(true),
        Stage::InProgress { .. } | Stage::Open => has_photos(tx, known.series).await,
    }
}

fn in_progress(attempt: &Attempt) -> Stage {
    Stage::InProgress { attempt: attempt.id, epoch: attempt.epoch, until: attempt.until }
}

async fn is_at_it(
    tx: &Transaction,
    epoch: Epoch,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(until > now && !nodes::is_dead(tx, epoch).await?)
}

/// Ends an attempt with an answer that is kept until `expires`. Returns the answer to give: that of another attempt of
/// the same series, if it was the first to come to one. A second run finds its own.
///
/// # Errors
/// Those of the engine.
pub async fn finish(
    tx: &Transaction,
    request: &Keyed,
    series: SeriesId,
    answer: &Answer,
    expires: Timestamp,
) -> Result<Answer, StoreError> {
    let Some(mut known) = get(tx, request).await?.filter(|known| known.series == series) else {
        return Ok(answer.clone()); // It took so long that it was forgotten.
    };
    if let Stage::Answered(first) = known.stage {
        return Ok(first);
    }
    known.stage = Stage::Answered(answer.clone());
    known.with_photos = None;
    let before = std::mem::replace(&mut known.expires, expires);
    put(tx, request, &known, Some(before)).await?;
    Ok(answer.clone())
}

/// Ends an attempt without an answer that is kept: the request may be tried again. With `forget`, of a request that has
/// certainly made nothing, or an upload that was refused, the key is free for any other, unless an earlier attempt may still
/// make something. What has made nothing is kept only until all of its attempts are certainly over, so that requests which
/// come to nothing do not use the keys up. A second run finds it done.
///
/// # Errors
/// Those of the engine.
pub async fn release(
    tx: &Transaction,
    request: &Keyed,
    attempt: LeaseId,
    forget: bool,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let Some(mut known) = get(tx, request).await? else { return Ok(()) };
    let until = match known.stage {
        Stage::InProgress { attempt: at_it, until, .. } if at_it == attempt => until,
        _ => return Ok(()), // Another attempt's, by now.
    };
    let photos = has_photos(tx, known.series).await?;
    if forget && !photos && !known.again && !is_standing(tx, known.upload).await? {
        tx.clear(&expiry_key(known.expires, known.series))?;
        tx.atomic_add(&count_key(&request.owner), -1)?;
        return chunks::clear(tx, &key_of(request)).await;
    }
    known.stage = Stage::Open;
    let keep = if photos || known.upload.is_some() { expires } else { until.min(expires) };
    known.with_photos = (keep < expires).then_some(expires);
    let before = std::mem::replace(&mut known.expires, keep);
    put(tx, request, &known, Some(before)).await
}

/// Whether there is more of an upload that was made than that it came to nothing.
async fn is_standing(tx: &Transaction, upload: Option<UploadId>) -> Result<bool, StoreError> {
    let Some(id) = upload else { return Ok(false) };
    match uploads::get(tx, id).await? {
        Some(upload) => {
            Ok(!matches!(upload.state, uploads::State::Refused { .. } | uploads::State::Terminated))
        }
        None => Ok(direct::get(tx, id).await?.is_some()),
    }
}

/// The upload that an earlier attempt has made, or an earlier run of this transaction. It may have gone since.
pub(super) async fn upload_of(tx: &Transaction, key: &UploadKey) -> Result<Option<UploadId>, StoreError> {
    Ok(of_series(tx, key).await?.and_then(|known| known.upload))
}

/// Binds an upload that is made in the same transaction.
pub(super) async fn bind_upload(
    tx: &Transaction,
    key: &UploadKey,
    upload: UploadId,
) -> Result<(), StoreError> {
    // Otherwise it took so long that it was forgotten, and who comes with the key now comes with another series.
    let Some(mut known) = of_series(tx, key).await? else { return Ok(()) };
    known.upload = Some(upload);
    let before = known.expires;
    // Made by an attempt whose client had gone away: it is something, now.
    known.expires = known.with_photos.take().unwrap_or(before);
    put(tx, &key.request, &known, Some(before)).await
}

async fn of_series(tx: &Transaction, key: &UploadKey) -> Result<Option<Remembered>, StoreError> {
    Ok(get(tx, &key.request).await?.filter(|known| known.series == key.series))
}

/// The photo that an earlier attempt has made in this place.
///
/// # Errors
/// Those of the engine.
pub async fn bound(tx: &Transaction, key: &PhotoKey) -> Result<Option<Bound>, StoreError> {
    let row = photo_key(key.series, key.number);
    chunks::read(tx, &row).await?.map(|bytes| record::decode(&row, &bytes)).transpose()
}

/// What an earlier attempt, or an earlier run of this transaction, has made of a creation.
pub(super) async fn known(tx: &Transaction, creation: &Creation) -> Result<Option<Created>, StoreError> {
    let Some(key) = &creation.key else { return Ok(None) };
    let Some(bound) = bound(tx, key).await? else { return Ok(None) };
    if bound.job == creation.job.id {
        let photo = photos::get(tx, bound.photo.id).await?.unwrap_or(bound.photo);
        return Ok(Some(match bound.outcome {
            Outcome::New => Created::New(photo),
            Outcome::Duplicate => Created::Duplicate(photo),
            Outcome::Retried => Created::Retried(photo),
        }));
    }
    if !bound.is_of(&creation.photo.original.hash, key) {
        return Ok(Some(Created::KeyReused));
    }
    let (photo, duplicate) = bound.into_answer();
    Ok(Some(Created::Replayed { photo, duplicate }))
}

/// Binds what was made of a creation, in the same transaction.
pub(super) async fn bind(tx: &Transaction, creation: &Creation, created: &Created) -> Result<(), StoreError> {
    let Some(key) = &creation.key else { return Ok(()) };
    let (outcome, photo) = match created {
        Created::New(photo) => (Outcome::New, photo),
        Created::Duplicate(photo) => (Outcome::Duplicate, photo),
        Created::Retried(photo) => (Outcome::Retried, photo),
        Created::Stored(_)
        | Created::IntentGone
        | Created::NotAdmitted(_)
        | Created::Replayed { .. }
        | Created::KeyReused
        | Created::Settled(..)
        | Created::OverQuota(_)
        | Created::NotPublished(_)
        | Created::UploadGone => return Ok(()),
    };
    let mut photo = photo.clone();
    photo.original.probe = serde_json::Value::Null;
    let bound = Bound { job: creation.job.id, parameters: key.parameters, outcome, photo };
    chunks::write(tx, &photo_key(key.series, key.number), &record::encode(&bound)?).await?;
    tx.atomic_add(&count_key(&creation.photo.owner), 1)
}

/// How many keys and photos under keys are remembered for an owner. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn count(tx: &Transaction, owner: &OwnerId) -> Result<i64, StoreError> {
    let key = count_key(owner);
    let Some(bytes) = tx.snapshot_get(&key).await? else { return Ok(0) };
    let bytes = <[u8; 8]>::try_from(&bytes[..]).map_err(|_| record::corrupt_key(&key, "not 8 bytes"))?;
    Ok(i64::from_le_bytes(bytes))
}

/// What one step of [`expire`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Rows that were removed: keys, and photos under keys.
    pub removed: usize,
    /// Whether there may be more to do.
    pub more: bool,
}

/// Forgets series whose time has come, about `rows_max` rows of them at most.
///
/// # Errors
/// Those of the engine.
pub async fn expire(tx: &Transaction, now: Timestamp, rows_max: usize) -> Result<Expired, StoreError> {
    let end = IDEMPOTENCY_BY_EXPIRY.key(&(now.0.saturating_add(1),));
    let due = KeyRange::new(IDEMPOTENCY_BY_EXPIRY.all().begin, end);
    let mut expired = Expired::default();
    for (row, value) in tx.get_range(&due, RangeOptions::first(rows_max)).await? {
        let left = rows_max.saturating_sub(expired.removed);
        let (removed, whole) = forget(tx, &row, &value, left).await?;
        expired.removed += removed;
        if !whole || expired.removed >= rows_max {
            expired.more = true;
            break;
        }
    }
    Ok(expired)
}

/// Forgets a series, of which `row` tells the expiry, with `photos_max` photos of it at most. How many rows that were,
/// and whether it was all.
async fn forget(
    tx: &Transaction,
    row: &[u8],
    value: &[u8],
    photos_max: usize,
) -> Result<(usize, bool), StoreError> {
    let (expires, series) = IDEMPOTENCY_BY_EXPIRY.unpack::<(u64, uuid::Uuid)>(row)?;
    let (owner, key): (OwnerId, String) = record::decode(row, value)?;
    let request = IDEMPOTENCY.key(&(owner.as_str(), key.as_str()));
    let known = read(tx, &request).await?;
    let known = known.filter(|known| known.series.0 == series && known.expires.0 == expires);
    if let Some(known) = &known
        && keep_for_photos(tx, row, value, &request, known).await?
    {
        return Ok((0, true));
    }
    let photos = tx.get_range(&photos_of(SeriesId(series)), RangeOptions::first(photos_max + 1)).await?;
    let mut removed = 0;
    for (photo, _) in &photos[..photos.len().min(photos_max)] {
        tx.clear(photo)?;
        // A photo's record may have chunks, which are no photos of their own.
        removed += usize::from(IDEMPOTENCY_PHOTOS.unpack::<(uuid::Uuid, u64)>(photo).is_ok());
    }
    let whole = photos.len() <= photos_max;
    if whole {
        if known.is_some() {
            chunks::clear(tx, &request).await?;
        }
        tx.clear(row)?;
        removed += 1;
    }
    tx.atomic_add(&count_key(&owner), -i64::try_from(removed).unwrap_or(i64::MAX))?;
    Ok((removed, whole))
}

/// Keeps a series that was thought to have made nothing, if it has after all.
async fn keep_for_photos(
    tx: &Transaction,
    row: &[u8],
    value: &[u8],
    request: &[u8],
    known: &Remembered,
) -> Result<bool, StoreError> {
    let Some(expires) = known.with_photos else { return Ok(false) };
    if !has_photos(tx, known.series).await? {
        return Ok(false);
    }
    tx.clear(row)?;
    tx.set(&expiry_key(expires, known.series), value)?;
    let known = Remembered { expires, with_photos: None, ..known.clone() };
    chunks::write(tx, request, &record::encode(&known)?).await?;
    Ok(true)
}

fn key_of(request: &Keyed) -> Vec<u8> {
    IDEMPOTENCY.key(&(request.owner.as_str(), request.key.as_str()))
}

fn photo_key(series: SeriesId, number: u64) -> Vec<u8> {
    IDEMPOTENCY_PHOTOS.key(&(series.0, number))
}

fn photos_of(series: SeriesId) -> KeyRange {
    IDEMPOTENCY_PHOTOS.range(&(series.0,))
}

fn expiry_key(expires: Timestamp, series: SeriesId) -> Vec<u8> {
    IDEMPOTENCY_BY_EXPIRY.key(&(expires.0, series.0))
}

fn count_key(owner: &OwnerId) -> Vec<u8> {
    COUNTS.key(&("idempotency", owner.as_str()))
}

async fn has_photos(tx: &Transaction, series: SeriesId) -> Result<bool, StoreError> {
    Ok(!tx.get_range(&photos_of(series), RangeOptions::first(1)).await?.is_empty())
}

async fn get(tx: &Transaction, request: &Keyed) -> Result<Option<Remembered>, StoreError> {
    read(tx, &key_of(request)).await
}

async fn read(tx: &Transaction, key: &[u8]) -> Result<Option<Remembered>, StoreError> {
    chunks::read(tx, key).await?.map(|bytes| record::decode(key, &bytes)).transpose()
}

/// Writes the record, and its row by time of expiry in the place of the one of `before`.
async fn put(
    tx: &Transaction,
    request: &Keyed,
    known: &Remembered,
    before: Option<Timestamp>,
) -> Result<(), StoreError> {
    if let Some(before) = before {
        tx.clear(&expiry_key(before, known.series))?;
    }
    let name = record::encode(&(&request.owner, &request.key))?;
    tx.set(&expiry_key(known.expires, known.series), &name)?;
    chunks::write(tx, &key_of(request), &record::encode(known)?).await
}
