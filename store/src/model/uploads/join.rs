//! Many partial uploads become one: their pieces change hands, and no byte is copied.

use super::super::idempotency::{self, UploadKey};
use super::super::{OwnerId, Timestamp, UploadId};
use super::record::{
    Before, Change, Kind, State, Upload, count, get, insert, look_at, made_before, pieces, pieces_of, put,
    put_piece,
};
use crate::StoreError;
use crate::metadata::Transaction;

/// What a join must keep to.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    /// Most bytes of the whole.
    pub bytes_max: u64,
    /// Most pieces of the whole.
    pub pieces_max: u64,
    /// When the parts' records go.
    pub parts_expire: Timestamp,
}

/// What became of the wish to join.
#[derive(Clone, Debug)]
pub enum Joined {
    /// The upload that has all bytes. An earlier one, however it stands now, if the same parts in the same order were joined
    /// before.
    Done(Upload),
    /// This part does not exist, is no partial upload of this owner, or has ended.
    Missing(UploadId),
    /// This part lacks bytes.
    Unfinished(UploadId),
    /// This part belongs to another upload.
    Taken(UploadId),
    /// Together they have so many bytes, and that is more than is allowed.
    TooLarge(u64),
    /// Together they have so many pieces, and that is more than is allowed.
    TooManyPieces(u64),
    /// An earlier attempt at the same request has joined them, and the whole has gone since.
    Gone,
}

/// Makes `whole`, of kind [`Kind::Final`], out of its parts, bound to the request under a key that makes it. Its length,
/// offset and pieces are theirs.
///
/// # Errors
/// Those of the engine.
pub async fn join(
    tx: &Transaction,
    whole: &Upload,
    keep_to: &Join,
    key: Option<&UploadKey>,
) -> Result<Joined, StoreError> {
    match made_before(tx, whole.id, key).await? {
        Before::Not => {}
        Before::There(whole) => return Ok(Joined::Done(whole)),
        Before::Gone => return Ok(Joined::Gone),
    }
    let joined = join_now(tx, whole, keep_to).await?;
    if let (Joined::Done(whole), Some(key)) = (&joined, key) {
        idempotency::bind_upload(tx, key, whole.id).await?;
    }
    Ok(joined)
}

async fn join_now(tx: &Transaction, whole: &Upload, keep_to: &Join) -> Result<Joined, StoreError> {
    let Kind::Final { parts: ids } = &whole.kind else { return Ok(Joined::Missing(whole.id)) };
    let mut parts: Vec<Upload> = Vec::with_capacity(ids.len());
    for id in ids {
        match part(tx, *id, &whole.owner).await? {
            Some(part) => parts.push(part),
            None => return Ok(Joined::Missing(*id)),
        }
    }
    if let Some(earlier) = joined_before(tx, ids, &parts).await? {
        return Ok(Joined::Done(earlier));
    }
    if let Some(part) = parts.iter().find(|part| part.state != State::Open) {
        return Ok(Joined::Taken(part.id));
    }
    if let Some(part) = parts.iter().find(|part| !part.is_whole()) {
        return Ok(Joined::Unfinished(part.id));
    }
    let sum = |of: fn(&Upload) -> u64| parts.iter().map(of).fold(0, u64::saturating_add);
    let (bytes, count_of_pieces) = (sum(|part| part.offset), sum(|part| part.pieces));
    if bytes > keep_to.bytes_max {
        return Ok(Joined::TooLarge(bytes));
    }
    if count_of_pieces > keep_to.pieces_max {
        return Ok(Joined::TooManyPieces(count_of_pieces));
    }
    // No limit on what is open is asked: it takes the place of its parts, of which there is at least one.
    let mut whole = whole.clone();
    whole.pieces = move_pieces(tx, &whole, &parts).await?;
    (whole.offset, whole.length, whole.state) = (bytes, Some(bytes), State::Finishing);
    whole.reserved = bytes;
    insert(tx, &whole)?;
    close_parts(tx, whole.id, parts, keep_to.parts_expire)?;
    Ok(Joined::Done(whole))
}

async fn part(tx: &Transaction, id: UploadId, owner: &OwnerId) -> Result<Option<Upload>, StoreError> {
    let is_part = |part: &Upload| {
        part.owner == *owner
            && part.kind == Kind::Partial
            && matches!(part.state, State::Open | State::Joined { .. })
    };
    Ok(get(tx, id).await?.filter(is_part))
}

/// The upload that these parts, in this order, were joined into before: its client did not get the answer.
async fn joined_before(
    tx: &Transaction,
    ids: &[UploadId],
    parts: &[Upload],
) -> Result<Option<Upload>, StoreError> {
    let Some(State::Joined { into }) = parts.first().map(|part| &part.state) else { return Ok(None) };
    let is_same = |whole: &Upload| matches!(&whole.kind, Kind::Final { parts } if parts == ids);
    Ok(get(tx, *into).await?.filter(is_same))
}

/// Lists the pieces of the parts as those of the whole; how many there are. A part may be named twice.
async fn move_pieces(tx: &Transaction, whole: &Upload, parts: &[Upload]) -> Result<u64, StoreError> {
    let (mut start, mut all) = (0, 0);
    for part in parts {
        let list = pieces(tx, part.id, 0, usize::MAX).await?;
        for mut piece in list {
            piece.start = start;
            start = piece.end();
            all += 1;
            put_piece(tx, whole.id, &piece)?;
        }
    }
    Ok(all)
}

/// The parts have nothing any more. Their records say into what they went, for a client that asks again.
fn close_parts(
    tx: &Transaction,
    whole: UploadId,
    mut parts: Vec<Upload>,
    expires: Timestamp,
) -> Result<(), StoreError> {
    parts.sort_unstable_by_key(|part| part.id);
    parts.dedup_by_key(|part| part.id);
    for mut part in parts {
        tx.clear_range(&pieces_of(part.id))?;
        count(tx, &part.owner, Change::ended(&part))?;
        part.state = State::Joined { into: whole };
        (part.pieces, part.lease, part.expires) = (0, None, expires);
        look_at(tx, &mut part, expires)?;
        put(tx, &part)?;
    }
    Ok(())
}
