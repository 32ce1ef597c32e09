//! Feeds over every engine: what follows from the change log, driven step by step, and timelines against a slow and obvious
//! model of them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips and from which seed it began"
)]

#[macro_use]
#[path = "../engines/mod.rs"]
mod engines;

mod bounds;
mod random;
mod sharing;
mod trends;
mod truth;
mod world;

use darkroom_store::metadata::Metadata;

use engines::{Engine, Place};

/// Runs a case on an empty store of `engine`.
async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Metadata) -> Fut,
    Fut: Future<Output = ()>,
{
    let case = |place: Place| async move {
        let metadata = place.open().await;
        case(metadata.clone()).await;
        metadata.close().await;
    };
    engines::run(engine, case).await;
}
