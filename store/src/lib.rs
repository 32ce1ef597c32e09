//! What must last: metadata in a transactional key-value store, bytes in an object store.
//!
//! In the order in which data meets them:
//!
//! - [`objects`]: originals and variants, written once under a key that is never used again.
//! - [`metadata`]: the ordered transactional key-value interface, and the engines behind it.
//! - [`model`]: one file per noun (photos, blobs, jobs, intents …): typed functions over a
//!   transaction. No HTTP, no clock, no randomness: ids and times are made by the caller.
//! - [`backup`]: all metadata as of one moment in a file, and a store made again from it.
//! - [`life`]: how a process begins: is it the right store, and which epoch is this.
//! - [`error`]: everything that can go wrong, and whether trying again is safe.
// Denied rather than forbidden, because the thread of FoundationDB's client library (`metadata/foundationdb/network.rs`)
// cannot be started without it. The default build has none.
#![cfg_attr(not(feature = "foundationdb"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod backup;
pub mod error;
pub mod life;
pub mod metadata;
pub mod model;
pub mod objects;

pub use error::StoreError;
