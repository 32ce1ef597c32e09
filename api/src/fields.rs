//! What an owner says of a photo, as it stands in requests: checked, and in the form in which it is kept.

use darkroom_store::model::file_name::is_shown;
use darkroom_store::model::photos::{Fields, TAGS_MAX, TITLE_CHARS_MAX};
use darkroom_store::model::tags::{self, TAG_CHARS_MAX};
use darkroom_store::model::visibility::PhotoVisibility;

use crate::problem::Problem;

/// The names of query parameters, form fields and keys of metadata by which a new photo is told them.
pub const NAMES: &[&str] = &["title", "tags", "visibility", "album_id"];

/// Sets what a query parameter, a form field or a key of metadata of this name says; false if it says nothing of this. An
/// empty value says that there is none.
///
/// # Errors
/// `invalid-parameter`.
pub fn set(fields: &mut Fields, name: &str, value: &str) -> Result<bool, Problem> {
    let unknown = |wanted: &str| {
        Problem::new("invalid-parameter", format!("{name}={value:?} is not known: give {wanted}"))
    };
    match name {
        "title" => fields.title = title(value)?,
        "tags" => fields.tags = all_tags(value.split([',', ' ']).filter(|tag| !tag.trim().is_empty()))?,
        "visibility" => {
            let wanted = "\"inherit\", \"private\", \"followers\" or \"public\", or leave it out";
            fields.visibility = if value.is_empty() {
                PhotoVisibility::Inherit
            } else {
                visibility(value).ok_or_else(|| unknown(wanted))?
            };
        }
        "album_id" if value.is_empty() => fields.album = None,
        "album_id" => {
            let id = value.parse().map_err(|_| unknown("the id of an album of yours, or leave it out"))?;
            fields.album = Some(id);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn visibility(word: &str) -> Option<PhotoVisibility> {
    use PhotoVisibility::{Followers, Inherit, Private, Public};
    [Inherit, Private, Followers, Public].into_iter().find(|visibility| visibility.as_str() == word)
}

/// A photo's title; none if it is empty.
///
/// # Errors
/// `invalid-parameter`.
pub fn title(text: &str) -> Result<Option<String>, Problem> {
    let title = line("title", text, TITLE_CHARS_MAX)?;
    Ok(Some(title).filter(|title| !title.is_empty()))
}

/// A photo's tags: folded, each once, in the order in which they were given.
///
/// # Errors
/// `invalid-parameter`, naming the one that is no tag.
pub fn all_tags<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Vec<String>, Problem> {
    let mut all: Vec<String> = Vec::new();
    for text in texts {
        let tag = tags::folded(text).ok_or_else(|| {
            let shown: String = text.chars().take(TAG_CHARS_MAX + 1).collect();
            let detail = format!(
                "{shown:?} is no tag: give a word of at most {TAG_CHARS_MAX} letters, digits and \"_\", not of digits alone"
            );
            Problem::new("invalid-parameter", detail)
        })?;
        if !all.contains(&tag) {
            all.push(tag);
        }
        if all.len() > TAGS_MAX {
            let detail = format!("a photo has at most {TAGS_MAX} tags: leave some out");
            return Err(Problem::new("invalid-parameter", detail));
        }
    }
    Ok(all)
}

/// A text on one line, without blanks around it.
///
/// # Errors
/// `invalid-parameter`, which calls it `what`.
pub fn line(what: &str, text: &str, chars_max: usize) -> Result<String, Problem> {
    bounded(what, text, chars_max, is_shown)
}

/// As [`line()`], of a text that may have several.
///
/// # Errors
/// `invalid-parameter`, which calls it `what`.
pub fn lines(what: &str, text: &str, chars_max: usize) -> Result<String, Problem> {
    bounded(what, text, chars_max, |c| c == '\n' || is_shown(c))
}

fn bounded(
    what: &str,
    text: &str,
    chars_max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<String, Problem> {
    let text = text.trim();
    let chars = text.chars().count();
    if chars > chars_max {
        let detail = format!("the {what} has {chars} characters: give at most {chars_max}");
        return Err(Problem::new("invalid-parameter", detail));
    }
    if !text.chars().all(allowed) {
        let detail = format!(
            "the {what} has characters that control terminals, lines or the direction of text: leave them out"
        );
        return Err(Problem::new("invalid-parameter", detail));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::AlbumId;

    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Result<Fields, String> {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            assert!(set(&mut fields, name, value).map_err(|problem| problem.detail)?, "{name}");
        }
        Ok(fields)
    }

    #[test]
    fn what_is_said_is_kept_in_one_form() {
        let album = AlbumId::new();
        let fields = said(&[
            ("title", " By the sea "),
            ("tags", "#Sea, sun,SEA"),
            ("visibility", "followers"),
            ("album_id", &album.to_string()),
        ])
        .unwrap();
        assert_eq!(fields.title.as_deref(), Some("By the sea"));
        assert_eq!(fields.tags, ["sea", "sun"]);
        assert_eq!((fields.visibility, fields.album), (PhotoVisibility::Followers, Some(album)));
        let mut fields = fields;
        for name in NAMES {
            set(&mut fields, name, "").unwrap();
        }
        assert!(fields.is_empty(), "an empty value says that there is none");
        assert!(!set(&mut fields, "filename", "x").unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (name, value, told) in [
            ("title", "a\u{7}b".to_owned(), "title has characters"),
            ("title", "a\u{202e}b".to_owned(), "title has characters"),
            ("title", "x".repeat(TITLE_CHARS_MAX + 1), "201 characters"),
            ("tags", "sea,a-b".to_owned(), "\"a-b\""),
            (
                "tags",
                (0..=TAGS_MAX).map(|n| format!("t{n}")).collect::<Vec<_>>().join(","),
                "at most 30 tags",
            ),
            ("visibility", "open".to_owned(), "\"followers\""),
            ("album_id", "1".to_owned(), "album_id"),
        ] {
            let refused = said(&[(name, &value)]).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
        assert_eq!(line("title", &"é".repeat(200), 200).unwrap().chars().count(), 200);
        assert!(lines("bio", "a\nb", 10).is_ok() && line("name", "a\nb", 10).is_err());
    }
}
