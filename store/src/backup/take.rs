//! Rows of a running store on their way out.

use bytes::Bytes;

use super::format::{BLOCK, BLOCK_BYTES, Chain, Header, TRAILER, push_row};
use super::restore;
use crate::StoreError;
use crate::metadata::{Export, Metadata};
use crate::model::identity::{self, FORMAT_VERSION};
use crate::model::{Timestamp, record, subspaces::IDENTITY};

/// A backup that is being taken: the bytes of its file, piece by piece, about 256 KiB each. It holds one snapshot, so
/// that what others commit meanwhile is not in it, and two or three blocks of memory.
pub struct Backup {
    export: Export,
    stage: Stage,
    chain: Chain,
    taken: Timestamp,
    rows: u64,
    blocks: u64,
}

enum Stage {
    Header,
    Rows,
    Over,
}

impl Backup {
    /// Begins a backup of everything that is acknowledged by now. `taken` is the present time.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] on `FoundationDB`; [`StoreError::Mismatch`] for a store that is itself the half of a
    /// restored one.
    pub async fn begin(metadata: &Metadata, taken: Timestamp) -> Result<Self, StoreError> {
        restore::check_not_cut_off(metadata).await?;
        let export = metadata.export()?;
        Ok(Self { export, stage: Stage::Header, chain: Chain::default(), taken, rows: 0, blocks: 0 })
    }

    /// The next bytes; `None` after the last. After an error the backup is of no use.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self.stage {
            Stage::Header => self.header().await.map(Some),
            Stage::Rows => {
                let rows = self.export.next(BLOCK_BYTES).await?;
                Ok(Some(if rows.is_empty() { self.trailer() } else { self.block(&rows) }))
            }
            Stage::Over => Ok(None),
        }
    }

    /// The header, and with it the first rows: the identity is the first of all.
    async fn header(&mut self) -> Result<Bytes, StoreError> {
        let rows = self.export.next(BLOCK_BYTES).await?;
        let key = IDENTITY.key(&());
        let identity = rows.iter().find(|(found, _)| *found == key);
        let identity: Option<identity::Identity> =
            identity.map(|(key, value)| record::decode(key, value)).transpose()?;
        let header = Header {
            record_format: identity.as_ref().map_or(FORMAT_VERSION, |identity| identity.format_version),
            store_id: identity.as_ref().map(|identity| identity.store_id),
            history: identity.map_or(0, |identity| identity.history),
            version: self.export.version(),
            taken: self.taken,
        };
        let mut bytes = header.encode();
        bytes.extend(self.chain.link(&[&bytes]));
        self.stage = Stage::Rows;
        bytes.extend(if rows.is_empty() { self.trailer() } else { self.block(&rows) });
        Ok(bytes.into())
    }

    fn block(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Bytes {
        let mut body = Vec::new();
        for (key, value) in rows {
            push_row(&mut body, key, value);
        }
        let mut bytes = vec![BLOCK];
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend((rows.len() as u32).to_le_bytes());
        let digest = self.chain.link(&[&bytes, &body]);
        bytes.append(&mut body);
        bytes.extend(digest);
        self.rows += rows.len() as u64;
        self.blocks += 1;
        bytes.into()
    }

    fn trailer(&mut self) -> Bytes {
        let mut bytes = vec![TRAILER];
        bytes.extend(self.rows.to_le_bytes());
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(self.chain.link(&[&bytes]));
        self.stage = Stage::Over;
        bytes.into()
    }
}
