//! Walking a GIF (`GIF89a` specification): blocks and their sub-blocks, up to the trailer.
//!
//! Many GIFs in the wild lack the trailer or end in rubbish, and every viewer shows them. So the first frame must be
//! complete; after it, the walk only counts frames, and ends at whatever is no block.

use super::step::{Seen, Step, Structure};
use super::{Probe, check_size};
use crate::{MediaError, SourceFormat};

/// Signature (6 bytes, compared by the sniffer) and logical screen descriptor (section 18).
const SCREEN_BYTES: usize = 13;
/// Image descriptor without its separator (section 20).
const DESCRIPTOR_BYTES: usize = 9;
/// Data of a graphic control extension (section 23).
const CONTROL_BYTES: u8 = 4;

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Screen,
    Block,
    ExtensionLabel,
    /// The length of a sub-block, inside an extension of this label.
    ExtensionLength(u8),
    GraphicControl,
    Descriptor,
    /// The minimum code size, before the pixel data.
    CodeSize,
    PixelLength,
}

/// Of the frame that is rendered.
#[derive(Debug, Clone, Copy)]
struct FirstFrame {
    covers_canvas: bool,
    interlaced: bool,
}

#[derive(Debug, Default)]
pub(super) struct Gif {
    canvas: Option<(u32, u32)>,
    global_palette: bool,
    transparent: bool,
    first: Option<FirstFrame>,
    frames: u32,
    metadata_bytes: u64,
}

/// Bytes of the palette that the flags of a descriptor announce.
const fn palette_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 0x07) + 1) }
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Gif, detail)
}

impl Structure for Gif {
    type At = At;

    fn begin(&self) -> Step<At> {
        Step::collect(At::Screen, SCREEN_BYTES)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let byte = seen.bytes[0];
        Ok(match at {
            At::Screen => self.screen(seen)?,
            At::Block => self.block(byte, seen.position)?,
            At::ExtensionLabel => Step::collect(At::ExtensionLength(byte), 1),
            At::ExtensionLength(_) if byte == 0 => Step::collect(At::Block, 1),
            At::ExtensionLength(GRAPHIC_CONTROL) if byte == CONTROL_BYTES && self.frames == 0 => {
                Step::collect(At::GraphicControl, usize::from(CONTROL_BYTES))
            }
            At::ExtensionLength(label) => {
                if label == APPLICATION {
                    self.metadata_bytes += u64::from(byte) + 1;
                }
                Step::Collect { skipped: u64::from(byte), at, bytes: 1 }
            }
            At::GraphicControl => {
                self.transparent = byte & 1 != 0;
                Step::collect(At::ExtensionLength(GRAPHIC_CONTROL), 1)
            }
            At::Descriptor => self.descriptor(seen)?,
            At::CodeSize if self.frames == 0 && !(1..=11).contains(&byte) => {
                return Err(corrupt(format!("its code size {byte} does not exist")));
            }
            At::CodeSize => Step::collect(At::PixelLength, 1),
            At::PixelLength if byte == 0 => {
                self.frames = self.frames.saturating_add(1);
                Step::collect(At::Block, 1)
            }
            At::PixelLength => Step::Collect { skipped: u64::from(byte), at, bytes: 1 },
        })
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::Gif
    }

    fn size_known(&self) -> bool {
        self.canvas.is_some()
    }

    fn finish(self, at: Option<At>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
        let (1.., Some((width, height)), Some(first)) = (self.frames, self.canvas, self.first) else {
            let what = if at == Some(At::PixelLength) { "the pixel data" } else { "its header" };
            return Err(MediaError::Truncated { format: SourceFormat::Gif, what });
        };
        Ok(Probe {
            components: 1,
            palette: true,
            has_alpha: self.transparent || !first.covers_canvas,
            progressive: first.interlaced,
            frames: self.frames,
            metadata_bytes: self.metadata_bytes,
            image_bytes: seen.position,
            ..Probe::plain(SourceFormat::Gif, (width, height), bytes)
        })
    }
}

impl Gif {
    fn screen(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let (width, height) = (u32::from(seen.u16_le(6)), u32::from(seen.u16_le(8)));
        check_size(SourceFormat::Gif, width, height, seen.limits)?;
        self.canvas = Some((width, height));
        let palette = palette_bytes(seen.bytes[10]);
        self.global_palette = palette > 0;
        Ok(Step::Collect { skipped: palette, at: At::Block, bytes: 1 })
    }

    fn block(&self, introducer: u8, position: u64) -> Result<Step<At>, MediaError> {
        match introducer {
            EXTENSION => Ok(Step::collect(At::ExtensionLabel, 1)),
            IMAGE => Ok(Step::collect(At::Descriptor, DESCRIPTOR_BYTES)),
            // Rubbish after the first frame ends the image like the trailer.
            TRAILER if self.frames == 0 => Err(corrupt("it holds no image")),
            _ if self.frames > 0 => Ok(Step::End),
            other => Err(corrupt(format!("no block begins with 0x{other:02X}, before byte {position}"))),
        }
    }

    fn descriptor(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let flags = seen.bytes[8];
        let palette = palette_bytes(flags);
        if self.frames == 0 {
            let [x, y, width, height] = [0, 2, 4, 6].map(|at| u32::from(seen.u16_le(at)));
            check_size(SourceFormat::Gif, width, height, seen.limits)?;
            if palette == 0 && !self.global_palette {
                return Err(corrupt("it has no palette"));
            }
            let (canvas_width, canvas_height) = self.canvas.unwrap_or_default();
            let covers_canvas = x == 0 && y == 0 && width >= canvas_width && height >= canvas_height;
            self.first = Some(FirstFrame { covers_canvas, interlaced: flags & 0x40 != 0 });
        }
        Ok(Step::Collect { skipped: palette, at: At::CodeSize, bytes: 1 })
    }
}
