//! A photo is made durable, with its job: the transaction after which its upload is acknowledged.

use super::photo::count;
use super::{Failure, ORIGINAL_MISSING, Photo, State, get, of_content, put};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::batches::{self, ItemState, NotAdmitted};
use crate::model::subspaces::{PHOTO_DOUBLES, PHOTOS_BY_CONTENT, PHOTOS_BY_OWNER};
use crate::model::{
    Epoch, albums, blobs, healing, idempotency, jobs, objects, posts, record, uploads, usage,
};
use crate::objects::ObjectKey;

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
    /// The number that the photo has in a request with an idempotency key.
    pub key: Option<idempotency::PhotoKey>,
    /// What the object store said of the object that has had these bytes so far, after [`Created::Stored`]. `None` at
    /// first.
    pub seen: Option<Seen>,
    /// The upload whose bytes these are, which ends with this.
    pub upload: Option<uploads::Ending>,
    /// How much its owner may have.
    pub quota: usage::Quota,
    /// The post in which it is to be shown, and [`Identity::history`](crate::model::identity::Identity::history).
    pub publish: Option<(posts::Draft, u64)>,
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
    /// The batch that the upload names does not take it; nothing was made.
    NotAdmitted(NotAdmitted),
    /// An earlier attempt at the same request has made this; nothing was made now. The photo is as it was acknowledged
    /// then, without what its probe found.
    Replayed {
        /// The photo.
        photo: Photo,
        /// Whether it was acknowledged as one that the owner had before.
        duplicate: bool,
    },
    /// An earlier request under the same idempotency key had other bytes in this place; nothing was made.
    KeyReused,
    /// Somebody else has made the photo of this upload before, and whether that was a duplicate; nothing was made.
    Settled(Photo, bool),
    /// The upload has ended otherwise, or its photo was deleted; nothing was made.
    UploadGone,
    /// The owner uses so much that the photo is more than the quota; nothing was made.
    OverQuota(usage::Usage),
    /// The photo, which the owner had before, cannot be shown in the post that was wished for; nothing was made.
    NotPublished(posts::Created),
}

/// Makes a photo durable, once for each place in a request that has an idempotency key. The upload that it comes from
/// ends in the same transaction, and the post that is to show it begins.
///
/// # Errors
/// Those of the engine.
pub async fn create(tx: &Transaction, creation: &Creation) -> Result<Created, StoreError> {
    if let Some(known) = idempotency::known(tx, creation).await? {
        return Ok(known);
    }
    let created = end_upload(tx, creation).await?;
    if let (
        Some((draft, history)),
        Created::New(photo) | Created::Duplicate(photo) | Created::Retried(photo),
    ) = (&creation.publish, &created)
    {
        posts::create_with_photo(tx, (draft, *history), photo, creation.photo.created).await?;
    }
    idempotency::bind(tx, creation, &created).await?;
    Ok(created)
}

async fn end_upload(tx: &Transaction, creation: &Creation) -> Result<Created, StoreError> {
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

/// Makes a photo durable, with the object that has its bytes already, or else with the one that was just put.
async fn make(tx: &Transaction, creation: &Creation) -> Result<Created, StoreError> {
    let mut photo = creation.photo.clone();
    if let Some(photo) = get(tx, photo.id).await? {
        return Ok(Created::New(photo)); // An earlier run of this transaction has committed.
    }
    if let Some(batch) = photo.batch
        && let Err(why) = batches::admission(tx, batch, &photo.owner).await?
    {
        return Ok(Created::NotAdmitted(why));
    }
    let same = of_content(tx, &photo.owner, &photo.original.hash).await?;
    let blob = blobs::get(tx, &photo.original.hash).await?;
    let is_double = same.is_some();
    if let Some((draft, _)) = &creation.publish {
        let shown = same.as_ref().filter(|_| !creation.allow_duplicate).unwrap_or(&photo);
        if let Some(why) = posts::refused_with_photo(tx, draft, shown).await? {
            return Ok(Created::NotPublished(why));
        }
    }
    if !creation.allow_duplicate
        && let Some(same) = same
    {
        return duplicate(tx, same, blob, creation).await;
    }
    if let Some(used) = usage::without_room(tx, &photo, &creation.quota).await? {
        return Ok(Created::OverQuota(used));
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
    if let Some(album) = photo.album
        && !albums::add_photo(tx, album, &photo).await?
    {
        photo.album = None; // Deleted since the upload was asked for: its photos stay, and so does this one.
    }
    blobs::add_reference(tx, &photo.original.hash, photo.id)?;
    put(tx, &photo).await?;
    tx.set(&PHOTOS_BY_OWNER.key(&(photo.owner.as_str(), photo.id.0)), &[])?;
    let (owner, hash) = (photo.owner.as_str(), &photo.original.hash.0[..]);
    if is_double {
        tx.set(&PHOTO_DOUBLES.key(&(owner, hash, photo.id.0)), &[])?;
    } else {
        tx.set(&PHOTOS_BY_CONTENT.key(&(owner, hash)), &record::encode(&photo.id)?)?;
    }
    jobs::enqueue(tx, &creation.job)?;
    count(tx, photo.state, 1)?;
    usage::created(tx, &photo).await?;
    batches::photo_received(tx, &photo, &photo)?;
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
    let upload = &creation.photo;
    // With the creation's own job, or as its own item, an earlier run of this transaction has revived the photo.
    let is_own = photo.batch_item == Some(upload.id.into());
    if photo.state != State::Failed && (is_own || jobs::get(tx, creation.job.id).await?.is_some()) {
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
        batches::duplicate_received(tx, upload, photo.id).await?;
        return Ok(Created::Duplicate(photo));
    }
    let fresh = &upload.original;
    let is_adopted = upload.batch.is_some() && upload.batch != photo.batch;
    if !is_adopted {
        batches::photo_moved(tx, &photo, ItemState::Processing, None, upload.created).await?;
        batches::duplicate_received(tx, upload, photo.id).await?;
    }
    count(tx, photo.state, -1)?;
    // What is read of the same bytes may be more than the daemon that took the first upload read.
    photo.original.probe = fresh.probe.clone();
    photo.original.capture.clone_from(&fresh.capture);
    photo.damage.clone_from(&creation.photo.damage);
    photo.state = State::Processing;
    photo.failure = None;
    photo.updated = upload.created;
    count(tx, photo.state, 1)?;
    if is_adopted {
        // What it came to in the batch before stays there. From now on this one follows it.
        photo.batch = upload.batch;
        photo.batch_item = Some(upload.id.into());
        batches::photo_received(tx, &photo, upload)?;
    }
    put(tx, &photo).await?;
    jobs::enqueue(tx, &creation.job.clone().for_photo(photo.id))?;
    Ok(Created::Retried(photo))
}
