//! What a photo's file says about itself: read, filtered and written.
//!
//! Four kinds of metadata travel with a photo. **EXIF** tells camera, time and place, and is taken apart here. The **colour
//! profile** (ICC) tells what the pixels' numbers mean, and is carried as it is. **XMP** and **IPTC** tell whatever someone
//! wrote; a place may hide in any of it, so neither is ever read nor kept.
//!
//! A photo may be broken in any of these and still be a good photo: nothing here fails it. What cannot be read is as if
//! it were not there.
//!
//! | file | what happens there |
//! |---|---|
//! | `tiff` | the structure of an EXIF block, read in place and written |
//! | `jpeg`, `png`, `webp`, `gif`, `boxes` | the parts of a file: segments, chunks, blocks, boxes |
//! | `rational`, `capture` | camera, exposure and time, for people to read ([`Capture`]) |
//! | `exif` | an EXIF block made anew from the part of another that may be shown ([`filtered`]) |
//! | `blocks` | EXIF and colour profile out of an original ([`blocks()`]) |
//! | `embed` | EXIF and colour profile into a variant ([`embed()`]) |
//! | `private` | an original without place and serial numbers, its pixels untouched ([`without_private()`]) |

/// Changes whenever [`without_private()`] would leave other bytes of the same original, so that what was cached before is
/// known to be old.
pub const WITHOUT_PRIVATE_VERSION: u32 = 1;

mod blocks;
mod boxes;
mod capture;
mod embed;
mod exif;
mod gif;
mod jpeg;
mod png;
mod private;
mod rational;
#[cfg(test)]
#[path = "../../tests/common/exif.rs"]
mod sample;
pub(crate) mod tiff;
pub(crate) mod webp;

pub(crate) use blocks::{Blocks, blocks};
pub use capture::Capture;
pub(crate) use capture::{capture, capture_of, is_capture};
pub(crate) use embed::embed;
pub(crate) use exif::{Keep, filtered};
pub use private::without_private;
pub use rational::Rational;
