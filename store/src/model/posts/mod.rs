//! Posts: photos published with a caption.
//!
//! - `post`: the record, and what reads it.
//! - `publishing`: a post is created, waits for its photos, and comes into its author's list.
//! - `deleting`: it goes out of everybody's sight.

mod deleting;
mod post;
mod publishing;

pub use deleting::delete;
pub use post::{Post, Shown, State, get, of_author, position, showing};
pub use publishing::{Created, Creation, create, photo_settled};

/// Most photos of a post.
pub const PHOTOS_MAX: usize = 10;
/// Most posts that show one photo: each is looked at for whether the photo may be seen.
pub const POSTS_PER_PHOTO_MAX: usize = 100;
