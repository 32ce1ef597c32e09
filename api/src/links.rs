//! Links that open a photo without a session: `POST /v1/photos/{id}/links` makes one, and whoever has it sees what it covers
//! as the photo's owner does. [`signed_urls`](crate::auth::signed_urls) says how they are written and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use darkroom_store::model::photos::Photo;
use darkroom_store::model::visibility::{Relation, Viewer};
use darkroom_store::model::{PhotoId, photos};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::auth::signed_urls::{Link, PARAMETERS};
use crate::caller::Caller;
use crate::photos::{Seen, find_seen, not_found, parse_id};
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, small_json};
use crate::response::{self, Answer};
use crate::view::{self, rfc3339};

/// Longest body: as many names of presets as a link covers.
const BODY_BYTES_MAX: usize = 16 << 10;

/// What somebody wants who may have a link to it.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'w> {
    /// The photo in this preset.
    Preset(&'w str),
    /// What was uploaded.
    Original,
}

impl Wanted<'_> {
    fn is_covered_by(self, link: &Link) -> bool {
        match self {
            Self::Preset(name) => link.covers_preset(name),
            Self::Original => link.original,
        }
    }
}

/// The parameters of a query that are a link's, written as they stand there; empty where there are none.
pub fn parameters_of(query: Option<&str>) -> String {
    let pieces = query.unwrap_or_default().split('&');
    let of_link = pieces.filter(|piece| {
        let name = piece.split('=').next().unwrap_or_default();
        PARAMETERS.contains(&name)
    });
    of_link.fold(String::new(), |text, piece| text + "&" + piece)
}

/// As whom a photo is to be looked at: as its owner with a link that covers what is wanted, else as the caller.
///
/// # Errors
/// `link-invalid`, `link-expired`, `photo-not-found` for a link of before the photo was made private, and those of the
/// store.
pub async fn viewer(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (id, wanted): (PhotoId, Wanted<'_>),
) -> Result<Viewer, Problem> {
    let Some(link) = api.auth().links().check(query.unwrap_or_default(), id).await? else {
        return Ok(caller.viewer);
    };
    if !wanted.is_covered_by(&link) {
        let detail = "the link is for other sizes of the photo than this: ask for another one";
        return Err(Problem::new("link-invalid", detail));
    }
    let look = |tx| async move { photos::get(&tx, id).await };
    let photo = api.pipeline().metadata().read("get photo of link", look).await?;
    let photo =
        photo.filter(|photo| photo.link_generation == link.generation).ok_or_else(|| not_found(id))?;
    Ok(photo.owner.user().map_or(caller.viewer, Viewer::User))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    presets: Vec<String>,
    #[serde(default)]
    original: bool,
    /// Seconds.
    expires_in: u64,
}

#[derive(Serialize)]
struct Made {
    query: String,
    expires_at: String,
    variants: BTreeMap<String, String>,
    original: Option<String>,
}

/// `POST /v1/photos/{id}/links`, of the photo's owner. Nothing is stored: asked again, it makes another link.
///
/// # Errors
/// `photo-not-found`, `invalid-parameter`, `preset-not-found`, and those of the store.
pub async fn create(
    api: &Api,
    caller: &Caller,
    id: &str,
    (request, end): (Request<Incoming>, BodyEnd),
) -> Result<Answer, Problem> {
    Query::parse(request.uri().query(), &[])?;
    let id = parse_id(id)?;
    let asked: Asked = small_json(api, request.into_body(), end, BODY_BYTES_MAX).await?;
    let Seen { photo, relation, .. } = find_seen(api, caller.viewer, id).await?;
    if relation != Relation::Owner {
        return Err(not_found(id));
    }
    let known = api.pipeline().presets();
    if let Some(name) = asked.presets.iter().find(|name| known.iter().all(|preset| preset.name != **name)) {
        let known: Vec<_> = known.iter().map(|preset| preset.name.as_str()).collect();
        let detail = format!("there is no preset {name:?}: the presets are {}", known.join(", "));
        return Err(Problem::new("preset-not-found", detail));
    }
    let expires = api.auth().links().expiry(Duration::from_secs(asked.expires_in))?;
    let (presets, original, generation) = (asked.presets, asked.original, photo.link_generation);
    let link = Link { photo: id, presets, original, generation, expires };
    let query = api.auth().links().sign(&link).await?;
    Ok(response::json(StatusCode::CREATED, &made(&photo, &link, query)))
}

fn made(photo: &Photo, link: &Link, query: String) -> Made {
    let address = |name: &String| {
        let files = view::made_in(photo, name);
        let address = if files.is_empty() {
            format!("{}/variants/{name}?{query}", view::photo_path(photo))
        } else {
            format!("{}&{query}", view::variant_url(photo, name, &files))
        };
        (name.clone(), address)
    };
    Made {
        expires_at: rfc3339(link.expires),
        variants: link.presets.iter().map(address).collect(),
        original: link.original.then(|| format!("{}/original?{query}", view::photo_path(photo))),
        query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_parameters_are_kept_and_others_are_not() {
        assert_eq!(parameters_of(Some("v=1&k=a&p=small,thumb&e=5&s=x%3D")), "&k=a&p=small,thumb&e=5&s=x%3D");
        assert_eq!(parameters_of(Some("v=1")), "");
        assert_eq!(parameters_of(None), "");
    }
}
