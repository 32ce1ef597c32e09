//! Posts: photos published with a caption.
//!
//! - `post`: the record, and what reads it.
//! - `publishing`: a post is created, waits for its photos, and comes into its author's list.
//! - [`caption`]: what stands in its caption: tags, and whom it mentions.
//! - `editing`: it is changed, by its author or because a photo of it is deleted.
//! - `uploading`: it is created with the upload of its photo.
//! - `sharing`: it is shown again in a post of somebody else.
//! - [`counts`]: how many like it, speak of it and share it.
//! - `deleting`: it goes out of everybody's sight. `erasing`: what others made of it goes after it.

pub mod caption;
pub mod counts;
mod deleting;
mod editing;
mod erasing;
mod post;
mod publishing;
mod sharing;
mod uploading;

pub use deleting::{Deleted, delete, delete_by};
pub use editing::{Edit, Edited, Editing, edit};
pub use erasing::erase_rows;
pub use post::{Owned, Post, Shown, State, get, of_author, owned, position, seen, showing};
pub use publishing::{Created, Creation, create, photo_settled};

pub use uploading::Draft;

pub(super) use editing::photo_deleted;
pub(super) use uploading::{create_with_photo, refused_with_photo};

/// Most photos of a post.
pub const PHOTOS_MAX: usize = 10;
/// Most posts that show one photo or wait for it: each is looked at for whether the photo may be seen, and all are changed
/// in the transaction that deletes it. Of several that are created at once a few more may pass.
pub const POSTS_PER_PHOTO_MAX: usize = 100;
