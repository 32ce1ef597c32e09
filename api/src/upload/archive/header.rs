//! One block of 512 bytes that says what follows it.
//!
//! POSIX.1-2017, pax, "ustar Interchange Format"; GNU's and older ones where they differ.

/// Size of a block: of a header, and what content is filled up to.
pub(super) const BLOCK: usize = 512;
/// A block.
pub(super) type Block = [u8; BLOCK];

/// What a header says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its type.
    pub(super) kind: Kind,
    /// Bytes that follow it, without what fills up the last block.
    pub(super) size: u64,
    /// The path, as the header itself has it: at most 256 bytes.
    pub(super) path: Vec<u8>,
}

/// Types of entries that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File {
        /// Of a type from before there was one for directories: a slash at its path's end told them.
        is_old: bool,
    },
    /// GNU's file with holes, stored as a list of its pieces. The list may go on in further blocks.
    Sparse {
        /// Whether it does.
        goes_on: bool,
    },
    /// What the next entry's path is, because it is too long for a header (GNU).
    LongPath,
    /// What holds for the next entry (pax).
    Extended,
    /// What holds for all entries that follow (pax).
    Global,
    /// A name more of a file that came before. In pax its content may follow it once more; elsewhere none does, whatever its
    /// size says (libarchive has it so, too).
    HardLink,
    /// Nothing that could be a photo: a directory, a link, a device, or a kind that nobody knows.
    Other {
        /// Whether its size is that of content which follows. Symbolic links, devices and directories have none, whatever
        /// their size says.
        has_content: bool,
    },
}

/// Where a header's fields lie.
mod field {
    use std::ops::Range;

    pub(super) const NAME: Range<usize> = 0..100;
    pub(super) const SIZE: Range<usize> = 124..136;
    pub(super) const CHECKSUM: Range<usize> = 148..156;
    pub(super) const TYPE: usize = 156;
    /// With a NUL it is POSIX's, and there is a prefix; with a space it is GNU's, which has other fields there.
    pub(super) const MAGIC: Range<usize> = 257..263;
    pub(super) const PREFIX: Range<usize> = 345..500;
    /// GNU's, in a sparse file's header.
    pub(super) const GOES_ON: usize = 482;
}
/// Where a block that goes on with the list of pieces says whether another does.
const SPARSE_GOES_ON: usize = 504;

impl Header {
    /// Reads a block.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence about the header.
    pub(super) fn parse(block: &Block) -> Result<Self, String> {
        let sum = number(&block[field::CHECKSUM]);
        let (unsigned, signed) = sums(block);
        // Some old archivers summed signed bytes.
        if sum != Some(unsigned) && sum.map(|sum| sum as i64) != Some(signed) {
            return Err("has a wrong checksum".to_owned());
        }
        let size = number(&block[field::SIZE]).ok_or("has a size that is no number")?;
        let posix = &block[field::MAGIC] == b"ustar\0";
        let mut path = if posix { text(&block[field::PREFIX]).to_vec() } else { Vec::new() };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(text(&block[field::NAME]));
        let kind = match block[field::TYPE] {
            b'0' | b'7' => Kind::File { is_old: false },
            0 => Kind::File { is_old: true },
            b'1' => Kind::HardLink,
            b'S' => Kind::Sparse { goes_on: block[field::GOES_ON] != 0 },
            b'L' => Kind::LongPath,
            b'x' | b'X' => Kind::Extended,
            b'g' => Kind::Global,
            b'2'..=b'6' => Kind::Other { has_content: false },
            _ => Kind::Other { has_content: true },
        };
        let size = if kind == (Kind::Other { has_content: false }) { 0 } else { size };
        Ok(Self { kind, size, path })
    }
}

/// Whether a block that goes on with a sparse file's list is followed by another.
pub(super) fn sparse_goes_on(block: &Block) -> bool {
    block[SPARSE_GOES_ON] != 0
}

/// The sums of all bytes, unsigned and signed, with spaces in place of the checksum.
fn sums(block: &Block) -> (u64, i64) {
    let bytes = || {
        block.iter().enumerate().map(|(at, byte)| if field::CHECKSUM.contains(&at) { b' ' } else { *byte })
    };
    (bytes().map(u64::from).sum(), bytes().map(|byte| i64::from(byte as i8)).sum())
}

/// Up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal digits, or, with the first bit set, in base 256 (GNU). An empty field is 0.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first == 0x80 {
        return rest.iter().try_fold(0_u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)));
    }
    let digits = text(field).trim_ascii();
    // More digits than a field has cannot overflow: 12 of them are 36 bits.
    digits.iter().try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum * 8 + u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::archive::tests::header;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"00000000012\0"[..], Some(10)),
            (b"       12 \0\0", Some(10)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\0\0\0\0", Some(0)),
            (b"12x", None),
            (b"-1", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn a_changed_bit_shows() {
        let good = header("a.jpg", b'0', 3);
        assert_eq!(
            Header::parse(&good),
            Ok(Header { kind: Kind::File { is_old: false }, size: 3, path: b"a.jpg".to_vec() })
        );
        for at in 0..BLOCK {
            let mut bad = good;
            bad[at] ^= 1;
            // The last two bytes of the checksum's field only end it.
            assert!(Header::parse(&bad).is_err() || (154..156).contains(&at), "byte {at}");
        }
    }

    #[test]
    fn types_are_told_apart() {
        for (path, flag, kind, size) in [
            ("a", b'0', Kind::File { is_old: false }, 9),
            ("a", 0, Kind::File { is_old: true }, 9),
            ("a", b'7', Kind::File { is_old: false }, 9),
            ("a/", b'5', Kind::Other { has_content: false }, 0),
            ("a", b'1', Kind::HardLink, 9),
            ("a", b'2', Kind::Other { has_content: false }, 0),
            ("a", b'K', Kind::Other { has_content: true }, 9),
            ("a", b'V', Kind::Other { has_content: true }, 9),
            ("a", b'L', Kind::LongPath, 9),
            ("a", b'x', Kind::Extended, 9),
            ("a", b'g', Kind::Global, 9),
            ("a", b'S', Kind::Sparse { goes_on: false }, 9),
        ] {
            let found = Header::parse(&header(path, flag, 9)).unwrap();
            assert_eq!((found.kind, found.size), (kind, size), "{}", flag.escape_ascii());
        }
    }
}
