//! Fuzz targets: what is done with an input, what must hold, and where inputs come from.
//!
//! Used twice. `tests/fuzz_targets.rs` runs every target over seeds, truncations and mutations that are the same each time;
//! `media/fuzz` lets libFuzzer look for more, guided by coverage.
//!
//! | file | what is in it |
//! |---|---|
//! | `targets` | the targets |
//! | `render`, `wrapped` | the larger of their bodies: from an original to variants; metadata and profiles in whole files |
//! | `mutate`, `boxes` | changes that leave an input as whole as its target needs it |
//! | `seeds`, `stills`, `avif_heic`, `jxl` | small files of every kind that decode |
//! | `private` | small files with secrets in them |
#![allow(dead_code, reason = "each user needs its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be made or must hold is to panic")]

mod avif_heic;
mod boxes;
#[path = "../common/build.rs"]
mod build;
#[path = "../common/exif.rs"]
mod exif_blocks;
#[path = "../common/heif.rs"]
mod heif;
#[cfg(feature = "jxl")]
mod jxl;
#[cfg(feature = "jxl")]
#[path = "../common/jxl.rs"]
mod jxl_files;
pub(crate) mod mutate;
mod private;
#[path = "../common/private.rs"]
mod private_files;
mod render;
pub(crate) mod seeds;
mod stills;
pub(crate) mod targets;
mod wrapped;
