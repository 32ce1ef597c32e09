//! What people write: captions and comments.

use darkroom_store::model::comments;
use darkroom_store::model::posts::caption::CAPTION_CHARS_MAX;

use crate::problem::Problem;

/// Bytes of a request with a text: each character may be written in twelve of JSON, beside ids and names.
pub const BODY_BYTES_MAX: usize = 12 * CAPTION_CHARS_MAX + 4096;

/// A caption, if it is not too long.
///
/// # Errors
/// `invalid-text`.
pub fn caption(text: String) -> Result<String, Problem> {
    within(text, "caption", CAPTION_CHARS_MAX)
}

/// What a comment says, without the space around it.
///
/// # Errors
/// `invalid-text`.
pub fn comment(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::new("invalid-text", "the comment says nothing: give it a text"));
    }
    within(text.to_owned(), "comment", comments::TEXT_CHARS_MAX)
}

fn within(text: String, what: &str, max: usize) -> Result<String, Problem> {
    let characters = text.chars().count();
    if characters > max {
        let detail = format!("the {what} has {characters} characters: give one of at most {max}");
        return Err(Problem::new("invalid-text", detail));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_not_bytes() {
        assert!(caption("🌊".repeat(CAPTION_CHARS_MAX)).is_ok());
        let long = caption("a".repeat(CAPTION_CHARS_MAX + 1)).unwrap_err();
        assert!(long.is("invalid-text") && long.detail.contains("2201"), "{}", long.detail);
        assert!(comment(&"é".repeat(comments::TEXT_CHARS_MAX)).is_ok());
        assert!(comment(&"é".repeat(comments::TEXT_CHARS_MAX + 1)).is_err());
    }

    #[test]
    fn a_caption_may_be_empty_and_a_comment_may_not() {
        assert_eq!(caption(String::new()).unwrap(), "");
        assert_eq!(comment("  so\n").unwrap(), "so");
        assert!(comment(" \n\t").unwrap_err().is("invalid-text"));
    }

    #[test]
    fn the_longest_text_fits_into_a_request() {
        let escaped = "\\ud83c\\udf0a".repeat(CAPTION_CHARS_MAX);
        assert!(escaped.len() < BODY_BYTES_MAX);
    }
}
