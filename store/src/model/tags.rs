//! Tags: words by which photos and posts are found.
//!
//! However a tag is written, it is compared, stored and found in one form, which [`folded`] makes.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Most characters of a tag, in its folded form.
pub const TAG_CHARS_MAX: usize = 64;

/// The one form of a tag: without the `#` before it, composed and compatible (NFKC, Unicode Standard Annex 15), in lower
/// case. `None` for what is no tag: letters, marks, digits and `_` in the sense of `XID_Continue` (Annex 31, as hashtags are
/// described there), at most [`TAG_CHARS_MAX`] of them, not digits alone.
pub fn folded(text: &str) -> Option<String> {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    // Lower case may be more than one character, which compose anew.
    let text = nfkc.normalize(&nfkc.normalize(text.trim()).to_lowercase()).into_owned();
    let tag = text.strip_prefix('#').unwrap_or(&text);
    let is_tag = !tag.is_empty()
        && tag.chars().count() <= TAG_CHARS_MAX
        && tag.chars().all(unicode_ident::is_xid_continue)
        && tag.chars().any(|c| !c.is_numeric() && c != '_');
    is_tag.then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_tag_is_written_it_is_one() {
        for (written, one) in [
            ("Sunset", "sunset"),
            (" #SUNSET ", "sunset"),
            ("＃Ｓｕｎｓｅｔ", "sunset"),
            ("e\u{301}t\u{e9}", "\u{e9}t\u{e9}"),
            ("東京", "東京"),
            ("हिन्दी", "हिन्दी"),
            ("İzmir", "i\u{307}zmir"),
            ("golden_hour2", "golden_hour2"),
        ] {
            assert_eq!(folded(written).as_deref(), Some(one), "{written}");
            assert_eq!(folded(one).as_deref(), Some(one), "{one} is folded already");
        }
    }

    #[test]
    fn what_is_no_word_is_no_tag() {
        for text in ["", "#", "##a", "a b", "a,b", "a-b", "2024", "_", "東京。", "😀", "a\u{200b}b"] {
            assert_eq!(folded(text), None, "{text:?}");
        }
        assert!(folded(&"x".repeat(TAG_CHARS_MAX)).is_some());
        assert_eq!(folded(&"x".repeat(TAG_CHARS_MAX + 1)), None);
    }
}
