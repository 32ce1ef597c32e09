//! Jobs and nodes over every engine. A transaction whose commit's outcome was unknown runs again: so each test here
//! runs each transaction twice, and expects the answer and the state of one run.

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

mod leases;
mod letters;
mod nodes;
mod queue;
mod store;
