//! How an upload ends: as a photo, refused, or given up; and how its pieces go then.
//!
//! The transaction that makes the photo also settles the upload, so that nobody makes a second photo of the same upload,
//! however often its end is asked for, and by whichever node.

use super::super::photos::{Created, Creation};
use super::super::subspaces::UPLOADS_BY_EXPIRY;
use super::super::{LeaseId, OwnerId, PhotoId, Timestamp, UploadId, jobs, objects, photos};
use super::record::{
    Change, State, Upload, clear_piece, count, forget_content, get, look_at, pieces, put, remove,
};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// The upload that a photo is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub upload: UploadId,
    /// When its record goes.
    pub expires: Timestamp,
}

/// What has become of the upload before, if its photo is not to be made by this creation: that photo, or that the upload
/// is none any more.
///
/// # Errors
/// Those of the engine.
pub(in super::super) async fn settled_before(
    tx: &Transaction,
    ending: &Ending,
    creation: &Creation,
) -> Result<Option<Created>, StoreError> {
    let Some(upload) = get(tx, ending.upload).await? else { return Ok(Some(Created::UploadGone)) };
    match upload.state {
        State::Finishing => Ok(None),
        // By an earlier run of this transaction, which the creation itself will recognize.
        State::Done { photo, .. } if photo == creation.photo.id => Ok(None),
        State::Done { photo, duplicate } => {
            if jobs::get(tx, creation.job.id).await?.is_some() {
                return Ok(None);
            }
            let photo = photos::get(tx, photo).await?;
            Ok(Some(photo.map_or(Created::UploadGone, |photo| Created::Settled(photo, duplicate))))
        }
        _ => Ok(Some(Created::UploadGone)),
    }
}

/// Notes what the upload has become. A second run finds it noted.
///
/// # Errors
/// Those of the engine.
pub(in super::super) async fn settle(
    tx: &Transaction,
    ending: &Ending,
    (photo, duplicate): (PhotoId, bool),
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(upload) = get(tx, ending.upload).await? else { return Ok(()) };
    if upload.state == State::Finishing {
        close(tx, upload, State::Done { photo, duplicate }, now, ending.expires).await?;
    }
    Ok(())
}

/// An upload to be ended without a photo.
#[derive(Clone, Debug)]
pub struct End {
    /// Which.
    pub id: UploadId,
    /// As what: [`State::Refused`] or [`State::Terminated`].
    pub state: State,
    /// Only if this lease is still the last: a request that has been overtaken does not end what another goes on with.
    pub holder: Option<LeaseId>,
    /// When.
    pub now: Timestamp,
    /// When the record goes.
    pub expires: Timestamp,
}

/// What became of an [`End`].
#[derive(Clone, Debug)]
pub enum Ended {
    /// It has ended, with this or before. The upload as it was found.
    Found(Upload),
    /// Another has taken it over from the holder: nothing changed.
    LeaseLost,
    /// There is none, or none of this owner.
    Missing,
}

/// Ends an upload of this owner, unless it has ended already.
///
/// # Errors
/// Those of the engine.
pub async fn end(tx: &Transaction, owner: &OwnerId, by: &End) -> Result<Ended, StoreError> {
    let Some(upload) = get(tx, by.id).await?.filter(|upload| upload.owner == *owner) else {
        return Ok(Ended::Missing);
    };
    if upload.state.is_end() {
        // What has ended and is wanted no more goes with its record; a part's pieces are another's.
        if by.state == State::Terminated {
            let mut gone = upload.clone();
            gone.state = State::Terminated;
            gone.expires = by.expires;
            look_at(tx, &mut gone, by.now)?;
            put(tx, &gone)?;
        }
        return Ok(Ended::Found(upload));
    }
    let last = upload.lease.map(|lease| lease.id).or(upload.released_by);
    if by.holder.is_some() && by.holder != last {
        return Ok(Ended::LeaseLost);
    }
    let found = upload.clone();
    close(tx, upload, by.state.clone(), by.now, by.expires).await?;
    Ok(Ended::Found(found))
}

/// From now on nothing is added, and the Janitor takes the pieces.
async fn close(
    tx: &Transaction,
    mut upload: Upload,
    state: State,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), StoreError> {
    count(tx, &upload.owner, Change::ended(&upload))?;
    forget_content(tx, &upload).await?;
    upload.state = state;
    upload.lease = None;
    (upload.updated, upload.expires) = (now, expires);
    look_at(tx, &mut upload, now)?;
    put(tx, &upload)
}

/// What is left of an upload after a sweep of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It had expired and has just been ended: its pieces are to be buried.
    Expired,
    /// More pieces are to be buried.
    More,
    /// Nothing to do before it expires, or nothing at all.
    Clean,
    /// It is gone.
    Gone,
}

/// Does what is due for an upload: ends one that has expired, buries at most `limit` of the pieces of one that has ended,
/// and forgets it when its time has come.
///
/// # Errors
/// Those of the engine.
pub async fn sweep(
    tx: &Transaction,
    id: UploadId,
    now: Timestamp,
    limit: usize,
) -> Result<Swept, StoreError> {
    let Some(mut upload) = get(tx, id).await? else { return Ok(Swept::Gone) };
    if !upload.state.is_end() {
        if upload.expires > now {
            return Ok(Swept::Clean);
        }
        close(tx, upload, State::Terminated, now, now).await?;
        return Ok(Swept::Expired);
    }
    let list = pieces(tx, id, 0, limit).await?;
    for piece in &list {
        clear_piece(tx, id, piece.start)?;
        objects::bury(tx, &piece.object)?;
    }
    if list.len() == limit {
        return Ok(Swept::More);
    }
    if upload.expires <= now {
        remove(tx, &upload).await?;
        return Ok(Swept::Gone);
    }
    upload.pieces = 0;
    let expires = upload.expires;
    if upload.look != expires {
        look_at(tx, &mut upload, expires)?;
        put(tx, &upload)?;
    }
    Ok(Swept::Clean)
}

/// An upload for which something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub id: UploadId,
    /// Since when.
    pub look: Timestamp,
}

/// The uploads for which something is to be done at `now`, the longest due first, at most `limit`: those that come `after`
/// one, so that what cannot be done for one of them keeps it from no other.
///
/// # Errors
/// Those of the engine.
pub async fn due(
    tx: &Transaction,
    now: Timestamp,
    after: Option<Due>,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    let mut begin =
        after.map_or(UPLOADS_BY_EXPIRY.all().begin, |due| UPLOADS_BY_EXPIRY.key(&(due.look.0, due.id.0)));
    if after.is_some() {
        begin.push(0);
    }
    let range = KeyRange::new(begin, UPLOADS_BY_EXPIRY.key(&(now.0 + 1,)));
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let rows = tx.get_range(&range, options).await?;
    let due = |(key, _): &(Vec<u8>, Vec<u8>)| {
        let (look, id) = UPLOADS_BY_EXPIRY.unpack::<(u64, uuid::Uuid)>(key)?;
        Ok(Due { id: UploadId(id), look: Timestamp(look) })
    };
    rows.iter().map(due).collect()
}
