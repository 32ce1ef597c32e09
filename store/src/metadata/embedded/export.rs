//! All rows of one published state.

use std::sync::Arc;

use super::published::Published;
use crate::error::StoreError;
use crate::metadata::range::KeyRange;

type Row = (Vec<u8>, Vec<u8>);

/// Where in the snapshot a reader of all rows stands. Unlike a transaction it has no age: it reads a snapshot of fjall,
/// which lasts as long as it is held.
pub(in crate::metadata) struct Export {
    published: Arc<Published>,
    left: KeyRange,
}

impl Export {
    pub(super) fn new(published: Arc<Published>) -> Self {
        Self { published, left: KeyRange::all() }
    }

    pub(in crate::metadata) fn version(&self) -> u64 {
        self.published.version
    }

    /// The next rows, about `bytes` of them and at least one; empty at the end.
    pub(in crate::metadata) async fn next(&mut self, bytes: usize) -> Result<Vec<Row>, StoreError> {
        let (published, left) = (Arc::clone(&self.published), self.left.clone());
        // A whole store comes from the disk, not from the caches, so the runtime's threads do not wait for it.
        let reading = tokio::task::spawn_blocking(move || read(&published, &left, bytes)).await;
        let rows = reading.map_err(|error| StoreError::Unavailable {
            reason: format!("reading the rows of a snapshot was cut off: {error}"),
        })??;
        if let Some((last, _)) = rows.last() {
            self.left = self.left.after(last);
        }
        Ok(rows)
    }
}

fn read(published: &Published, range: &KeyRange, bytes: usize) -> Result<Vec<Row>, StoreError> {
    let (mut rows, mut held) = (Vec::new(), 0);
    for row in published.rows(range) {
        let row = row?;
        held += row.0.len() + row.1.len();
        rows.push(row);
        if held >= bytes {
            break;
        }
    }
    Ok(rows)
}
