//! `Upload-Metadata`: what a client says of its file when it begins.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use darkroom_store::model::uploads::Wishes;
use darkroom_store::model::{ContentHash, file_name};
use hyper::HeaderMap;

use super::invalid_header;
use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::{Query, header};
use crate::upload::intake::{FIELDS, Intake, PARAMETERS};

const NAME: &str = "Upload-Metadata";
/// Bytes of a media type that are looked at: its two names have at most 127 each (RFC 6838, section 4.2), and no more is
/// asked of it.
const TYPE_BYTES_MAX: usize = 255;

/// What is wished of the photo, by the header and by the query, which go together.
///
/// # Errors
/// `invalid-header`, `invalid-parameter`.
pub(super) fn wishes(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Wishes, Problem> {
    let query = Query::parse(query, PARAMETERS)?;
    let mut intake = Intake::of_query(api, caller.clone(), &query, headers)?;
    let mut wishes = Wishes { name: query.get("filename").map(ToOwned::to_owned), ..Wishes::default() };
    if headers.contains_key(NAME) {
        let limit = api.pipeline().options().uploads.metadata_bytes_max;
        let as_sent = header(headers, NAME).filter(|value| value.len() <= limit);
        let as_sent =
            as_sent.ok_or_else(|| invalid_header(NAME, &format!("give at most {limit} bytes of ASCII")))?;
        for (key, value) in parse(as_sent)? {
            set(&mut intake, &mut wishes, key, value)?;
        }
        wishes.as_sent = Some(as_sent.to_owned());
    }
    // As its photo will have it: what stands in a record has a bound.
    let bytes_max = api.pipeline().options().name_bytes_max;
    wishes.name = wishes.name.and_then(|name| file_name::tidied(&name, bytes_max));
    wishes.declared_type = wishes.declared_type.as_deref().map(declared);
    (wishes.batch, wishes.allow_duplicate) = (intake.batch, intake.allow_duplicate);
    if intake.publish.is_none() {
        intake.caption = None; // Many clients send one, and mean nothing by it here.
    }
    wishes.publish = intake.draft()?;
    wishes.fields = intake.fields;
    Ok(wishes)
}

/// A media type that a client declares, as it is kept.
pub(super) fn declared(value: &str) -> String {
    value[..value.floor_char_boundary(TYPE_BYTES_MAX)].to_owned()
}

/// One pair. Keys that are not known are told back, and say nothing here: clients send many of their own.
fn set(intake: &mut Intake, wishes: &mut Wishes, key: &str, value: Vec<u8>) -> Result<(), Problem> {
    let text = String::from_utf8(value);
    let text = |advice: &str| text.map_err(|_| invalid_header(NAME, &format!("{key:?}: {advice}")));
    match key {
        "filename" | "name" if wishes.name.is_none() || key == "filename" => {
            wishes.name = Some(text("give a file name in UTF-8")?);
        }
        "filetype" | "type" if wishes.declared_type.is_none() || key == "filetype" => {
            wishes.declared_type = Some(text("give a media type")?).filter(|value| !value.is_empty());
        }
        "blake3" => {
            let advice = "give the BLAKE3 of the whole file in 64 hex digits";
            let content: Result<ContentHash, _> = text(advice)?.parse();
            wishes.content = Some(content.map_err(|_| invalid_header(NAME, &format!("{key:?}: {advice}")))?);
        }
        _ if FIELDS.contains(&key) => {
            intake.set(key, &text("give it as text")?)?;
        }
        _ => {}
    }
    Ok(())
}

/// The pairs: a key, and a value in Base64 that may be missing.
fn parse(header: &str) -> Result<Vec<(&str, Vec<u8>)>, Problem> {
    let wrong = |what: String| invalid_header(NAME, &what);
    let mut pairs: Vec<(&str, Vec<u8>)> = Vec::new();
    for pair in header.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = STANDARD.decode(value.trim());
        let value = value.map_err(|_| wrong(format!("the value of {key:?} is not Base64")))?;
        if pairs.iter().any(|(earlier, _)| *earlier == key) {
            return Err(wrong(format!("{key:?} is there twice")));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_the_protocol_writes_them() {
        let pairs = parse("filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential").unwrap();
        assert_eq!(
            pairs,
            [("filename", b"world_domination_plan.pdf".to_vec()), ("is_confidential", Vec::new())]
        );
        assert_eq!(parse("a , b Zg==").unwrap(), [("a", Vec::new()), ("b", b"f".to_vec())]);
    }

    #[test]
    fn pairs_that_cannot_be_meant_are_refused() {
        for header in ["a !!", "a Zg==,a Zg=="] {
            assert!(parse(header).is_err(), "{header}");
        }
    }
}
