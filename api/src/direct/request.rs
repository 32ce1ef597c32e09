//! What clients say of a direct upload.

use darkroom_actors::direct::{BatchOf, NewDirect, Sent};
use darkroom_store::model::photos::Fields;
use darkroom_store::model::visibility::PhotoVisibility;
use darkroom_store::model::{AlbumId, BatchId, ContentHash};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Api;
use crate::caller::Caller;
use crate::fields;
use crate::problem::Problem;
use crate::upload::intake::Intake;

/// Longest name and type that are kept.
const TEXT_BYTES_MAX: usize = 1024;

/// The body of `POST /v1/direct-uploads`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    bytes: u64,
    media_type: Option<String>,
    blake3: Option<ContentHash>,
    sha256: Option<String>,
    filename: Option<String>,
    batch_id: Option<String>,
    duplicate: Option<String>,
    // Left out where they say nothing: what makes a request the same as another must not change with the daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<PhotoVisibility>,
    #[serde(skip_serializing_if = "Option::is_none")]
    album_id: Option<AlbumId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
    parts: Option<bool>,
}

/// The body of `POST …/parts`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PartsWanted {
    pub(super) from: u64,
}

impl Default for PartsWanted {
    fn default() -> Self {
        Self { from: 1 }
    }
}

/// The body of `POST …/complete`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Completed {
    parts: Vec<SentPart>,
    /// In place of the batch that was announced; null: none.
    #[serde(rename = "batch_id", deserialize_with = "given")]
    batch: BatchOf,
}

/// A part that was sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentPart {
    number: u64,
    etag: String,
}

/// Tells null from what is not there.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<BatchOf, D::Error> {
    Option::<BatchId>::deserialize(value).map(BatchOf::Instead)
}

impl Completed {
    pub(super) fn into_sent(self) -> Sent {
        let parts = self.parts.into_iter().map(|part| (part.number, part.etag)).collect();
        Sent { parts, batch: self.batch }
    }
}

impl Wanted {
    /// What is announced by it.
    pub(super) fn into_new(self, api: &Api, caller: &Caller) -> Result<NewDirect, Problem> {
        if self.bytes == 0 {
            let detail = "give the length of the file as \"bytes\": it is not a photo if it has none";
            return Err(Problem::new("invalid-parameter", detail));
        }
        for (name, text) in [("media_type", &self.media_type), ("filename", &self.filename)] {
            let bad = |text: &&String| text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control);
            if text.as_ref().is_some_and(|text| bad(&text)) {
                let detail =
                    format!("{name} has over {TEXT_BYTES_MAX} bytes, or control characters: shorten it");
                return Err(Problem::new("invalid-parameter", detail));
            }
        }
        let query = crate::request::Query::parse(None, &[])?;
        let mut intake = Intake::of_query(api, caller.clone(), &query, &hyper::HeaderMap::new())?;
        for (name, value) in [
            ("batch_id", self.batch_id),
            ("duplicate", self.duplicate),
            ("publish", self.publish),
            ("caption", self.caption),
        ] {
            if let Some(value) = value {
                intake.set(name, &value)?;
            }
        }
        let title = self.title.as_deref().map(fields::title).transpose()?.flatten();
        let fields = Fields {
            title,
            tags: fields::all_tags(self.tags.iter().flatten().map(String::as_str))?,
            visibility: self.visibility.unwrap_or_default(),
            album: self.album_id,
        };
        Ok(NewDirect {
            owner: caller.owner.clone(),
            bytes: self.bytes,
            media_type: self.media_type,
            blake3: self.blake3,
            sha256: self.sha256.as_deref().map(sha256).transpose()?,
            name: self.filename,
            batch: intake.batch,
            fields,
            allow_duplicate: intake.allow_duplicate,
            publish: intake.draft()?,
            parts: self.parts,
        })
    }
}

/// A SHA-256 as 64 hex digits.
fn sha256(text: &str) -> Result<[u8; 32], Problem> {
    // Digests of BLAKE3 are written in the same way, and are as long.
    let digest = text.parse::<ContentHash>().map(|hash| hash.0);
    digest.map_err(|_| Problem::new("invalid-parameter", "sha256 is not 64 hex digits: give it so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_misspelt_is_refused_by_name() {
        let refused =
            serde_json::from_str::<Wanted>(r#"{"bytes": 1, "media-type": "image/jpeg"}"#).unwrap_err();
        assert!(refused.to_string().contains("media-type"), "{refused}");
        let completed = |text| serde_json::from_str::<Completed>(text).unwrap().into_sent();
        assert_eq!(completed("{}"), Sent::default());
        assert_eq!(completed(r#"{"batch_id": null}"#).batch, BatchOf::Instead(None));
        let batch = BatchId::new();
        assert_eq!(completed(&format!(r#"{{"batch_id": "{batch}"}}"#)).batch, BatchOf::Instead(Some(batch)));
        assert_eq!(serde_json::from_str::<PartsWanted>("{}").unwrap().from, 1);
        assert!(sha256("00").is_err() && sha256(&"0f".repeat(32)).unwrap()[31] == 15);
    }
}
