//! The layout of a backup.
//!
//! All numbers are little-endian.
//!
//! ```text
//! header   "DARKROOM" "metadata"             16 bytes
//!          format version                     4
//!          record format version              4
//!          store id (zeros: none yet)        16
//!          history                            8
//!          version of the snapshot            8
//!          time, ms since 1970                8
//!          digest                            32
//! block    "B", bytes of rows (4), rows (4)   9
//!          rows: key length (4), value length (4), key, value
//!          digest                            32
//! …
//! trailer  "E", rows (8), blocks (8)         17
//!          digest                            32
//! ```
//!
//! Each digest is the BLAKE3 of the digest before it and of the bytes between them. So a block that is damaged, missing,
//! doubled or of another backup is told at its own offset, and a file that ends without a trailer was cut.

use uuid::Uuid;

use crate::StoreError;
use crate::model::Timestamp;

/// The version of this layout.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 16] = b"DARKROOMmetadata";
/// Bytes of a digest.
pub(super) const DIGEST_BYTES: usize = 32;
/// Bytes of the header before its digest.
pub(super) const HEADER_BYTES: usize = 16 + 4 + 4 + 16 + 8 + 8 + 8;
/// Bytes of a block before its rows.
pub(super) const BLOCK_HEAD_BYTES: usize = 1 + 4 + 4;
/// Bytes of the trailer before its digest.
pub(super) const TRAILER_BYTES: usize = 1 + 8 + 8;
/// First byte of a block.
pub(super) const BLOCK: u8 = b'B';
/// First byte of the trailer.
pub(super) const TRAILER: u8 = b'E';
/// A block is closed once its keys and values take so much.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;
/// No block is larger: every byte could be a row of its own with two lengths before it, and the last row comes on top,
/// with its key and value at their limits.
pub(super) const BLOCK_BYTES_MAX: usize = BLOCK_BYTES * 9 + 8 + 10_000 + 100_000;

/// A stored row: key and value.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// What a backup says of itself before its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The format version of the keys and records in it: see [`identity::FORMAT_VERSION`](crate::model::identity).
    pub record_format: u32,
    /// Whose rows they are; none if the store had never been started.
    pub store_id: Option<Uuid>,
    /// See [`Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
    /// No versionstamp in it begins with a higher number.
    pub version: u64,
    /// When it was taken.
    pub taken: Timestamp,
}

/// What a whole backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The header.
    pub header: Header,
    /// Rows.
    pub rows: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// Links each part to all before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain([u8; DIGEST_BYTES]);

impl Chain {
    /// Goes on by `part`, and answers the digest that follows it.
    pub(super) fn link(&mut self, part: &[&[u8]]) -> [u8; DIGEST_BYTES] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        for bytes in part {
            hasher.update(bytes);
        }
        self.0 = *hasher.finalize().as_bytes();
        self.0
    }
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + DIGEST_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(self.record_format.to_le_bytes());
        bytes.extend(self.store_id.unwrap_or(Uuid::nil()).into_bytes());
        bytes.extend(self.history.to_le_bytes());
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.taken.0.to_le_bytes());
        bytes
    }

    /// What `bytes` say, before their digest is looked at: a file of another kind or version has none that is known.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, StoreError> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(unusable(0, "it is no backup of darkroom's metadata"));
        }
        let mut fields = Fields(rest);
        let format = fields.u32();
        if format != FORMAT_VERSION {
            let detail = format!(
                "it has format version {format}, this darkroomd reads {FORMAT_VERSION}: use the one that wrote it"
            );
            return Err(unusable(MAGIC.len() as u64, &detail));
        }
        Ok(Self {
            record_format: fields.u32(),
            store_id: Some(Uuid::from_bytes(fields.take())).filter(|id| !id.is_nil()),
            history: fields.u64(),
            version: fields.u64(),
            taken: Timestamp(fields.u64()),
        })
    }
}

/// Appends a row to a block's rows.
pub(super) fn push_row(rows: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Keys and values are far below 4 GiB.
    rows.extend((key.len() as u32).to_le_bytes());
    rows.extend((value.len() as u32).to_le_bytes());
    rows.extend_from_slice(key);
    rows.extend_from_slice(value);
}

/// The rows of a block, whose digest has been checked; `None` if they do not fill it exactly.
pub(super) fn split_rows(mut bytes: &[u8], count: u32) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for _ in 0..count {
        let key_bytes = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let value_bytes = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let key = bytes.split_off(..key_bytes as usize)?;
        rows.push((key.to_vec(), bytes.split_off(..value_bytes as usize)?.to_vec()));
    }
    bytes.is_empty().then_some(rows)
}

/// A backup that cannot be used, and from which byte on.
pub(super) fn unusable(offset: u64, detail: &str) -> StoreError {
    StoreError::BadBackup { offset, detail: detail.to_owned() }
}

/// Numbers in the order in which they stand. What is missing reads as zeros, so the caller knows the length.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        for (to, from) in taken.iter_mut().zip(self.0) {
            *to = *from;
        }
        self.0 = self.0.get(N..).unwrap_or_default();
        taken
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header {
            record_format: 1,
            store_id: Some(Uuid::new_v4()),
            history: 2,
            version: u64::MAX,
            taken: Timestamp(3),
        };
        let bytes: [u8; HEADER_BYTES] = header.encode().try_into().expect("its length");
        assert_eq!(Header::decode(&bytes).expect("a header"), header);
        let nobody = Header { store_id: None, ..header };
        let bytes: [u8; HEADER_BYTES] = nobody.encode().try_into().expect("its length");
        assert_eq!(Header::decode(&bytes).expect("a header").store_id, None);
    }

    #[test]
    fn rows_fill_their_block_exactly() {
        let mut bytes = Vec::new();
        push_row(&mut bytes, b"", b"value");
        push_row(&mut bytes, b"key", b"");
        let rows = vec![(vec![], b"value".to_vec()), (b"key".to_vec(), vec![])];
        assert_eq!(split_rows(&bytes, 2), Some(rows));
        assert_eq!(split_rows(&bytes, 1), None);
        assert_eq!(split_rows(&bytes, 3), None);
        assert_eq!(split_rows(&bytes[..bytes.len() - 1], 2), None);
    }
}
