//! What became of one file among several.

use hyper::StatusCode;
use serde::Serialize;

use crate::problem::Problem;
use crate::view::PhotoView;

/// Bytes of a problem's sentence that an item tells: it may quote what a client has sent, and there are many items.
const DETAIL_BYTES_MAX: usize = 1000;

/// A file's outcome, as its sender reads it.
#[derive(Serialize)]
pub struct Item {
    /// What the client called it.
    pub name: String,
    /// The status that it would have had as a request of its own.
    pub status: u16,
    /// The photo that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photo: Option<PhotoView>,
    /// Why it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl Item {
    /// Of a file with this name.
    pub fn new(name: String, result: Result<PhotoView, Problem>) -> Self {
        match result {
            Ok(photo) => {
                let status = if photo.duplicate { StatusCode::OK } else { StatusCode::CREATED };
                Self { name, status: status.as_u16(), photo: Some(photo), problem: None }
            }
            Err(mut problem) => {
                problem.detail = cut(problem.detail, DETAIL_BYTES_MAX);
                Self { name, status: problem.status, photo: None, problem: Some(problem) }
            }
        }
    }
}

/// The first characters that have at most so many bytes, and no more memory than that.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text.shrink_to_fit();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_has_sent_is_not_told_at_any_length() {
        let problem = Problem::new("digest-malformed", "x".repeat(1 << 20));
        let detail = Item::new(String::new(), Err(problem)).problem.unwrap().detail;
        assert_eq!(detail.len(), DETAIL_BYTES_MAX);
        assert!(detail.capacity() < 2 * DETAIL_BYTES_MAX);
    }
}
