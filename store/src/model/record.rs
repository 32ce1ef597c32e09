//! How a record is encoded: one version byte, then JSON.
//!
//! JSON because records are read by daemons one version older or newer: an unknown field is ignored and
//! a missing one takes its default. The version byte changes only when that is not enough.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// The record version that this code writes.
const VERSION: u8 = 1;

/// The stored form of `record`.
///
/// # Errors
/// [`StoreError::Corrupt`] if the record cannot be written as JSON (a bug, not an input).
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, record)
        .map_err(|e| corrupt(std::any::type_name::<T>(), &format!("cannot be encoded: {e}")))?;
    Ok(bytes)
}

/// The record that `bytes` hold; `key` is named in the error.
///
/// # Errors
/// [`StoreError::Corrupt`] for an unknown version or a record that does not parse.
pub fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|e| corrupt_key(key, &format!("does not parse: {e}")))
        }
        Some((other, _)) => Err(corrupt_key(
            key,
            &format!("record version {other} is not known to this daemon (knows {VERSION})"),
        )),
        None => Err(corrupt_key(key, "empty record")),
    }
}

/// An error that names a key by its bytes.
pub(crate) fn corrupt_key(key: &[u8], detail: &str) -> StoreError {
    corrupt(&format!("key {}", key.escape_ascii()), detail)
}

fn corrupt(what: &str, detail: &str) -> StoreError {
    StoreError::Corrupt { what: what.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Old {
        a: u32,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct New {
        a: u32,
        #[serde(default)]
        b: Option<String>,
    }

    #[test]
    fn an_older_and_a_newer_daemon_read_each_others_records() {
        let from_new = encode(&New { a: 1, b: Some("x".into()) }).unwrap();
        let from_old = encode(&Old { a: 2 }).unwrap();
        assert_eq!(decode::<Old>(b"k", &from_new).unwrap(), Old { a: 1 });
        assert_eq!(decode::<New>(b"k", &from_old).unwrap(), New { a: 2, b: None });
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let error = decode::<Old>(b"\x10k", &[9, b'{', b'}']).unwrap_err().to_string();
        assert!(error.contains("version 9") && error.contains("\\x10k"), "{error}");
    }
}
