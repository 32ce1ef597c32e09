//! The engine on a `FoundationDB` cluster, by its official client library.
//!
//! The contract of this crate is the cluster's own, so that there is little here: keys get the store's prefix, limits
//! that the cluster counts otherwise are counted as on every engine, and errors get their names. Optimistic reads, own
//! writes and conflicts are the client library's work. In the order in which a transaction meets them:
//!
//! - `options`: which cluster, which part of it, how patient. It is there without the cargo feature, too;
//! - `network`: the client library's thread, of which a process has one;
//! - `engine`: opening, beginning, closing;
//! - `prefix`: where in the cluster the store lies;
//! - `transaction`: reads and writes;
//! - `watches`: who is told afterwards;
//! - `errors`: what the library's codes mean here.

#[cfg(feature = "foundationdb")]
mod engine;
#[cfg(feature = "foundationdb")]
mod errors;
#[cfg(feature = "foundationdb")]
mod network;
mod options;
#[cfg(feature = "foundationdb")]
mod prefix;
#[cfg(feature = "foundationdb")]
mod transaction;
#[cfg(feature = "foundationdb")]
mod watches;

#[cfg(feature = "foundationdb")]
pub(super) use engine::Engine;
pub use options::FoundationDbOptions;
#[cfg(feature = "foundationdb")]
pub(super) use transaction::Transaction;
