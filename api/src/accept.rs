//! Which of a preset's files a client gets (RFC 9110, section 12.5.1).

use darkroom_store::model::photos::Variant;
use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// What a client says of a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    /// Whether it names the type, and not by a wildcard only.
    named: bool,
    /// How much it likes it, in thousandths; 0 is not at all.
    weight: u16,
}

/// The file of `made` to answer with: they are in the order of what clients understand, and there is at least one.
///
/// It is the last of those of the greatest weight, out of the first and those that the client names. A wildcard names
/// none, because clients that cannot show WebP send it too, but it gives the first its weight.
pub fn best<'v>(made: &[&'v Variant], first: &'v Variant, headers: &HeaderMap) -> &'v Variant {
    let mut chosen = (wish(headers, &first.media_type).weight, first);
    for variant in made.iter().skip(1) {
        let Wish { named, weight } = wish(headers, &variant.media_type);
        if named && weight > 0 && weight >= chosen.0 {
            chosen = (weight, variant);
        }
    }
    chosen.1
}

/// What the most specific range that covers a type says of it; without one it is not wished at all.
fn wish(headers: &HeaderMap, media_type: &str) -> Wish {
    let family = media_type.split_once('/').map_or(media_type, |(family, _)| family);
    let (mut found, mut found_specificity) = (Wish { named: false, weight: 0 }, 0);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let (essence, parameters) = range.split_once(';').unwrap_or((range, ""));
        let essence = essence.trim();
        let specificity = match essence.split_once('/') {
            Some(_) if essence.eq_ignore_ascii_case(media_type) => 3,
            Some((of, "*")) if of.eq_ignore_ascii_case(family) => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        if specificity > found_specificity {
            found = Wish { named: specificity == 3, weight: weight(parameters) };
            found_specificity = specificity;
        }
    }
    found
}

/// The weight among a range's parameters; all of it where there is none, or none that can be read.
fn weight(parameters: &str) -> u16 {
    let weight = parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .and_then(|(_, value)| value.trim().parse::<f32>().ok())
        .filter(|weight| (0.0..=1.0).contains(weight));
    (weight.unwrap_or(1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::{ContentHash, Timestamp};
    use darkroom_store::objects::{ObjectKey, ObjectKind};

    use super::*;

    fn variant(media_type: &str) -> Variant {
        Variant {
            preset: "auto".to_owned(),
            preset_digest: String::new(),
            media_type: media_type.to_owned(),
            width: 1,
            height: 1,
            bytes: 1,
            hash: ContentHash::of(media_type.as_bytes()),
            object: ObjectKey::new(ObjectKind::Variant),
            made: Timestamp::now(),
        }
    }

    #[test]
    fn the_file_follows_what_the_client_names_and_how_much_it_likes_it() {
        let (jpeg, webp) = (variant("image/jpeg"), variant("image/webp"));
        let chosen = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, value.parse().unwrap());
            }
            best(&[&jpeg, &webp], &jpeg, &headers).media_type.strip_prefix("image/").unwrap()
        };
        let cases: &[(&[&str], &str)] = &[
            (&[], "jpeg"),
            (&["*/*"], "jpeg"),
            (&["image/*"], "jpeg"),
            (&["image/webp"], "webp"),
            (&["image/avif,image/webp,image/apng,image/*,*/*;q=0.8"], "webp"),
            (&["text/html, IMAGE/WEBP;q=0.5"], "webp"),
            (&["text/html", "image/webp"], "webp"),
            // As much as the other is as good as more: it is smaller.
            (&["image/jpeg;q=0.7, image/webp;q=0.7"], "webp"),
            (&["image/jpeg, image/webp;q=0.1"], "jpeg"),
            (&["image/webp;q=0.1, */*"], "jpeg"),
            (&["image/webp;q=0.1, image/*;q=0.2, */*"], "jpeg"),
            (&["image/webp;q=0.5, image/*;q=0.2, */*"], "webp"),
            (&["*/*;q=0.9, image/jpeg;q=0.2, image/webp;q=0.3"], "webp"),
            (&["image/webp;q=0, */*"], "jpeg"),
            (&["image/webp;q=0.000"], "jpeg"),
            (&["image/jpeg;q=0, image/webp;q=0"], "jpeg"),
            (&["image/png"], "jpeg"),
            (&["image/webp;level=1; Q=0.5 , image/jpeg ; q=0.6"], "jpeg"),
            (&["image/webp;q=high"], "webp"),
            (&["image/webpx, x/image/webp"], "jpeg"),
        ];
        for (accept, expected) in cases {
            assert_eq!(chosen(accept), *expected, "{accept:?}");
        }
    }
}
