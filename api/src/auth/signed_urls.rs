//! Links that open without a session: one signature covers a photo, some of its presets and perhaps its original, and
//! an expiry. So a client builds its `srcset` by itself, and nobody who has a link makes one to another size of it.
//!
//! A link is the address of a variant or of the original with four or five parameters more:
//!
//! | parameter | what it is |
//! |---|---|
//! | `k` | the id of the key |
//! | `p` | the presets: names in ascending order, with commas between them; absent where only the original is covered |
//! | `o` | `1`, where the original is covered; else absent |
//! | `g` | the photo's generation, where that is not 0 (see [`Link::generation`]) |
//! | `e` | when it expires: seconds since the Unix epoch |
//! | `s` | the signature: HMAC-SHA-256, in base64url without padding |
//!
//! What is signed is, with each part behind its length as four bytes, big-endian: the domain `darkroom signed link 1`,
//! `k`, the photo's id (16 bytes), the expiry (8 bytes, big-endian), the generation (likewise), one byte that says
//! whether the original is covered, and each preset's name. HMAC-SHA-256 because ring compares it in constant time, and
//! because every language has it; BLAKE3 would be no quicker on so few bytes.
//!
//! A link says who may look, not what there is: a photo that is gone is not found by a link either. Whoever opens one
//! compares the generation that it was made for with the photo's, which is read for the answer anyway.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darkroom_store::model::signing_keys::{Purpose, SigningKey};
use darkroom_store::model::{PhotoId, Timestamp};
use ring::hmac;

use super::kept::Away;
use super::keyring::Keyring;
use crate::problem::Problem;

/// What links have in their query beside what the path takes anyway.
pub const PARAMETERS: &[&str] = &["k", "p", "o", "g", "e", "s"];

const DOMAIN: &[u8] = b"darkroom signed link 1";
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;
/// Most presets in one link. With the longest names they have some two thousand bytes.
const PRESETS_MAX: usize = 64;
/// Longest `p` that is read: [`PRESETS_MAX`] of the longest names.
const PRESETS_BYTES_MAX: usize = PRESETS_MAX * 65;
/// Longest key id that is read.
const KEY_BYTES_MAX: usize = 64;
/// Expiries that make sense.
const EXPIRIES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3600);

/// Everything about links that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// Longest that a link may be good for. One that is good for longer, since more was allowed when it was made, is
    /// refused until it is not.
    pub expiry_max: Duration,
    /// By how much the clocks of nodes may differ.
    pub leeway: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { expiry_max: Duration::from_secs(7 * 24 * 3600), leeway: Duration::from_secs(30) }
    }
}

impl LinkOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the key of the configuration and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if EXPIRIES.contains(&self.expiry_max) {
            return Ok(());
        }
        Err("auth.link_expiry_max must be from 1m to 366d: links cannot be taken back one by one; set it to 7d".to_owned())
    }

    /// How long after its last signature a key of links must verify.
    pub fn longest(&self) -> Duration {
        self.expiry_max + 2 * self.leeway
    }
}

/// What a link covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The photo.
    pub photo: PhotoId,
    /// Its presets, by name.
    pub presets: Vec<String>,
    /// Whether its original, too.
    pub original: bool,
    /// A number that the photo's record has when the link is made, and another one once links made before are to open
    /// nothing any more (the photo was made private, say). 0 where there is none.
    pub generation: u64,
    /// When it expires; whole seconds.
    pub expires: Timestamp,
}

impl Link {
    /// Whether it covers this preset.
    pub fn covers_preset(&self, name: &str) -> bool {
        self.presets.iter().any(|preset| preset == name)
    }
}

/// What is wrong with a link, or with what one is to be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was not made here, or was changed.
    #[error(
        "the link was changed, or cut off: take it as it was given, and ask for another one for another photo or size"
    )]
    Invalid,
    /// It names a key that there is not, or no more.
    #[error("the link is signed with a key that is not known, or no more: ask for a new link")]
    UnknownKey,
    /// It has expired.
    #[error("the link has expired: ask for a new one")]
    Expired,
    /// It is good for longer than any may be.
    #[error("the link is good for longer than links may be here (auth.link_expiry_max): ask for a new one")]
    TooLong,
    /// It is to be good for no time, or for longer than any may be.
    #[error("expires_in must be from 1 to {0} seconds")]
    ExpiryOutOfRange(u64),
    /// It is to cover nothing.
    #[error("a link covers at least one preset, or the original: name what it is for")]
    Empty,
    /// It is to cover too many presets, or one whose name cannot be written.
    #[error("a link covers at most {PRESETS_MAX} presets, each of lower-case letters, digits, `-` or `_`")]
    Presets,
    /// The keys could not be read.
    #[error("the keys by which links are verified cannot be read now: try again")]
    KeysAway,
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        let detail = error.to_string();
        match error {
            LinkError::Invalid | LinkError::UnknownKey | LinkError::TooLong => {
                Self::new("link-invalid", detail)
            }
            LinkError::Expired => Self::new("link-expired", detail),
            LinkError::ExpiryOutOfRange(_) | LinkError::Empty | LinkError::Presets => {
                Self::new("invalid-parameter", detail)
            }
            LinkError::KeysAway => Self::new("store-unavailable", detail).retry_after(1),
        }
    }
}

impl From<Away> for LinkError {
    fn from(away: Away) -> Self {
        tracing::warn!(reason = away.0, "the keys of links could not be read");
        Self::KeysAway
    }
}

/// Makes and checks links.
#[derive(Clone, Debug)]
pub struct Links {
    keys: Keyring,
    options: LinkOptions,
}

impl Links {
    /// By these keys.
    pub fn new(keys: Keyring, options: LinkOptions) -> Self {
        Self { keys, options }
    }

    /// When a link expires that is good for so long from now on.
    ///
    /// # Errors
    /// [`LinkError::ExpiryOutOfRange`].
    pub fn expiry(&self, expires_in: Duration) -> Result<Timestamp, LinkError> {
        if expires_in < Duration::from_secs(1) || expires_in > self.options.expiry_max {
            return Err(LinkError::ExpiryOutOfRange(self.options.expiry_max.as_secs()));
        }
        // Whole seconds are written; a link is rather good for a moment longer than for one less.
        Ok(Timestamp(self.keys.clock().now().after(expires_in).0.div_ceil(1000) * 1000))
    }

    /// The query that opens what the link covers, to be put behind `?` or `&`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn sign(&self, link: &Link) -> Result<String, LinkError> {
        let mut link = link.clone();
        link.presets.sort_unstable();
        link.presets.dedup();
        if link.presets.is_empty() && !link.original {
            return Err(LinkError::Empty);
        }
        if link.presets.len() > PRESETS_MAX || !link.presets.iter().all(|name| is_name(name)) {
            return Err(LinkError::Presets);
        }
        link.expires = Timestamp(link.expires.0 / 1000 * 1000);
        let now = self.keys.clock().now();
        if link.expires <= now || self.is_too_long(&link, now) {
            return Err(LinkError::ExpiryOutOfRange(self.options.expiry_max.as_secs()));
        }
        let key = self.keys.signing(Purpose::Links).await?;
        let signature = hmac::sign(&mac_key(&key), &signed(&key.id, &link));
        Ok(written(&key.id, &link, signature.as_ref()))
    }

    /// What a query says that it opens of a photo; `None` if it is no link's. Parameters that are not a link's are not
    /// looked at. The store is not asked, but for keys that this node has not read yet.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn check(&self, query: &str, photo: PhotoId) -> Result<Option<Link>, LinkError> {
        let Some(read) = Read::of(query, photo)? else { return Ok(None) };
        let key = self.keys.find(Purpose::Links, &read.key).await?.ok_or(LinkError::UnknownKey)?;
        // In constant time. Nothing that the link says is taken for true before.
        hmac::verify(&mac_key(&key), &signed(&read.key, &read.link), &read.signature)
            .map_err(|_| LinkError::Invalid)?;
        let now = self.keys.clock().now();
        if read.link.expires <= now {
            return Err(LinkError::Expired);
        }
        if self.is_too_long(&read.link, now) {
            return Err(LinkError::TooLong);
        }
        Ok(Some(read.link))
    }

    fn is_too_long(&self, link: &Link, now: Timestamp) -> bool {
        // A second more, since expiries are rounded up to whole ones.
        link.expires > now.after(self.options.expiry_max + self.options.leeway + Duration::from_secs(1))
    }
}

/// A link as a query has it, of which nothing has been verified.
struct Read {
    key: String,
    link: Link,
    signature: [u8; SIGNATURE_BYTES],
}

impl Read {
    fn of(query: &str, photo: PhotoId) -> Result<Option<Self>, LinkError> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut values: [Option<String>; 6] = Default::default();
        for (name, value) in pairs {
            let Some(index) = PARAMETERS.iter().position(|known| *known == name) else { continue };
            // Of two, one program would take the first and another the last.
            if values[index].replace(value.into_owned()).is_some() {
                return Err(LinkError::Invalid);
            }
        }
        let [key, presets, original, generation, expires, signature] = values;
        let Some(signature) = signature else { return Ok(None) };
        let (Some(key), Some(expires)) = (key, expires) else { return Err(LinkError::Invalid) };
        if key.len() > KEY_BYTES_MAX {
            return Err(LinkError::Invalid);
        }
        let link = Link {
            photo,
            presets: presets.map_or(Ok(Vec::new()), |names| preset_names(&names))?,
            original: original
                .map_or(Ok(false), |text| if text == "1" { Ok(true) } else { Err(LinkError::Invalid) })?,
            generation: generation
                .map_or(Ok(0), |text| number(&text).filter(|g| *g > 0).ok_or(LinkError::Invalid))?,
            expires: Timestamp(number(&expires).and_then(|e| e.checked_mul(1000)).ok_or(LinkError::Invalid)?),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| LinkError::Invalid)?;
        let signature = signature.try_into().map_err(|_| LinkError::Invalid)?;
        Ok(Some(Self { key, link, signature }))
    }
}

/// The names in `p`, which has one spelling alone.
fn preset_names(text: &str) -> Result<Vec<String>, LinkError> {
    if text.len() > PRESETS_BYTES_MAX {
        return Err(LinkError::Invalid);
    }
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    let is_sorted = names.is_sorted_by(|a, b| a < b);
    if is_sorted && names.len() <= PRESETS_MAX && names.iter().all(|name| is_name(name)) {
        Ok(names)
    } else {
        Err(LinkError::Invalid)
    }
}

/// What a preset may be called: none of it needs an escape, or may be a comma.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// A number that is spelt as it is written here.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn mac_key(key: &SigningKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.secret.expose())
}

/// What is signed: see the head of this file.
fn signed(key: &str, link: &Link) -> Vec<u8> {
    let (expires, generation) = (link.expires.0 / 1000, link.generation);
    let mut bytes = Vec::new();
    let mut push = |part: &[u8]| {
        // No part is longer than a preset's name or a key's id.
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    push(DOMAIN);
    push(key.as_bytes());
    push(link.photo.0.as_bytes());
    push(&expires.to_be_bytes());
    push(&generation.to_be_bytes());
    push(&[u8::from(link.original)]);
    link.presets.iter().for_each(|name| push(name.as_bytes()));
    bytes
}

fn written(key: &str, link: &Link, signature: &[u8]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("k", key);
    let mut query = query.finish();
    if !link.presets.is_empty() {
        // Commas stay as they are, as they may in a query: links are read by people, too.
        query += "&p=";
        query += &link.presets.join(",");
    }
    if link.original {
        query.push_str("&o=1");
    }
    if link.generation > 0 {
        query += "&g=";
        query += &link.generation.to_string();
    }
    let (expires, signature) = (link.expires.0 / 1000, URL_SAFE_NO_PAD.encode(signature));
    query + &format!("&e={expires}&s={signature}")
}

#[cfg(test)]
mod tests {
    use super::super::keyring::tests::Place;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A daemon that signs links, and one of them.
    struct Daemon {
        place: Place,
        links: Links,
        link: Link,
        query: String,
    }

    impl Daemon {
        async fn new() -> Self {
            let place = Place::new();
            place.add(Purpose::Links);
            let links = Links::new(place.keyring(), LinkOptions::default());
            let link = Link {
                photo: PhotoId::new(),
                presets: vec!["medium".to_owned(), "thumb".to_owned()],
                original: false,
                generation: 0,
                expires: links.expiry(HOUR).unwrap(),
            };
            let query = links.sign(&link).await.unwrap();
            Self { place, links, link, query }
        }

        async fn check(&self, query: &str) -> Result<Option<Link>, LinkError> {
            self.links.check(query, self.link.photo).await
        }

        /// The query with one parameter another, or gone.
        fn with(&self, name: &str, value: Option<&str>) -> String {
            let pairs = self.query.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
            let mut pairs: Vec<String> = pairs.map(str::to_owned).collect();
            pairs.extend(value.map(|value| format!("{name}={value}")));
            pairs.join("&")
        }

        fn value(&self, name: &str) -> &str {
            let prefix = format!("{name}=");
            self.query.split('&').find_map(|pair| pair.strip_prefix(&prefix)).unwrap()
        }
    }

    #[tokio::test]
    async fn a_link_opens_what_it_covers_and_nothing_else() {
        let daemon = Daemon::new().await;
        let link = daemon.check(&daemon.query).await.unwrap().unwrap();
        assert_eq!(link, daemon.link);
        assert!(link.covers_preset("thumb") && link.covers_preset("medium"));
        assert!(!link.covers_preset("large") && !link.covers_preset("thum") && !link.original);
        // In whatever order, and with what the path takes beside it.
        let mut pairs: Vec<_> = daemon.query.split('&').collect();
        pairs.reverse();
        assert_eq!(daemon.check(&format!("v=1234&{}", pairs.join("&"))).await, Ok(Some(daemon.link.clone())));
        assert_eq!(daemon.check(&daemon.query.replace(',', "%2C")).await, Ok(Some(daemon.link.clone())));
        // A query without a signature is no link's.
        for query in ["", "v=1234", "p=large&e=1"] {
            assert_eq!(daemon.check(query).await, Ok(None));
        }
        assert_eq!(daemon.links.check(&daemon.query, PhotoId::new()).await, Err(LinkError::Invalid));
    }

    #[tokio::test]
    async fn nobody_makes_another_link_of_one() {
        let daemon = Daemon::new().await;
        let later = (daemon.link.expires.0 / 1000 + 1).to_string();
        let signature = daemon.value("s").to_owned();
        let mut flipped = URL_SAFE_NO_PAD.decode(&signature).unwrap();
        flipped[0] ^= 1;
        let flipped = URL_SAFE_NO_PAD.encode(flipped);
        for (name, value) in [
            ("p", Some("large")),
            ("p", Some("large,medium,thumb")),
            ("p", Some("medium")),
            ("p", Some("thumb,medium")),
            ("p", Some("medium,medium,thumb")),
            ("p", Some("medium,thumb,")),
            ("p", Some("mediumt,humb")),
            ("p", Some("Medium,thumb")),
            ("p", Some("")),
            ("p", None),
            ("o", Some("1")),
            ("o", Some("0")),
            ("g", Some("1")),
            ("g", Some("0")),
            ("e", Some(&later)),
            ("e", Some(&format!("0{}", daemon.value("e")))),
            ("e", Some(&format!("%2B{}", daemon.value("e")))),
            ("e", Some("18446744073709551615")),
            ("e", Some("")),
            ("e", None),
            ("k", None),
            ("k", Some(&"k".repeat(65))),
            ("s", Some(&flipped)),
            ("s", Some(&signature[..42])),
            ("s", Some(&signature[..40])),
            ("s", Some(&signature.to_uppercase())),
            ("s", Some(&format!("{signature}="))),
            ("s", Some(&format!("{signature}A"))),
            ("s", Some("")),
        ] {
            let refusal = daemon.check(&daemon.with(name, value)).await;
            assert_eq!(refusal, Err(LinkError::Invalid), "{name}={value:?}");
        }
        // The values of two parameters exchanged.
        let swapped = daemon.query.replace("k=", "x=").replace("s=", "k=").replace("x=", "s=");
        daemon.check(&swapped).await.unwrap_err();
        for pair in daemon.query.split('&') {
            let twice = format!("{}&{pair}", daemon.query);
            assert_eq!(daemon.check(&twice).await, Err(LinkError::Invalid), "{pair}");
        }
    }

    #[tokio::test]
    async fn what_is_signed_cannot_be_read_in_two_ways() {
        let photo = PhotoId::new();
        let link = |presets: &[&str], original: bool| Link {
            photo,
            presets: presets.iter().map(|&name| name.to_owned()).collect(),
            original,
            generation: 0,
            expires: Timestamp(7_000),
        };
        let all = [
            signed("k", &link(&["ab", "c"], false)),
            signed("k", &link(&["a", "bc"], false)),
            signed("k", &link(&["abc"], false)),
            signed("k", &link(&["abc"], true)),
            signed("ka", &link(&["bc"], false)),
            signed("k", &link(&[], true)),
            signed("k", &Link { generation: 7, ..link(&["abc"], false) }),
            signed("k", &Link { generation: 7, expires: Timestamp(0), ..link(&["abc"], false) }),
        ];
        for (index, bytes) in all.iter().enumerate() {
            assert!(!all[..index].contains(bytes), "{index}");
        }
        // A link is taken by later versions as by this one.
        let mut expected = b"\0\0\0\x16darkroom signed link 1\0\0\0\x01k\0\0\0\x10".to_vec();
        expected.extend_from_slice(photo.0.as_bytes());
        expected.extend_from_slice(
            b"\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\x01\x01\0\0\0\x03abc",
        );
        assert_eq!(all[3], expected);
    }

    #[tokio::test]
    async fn a_link_ends_at_its_time() {
        let daemon = Daemon::new().await;
        daemon.place.pass(HOUR.saturating_sub(Duration::from_millis(1)));
        daemon.check(&daemon.query).await.unwrap().unwrap();
        daemon.place.pass(Duration::from_millis(1));
        assert_eq!(daemon.check(&daemon.query).await, Err(LinkError::Expired));
        // Who has not the signature is not told that it has expired.
        let other = daemon.with("p", Some("large"));
        assert_eq!(daemon.check(&other).await, Err(LinkError::Invalid));
    }

    #[tokio::test]
    async fn no_link_is_good_for_longer_than_it_may_be() {
        let daemon = Daemon::new().await;
        let max = LinkOptions::default().expiry_max;
        for wrong in [Duration::ZERO, Duration::from_millis(999), max + Duration::from_secs(1)] {
            let refusal = daemon.links.expiry(wrong);
            assert_eq!(refusal, Err(LinkError::ExpiryOutOfRange(max.as_secs())));
        }
        for (expires, is_good) in [
            (daemon.links.expiry(max).unwrap(), true),
            (daemon.place.now().after(max + HOUR), false),
            (daemon.place.now(), false),
            (Timestamp(0), false),
        ] {
            let link = Link { expires, ..daemon.link.clone() };
            assert_eq!(daemon.links.sign(&link).await.is_ok(), is_good, "{expires:?}");
        }
        // One that was made while more was allowed.
        let options = LinkOptions { expiry_max: Duration::from_secs(60), ..LinkOptions::default() };
        let strict = Links::new(daemon.place.keyring(), options);
        assert_eq!(strict.check(&daemon.query, daemon.link.photo).await, Err(LinkError::TooLong));
        daemon.place.pass(HOUR.saturating_sub(Duration::from_secs(60)));
        strict.check(&daemon.query, daemon.link.photo).await.unwrap().unwrap();
        let refusal = LinkOptions { expiry_max: Duration::ZERO, ..options }.validate().unwrap_err();
        assert!(refusal.contains("auth.link_expiry_max"), "{refusal}");
    }

    #[tokio::test]
    async fn a_retired_key_opens_links_until_it_ends() {
        let daemon = Daemon::new().await;
        let old = daemon.value("k").to_owned();
        let ends = daemon.place.now().after(Duration::from_secs(100));
        daemon.place.change(&old, |key| {
            key.signs_until = Some(key.created);
            key.verifies_until = Some(ends);
        });
        let new = daemon.place.add(Purpose::Links);
        // Another node, which reads the keys now.
        let links = Links::new(daemon.place.keyring(), LinkOptions::default());
        let query = links.sign(&daemon.link).await.unwrap();
        assert!(query.contains(&format!("k={}", new.id)), "{query}");
        daemon.place.pass(Duration::from_millis(99_999));
        links.check(&daemon.query, daemon.link.photo).await.unwrap().unwrap();
        daemon.place.pass(Duration::from_millis(1));
        assert_eq!(links.check(&daemon.query, daemon.link.photo).await, Err(LinkError::UnknownKey));
        links.check(&query, daemon.link.photo).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_key_that_nobody_has_opens_nothing() {
        let daemon = Daemon::new().await;
        let tokens = daemon.place.add(Purpose::Tokens);
        let other_case =
            |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        let other_case: String = daemon.value("k").chars().map(other_case).collect();
        for key in ["nobody", &other_case, &tokens.id] {
            assert_eq!(daemon.check(&daemon.with("k", Some(key))).await, Err(LinkError::UnknownKey), "{key}");
        }
        // Another key's name over this one's signature.
        daemon.place.pass(Duration::from_secs(10));
        let other = daemon.place.add(Purpose::Links);
        assert_eq!(daemon.check(&daemon.with("k", Some(&other.id))).await, Err(LinkError::Invalid));
        // Links are checked without the store: at first its keys were read, and for what nobody had once or twice more.
        for _ in 0..100 {
            daemon.check(&daemon.query).await.unwrap().unwrap();
        }
        assert!(daemon.place.loads() <= 3, "{}", daemon.place.loads());
    }

    #[tokio::test]
    async fn what_a_link_is_to_cover_has_bounds() {
        let daemon = Daemon::new().await;
        let of = |presets: Vec<String>, original| {
            let link = Link { presets, original, ..daemon.link.clone() };
            let links = daemon.links.clone();
            async move { links.sign(&link).await }
        };
        assert_eq!(of(Vec::new(), false).await, Err(LinkError::Empty));
        for names in [vec![String::new()], vec!["A".to_owned()], vec!["a,b".to_owned()], vec!["a".repeat(65)]]
        {
            assert_eq!(of(names, true).await, Err(LinkError::Presets));
        }
        let many = |count: usize| (0..count).map(|number| format!("{number:064}")).collect::<Vec<_>>();
        assert_eq!(of(many(PRESETS_MAX + 1), false).await, Err(LinkError::Presets));
        let query = of(many(PRESETS_MAX), true).await.unwrap();
        let link = daemon.check(&query).await.unwrap().unwrap();
        assert!(link.original && link.presets.len() == PRESETS_MAX);
        // Twice, and in another order, is the same.
        let names = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert!(of(names, false).await.unwrap().contains("&p=a,b&e="));
        let original = of(Vec::new(), true).await.unwrap();
        assert!(!original.contains("p=") && daemon.check(&original).await.unwrap().unwrap().original);
        let other = Link { generation: 3, ..daemon.link.clone() };
        let query = daemon.links.sign(&other).await.unwrap();
        assert_eq!(daemon.check(&query).await, Ok(Some(other)));
    }

    #[test]
    fn a_refusal_says_no_more_than_whether_a_link_can_be_renewed() {
        for (error, code, status) in [
            (LinkError::Invalid, "link-invalid", 403),
            (LinkError::UnknownKey, "link-invalid", 403),
            (LinkError::TooLong, "link-invalid", 403),
            (LinkError::Expired, "link-expired", 403),
            (LinkError::Empty, "invalid-parameter", 400),
            (LinkError::KeysAway, "store-unavailable", 503),
        ] {
            let problem = Problem::from(error);
            assert!(problem.is(code) && problem.status == status, "{problem:?}");
        }
    }
}
