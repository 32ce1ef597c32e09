//! Albums: photos of one owner that belong together.
//!
//! A photo is in at most one album, which its record names; a row for each lists them, and their count changes with the
//! rows. An album goes at once, in one transaction; its rows follow in bounded ones ([`clear_ended`]), and photos that
//! still name it are in none: ids are never used again.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::photos::Photo;
use super::subspaces::{ALBUM_COUNTS, ALBUM_PHOTOS, ALBUMS, ALBUMS_BY_OWNER, ALBUMS_ENDING, Subspace};
use super::visibility::{self, Viewer, Visibility};
use super::{AlbumId, OwnerId, PhotoId, Timestamp, UserId, counters, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// Most characters of an album's title.
pub const TITLE_CHARS_MAX: usize = 200;

/// An album.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Album {
    /// Its id.
    pub id: AlbumId,
    /// Whose it is. Its photos are theirs, too.
    pub owner: UserId,
    /// What its owner calls it.
    pub title: String,
    /// Who sees the album itself. Each photo in it is seen by whom its own visibility admits.
    pub visibility: Visibility,
    /// When it was made.
    pub created: Timestamp,
    /// When its record last changed.
    pub updated: Timestamp,
}

/// What became of an album that was to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there.
    Done(Album),
    /// Its owner has as many as one may have.
    TooMany,
}

/// Makes an album; its owner may have `most`. A second run finds its own.
///
/// # Errors
/// Those of the engine.
pub async fn create(tx: &Transaction, album: &Album, most: usize) -> Result<Created, StoreError> {
    if let Some(there) = get(tx, album.id).await? {
        return Ok(Created::Done(there)); // An earlier run of this transaction, or of the request, has committed.
    }
    let of_owner = ALBUMS_BY_OWNER.range(&(album.owner.0,));
    if tx.get_range(&of_owner, RangeOptions::first(most).snapshot()).await?.len() >= most {
        return Ok(Created::TooMany);
    }
    put(tx, album)?;
    tx.set(&ALBUMS_BY_OWNER.key(&(album.owner.0, album.id.0)), &[])?;
    Ok(Created::Done(album.clone()))
}

/// The album, if there is one.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: AlbumId) -> Result<Option<Album>, StoreError> {
    let key = ALBUMS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

fn put(tx: &Transaction, album: &Album) -> Result<(), StoreError> {
    tx.set(&ALBUMS.key(&(album.id.0,)), &record::encode(album)?)
}

/// The album, if this owner has it.
///
/// # Errors
/// Those of the engine.
pub async fn of_owner(tx: &Transaction, id: AlbumId, owner: &OwnerId) -> Result<Option<Album>, StoreError> {
    Ok(get(tx, id).await?.filter(|album| OwnerId::of(album.owner) == *owner))
}

/// The album, if the viewer may see it.
///
/// # Errors
/// Those of the engine.
pub async fn seen(tx: &Transaction, viewer: Viewer, id: AlbumId) -> Result<Option<Album>, StoreError> {
    let Some(album) = get(tx, id).await? else { return Ok(None) };
    let relation = visibility::relation(tx, viewer, album.owner).await?;
    Ok(Some(album).filter(|album| album.visibility.admits(relation)))
}

/// An owner's albums, newest first, older than `before`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn list(
    tx: &Transaction,
    owner: UserId,
    before: Option<AlbumId>,
    limit: usize,
) -> Result<Vec<Album>, StoreError> {
    let ids = newest_first(tx, ALBUMS_BY_OWNER, (owner.0, before.map(|before| before.0)), limit).await?;
    let mut albums = Vec::with_capacity(ids.len());
    for id in ids {
        albums.extend(get(tx, AlbumId(id)).await?);
    }
    Ok(albums)
}

/// The photos in an album, newest first, older than `before`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn photos(
    tx: &Transaction,
    album: AlbumId,
    before: Option<PhotoId>,
    limit: usize,
) -> Result<Vec<PhotoId>, StoreError> {
    let ids = newest_first(tx, ALBUM_PHOTOS, (album.0, before.map(|before| before.0)), limit).await?;
    Ok(ids.into_iter().map(PhotoId).collect())
}

/// The second halves of a list's keys, the last first.
async fn newest_first(
    tx: &Transaction,
    subspace: Subspace,
    (list, before): (Uuid, Option<Uuid>),
    limit: usize,
) -> Result<Vec<Uuid>, StoreError> {
    let all = subspace.range(&(list,));
    let range: KeyRange = match before {
        Some(before) => all.before(&subspace.key(&(list, before))),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::last(limit).snapshot()).await?;
    rows.iter().map(|(key, _)| Ok(subspace.unpack::<(Uuid, Uuid)>(key)?.1)).collect()
}

/// How many photos are in an album. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn photos_count(tx: &Transaction, album: AlbumId) -> Result<u64, StoreError> {
    let count = counters::read(tx, ALBUM_COUNTS, &(album.0,)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Changes an album of this owner to what `change` makes of it; `None` if there is none. A second run finds it so.
///
/// # Errors
/// Those of the engine.
pub async fn edit(
    tx: &Transaction,
    (id, owner, now): (AlbumId, &OwnerId, Timestamp),
    change: impl Fn(&mut Album),
) -> Result<Option<Album>, StoreError> {
    let Some(before) = of_owner(tx, id, owner).await? else { return Ok(None) };
    let mut album = before.clone();
    change(&mut album);
    if album != before {
        album.updated = now;
        put(tx, &album)?;
    }
    Ok(Some(album))
}

/// Removes an album of this owner from everybody's sight; false if there is none. Its photos stay.
///
/// # Errors
/// Those of the engine.
pub async fn delete(tx: &Transaction, id: AlbumId, owner: &OwnerId) -> Result<bool, StoreError> {
    // Its absence is the marker: an earlier run of this transaction that may have committed had seen it.
    let Some(album) = get(tx, id).await? else { return Ok(tx.may_repeat()) };
    if OwnerId::of(album.owner) != *owner {
        return Ok(false);
    }
    tx.clear(&ALBUMS.key(&(id.0,)))?;
    tx.clear(&ALBUMS_BY_OWNER.key(&(album.owner.0, id.0)))?;
    tx.clear(&ALBUM_COUNTS.key(&(id.0,)))?;
    tx.set(&ALBUMS_ENDING.key(&(id.0,)), &[])?;
    Ok(true)
}

/// Clears rows of albums that are gone, at most `limit`; whether there may be more.
///
/// # Errors
/// Those of the engine.
pub async fn clear_ended(tx: &Transaction, limit: usize) -> Result<bool, StoreError> {
    let ended = tx.get_range(&ALBUMS_ENDING.all(), RangeOptions::first(1)).await?;
    let Some((ending, _)) = ended.first() else { return Ok(false) };
    let (album,): (Uuid,) = ALBUMS_ENDING.unpack(ending)?;
    // Nobody adds to an album that is gone, so that the rows only become fewer.
    let rows = tx.get_range(&ALBUM_PHOTOS.range(&(album,)), RangeOptions::first(limit).snapshot()).await?;
    for (row, _) in &rows {
        tx.clear(row)?;
    }
    if rows.len() < limit {
        tx.clear(ending)?;
    }
    Ok(true)
}

/// Puts a photo into an album; false if its owner has none of this id. The record of the photo is the caller's to write.
pub(in crate::model) async fn add_photo(
    tx: &Transaction,
    album: AlbumId,
    photo: &Photo,
) -> Result<bool, StoreError> {
    if of_owner(tx, album, &photo.owner).await?.is_none() {
        return Ok(false);
    }
    let row = ALBUM_PHOTOS.key(&(album.0, photo.id.0));
    if tx.get(&row).await?.is_none() {
        tx.set(&row, &[])?;
        counters::add(tx, ALBUM_COUNTS, &(album.0,), 1)?;
    }
    Ok(true)
}

/// Takes a photo out of an album, if it is there.
pub(in crate::model) async fn remove_photo(
    tx: &Transaction,
    album: AlbumId,
    photo: PhotoId,
) -> Result<(), StoreError> {
    let row = ALBUM_PHOTOS.key(&(album.0, photo.0));
    if tx.get(&row).await?.is_none() {
        return Ok(());
    }
    tx.clear(&row)?;
    // The counter of an album that is gone went with it.
    if get(tx, album).await?.is_some() { counters::add(tx, ALBUM_COUNTS, &(album.0,), -1) } else { Ok(()) }
}
