//! End to end: the real binary, real HTTP, real files, killed and restarted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it skips, and what it has measured")]

mod backup;
mod bad_input;
mod batches;
mod budgets;
mod crashes;
mod described;
mod direct;
mod faults;
mod feeds;
mod first_photo;
mod forms;
mod identity;
mod import;
mod jobs;
mod lifecycle;
mod limits;
mod media;
mod names;
mod negotiation;
mod nodes;
mod people;
mod posts;
mod power;
mod promises;
mod refusals;
mod s3;
mod serving;
mod slow;
mod social;
mod stripping;
mod tar;
mod tus;
mod tus_clients;
mod tus_nodes;
mod uploads;
