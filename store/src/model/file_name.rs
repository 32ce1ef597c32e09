//! What is kept of the names that clients give their files.
//!
//! A name is shown, in lists, terminals and logs of others, and never used as a path. So what would break a line or make
//! a name read as another one (`photo[override]gpj.exe` reads as `photoexe.jpg`) does not come in, whichever way its
//! file does; everything else stays as it was, folders and slashes too.

/// Stands for a character that is not kept.
const REPLACED: char = char::REPLACEMENT_CHARACTER;

/// The name with at most so many bytes, cut between characters, and with U+FFFD in place of what controls a terminal, a
/// line or the direction of text. `None` if nothing is left.
#[must_use]
pub fn tidied(name: &str, bytes_max: usize) -> Option<String> {
    let mut tidied = String::new();
    for character in name.chars() {
        let character = if is_shown(character) { character } else { REPLACED };
        if tidied.len() + character.len_utf8() > bytes_max {
            break;
        }
        tidied.push(character);
    }
    Some(tidied).filter(|name| !name.is_empty())
}

/// Whether a character is what it seems to be. Marks that only join letters or hint at their direction are: Persian and
/// emoji are written with them. Holds for every text on one line that others are shown.
pub fn is_shown(character: char) -> bool {
    let breaks_lines = matches!(character, '\u{2028}' | '\u{2029}');
    // Embeddings, overrides and isolates: Unicode Standard Annex 9, sections 2.1 to 2.5.
    let turns_text = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !breaks_lines && !turns_text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}.heic";
        for name in
            ["a.jpg", "2024/Größe 1.jpg", "..", "<b>&\"'.png", "عکس\u{200c}ها.jpg", "\u{200f}א.png", family]
        {
            assert_eq!(tidied(name, 255).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_controls_terminals_lines_or_direction_is_replaced() {
        for (name, kept) in [
            ("a\nb\r\t.jpg", "a\u{fffd}b\u{fffd}\u{fffd}.jpg"),
            ("\u{1b}[2J.jpg", "\u{fffd}[2J.jpg"),
            ("\0\u{7f}\u{85}", "\u{fffd}\u{fffd}\u{fffd}"),
            ("photo\u{202e}gpj.exe", "photo\u{fffd}gpj.exe"),
            ("\u{2066}a\u{2069}\u{2028}", "\u{fffd}a\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(tidied(name, 255).as_deref(), Some(kept));
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_after_what_was_replaced() {
        assert_eq!(tidied("größe", 4).as_deref(), Some("grö"));
        assert_eq!(tidied("größe", 3).as_deref(), Some("gr"));
        assert_eq!(tidied("\n\n\n", 7).as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!((tidied("", 9), tidied("ö", 1)), (None, None));
    }
}
