//! Reading a backup, every byte of it checked.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::format::{
    BLOCK, BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, Chain, DIGEST_BYTES, Fields, HEADER_BYTES, Header, Row,
    Summary, TRAILER, TRAILER_BYTES, split_rows, unusable,
};
use crate::StoreError;

/// The whole file read and checked: what it holds. Blocks its thread.
///
/// # Errors
/// [`StoreError::BadBackup`] with the byte from which on the file is cut, damaged, or of an unknown version;
/// [`StoreError::Io`].
pub fn inspect(path: &Path) -> Result<Summary, StoreError> {
    let mut contents = Contents::open(path)?;
    while contents.next_rows()?.is_some() {}
    Ok(Summary { header: contents.header.clone(), rows: contents.rows, bytes: contents.offset })
}

/// A backup that is being read. Its methods block.
pub struct Contents {
    reader: BufReader<File>,
    context: String,
    header: Header,
    chain: Chain,
    /// Bytes read and found good.
    offset: u64,
    rows: u64,
    blocks: u64,
}

impl Contents {
    /// Opens a backup and checks its header.
    ///
    /// # Errors
    /// As [`inspect`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let context = format!("reading {}", path.display());
        let file = File::open(path).map_err(|error| StoreError::io(context.clone(), error))?;
        let mut reader = BufReader::new(file);
        let mut bytes = [0; HEADER_BYTES];
        fill(&mut reader, &mut bytes, 0, &context)?;
        let header = Header::decode(&bytes)?;
        let mut contents =
            Self { reader, context, header, chain: Chain::default(), offset: 0, rows: 0, blocks: 0 };
        contents.check(&[&bytes], "its header is damaged")?;
        Ok(contents)
    }

    /// What the backup says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The rows of the next block, in the order of their keys; `None` at the end of a whole backup.
    ///
    /// # Errors
    /// As [`inspect`].
    pub fn next_rows(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let mut kind = [0];
        self.fill(&mut kind)?;
        match kind[0] {
            BLOCK => self.block().map(Some),
            TRAILER => self.trailer().map(|()| None),
            _ => Err(unusable(self.offset, "it is damaged")),
        }
    }

    fn block(&mut self) -> Result<Vec<Row>, StoreError> {
        let mut head = [BLOCK; BLOCK_HEAD_BYTES];
        self.fill(&mut head[1..])?;
        let mut fields = Fields(&head[1..]);
        let (bytes, count) = (fields.u32() as usize, fields.u32());
        if bytes > BLOCK_BYTES_MAX {
            return Err(unusable(self.offset, "it is damaged"));
        }
        let mut body = vec![0; bytes];
        self.fill(&mut body)?;
        let begin = self.offset;
        self.check(&[&head, &body], "it is damaged")?;
        let rows = split_rows(&body, count).ok_or_else(|| unusable(begin, "its rows are damaged"))?;
        self.rows += u64::from(count);
        self.blocks += 1;
        Ok(rows)
    }

    fn trailer(&mut self) -> Result<(), StoreError> {
        let mut bytes = [TRAILER; TRAILER_BYTES];
        self.fill(&mut bytes[1..])?;
        let begin = self.offset;
        self.check(&[&bytes], "its end is damaged")?;
        let mut fields = Fields(&bytes[1..]);
        if (fields.u64(), fields.u64()) != (self.rows, self.blocks) {
            return Err(unusable(begin, "its end counts other rows than it has"));
        }
        let mut more = [0];
        match self.reader.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(unusable(self.offset, "something follows its end")),
            Err(error) => Err(StoreError::io(self.context.clone(), error)),
        }
    }

    /// Reads the digest that follows `part`, and goes on behind it if it is right.
    fn check(&mut self, part: &[&[u8]], otherwise: &str) -> Result<(), StoreError> {
        let mut digest = [0; DIGEST_BYTES];
        self.fill(&mut digest)?;
        if self.chain.link(part) != digest {
            return Err(unusable(self.offset, otherwise));
        }
        let bytes = part.iter().map(|bytes| bytes.len()).sum::<usize>() + DIGEST_BYTES;
        self.offset += bytes as u64;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        fill(&mut self.reader, bytes, self.offset, &self.context)
    }
}

/// Fills `bytes` from a part that begins at `offset`.
fn fill(reader: &mut impl Read, bytes: &mut [u8], offset: u64, context: &str) -> Result<(), StoreError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => unusable(offset, "it was cut: what should follow is missing"),
        _ => StoreError::io(context, error),
    })
}
