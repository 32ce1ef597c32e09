//! A finished picture to a file.
//!
//! One file per format, each around one codec. Nothing but pixels is written here: what metadata a variant carries is
//! added afterwards, to the finished file.

#[cfg(feature = "avif-encode")]
mod avif;
mod jpeg;
mod png;
mod webp;

use std::borrow::Cow;

use crate::OutputFormat;
use crate::frame::{Frame, Layout, Picture};
use crate::resize::{Scratch, full_chroma};
use crate::ycbcr;

pub(crate) use webp::Animation;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) format: OutputFormat,
    /// 1 to 100.
    pub(crate) quality: u8,
    /// 0 to 6.
    pub(crate) effort: u8,
}

/// Encodes a picture. For JPEG it has no alpha, and for JPEG and WebP planes have chroma halved both ways. Fails with the
/// codec's words.
pub(crate) fn encode(
    picture: &Picture,
    settings: Settings,
    scratch: &mut Scratch,
) -> Result<Vec<u8>, String> {
    match settings.format {
        OutputFormat::Jpeg => jpeg::encode(picture, settings.quality),
        OutputFormat::WebP => webp::encode(picture, settings.quality, settings.effort),
        OutputFormat::Png => png::encode(packed(picture, scratch)?.as_ref(), settings.effort),
        #[cfg(feature = "avif-encode")]
        OutputFormat::Avif => {
            avif::encode(packed(picture, scratch)?.as_ref(), settings.quality, settings.effort)
        }
        #[cfg(not(feature = "avif-encode"))]
        OutputFormat::Avif => Err("this build cannot write AVIF".to_owned()),
    }
}

/// The picture as one frame of luma, RGB or RGBA.
pub(crate) fn packed<'a>(picture: &'a Picture, scratch: &mut Scratch) -> Result<Cow<'a, Frame>, String> {
    Ok(match picture {
        Picture::Packed(frame) => Cow::Borrowed(frame),
        Picture::Planar(planes) => {
            let [blue, red] = full_chroma(planes, scratch)?;
            Cow::Owned(ycbcr::to_rgb(&planes.luma, &blue, &red))
        }
    })
}

/// An upper bound of the bytes that are held while a picture of so many pixels is encoded, without the picture itself.
/// Planes have no layout.
pub(crate) fn encoding_bytes_max(size: (u32, u32), layout: Option<Layout>, settings: Settings) -> u64 {
    let pixels = u64::from(size.0) * u64::from(size.1);
    let Settings { format, quality, effort } = settings;
    match format {
        OutputFormat::Jpeg => jpeg::encoding_bytes_max(size, layout.is_some(), quality),
        OutputFormat::WebP => webp::encoding_bytes_max(size, layout == Some(Layout::Rgba), quality, effort),
        // A packed copy of planes, filtered rows, and what the compressor looks back on.
        OutputFormat::Png => 3 * pixels + 3 * encoded_bytes_max(size, layout, settings) + (1 << 20),
        // rav1e: reference frames, a pyramid of analysis, and its lookahead.
        OutputFormat::Avif => 40 * pixels + (8 << 20),
    }
}

/// An upper bound of a file's bytes.
pub(crate) fn encoded_bytes_max(size: (u32, u32), layout: Option<Layout>, settings: Settings) -> u64 {
    let pixels = u64::from(size.0) * u64::from(size.1);
    let Settings { format, quality, effort } = settings;
    match format {
        OutputFormat::Jpeg => jpeg::encoded_bytes_max(size, quality),
        OutputFormat::WebP => webp::encoded_bytes_max(size, layout == Some(Layout::Rgba), quality, effort),
        // Stored without compression, with a byte before each row. Planes become RGB.
        OutputFormat::Png => {
            let bytes = layout.map_or(3, Layout::bytes) as u64;
            pixels * bytes * 65 / 64 + u64::from(size.1) + 4096
        }
        OutputFormat::Avif => 2 * pixels + 4096,
    }
}
