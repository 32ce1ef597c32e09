//! For the operator: the tree of actors, the Janitor on request, and backups of the metadata.

use std::io;

use darkroom_store::backup::Backup;
use darkroom_store::model::Timestamp;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::Api;
use crate::problem::Problem;
use crate::response::{self, Answer};

/// `GET /v1/admin/actors`.
pub fn actors(api: &Api) -> Answer {
    response::json(StatusCode::OK, &api.pipeline().actors())
}

/// `POST /v1/admin/janitor`: deletes now what nothing refers to, and says what that was.
///
/// # Errors
/// `store-unavailable`.
pub async fn janitor(api: &Api) -> Result<Answer, Problem> {
    match api.pipeline().sweep().await {
        Ok(report) => Ok(response::json(StatusCode::OK, &report)),
        Err(error) => {
            tracing::error!(error, "the sweep that was asked for stopped");
            let detail = "the sweep stopped before its end; the log says why, and the next one goes on";
            Err(Problem::new("store-unavailable", detail).retry_after(1))
        }
    }
}

/// `POST /v1/admin/backup`: the metadata as of now, as the bytes of a backup. One at a time, since each holds a snapshot
/// of the store. An answer that breaks off lacks the backup's end, by which its reader can tell.
///
/// # Errors
/// `overloaded` while another backup is taken, `not-supported` on FoundationDB, `store-unavailable`.
pub async fn backup(api: &Api) -> Result<Answer, Problem> {
    let Ok(place) = api.backup_place().try_acquire_owned() else {
        let problem = Problem::new("overloaded", "another backup is being taken; ask again when it is done");
        return Err(problem.retry_after(10));
    };
    let backup = Backup::begin(api.pipeline().metadata(), Timestamp::now()).await?;
    let pieces = stream::unfold(Some((backup, place)), |backup| async move {
        let (mut backup, place) = backup?;
        match backup.next().await {
            Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some((backup, place)))),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, "a backup could not be taken to its end");
                Some((Err(io::Error::other(error)), None))
            }
        }
    });
    let mut answer = Answer::new(StreamBody::new(pieces).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(answer)
}
