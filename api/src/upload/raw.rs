//! One photo as the body of a request.

use darkroom_actors::Lease;
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};

use super::intake::{File, Intake, settled};
use crate::Api;
use crate::idempotency::Claim;
use crate::problem::Problem;
use crate::response::{self, Answer};

/// Takes it.
///
/// # Errors
/// What is wrong with it.
pub async fn take(
    api: &Api,
    lease: Lease,
    intake: &Intake,
    file: File,
    claim: &Claim,
) -> Result<Answer, Problem> {
    let view = intake.take_in_place(api, lease, file, claim.photo(0)).await?;
    let view = settled(api, view, intake.deadline()).await;
    let location = format!("/v1/photos/{}", view.id);
    let status = if view.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut answer = response::json(status, &view);
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}
