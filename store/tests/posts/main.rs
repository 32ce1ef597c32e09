//! Posts, and what others make of them, over every engine. The answer to every other commit is lost, so that transactions
//! run twice; and at the end of each test everything that is counted or listed is compared with the records.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[macro_use]
#[path = "../engines/mod.rs"]
mod engines;
#[path = "../fixtures/mod.rs"]
mod fixtures;

mod answers;
mod audit;
mod editing;
mod erasing;
mod photos;
mod scene;
mod storm;
mod uploading;
mod visibility;
