//! Objects that others have put into the bucket, told of by its events.

use darkroom_store::model::direct::{DirectUpload, Source, State, upload_key};
use darkroom_store::model::photos::Fields;
use darkroom_store::model::{OwnerId, Timestamp, UploadId};
use darkroom_store::objects::ObjectKind;
use darkroom_store::objects::s3::{Bucket, FoundObject};
use uuid::Uuid;

use super::DirectError;
use super::finish::Sent;
use super::open::milliseconds;
use crate::error::{BodyError, IngestError};
use crate::permits::Lease;
use crate::pipeline::Pipeline;
use crate::stages::ingestor::Ingested;

/// What the name of an object that was created means to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The bytes of a direct upload.
    Upload(UploadId),
    /// An object of this name, which is to be imported.
    Import(String),
    /// Nothing: of another bucket, our own, or under no prefix of ours.
    Nothing,
}

impl Pipeline {
    /// What an object of this name in the bucket of this name means. Says nothing of whether there is one.
    pub fn meaning_of(&self, bucket: &str, name: &str) -> Found {
        let Ok(ours) = self.bucket() else { return Found::Nothing };
        if bucket != ours.bucket_name() {
            return Found::Nothing;
        }
        let import = &self.options().direct.import_prefix;
        meaning_in(ours.prefix(), import, name)
    }

    /// How many bytes a found object has; `None` if there is none. For the lease.
    ///
    /// # Errors
    /// [`DirectError`].
    pub async fn look_at_found(&self, name: &str) -> Result<Option<FoundObject>, DirectError> {
        Ok(self.bucket()?.look_at(name).await?)
    }

    /// Makes a photo of an object that somebody else has put into the bucket, or tells what became of it before.
    ///
    /// # Errors
    /// [`DirectError`].
    pub async fn import_found(
        &self,
        lease: Lease,
        owner: OwnerId,
        name: &str,
        found: &FoundObject,
    ) -> Result<Ingested, DirectError> {
        let limit = self.options().upload_bytes_max;
        if found.bytes > limit {
            return Err(IngestError::Body(BodyError::TooLarge { limit }).into());
        }
        let upload = self.record_of(owner, name, found);
        self.open_record(&upload, None).await?;
        let (pipeline, name, found) = (self.clone(), name.to_owned(), found.clone());
        let work = async move {
            let ingested = pipeline.finish_direct(lease, upload.id, Sent::default()).await?;
            if pipeline.options().direct.import_delete {
                delete(pipeline.bucket()?, &name, &found).await;
            }
            Ok(ingested)
        };
        // Whoever has sent the event may hang up before the photo is durable, and the object is deleted after that.
        tokio::spawn(work).await.unwrap_or(Err(IngestError::Restarting.into()))
    }

    fn record_of(&self, owner: OwnerId, name: &str, found: &FoundObject) -> DirectUpload {
        let (options, now) = (&self.options().direct, Timestamp::now());
        let expires = now.after(options.expires);
        DirectUpload {
            id: id_of(name, found),
            owner,
            source: Source::Found { name: name.to_owned(), tag: found.tag.clone() },
            bytes: found.bytes,
            media_type: None,
            blake3: None,
            sha256: None,
            name: name.rsplit('/').next().map(str::to_owned),
            batch: None,
            fields: Fields::default(),
            allow_duplicate: false,
            publish: None,
            parts: None,
            created: now,
            expires,
            kept_ms: milliseconds(options.kept),
            due: expires.after(options.finish_timeout),
            state: State::Open,
            claim: None,
            swept: false,
        }
    }
}

/// Removes an object that is a photo now, unless it is another one by now. What fails is left there.
async fn delete(bucket: &Bucket, name: &str, found: &FoundObject) {
    let deleted = async {
        match bucket.look_at(name).await? {
            Some(now) if now == *found => bucket.delete_found(name).await,
            _ => Ok(()),
        }
    };
    if let Err(error) = deleted.await {
        tracing::warn!(object = name, %error, "an object that was imported could not be deleted; it is left in the bucket");
    }
}

/// The id of what becomes of this content under this name: the same whenever it is told of.
fn id_of(name: &str, found: &FoundObject) -> UploadId {
    let mut hasher = blake3::Hasher::new();
    for part in [name.as_bytes(), found.tag.as_bytes(), &found.bytes.to_be_bytes()] {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    UploadId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// `prefix` is what all of our keys begin with, `import` what is imported; both end with a slash, or are empty.
fn meaning_in(prefix: &str, import: &str, name: &str) -> Found {
    let ours = name.strip_prefix(prefix).and_then(|key| key.strip_prefix("uploads/"));
    if let Some(id) = ours.and_then(|id| Uuid::parse_str(id).ok()).map(UploadId)
        && name.ends_with(upload_key(id).as_str())
    {
        return Found::Upload(id);
    }
    // What we have written ourselves must not come back as somebody's photo.
    let kinds = ObjectKind::ALL.map(|kind| format!("{prefix}{}/", kind.prefix()));
    let is_own = kinds.iter().any(|kind| name.starts_with(kind));
    // Folders made by consoles are empty objects whose names end so.
    let is_import = !import.is_empty() && name.starts_with(import) && !name.ends_with('/') && !is_own;
    if is_import { Found::Import(name.to_owned()) } else { Found::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_an_upload_an_import_or_nothing() {
        let id = UploadId::new();
        let meaning = |name: &str| meaning_in("photos/", "in/", name);
        assert_eq!(meaning(&format!("photos/uploads/{id}")), Found::Upload(id));
        assert_eq!(meaning("in/a b.jpg"), Found::Import("in/a b.jpg".to_owned()));
        let simple = id.0.simple();
        for nothing in [
            format!("uploads/{id}"),
            format!("photos/uploads/{simple}"),
            format!("photos/originals/{id}"),
            "photos/uploads/../x".to_owned(),
            "in/".to_owned(),
            "other".to_owned(),
        ] {
            assert_eq!(meaning(&nothing), Found::Nothing, "{nothing}");
        }
        assert_eq!(meaning_in("", "", "x.jpg"), Found::Nothing);
        assert_eq!(meaning_in("a/", "a/", "a/variants/x"), Found::Nothing);
    }

    #[test]
    fn the_same_content_under_the_same_name_has_the_same_id() {
        let found = |tag: &str, bytes| FoundObject { bytes, tag: tag.to_owned(), sha256: None };
        let id = id_of("in/a", &found("1", 5));
        assert_eq!(id, id_of("in/a", &found("1", 5)));
        for other in
            [id_of("in/b", &found("1", 5)), id_of("in/a", &found("2", 5)), id_of("in/a1", &found("", 5))]
        {
            assert_ne!(id, other);
        }
    }
}
