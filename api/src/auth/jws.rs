//! How a token is written (RFC 7515, RFC 7519), and what can be wrong with one.
//!
//! A token chooses nothing: it names a key, and the key says by which algorithm it is verified. Keys that a token
//! brings along (`jwk`, `x5c`) or tells where to find (`jku`, `x5u`) are not looked at.

use darkroom_store::model::Timestamp;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::crypto;
use crate::problem::Problem;

/// The claims of a token, by name.
pub type Claims = Map<String, Value>;

/// What is wrong with a token. Nothing of the token itself is told, but names of claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any that is taken.
    #[error(
        "the token is longer than {0} bytes, and longer ones are not read: ask for one with fewer claims"
    )]
    TooLong(usize),
    /// Not three parts of base64 with JSON in them, or by an algorithm that nobody should use (`none`).
    #[error("the token is no signed JWT: send it whole, as it was issued")]
    Malformed,
    /// It has extensions that its reader must understand, and none are understood here.
    #[error("the token has critical extensions (crit), and none are known here")]
    Critical,
    /// It is a token of another kind.
    #[error("the token is no access token (its typ is not {0}): send the access token, not another one")]
    WrongType(&'static str),
    /// It does not name its key.
    #[error("the token names no key (kid): ask for a new one")]
    NoKey,
    /// Nobody has the key that it names, or has it no more.
    #[error("the token is signed with a key that is not known, or no more: sign in again")]
    UnknownKey,
    /// The key is not for the algorithm that the token says.
    #[error("the token says another algorithm than its key is for")]
    WrongAlgorithm,
    /// The signature is not that of the key over these bytes.
    #[error("the token's signature is wrong: it was changed, or cut off")]
    BadSignature,
    /// It has expired.
    #[error("the token has expired: refresh it, or sign in again")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet: compare the clocks of whoever issued it and of this server")]
    NotYet,
    /// A claim is missing or cannot be read.
    #[error("the token has no {0} that could be read")]
    BadClaim(&'static str),
    /// Nobody whose tokens are taken has issued it.
    #[error("the token is of an issuer whose tokens are not taken here")]
    WrongIssuer,
    /// It is meant for somebody else.
    #[error("the token is for another audience: ask for one for this server")]
    WrongAudience,
    /// It is for another client of the provider.
    #[error("the token is of another client (client_id, azp) than those whose tokens are taken here")]
    WrongClient,
    /// A claim that is required is missing or another.
    #[error("the token lacks the claim {0} as it is required here")]
    Lacks(String),
    /// The keys of this daemon could not be read.
    #[error("the keys by which tokens are verified cannot be read now: try again")]
    KeysAway,
    /// The keys of an identity provider could not be fetched.
    #[error("the keys of the identity provider {issuer} cannot be fetched now: try again")]
    ProviderAway {
        /// Which.
        issuer: String,
        /// Seconds until they are fetched again.
        again_after: u64,
    },
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::KeysAway => Self::new("store-unavailable", detail).retry_after(1),
            TokenError::ProviderAway { again_after, .. } => {
                Self::new("identity-provider-unavailable", detail).retry_after(again_after)
            }
            _ => invalid_token(detail),
        }
    }
}

/// 401 with the challenge of RFC 6750, section 3.
pub(crate) fn invalid_token(detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    // What a quoted string of a challenge may hold (RFC 6750, section 3): the rest is left out.
    let quotable = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    let description: String = detail.chars().filter(|c| quotable(*c)).collect();
    let challenge =
        format!("Bearer realm=\"darkroom\", error=\"invalid_token\", error_description=\"{description}\"");
    let mut problem = Problem::new("invalid-token", detail);
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        problem.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    problem
}

/// A token's header, of which nothing has been verified.
#[derive(Clone, Debug)]
pub struct Header {
    /// The key that it names.
    pub key: String,
    /// The algorithm that it says. Good for a comparison with its key's.
    pub algorithm: Algorithm,
    /// What kind of token it says that it is.
    pub kind: Option<String>,
}

/// Reads the header of a token of at most `bytes_max` bytes, which are counted before anything is read.
///
/// # Errors
/// [`TokenError`].
pub fn header(token: &str, bytes_max: usize) -> Result<Header, TokenError> {
    check_length(token, bytes_max)?;
    // Of an algorithm that is not known, such as `none`, there is no header.
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let key = header.kid.filter(|key| !key.is_empty()).ok_or(TokenError::NoKey)?;
    Ok(Header { key, algorithm: header.alg, kind: header.typ })
}

fn check_length(token: &str, bytes_max: usize) -> Result<(), TokenError> {
    if token.len() > bytes_max { Err(TokenError::TooLong(bytes_max)) } else { Ok(()) }
}

/// Who a token says has issued it. Nothing is verified: it tells whose keys are to be asked, and no more.
///
/// # Errors
/// [`TokenError`].
pub fn unverified_issuer(token: &str, bytes_max: usize) -> Result<String, TokenError> {
    check_length(token, bytes_max)?;
    let claims = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| TokenError::Malformed)?;
    text(&claims, "iss").map(str::to_owned)
}

/// A public key with the one algorithm that it is for.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// The algorithm.
    pub algorithm: Algorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    /// Of a key, for an algorithm of its family.
    pub(super) fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        crypto::install();
        Self { algorithm, key }
    }

    /// The claims of a token that this key has signed. Nothing of them has been looked at.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn claims(&self, token: &str, header: &Header) -> Result<Claims, TokenError> {
        if header.algorithm != self.algorithm {
            return Err(TokenError::WrongAlgorithm);
        }
        let mut signature_alone = Validation::new(self.algorithm);
        // These are looked at by a clock that tests can set, and with words for what is wrong: see `Times`.
        signature_alone.required_spec_claims.clear();
        signature_alone.validate_exp = false;
        signature_alone.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &signature_alone);
        decoded.map(|token| token.claims).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::BadSignature,
            _ => TokenError::Malformed,
        })
    }
}

/// A claim that is text.
///
/// # Errors
/// [`TokenError::BadClaim`].
pub fn text<'c>(claims: &'c Claims, name: &'static str) -> Result<&'c str, TokenError> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(TokenError::BadClaim(name))
}

/// A claim that is a time (RFC 7519, NumericDate: seconds since the Unix epoch, of which fractions count). `None` where
/// it is absent.
///
/// # Errors
/// [`TokenError::BadClaim`] for what is no such number: never is that taken for absent.
pub fn time(claims: &Claims, name: &'static str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64().map(|seconds| seconds.saturating_mul(1000));
    // Beyond what a number of JSON holds exactly there are no times.
    let seconds = value.as_f64().filter(|seconds| (0.0..9e15).contains(seconds));
    let millis = whole.or_else(|| seconds.map(|seconds| (seconds * 1000.0) as u64));
    millis.map(Timestamp).map(Some).ok_or(TokenError::BadClaim(name))
}

/// When claims are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// By this clock.
    pub now: Timestamp,
    /// By how much clocks may differ.
    pub leeway: std::time::Duration,
}

impl Times {
    /// Looks at `exp`, which must be there, and at `nbf` and `iat`, if they are.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check(&self, claims: &Claims) -> Result<Timestamp, TokenError> {
        let expires = time(claims, "exp")?.ok_or(TokenError::BadClaim("exp"))?;
        let begins = [time(claims, "nbf")?, time(claims, "iat")?].into_iter().flatten().max();
        if begins.is_some_and(|begins| begins > self.now.after(self.leeway)) {
            return Err(TokenError::NotYet);
        }
        if expires.after(self.leeway) <= self.now {
            return Err(TokenError::Expired);
        }
        Ok(expires)
    }
}

/// Whether a claim that is text or a list of texts, such as `aud`, has one of these.
pub fn has_one_of(claim: Option<&Value>, wanted: &[String]) -> bool {
    let is_wanted =
        |value: &Value| value.as_str().is_some_and(|text| wanted.iter().any(|wanted| wanted == text));
    match claim {
        Some(Value::Array(values)) => values.iter().any(is_wanted),
        Some(value) => is_wanted(value),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(claims) = value else { panic!("no object") };
        claims
    }

    #[test]
    fn a_time_that_is_no_number_is_not_taken_for_an_absent_one() {
        let times = Times { now: Timestamp(1_000_000), leeway: Duration::from_secs(10) };
        assert_eq!(times.check(&claims(json!({"exp": 1_500}))), Ok(Timestamp(1_500_000)));
        assert_eq!(times.check(&claims(json!({"exp": 1_500.25}))), Ok(Timestamp(1_500_250)));
        for exp in [
            json!(null),
            json!("1500"),
            json!(-1),
            json!([1500]),
            json!({}),
            json!(true),
            json!(1e300),
            json!(-0.5),
        ] {
            let found = times.check(&claims(json!({ "exp": exp })));
            assert_eq!(found, Err(TokenError::BadClaim("exp")), "{exp}");
            for other in ["nbf", "iat"] {
                let found = times.check(&claims(json!({ "exp": 1_500, other: exp })));
                assert!(matches!(found, Err(TokenError::BadClaim(_))), "{other}: {exp}");
            }
        }
        assert_eq!(times.check(&claims(json!({}))), Err(TokenError::BadClaim("exp")));
    }

    #[test]
    fn clocks_may_differ_by_the_leeway_and_no_more() {
        let times = Times { now: Timestamp(1_000_000), leeway: Duration::from_secs(10) };
        for (value, outcome) in [
            (json!({"exp": 991}), None),
            (json!({"exp": 990}), Some(TokenError::Expired)),
            (json!({"exp": 2_000, "nbf": 1_010}), None),
            (json!({"exp": 2_000, "nbf": 1_011}), Some(TokenError::NotYet)),
            (json!({"exp": 2_000, "iat": 1_011}), Some(TokenError::NotYet)),
        ] {
            assert_eq!(times.check(&claims(value.clone())).err(), outcome, "{value}");
        }
    }

    #[test]
    fn a_refusal_is_401_with_a_challenge_that_says_what_is_wrong() {
        for error in
            [TokenError::Expired, TokenError::WrongType("at+jwt"), TokenError::Lacks("a\"b\\c\n".to_owned())]
        {
            let problem = Problem::from(error.clone());
            assert!(problem.is("invalid-token") && problem.status == 401, "{error:?}");
            let answer = problem.into_answer();
            let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm=\"darkroom\", error=\"invalid_token\", error_desc"));
            assert_eq!(challenge.matches('"').count(), 6, "{challenge}");
        }
        let expired = Problem::from(TokenError::Expired).detail;
        assert!(expired.contains("expired"), "{expired}");
    }

    #[test]
    fn what_nobody_knows_now_is_no_401() {
        let away = TokenError::ProviderAway { issuer: "https://a.example".to_owned(), again_after: 10 };
        let problem = Problem::from(away);
        assert!(problem.is("identity-provider-unavailable") && problem.retry_after == Some(10));
        assert_eq!(Problem::from(TokenError::KeysAway).status, 503);
    }
}
