//! The keys of a provider: where they are, and which of them verify what.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::options::{ProviderAlgorithm, ProviderOptions, reachable_as};
use crate::auth::jws::VerifyingKey;
use crate::outbound::{Fetch, Transport};

/// Most keys that are taken of a provider: the largest publish some ten.
const KEYS_MAX: usize = 100;
/// Bits of the smallest and the largest RSA key (what ring verifies).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key with its name.
#[derive(Clone, Debug)]
pub(super) struct NamedKey {
    /// `kid`.
    pub(super) id: String,
    pub(super) key: VerifyingKey,
}

/// What is needed of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Set {
    /// Each is read by itself, so that one that nobody knows spoils no other.
    keys: Vec<Value>,
}

/// A key as providers publish it (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2).
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Fetches a provider's keys.
///
/// # Errors
/// A sentence for the log.
pub(super) async fn fetch(fetch: &dyn Fetch, options: &ProviderOptions) -> Result<Vec<NamedKey>, String> {
    let url = jwks_url(fetch, options).await?;
    let body = fetch.fetch(&url).await.map_err(|reason| format!("{url}: {reason}"))?;
    let set: Set =
        serde_json::from_slice(&body).map_err(|error| format!("{url} is no set of keys: {error}"))?;
    let mut keys = Vec::new();
    for value in set.keys {
        match read(value, &options.algorithms) {
            Ok(key) => keys.push(key),
            Err(reason) => {
                tracing::debug!(issuer = options.issuer, reason, "a key of a provider is left out");
            }
        }
    }
    if keys.is_empty() {
        return Err(format!("{url} has no key for any of auth.providers.algorithms"));
    }
    if keys.len() > KEYS_MAX {
        tracing::warn!(
            issuer = options.issuer,
            "a provider has more than {KEYS_MAX} keys: the others are left out"
        );
        keys.truncate(KEYS_MAX);
    }
    Ok(keys)
}

async fn jwks_url(fetch: &dyn Fetch, options: &ProviderOptions) -> Result<String, String> {
    if !options.jwks_url.is_empty() {
        return Ok(options.jwks_url.clone());
    }
    let url = options.discovery_url();
    let body = fetch.fetch(&url).await.map_err(|reason| format!("{url}: {reason}"))?;
    let found: Discovery =
        serde_json::from_slice(&body).map_err(|error| format!("{url} is no discovery document: {error}"))?;
    // Else whoever serves the document could vouch for somebody else's users (OpenID Connect Discovery, section 4.3).
    if found.issuer != options.issuer {
        return Err(format!("{url} is of the issuer {:?}: set auth.providers.issuer to that", found.issuer));
    }
    reachable_as(Transport::of(&options.issuer)?, &found.jwks_uri)?;
    Ok(found.jwks_uri)
}

/// A key, for the one algorithm that its kind and curve allow.
fn read(value: Value, allowed: &[ProviderAlgorithm]) -> Result<NamedKey, String> {
    let key: Published =
        serde_json::from_value(value).map_err(|error| format!("it cannot be read: {error}"))?;
    let id = key.kid.clone().filter(|id| !id.is_empty()).ok_or("it has no kid")?;
    if key.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err(format!("{id} is not for signatures"));
    }
    if key.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err(format!("{id} does not verify"));
    }
    let (algorithm, decoding) = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => (ProviderAlgorithm::RS256, rsa(&key)?),
        ("EC", Some("P-256")) => (ProviderAlgorithm::ES256, point(&key)?),
        ("OKP", Some("Ed25519")) => {
            let x = exactly(key.x.as_deref(), 32)?;
            (ProviderAlgorithm::EdDSA, DecodingKey::from_ed_der(&x))
        }
        (kty, crv) => {
            return Err(format!("{id} is of a kind that is not known: {kty} {}", crv.unwrap_or_default()));
        }
    };
    if key.alg.as_deref().is_some_and(|alg| alg != algorithm.as_str()) || !allowed.contains(&algorithm) {
        return Err(format!("{id} is for an algorithm that is not taken"));
    }
    Ok(NamedKey { id, key: VerifyingKey::new(algorithm.into(), decoding) })
}

fn rsa(key: &Published) -> Result<DecodingKey, String> {
    let number = |text: &Option<String>| -> Result<Vec<u8>, String> {
        let bytes = decoded(text.as_deref())?;
        // Some write a sign's byte of 0 before it, which ring refuses.
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok(bytes[zeros..].to_vec())
    };
    let (n, e) = (number(&key.n)?, number(&key.e)?);
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("an RSA key of {bits} bits, and those from 2048 to 8192 are taken"));
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

/// Uncompressed, as ring takes it.
fn point(key: &Published) -> Result<DecodingKey, String> {
    let (x, y) = (exactly(key.x.as_deref(), 32)?, exactly(key.y.as_deref(), 32)?);
    Ok(DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat()))
}

fn exactly(text: Option<&str>, bytes: usize) -> Result<Vec<u8>, String> {
    let decoded = decoded(text)?;
    if decoded.len() == bytes { Ok(decoded) } else { Err(format!("a coordinate has not {bytes} bytes")) }
}

fn decoded(text: Option<&str>) -> Result<Vec<u8>, String> {
    let text = text.ok_or("a part of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a part of the key is no base64url".to_owned())
}

impl From<ProviderAlgorithm> for Algorithm {
    fn from(algorithm: ProviderAlgorithm) -> Self {
        match algorithm {
            ProviderAlgorithm::RS256 => Self::RS256,
            ProviderAlgorithm::ES256 => Self::ES256,
            ProviderAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn algorithm_of(key: Value) -> Result<Algorithm, String> {
        read(key, &ProviderAlgorithm::ALL).map(|key| key.key.algorithm)
    }

    #[test]
    fn a_keys_kind_says_what_it_verifies() {
        let rsa =
            |bytes: usize| json!({"kty": "RSA", "kid": "a", "n": base64(&vec![0xC1; bytes]), "e": "AQAB"});
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        assert_eq!(algorithm_of(rsa(256)), Ok(Algorithm::RS256));
        assert_eq!(
            algorithm_of(with(rsa(256), "n", json!(base64(&[&[0][..], &[0xC1; 256]].concat())))),
            Ok(Algorithm::RS256)
        );
        let ec =
            json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": base64(&[1; 32]), "y": base64(&[2; 32])});
        assert_eq!(algorithm_of(ec.clone()), Ok(Algorithm::ES256));
        let ed = json!({"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": base64(&[1; 32]), "use": "sig", "alg": "EdDSA"});
        assert_eq!(algorithm_of(ed.clone()), Ok(Algorithm::EdDSA));
        for refused in [
            rsa(128),
            rsa(255),
            rsa(1025),
            with(rsa(256), "n", json!(base64(&[&[0; 255][..], &[1]].concat()))),
            with(rsa(256), "n", json!("")),
            with(rsa(256), "alg", json!("HS256")),
            with(rsa(256), "alg", json!("RSA-OAEP")),
            with(rsa(256), "use", json!("enc")),
            with(rsa(256), "key_ops", json!(["sign"])),
            with(rsa(256), "kid", Value::Null),
            with(rsa(256), "kid", json!("")),
            with(ec.clone(), "crv", json!("P-384")),
            with(ec.clone(), "x", json!(base64(&[1; 31]))),
            with(ec, "y", Value::Null),
            with(ed.clone(), "crv", json!("X25519")),
            with(ed, "x", json!("***")),
            json!({"kty": "oct", "kid": "a", "k": base64(&[1; 32]), "alg": "HS256"}),
            json!({"kid": "a"}),
            json!("a"),
        ] {
            assert!(algorithm_of(refused.clone()).is_err(), "{refused}");
        }
        let only_es256 = read(rsa(256), &[ProviderAlgorithm::ES256]);
        assert!(only_es256.unwrap_err().contains("not taken"));
    }
}
