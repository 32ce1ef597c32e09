//! What must be true of metadata and objects, at any moment and at rest.

use std::collections::{BTreeMap, BTreeSet};

use darkroom_store::StoreError;
use darkroom_store::metadata::{Metadata, RangeOptions, Transaction};
use darkroom_store::model::blobs::Blob;
use darkroom_store::model::photos::{self, Photo, State};
use darkroom_store::model::subspaces::{
    BLOB_REFERENCES, BLOBS, BLOBS_TO_CHECK, INTENTS, JOBS, JOBS_BY_PHOTO, JOBS_BY_VESTING, PHOTOS,
    PHOTOS_BY_CONTENT, PHOTOS_BY_OWNER, Subspace, TOMBSTONES,
};
use darkroom_store::model::{ContentHash, PhotoId, record};
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use serde::de::DeserializeOwned;

type Row = (Vec<u8>, Vec<u8>);

/// Everything that the metadata know, at one moment, and what objects there are.
pub(super) struct Audit {
    photos: Vec<Photo>,
    blobs: BTreeMap<Vec<u8>, Blob>,
    references: BTreeSet<(Vec<u8>, PhotoId)>,
    intents: BTreeSet<String>,
    tombstones: BTreeSet<String>,
    to_check: usize,
    by_owner: BTreeSet<(String, PhotoId)>,
    by_content: Vec<((String, Vec<u8>), PhotoId)>,
    /// Rows of jobs, of the queue, and of jobs by photo.
    jobs: [usize; 3],
    photos_with_job: BTreeSet<PhotoId>,
    counts: [(State, i64); 3],
    stored: BTreeSet<String>,
}

impl Audit {
    /// Reads everything. The objects after the metadata: one that is put in between has its intent there.
    pub(super) async fn read(metadata: &Metadata, objects: &ObjectStore) -> Self {
        let mut audit = metadata.read("audit", |tx| async move { Self::records(&tx).await }).await.unwrap();
        for kind in ObjectKind::ALL {
            let keys = objects.list(kind, None, usize::MAX - 1).await.unwrap();
            audit.stored.extend(keys.iter().map(|key| key.as_str().to_owned()));
        }
        audit
    }

    async fn records(tx: &Transaction) -> Result<Self, StoreError> {
        let photos = rows(tx, PHOTOS).await?;
        let (blobs, references) = (rows(tx, BLOBS).await?, rows(tx, BLOB_REFERENCES).await?);
        let (intents, tombstones) = (rows(tx, INTENTS).await?, rows(tx, TOMBSTONES).await?);
        let (by_owner, by_content) = (rows(tx, PHOTOS_BY_OWNER).await?, rows(tx, PHOTOS_BY_CONTENT).await?);
        let by_photo = rows(tx, JOBS_BY_PHOTO).await?;
        let of_blob = |(key, _): &Row| BLOB_REFERENCES.unpack(key).map(|(hash, id)| (hash, PhotoId(id)));
        let of_owner = |(key, _): &Row| PHOTOS_BY_OWNER.unpack(key).map(|(who, id)| (who, PhotoId(id)));
        let of_job = |(key, _): &Row| JOBS_BY_PHOTO.unpack(key).map(|(id,)| PhotoId(id));
        Ok(Self {
            photos: photos.iter().map(|(key, value)| decode(key, value)).collect(),
            blobs: blobs
                .iter()
                .map(|(k, v)| (BLOBS.unpack::<(Vec<u8>,)>(k).unwrap().0, decode(k, v)))
                .collect(),
            references: references.iter().map(of_blob).collect::<Result<_, _>>()?,
            intents: intents.iter().map(|(key, _)| INTENTS.unpack::<(u64, String)>(key).unwrap().1).collect(),
            tombstones: tombstones
                .iter()
                .map(|(k, _)| TOMBSTONES.unpack::<(String,)>(k).unwrap().0)
                .collect(),
            to_check: rows(tx, BLOBS_TO_CHECK).await?.len(),
            by_owner: by_owner.iter().map(of_owner).collect::<Result<_, _>>()?,
            by_content: by_content
                .iter()
                .map(|(key, value)| (PHOTOS_BY_CONTENT.unpack(key).unwrap(), decode(key, value)))
                .collect(),
            jobs: [rows(tx, JOBS).await?.len(), rows(tx, JOBS_BY_VESTING).await?.len(), by_photo.len()],
            photos_with_job: by_photo.iter().map(of_job).collect::<Result<_, _>>()?,
            counts: photos::counts(tx).await?,
            stored: BTreeSet::new(),
        })
    }

    /// How many photos there are.
    pub(super) fn photos(&self) -> usize {
        self.photos.len()
    }

    /// What holds whoever is in the middle of whatever.
    pub(super) async fn holds_at_any_time(&self, objects: &ObjectStore) {
        for photo in &self.photos {
            self.check_original(photo, objects).await;
            for variant in &photo.variants {
                self.check_referenced(&variant.object, photo);
            }
            let job = self.photos_with_job.contains(&photo.id);
            assert_eq!(job, photo.state == State::Processing, "a job for what is processed alone: {photo:?}");
            assert!(self.by_owner.contains(&(photo.owner.as_str().to_owned(), photo.id)), "{photo:?}");
        }
        assert_eq!(self.by_owner.len(), self.photos.len());
        assert_eq!(self.references.len(), self.photos.len(), "a reference without a photo");
        let [jobs, queued, by_photo] = self.jobs;
        assert_eq!((queued, by_photo), (jobs, jobs));
        for ((owner, hash), id) in &self.by_content {
            let same = self.photos.iter().find(|photo| photo.id == *id);
            let same = same.map(|photo| (photo.owner.as_str(), &photo.original.hash.0[..]));
            assert_eq!(same, Some((&owner[..], &hash[..])), "an index that leads nowhere");
        }
        for (state, count) in self.counts {
            let found = self.photos.iter().filter(|photo| photo.state == state).count();
            assert_eq!(usize::try_from(count), Ok(found), "photos {state:?}");
        }
        for key in &self.stored {
            let known =
                self.intents.contains(key) || self.tombstones.contains(key) || self.is_referenced(key);
            assert!(known, "nobody knows of the object {key}: it would stay for ever");
        }
    }

    async fn check_original(&self, photo: &Photo, objects: &ObjectStore) {
        let (object, hash) = (&photo.original.object, &photo.original.hash);
        let bytes = objects.get_whole(object, photo.original.bytes).await.unwrap();
        let bytes = bytes.unwrap_or_else(|| panic!("a live photo lacks its original: {photo:?}"));
        assert_eq!(ContentHash::of(&bytes), *hash, "{photo:?}");
        assert!(self.references.contains(&(hash.0.to_vec(), photo.id)), "no reference: {photo:?}");
        let blob = self.blobs.get(&hash.0[..]).unwrap_or_else(|| panic!("no blob: {photo:?}"));
        assert!(blob.object == *object || blob.former.contains(object), "{blob:?} {photo:?}");
        self.check_referenced(object, photo);
    }

    fn check_referenced(&self, object: &ObjectKey, photo: &Photo) {
        let key = object.as_str();
        assert!(self.stored.contains(key), "{key} is missing: {photo:?}");
        assert!(!self.tombstones.contains(key), "{key} is about to be deleted: {photo:?}");
        assert!(!self.intents.contains(key), "{key} is taken for an orphan when its process ends: {photo:?}");
    }

    fn is_referenced(&self, key: &str) -> bool {
        let blobs = self.blobs.values().flat_map(|blob| blob.former.iter().chain([&blob.object]));
        let variants = self.photos.iter().flat_map(|photo| &photo.variants).map(|variant| &variant.object);
        blobs.chain(variants).any(|object| object.as_str() == key)
    }

    /// What holds when nobody does anything, everything is processed and the Janitor has been there.
    pub(super) async fn holds_at_rest(&self, objects: &ObjectStore) {
        self.holds_at_any_time(objects).await;
        let left = (self.intents.len(), self.tombstones.len(), self.to_check, self.jobs[0]);
        assert_eq!(left, (0, 0, 0, 0), "intents, tombstones, blobs to check, jobs");
        let contents: BTreeSet<_> = self.photos.iter().map(|photo| &photo.original.hash.0[..]).collect();
        assert_eq!(self.blobs.len(), contents.len(), "a blob without a photo");
        assert!(self.blobs.values().all(|blob| blob.former.is_empty()), "{:?}", self.blobs);
        let variants: usize = self.photos.iter().map(|photo| photo.variants.len()).sum();
        assert_eq!(self.stored.len(), contents.len() + variants, "an object that nothing refers to");
    }
}

async fn rows(tx: &Transaction, subspace: Subspace) -> Result<Vec<Row>, StoreError> {
    tx.get_range(&subspace.all(), RangeOptions::default()).await
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> T {
    record::decode(key, value).unwrap()
}
