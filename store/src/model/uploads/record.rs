//! The record of an upload, the rows of its pieces, its indexes, and what all of them together hold.

use serde::{Deserialize, Serialize};

use super::super::batches::{self, NotAdmitted};
use super::super::idempotency::{self, UploadKey};
use super::super::jobs::Lease;
use super::super::photos::Fields;
use super::super::posts::Draft;
use super::super::subspaces::{UPLOAD_COUNTS, UPLOAD_PIECES, UPLOADS, UPLOADS_BY_CONTENT, UPLOADS_BY_EXPIRY};
use super::super::{BatchId, ContentHash, LeaseId, OwnerId, PhotoId, Timestamp, UploadId, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::objects::ObjectKey;

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum State {
    /// Bytes are missing, or the client has not said that there are no more.
    Open,
    /// Every byte is durable; the photo is being made of them, or will be when somebody asks.
    Finishing,
    /// It has become a photo.
    Done {
        /// Which.
        photo: PhotoId,
        /// The owner had a photo with these bytes before: this is that one.
        duplicate: bool,
    },
    /// It will never be a photo.
    Refused {
        /// The problem's code.
        code: String,
        /// A sentence for its user.
        detail: String,
    },
    /// A part whose pieces belong to another upload now.
    Joined {
        /// Which.
        into: UploadId,
    },
    /// Its client wants it no more, or never came back.
    Terminated,
}

impl State {
    /// The word in the API and in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finishing => "finishing",
            Self::Done { .. } => "done",
            Self::Refused { .. } => "refused",
            Self::Joined { .. } => "joined",
            Self::Terminated => "terminated",
        }
    }

    /// Whether nothing changes any more.
    pub fn is_end(&self) -> bool {
        !matches!(self, Self::Open | Self::Finishing)
    }
}

/// What an upload is to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Kind {
    /// A photo.
    Plain,
    /// A part of another upload.
    Partial,
    /// A photo out of these parts, in this order.
    Final {
        /// The partial uploads.
        parts: Vec<UploadId>,
    },
}

/// What the client said of the photo when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// The file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its media type. Not believed, but checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_type: Option<String>,
    /// The batch that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// What is said of the photo.
    #[serde(skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// Make a photo of its own even if the owner has one with these bytes.
    pub allow_duplicate: bool,
    /// The post in which it is to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Draft>,
    /// BLAKE3 of the whole, by the client's word: whoever asks with it where to go on is told this upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentHash>,
    /// The parts as they were named (`Upload-Concat`), which are told back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concat: Option<String>,
    /// Everything as it was sent (`Upload-Metadata`), which is told back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_sent: Option<String>,
}

/// A file on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Whose it is.
    pub owner: OwnerId,
    /// What it is to become.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// Bytes of the whole, once they are known.
    pub length: Option<u64>,
    /// Bytes that are durable, from the first on.
    pub offset: u64,
    /// Bytes that it may come to, which count against [`Limits::bytes_max`] for as long as it is open: reserved when it
    /// begins, so that whatever has begun can be brought to its end.
    #[serde(default)]
    pub reserved: u64,
    /// How many pieces they lie in.
    pub pieces: u64,
    /// Whether the first bytes were found to be those of a photo within the limits.
    #[serde(default)]
    pub recognized: bool,
    /// What the client said of the photo.
    pub wishes: Wishes,
    /// When it began.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When the record goes: of an open upload unless more bytes come before.
    pub expires: Timestamp,
    /// When the Janitor looks next: where the record stands in the index.
    pub look: Timestamp,
    /// Who appends.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// Who gave the last lease back: tells a second run of that transaction apart.
    #[serde(default)]
    pub released_by: Option<LeaseId>,
}

impl Upload {
    /// Whether every byte is here, as far as the length is known.
    pub fn is_whole(&self) -> bool {
        self.length == Some(self.offset)
    }
}

/// One object with some of an upload's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset of its first byte.
    pub start: u64,
    /// How many it has.
    pub bytes: u64,
    /// Where they are.
    pub object: ObjectKey,
    /// Their BLAKE3.
    pub hash: ContentHash,
}

impl Piece {
    /// Offset of the first byte after it.
    pub fn end(&self) -> u64 {
        self.start + self.bytes
    }
}

/// What stands under a piece's key, which tells its start.
#[derive(Serialize, Deserialize)]
struct PieceRow {
    bytes: u64,
    object: ObjectKey,
    hash: ContentHash,
}

/// How much may be open at once. Whatever begins in the same moment may go beyond by so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Uploads of everybody.
    pub open_max: u64,
    /// Uploads of one owner.
    pub open_per_owner_max: u64,
    /// Bytes that are reserved for all of them.
    pub bytes_max: u64,
    /// Bytes that are reserved for those of one owner.
    pub bytes_per_owner_max: u64,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// [`Limits::open_max`].
    Open,
    /// [`Limits::open_per_owner_max`].
    OpenOfOwner,
    /// [`Limits::bytes_max`].
    Bytes,
    /// [`Limits::bytes_per_owner_max`].
    BytesOfOwner,
}

/// Why an upload was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBegun {
    /// A limit is reached.
    Over(OverLimit),
    /// The batch that it names would not take its photo.
    Batch(NotAdmitted),
    /// An earlier attempt at the same request has begun it, and it has gone since.
    Gone,
}

/// What is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Uploads that have not ended.
    pub open: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that they may come to.
    pub reserved: u64,
}

/// The upload, if it exists.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: UploadId) -> Result<Option<Upload>, StoreError> {
    let key = UPLOADS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Makes an upload durable, bound to the request under a key that makes it. The upload as it is: a second run finds its
/// own, and another attempt at the same request that of the first.
///
/// # Errors
/// Those of the engine.
pub async fn create(
    tx: &Transaction,
    upload: &Upload,
    limits: &Limits,
    key: Option<&UploadKey>,
) -> Result<Result<Upload, NotBegun>, StoreError> {
    match made_before(tx, upload.id, key).await? {
        Before::Not => {}
        Before::There(found) => return Ok(Ok(found)),
        Before::Gone => return Ok(Err(NotBegun::Gone)),
    }
    if let Some(over) = over_limit(tx, &upload.owner, limits).await? {
        return Ok(Err(NotBegun::Over(over)));
    }
    if let Some(batch) = upload.wishes.batch
        && let Err(why) = batches::admission(tx, batch, &upload.owner).await?
    {
        return Ok(Err(NotBegun::Batch(why)));
    }
    insert(tx, upload)?;
    if let Some(key) = key {
        idempotency::bind_upload(tx, key, upload.id).await?;
    }
    Ok(Ok(upload.clone()))
}

/// What there is already of an upload that is to be made.
pub(super) enum Before {
    /// Nothing.
    Not,
    /// All of it.
    There(Upload),
    /// It was made, and is no more.
    Gone,
}

/// What an earlier run of this transaction has made, or an earlier attempt at the same request.
pub(super) async fn made_before(
    tx: &Transaction,
    id: UploadId,
    key: Option<&UploadKey>,
) -> Result<Before, StoreError> {
    if let Some(own) = get(tx, id).await? {
        return Ok(Before::There(own));
    }
    let Some(key) = key else { return Ok(Before::Not) };
    let Some(earlier) = idempotency::upload_of(tx, key).await? else { return Ok(Before::Not) };
    Ok(get(tx, earlier).await?.map_or(Before::Gone, Before::There))
}

async fn over_limit(
    tx: &Transaction,
    owner: &OwnerId,
    limits: &Limits,
) -> Result<Option<OverLimit>, StoreError> {
    let (all, own) = (usage(tx, None).await?, usage(tx, Some(owner)).await?);
    Ok(if own.open >= limits.open_per_owner_max {
        Some(OverLimit::OpenOfOwner)
    } else if all.open >= limits.open_max {
        Some(OverLimit::Open)
    } else if own.reserved >= limits.bytes_per_owner_max {
        Some(OverLimit::BytesOfOwner)
    } else if all.reserved >= limits.bytes_max {
        Some(OverLimit::Bytes)
    } else {
        None
    })
}

/// Writes an upload that was not there before, with its place in the indexes.
pub(super) fn insert(tx: &Transaction, upload: &Upload) -> Result<(), StoreError> {
    put(tx, upload)?;
    tx.set(&UPLOADS_BY_EXPIRY.key(&(upload.look.0, upload.id.0)), &[])?;
    if let Some(content) = &upload.wishes.content {
        tx.set(&by_content(&upload.owner, content), &record::encode(&upload.id)?)?;
    }
    count(tx, &upload.owner, Change::begun(upload))
}

pub(super) fn put(tx: &Transaction, upload: &Upload) -> Result<(), StoreError> {
    tx.set(&UPLOADS.key(&(upload.id.0,)), &record::encode(upload)?)
}

/// Has the Janitor look at another time. The caller puts the record.
pub(super) fn look_at(tx: &Transaction, upload: &mut Upload, at: Timestamp) -> Result<(), StoreError> {
    tx.clear(&UPLOADS_BY_EXPIRY.key(&(upload.look.0, upload.id.0)))?;
    upload.look = at;
    tx.set(&UPLOADS_BY_EXPIRY.key(&(at.0, upload.id.0)), &[])
}

/// Takes the record out of everything. Its pieces have gone before.
pub(super) async fn remove(tx: &Transaction, upload: &Upload) -> Result<(), StoreError> {
    tx.clear(&UPLOADS.key(&(upload.id.0,)))?;
    tx.clear(&UPLOADS_BY_EXPIRY.key(&(upload.look.0, upload.id.0)))?;
    forget_content(tx, upload).await
}

/// Nobody is told any more that the bytes which were announced are on their way in this upload.
pub(super) async fn forget_content(tx: &Transaction, upload: &Upload) -> Result<(), StoreError> {
    let Some(content) = &upload.wishes.content else { return Ok(()) };
    let key = by_content(&upload.owner, content);
    // A later upload of the same bytes may have taken the place.
    if let Some(bytes) = tx.get(&key).await?
        && record::decode::<UploadId>(&key, &bytes)? == upload.id
    {
        tx.clear(&key)?;
    }
    Ok(())
}

fn by_content(owner: &OwnerId, content: &ContentHash) -> Vec<u8> {
    UPLOADS_BY_CONTENT.key(&(owner.as_str(), &content.0[..]))
}

/// The owner's upload that was announced to have this content and has not ended: the one that began last.
///
/// # Errors
/// Those of the engine.
pub async fn find_by_content(
    tx: &Transaction,
    owner: &OwnerId,
    content: &ContentHash,
) -> Result<Option<Upload>, StoreError> {
    let key = by_content(owner, content);
    let Some(bytes) = tx.get(&key).await? else { return Ok(None) };
    let upload = get(tx, record::decode(&key, &bytes)?).await?;
    Ok(upload.filter(|upload| !upload.state.is_end()))
}

/// The upload's pieces in order, those that begin at `from` or later, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn pieces(
    tx: &Transaction,
    id: UploadId,
    from: u64,
    limit: usize,
) -> Result<Vec<Piece>, StoreError> {
    let range = KeyRange::new(piece_key(id, from), pieces_of(id).end);
    rows(&tx.get_range(&range, RangeOptions::first(limit)).await?)
}

/// The upload's last pieces in order, at most `limit`.
pub(super) async fn tail(tx: &Transaction, id: UploadId, limit: usize) -> Result<Vec<Piece>, StoreError> {
    let options = RangeOptions { limit, reverse: true, ..Default::default() };
    let mut last = rows(&tx.get_range(&pieces_of(id), options).await?)?;
    last.reverse();
    Ok(last)
}

fn rows(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Piece>, StoreError> {
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let (_, start) = UPLOAD_PIECES.unpack::<(uuid::Uuid, u64)>(key)?;
        let PieceRow { bytes, object, hash } = record::decode(key, value)?;
        Ok(Piece { start, bytes, object, hash })
    };
    rows.iter().map(read).collect()
}

/// The piece that begins there.
pub(super) async fn piece_at(
    tx: &Transaction,
    id: UploadId,
    start: u64,
) -> Result<Option<ObjectKey>, StoreError> {
    let key = piece_key(id, start);
    let Some(value) = tx.get(&key).await? else { return Ok(None) };
    Ok(Some(record::decode::<PieceRow>(&key, &value)?.object))
}

pub(super) fn put_piece(tx: &Transaction, id: UploadId, piece: &Piece) -> Result<(), StoreError> {
    let row = PieceRow { bytes: piece.bytes, object: piece.object.clone(), hash: piece.hash };
    tx.set(&piece_key(id, piece.start), &record::encode(&row)?)
}

pub(super) fn clear_piece(tx: &Transaction, id: UploadId, start: u64) -> Result<(), StoreError> {
    tx.clear(&piece_key(id, start))
}

/// The rows of an upload's pieces.
pub(super) fn pieces_of(id: UploadId) -> KeyRange {
    UPLOAD_PIECES.range(&(id.0,))
}

fn piece_key(id: UploadId, start: u64) -> Vec<u8> {
    UPLOAD_PIECES.key(&(id.0, start))
}

/// What is open, of one owner or of all. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn usage(tx: &Transaction, owner: Option<&OwnerId>) -> Result<Usage, StoreError> {
    let read = |what: &'static str| async move {
        let key = count_key(what, owner);
        let Some(bytes) = tx.snapshot_get(&key).await? else { return Ok(0) };
        let bytes = bytes[..].try_into().map_err(|_| record::corrupt_key(&key, "not an 8-byte counter"))?;
        Ok::<_, StoreError>(u64::try_from(i64::from_le_bytes(bytes)).unwrap_or(0))
    };
    Ok(Usage { open: read(OPEN).await?, bytes: read(BYTES).await?, reserved: read(RESERVED).await? })
}

const OPEN: &str = "open";
const BYTES: &str = "bytes";
const RESERVED: &str = "reserved";

/// By how much what is open changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    open: i64,
    bytes: i64,
    reserved: i64,
}

impl Change {
    fn begun(upload: &Upload) -> Self {
        Self { open: 1, bytes: upload.offset as i64, reserved: upload.reserved as i64 }
    }

    pub(super) fn ended(upload: &Upload) -> Self {
        Self { open: -1, bytes: -(upload.offset as i64), reserved: -(upload.reserved as i64) }
    }

    pub(super) fn grown(before: &Upload, after: &Upload) -> Self {
        let by = |before: u64, after: u64| after as i64 - before as i64;
        Self {
            open: 0,
            bytes: by(before.offset, after.offset),
            reserved: by(before.reserved, after.reserved),
        }
    }
}

pub(super) fn count(tx: &Transaction, owner: &OwnerId, by: Change) -> Result<(), StoreError> {
    for (what, by) in [(OPEN, by.open), (BYTES, by.bytes), (RESERVED, by.reserved)] {
        if by != 0 {
            tx.atomic_add(&count_key(what, None), by)?;
            tx.atomic_add(&count_key(what, Some(owner)), by)?;
        }
    }
    Ok(())
}

fn count_key(what: &str, owner: Option<&OwnerId>) -> Vec<u8> {
    match owner {
        None => UPLOAD_COUNTS.key(&(what,)),
        Some(owner) => UPLOAD_COUNTS.key(&(what, owner.as_str())),
    }
}
