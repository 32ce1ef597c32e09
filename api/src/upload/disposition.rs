//! What a form's part says of itself: `Content-Disposition: form-data; name="…"; filename="…"` (RFC 7578, section 4.2).
//!
//! The parser of the body reads it, too, but takes a file for a form field whose name is not UTF-8 or is given as
//! `filename*` (RFC 8187), which RFC 7578 forbids and some clients send all the same.

use hyper::HeaderMap;
use hyper::header::CONTENT_DISPOSITION;

/// A field's name, and a file's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) name: Option<String>,
    /// Empty where a form's input has no file.
    pub(super) file_name: Option<String>,
}

impl Disposition {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut disposition = Self::default();
        let Some(value) = headers.get(CONTENT_DISPOSITION) else { return disposition };
        let mut rest = after(value.as_bytes(), b';');
        let mut extended = None;
        while let Some((key, value, behind)) = next_parameter(rest) {
            rest = behind;
            let text = || String::from_utf8_lossy(&value).into_owned();
            match &*key.to_ascii_lowercase() {
                b"name" => disposition.name = Some(text()),
                b"filename" => disposition.file_name = Some(text()),
                b"filename*" => extended = extended_value(&value),
                _ => {}
            }
        }
        // Whoever sends both means this one (RFC 6266, section 4.3).
        disposition.file_name = extended.or(disposition.file_name);
        disposition
    }
}

/// What is behind the first of this byte.
fn after(bytes: &[u8], byte: u8) -> &[u8] {
    bytes.iter().position(|found| *found == byte).map_or(&[], |at| &bytes[at + 1..])
}

/// The next parameter's name and value, and what is behind it.
fn next_parameter(bytes: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(bytes.len());
    let (key, rest) = (bytes[..end].trim_ascii(), &bytes[end..]);
    let Some(rest) = rest.strip_prefix(b"=") else { return Some((key, Vec::new(), after(rest, b';'))) };
    let rest = rest.trim_ascii_start();
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        return Some((key, rest[..end].trim_ascii().to_vec(), after(rest, b';')));
    };
    let (value, rest) = unquoted(quoted);
    Some((key, value, after(rest, b';')))
}

/// What stands before the closing quote, and what is behind it. A backslash stands for itself but before a quote or
/// another one: some clients send paths of Windows as they are.
fn unquoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut value, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => return (value, &bytes[at + 1..]),
            (b'\\', Some(escaped @ (b'"' | b'\\'))) => {
                value.push(*escaped);
                at += 1;
            }
            _ => value.push(*byte),
        }
        at += 1;
    }
    (value, &[])
}

/// `UTF-8'en'a%20b`, without what is not as it must be.
fn extended_value(value: &[u8]) -> Option<String> {
    let mut pieces = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(byte) = encoded.get(at) {
        if *byte == b'%' {
            let digit = |at: usize| char::from(*encoded.get(at)?).to_digit(16);
            bytes.push(u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?);
            at += 3;
        } else {
            bytes.push(*byte);
            at += 1;
        }
    }
    Some(if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        bytes.into_iter().map(char::from).collect()
    } else {
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn read(value: &[u8]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_bytes(value).unwrap());
        let Disposition { name, file_name } = Disposition::of(&headers);
        (name, file_name)
    }

    #[test]
    fn a_file_is_told_from_a_field_however_it_is_named() {
        for (value, name, file) in [
            (&b"form-data; name=\"p\"; filename=\"a.jpg\""[..], "p", Some("a.jpg")),
            (b"form-data; filename=a.jpg ; name=p", "p", Some("a.jpg")),
            (b"form-data; name=p", "p", None),
            (b"form-data;name=\"p\" ;FileName = \"a;b=c.jpg\"", "p", Some("a;b=c.jpg")),
            (b"form-data; name=p; filename=\"\"", "p", Some("")),
            (b"form-data; name=p; filename=\"a\\\"b\\\\.jpg\"", "p", Some("a\"b\\.jpg")),
            (b"form-data; name=p; filename=\"C:\\photos\\a.jpg\"", "p", Some("C:\\photos\\a.jpg")),
            (b"form-data; name=p; filename=\"gr\xf6\xdfe.jpg\"", "p", Some("gr\u{fffd}\u{fffd}e.jpg")),
            ("form-data; name=p; filename=\"größe.jpg\"".as_bytes(), "p", Some("größe.jpg")),
            (b"form-data; name=p; filename*=UTF-8''gr%C3%B6.jpg", "p", Some("grö.jpg")),
            (
                b"form-data; name=p; filename*=iso-8859-1'de'gr%F6.jpg; filename=\"gr_.jpg\"",
                "p",
                Some("grö.jpg"),
            ),
            (b"form-data; name=p; filename*=broken; filename=\"a.jpg\"", "p", Some("a.jpg")),
            (b"form-data; name=p; filename=\"endless", "p", Some("endless")),
            (b"form-data; more; name=p", "p", None),
        ] {
            let found = read(value);
            assert_eq!(
                found,
                (Some(name.to_owned()), file.map(ToOwned::to_owned)),
                "{}",
                value.escape_ascii()
            );
        }
        assert_eq!(read(b"form-data"), (None, None));
        assert_eq!(read(b"form-data; ="), (None, None));
        assert_eq!(Disposition::of(&HeaderMap::new()), Disposition::default());
    }
}
