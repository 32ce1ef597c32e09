//! Is it alive, is it ready, how is it: answered outside admission, so that overload never looks like death.

use std::time::Duration;

use darkroom_store::model::identity;
use hyper::StatusCode;
use serde::Serialize;
use tokio::time::timeout;

use crate::Api;
use crate::response::{self, Answer};

/// How long the store may take before it counts as unavailable.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /livez`: the process runs and answers.
pub fn livez() -> Answer {
    response::text(StatusCode::OK, "text/plain; charset=utf-8", "alive\n")
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    draining: bool,
    metadata: String,
    objects: String,
}

/// `GET /readyz`: the process can serve. Not when draining or without a store; a full house is ready.
pub async fn readyz(api: &Api) -> Answer {
    let pipeline = api.pipeline();
    let identity = pipeline.metadata().read("check readiness", |tx| async move { identity::get(&tx).await });
    let metadata = describe(timeout(STORE_TIMEOUT, identity).await.map(|found| found.map(|id| id.is_some())));
    let metadata = match pipeline.in_touch() {
        Err(silent) if metadata == OK => silent.to_string(),
        _ => metadata,
    };
    let objects = timeout(STORE_TIMEOUT, pipeline.objects().store_id()).await;
    let objects = describe(objects.map(|found| found.map(|id| id.is_some())));
    let draining = pipeline.is_draining();
    let ready = !draining && metadata == OK && objects == OK;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response::json(status, &Readiness { ready, draining, metadata, objects })
}

const OK: &str = "ok";

fn describe<E: std::fmt::Display>(found: Result<Result<bool, E>, tokio::time::error::Elapsed>) -> String {
    match found {
        Ok(Ok(true)) => OK.to_owned(),
        Ok(Ok(false)) => "has lost its identity".to_owned(),
        Ok(Err(error)) => {
            tracing::error!(%error, "not ready");
            "cannot be read; the log says why".to_owned()
        }
        Err(_) => format!("did not answer within {} s", STORE_TIMEOUT.as_secs()),
    }
}

/// `GET /metrics`.
pub async fn metrics(api: &Api) -> Answer {
    if timeout(STORE_TIMEOUT, api.pipeline().record_gauges()).await.is_err() {
        tracing::warn!("the store does not answer: some gauges are those of the last scrape");
    }
    response::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", api.metrics())
}
