//! Users: people who have photos, publish them and follow each other.
//!
//! - `user`: the record, and by what users are found.
//! - [`counts`]: how many follow them, and what they have.
//! - [`password`]: its hash.
//! - `subjects`: those whom an identity provider vouches for.

pub mod counts;
pub mod password;
mod subjects;
mod user;

pub use subjects::{forget_subject, known_subject, of_subject};
pub use user::{NotTaken, Taken, User, by_email, by_handle, create, get, update};
