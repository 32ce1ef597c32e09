//! An S3 server inside the test process, and the faults that it can be told to have.
//!
//! In the order in which a request meets them:
//!
//! - [`server`]: the listener, which can be gone and come back, on a thread of its own.
//! - [`faults`]: what is to go wrong, with which requests, and how often.
//! - [`manner`]: as which server it answers.
//! - [`layer`]: applies it to requests and answers. `body`: how one is harmed on its way.
//! - [`bucket`]: what s3s-fs leaves out or does otherwise than S3. `checksums`: what comes with a body.
//!
//! Beneath is s3s-fs: objects as files in a temporary folder, so a test can look at what is stored without asking.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test harness fails by panicking")]
#![expect(missing_docs, reason = "read by those who write tests, beside the code")]

mod body;
pub mod bucket;
mod checksums;
pub mod faults;
pub mod layer;
pub mod manner;
pub mod server;

pub use bucket::Stored;
pub use faults::{Fault, Faults, Rule};
pub use layer::Seen;
pub use manner::Manner;
pub use server::Server;

/// The one bucket that there is.
pub const BUCKET: &str = "photos";
/// The access key's id.
pub const KEY_ID: &str = "AKIATESTDARKROOM0001";
/// Its secret. Nothing else than this server knows it.
pub const SECRET_KEY: &str = "test/secret+key/of/darkroom/tests/0000001";
/// Where the bucket is, for a server that asks ([`Server::only_in`]).
pub const REGION: &str = "us-east-1";
