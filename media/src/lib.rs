//! Pixels: from the bytes of an upload to every variant of the photo.
//!
//! Pure functions: no async, no I/O, no clock but the one that times resizing and encoding. Everything here works on
//! untrusted bytes, so nothing is allocated before its size was compared with [`Limits`], and what a photo will need
//! is known before it is decoded ([`Probe::cost`]).
//!
//! The modules, in the order in which a photo meets them:
//!
//! | module | what happens there |
//! |---|---|
//! | `format`, `orientation`, `limits`, `error` | the words: what formats exist, which way is up, what is too much, what went wrong |
//! | `probe` | walks the whole stream as it arrives, in bounded memory: format, size, orientation, completeness ([`Prober`]) |
//! | `preset` | a named size, fit and format, and the size that a photo gets in it ([`Preset`]) |
//! | `plan` | which variants share a frame, and from which larger frame each is made |
//! | `cost` | what decoding and rendering will hold in memory at their peak ([`Cost`]) |
//! | `decode` | bytes to one frame: interleaved `YCbCr`, RGB or luma ([`decode()`]) |
//! | `frame` | pixels in memory, flattening, and turning them upright |
//! | `render` | the cascade: resizes largest first, turns, encodes, hands out ([`render()`]) |
//! | `encode` | a frame to a JPEG without metadata |
//! | `synth` | photos that never were, for benchmarks and tests (feature `synth`) |
#![forbid(unsafe_code)]

mod cost;
mod decode;
mod encode;
mod error;
mod format;
mod frame;
mod limits;
mod orientation;
mod plan;
mod preset;
mod probe;
mod render;
#[cfg(feature = "synth")]
pub mod synth;

pub use cost::Cost;
pub use decode::{DecodedPhoto, decode};
pub use error::MediaError;
pub use format::{OutputFormat, SourceFormat};
pub use limits::Limits;
pub use orientation::Orientation;
pub use preset::{Fit, PRESET_SIDE_MAX, Preset};
pub use probe::{Probe, Prober, Subsampling, probe};
pub use render::{Scratch, StepTimes, Variant, render};
