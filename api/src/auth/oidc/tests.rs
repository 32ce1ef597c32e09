//! Against a provider that is an HTTP server in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{hmac, rsa};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::auth::keyring::tests::START;

/// A key of a provider, with what it publishes of it.
enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// The one RSA key of the tests, made by OpenSSL for them.
    fn rsa() -> Self {
        let key = STANDARD.decode(include_str!("rsa-of-tests.pk8.base64")).unwrap();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&key).unwrap()))
    }

    fn ec() -> Self {
        let (random, signing) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(signing, key.as_ref(), &random).unwrap())
    }

    fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    fn published(&self, id: &str) -> Value {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match self {
            Self::Rsa(key) => {
                let public: rsa::PublicKeyComponents<Vec<u8>> = key.public().into();
                json!({"kty": "RSA", "n": base64(&public.n), "e": base64(&public.e)})
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
            Self::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key().as_ref())}),
        };
        key["kid"] = json!(id);
        key["use"] = json!("sig");
        key["alg"] = json!(self.algorithm());
        key
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, id: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": id}), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encoded(header), encoded(claims))
}

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// What a provider serves, and how often it was asked for it.
#[derive(Default)]
struct Served {
    answers: Mutex<HashMap<String, (u16, String)>>,
    asked: Mutex<HashMap<String, u64>>,
    /// Connections are closed without a word.
    is_down: AtomicBool,
}

/// An identity provider on this machine, and a daemon that takes its tokens.
struct World {
    served: Arc<Served>,
    issuer: String,
    millis: Arc<AtomicU64>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl World {
    async fn new(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Served::default());
        let serving = Arc::clone(&served);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&serving)));
            }
        });
        let world = Self { served, issuer, millis: Arc::new(AtomicU64::new(START * 1000)), server };
        let document = json!({"issuer": world.issuer, "jwks_uri": format!("{}{KEYS}", world.issuer)});
        world.serve(DISCOVERY, 200, &document);
        world.publish(keys);
        world
    }

    fn serve(&self, path: &str, status: u16, body: &Value) {
        self.served.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_string()));
    }

    fn publish(&self, keys: &[Value]) {
        self.serve(KEYS, 200, &json!({ "keys": keys }));
    }

    fn asked(&self, path: &str) -> u64 {
        self.served.asked.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    fn set_down(&self, is_down: bool) {
        self.served.is_down.store(is_down, Ordering::Relaxed);
    }

    fn pass(&self, time: Duration) {
        self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    fn options(&self) -> ProviderOptions {
        ProviderOptions {
            issuer: self.issuer.clone(),
            audiences: vec!["photos".to_owned()],
            ..ProviderOptions::default()
        }
    }

    fn providers(&self, options: ProviderOptions) -> Providers {
        options.validate().unwrap();
        let limits = Limits { leeway: Duration::from_secs(30), token_bytes_max: 8 << 10 };
        Providers::new(&[options], limits, Clock::set(Arc::clone(&self.millis)))
    }

    fn claims(&self) -> Value {
        json!({"iss": self.issuer, "aud": "photos", "sub": "7", "iat": START, "exp": START + 1_000_000})
    }
}

async fn answer(mut stream: TcpStream, served: Arc<Served>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    *served.asked.lock().unwrap().entry(path.clone()).or_default() += 1;
    if served.is_down.load(Ordering::Relaxed) {
        return;
    }
    let answer = served.answers.lock().unwrap().get(&path).cloned();
    let (status, body) = answer.unwrap_or((404, String::new()));
    let location =
        if status == 302 { format!("location: {}\r\n", body.trim_matches('"')) } else { String::new() };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{location}connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

fn away(world: &World) -> TokenError {
    TokenError::ProviderAway { issuer: world.issuer.clone(), again_after: 10 }
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_taken_by_keys_that_were_discovered() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let keys: Vec<_> = signers.iter().map(|signer| signer.published(signer.algorithm())).collect();
    let world = World::new(&keys).await;
    let providers = world.providers(world.options());
    for signer in &signers {
        let token = signer.token(signer.algorithm(), &world.claims());
        let identity = providers.verify(&token).await.unwrap();
        assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (world.issuer.as_str(), "7"));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut changed = URL_SAFE_NO_PAD.decode(signature).unwrap();
        changed[10] ^= 1;
        let changed = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(changed));
        assert_eq!(providers.verify(&changed).await, Err(TokenError::BadSignature), "{}", signer.algorithm());
    }
    assert_eq!((world.asked(DISCOVERY), world.asked(KEYS)), (1, 1));
}

#[tokio::test]
async fn where_the_keys_are_may_be_told() {
    let signer = Signer::ed();
    let world = World::new(&[signer.published("a")]).await;
    let options = ProviderOptions { jwks_url: format!("{}{KEYS}", world.issuer), ..world.options() };
    world.providers(options).verify(&signer.token("a", &world.claims())).await.unwrap();
    assert_eq!((world.asked(DISCOVERY), world.asked(KEYS)), (0, 1));
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_first_named_and_unknown_names_cost_few_requests() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let world = World::new(&[old.published("old")]).await;
    let providers = world.providers(world.options());
    providers.verify(&old.token("old", &world.claims())).await.unwrap();
    world.publish(&[old.published("old"), new.published("new")]);
    world.pass(world.options().refresh_min);
    // Many come at once, and share one fetch.
    let token = new.token("new", &world.claims());
    let verified = (0..50).map(|_| providers.verify(&token));
    for identity in futures_util::future::join_all(verified).await {
        identity.unwrap();
    }
    assert_eq!(world.asked(KEYS), 2);
    // In a minute, one every ten seconds.
    for number in 0..600 {
        let token = old.token(&format!("nobody's {number}"), &world.claims());
        assert_eq!(providers.verify(&token).await, Err(TokenError::UnknownKey));
        world.pass(Duration::from_millis(100));
    }
    assert!((7..=9).contains(&world.asked(KEYS)), "{}", world.asked(KEYS));
    // What was withdrawn counts no more when the keys are old.
    world.publish(&[new.published("new")]);
    world.pass(world.options().cache);
    let old = old.token("old", &world.claims());
    while providers.verify(&old).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(providers.verify(&old).await, Err(TokenError::UnknownKey));
    providers.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_document_of_another_issuer_vouches_for_nobody() {
    let signer = Signer::ed();
    let world = World::new(&[signer.published("a")]).await;
    let token = signer.token("a", &world.claims());
    for document in [
        json!({"issuer": "https://login.example", "jwks_uri": format!("{}{KEYS}", world.issuer)}),
        json!({"issuer": format!("{}/", world.issuer), "jwks_uri": format!("{}{KEYS}", world.issuer)}),
        json!({"issuer": world.issuer, "jwks_uri": "http://10.0.0.1/keys"}),
        json!({"issuer": world.issuer, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": world.issuer}),
        json!([]),
    ] {
        world.serve(DISCOVERY, 200, &document);
        let providers = world.providers(world.options());
        assert_eq!(providers.verify(&token).await, Err(away(&world)), "{document}");
    }
    assert_eq!(world.asked(KEYS), 0);
}

#[tokio::test]
async fn neither_redirects_nor_endless_answers_are_followed() {
    let signer = Signer::ed();
    let world = World::new(&[signer.published("a")]).await;
    let token = signer.token("a", &world.claims());
    world.serve(KEYS, 302, &json!("/other"));
    world.serve("/other", 200, &json!({"keys": [signer.published("a")]}));
    assert_eq!(world.providers(world.options()).verify(&token).await, Err(away(&world)));
    assert_eq!(world.asked("/other"), 0);
    let long = json!({"keys": [signer.published("a")], "more": "a".repeat(1 << 20)});
    world.serve(KEYS, 200, &long);
    assert_eq!(world.providers(world.options()).verify(&token).await, Err(away(&world)));
    for useless in
        [json!({"keys": []}), json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}), json!("keys")]
    {
        world.serve(KEYS, 200, &useless);
        assert_eq!(world.providers(world.options()).verify(&token).await, Err(away(&world)), "{useless}");
    }
}

#[tokio::test]
async fn a_key_verifies_by_no_other_algorithm_than_its_own() {
    let (rsa, ec) = (Signer::rsa(), Signer::ec());
    let world = World::new(&[rsa.published("rsa"), ec.published("ec")]).await;
    let providers = world.providers(world.options());
    // HMAC, with each form of the public key as the secret.
    let Signer::Rsa(key) = &rsa else { panic!("it is RSA") };
    let public: rsa::PublicKeyComponents<Vec<u8>> = key.public().into();
    let published = rsa.published("rsa").to_string();
    for secret in [key.public().as_ref(), &public.n, published.as_bytes()] {
        let message = message(&json!({"alg": "HS256", "kid": "rsa"}), &world.claims());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(providers.verify(&token).await, Err(TokenError::WrongAlgorithm));
    }
    for (signer, header, refusal) in [
        (&rsa, json!({"alg": "none", "kid": "rsa"}), TokenError::Malformed),
        (&rsa, json!({"alg": "RS384", "kid": "rsa"}), TokenError::WrongAlgorithm),
        (&rsa, json!({"alg": "PS256", "kid": "rsa"}), TokenError::WrongAlgorithm),
        (&rsa, json!({"alg": "RS256", "kid": "ec"}), TokenError::WrongAlgorithm),
        (&ec, json!({"alg": "ES256", "kid": "rsa"}), TokenError::WrongAlgorithm),
        (&ec, json!({"alg": "RS256", "kid": "rsa"}), TokenError::BadSignature),
        (&ec, json!({"alg": "ES256"}), TokenError::NoKey),
        (&ec, json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]}), TokenError::Critical),
    ] {
        let token = signer.token_with(&header, &world.claims());
        assert_eq!(providers.verify(&token).await, Err(refusal), "{header}");
    }
    // What the configuration does not list, no key verifies.
    let options = ProviderOptions { algorithms: vec![ProviderAlgorithm::ES256], ..world.options() };
    let providers = world.providers(options);
    providers.verify(&ec.token("ec", &world.claims())).await.unwrap();
    assert_eq!(providers.verify(&rsa.token("rsa", &world.claims())).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn one_name_may_be_that_of_keys_of_two_kinds() {
    let (rsa, ec) = (Signer::rsa(), Signer::ec());
    let world = World::new(&[rsa.published("a"), ec.published("a")]).await;
    let providers = world.providers(world.options());
    for signer in [&rsa, &ec] {
        providers.verify(&signer.token("a", &world.claims())).await.unwrap();
    }
}

#[tokio::test]
async fn a_provider_that_is_down_leaves_its_keys_in_use_for_a_while() {
    let (known, unknown) = (Signer::ed(), Signer::ed());
    let world = World::new(&[known.published("known")]).await;
    let providers = world.providers(world.options());
    let (known, unknown) = (known.token("known", &world.claims()), unknown.token("new", &world.claims()));
    providers.verify(&known).await.unwrap();
    world.set_down(true);
    world.pass(world.options().refresh_min);
    // Of a key that it may have made meanwhile nobody knows: that is no fault of the token.
    for _ in 0..10 {
        assert_eq!(providers.verify(&unknown).await, Err(away(&world)));
    }
    assert_eq!(world.asked(DISCOVERY), 2);
    world
        .pass(world.options().cache_max.saturating_sub(world.options().refresh_min + Duration::from_secs(1)));
    providers.verify(&known).await.unwrap();
    world.pass(Duration::from_secs(1));
    // The load that the last one began in the background may still be under way.
    assert_eq!(providers.verify(&known).await, Err(away(&world)));
    world.set_down(false);
    world.pass(world.options().refresh_min);
    providers.verify(&known).await.unwrap();
    assert_eq!(providers.verify(&unknown).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn each_wrong_claim_is_refused() {
    let signer = Signer::ed();
    let world = World::new(&[signer.published("a")]).await;
    let required = [("token_use".to_owned(), "access".to_owned())].into();
    let client_ids = vec!["app".to_owned()];
    let providers =
        world.providers(ProviderOptions { required_claims: required, client_ids, ..world.options() });
    let with = |name: &str, value: Value| {
        let mut claims = world.claims();
        claims["token_use"] = json!("access");
        claims["azp"] = json!("app");
        claims[name] = value;
        signer.token("a", &claims)
    };
    providers.verify(&with("more", json!(1))).await.unwrap();
    providers.verify(&with("aud", json!(["other", "photos"]))).await.unwrap();
    for (name, value, refusal) in [
        ("exp", json!(START - 1000), TokenError::Expired),
        ("exp", json!("1900000000"), TokenError::BadClaim("exp")),
        ("exp", Value::Null, TokenError::BadClaim("exp")),
        ("exp", json!({"": 1}), TokenError::Malformed),
        ("nbf", json!(START + 1000), TokenError::NotYet),
        ("nbf", json!("now"), TokenError::BadClaim("nbf")),
        ("aud", json!("other"), TokenError::WrongAudience),
        ("aud", json!([]), TokenError::WrongAudience),
        ("aud", Value::Null, TokenError::WrongAudience),
        ("iss", json!("https://other.example"), TokenError::WrongIssuer),
        ("iss", json!(7), TokenError::BadClaim("iss")),
        ("sub", json!(""), TokenError::BadClaim("sub")),
        ("sub", json!("a".repeat(256)), TokenError::BadClaim("sub")),
        ("azp", json!("other"), TokenError::WrongClient),
        ("azp", json!(["app"]), TokenError::WrongClient),
        ("azp", Value::Null, TokenError::WrongClient),
        ("client_id", json!("other"), TokenError::WrongClient),
        ("token_use", json!("id"), TokenError::Lacks("token_use".to_owned())),
        ("token_use", Value::Null, TokenError::Lacks("token_use".to_owned())),
    ] {
        assert_eq!(providers.verify(&with(name, value.clone())).await, Err(refusal), "{name}: {value}");
    }
    let long = with("more", json!("a".repeat(8 << 10)));
    assert_eq!(providers.verify(&long).await, Err(TokenError::TooLong(8 << 10)));
    for text in ["", "a", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(providers.verify(text).await, Err(TokenError::Malformed), "{text}");
    }
}

/// The access token of "Understanding the access token", Amazon Cognito developer guide: no `typ`, no `aud`.
#[tokio::test]
async fn cognitos_access_tokens_are_taken_and_its_id_tokens_are_not() {
    let signer = Signer::rsa();
    let world = World::new(&[signer.published("1234example=")]).await;
    let providers = world.providers(ProviderOptions {
        audiences: Vec::new(),
        client_ids: vec!["xxxxxxxxxxxxexample".to_owned()],
        required_claims: [("token_use".to_owned(), "access".to_owned())].into(),
        name_claim: "username".to_owned(),
        ..world.options()
    });
    let access = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["testgroup"], "iss": world.issuer,
        "version": 2, "client_id": "xxxxxxxxxxxxexample", "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463", "token_use": "access",
        "scope": "phone openid profile resourceserver.1/appclient2 email", "auth_time": START, "exp": START + 3600,
        "iat": START, "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "username": "my-test-user",
    });
    let identity = providers.verify(&signer.token("1234example=", &access)).await.unwrap();
    assert_eq!(identity.subject, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
    assert_eq!((identity.name.as_deref(), identity.email), (Some("my-test-user"), None));
    let id = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "iss": world.issuer, "aud": "xxxxxxxxxxxxexample",
        "token_use": "id", "email": "a@b.example", "email_verified": true, "cognito:username": "my-test-user",
        "auth_time": START, "exp": START + 3600, "iat": START, "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    });
    assert_eq!(providers.verify(&signer.token("1234example=", &id)).await, Err(TokenError::WrongAudience));
}

/// Both samples of "Access Token Profiles", Auth0 docs.
#[tokio::test]
async fn auth0s_access_tokens_of_both_profiles_are_taken() {
    let signer = Signer::rsa();
    let world = World::new(&[signer.published("k")]).await;
    let api = "https://example.com/health-api";
    let providers = world.providers(ProviderOptions { audiences: vec![api.to_owned()], ..world.options() });
    let sample = json!({
        "iss": world.issuer, "sub": "auth0|123456", "aud": [api, format!("{}/userinfo", world.issuer)],
        "azp": "my_client_id", "exp": START + 1000, "iat": START, "scope": "openid profile read:patients read:admin",
        "my_custom_claim": "my_custom_value",
    });
    let mut rfc9068 = sample.clone();
    rfc9068["client_id"] = rfc9068["azp"].take();
    rfc9068["jti"] = json!("73WakrfVbNJBaAmhQtEeDv");
    for (kind, claims) in [("JWT", &sample), ("at+jwt", &rfc9068)] {
        let token = signer.token_with(&json!({"alg": "RS256", "typ": kind, "kid": "k"}), claims);
        assert_eq!(providers.verify(&token).await.unwrap().subject, "auth0|123456");
    }
    // An ID token is for the client, not for the API.
    let mut id = sample;
    id["aud"] = json!("my_client_id");
    assert_eq!(providers.verify(&signer.token("k", &id)).await, Err(TokenError::WrongAudience));
}

/// As a realm with the scopes `email` and `profile` and an audience mapper makes it.
#[tokio::test]
async fn keycloaks_access_tokens_bring_name_and_address() {
    let signer = Signer::rsa();
    let world = World::new(&[signer.published("k")]).await;
    let providers = world.providers(ProviderOptions {
        required_claims: [("typ".to_owned(), "Bearer".to_owned())].into(),
        ..world.options()
    });
    let mut claims = json!({
        "exp": START + 300, "iat": START, "jti": "d58f5dc8-fd8f-462b-8a19-716f8f83985b", "iss": world.issuer,
        "aud": ["photos", "account"], "sub": "36fa0f91-f94d-4a0c-afed-6b7d952e47da", "typ": "Bearer", "azp": "web",
        "session_state": "2a88c258-f73a-4103-b862-e1fbd8f4e04e", "acr": "1", "allowed-origins": ["https://a.example"],
        "realm_access": {"roles": ["offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}}, "scope": "email profile",
        "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e", "email_verified": true, "name": "Jane Smith",
        "preferred_username": "jane", "given_name": "Jane", "family_name": "Smith", "email": "jane@example.com",
    });
    let identity = providers.verify(&signer.token("k", &claims)).await.unwrap();
    assert_eq!(identity.name.as_deref(), Some("Jane Smith"));
    assert_eq!(identity.email.as_deref(), Some("jane@example.com"));
    claims["email_verified"] = json!(false);
    assert_eq!(providers.verify(&signer.token("k", &claims)).await.unwrap().email, None);
    claims["typ"] = json!("ID");
    let refused = providers.verify(&signer.token("k", &claims)).await;
    assert_eq!(refused, Err(TokenError::Lacks("typ".to_owned())));
}
