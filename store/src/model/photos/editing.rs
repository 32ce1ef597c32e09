//! A photo's owner says something else of it, or lets others see it.

use super::{Fields, Photo, get, put};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::changes::{self, Change, What};
use crate::model::visibility::PhotoVisibility;
use crate::model::{AlbumId, OwnerId, PhotoId, Timestamp, albums};

/// Whose wish it is, of which photo, and when.
#[derive(Clone, Debug)]
pub struct Editing {
    /// The photo.
    pub photo: PhotoId,
    /// Who asks.
    pub owner: OwnerId,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of a photo that was to be edited.
#[derive(Clone, Debug)]
pub enum Edited {
    /// The photo is so now.
    Done(Photo),
    /// There is no such photo of this owner.
    NoPhoto,
    /// There is no such album of this owner.
    NoAlbum(AlbumId),
}

/// Changes what a photo's owner says of it to what `change` makes of it. Where that leaves a visibility that is narrower
/// than a post which shows the photo, the photo is hidden in that post. A second run finds it so, and changes nothing.
///
/// # Errors
/// Those of the engine.
pub async fn edit(
    tx: &Transaction,
    editing: &Editing,
    change: impl Fn(&mut Fields),
) -> Result<Edited, StoreError> {
    let found = get(tx, editing.photo).await?.filter(|photo| photo.owner == editing.owner);
    let Some(before) = found else { return Ok(Edited::NoPhoto) };
    let mut fields = Fields::said_of(&before);
    change(&mut fields);
    let mut photo = fields.of(before.clone());
    if photo == before {
        return Ok(Edited::Done(photo));
    }
    if photo.album != before.album {
        if let Some(album) = photo.album
            && !albums::add_photo(tx, album, &photo).await?
        {
            return Ok(Edited::NoAlbum(album));
        }
        if let Some(album) = before.album {
            albums::remove_photo(tx, album, photo.id).await?;
        }
    }
    if photo.visibility == PhotoVisibility::Private && before.visibility != PhotoVisibility::Private {
        photo.link_generation += 1;
    }
    photo.updated = editing.now;
    put(tx, &photo).await?;
    let what = What::PhotoChanged { photo: photo.id, owner: photo.owner.clone() };
    changes::append(tx, editing.history, &Change { at: editing.now, what })?;
    Ok(Edited::Done(photo))
}
