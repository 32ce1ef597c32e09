//! A photo's record, and what reads it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::{COUNTS, PHOTOS, PHOTOS_BY_CONTENT, PHOTOS_BY_OWNER};
use crate::model::visibility::PhotoVisibility;
use crate::model::{
    AlbumId, BatchId, ContentHash, ItemId, LeaseId, OwnerId, PhotoId, Timestamp, chunks, record,
};
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
    /// Which item of its batch it is, where a later upload than its first has put it there: see [`Self::item`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_item: Option<ItemId>,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Words by which it is found, [folded](crate::model::tags::folded), each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How visible it is.
    #[serde(default)]
    pub visibility: PhotoVisibility,
    /// The album that it is in. One that is gone is none: see [`albums`](crate::model::albums).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album: Option<AlbumId>,
    /// A number that links to the photo carry: those of before it was made private open nothing any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub link_generation: u64,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Photo {
    /// Which item of its batch it is.
    pub fn item(&self) -> ItemId {
        self.batch_item.unwrap_or_else(|| self.id.into())
    }
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

pub(in crate::model) async fn put(tx: &Transaction, photo: &Photo) -> Result<(), StoreError> {
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

/// The owner's newest photo of these bytes, if they have one.
///
/// # Errors
/// Those of the engine.
pub async fn of_content(
    tx: &Transaction,
    owner: &OwnerId,
    hash: &ContentHash,
) -> Result<Option<Photo>, StoreError> {
    let by_content = PHOTOS_BY_CONTENT.key(&(owner.as_str(), &hash.0[..]));
    match tx.get(&by_content).await? {
        Some(bytes) => get(tx, record::decode(&by_content, &bytes)?).await,
        None => Ok(None),
    }
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

pub(super) fn count(tx: &Transaction, state: State, by: i64) -> Result<(), StoreError> {
    tx.atomic_add(&count_key(state), by)
}
