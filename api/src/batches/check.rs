//! `POST /v1/batches/{id}/check`: which of many files are here already, so that only the others are sent.
//!
//! It answers from the caller's own photos alone: that somebody else has certain bytes must not be found out.

use darkroom_store::model::batches::{self, NotAdmitted};
use darkroom_store::model::photos::{self, Photo, State};
use darkroom_store::model::uploads::{self, Upload};
use darkroom_store::model::{ContentHash, OwnerId};
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::{not_found, parse_id};
use crate::Api;
use crate::caller::Caller;
use crate::limits::{self, Limits};
use crate::problem::Problem;
use crate::request::small_json;
use crate::request::{BodyEnd, Query};
use crate::response::{self, Answer};

/// Files looked up in one transaction.
const LOOKED_UP_AT_ONCE: usize = 100;
/// Bytes of an item as JSON, beside its name.
const ITEM_BYTES_MAX: usize = 256;

/// What a client asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    items: Vec<Asked>,
}

/// A file that a client has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    blake3: ContentHash,
    bytes: u64,
    #[serde(default)]
    name: Option<String>,
}

/// The answers, in the order of the questions.
#[derive(Serialize)]
struct Answers {
    items: Vec<Answered>,
}

/// What to do with a file.
#[derive(Serialize)]
struct Answered {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Verdict {
    /// It is this photo already.
    Have { photo: String },
    /// It is to be sent: the rest of an upload that broke off, or the whole.
    Need {
        #[serde(flatten)]
        broken: Option<Broken>,
    },
    /// Sending it would be in vain.
    Refused { problem: Problem },
}

/// A resumable upload of these bytes, as it was announced, that has not come to its end.
#[derive(Serialize)]
struct Broken {
    upload: String,
    offset: u64,
}

/// What is known of some bytes.
struct Known {
    photo: Option<Photo>,
    upload: Option<Upload>,
}

/// Answers for each file whether it is to be sent.
///
/// # Errors
/// `batch-not-found`, `invalid-json`, `too-many-items`, `overloaded`, and those of the store.
pub async fn check(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    id: &str,
    body: Incoming,
    end: BodyEnd,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (parsed, owner) = (parse_id(id)?, &caller.owner);
    let metadata = api.pipeline().metadata();
    let admission = |tx| async move { batches::admission(&tx, parsed, owner).await };
    let refused = match metadata.read("get batch", admission).await? {
        Err(NotAdmitted::Unknown) => return Err(not_found(id)),
        Err(why) => Some(Problem::from(why)),
        Ok(_) => None,
    };
    let Some(_place) = api.check_places().take(Limits::party(caller)) else {
        limits::refused("batch_checks");
        let detail = "as many checks of yours are answered as may be at once; ask again";
        return Err(Problem::new("overloaded", detail).retry_after(1));
    };
    let options = &api.options().batches;
    let bytes_max = options.check_max * (ITEM_BYTES_MAX + 6 * options.name_bytes_max);
    let Question { items } = small_json(api, body, end, bytes_max).await?;
    if items.len() > options.check_max {
        let detail =
            format!("{} files are asked for: ask for at most {} at once", items.len(), options.check_max);
        return Err(Problem::new("too-many-items", detail));
    }
    let mut answers = Answers { items: Vec::with_capacity(items.len()) };
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let some: Vec<_> = items.by_ref().take(LOOKED_UP_AT_ONCE).collect();
        answers.items.extend(look_up(api, owner, some, refused.as_ref()).await?);
    }
    Ok(response::json(StatusCode::OK, &answers))
}

async fn look_up(
    api: &Api,
    owner: &OwnerId,
    asked: Vec<Asked>,
    refused: Option<&Problem>,
) -> Result<Vec<Answered>, Problem> {
    let hashes: &Vec<_> = &asked.iter().map(|asked| asked.blake3).collect();
    let look_up = |tx| async move {
        let mut found = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let photo = photos::of_content(&tx, owner, hash).await?;
            let upload = uploads::find_by_content(&tx, owner, hash).await?;
            found.push(Known { photo, upload });
        }
        Ok(found)
    };
    let found = api.pipeline().metadata().read("look up contents", look_up).await?;
    let bytes_max = api.pipeline().options().upload_bytes_max;
    let answered = asked.into_iter().zip(found).map(|(asked, known)| Answered {
        verdict: verdict(&asked, known, refused, bytes_max),
        name: asked.name,
    });
    Ok(answered.collect())
}

fn verdict(asked: &Asked, known: Known, refused: Option<&Problem>, bytes_max: u64) -> Verdict {
    // One that has failed is tried again by its own bytes.
    if let Some(photo) = known.photo.filter(|photo| photo.state != State::Failed) {
        return if photo.original.bytes == asked.bytes {
            Verdict::Have { photo: photo.id.to_string() }
        } else {
            let detail = format!(
                "the bytes of this digest are {}, not {}: reckon both of the same file",
                photo.original.bytes, asked.bytes
            );
            Verdict::Refused { problem: Problem::new("invalid-parameter", detail) }
        };
    }
    if let Some(problem) = refused {
        return Verdict::Refused { problem: problem.clone() };
    }
    if asked.bytes == 0 {
        let problem = Problem::new("empty-image", "the file is empty: there is nothing to send");
        return Verdict::Refused { problem };
    }
    if asked.bytes > bytes_max {
        let detail = format!("the file has {} bytes, and at most {bytes_max} are taken", asked.bytes);
        return Verdict::Refused { problem: Problem::new("body-too-large", detail) };
    }
    let goes_on = |upload: &Upload| upload.length.is_none_or(|length| length == asked.bytes);
    let broken = known.upload.filter(goes_on);
    let broken =
        broken.map(|Upload { id, offset, .. }| Broken { upload: format!("/v1/uploads/{id}"), offset });
    Verdict::Need { broken }
}
