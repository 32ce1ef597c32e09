//! An upload as JSON.

use std::time::SystemTime;

use darkroom_store::model::Timestamp;
use darkroom_store::model::uploads::{State, Upload};
use hyper::StatusCode;
use serde::Serialize;

use super::work::{self, Failed, Progress};
use super::{Protocol, draft, tus};
use crate::Api;
use crate::problem::Problem;
use crate::response::{self, Answer};
use crate::routes::Asking;
use crate::view::PhotoView;

/// An upload as a client sees it.
#[derive(Serialize)]
struct UploadView {
    id: String,
    /// `open`, `finishing`, `done`, `refused` or `joined`.
    state: &'static str,
    /// Bytes that are durable.
    offset: u64,
    /// Bytes of the whole, once they are known.
    length: Option<u64>,
    /// RFC 3339.
    created: String,
    /// When it goes, unless more bytes come; RFC 3339.
    expires: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    /// What it has become.
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<PhotoView>,
    /// Why it became none.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    /// The upload that has this one's bytes now.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_into: Option<String>,
}

impl UploadView {
    fn new(upload: &Upload, photo: Option<PhotoView>) -> Self {
        let time = |at: Timestamp| humantime::format_rfc3339_millis(SystemTime::from(at)).to_string();
        Self {
            id: upload.id.to_string(),
            state: upload.state.as_str(),
            offset: upload.offset,
            length: upload.length,
            created: time(upload.created),
            expires: time(upload.expires),
            filename: upload.wishes.name.clone(),
            batch_id: upload.wishes.batch.map(|batch| batch.to_string()),
            photo,
            problem: match &upload.state {
                State::Refused { code, detail } => Some(work::refused_before(code, detail)),
                _ => None,
            },
            joined_into: match &upload.state {
                State::Joined { into } => Some(into.to_string()),
                _ => None,
            },
        }
    }
}

/// `GET /v1/uploads/{id}`: how it stands, without a hand on it. Only a client of the draft that says so asks where to go
/// on, and for that one whoever still appends is stopped first.
///
/// # Errors
/// `upload-not-found`, and what keeps a whole upload from becoming a photo now.
pub(super) async fn get(api: &Api, asking: &Asking, protocol: Protocol, id: &str) -> Result<Answer, Problem> {
    let headers = asking.request.headers();
    if protocol == Protocol::Tus {
        tus::check_version(headers)?;
    }
    let retrieves = headers.contains_key("upload-draft-interop-version");
    let progress = if retrieves {
        work::at_rest(api, &asking.caller, id).await
    } else {
        work::as_it_is(api, &asking.caller, id).await
    };
    let Progress { upload, photo } = match progress {
        Ok(progress) => progress,
        // It was refused just now: told as it will be told from now on.
        Err(Failed { problem, .. }) if problem.is_refusal() => {
            let upload = api.pipeline().upload(work::parse_id(id)?, &asking.caller.owner).await?;
            Progress { upload: upload.ok_or(problem)?, photo: None }
        }
        Err(Failed { problem, .. }) => return Err(problem),
    };
    let mut answer = response::json(StatusCode::OK, &UploadView::new(&upload, photo.clone()));
    draft::retrieval(api, headers, &mut answer, &Progress { upload, photo })?;
    Ok(answer)
}
