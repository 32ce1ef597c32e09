//! Who may append, and what is added.

use super::super::jobs::Lease;
use super::super::{Epoch, OwnerId, Timestamp, UploadId, objects};
use super::record::{
    Change, Kind, Piece, State, Upload, clear_piece, count, get, look_at, piece_at, put, put_piece, tail,
};
use crate::StoreError;
use crate::metadata::Transaction;

/// What became of the wish to append.
#[derive(Clone, Debug)]
pub enum Taken {
    /// The caller holds the lease. These are the upload's last pieces.
    Held(Upload, Vec<Piece>),
    /// It does not stand where the caller believes.
    Elsewhere(Upload),
    /// Nothing can be added to it any more, or never could.
    Closed(Upload),
    /// There is none, or none of this owner.
    Missing,
}

/// Takes the lease on an open upload that stands at `offset`, from whoever holds it. With it come the last `pieces`.
///
/// # Errors
/// Those of the engine.
pub async fn take(
    tx: &Transaction,
    (id, owner): (UploadId, &OwnerId),
    (offset, lease): (u64, Lease),
    pieces: usize,
) -> Result<Taken, StoreError> {
    let Some(mut upload) = get(tx, id).await?.filter(|upload| upload.owner == *owner) else {
        return Ok(Taken::Missing);
    };
    if upload.state != State::Open || matches!(upload.kind, Kind::Final { .. }) {
        return Ok(Taken::Closed(upload));
    }
    if upload.offset != offset {
        return Ok(Taken::Elsewhere(upload));
    }
    upload.lease = Some(lease);
    put(tx, &upload)?;
    let tail = tail(tx, id, pieces).await?;
    Ok(Taken::Held(upload, tail))
}

/// Takes the lease away from whoever holds it, so that the offset that is told now is the one that the next to append
/// will find. The upload as it is then.
///
/// # Errors
/// Those of the engine.
pub async fn release(tx: &Transaction, id: UploadId) -> Result<Option<Upload>, StoreError> {
    let Some(mut upload) = get(tx, id).await? else { return Ok(None) };
    if upload.lease.take().is_some() {
        put(tx, &upload)?;
    }
    Ok(Some(upload))
}

/// What is added under a lease.
#[derive(Clone, Debug)]
pub struct Append<'a> {
    /// To which upload.
    pub id: UploadId,
    /// The caller's.
    pub lease: Lease,
    /// Under which the pieces were intended.
    pub epoch: Epoch,
    /// When.
    pub now: Timestamp,
    /// When the upload expires if nothing more comes.
    pub expires: Timestamp,
    /// Older pieces that the first of `pieces` repeats, and takes the place of.
    pub folded: &'a [Piece],
    /// New pieces in order, put durably.
    pub pieces: &'a [Piece],
    /// The length of the whole, where it has become known.
    pub length: Option<u64>,
    /// See [`Upload::recognized`].
    pub recognized: bool,
    /// Whether the client has said that there are no more bytes.
    pub complete: bool,
    /// Whether the caller is done, and gives its lease back.
    pub release: bool,
}

/// What became of an [`Append`].
#[derive(Clone, Debug)]
pub enum Appended {
    /// The bytes are the upload's.
    Done(Upload),
    /// Somebody else has the lease, or the upload has ended: nothing changed.
    LeaseLost,
    /// The intent of a piece is gone: nothing changed.
    IntentGone,
}

/// Adds pieces to an upload, all of them or none.
///
/// # Errors
/// Those of the engine.
pub async fn append(tx: &Transaction, by: &Append<'_>) -> Result<Appended, StoreError> {
    let Some(mut upload) = get(tx, by.id).await? else { return Ok(Appended::LeaseLost) };
    if has_run(tx, &upload, by).await? {
        return Ok(Appended::Done(upload));
    }
    if upload.lease.map(|lease| lease.id) != Some(by.lease.id) || upload.state != State::Open {
        return Ok(Appended::LeaseLost);
    }
    for piece in by.pieces {
        if !objects::is_intended(tx, by.epoch, &piece.object).await? {
            return Ok(Appended::IntentGone);
        }
    }
    for old in by.folded {
        clear_piece(tx, by.id, old.start)?;
        objects::bury(tx, &old.object)?;
    }
    for piece in by.pieces {
        objects::fulfil(tx, by.epoch, &piece.object)?;
        put_piece(tx, by.id, piece)?;
    }
    let before = upload.clone();
    upload.offset = by.pieces.last().map_or(upload.offset, Piece::end);
    upload.pieces = (upload.pieces + by.pieces.len() as u64).saturating_sub(by.folded.len() as u64);
    upload.length = upload.length.or(by.length);
    upload.recognized |= by.recognized;
    if by.complete && upload.kind == Kind::Plain {
        upload.state = State::Finishing;
        upload.length = Some(upload.offset);
    }
    // A length that has become known takes the place of the largest that it could have been.
    upload.reserved = upload.length.map_or(upload.reserved, |length| length.min(upload.reserved));
    count(tx, &upload.owner, Change::grown(&before, &upload))?;
    if by.release {
        upload.lease = None;
        upload.released_by = Some(by.lease.id);
    }
    (upload.updated, upload.expires) = (by.now, by.expires);
    look_at(tx, &mut upload, by.expires)?;
    put(tx, &upload)?;
    Ok(Appended::Done(upload))
}

/// Whether an earlier run of this transaction has committed.
async fn has_run(tx: &Transaction, upload: &Upload, by: &Append<'_>) -> Result<bool, StoreError> {
    if by.release && upload.released_by == Some(by.lease.id) {
        return Ok(true);
    }
    let Some(first) = by.pieces.first() else { return Ok(false) };
    Ok(piece_at(tx, by.id, first.start).await?.as_ref() == Some(&first.object))
}
