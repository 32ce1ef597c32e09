//! What a provider's claims must be, and who they say somebody is.

use serde_json::Value;

use super::options::ProviderOptions;
use crate::auth::jws::{Claims, Times, TokenError, has_one_of, text};

/// Longest subject (OpenID Connect Core 1.0, section 2).
const SUBJECT_BYTES_MAX: usize = 255;
/// Longest name that is taken over, in characters.
const NAME_CHARS_MAX: usize = 100;
/// Longest e-mail address (RFC 5321, section 4.5.3.1.3).
const EMAIL_BYTES_MAX: usize = 254;

/// Who somebody is, as an identity provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// Whom it means. Nobody else of that provider is ever called so.
    pub subject: String,
    /// What they are called.
    pub name: Option<String>,
    /// Their e-mail address, if the provider says that it has verified it.
    pub email: Option<String>,
}

/// Looks at the claims of a token whose signature has been verified.
pub(super) fn check(
    claims: &Claims,
    options: &ProviderOptions,
    times: Times,
) -> Result<Identity, TokenError> {
    if text(claims, "iss")? != options.issuer {
        return Err(TokenError::WrongIssuer);
    }
    times.check(claims)?;
    check_audience(claims, options)?;
    for (name, wanted) in &options.required_claims {
        if !claims.get(name).is_some_and(|value| is(name, value, wanted)) {
            return Err(TokenError::Lacks(name.clone()));
        }
    }
    let subject = text(claims, "sub")?;
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(TokenError::BadClaim("sub"));
    }
    Ok(Identity {
        issuer: options.issuer.clone(),
        subject: subject.to_owned(),
        name: name(claims, &options.name_claim),
        email: email(claims, &options.email_claim),
    })
}

fn check_audience(claims: &Claims, options: &ProviderOptions) -> Result<(), TokenError> {
    let audience = claims.get("aud");
    let is_ours = match &options.audiences[..] {
        // Whoever does not find itself in an audience must refuse the token (RFC 7519, section 4.1.3).
        [] => audience.is_none(),
        wanted => has_one_of(audience, wanted),
    };
    if !is_ours {
        return Err(TokenError::WrongAudience);
    }
    let client = claims.get("client_id").or_else(|| claims.get("azp"));
    if !options.client_ids.is_empty()
        && !has_one_of(client.filter(|client| client.is_string()), &options.client_ids)
    {
        return Err(TokenError::WrongClient);
    }
    Ok(())
}

/// Whether a claim is what it must be, or a list that has it. `scope` is a list whose words stand apart by spaces (RFC
/// 8693, section 4.2).
fn is(name: &str, value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) if name == "scope" => text.split(' ').any(|word| word == wanted),
        Value::String(text) => text == wanted,
        Value::Bool(value) => wanted == if *value { "true" } else { "false" },
        Value::Number(number) => {
            let text = number.to_string();
            text == wanted
        }
        Value::Array(values) => values.iter().any(|value| value.as_str() == Some(wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

fn name(claims: &Claims, claim: &str) -> Option<String> {
    let name = claims.get(claim)?.as_str()?;
    let shown: String = name.chars().filter(|c| !c.is_control()).collect();
    let name: String = shown.trim().chars().take(NAME_CHARS_MAX).collect();
    (!name.is_empty()).then_some(name)
}

fn email(claims: &Claims, claim: &str) -> Option<String> {
    // Some providers write it as text.
    let is_verified = match claims.get("email_verified")? {
        Value::Bool(verified) => *verified,
        Value::String(verified) => verified == "true",
        _ => false,
    };
    let email = claims.get(claim)?.as_str()?;
    let (local, domain) = email.rsplit_once('@')?;
    let is_address = !local.is_empty()
        && !domain.is_empty()
        && email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    (is_verified && is_address).then(|| email.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(claims) = value else { panic!("no object") };
        claims
    }

    #[test]
    fn an_address_counts_only_where_it_was_verified() {
        for (value, expected) in [
            (json!({"email": "a@b.example", "email_verified": true}), Some("a@b.example")),
            (json!({"email": "a@b.example", "email_verified": "true"}), Some("a@b.example")),
            (json!({"email": "a@b.example", "email_verified": false}), None),
            (json!({"email": "a@b.example", "email_verified": "false"}), None),
            (json!({"email": "a@b.example", "email_verified": 1}), None),
            (json!({"email": "a@b.example"}), None),
            (json!({"email": "a b@c.example", "email_verified": true}), None),
            (json!({"email": "@c.example", "email_verified": true}), None),
            (json!({"email": ["a@b.example"], "email_verified": true}), None),
            (json!({"email": format!("{}@b.example", "a".repeat(250)), "email_verified": true}), None),
        ] {
            assert_eq!(email(&claims(value.clone()), "email").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_name_is_what_can_be_shown() {
        let of = |value: Value| name(&claims(json!({"name": value})), "name");
        assert_eq!(of(json!("  Ann\u{0} Lee\n")), Some("Ann Lee".to_owned()));
        assert_eq!(of(json!("a".repeat(200))).map(|name| name.len()), Some(NAME_CHARS_MAX));
        for nothing in [json!(" \n"), json!(7), Value::Null] {
            assert_eq!(of(nothing), None);
        }
    }

    #[test]
    fn a_required_claim_is_the_whole_value_or_in_the_list() {
        for (name, value, wanted, found) in [
            ("token_use", json!("access"), "access", true),
            ("token_use", json!("accessory"), "access", false),
            ("scope", json!("openid photos"), "photos", true),
            ("scope", json!("photos:read"), "photos", false),
            ("groups", json!(["a", "photos"]), "photos", true),
            ("groups", json!("a photos"), "photos", false),
            ("email_verified", json!(true), "true", true),
            ("realm", json!({"photos": 1}), "photos", false),
            ("realm", Value::Null, "null", false),
        ] {
            assert_eq!(is(name, &value, wanted), found, "{name}: {value}");
        }
    }
}
