//! What became of one file among several.

use hyper::StatusCode;
use serde::Serialize;

use crate::problem::Problem;
use crate::view::PhotoView;

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
            Err(problem) => Self { name, status: problem.status, photo: None, problem: Some(problem) },
        }
    }
}
