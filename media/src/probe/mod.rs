//! What an upload is, found out while it arrives.
//!
//! [`Prober`] takes the stream in pieces of any size, sniffs the format from its first bytes, and then walks the
//! format's own structure (one file per format) to its end marker, all with the one `Walker`. It holds a few bytes of
//! the current header and, while it passes, the EXIF block: never the image. Compressed pixels are skipped, not decoded,
//! so damage inside them is found by [`decode`](crate::decode()) only; but a stream that ends too early is found here.

mod bmp;
mod gif;
mod heif;
mod jpeg;
#[cfg(feature = "jxl")]
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
use step::{Walk, Walker};

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
    /// Whether the one component is an index into a palette of colours. A record that does not say it is priced as if it
    /// were; so with the next two, where that is the dearer.
    #[serde(default = "Probe::taken_for_true")]
    pub palette: bool,
    /// Whether a JPEG's colours are `YCbCr` with whole luma, which stay in planes: almost every photo's are.
    #[serde(default)]
    pub planar: bool,
    /// Whether a colour profile or the like stands beside the pixels.
    #[serde(default = "Probe::taken_for_true")]
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

    /// What records of before a field was there are taken to say in it.
    const fn taken_for_true() -> bool {
        true
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

/// Where the probe stands.
#[derive(Debug)]
enum State {
    /// These bytes have not shown yet what it is.
    Sniffing(Vec<u8>),
    Walking(Box<dyn Walk>),
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
    state: State,
}

impl Prober {
    /// A prober that has seen nothing yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, state: State::Sniffing(Vec::new()) }
    }

    /// Takes the next piece of the stream, of any length.
    ///
    /// After an error the image is refused for good, and further pieces need not be fed.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), MediaError> {
        self.bytes += piece.len() as u64;
        let head = match &mut self.state {
            State::Walking(walk) => return walk.feed(piece, &self.limits),
            State::Sniffing(head) => head,
        };
        let taken = piece.len().min(SNIFF_BYTES - head.len());
        head.extend_from_slice(&piece[..taken]);
        match sniff(head) {
            Sniffed::Known(format) => {
                let mut walk = begin(format)?;
                let outcome =
                    walk.feed(head, &self.limits).and_then(|()| walk.feed(&piece[taken..], &self.limits));
                self.state = State::Walking(walk);
                outcome
            }
            Sniffed::Undecided(_) if head.len() < SNIFF_BYTES => Ok(()),
            Sniffed::Undecided(_) => Err(sniff::unsupported(head)),
        }
    }

    /// The format, as soon as the first bytes have shown it (3 bytes of a JPEG, 18 of a BMP, at most 12 of
    /// the others).
    pub fn format(&self) -> Option<SourceFormat> {
        match &self.state {
            State::Sniffing(_) => None,
            State::Walking(walk) => Some(walk.format()),
        }
    }

    /// Whether the size was seen, and therefore found to be within the limits.
    pub fn size_known(&self) -> bool {
        match &self.state {
            State::Sniffing(_) => false,
            State::Walking(walk) => walk.size_known(),
        }
    }

    /// The stream has ended: what it was, or why it is not complete.
    pub fn finish(self) -> Result<Probe, MediaError> {
        match self.state {
            State::Sniffing(head) => Err(sniff::ended_early(&head)),
            State::Walking(walk) => walk.finish(self.bytes, &self.limits),
        }
    }
}

/// The walk of a format, at its beginning.
#[cfg_attr(feature = "jxl", expect(clippy::unnecessary_wraps, reason = "without the feature it is refused"))]
fn begin(format: SourceFormat) -> Result<Box<dyn Walk>, MediaError> {
    Ok(match format {
        SourceFormat::Jpeg => Box::new(Walker::new(jpeg::Jpeg::default())),
        SourceFormat::Png => Box::new(Walker::new(png::Png::default())),
        SourceFormat::WebP => Box::new(Walker::new(webp::WebP::default())),
        SourceFormat::Gif => Box::new(Walker::new(gif::Gif::default())),
        SourceFormat::Tiff => Box::new(Walker::new(tiff::Tiff::default())),
        SourceFormat::Bmp => Box::new(Walker::new(bmp::Bmp::default())),
        SourceFormat::Avif | SourceFormat::Heic => Box::new(Walker::new(heif::Heif::new(format))),
        #[cfg(feature = "jxl")]
        SourceFormat::Jxl => Box::new(Walker::new(jxl::Jxl::default())),
        #[cfg(not(feature = "jxl"))]
        SourceFormat::Jxl => return Err(sniff::refused_jxl()),
    })
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
