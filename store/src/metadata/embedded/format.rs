//! The format of the database's files, which a newer darkroom may have changed.
//!
//! It is looked at before anything else is. What is a whole journal to a newer one may look torn to this one, and what
//! is torn is cut off ([`journal`](super::journal)); and fjall makes a new database where there is no marker.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::StoreError;

/// The file that fjall makes last when it makes a database.
const MARKER: &str = "version";
/// What it begins with, before the version.
const MAGIC: &[u8] = b"FJL";
/// The version of fjall 3.
const VERSION: u8 = 3;

/// Refuses a database in `home` of another format than ours.
pub(super) fn check(home: &Path) -> Result<(), StoreError> {
    let path = home.join(MARKER);
    let damaged =
        |detail: &str| StoreError::Corrupt { what: path.display().to_string(), detail: detail.to_owned() };
    let marker = match std::fs::read(&path) {
        Ok(marker) => marker,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("it is missing")),
        Err(error) => return Err(StoreError::io(format!("reading {}", path.display()), error)),
    };
    match marker.strip_prefix(MAGIC) {
        Some([VERSION]) => Ok(()),
        Some([version]) => Err(StoreError::Mismatch(format!(
            "the database in {} has format version {version}, and this daemon knows {VERSION}: run the darkroomd that \
             wrote it last, or a newer one (nothing was changed)",
            home.display()
        ))),
        _ => Err(damaged("it does not hold a format version")),
    }
}
