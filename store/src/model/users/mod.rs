//! Users: people who have photos, publish them and follow each other.
//!
//! - `user`: the record, and by what users are found.
//! - [`counts`]: how many follow them, and what they have.

pub mod counts;
mod user;

pub use user::{NotTaken, Taken, User, by_email, by_handle, create, get, update};
