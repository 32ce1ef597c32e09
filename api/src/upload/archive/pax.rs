//! What an extended header says: lines of `LENGTH KEY=VALUE`, each of as many bytes as it says itself (POSIX.1-2017,
//! pax, "pax Extended Header").

/// What matters here of an extended header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// The path in place of the header's.
    pub(super) path: Option<Vec<u8>>,
    /// The size in place of the header's.
    pub(super) size: Option<u64>,
    /// A file with holes (GNU): its content is not its bytes.
    pub(super) sparse: bool,
}

/// Digits of a line's length at most.
const LENGTH_DIGITS_MAX: usize = 10;

/// Reads an extended header. Nothing in it is passed over that is not as it must be: where readers disagree on what is
/// malformed, one sees entries that another does not.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence about the header.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Extended, String> {
    let mut extended = Extended::default();
    while !bytes.is_empty() {
        let line = line_length(bytes).ok_or("has a line without a length")?;
        let (head, rest) = bytes.split_at_checked(line).ok_or("has a line that is longer than the header")?;
        bytes = rest;
        let head = head.strip_suffix(b"\n").ok_or("has a line that ends elsewhere than it says")?;
        let record = head.iter().position(|byte| *byte == b' ').map_or(head, |space| &head[space + 1..]);
        let equals = record.iter().position(|byte| *byte == b'=').ok_or("has a line without `=`")?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            // An empty value takes back what an earlier header said.
            b"path" => extended.path = Some(value.to_vec()).filter(|path| !path.is_empty()),
            b"size" if value.is_empty() => extended.size = None,
            b"size" => extended.size = Some(decimal(value).ok_or("has a size that is no number")?),
            _ if key.starts_with(b"GNU.sparse.") => extended.sparse = true,
            _ => {}
        }
    }
    Ok(extended)
}

/// What a line says that its length is, at least that of its own digits.
fn line_length(bytes: &[u8]) -> Option<usize> {
    let space = bytes.iter().take(LENGTH_DIGITS_MAX + 1).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    (length > space + 1).then_some(length)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // Rust would take a sign, too.
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_found_among_the_rest() {
        let found = parse(b"21 mtime=1234567.125\n20 path=a/b\nc = d.x\n14 size=12345\n").unwrap();
        assert_eq!(
            found,
            Extended { path: Some(b"a/b\nc = d.x".to_vec()), size: Some(12_345), sparse: false }
        );
        assert!(parse(b"22 GNU.sparse.major=1\n").unwrap().sparse);
        assert_eq!(parse(b"").unwrap(), Extended::default());
        assert_eq!(parse(b"8 path=\n").unwrap(), Extended::default());
    }

    #[test]
    fn what_is_malformed_is_not_passed_over() {
        for bytes in [
            &b"nonsense"[..],
            b"\n",
            b"0 \n",
            b"2 \n",
            b" path=a\n",
            b"+9 path=a\n",
            b"9 size=a\n",
            b"10 size=-1\n",
            b"11 path=a\n",
            b"7 patha\n",
            b"99999999999999999999 path=a\n",
            b"9 path=a",
        ] {
            assert!(parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
