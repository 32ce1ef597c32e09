//! What an upload is, found out while it arrives.
//!
//! [`Prober`] takes the stream in pieces of any size, sniffs the format from its first bytes, and then walks the
//! format's own structure to its end marker with a small state machine (one file per format). It holds a few bytes of
//! the current header and, while it passes, the EXIF block: never the image. Compressed pixels are skipped, not decoded,
//! so damage inside them is found by [`decode`](crate::decode()) only; but a stream that ends too early is found here.

mod bmp;
mod gif;
mod heif;
mod jpeg;
mod jxl;
mod png;
mod sniff;
mod step;
mod stretch;
mod tiff;
mod tiff_exif;
mod webp;

use serde::{Deserialize, Serialize};

use crate::metadata::{capture, tiff as exif};
use crate::{Capture, Limits, MediaError, Orientation, SourceFormat};
use sniff::{SNIFF_BYTES, Sniffed, sniff};

/// How the chroma of a JPEG, AVIF, HEIC or lossy WebP is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subsampling {
    /// One chroma sample per pixel.
    #[serde(rename = "4:4:4")]
    S444,
    /// Halved horizontally.
    #[serde(rename = "4:2:2")]
    S422,
    /// Halved both ways: what phones write.
    #[serde(rename = "4:2:0")]
    S420,
    /// Halved vertically.
    #[serde(rename = "4:4:0")]
    S440,
    /// A quarter horizontally.
    #[serde(rename = "4:1:1")]
    S411,
    /// Any other factors that the format allows.
    #[serde(rename = "other")]
    Other,
}

/// What is known of a photo before one of its pixels is decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Found from the bytes, whatever the client said.
    pub format: SourceFormat,
    /// Pixels per row, as stored (before orientation); of the canvas, for animations. At least 1.
    pub width: u32,
    /// Rows, as stored (before orientation); of the canvas, for animations. At least 1.
    pub height: u32,
    /// How the stored pixels must be turned.
    pub orientation: Orientation,
    /// Colour components as stored, without alpha: 1 (gray, palette), 3, or 4 (inks).
    pub components: u8,
    /// Whether the one component is an index into a palette of colours.
    #[serde(default)]
    pub palette: bool,
    /// Whether a JPEG's colours are `YCbCr` with whole luma, which stay in planes: almost every photo's are.
    #[serde(default)]
    pub planar: bool,
    /// Whether a colour profile or the like stands beside the pixels.
    #[serde(default)]
    pub has_profile: bool,
    /// Bits per component as stored: 1 to 16, and up to 64 in a TIFF (16 where a TIFF lists them before its directory, so
    /// that they are not known).
    pub bit_depth: u8,
    /// Whether a pixel may be transparent.
    pub has_alpha: bool,
    /// A progressive JPEG, or an interlaced PNG or GIF.
    pub progressive: bool,
    /// For JPEG, AVIF and HEIC with three components and for lossy WebP; `None` for everything else.
    pub subsampling: Option<Subsampling>,
    /// Whether the decoder must hold all coefficients of a JPEG at once: it is progressive, or its components come in
    /// separate scans. Of a TIFF: whether its strips are JPEGs, which are decoded as a whole.
    pub coefficients_held: bool,
    /// Pixels that the codec of an AVIF or HEIC holds at once, padded to its blocks, where that is another number than
    /// width × height: those of one tile where the picture is made of tiles that are decoded one by one, of the whole
    /// where only a part is shown, and of all layers of a layered picture. `None` for other formats.
    #[serde(default)]
    pub coded_pixels: Option<u64>,
    /// Frames of an animation; 1 for a still image.
    pub frames: u32,
    /// Bytes of metadata that the decoder copies although nothing needs them.
    pub metadata_bytes: u64,
    /// Bytes of the stream up to and including the end marker. What follows it (other images of a multi-picture
    /// file, padding) is ignored.
    pub image_bytes: u64,
    /// Camera, exposure and time, out of the EXIF block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Box<Capture>>,
    /// Bytes of the whole stream.
    pub bytes: u64,
    /// Whether the stream ends before the image does. Only a JPEG with the beginning of its pixels is accepted so: it is
    /// shown as far as it goes.
    #[serde(default)]
    pub truncated: bool,
}

impl Probe {
    /// The plainest image of a format: still, opaque, upright, three components of 8 bits, nothing beside the pixels.
    pub(crate) const fn plain(format: SourceFormat, (width, height): (u32, u32), bytes: u64) -> Self {
        Self {
            format,
            width,
            height,
            orientation: Orientation::Upright,
            components: 3,
            palette: false,
            planar: false,
            has_profile: false,
            bit_depth: 8,
            has_alpha: false,
            progressive: false,
            subsampling: None,
            coefficients_held: false,
            coded_pixels: None,
            frames: 1,
            metadata_bytes: 0,
            image_bytes: bytes,
            capture: None,
            bytes,
            truncated: false,
        }
    }

    /// Whether it has more than one frame.
    pub const fn is_animated(&self) -> bool {
        self.frames > 1
    }

    /// Width and height in pixels as people see it: after orientation.
    pub const fn shown_size(&self) -> (u32, u32) {
        self.orientation.turn((self.width, self.height))
    }

    /// Width × height.
    pub const fn pixels(&self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// What the probe reads of EXIF blocks, while they pass. Of several, the first that says something counts.
#[derive(Debug, Default)]
struct Exif {
    orientation: Option<Orientation>,
    capture: Option<Box<Capture>>,
}

impl Exif {
    fn read(&mut self, block: &[u8]) {
        self.orientation = self.orientation.or_else(|| exif::orientation(block));
        if self.capture.is_none() {
            self.capture = capture(block).map(Box::new);
        }
    }
}

/// Where the walk of each format stands.
#[derive(Debug)]
enum Walk {
    Sniffing(Vec<u8>),
    Jpeg(Box<jpeg::Walker>),
    Png(Box<png::Walker>),
    WebP(Box<webp::Walker>),
    Gif(Box<gif::Walker>),
    Tiff(Box<tiff::Walker>),
    Bmp(Box<bmp::Walker>),
    /// AVIF and HEIC.
    Heif(Box<heif::Walker>),
    Jxl(Box<jxl::Walker>),
}

/// Probes a stream piece by piece, in memory that does not grow with the stream: at most a header of a few hundred
/// bytes and one EXIF block of [`Limits::metadata_bytes_max`].
///
/// The outcome depends on the bytes only, never on how they were cut.
///
/// ```
/// # fn pieces() -> Vec<Vec<u8>> { vec![b"GIF89a".to_vec()] }
/// use darkroom_media::{Limits, MediaError, Prober};
///
/// let mut prober = Prober::new(Limits::default());
/// for piece in pieces() {
///     prober.feed(&piece)?; // Fails as soon as the image is known to be unacceptable.
/// }
/// assert!(matches!(prober.finish(), Err(MediaError::Truncated { .. })));
/// # Ok::<(), MediaError>(())
/// ```
#[derive(Debug)]
pub struct Prober {
    limits: Limits,
    bytes: u64,
    walk: Walk,
}

impl Prober {
    /// A prober that has seen nothing yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, walk: Walk::Sniffing(Vec::new()) }
    }

    /// Takes the next piece of the stream, of any length.
    ///
    /// After an error the image is refused for good, and further pieces need not be fed.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), MediaError> {
        self.bytes += piece.len() as u64;
        if let Walk::Sniffing(head) = &mut self.walk {
            let taken = piece.len().min(SNIFF_BYTES - head.len());
            head.extend_from_slice(&piece[..taken]);
            let head = std::mem::take(head);
            match sniff(&head) {
                Sniffed::Known(format) => {
                    self.walk = Walk::begin(format);
                    self.walk.feed(&head, &self.limits)?;
                    return self.walk.feed(&piece[taken..], &self.limits);
                }
                Sniffed::Undecided(_) if head.len() < SNIFF_BYTES => {
                    self.walk = Walk::Sniffing(head);
                    return Ok(());
                }
                Sniffed::Undecided(_) => return Err(sniff::unsupported(&head)),
            }
        }
        self.walk.feed(piece, &self.limits)
    }

    /// The format, as soon as the first bytes have shown it (3 bytes of a JPEG, 18 of a BMP, at most 12 of
    /// the others).
    pub const fn format(&self) -> Option<SourceFormat> {
        match self.walk {
            Walk::Sniffing(_) => None,
            Walk::Jpeg(_) => Some(SourceFormat::Jpeg),
            Walk::Png(_) => Some(SourceFormat::Png),
            Walk::WebP(_) => Some(SourceFormat::WebP),
            Walk::Gif(_) => Some(SourceFormat::Gif),
            Walk::Tiff(_) => Some(SourceFormat::Tiff),
            Walk::Bmp(_) => Some(SourceFormat::Bmp),
            Walk::Heif(ref walker) => Some(walker.format()),
            Walk::Jxl(_) => Some(SourceFormat::Jxl),
        }
    }

    /// Whether the size was seen, and therefore found to be within the limits.
    pub const fn size_known(&self) -> bool {
        match &self.walk {
            Walk::Sniffing(_) => false,
            Walk::Jpeg(walker) => walker.size_known(),
            Walk::Png(walker) => walker.size_known(),
            Walk::WebP(walker) => walker.size_known(),
            Walk::Gif(walker) => walker.size_known(),
            Walk::Tiff(walker) => walker.size_known(),
            Walk::Bmp(walker) => walker.size_known(),
            Walk::Heif(walker) => walker.size_known(),
            Walk::Jxl(walker) => walker.size_known(),
        }
    }

    /// The stream has ended: what it was, or why it is not complete.
    pub fn finish(self) -> Result<Probe, MediaError> {
        match self.walk {
            Walk::Sniffing(head) => Err(sniff::ended_early(&head)),
            Walk::Jpeg(walker) => walker.finish(self.bytes),
            Walk::Png(walker) => walker.finish(self.bytes),
            Walk::WebP(walker) => walker.finish(self.bytes),
            Walk::Gif(walker) => walker.finish(self.bytes),
            Walk::Tiff(walker) => walker.finish(self.bytes),
            Walk::Bmp(walker) => walker.finish(self.bytes),
            Walk::Heif(walker) => walker.finish(self.bytes),
            Walk::Jxl(walker) => walker.finish(self.bytes),
        }
    }
}

impl Walk {
    fn begin(format: SourceFormat) -> Self {
        match format {
            SourceFormat::Jpeg => Self::Jpeg(Box::default()),
            SourceFormat::Png => Self::Png(Box::default()),
            SourceFormat::WebP => Self::WebP(Box::default()),
            SourceFormat::Gif => Self::Gif(Box::default()),
            SourceFormat::Tiff => Self::Tiff(Box::default()),
            SourceFormat::Bmp => Self::Bmp(Box::default()),
            SourceFormat::Avif | SourceFormat::Heic => Self::Heif(Box::new(heif::Walker::new(format))),
            SourceFormat::Jxl => Self::Jxl(Box::default()),
        }
    }

    fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
        match self {
            Self::Sniffing(_) => Ok(()),
            Self::Jpeg(walker) => walker.feed(piece, limits),
            Self::Png(walker) => walker.feed(piece, limits),
            Self::WebP(walker) => walker.feed(piece, limits),
            Self::Gif(walker) => walker.feed(piece, limits),
            Self::Tiff(walker) => {
                walker.feed(piece, limits)?;
                walker.pass(piece, limits);
                Ok(())
            }
            Self::Bmp(walker) => walker.feed(piece, limits),
            Self::Heif(walker) => {
                walker.feed(piece, limits)?;
                walker.pass(piece);
                Ok(())
            }
            Self::Jxl(walker) => walker.feed(piece, limits),
        }
    }
}

/// Probes bytes that are all there: [`Prober::feed`] once, then [`Prober::finish`].
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, MediaError> {
    let mut prober = Prober::new(limits.clone());
    prober.feed(bytes)?;
    prober.finish()
}

/// Refuses a size of zero, then one beyond the limits.
fn check_size(format: SourceFormat, width: u32, height: u32, limits: &Limits) -> Result<(), MediaError> {
    if width == 0 || height == 0 {
        return Err(MediaError::corrupt(format, format!("it claims to be {width}×{height} pixels")));
    }
    limits.check_size(width, height)
}
