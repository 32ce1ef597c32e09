//! Walking a GIF (`GIF89a` specification): blocks and their sub-blocks, up to the trailer.
//!
//! Many GIFs in the wild lack the trailer or end in rubbish, and every viewer shows them. So the first frame must be
//! complete; after it, the walk only counts frames, and ends at whatever is no block.

use super::step::Step;
use super::{Probe, check_size};
use crate::{Limits, MediaError, SourceFormat};

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
enum At {
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
    End,
}

/// Of the frame that is rendered.
#[derive(Debug, Clone, Copy)]
struct FirstFrame {
    covers_canvas: bool,
    interlaced: bool,
}

#[derive(Debug)]
pub(super) struct Walker {
    at: At,
    step: Step,
    position: u64,
    canvas: Option<(u32, u32)>,
    global_palette: bool,
    transparent: bool,
    first: Option<FirstFrame>,
    frames: u32,
    metadata_bytes: u64,
}

impl Default for Walker {
    fn default() -> Self {
        let mut step = Step::default();
        step.collect(SCREEN_BYTES);
        Self {
            at: At::Screen,
            step,
            position: 0,
            canvas: None,
            global_palette: false,
            transparent: false,
            first: None,
            frames: 0,
            metadata_bytes: 0,
        }
    }
}

/// Bytes of the palette that the flags of a descriptor announce.
const fn palette_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 0x07) + 1) }
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Gif, detail)
}

impl Walker {
    pub(super) const fn size_known(&self) -> bool {
        self.canvas.is_some()
    }

    pub(super) fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
        let mut rest = piece;
        while !rest.is_empty() && self.at != At::End {
            let before = rest.len();
            let complete = self.step.take(&mut rest);
            self.position += (before - rest.len()) as u64;
            if complete {
                self.collected(limits)?;
            }
        }
        Ok(())
    }

    fn next(&mut self, at: At, skipped: u64, collected: usize) {
        self.at = at;
        self.step.skip(skipped);
        self.step.collect(collected);
    }

    fn collected(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let byte = self.step.bytes()[0];
        match self.at {
            At::Screen => {
                let (width, height) = (u32::from(self.step.u16_le(6)), u32::from(self.step.u16_le(8)));
                check_size(SourceFormat::Gif, width, height, limits)?;
                self.canvas = Some((width, height));
                let palette = palette_bytes(self.step.bytes()[10]);
                self.global_palette = palette > 0;
                self.next(At::Block, palette, 1);
            }
            At::Block => return self.block(byte),
            At::ExtensionLabel => self.next(At::ExtensionLength(byte), 0, 1),
            At::ExtensionLength(_) if byte == 0 => self.next(At::Block, 0, 1),
            At::ExtensionLength(GRAPHIC_CONTROL) if byte == CONTROL_BYTES && self.frames == 0 => {
                self.next(At::GraphicControl, 0, usize::from(CONTROL_BYTES));
            }
            At::ExtensionLength(label) => {
                if label == APPLICATION {
                    self.metadata_bytes += u64::from(byte) + 1;
                }
                self.next(At::ExtensionLength(label), u64::from(byte), 1);
            }
            At::GraphicControl => {
                self.transparent = byte & 1 != 0;
                self.next(At::ExtensionLength(GRAPHIC_CONTROL), 0, 1);
            }
            At::Descriptor => return self.descriptor(limits),
            At::CodeSize if self.frames == 0 && !(1..=11).contains(&byte) => {
                return Err(corrupt(format!("its code size {byte} does not exist")));
            }
            At::CodeSize => self.next(At::PixelLength, 0, 1),
            At::PixelLength if byte == 0 => {
                self.frames = self.frames.saturating_add(1);
                self.next(At::Block, 0, 1);
            }
            At::PixelLength => self.next(At::PixelLength, u64::from(byte), 1),
            At::End => {}
        }
        Ok(())
    }

    fn block(&mut self, introducer: u8) -> Result<(), MediaError> {
        match introducer {
            EXTENSION => self.next(At::ExtensionLabel, 0, 1),
            IMAGE => self.next(At::Descriptor, 0, DESCRIPTOR_BYTES),
            // Rubbish after the first frame ends the image like the trailer.
            TRAILER if self.frames == 0 => return Err(corrupt("it holds no image")),
            _ if self.frames > 0 => self.at = At::End,
            other => {
                let at = self.position;
                return Err(corrupt(format!("no block begins with 0x{other:02X}, before byte {at}")));
            }
        }
        Ok(())
    }

    fn descriptor(&mut self, limits: &Limits) -> Result<(), MediaError> {
        let flags = self.step.bytes()[8];
        let palette = palette_bytes(flags);
        if self.frames == 0 {
            let [x, y, width, height] = [0, 2, 4, 6].map(|at| u32::from(self.step.u16_le(at)));
            check_size(SourceFormat::Gif, width, height, limits)?;
            if palette == 0 && !self.global_palette {
                return Err(corrupt("it has no palette"));
            }
            let (canvas_width, canvas_height) = self.canvas.unwrap_or_default();
            let covers_canvas = x == 0 && y == 0 && width >= canvas_width && height >= canvas_height;
            self.first = Some(FirstFrame { covers_canvas, interlaced: flags & 0x40 != 0 });
        }
        self.next(At::CodeSize, palette, 1);
        Ok(())
    }

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let (1.., Some((width, height)), Some(first)) = (self.frames, self.canvas, self.first) else {
            let what = if matches!(self.at, At::PixelLength) { "the pixel data" } else { "its header" };
            return Err(MediaError::Truncated { format: SourceFormat::Gif, what });
        };
        Ok(Probe {
            components: 1,
            palette: true,
            has_alpha: self.transparent || !first.covers_canvas,
            progressive: first.interlaced,
            frames: self.frames,
            metadata_bytes: self.metadata_bytes,
            image_bytes: self.position,
            ..Probe::plain(SourceFormat::Gif, (width, height), bytes)
        })
    }
}
