//! `/.well-known/jwks.json` (RFC 7517): the public keys of access tokens, for others who verify them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darkroom_store::model::signing_keys::{Purpose, SigningKey};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;

use super::jws::TokenError;
use super::keyring::Keyring;
use super::tokens::{TokenOptions, public_key};
use crate::problem::Problem;
use crate::response::{self, Answer};

/// Longest that anybody is to keep the keys.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// A set of keys (RFC 7517, section 5).
#[derive(Debug, Serialize)]
struct Set {
    keys: Vec<PublicKey>,
}

/// An Ed25519 key (RFC 8037, section 2).
#[derive(Debug, Serialize)]
struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
}

impl PublicKey {
    fn of(key: &SigningKey) -> Option<Self> {
        let x = URL_SAFE_NO_PAD.encode(public_key(key.secret.expose())?);
        Some(Self { kty: "OKP", crv: "Ed25519", x, kid: key.id.clone(), purpose: "sig", alg: "EdDSA" })
    }
}

/// The answer: every key that verifies, those that will sign later included, to be kept for [`max_age`].
///
/// # Errors
/// `store-unavailable`.
pub async fn answer(keys: &Keyring, options: &TokenOptions) -> Result<Answer, Problem> {
    let keys = keys.verifying(Purpose::Tokens).await.map_err(|_| TokenError::KeysAway)?;
    let set = Set { keys: keys.iter().filter_map(PublicKey::of).collect() };
    let mut answer = response::json(StatusCode::OK, &set);
    let cache = format!("public, max-age={}", max_age(options).as_secs());
    if let Ok(cache) = HeaderValue::from_str(&cache) {
        answer.headers_mut().insert(CACHE_CONTROL, cache);
    }
    Ok(answer)
}

/// How long the answer may be kept: half of the overlap. With what a node's own copy may be old, which is less than the
/// other half, everyone has a new key before it signs.
pub fn max_age(options: &TokenOptions) -> Duration {
    (options.key_overlap / 2).min(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use jsonwebtoken::DecodingKey;
    use jsonwebtoken::jwk::JwkSet;

    use super::super::keyring::tests::Place;
    use super::super::tokens::Tokens;
    use super::*;
    use darkroom_store::model::{SessionId, UserId};

    #[tokio::test]
    async fn others_verify_tokens_by_what_is_published_and_no_secret_is() {
        let place = Place::new();
        let key = place.add(Purpose::Tokens);
        let over = place.add(Purpose::Tokens);
        place.change(&over.id, |key| key.verifies_until = Some(key.created));
        let link = place.add(Purpose::Links);
        let next = place.add(Purpose::Tokens);
        place.change(&next.id, |key| key.signs_from = key.created.after(Duration::from_secs(3600)));
        let (keyring, options) = (place.keyring(), TokenOptions::default());
        let answer = answer(&keyring, &options).await.unwrap();
        assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=1800");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        for key in [&key, &next, &over, &link] {
            assert!(!text.contains(&URL_SAFE_NO_PAD.encode(key.secret.expose())), "{text}");
        }
        let set: JwkSet = serde_json::from_slice(&body).unwrap();
        assert_eq!(set.keys.len(), 2, "{text}");
        let token = Tokens::new(keyring, options).mint(UserId::OPEN, SessionId::new()).await.unwrap().token;
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.kid.as_deref(), Some(key.id.as_str()));
        let public = DecodingKey::from_jwk(set.find(&key.id).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_audience(&["darkroom"]);
        validation.set_issuer(&["darkroom"]);
        validation.validate_exp = false; // The test's clock stands elsewhere.
        jsonwebtoken::decode::<serde_json::Value>(&token, &public, &validation).unwrap();
        assert!(set.find(&next.id).is_some());
    }

    #[test]
    fn who_keeps_the_answer_has_a_new_key_before_it_signs() {
        let day = Duration::from_secs(24 * 3600);
        for (overlap, age) in [(day * 30, day), (Duration::from_secs(300), Duration::from_secs(150))] {
            assert_eq!(max_age(&TokenOptions { key_overlap: overlap, ..TokenOptions::default() }), age);
        }
    }
}
