//! The JSON of a photo.

use darkroom_actors::Preset;
use darkroom_store::model::photos::{Photo, State, Variant};
use darkroom_store::model::visibility::{PhotoVisibility, Relation};
use darkroom_store::model::{ContentHash, Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;

/// A photo as clients see it.
#[derive(Clone, Debug, Serialize)]
pub struct PhotoView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner_id: String,
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Words by which it is found.
    pub tags: Vec<String>,
    /// How visible it is. Its owner's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<PhotoVisibility>,
    /// The album that it is in. Its owner's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album_id: Option<String>,
    /// How often its original was sent to others than its owner. It does not stand in the record: none, until who makes the view
    /// has read it.
    pub downloads_count: u64,
    /// The file's name, as [`file_name::tidied`] left it. It is its owner's alone: a name may tell who is in a picture,
    /// and where.
    ///
    /// [`file_name::tidied`]: darkroom_store::model::file_name::tidied
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The batch in which it is counted. That may be gone: the photo stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    /// `processing`, `ready` or `failed`.
    pub state: State,
    /// Media type of the original, by its bytes.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Width in pixels as shown.
    pub width: u32,
    /// Height in pixels as shown.
    pub height: u32,
    /// Size of the original.
    pub bytes: u64,
    /// BLAKE3 of the original, 64 hex digits.
    pub blake3: String,
    /// When the upload was acknowledged, RFC 3339.
    pub created_at: String,
    /// When the record last changed, RFC 3339.
    pub updated_at: String,
    /// Camera, exposure and time, as the original tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<Value>,
    /// What can be shown and compared before a variant is there: placeholders, dominant colour, perceptual hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks: Option<Value>,
    /// Why a part of the picture is missing, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Where the original is.
    pub original: Link,
    /// One for each preset.
    pub variants: Vec<VariantView>,
    /// Why it failed, in state `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// In the answer to an upload: the owner had a photo with these bytes, and this is that one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// A link.
#[derive(Clone, Debug, Serialize)]
pub struct Link {
    /// Path and query, on this server.
    pub url: String,
}

/// A variant, made or to be made.
#[derive(Clone, Debug, Serialize)]
pub struct VariantView {
    /// The preset's name.
    pub preset: String,
    /// Where it is; carries `v` once it is made.
    pub url: String,
    /// What it is, once it is made.
    #[serde(flatten)]
    pub made: Option<MadeView>,
}

/// What a variant is.
#[derive(Clone, Debug, Serialize)]
pub struct MadeView {
    /// What the link answers with, unless another format is accepted.
    #[serde(flatten)]
    pub file: FileView,
    /// The other formats that the same link answers with, to those who accept them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<FileView>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct FileView {
    /// Media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Size.
    pub bytes: u64,
    /// BLAKE3, 64 hex digits.
    pub blake3: String,
}

/// Why a photo failed.
#[derive(Clone, Debug, Serialize)]
pub struct FailureView {
    /// Stable, kebab-case.
    pub code: String,
    /// A sentence.
    pub detail: String,
}

/// The path of a photo.
pub fn photo_path(photo: &Photo) -> String {
    format!("/v1/photos/{}", photo.id)
}

/// The files of a preset, in the order of what clients understand.
pub fn made_in<'p>(photo: &'p Photo, preset: &str) -> Vec<&'p Variant> {
    photo.variants.iter().filter(|variant| variant.preset == preset).collect()
}

/// What a link to a preset's files carries as `v`: it changes with every byte of any of them. The one file's digits, or
/// those of a digest over all files' hashes in the order of the record.
pub fn version(made: &[&Variant]) -> String {
    match made {
        [only] => only.hash.short(),
        all => {
            let hashes: Vec<[u8; 32]> = all.iter().map(|variant| variant.hash.0).collect();
            ContentHash::of(hashes.as_flattened()).short()
        }
    }
}

/// The current link to a preset's files.
pub fn variant_url(photo: &Photo, preset: &str, made: &[&Variant]) -> String {
    format!("{}/variants/{preset}?v={}", photo_path(photo), version(made))
}

impl PhotoView {
    /// The view of a record that somebody may see who stands so to its owner: what is the owner's alone is left out.
    pub fn seen_by(relation: Relation, photo: &Photo, presets: &[Preset]) -> Self {
        let view = Self::new(photo, presets);
        if relation == Relation::Owner {
            return view;
        }
        // As it was uploaded it may tell a place and serial numbers: others are shown the way to the other one.
        let original = Link { url: format!("{}?strip=private", view.original.url) };
        Self { name: None, batch_id: None, visibility: None, album_id: None, failure: None, original, ..view }
    }

    /// The view of a record for its owner; links for every configured preset, made or not.
    pub fn new(photo: &Photo, presets: &[Preset]) -> Self {
        let variants = presets.iter().map(|preset| {
            let made = made_in(photo, &preset.name);
            match made.split_first() {
                Some((first, others)) => VariantView {
                    preset: preset.name.clone(),
                    url: variant_url(photo, &preset.name, &made),
                    made: Some(MadeView {
                        file: FileView::new(first),
                        formats: others.iter().copied().map(FileView::new).collect(),
                    }),
                },
                None => VariantView {
                    preset: preset.name.clone(),
                    url: format!("{}/variants/{}", photo_path(photo), preset.name),
                    made: None,
                },
            }
        });
        let failure = photo.failure.as_ref().filter(|_| photo.state == State::Failed);
        Self {
            id: photo.id.to_string(),
            // An owner that no user can be has no id, and nobody sees what is theirs.
            owner_id: photo.owner.user().unwrap_or(UserId::OPEN).to_string(),
            title: photo.title.clone(),
            tags: photo.tags.clone(),
            visibility: Some(photo.visibility),
            album_id: photo.album.map(|album| album.to_string()),
            downloads_count: 0,
            name: photo.name.clone(),
            batch_id: photo.batch.map(|batch| batch.to_string()),
            state: photo.state,
            media_type: photo.original.media_type.clone(),
            width: photo.original.width,
            height: photo.original.height,
            bytes: photo.original.bytes,
            blake3: photo.original.hash.to_string(),
            created_at: rfc3339(photo.created),
            updated_at: rfc3339(photo.updated),
            camera: photo.original.capture.clone(),
            looks: photo.looks.clone(),
            damage: photo.damage.clone(),
            original: Link { url: format!("{}/original", photo_path(photo)) },
            variants: variants.collect(),
            failure: failure
                .map(|failure| FailureView { code: failure.code.clone(), detail: failure.detail.clone() }),
            duplicate: false,
        }
    }
}

impl FileView {
    fn new(variant: &Variant) -> Self {
        Self {
            media_type: variant.media_type.clone(),
            width: variant.width,
            height: variant.height,
            bytes: variant.bytes,
            blake3: variant.hash.to_string(),
        }
    }
}

/// RFC 3339, with milliseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    humantime::format_rfc3339_millis(time.into()).to_string()
}

#[cfg(test)]
mod tests {
    use darkroom_store::objects::{ObjectKey, ObjectKind};

    use super::*;

    fn file(content: &[u8]) -> Variant {
        Variant {
            preset: "auto".to_owned(),
            preset_digest: String::new(),
            media_type: "image/jpeg".to_owned(),
            width: 1,
            height: 1,
            bytes: content.len() as u64,
            hash: ContentHash::of(content),
            object: ObjectKey::new(ObjectKind::Variant),
            made: Timestamp::now(),
        }
    }

    #[test]
    fn others_are_not_told_what_is_the_owners_alone() {
        let owner = UserId::new();
        let original = serde_json::json!({
            "media_type": "image/jpeg", "width": 4, "height": 3, "bytes": 9, "hash": ContentHash::of(b"a"),
            "object": ObjectKey::new(ObjectKind::Original), "probe": {}
        });
        let failure = serde_json::json!({"code": "corrupt-image", "detail": "it is"});
        let photo = serde_json::json!({
            "id": UserId::new(), "owner": owner, "state": "failed", "batch": owner, "name": "ann at home.jpg",
            "title": "Home", "tags": ["home"], "visibility": "public", "album": owner, "created": 1, "updated": 2,
            "original": original, "variants": [], "failure": failure, "settled_by": null
        });
        let photo: Photo = serde_json::from_value(photo).unwrap();
        let seen_by = |relation| serde_json::to_value(PhotoView::seen_by(relation, &photo, &[])).unwrap();
        let (own, others) = (seen_by(Relation::Owner), seen_by(Relation::SignedOut));
        assert_eq!(own["visibility"], "public");
        let mut owners: Vec<_> =
            own.as_object().unwrap().keys().filter(|key| others.get(key) != own.get(key)).collect();
        owners.sort_unstable();
        assert_eq!(owners, ["album_id", "batch_id", "failure", "name", "original", "visibility"]);
        let link = others["original"]["url"].as_str().unwrap();
        assert!(link.ends_with("/original?strip=private"), "{link}");
        assert_eq!((&others["owner_id"], &others["title"]), (&owner.to_string().into(), &"Home".into()));
        for relation in Relation::ALL.into_iter().filter(|relation| *relation != Relation::Owner) {
            assert_eq!(seen_by(relation), others, "{relation:?}");
        }
    }

    #[test]
    fn a_links_version_follows_every_file_behind_it() {
        let (a, b, c) = (file(b"a"), file(b"b"), file(b"c"));
        assert_eq!(version(&[&a]), a.hash.short());
        let both = version(&[&a, &b]);
        assert_eq!(both.len(), 16);
        for other in
            [version(&[&a, &c]), version(&[&c, &b]), version(&[&b, &a]), a.hash.short(), b.hash.short()]
        {
            assert_ne!(both, other);
        }
        assert_eq!(version(&[&a, &b]), both);
    }
}
