//! Direct uploads: clients send bytes to the bucket by themselves, with URLs that are signed here.
//!
//! - [`options`](DirectOptions): how they are taken. `open`: announced, and given URLs. `finish`: looked at, copied by
//!   the server to a key of its own, and made a photo. `found`: objects that others have put into the bucket. `sweep`:
//!   what of them ends by time.
//!
//! A URL says nothing of what is sent to it, and outlives every look at what was. So nothing is believed of what lies
//! under an upload key, and no photo refers to it: the copy is looked at, which nobody can write to any more.

mod error;
mod finish;
mod found;
mod open;
mod options;
mod sweep;

use std::fmt::Write as _;

pub use error::{DirectError, refusal};
pub use finish::{BatchOf, Sent};
pub use found::Found;
pub use open::{NewDirect, PartUrl};
pub use options::DirectOptions;
pub(crate) use sweep::sweep;

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // A String takes everything.
        text
    })
}
