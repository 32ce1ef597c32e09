//! The messages beside this file were put together by hand as the developer guide says, and signed by OpenSSL with the
//! keys of the two certificates.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::*;

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:photos";
const CERTIFICATE: &[u8] = include_bytes!("certificate.pem");
const SHA1: &str = include_str!("notification-sha1.json");
const SHA256: &str = include_str!("notification-sha256.json");
const SUBSCRIPTION: &str = include_str!("subscription.json");

/// What is fetched comes from here, and is noted.
#[derive(Clone, Default)]
struct Amazon {
    fetched: Arc<Mutex<Vec<String>>>,
    is_away: bool,
}

impl Fetch for Amazon {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bytes, String>> {
        self.fetched.lock().unwrap().push(url.to_owned());
        let answer = match url {
            _ if self.is_away => Err("nobody is there".to_owned()),
            url if url.ends_with("/SimpleNotificationService-test.pem") => Ok(CERTIFICATE.into()),
            url if url.ends_with("/SimpleNotificationService-other.pem") => {
                Ok(include_bytes!("other.pem").as_slice().into())
            }
            url if url.contains("Action=ConfirmSubscription") => Ok("<Confirmed/>".into()),
            url => Err(format!("nothing is at {url}")),
        };
        Box::pin(async move { answer })
    }
}

fn verifier(amazon: &Amazon) -> Verifier {
    Verifier::new(vec![TOPIC.to_owned()], Box::new(amazon.clone()))
}

async fn refused(message: &str) -> Problem {
    verifier(&Amazon::default()).take(message.as_bytes()).await.unwrap_err()
}

/// A message with one field changed.
fn with(message: &str, field: &str, value: &str) -> String {
    let mut message: Value = serde_json::from_str(message).unwrap();
    message[field] = value.into();
    message.to_string()
}

#[tokio::test]
async fn messages_are_known_by_either_signature_and_the_certificate_is_fetched_once() {
    let amazon = Amazon::default();
    let verifier = verifier(&amazon);
    for message in [SHA1, SHA256, SHA1] {
        let Message::Notification(text) = verifier.take(message.as_bytes()).await.unwrap() else {
            panic!("{message}");
        };
        let created = super::super::events::read(text.as_bytes()).unwrap();
        assert_eq!(created[0].name, "in/a b.jpg");
    }
    assert_eq!(amazon.fetched.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_changed_message_is_not_taken() {
    for (field, value) in [
        ("Message", r#"{"Records":[]}"#),
        ("Timestamp", "2026-11-21T22:45:01.000Z"),
        ("Subject", "another"),
        ("MessageId", "another"),
        ("Signature", "AAAA"),
        ("Signature", "not base64"),
        ("SignatureVersion", "1"),
        ("SignatureVersion", "3"),
        ("TopicArn", "arn:aws:sns:eu-central-1:123456789012:of-somebody-else"),
    ] {
        let problem = refused(&with(SHA256, field, value)).await;
        assert!(problem.is("hook-not-authentic"), "{field}: {problem:?}");
    }
    assert!(refused("{}").await.is("invalid-json"));
}

#[tokio::test]
async fn nothing_is_fetched_from_anywhere_but_amazon() {
    for url in [
        // Buckets, and another region.
        "https://sns.s3.amazonaws.com/SimpleNotificationService-test.pem",
        "https://sns.s3-eu-central-1.amazonaws.com/SimpleNotificationService-test.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-test.pem",
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-test.pem",
        "https://sns.evil.example/SimpleNotificationService-test.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-test.pem",
        "https://evil.example#.sns.eu-central-1.amazonaws.com/SimpleNotificationService-test.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-test.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-test.pem",
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&x=SimpleNotificationService-test.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-test.pem?x=.pem",
        "file:///etc/passwd",
        "",
    ] {
        let amazon = Amazon::default();
        let problem =
            verifier(&amazon).take(with(SHA256, "SigningCertURL", url).as_bytes()).await.unwrap_err();
        assert!(problem.is("hook-not-authentic"), "{url}: {problem:?}");
        assert!(amazon.fetched.lock().unwrap().is_empty(), "{url}");
    }
    // Signed by Amazon, even: whoever may publish to a topic of ours may not have us ask others.
    let problem = refused(include_str!("subscription-elsewhere.json")).await;
    assert!(problem.is("hook-not-authentic"), "{problem:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_of_sns_or_not_of_this_time_signs_nothing() {
    let problem = refused(include_str!("notification-by-other.json")).await;
    assert!(problem.is("hook-not-authentic") && problem.detail.contains("evil.example"), "{problem:?}");
    let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
    let service = Service::of(TOPIC).unwrap();
    certificate.check(SystemTime::now(), &service).unwrap();
    let century = Duration::from_secs(101 * 366 * 24 * 3600);
    for then in [UNIX_EPOCH, SystemTime::now() + century] {
        assert!(certificate.check(then, &service).unwrap_err().contains("not valid now"));
    }
    assert!(Certificate::from_pem(b"nonsense").is_err());
}

#[tokio::test]
async fn a_subscription_is_confirmed_at_amazon() {
    let amazon = Amazon::default();
    assert_eq!(verifier(&amazon).take(SUBSCRIPTION.as_bytes()).await.unwrap(), Message::Subscribed);
    let fetched = amazon.fetched.lock().unwrap().clone();
    assert!(fetched.len() == 2 && fetched[1].contains("Action=ConfirmSubscription"), "{fetched:?}");
    let changed = with(SUBSCRIPTION, "Token", "another");
    assert!(refused(&changed).await.is("hook-not-authentic"));
}

#[tokio::test]
async fn a_message_that_cannot_be_verified_now_is_to_come_again() {
    let away = Amazon { is_away: true, ..Amazon::default() };
    let problem = verifier(&away).take(SHA256.as_bytes()).await.unwrap_err();
    assert!(problem.is("hook-unverifiable") && problem.retry_after.is_some(), "{problem:?}");
    assert!(!format!("{problem:?}").contains("Token="), "the secret of a confirmation");
}
