//! What the recorder wrote: records in the order in which they took effect. `tests/power/recorder.c` says what each is.

use std::path::Path;

use anyhow::{Context, bail};

/// Bytes before the paths and the data of a record.
const HEADER_BYTES: usize = 40;

/// The log of one process.
pub struct Log {
    bytes: Vec<u8>,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Event<'log> {
    /// The log's length behind it: it had happened when the log was so long.
    pub end: u64,
    pub what: What<'log>,
}

/// Paths are relative to the recorder's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'log> {
    Created { path: &'log str, inode: u64 },
    Written { inode: u64, at: u64, bytes: &'log [u8] },
    Resized { inode: u64, size: u64 },
    SyncBegun { inode: u64, number: u64, data_only: bool },
    SyncDone { number: u64 },
    Renamed { path: &'log str, target: &'log str },
    Unlinked { path: &'log str },
    FolderMade { path: &'log str, inode: u64 },
    FolderRemoved { path: &'log str },
}

impl Log {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { bytes: std::fs::read(path).with_context(|| format!("reading {}", path.display()))? })
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its first bytes.
    pub fn until(&self, length: u64) -> &[u8] {
        &self.bytes[..length.min(self.len()) as usize]
    }

    /// Everything that was recorded.
    ///
    /// # Errors
    /// Where the log does not begin with a process's start, or the process did something to a file of which the
    /// recorder knows only that it happened.
    pub fn events(&self) -> anyhow::Result<Vec<Event<'_>>> {
        let mut reader = Reader { bytes: &self.bytes, at: 0 };
        let first = reader.record()?;
        if first.kind != 1 {
            bail!("the log begins with a record of kind {}: was the recorder loaded?", first.kind);
        }
        let root = first.path;
        let mut events = Vec::new();
        while reader.at < self.bytes.len() {
            let what = reader.record()?.what(root)?;
            events.push(Event { end: reader.at as u64, what });
        }
        Ok(events)
    }
}

struct Record<'log> {
    kind: u32,
    path: &'log str,
    target: &'log str,
    data_only: bool,
    inode: u64,
    at: u64,
    bytes: &'log [u8],
}

impl<'log> Record<'log> {
    fn what(self, root: &str) -> anyhow::Result<What<'log>> {
        let Self { inode, at, bytes, data_only, .. } = self;
        let relative = |path: &'log str| {
            let inner = path.strip_prefix(root).and_then(|inner| inner.strip_prefix('/'));
            inner.with_context(|| format!("{path} is not below {root}"))
        };
        Ok(match self.kind {
            2 => What::Created { path: relative(self.path)?, inode },
            3 => What::Written { inode, at, bytes },
            4 => What::Resized { inode, size: at },
            5 => What::SyncBegun { inode, number: at, data_only },
            6 => What::SyncDone { number: at },
            7 => What::Renamed { path: relative(self.path)?, target: relative(self.target)? },
            8 => What::Unlinked { path: relative(self.path)? },
            9 => What::FolderMade { path: relative(self.path)?, inode },
            10 => What::FolderRemoved { path: relative(self.path)? },
            1 => bail!("a second process began in the log: it holds one"),
            11 => bail!(
                "system call {at} on {:?} is nothing that the recorder understands: teach it",
                self.path
            ),
            kind => bail!("a record of kind {kind}: recorder.c and log.rs disagree"),
        })
    }
}

struct Reader<'log> {
    bytes: &'log [u8],
    at: usize,
}

impl<'log> Reader<'log> {
    fn record(&mut self) -> anyhow::Result<Record<'log>> {
        let header = self.take(HEADER_BYTES)?;
        let word =
            |index: usize| u32::from_le_bytes(header[index * 4..][..4].try_into().expect("four bytes"));
        let long =
            |index: usize| u64::from_le_bytes(header[index * 8..][..8].try_into().expect("eight bytes"));
        let (kind, data_only, inode, at) = (word(0), word(3) != 0, long(2), long(3));
        let path = std::str::from_utf8(self.take(word(1) as usize)?)?;
        let target = std::str::from_utf8(self.take(word(2) as usize)?)?;
        let bytes = self.take(long(4) as usize)?;
        Ok(Record { kind, path, target, data_only, inode, at, bytes })
    }

    fn take(&mut self, count: usize) -> anyhow::Result<&'log [u8]> {
        let taken = self.bytes.get(self.at..self.at + count).context("the log ends within a record")?;
        self.at += count;
        Ok(taken)
    }
}
