//! The access tokens of this daemon: JWTs of the profile of RFC 9068, signed by Ed25519.
//!
//! A token says who somebody is and by which session, for a quarter of an hour. Whether the session still stands is not
//! its business: whoever takes a token looks at the session's record.

use std::time::Duration;

use darkroom_store::model::signing_keys::Purpose;
use darkroom_store::model::{SessionId, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;
use uuid::Uuid;

use super::crypto;
use super::jws::{self, Claims, Times, TokenError, VerifyingKey, has_one_of, text, time};
use super::keyring::Keyring;

/// `typ` of an access token (RFC 9068, section 2.1): no other token, such as an ID token, is taken for one.
const KIND: &str = "at+jwt";
/// `client_id`, which RFC 9068 wants: people sign in at the daemon itself, for no registered client.
const CLIENT: &str = "darkroom";
/// Lifetimes that make sense.
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
/// More would keep what has expired in use.
const LEEWAY_MAX: Duration = Duration::from_secs(5 * 60);
/// An own token has some 500 bytes; of providers some have several thousand. Headers are at most 64 KiB.
const BYTES_MAX: std::ops::RangeInclusive<usize> = 1 << 10..=60 << 10;
/// Overlaps that make sense: shorter ones no cache of others would follow.
const OVERLAPS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5 * 60)..=Duration::from_secs(30 * 24 * 3600);

/// Everything about access tokens that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// `iss`: who issues tokens. The daemon's public URL, where others verify them.
    pub issuer: String,
    /// `aud`: for whom they are.
    pub audience: String,
    /// How long a token is valid.
    pub lifetime: Duration,
    /// By how much the clocks of nodes may differ.
    pub leeway: Duration,
    /// Longest token that is read, providers' included.
    pub token_bytes_max: usize,
    /// How long a new key is published before it signs.
    pub key_overlap: Duration,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            issuer: "darkroom".to_owned(),
            audience: "darkroom".to_owned(),
            lifetime: Duration::from_secs(15 * 60),
            leeway: Duration::from_secs(30),
            token_bytes_max: 8 << 10,
            key_overlap: Duration::from_secs(3600),
        }
    }
}

impl TokenOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the key of the configuration and what to do.
    pub fn validate(&self) -> Result<(), String> {
        for (key, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if text.is_empty() || text.len() > 255 {
                return Err(format!("auth.{key} must have 1 to 255 characters: set it to this server's URL"));
            }
        }
        if !LIFETIMES.contains(&self.lifetime) {
            return Err(
                "auth.access_token_lifetime must be from 1m to 24h: tokens are refreshed, so 15m does"
                    .to_owned(),
            );
        }
        if self.leeway > LEEWAY_MAX {
            return Err(
                "auth.clock_leeway is longer than 5m: set the clocks of all nodes by NTP, and it to 30s"
                    .to_owned(),
            );
        }
        if !BYTES_MAX.contains(&self.token_bytes_max) {
            return Err("auth.token_bytes_max must be from 1 KiB to 60 KiB: set it to 8 KiB".to_owned());
        }
        if !OVERLAPS.contains(&self.key_overlap) {
            return Err(
                "auth.key_overlap must be from 5m to 30d: others who verify tokens must hear of a new key \
                        before it signs; set it to 1h"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// How long after its last signature a key of tokens must verify.
    pub fn longest(&self) -> Duration {
        self.lifetime + 2 * self.leeway
    }
}

/// Who somebody is, as a token says that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Who.
    pub user: UserId,
    /// By which session.
    pub session: SessionId,
    /// The token's own id.
    pub id: Uuid,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The token.
    pub token: String,
    /// How long it is valid.
    pub expires_in: Duration,
}

/// What stands in a token.
#[derive(Serialize)]
struct Written<'t> {
    iss: &'t str,
    aud: &'t str,
    sub: UserId,
    client_id: &'t str,
    sid: SessionId,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: Uuid,
}

/// Makes and verifies tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Keyring,
    options: TokenOptions,
}

impl Tokens {
    /// By these keys.
    pub fn new(keys: Keyring, options: TokenOptions) -> Self {
        crypto::install();
        Self { keys, options }
    }

    /// Who is named in tokens as the one who issues them.
    pub fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// A token for a session of a user.
    ///
    /// # Errors
    /// [`TokenError::KeysAway`].
    pub async fn mint(&self, user: UserId, session: SessionId) -> Result<Minted, TokenError> {
        let key = self.keys.signing(Purpose::Tokens).await.map_err(|away| keys_away(&away))?;
        let now = self.keys.clock().now().0 / 1000;
        let claims = Written {
            iss: &self.options.issuer,
            aud: &self.options.audience,
            sub: user,
            client_id: CLIENT,
            sid: session,
            iat: now,
            nbf: now,
            exp: now + self.options.lifetime.as_secs(),
            jti: Uuid::new_v4(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(KIND.to_owned());
        header.kid = Some(key.id.clone());
        let secret = EncodingKey::from_ed_der(key.secret.expose());
        let token = jsonwebtoken::encode(&header, &claims, &secret).map_err(|error| {
            tracing::error!(key = key.id, %error, "a token could not be signed: is the key damaged?");
            TokenError::KeysAway
        })?;
        Ok(Minted { token, expires_in: self.options.lifetime })
    }

    /// Who a token says that somebody is.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<AccessToken, TokenError> {
        let header = jws::header(token, self.options.token_bytes_max)?;
        if header.kind.as_deref() != Some(KIND) {
            return Err(TokenError::WrongType(KIND));
        }
        let key = self.keys.find(Purpose::Tokens, &header.key).await.map_err(|away| keys_away(&away))?;
        let key = key.ok_or(TokenError::UnknownKey)?;
        let public = public_key(key.secret.expose()).ok_or_else(|| {
            tracing::error!(key = key.id, "a key of tokens is damaged");
            TokenError::KeysAway
        })?;
        let claims =
            VerifyingKey::new(Algorithm::EdDSA, DecodingKey::from_ed_der(&public)).claims(token, &header)?;
        self.read(&claims)
    }

    fn read(&self, claims: &Claims) -> Result<AccessToken, TokenError> {
        if text(claims, "iss")? != self.options.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !has_one_of(claims.get("aud"), std::slice::from_ref(&self.options.audience)) {
            return Err(TokenError::WrongAudience);
        }
        let required = |name| time(claims, name)?.ok_or(TokenError::BadClaim(name));
        let (issued, _) = (required("iat")?, required("nbf")?);
        let expires = Times { now: self.keys.clock().now(), leeway: self.options.leeway }.check(claims)?;
        Ok(AccessToken {
            user: UserId(id(claims, "sub")?),
            session: SessionId(id(claims, "sid")?),
            id: id(claims, "jti")?,
            issued,
            expires,
        })
    }
}

/// A claim that is an id.
fn id(claims: &Claims, name: &'static str) -> Result<Uuid, TokenError> {
    text(claims, name)?.parse().map_err(|_| TokenError::BadClaim(name))
}

/// The public key of an Ed25519 seed; `None` if it is none.
pub(super) fn public_key(seed: &[u8]) -> Option<Vec<u8>> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

fn keys_away(away: &super::kept::Away) -> TokenError {
    tracing::warn!(reason = away.0, "the keys of tokens could not be read");
    TokenError::KeysAway
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use darkroom_store::model::signing_keys::SigningKey;
    use ring::hmac;
    use serde_json::{Value, json};

    use super::super::keyring::KeyringOptions;
    use super::super::keyring::tests::{Place, START};
    use super::*;

    /// A daemon with one key.
    struct Daemon {
        place: Place,
        key: SigningKey,
        tokens: Tokens,
    }

    impl Daemon {
        fn new() -> Self {
            let place = Place::new();
            let key = place.add(Purpose::Tokens);
            let tokens = Tokens::new(place.keyring(), TokenOptions::default());
            Self { place, key, tokens }
        }

        fn header(&self) -> Value {
            json!({"typ": "at+jwt", "alg": "EdDSA", "kid": self.key.id})
        }

        /// As this daemon makes it, but for what a test changes.
        fn forged(&self, change: impl Fn(&mut Value, &mut Value)) -> String {
            let (mut header, mut claims) = (self.header(), claims());
            change(&mut header, &mut claims);
            signed(&self.key, &header, &claims)
        }

        async fn refusal(&self, token: &str) -> TokenError {
            self.tokens.verify(token).await.unwrap_err()
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "darkroom", "aud": "darkroom", "sub": UserId::OPEN, "sid": SessionId(Uuid::nil()),
            "iat": START, "nbf": START, "exp": START + 900, "jti": Uuid::nil(),
        })
    }

    fn encoded(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let pair = Ed25519KeyPair::from_seed_unchecked(key.secret.expose()).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[tokio::test]
    async fn what_was_minted_is_taken_until_it_expires() {
        let daemon = Daemon::new();
        let (user, session) = (UserId::new(), SessionId::new());
        let minted = daemon.tokens.mint(user, session).await.unwrap();
        let token = daemon.tokens.verify(&minted.token).await.unwrap();
        assert_eq!((token.user, token.session), (user, session));
        assert_eq!(token.expires, daemon.place.now().after(minted.expires_in));
        daemon.place.pass(
            (minted.expires_in + TokenOptions::default().leeway).saturating_sub(Duration::from_millis(1)),
        );
        daemon.tokens.verify(&minted.token).await.unwrap();
        daemon.place.pass(Duration::from_millis(1));
        assert_eq!(daemon.refusal(&minted.token).await, TokenError::Expired);
        assert!(minted.token.len() < 1000, "{}", minted.token.len());
    }

    #[tokio::test]
    async fn no_two_tokens_are_the_same() {
        let daemon = Daemon::new();
        let (user, session) = (UserId::new(), SessionId::new());
        let first = daemon.tokens.mint(user, session).await.unwrap();
        assert_ne!(daemon.tokens.mint(user, session).await.unwrap(), first);
    }

    #[tokio::test]
    async fn each_wrong_claim_is_refused_with_its_name() {
        let daemon = Daemon::new();
        daemon.tokens.verify(&daemon.forged(|_, _| {})).await.unwrap();
        let late = START + TokenOptions::default().leeway.as_secs() + 1;
        for (name, value, refusal) in [
            ("exp", json!(START - 900), TokenError::Expired),
            ("nbf", json!(late), TokenError::NotYet),
            ("iat", json!(late), TokenError::NotYet),
            ("aud", json!("another"), TokenError::WrongAudience),
            ("aud", json!(["another"]), TokenError::WrongAudience),
            ("aud", json!({"darkroom": true}), TokenError::WrongAudience),
            ("aud", Value::Null, TokenError::WrongAudience),
            ("iss", json!("another"), TokenError::WrongIssuer),
            ("iss", json!(["darkroom"]), TokenError::BadClaim("iss")),
            ("iss", Value::Null, TokenError::BadClaim("iss")),
            ("exp", json!("1900000000"), TokenError::BadClaim("exp")),
            ("exp", json!([1_900_000_000]), TokenError::Malformed),
            ("exp", json!(-1), TokenError::BadClaim("exp")),
            ("exp", Value::Null, TokenError::BadClaim("exp")),
            ("nbf", json!("soon"), TokenError::BadClaim("nbf")),
            ("iat", json!(true), TokenError::BadClaim("iat")),
            ("sub", json!("somebody"), TokenError::BadClaim("sub")),
            ("sid", json!(7), TokenError::BadClaim("sid")),
            ("jti", json!(""), TokenError::BadClaim("jti")),
        ] {
            let token = daemon.forged(|_, claims| claims[name] = value.clone());
            assert_eq!(daemon.refusal(&token).await, refusal, "{name}: {value}");
        }
        for name in ["iss", "sub", "sid", "iat", "nbf", "exp", "jti"] {
            let token = daemon.forged(|_, claims| drop(claims.as_object_mut().unwrap().remove(name)));
            assert_eq!(daemon.refusal(&token).await, TokenError::BadClaim(name));
        }
        let token = daemon.forged(|_, claims| drop(claims.as_object_mut().unwrap().remove("aud")));
        assert_eq!(daemon.refusal(&token).await, TokenError::WrongAudience);
    }

    #[tokio::test]
    async fn a_token_does_not_choose_its_algorithm() {
        let daemon = Daemon::new();
        let public = public_key(daemon.key.secret.expose()).unwrap();
        for name in ["none", "None", "NONE", "nOnE", ""] {
            let header = json!({"typ": "at+jwt", "alg": name, "kid": daemon.key.id});
            let message = format!("{}.{}", encoded(&header), encoded(&claims()));
            for token in [format!("{message}."), message.clone(), format!("{message}.AAAA")] {
                assert_eq!(daemon.refusal(&token).await, TokenError::Malformed, "{name}");
            }
            assert_eq!(
                daemon.refusal(&daemon.forged(|header, _| header["alg"] = json!(name))).await,
                TokenError::Malformed
            );
        }
        // By HMAC, with what everybody knows as the secret.
        for secret in [&public[..], URL_SAFE_NO_PAD.encode(&public).as_bytes()] {
            let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": daemon.key.id});
            let message = format!("{}.{}", encoded(&header), encoded(&claims()));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert_eq!(daemon.refusal(&token).await, TokenError::WrongAlgorithm);
        }
        for name in ["RS256", "ES256", "HS512", "PS256"] {
            let token = daemon.forged(|header, _| header["alg"] = json!(name));
            assert_eq!(daemon.refusal(&token).await, TokenError::WrongAlgorithm, "{name}");
        }
    }

    #[tokio::test]
    async fn what_was_changed_is_refused() {
        let daemon = Daemon::new();
        let token = daemon.forged(|_, _| {});
        let parts: Vec<&str> = token.split('.').collect();
        let mut others = claims();
        others["sub"] = json!(UserId::new());
        let payload = format!("{}.{}.{}", parts[0], encoded(&others), parts[2]);
        assert_eq!(daemon.refusal(&payload).await, TokenError::BadSignature);
        let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        for index in [0, 31, 32, 63] {
            signature[index] ^= 1;
            let token = format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode(&signature));
            assert_eq!(daemon.refusal(&token).await, TokenError::BadSignature, "{index}");
            signature[index] ^= 1;
        }
        for short in ["", "AA", &URL_SAFE_NO_PAD.encode(&signature[..63])] {
            let token = format!("{}.{}.{short}", parts[0], parts[1]);
            assert_eq!(daemon.refusal(&token).await, TokenError::BadSignature, "{short}");
        }
        // Another key's signature.
        let other = daemon.place.add(Purpose::Tokens);
        let token = signed(&other, &daemon.header(), &claims());
        assert_eq!(daemon.refusal(&token).await, TokenError::BadSignature);
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            "a.b.c.d",
            &token.replace('.', ""),
            &format!("{token}."),
            &format!("{token}="),
        ] {
            assert_eq!(daemon.refusal(text).await, TokenError::Malformed, "{text}");
        }
    }

    #[tokio::test]
    async fn a_header_is_held_to_what_is_known() {
        let daemon = Daemon::new();
        let without = daemon.forged(|header, _| drop(header.as_object_mut().unwrap().remove("kid")));
        assert_eq!(daemon.refusal(&without).await, TokenError::NoKey);
        let unknown = daemon.forged(|header, _| header["kid"] = json!("nobody's"));
        assert_eq!(daemon.refusal(&unknown).await, TokenError::UnknownKey);
        let critical = daemon.forged(|header, _| {
            header["crit"] = json!(["b64"]);
            header["b64"] = json!(false);
        });
        assert_eq!(daemon.refusal(&critical).await, TokenError::Critical);
        for kind in [json!("JWT"), json!("AT+JWT"), json!("id+jwt"), Value::Null] {
            let token = daemon.forged(|header, _| header["typ"] = kind.clone());
            assert_eq!(daemon.refusal(&token).await, TokenError::WrongType("at+jwt"), "{kind}");
        }
    }

    #[tokio::test]
    async fn keys_that_a_token_brings_along_are_not_looked_at() {
        let daemon = Daemon::new();
        let stranger = super::super::keyring::fresh_key(Purpose::Tokens).unwrap();
        let mut stranger = SigningKey { secret: stranger.secret, ..daemon.key.clone() };
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public_key(stranger.secret.expose()).unwrap()),
            "kid": daemon.key.id,
        });
        let with_jwk = |key: &SigningKey| {
            let mut header = daemon.header();
            header["jwk"] = jwk.clone();
            header["kid"] = json!(key.id);
            // Nothing listens there: whoever fetched it would not get an answer that lets the token pass.
            header["jku"] = json!("http://127.0.0.1:1/keys");
            header["x5u"] = json!("http://127.0.0.1:1/chain");
            signed(key, &header, &claims())
        };
        assert_eq!(daemon.refusal(&with_jwk(&stranger)).await, TokenError::BadSignature);
        stranger.id = "stranger".to_owned();
        assert_eq!(daemon.refusal(&with_jwk(&stranger)).await, TokenError::UnknownKey);
        // Signed by our key, it is ours whatever it brings along.
        daemon.tokens.verify(&with_jwk(&daemon.key)).await.unwrap();
    }

    #[tokio::test]
    async fn a_long_token_is_refused_before_it_is_read() {
        let daemon = Daemon::new();
        let max = TokenOptions::default().token_bytes_max;
        assert_eq!(daemon.refusal(&"a".repeat(max + 1)).await, TokenError::TooLong(max));
        assert_eq!(daemon.refusal(&"a".repeat(max)).await, TokenError::Malformed);
        let long = daemon.forged(|_, claims| claims["more"] = json!("a".repeat(max)));
        assert_eq!(daemon.refusal(&long).await, TokenError::TooLong(max));
    }

    #[tokio::test]
    async fn a_retired_keys_tokens_count_until_it_ends() {
        let daemon = Daemon::new();
        let token = daemon.forged(|_, claims| claims["exp"] = json!(START + 1_000_000));
        let ends = daemon.place.now().after(Duration::from_secs(100));
        daemon.place.change(&daemon.key.id, |key| {
            key.signs_until = Some(Timestamp(START * 1000));
            key.verifies_until = Some(ends);
        });
        let next = daemon.place.add(Purpose::Tokens);
        // The next one signs, and the retired one verifies until it ends, although the token would live longer.
        let minted = daemon.tokens.mint(UserId::OPEN, SessionId::new()).await.unwrap();
        assert_eq!(jws::header(&minted.token, 8192).unwrap().key, next.id);
        daemon.place.pass(Duration::from_millis(99_999));
        daemon.tokens.verify(&token).await.unwrap();
        daemon.place.pass(Duration::from_millis(1));
        assert_eq!(daemon.refusal(&token).await, TokenError::UnknownKey);
        daemon.tokens.verify(&minted.token).await.unwrap();
    }

    #[tokio::test]
    async fn however_many_bad_tokens_come_the_store_is_read_now_and_then_alone() {
        let daemon = Daemon::new();
        let minted = daemon.tokens.mint(UserId::OPEN, SessionId::new()).await.unwrap();
        for number in 0..1000 {
            let token = daemon.forged(|header, _| header["kid"] = json!(format!("k{number}")));
            assert_eq!(daemon.refusal(&token).await, TokenError::UnknownKey);
            daemon.place.pass(Duration::from_millis(10));
        }
        // In ten seconds: at the beginning, and after five each.
        assert!((2..=4).contains(&daemon.place.loads()), "{}", daemon.place.loads());
        daemon.tokens.verify(&minted.token).await.unwrap();
        assert!(KeyringOptions::default().reload_min >= Duration::from_secs(5));
    }

    #[test]
    fn options_that_cannot_work_are_refused_by_key() {
        let defaults = TokenOptions::default();
        defaults.validate().unwrap();
        let (minute, month) = (Duration::from_secs(60), Duration::from_secs(31 * 24 * 3600));
        for (options, key) in [
            (TokenOptions { issuer: String::new(), ..defaults.clone() }, "auth.issuer"),
            (TokenOptions { audience: "a".repeat(256), ..defaults.clone() }, "auth.audience"),
            (TokenOptions { lifetime: minute / 2, ..defaults.clone() }, "auth.access_token_lifetime"),
            (TokenOptions { lifetime: month, ..defaults.clone() }, "auth.access_token_lifetime"),
            (TokenOptions { leeway: 6 * minute, ..defaults.clone() }, "auth.clock_leeway"),
            (TokenOptions { token_bytes_max: 1 << 20, ..defaults.clone() }, "auth.token_bytes_max"),
            (TokenOptions { key_overlap: minute, ..defaults.clone() }, "auth.key_overlap"),
            (TokenOptions { key_overlap: month, ..defaults.clone() }, "auth.key_overlap"),
        ] {
            let refusal = options.validate().unwrap_err();
            assert!(refusal.contains(key), "{refusal}");
        }
    }
}
