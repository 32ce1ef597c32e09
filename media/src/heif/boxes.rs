//! Boxes and the numbers in them (ISO/IEC 14496-12, section 4.2).

/// Bytes of a box's header: its size and its kind.
pub(crate) const BOX_HEADER_BYTES: usize = 8;
/// Bytes of the header of a box whose size needs 64 bits.
const LARGE_BOX_HEADER_BYTES: usize = 16;

/// How a box begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoxHeader {
    pub(crate) kind: [u8; 4],
    /// Bytes of the whole box. `None` if it goes to the end of the file.
    pub(crate) size: Option<u64>,
    /// Bytes of the header itself.
    pub(crate) bytes: usize,
}

impl BoxHeader {
    /// How many bytes of the header are missing behind its beginning, of at least [`BOX_HEADER_BYTES`].
    pub(crate) fn missing(beginning: &[u8]) -> usize {
        let is_large = beginning.starts_with(&1_u32.to_be_bytes());
        let bytes = if is_large { LARGE_BOX_HEADER_BYTES } else { BOX_HEADER_BYTES };
        bytes.saturating_sub(beginning.len())
    }

    /// `None` if there are too few bytes, or the box claims to be shorter than its header.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let small = fields.u32()?;
        let kind = fields.kind()?;
        let (size, header) = match small {
            0 => (None, BOX_HEADER_BYTES),
            1 => (Some(fields.u64()?), LARGE_BOX_HEADER_BYTES),
            size => (Some(u64::from(size)), BOX_HEADER_BYTES),
        };
        size.is_none_or(|size| size >= header as u64).then_some(Self { kind, size, bytes: header })
    }
}

/// Bytes that numbers are taken from, most significant byte first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of 0 to 8 bytes; one of no bytes is 0.
    pub(super) fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.number(1).map(|number| number as u8)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.number(2).map(|number| number as u16)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.number(4).map(|number| number as u32)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.number(8)
    }

    pub(super) fn kind(&mut self) -> Option<[u8; 4]> {
        self.take(4)?.try_into().ok()
    }

    /// An item's number, of 16 bits or 32.
    pub(super) fn item(&mut self, wide: bool) -> Option<u32> {
        self.number(if wide { 4 } else { 2 }).map(|number| number as u32)
    }

    /// The version and the flags that full boxes begin with.
    pub(super) fn version(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0x00FF_FFFF))
    }

    /// The next box inside: its kind and what it holds. `None` at the end, and where none can begin.
    pub(super) fn next_box(&mut self) -> Option<([u8; 4], &'a [u8])> {
        let header = BoxHeader::read(self.0)?;
        let size = header.size.unwrap_or(self.0.len() as u64);
        let whole = self.take(usize::try_from(size).ok()?)?;
        Some((header.kind, &whole[header.bytes..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_lengths_are_read() {
        let small = BoxHeader::read(b"\0\0\0\x10meta").unwrap();
        assert_eq!((small.kind, small.size, small.bytes), (*b"meta", Some(16), 8));
        let large = BoxHeader::read(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0").unwrap();
        assert_eq!((large.size, large.bytes), (Some(1 << 32), 16));
        assert_eq!(BoxHeader::read(b"\0\0\0\0mdat").unwrap().size, None);
        assert_eq!(BoxHeader::missing(b"\0\0\0\x10meta"), 0);
        assert_eq!(BoxHeader::missing(b"\0\0\0\x01mdat"), 8);
        assert_eq!(BoxHeader::missing(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0"), 0);
        for broken in [b"\0\0\0\x07meta".as_slice(), b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x0F", b"\0\0\0\x10met"] {
            assert!(BoxHeader::read(broken).is_none());
        }
    }

    #[test]
    fn boxes_end_where_their_parent_does() {
        let mut fields = Fields(b"\0\0\0\x09free!\0\0\0\x0Afree!");
        assert_eq!(fields.next_box(), Some((*b"free", b"!".as_slice())));
        assert_eq!(fields.next_box(), None);
    }
}
