//! The blocks of a GIF (`GIF89a` specification), in place.

/// Signature (section 17) and logical screen descriptor (section 18).
const SCREEN_BYTES: usize = 13;
/// An image's separator and descriptor (section 20).
const DESCRIPTOR_BYTES: usize = 10;

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2C;
/// The last byte of every GIF.
pub(super) const TRAILER: u8 = 0x3B;

/// Labels of extensions (sections 23 to 26).
pub(super) mod label {
    pub(in crate::metadata) const PLAIN_TEXT: u8 = 0x01;
    pub(in crate::metadata) const GRAPHIC_CONTROL: u8 = 0xF9;
    pub(in crate::metadata) const APPLICATION: u8 = 0xFF;
}

/// A block, from its introducer on, as much of it as is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block<'a> {
    /// An extension, with the data of its first sub-block, which names an application.
    Extension { label: u8, first: &'a [u8], whole: &'a [u8] },
    /// An image: descriptor, palette and pixels.
    Image(&'a [u8]),
}

/// The blocks of a GIF. Ends at the trailer, at what is no block, or where the file ends.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    rest: &'a [u8],
    /// As [`Blocks::cut`] tells.
    cut: bool,
}

impl<'a> Blocks<'a> {
    /// What stands before the first block (signature, screen, global palette), and the blocks. `None` if the file does
    /// not begin as a GIF.
    pub(super) fn new(bytes: &'a [u8]) -> Option<(&'a [u8], Self)> {
        let signature = bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a");
        let flags = bytes.first_chunk::<SCREEN_BYTES>().filter(|_| signature)?[10];
        let end = SCREEN_BYTES + palette_bytes(flags);
        let (screen, rest) = bytes.split_at(end.min(bytes.len()));
        Some((screen, Self { rest, cut: end > bytes.len() }))
    }

    /// Whether the file ended inside the block that came last, or inside what stands before the first.
    pub(super) const fn cut(&self) -> bool {
        self.cut
    }

    /// Cuts the next block off, whose sub-blocks begin at `at`.
    fn take(&mut self, at: usize) -> &'a [u8] {
        let mut end = at;
        self.cut = true;
        while let Some(length) = self.rest.get(end) {
            end += 1 + usize::from(*length);
            if *length == 0 {
                self.cut = false;
                break;
            }
        }
        let (block, rest) = self.rest.split_at(end.min(self.rest.len()));
        self.rest = rest;
        block
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        match *self.rest {
            [EXTENSION, label, ..] => {
                let whole = self.take(2);
                let first = whole.get(3..).unwrap_or_default();
                let length = whole.get(2).copied().unwrap_or_default();
                Some(Block::Extension { label, first: &first[..first.len().min(length.into())], whole })
            }
            [IMAGE, ..] => {
                let flags = self.rest.get(DESCRIPTOR_BYTES - 1).copied().unwrap_or_default();
                // The minimum code size stands before the pixels.
                Some(Block::Image(self.take(DESCRIPTOR_BYTES + palette_bytes(flags) + 1)))
            }
            _ => None,
        }
    }
}

/// Bytes of the palette that the flags of a descriptor announce.
const fn palette_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 0x07) + 1) }
}
