//! What an owner says of a photo, when it is uploaded and later.

use serde::{Deserialize, Serialize};

use super::Photo;
use crate::model::AlbumId;
use crate::model::visibility::PhotoVisibility;

/// Most characters of a title.
pub const TITLE_CHARS_MAX: usize = 200;
/// Most tags of a photo.
pub const TAGS_MAX: usize = 30;

/// What is said of a photo that is to be made. Texts are within their bounds and tags folded: whoever reads them of a
/// request sees to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fields {
    /// See [`Photo::title`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// See [`Photo::tags`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// See [`Photo::visibility`].
    pub visibility: PhotoVisibility,
    /// See [`Photo::album`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album: Option<AlbumId>,
}

impl Fields {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is said of a photo.
    pub fn said_of(photo: &Photo) -> Self {
        let Photo { title, tags, visibility, album, .. } = photo.clone();
        Self { title, tags, visibility, album }
    }

    /// The photo of which this is said.
    #[must_use]
    pub fn of(self, photo: Photo) -> Photo {
        let Self { title, tags, visibility, album } = self;
        Photo { title, tags, visibility, album, ..photo }
    }
}
