//! For the operator: the tree of actors, and the Janitor on request.

use hyper::StatusCode;

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
