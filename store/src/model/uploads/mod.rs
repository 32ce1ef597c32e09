//! Uploads on their way: a file that comes in more than one request.
//!
//! The bytes of an upload are a list of *pieces*. Each is an immutable object, put durably under a key that was intended
//! before; then one transaction adds it to the list and moves the upload's offset. So an offset that was told is durable
//! and never goes back, whoever dies, and any node goes on where another stopped. Who appends holds a *lease* in the
//! record: whoever comes later takes it over, and its predecessor's next transaction finds another lease than its own.
//!
//! - `record`: the record, its rows and its indexes.
//! - `append`: leases, and what is added under one.
//! - `join`: many partial uploads become one.
//! - `ending`: a photo, a refusal, or nothing: how an upload ends, and how its pieces go.

mod append;
mod ending;
mod join;
mod record;

pub use append::{Append, Appended, Taken, append, release, take};
pub use ending::{Due, End, Ended, Ending, Swept, due, end, sweep};
pub(super) use ending::{settle, settled_before};
pub use join::{Join, Joined, join};
pub use record::{
    Kind, Limits, NotBegun, OverLimit, Piece, State, Upload, Usage, Wishes, create, find_by_content, get,
    pieces, usage,
};
