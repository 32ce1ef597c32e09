//! Pixels: from the bytes of an upload to every variant of the photo.
//!
//! Pure functions: no async, no I/O, no clock but for the limit of time and for what each step took. Everything here works on
//! untrusted bytes, so nothing is allocated before its size was compared with [`Limits`], and what a photo will need
//! is known before it is decoded ([`Probe::cost`]).
//!
//! The modules, in the order in which a photo meets them:
//!
//! | module | what happens there |
//! |---|---|
//! | `format`, `orientation`, `limits`, `error` | the words: what formats exist, which way is up, what is too much, what went wrong |
//! | `probe` | walks the whole stream as it arrives, in bounded memory: format, size, orientation, EXIF, completeness ([`Prober`]) |
//! | `directory` | what the directory of a TIFF says, for its probe and its decoder |
//! | `bitmap` | what the headers of a BMP say, for its probe and its decoder |
//! | `heif` | the directory of AVIF and HEIC files, for the probe and the decoder |
//! | `metadata` | EXIF and profiles: read from an original, filtered, put into a variant ([`Capture`], [`without_private()`]) |
//! | `preset` | a named size, fit and format, and the size that a photo gets in it ([`Preset`]) |
//! | `plan` | which variants share a frame, and from which larger frame each is made |
//! | `cost` | what decoding and rendering will hold in memory at their peak, and how long they take ([`Cost`]) |
//! | `decode` | bytes to one picture: planes of `YCbCr`, or packed luma, RGB or RGBA ([`decode()`]); animations frame by frame |
//! | `frame` | pixels in memory, and flattening them |
//! | `turn` | turning them upright |
//! | `ycbcr` | planes to RGB and back |
//! | `color` | what the numbers of a pixel mean: profiles, and 16 bits to 8 |
//! | `flat` | drawing or photo, which decides what the format `auto` becomes |
//! | `render` | the cascade: resizes largest first, turns, finishes, encodes, hands out ([`render()`]) |
//! | `crop`, `focus` | which part of a photo a variant shows, and where to cut when a crop has no point |
//! | `resize` | Lanczos on planes and packed pixels, and the memory that is used again for the next photo ([`Scratch`]) |
//! | `finish` | a resized picture to what is encoded: colour, background, sharpening, border |
//! | `sharpen` | an unsharp mask on luma |
//! | `encode` | a finished picture to a JPEG, WebP, PNG or AVIF, without metadata |
//! | `animate` | animations that keep their motion: every frame once through every size |
//! | `looks` | placeholders, dominant colour and perceptual hash from a small frame ([`Looks`]) |
//! | `synth` | photos that never were, for benchmarks and tests (feature `synth`) |
//! | `pictures` | photos, logos and pages of text for the unit tests of `flat`, `focus`, `sharpen`, `turn` and `looks` |
//!
//! Cargo features: `heic` and `jxl` decode HEIC and JPEG XL, `avif-encode` writes AVIF, `synth` is for tests.
#![deny(unsafe_code)]

mod animate;
mod bitmap;
mod color;
mod cost;
mod crop;
mod decode;
mod directory;
mod encode;
mod error;
mod finish;
mod flat;
mod focus;
mod format;
mod frame;
mod heif;
mod limits;
mod looks;
mod metadata;
mod orientation;
#[cfg(test)]
mod pictures;
mod plan;
mod preset;
mod probe;
mod render;
mod resize;
mod sharpen;
#[cfg(feature = "synth")]
pub mod synth;
mod turn;
mod ycbcr;

pub use cost::Cost;
pub use decode::{DecodedPhoto, decode};
pub use error::MediaError;
pub use format::{OutputFormat, SourceFormat};
pub use limits::Limits;
pub use looks::{Looks, perceptual_distance};
pub use metadata::{Capture, Rational, WITHOUT_PRIVATE_VERSION, without_private};
pub use orientation::Orientation;
pub use preset::{Background, Fit, Focus, Gamut, PRESET_SIDE_MAX, Preset, PresetFormat, Strip};
pub use probe::{Probe, Prober, Subsampling, probe};
pub use render::{StepTimes, Variant, render};
pub use resize::Scratch;
