//! A look at fjall's journals before it opens them: was the power cut while the last batch was written, or is something
//! damaged that had been acknowledged?
//!
//! fjall takes the first byte that it cannot read for the end of the journal, cuts the file there and goes on: right for
//! a batch that was being written, but damage in the middle would so take every later transaction with it, and nobody
//! would be told. And a batch that was torn inside a value it calls a wrong checksum, and does not open at all, though
//! nothing acknowledged is lost. We can tell the two apart, because the writer syncs each batch before it begins the
//! next: whatever was torn is the last one, so nothing may follow it.
//!
//! The format is that of `fjall::journal::entry` 3.1: a batch is a start (the number of items, a sequence number), items,
//! and an end (xxh3 of the items, and magic bytes). The first item of each of ours is the engine's version, which ascends.
//! A new journal is filled up with zeros.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::disk::VERSION_KEY;
use crate::error::StoreError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What an end closes with (`fjall::file::MAGIC_BYTES`).
const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];
/// Bytes of a start: its tag, the number of items, a sequence number.
const START_BYTES: usize = 1 + 4 + 8;
/// Bytes of an item before its key: its tag, kind of value, compression, keyspace, and three lengths.
const ITEM_HEAD_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
/// No value is longer, as it is stored: the limit of a value, and what compression may add in the worst case.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// How much is read at once in search of what follows the last whole batch.
const PIECE_BYTES: usize = 1 << 20;

/// Looks at every journal in `home`, and cuts off a batch that was being written when the power went.
///
/// Fails with [`StoreError::Corrupt`] when what was acknowledged is damaged. What can not be told is damage of exactly
/// the last batch of a store that was not closed; of one that was, [`super::disk`] knows the version.
pub(super) fn check(home: &Path) -> Result<(), StoreError> {
    let journals = journals_in(home)
        .map_err(|error| StoreError::io(format!("listing the journals in {}", home.display()), error))?;
    let newest = journals.len().saturating_sub(1);
    for (index, path) in journals.iter().enumerate() {
        check_one(path, index == newest)
            .map_err(|error| StoreError::io(format!("reading {}", path.display()), error))??;
    }
    Ok(())
}

/// The journals, oldest first.
fn journals_in(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(home)? {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

fn check_one(path: &Path, newest: bool) -> io::Result<Result<(), StoreError>> {
    let mut walk = Walk { reader: BufReader::new(File::open(path)?), entry: Vec::new() };
    let (mut whole, mut version) = (0, 0);
    while let Some(batch) = walk.batch()? {
        whole = walk.reader.stream_position()?;
        version = batch.version.unwrap_or(version);
    }
    walk.reader.seek(SeekFrom::Start(whole))?;
    let rest = without_zeros(&mut walk.reader)?;
    if rest.is_empty() {
        return Ok(Ok(()));
    }
    let damaged = |what: &str| StoreError::Corrupt {
        what: path.display().to_string(),
        detail: format!("it cannot be read from byte {whole} on, {what}"),
    };
    if !newest {
        return Ok(Err(damaged("and a newer journal follows")));
    }
    if acknowledged_follows(&rest, version)? {
        return Ok(Err(damaged("but acknowledged transactions follow")));
    }
    tracing::info!(journal = %path.display(), from = whole, "a commit was cut off before it was acknowledged; it is removed");
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(whole)?;
    file.sync_all()?;
    Ok(Ok(()))
}

/// What is left of the file up to the last byte that is not zero.
fn without_zeros(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let zeros = vec![0; PIECE_BYTES];
    let (mut rest, mut zeros_before, mut piece) = (Vec::new(), 0, Vec::new());
    loop {
        piece.clear();
        if reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)? == 0 {
            break;
        }
        if piece == zeros[..piece.len()] {
            zeros_before += piece.len();
        } else {
            rest.resize(rest.len() + std::mem::take(&mut zeros_before), 0);
            rest.append(&mut piece);
        }
    }
    let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    rest.truncate(end);
    Ok(rest)
}

/// Whether `rest`, which begins after the batch of `version`, holds more than one batch that was being written: then the
/// first of them had been acknowledged before the next was begun.
fn acknowledged_follows(rest: &[u8], version: u64) -> io::Result<bool> {
    // The end of an item's head with the engine's version: the three lengths, and the key.
    let pattern = [&[2, 0, 8, 0, 0, 0, 8, 0, 0, 0][..], &VERSION_KEY].concat();
    let mut first = None;
    for (at, window) in rest.windows(pattern.len() + 8).enumerate() {
        let Some(later) = window.strip_prefix(&pattern[..]).and_then(|bytes| bytes.try_into().ok()) else {
            continue;
        };
        let later = u64::from_be_bytes(later);
        // Somebody's value may look like it.
        if later <= version {
            continue;
        }
        if *first.get_or_insert(later) != later {
            return Ok(true);
        }
        // A whole batch is the last one only if it is the first: then it would have been read as such.
        let begin = at.checked_sub(START_BYTES + ITEM_HEAD_BYTES - 10);
        if let Some(begin) = begin {
            let mut walk = Walk { reader: &rest[begin..], entry: Vec::new() };
            if walk.batch()?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Reads batches, as far as they are whole.
struct Walk<R> {
    reader: R,
    /// The bytes of the entry that was read last.
    entry: Vec<u8>,
}

/// What matters of a whole batch.
struct Batch {
    version: Option<u64>,
}

impl<R: Read> Walk<R> {
    /// The next batch; `None` if the next bytes are not a whole one.
    fn batch(&mut self) -> io::Result<Option<Batch>> {
        match self.read_batch() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read,
        }
    }

    fn read_batch(&mut self) -> io::Result<Option<Batch>> {
        self.entry.clear();
        if self.take(START_BYTES)?[0] != START {
            return Ok(None);
        }
        let items = number(&self.entry[1..5]);
        let (mut sum, mut version) = (Xxh3::new(), None);
        for _ in 0..items {
            self.entry.clear();
            match self.take(1)?[0] {
                ITEM => {
                    let Some(found) = self.item()? else { return Ok(None) };
                    version = version.or(found.version);
                }
                CLEAR => drop(self.take(8)?),
                _ => return Ok(None),
            }
            sum.update(&self.entry);
        }
        self.entry.clear();
        let end = self.take(1 + 8 + MAGIC.len())?;
        let whole = end[0] == END && end[1..9] == sum.finish().to_le_bytes() && end[9..] == MAGIC;
        Ok(whole.then_some(Batch { version }))
    }

    /// The rest of an item, after its tag; `None` if its lengths cannot be.
    fn item(&mut self) -> io::Result<Option<Batch>> {
        let head = self.take(ITEM_HEAD_BYTES - 1)?;
        let (key, value) = (number(&head[10..12]), number(&head[16..20]));
        if value > VALUE_BYTES_MAX {
            return Ok(None);
        }
        let body = self.take(key + value)?;
        let version = body.strip_prefix(&VERSION_KEY[..]).filter(|_| key == VERSION_KEY.len());
        Ok(Some(Batch {
            version: version.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?))),
        }))
    }

    /// Appends the next `bytes` bytes to the entry, and answers them.
    fn take(&mut self, bytes: usize) -> io::Result<&[u8]> {
        let from = self.entry.len();
        self.entry.resize(from + bytes, 0);
        self.reader.read_exact(&mut self.entry[from..])?;
        Ok(&self.entry[from..])
    }
}

/// A little-endian number of up to four bytes.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}
