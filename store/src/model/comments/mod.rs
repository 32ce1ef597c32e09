//! Comments: what people say about a post, and what they reply to each other, on one level.
//!
//! - `comment`: the record, and what reads it.
//! - `writing`: a comment is written. `deleting`: it goes, with the replies to it.

mod comment;
mod deleting;
mod writing;

pub use comment::{Comment, get, list, of_user, replies, replies_count};
pub use deleting::{Deleted, Deleting, REPLIES_DELETED_MAX, delete};
pub use writing::{Writing, Written, write};

/// Most characters of a comment. The least is one that is not a space.
pub const TEXT_CHARS_MAX: usize = 2_000;
