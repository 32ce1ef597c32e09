//! A range that is too long for one transaction, read in pages.

use super::{KeyRange, Metadata, RangeOptions};
use crate::error::StoreError;

/// Rows as they are stored: key and value.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The pages of a range, in ascending order. No transaction is open between two of them, so that a reader may take as
/// long as it likes with each.
///
/// What that promises: each page is consistent in itself, and every row that was there all the time is seen exactly
/// once. A row that is written or removed meanwhile behind the last key read is not seen any more, and one ahead of it
/// is; two pages may show two halves of one transaction. Where that matters, look again in a transaction that writes;
/// where all rows must be of one moment, use [`Metadata::export`].
pub struct Pages {
    metadata: Metadata,
    name: &'static str,
    /// What has not been read yet; `None` once the end was reached.
    left: Option<KeyRange>,
    rows: usize,
}

impl Pages {
    pub(super) fn new(metadata: Metadata, name: &'static str, range: KeyRange, rows: usize) -> Self {
        Self { metadata, name, left: Some(range), rows: rows.max(1) }
    }

    /// The next page, never empty; `None` at the end. After an error the same page is read again.
    pub async fn next(&mut self) -> Result<Option<Rows>, StoreError> {
        let Some(left) = self.left.clone() else { return Ok(None) };
        let (range, options) = (&left, RangeOptions::first(self.rows));
        let page =
            self.metadata.read(self.name, |tx| async move { tx.get_range(range, options).await }).await?;
        // A page that is not full was the last: what is written behind it from now on came too late.
        self.left = match page.last() {
            Some((last, _)) if page.len() == self.rows => Some(left.after(last)),
            _ => None,
        };
        Ok((!page.is_empty()).then_some(page))
    }
}
