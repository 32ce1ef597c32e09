//! Events: what happens, told to those who are connected and whom it concerns.
//!
//! In the order in which a change of the log meets them:
//!
//! - `tail`: follows the shards of the log on this node, while anybody is connected.
//! - `audience`: whom a change concerns, and whether they may see it.
//! - `hub`: hands it to them. Whoever is too slow is dropped, and comes again with the cursor of what they have.
//! - `subscription`: one who is connected: first what happened since their cursor, then what happens.
//! - `cursor`: how far somebody has come, in every shard.

mod audience;
mod cursor;
mod hub;
mod subscription;
mod tail;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, NotACursor};
pub use subscription::{Ended, Event, Next, Subscription};

pub(crate) use hub::Hub;
