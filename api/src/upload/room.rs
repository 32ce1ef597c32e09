//! Room for the next of many files.

use std::time::Duration;

use darkroom_actors::Lease;
use hyper::StatusCode;
use tokio::time::{Instant, sleep};

use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;

/// Pauses between two questions for a lease, from the first on and at most.
const ASK_AGAIN: Duration = Duration::from_millis(20);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(500);

/// A lease for a file of at most `bytes`, as soon as there is one, or none within `http.tar_patience`. Meanwhile its sender is
/// not read from: it feels that as a slow line, and has nothing to send again.
///
/// # Errors
/// Why there was none; at once where waiting does not help.
pub(super) async fn admitted(api: &Api, caller: &Caller, bytes: Option<u64>) -> Result<Lease, Problem> {
    let until = Instant::now() + api.options().tar_patience;
    let mut pause = ASK_AGAIN;
    loop {
        let problem = match api.admit(caller, bytes).await {
            Ok(lease) => return Ok(lease),
            Err(problem) => problem,
        };
        if problem.is("draining") || !is_passing(&problem) || Instant::now() + pause > until {
            return Err(problem);
        }
        sleep(pause).await;
        pause = (pause * 2).min(ASK_AGAIN_MAX);
    }
}

/// Whether a refusal passes by itself, so that waiting helps.
fn is_passing(problem: &Problem) -> bool {
    let status = problem.status_code();
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}
