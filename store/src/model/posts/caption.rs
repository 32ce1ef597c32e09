//! What stands in a caption: its tags, and whom it mentions. Pure functions.
//!
//! A tag is a `#` with a word behind it: letters, marks and digits of any script and `_`, with at least one letter among them.
//! It begins a word: what stands within one, as in `example.org/page#part` or `C#`, is none, and nothing in a link is. Tags are
//! compared as they are [folded](fold).

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Most characters of a caption.
pub const CAPTION_CHARS_MAX: usize = 2_200;
/// Most tags of a caption; those behind them are text.
pub const TAGS_MAX: usize = 30;
/// Most characters of a tag; what is longer is text.
pub const TAG_CHARS_MAX: usize = 100;
/// Most users that a caption mentions.
pub const MENTIONS_MAX: usize = 30;
/// Longer handles are nobody's, and are not looked up.
const HANDLE_CHARS_MAX: usize = 100;

/// Each also in the width of East Asian letters.
const TAG_SIGNS: [char; 2] = ['#', '＃'];
const MENTION_SIGNS: [char; 2] = ['@', '＠'];
/// They join letters of one word in Persian and in scripts of India, and parts of emoji.
const JOINERS: [char; 2] = ['\u{200C}', '\u{200D}'];

/// A tag as it is compared: in lower case, and however its letters are written, with accents apart or in the width of East
/// Asian letters (NFKC, Unicode Standard Annex 15).
pub fn fold(tag: &str) -> String {
    // Composed first, too: so all spellings of a letter take the same way to lower case.
    tag.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

/// The tag that `text` is, with its sign and space around it or without, folded; `None` for what is none.
pub fn tag(text: &str) -> Option<String> {
    let text = text.trim();
    let word = text.strip_prefix(TAG_SIGNS).unwrap_or(text);
    if word.chars().all(belongs_to_tag) { folded_tag(word) } else { None }
}

/// The tags of a caption, folded, each once, in the order of their first appearance: at most [`TAGS_MAX`].
pub fn tags(caption: &str) -> Vec<String> {
    let words = marked(caption, TAG_SIGNS, belongs_to_tag);
    firsts(words.into_iter().filter_map(folded_tag), TAGS_MAX)
}

/// The handles that a caption mentions, in lower case, each once: at most [`MENTIONS_MAX`]. Whether they are anybody's is not
/// asked here.
pub fn handles(caption: &str) -> Vec<String> {
    let words = marked(caption, MENTION_SIGNS, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    // A full stop behind a name ends the sentence.
    let handles = words.into_iter().map(|word| word.trim_end_matches('.').to_lowercase());
    let some = handles.filter(|handle| (1..=HANDLE_CHARS_MAX).contains(&handle.len()));
    firsts(some, MENTIONS_MAX)
}

fn firsts(words: impl Iterator<Item = String>, max: usize) -> Vec<String> {
    let mut firsts: Vec<String> = Vec::new();
    for word in words {
        if firsts.len() == max {
            break;
        }
        if !firsts.contains(&word) {
            firsts.push(word);
        }
    }
    firsts
}

fn folded_tag(word: &str) -> Option<String> {
    let tag = fold(word.trim_end_matches(JOINERS));
    let begins_well = tag.starts_with(|c| is_letter(c) || c.is_numeric() || c == '_');
    let fits = tag.chars().count() <= TAG_CHARS_MAX;
    (begins_well && fits && tag.contains(is_letter)).then_some(tag)
}

fn is_letter(c: char) -> bool {
    // Letters in circles and squares are symbols, and some of them emoji, whatever their property says.
    let is_symbol = matches!(c, '\u{24B6}'..='\u{24E9}' | '\u{1F130}'..='\u{1F189}');
    c.is_alphabetic() && !is_combining_mark(c) && !is_symbol
}

fn belongs_to_tag(c: char) -> bool {
    // Those that choose between a sign's looks are marks, too, but of emoji.
    let is_mark = is_combining_mark(c) && !matches!(c, '\u{FE0E}' | '\u{FE0F}' | '\u{20E3}');
    is_letter(c) || is_mark || c.is_numeric() || c == '_' || JOINERS.contains(&c)
}

/// What stands behind each of `signs` that begins a word or follows what another has marked.
fn marked(text: &str, signs: [char; 2], belongs: fn(char) -> bool) -> Vec<&str> {
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let (mut rest, mut before) = (before_link(word), None);
        while let Some(at) = rest.find(signs) {
            let (ahead, behind) = rest.split_at(at);
            before = ahead.chars().next_back().or(before);
            let behind = behind.strip_prefix(signs).unwrap_or(behind);
            let length = behind.find(|c| !belongs(c)).unwrap_or(behind.len());
            let (name, next) = behind.split_at(length);
            // `&#39;` is a character in HTML, and a part of a path a place in a page.
            let is_within = before.is_some_and(|c| belongs_to_tag(c) || c == '&' || c == '/');
            if is_within {
                before = name.chars().next_back().or(before);
            } else {
                found.push(name);
                before = None;
            }
            rest = next;
        }
    }
    found
}

/// The part of a word before the link that it ends with.
fn before_link(word: &str) -> &str {
    let has_www = word.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("www."));
    let end = if has_www { 0 } else { word.find("://").unwrap_or(word.len()) };
    &word[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_words_behind_a_sign() {
        assert_eq!(tags("A #Cat, a #dog; and (#bird)! #cat"), ["cat", "dog", "bird"]);
        assert_eq!(tags("#under_score #a1 #1a #_x"), ["under_score", "a1", "1a", "_x"]);
        assert_eq!(tags("#one#two ##three"), ["one", "two", "three"]);
        assert_eq!(tags("no tag # here, C# or F#, mail#x"), [""; 0]);
    }

    #[test]
    fn digits_alone_are_a_number() {
        assert_eq!(tags("we are #1 of #2024 and #٣ and #1_000"), [""; 0]);
        assert_eq!(tags("#2024summer"), ["2024summer"]);
    }

    #[test]
    fn every_script_has_tags() {
        let caption = "#Café #ΑΘΉΝΑ #Москва #東京 #किताब #תמונה #صورة #می\u{200C}خواهم #ภาพถ่าย #한국";
        assert_eq!(
            tags(caption),
            [
                "café",
                "αθήνα",
                "москва",
                "東京",
                "किताब",
                "תמונה",
                "صورة",
                "می\u{200C}خواهم",
                "ภาพถ่าย",
                "한국"
            ]
        );
        assert_eq!(tags("今日の ＃写真 と ＃Ｃａｔ"), ["写真", "cat"]);
    }

    #[test]
    fn accents_are_the_same_however_they_are_written() {
        assert_eq!(tags("#cafe\u{301} #CAFÉ #café"), ["café"]);
        assert_eq!(fold("E\u{301}"), fold("é"));
        assert_eq!(fold(&fold("İ#Ǆ")), fold("İ#Ǆ"));
    }

    #[test]
    fn emoji_are_no_letters() {
        assert_eq!(tags("#sun☀️ #❤️ #️⃣ #🅰️ #👩\u{200D}🚀 #cat\u{200D}🐈"), ["sun", "cat"]);
        assert_eq!(tags("🐈#cat #\u{301}x"), ["cat"]);
    }

    #[test]
    fn a_link_has_no_tags_and_mentions_nobody() {
        let caption = "see https://example.org/#top www.example.org/x#y example.org/page#part (http://a.b/?q=#c) \
                       https://example.org/@ann &#39; #real";
        assert_eq!(tags(caption), ["real"]);
        assert_eq!(handles(caption), [""; 0]);
    }

    #[test]
    fn too_many_and_too_long_ones_are_text() {
        let many: Vec<_> = (0..40).map(|number| format!("#t{number}")).collect();
        assert_eq!(tags(&many.join(" ")).len(), TAGS_MAX);
        assert_eq!(tags(&format!("#{}", "x".repeat(100))), ["x".repeat(100)]);
        assert_eq!(tags(&format!("#{} #b", "x".repeat(101))), ["b"]);
    }

    #[test]
    fn mentions_are_handles_and_no_addresses() {
        assert_eq!(
            handles("With @Ann.B, @bob_2. Write to ann@example.org; .@carl"),
            ["ann.b", "bob_2", "carl"]
        );
        assert_eq!(handles("@ @. ＠dan @bob @BOB"), ["dan", "bob"]);
        let many: Vec<_> = (0..40).map(|number| format!("@u{number}")).collect();
        assert_eq!(handles(&many.join(" ")).len(), MENTIONS_MAX);
    }

    #[test]
    fn a_tag_is_found_with_its_sign_and_without() {
        assert_eq!(tag("Cat"), Some("cat".to_owned()));
        assert_eq!(tag("#Cat"), Some("cat".to_owned()));
        for none in ["", "#", "12", "two words", "a-b", "##a"] {
            assert_eq!(tag(none), None, "{none}");
        }
    }
}
