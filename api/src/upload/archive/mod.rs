//! A tar archive, read from a stream within bounds.
//!
//! It reads what GNU tar, bsdtar and the archivers of the usual languages write: ustar, GNU's long paths and large sizes,
//! pax. Nothing is ever gathered but the headers that extend another one, and those up to a bound; content is handed on in
//! the pieces in which it came.
//!
//! It is our own, because we need only this: libraries unpack into folders, read from `AsyncRead`, and have been
//! wrong where headers contradict each other (CVE-2025-62518, where the content of one entry was read as headers of
//! others). Here an entry has one size, which both its content and the place of the next header follow, and what is malformed
//! ends the archive.

mod header;
mod pax;

use bytes::{Buf, Bytes};
use darkroom_actors::{Body, BodyError};
use futures_util::StreamExt;

use header::{BLOCK, Block, Header, Kind};
use pax::Extended;

/// Bytes of a header that extends another one, at most: attributes that a path or a size is not.
const EXTENSION_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of a path at most. Longer ones have no place in a file system either.
const PATH_BYTES_MAX: usize = 4096;
/// What is told of a path that is too long.
const LONG_PATH_BYTES_TOLD: usize = 200;
/// How the usual compressed files begin, so that a client hears what it has sent.
const COMPRESSED: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
];

/// Why an archive is not read any further.
#[derive(Debug)]
pub enum TarError {
    /// Its bytes do not come.
    Body(BodyError),
    /// They make no sense.
    Malformed {
        /// Where the block begins that makes none.
        at: u64,
        /// What is wrong: a sentence without its end.
        what: String,
    },
    /// They are compressed, by this program.
    Compressed(&'static str),
}

impl From<BodyError> for TarError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

/// A file in an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as the archive has it.
    pub path: String,
    /// Its content's bytes.
    pub size: u64,
    /// Why its content is not the file's, if it is not: the rest of a sentence about the entry.
    pub unsupported: Option<&'static str>,
}

/// The files of an archive, one after the other.
pub struct Entries {
    input: Input,
    /// What is left of the current entry's content.
    content: u64,
    /// What fills up its last block.
    padding: u64,
    others: u64,
    /// Whether any extended header came: the archive is one of pax.
    is_pax: bool,
}

/// What the headers before an entry's own say about it.
#[derive(Default)]
struct Announced {
    long_path: Option<Vec<u8>>,
    extended: Option<Extended>,
}

impl Announced {
    fn is_empty(&self) -> bool {
        self.long_path.is_none() && self.extended.is_none()
    }
}

impl Entries {
    /// Over the bytes of a body.
    pub fn new(body: Body) -> Self {
        let input = Input { body, piece: Bytes::new(), at: 0 };
        Self { input, content: 0, padding: 0, others: 0, is_pax: false }
    }

    /// The next file. What is left of the one before is passed over, and so is whatever is no file.
    ///
    /// # Errors
    /// When the archive breaks off or is malformed; then it is not to be read any further.
    pub async fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let (mut announced, mut ended) = (Announced::default(), false);
        loop {
            self.pass_over().await?;
            let at = self.input.at;
            let malformed = |what: &str| Err(TarError::Malformed { at, what: what.to_owned() });
            let Some(block) = self.input.block().await? else {
                // Blocks of zeros end an archive: without any, who can tell whether it is whole?
                return if ended {
                    Ok(None)
                } else {
                    malformed("it ends without its end mark, so some of it may be missing")
                };
            };
            if block.iter().all(|byte| *byte == 0) {
                if !announced.is_empty() {
                    return malformed("an entry is announced and does not come");
                }
                // What follows may be another archive that was appended to this one.
                ended = true;
                continue;
            }
            ended = false;
            let header = self.header(&block, at)?;
            match header.kind {
                Kind::LongPath if announced.long_path.is_none() => {
                    let bytes = self.extension(at).await?;
                    announced.long_path = Some(header::text(&bytes).to_vec());
                }
                Kind::Extended if announced.extended.is_none() => {
                    announced.extended = Some(self.extended(at).await?);
                }
                Kind::LongPath | Kind::Extended => return malformed("an entry is announced twice"),
                Kind::Global => {
                    if self.extended(at).await? != Extended::default() {
                        return malformed("a global header gives all entries the same path or size");
                    }
                }
                Kind::HardLink | Kind::Other { .. } => {
                    self.other(&header, &std::mem::take(&mut announced), at)?;
                }
                Kind::File { .. } | Kind::Sparse { .. } => {
                    let announced = std::mem::take(&mut announced);
                    if let Some(entry) = self.entry(header, announced, at).await? {
                        return Ok(Some(entry));
                    }
                }
            }
        }
    }

    /// The next piece of the current entry's content, or `None` at its end.
    ///
    /// # Errors
    /// When the archive breaks off inside.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.content == 0 {
            return Ok(None);
        }
        let Some(piece) = self.input.piece(self.content).await? else {
            let what = format!("the archive ends {} bytes before the end of this entry", self.content);
            return Err(BodyError::Broken(what));
        };
        self.content -= piece.len() as u64;
        Ok(Some(piece))
    }

    /// How many directories, links and the like were passed over.
    pub fn others(&self) -> u64 {
        self.others
    }

    fn header(&mut self, block: &Block, at: u64) -> Result<Header, TarError> {
        if at == 0
            && let Some((_, name)) = COMPRESSED.iter().find(|(magic, _)| block.starts_with(magic))
        {
            return Err(TarError::Compressed(name));
        }
        let header = Header::parse(block)
            .map_err(|what| TarError::Malformed { at, what: format!("a header {what}") })?;
        self.expect(header.size, at)?;
        Ok(header)
    }

    /// So many bytes of content are next, and what fills up their last block.
    fn expect(&mut self, size: u64, at: u64) -> Result<(), TarError> {
        let whole = size.checked_next_multiple_of(BLOCK as u64);
        let whole = whole
            .ok_or_else(|| TarError::Malformed { at, what: "a header has an impossible size".to_owned() })?;
        (self.content, self.padding) = (size, whole - size);
        Ok(())
    }

    /// An extended header's size goes before the header's own, in everything.
    fn resize(&mut self, announced: &Announced, at: u64) -> Result<(), TarError> {
        match announced.extended.as_ref().and_then(|extended| extended.size) {
            Some(size) => self.expect(size, at),
            None => Ok(()),
        }
    }

    /// What is no file is passed over, with its content if it has some.
    fn other(&mut self, header: &Header, announced: &Announced, at: u64) -> Result<(), TarError> {
        self.others += 1;
        match header.kind {
            Kind::Other { has_content: true } => self.resize(announced, at),
            Kind::HardLink if self.is_pax => self.resize(announced, at),
            _ => self.expect(0, at),
        }
    }

    /// The file of this header; none if it is a directory that is stored as a file.
    async fn entry(
        &mut self,
        header: Header,
        announced: Announced,
        at: u64,
    ) -> Result<Option<Entry>, TarError> {
        self.resize(&announced, at)?;
        let extended = announced.extended.unwrap_or_default();
        let path = extended.path.or(announced.long_path).unwrap_or(header.path);
        // The whole path says so: what of it stands in the header may end in any of its slashes. Nor is a file with content
        // left out for its name.
        let may_be_directory = header.kind == Kind::File { is_old: true } || self.content == 0;
        if path.ends_with(b"/") && may_be_directory {
            self.others += 1;
            return Ok(None);
        }
        let mut unsupported = extended.sparse.then_some("is a file with holes");
        if let Kind::Sparse { mut goes_on } = header.kind {
            unsupported = Some("is a file with holes");
            while goes_on {
                let at = self.input.at;
                let block = self.input.block().await?;
                let block = block
                    .ok_or_else(|| TarError::Malformed { at, what: "it ends inside a header".to_owned() })?;
                goes_on = header::sparse_goes_on(&block);
            }
        }
        let path = if path.len() > PATH_BYTES_MAX {
            unsupported = Some("has a path of more than 4096 bytes");
            &path[..LONG_PATH_BYTES_TOLD]
        } else {
            &path
        };
        Ok(Some(Entry { path: String::from_utf8_lossy(path).into_owned(), size: self.content, unsupported }))
    }

    async fn extended(&mut self, at: u64) -> Result<Extended, TarError> {
        self.is_pax = true;
        let bytes = self.extension(at).await?;
        pax::parse(&bytes)
            .map_err(|what| TarError::Malformed { at, what: format!("an extended header {what}") })
    }

    /// The whole content of a header that extends another one.
    async fn extension(&mut self, at: u64) -> Result<Vec<u8>, TarError> {
        if self.content > EXTENSION_BYTES_MAX {
            let what = format!(
                "an extended header has {} bytes, and at most {EXTENSION_BYTES_MAX} are read",
                self.content
            );
            return Err(TarError::Malformed { at, what });
        }
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    async fn pass_over(&mut self) -> Result<(), BodyError> {
        while self.piece().await?.is_some() {}
        self.content = std::mem::take(&mut self.padding);
        while self.piece().await?.is_some() {}
        Ok(())
    }
}

/// The body's bytes, in whatever pieces they are wanted.
struct Input {
    body: Body,
    /// What came and was not yet taken.
    piece: Bytes,
    /// How many bytes were taken.
    at: u64,
}

impl Input {
    /// What is at hand, or what comes next, but at most `max` bytes; never empty.
    async fn piece(&mut self, max: u64) -> Result<Option<Bytes>, BodyError> {
        while self.piece.is_empty() {
            match self.body.next().await {
                Some(piece) => self.piece = piece?,
                None => return Ok(None),
            }
        }
        let length = usize::try_from(max).map_or(self.piece.len(), |max| max.min(self.piece.len()));
        self.at += length as u64;
        Ok(Some(self.piece.split_to(length)))
    }

    /// A whole block, or `None` if nothing comes any more.
    async fn block(&mut self) -> Result<Option<Block>, TarError> {
        let (mut block, mut filled, at) = ([0; BLOCK], 0, self.at);
        while filled < BLOCK {
            let Some(mut piece) = self.piece((BLOCK - filled) as u64).await? else {
                let what = "it ends inside a block".to_owned();
                return if filled == 0 { Ok(None) } else { Err(TarError::Malformed { at, what }) };
            };
            let length = piece.len();
            piece.copy_to_slice(&mut block[filled..filled + length]);
            filled += length;
        }
        Ok(Some(block))
    }
}

#[cfg(test)]
mod tests;
