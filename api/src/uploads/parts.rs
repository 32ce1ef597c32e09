//! `Upload-Concat`: uploads that are parts of another.

use darkroom_store::model::UploadId;
use hyper::HeaderMap;

use super::invalid_header;
use crate::problem::Problem;
use crate::request::header;

/// Parts that are joined at once. More would not fit into a header anyway.
const PARTS_MAX: usize = 256;

/// What an upload has to do with others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concat {
    /// Nothing.
    None,
    /// It is a part.
    Partial,
    /// It is to be made of these.
    Final(Vec<UploadId>),
}

/// Reads the header, if there is one.
///
/// # Errors
/// `invalid-header`; `upload-not-found` for a URL that is none of an upload.
pub(super) fn parse(headers: &HeaderMap) -> Result<Concat, Problem> {
    const NAME: &str = "upload-concat";
    let Some(value) = headers.get(NAME) else { return Ok(Concat::None) };
    let wrong = || {
        invalid_header(NAME, "give \"partial\", or \"final;\" and the URLs of the parts with spaces between")
    };
    let text = header(headers, NAME).filter(|_| !value.is_empty()).ok_or_else(wrong)?;
    if text == "partial" {
        return Ok(Concat::Partial);
    }
    let urls = text.strip_prefix("final;").ok_or_else(wrong)?;
    let ids = urls.split_whitespace().map(id_in).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() || ids.len() > PARTS_MAX {
        return Err(invalid_header(NAME, &format!("name from 1 to {PARTS_MAX} parts")));
    }
    Ok(Concat::Final(ids))
}

/// The id that a URL of ours ends with. Whatever proxy stands before us may have changed the rest.
fn id_in(url: &str) -> Result<UploadId, Problem> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let id = path.rsplit('/').next().unwrap_or_default();
    id.parse().map_err(|_| super::work::not_found(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Concat, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("upload-concat", value.parse().unwrap());
        parse(&headers)
    }

    #[test]
    fn parts_are_known_by_their_urls_however_these_are_written() {
        let (a, b) = (UploadId::new(), UploadId::new());
        let header = format!("final;/v1/uploads/{a} https://photos.example/files/v1/uploads/{b}?x=1");
        assert_eq!(read(&header).unwrap(), Concat::Final(vec![a, b]));
        assert_eq!(read("partial").unwrap(), Concat::Partial);
        assert_eq!(parse(&HeaderMap::new()).unwrap(), Concat::None);
    }

    #[test]
    fn what_names_no_part_is_refused() {
        for header in ["final;", "final", "part", "final;/v1/uploads/x"] {
            assert!(read(header).is_err(), "{header}");
        }
    }
}
