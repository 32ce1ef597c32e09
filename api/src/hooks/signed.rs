//! Requests to SQS: JSON, signed by the credentials that the SDK finds.
//!
//! Four calls are needed. The SDK's client for SQS would be one of the largest crates of the build for them; what it
//! does beside signing (retries, endpoints) the loop that polls does not want.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::outbound::{connector_for, send};

/// The content type of the protocol (AWS JSON 1.0).
const JSON: &str = "application/x-amz-json-1.0";

/// How long the credentials may take.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(10);
/// So long before they end others are asked for.
const CREDENTIALS_EARLY: Duration = Duration::from_secs(5 * 60);
/// How long those are kept that do not say when they end: files are changed now and then.
const CREDENTIALS_KEPT: Duration = Duration::from_secs(15 * 60);
/// No more often than this, also where the provider itself keeps those that end soon.
const CREDENTIALS_PAUSE: Duration = Duration::from_secs(10);
/// Errors whose types have one of these words are of the credentials.
const OF_CREDENTIALS: &[&str] = &["Token", "Client", "Security", "Signature"];

/// The way to one queue.
pub(super) struct Queue {
    url: String,
    region: String,
    connector: Connector,
    credentials: Kept,
}

/// Credentials, asked for again shortly before they end: what the SDK gives is the bare chain of its providers, which reads
/// files or asks the machine each time.
struct Kept {
    provider: SharedCredentialsProvider,
    /// And until when they are taken as they are.
    now: Mutex<Option<(Credentials, SystemTime)>>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("url", &self.url).field("region", &self.region).finish_non_exhaustive()
    }
}

impl Queue {
    /// With the credentials of the SDK's own chain.
    ///
    /// # Errors
    /// A sentence, where there are none.
    pub(super) async fn open(url: &str, region: &str) -> Result<Self, String> {
        let connector = connector_for(url);
        // For those providers that ask somebody, such as that of instances.
        let tls = Provider::Rustls(CryptoMode::Ring);
        let client = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(client).load().await;
        let credentials = shared.credentials_provider().ok_or("the SDK finds no credentials")?;
        Ok(Self {
            url: url.to_owned(),
            region: region.to_owned(),
            connector,
            credentials: Kept::new(credentials),
        })
    }

    /// Calls an operation with these arguments, and the queue's URL; its answer.
    ///
    /// # Errors
    /// A sentence.
    pub(super) async fn call(
        &self,
        operation: &str,
        mut arguments: Value,
        patience: Duration,
    ) -> Result<Value, String> {
        arguments["QueueUrl"] = self.url.as_str().into();
        let request = self.signed(operation, arguments.to_string()).await?;
        let (status, body) = send(&self.connector, request, patience).await?;
        let answer = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
        match answer {
            Ok(answer) if status == 200 => Ok(answer),
            Ok(answer) => {
                let told = |name: &str| answer[name].as_str().unwrap_or_default();
                if OF_CREDENTIALS.iter().any(|word| told("__type").contains(word)) {
                    self.credentials.forget().await;
                }
                Err(format!(
                    "{operation}: {status} {} {}{}",
                    told("__type"),
                    told("message"),
                    told("Message")
                ))
            }
            Err(error) => Err(format!("{operation}: {status}, and no JSON: {error}")),
        }
    }

    async fn signed(&self, operation: &str, body: String) -> Result<HttpRequest, String> {
        let credentials = self.credentials.get(SystemTime::now()).await?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sqs")
            .time(SystemTime::now())
            .settings(SigningSettings::default());
        let parameters = parameters.build().map_err(|error| error.to_string())?.into();
        let target = format!("AmazonSQS.{operation}");
        let headers = [("content-type", JSON), ("x-amz-target", &target)];
        // The path of the queue's URL names the account and the queue; requests go to the host alone.
        let endpoint = endpoint(&self.url);
        let signable = SignableRequest::new(
            "POST",
            &endpoint,
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let signed = sign(signable.map_err(|error| error.to_string())?, &parameters);
        let (instructions, _) = signed.map_err(|error| error.to_string())?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| error.to_string())?;
        request.set_uri(endpoint.as_str()).map_err(|error| error.to_string())?;
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }
}

impl Kept {
    fn new(provider: SharedCredentialsProvider) -> Self {
        Self { provider, now: Mutex::default() }
    }

    /// Those to sign with at this time.
    ///
    /// # Errors
    /// A sentence.
    async fn get(&self, now: SystemTime) -> Result<Credentials, String> {
        // Held while they are fetched: calls beside this one want the same.
        let mut kept = self.now.lock().await;
        if let Some((credentials, until)) = &*kept
            && now < *until
        {
            return Ok(credentials.clone());
        }
        let asked = timeout(CREDENTIALS_PATIENCE, self.provider.provide_credentials()).await;
        let late = |_| format!("no credentials were found within {} s", CREDENTIALS_PATIENCE.as_secs());
        let credentials = asked.map_err(late)?.map_err(|error| error.to_string())?;
        let until = match credentials.expiry() {
            None => now + CREDENTIALS_KEPT,
            Some(end) => {
                end.checked_sub(CREDENTIALS_EARLY).unwrap_or(now).max(now + CREDENTIALS_PAUSE).min(end)
            }
        };
        *kept = Some((credentials.clone(), until));
        Ok(credentials)
    }

    /// They were refused: the next call asks for others.
    async fn forget(&self) {
        *self.now.lock().await = None;
    }
}

/// Scheme and host of a URL, and the path that is none.
fn endpoint(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    format!("{scheme}://{}/", rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::provider::future;

    use super::*;

    /// Gives credentials that end then; or never answers.
    #[derive(Clone, Debug)]
    struct Provider {
        asked: Arc<AtomicUsize>,
        end: Option<SystemTime>,
        is_stuck: bool,
    }

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.is_stuck {
                return future::ProvideCredentials::new(std::future::pending());
            }
            future::ProvideCredentials::ready(Ok(Credentials::new("id", "secret", None, self.end, "test")))
        }
    }

    fn kept(end: Option<SystemTime>, is_stuck: bool) -> (Kept, Arc<AtomicUsize>) {
        let provider = Provider { asked: Arc::default(), end, is_stuck };
        let asked = Arc::clone(&provider.asked);
        (Kept::new(SharedCredentialsProvider::new(provider)), asked)
    }

    #[tokio::test]
    async fn credentials_are_asked_for_shortly_before_they_end_and_not_for_every_call() {
        let now = SystemTime::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        // (when they end, when each is signed with, how often the provider is asked)
        for (end, times, expected) in [
            (Some(after(3600)), vec![0, 1, 3200], 1),
            (Some(after(3600)), vec![0, 3301], 2),
            (Some(after(60)), vec![0, 1, 9, 11], 2),
            (Some(after(5)), vec![0, 4, 5], 2),
            (None, vec![0, 1, 800], 1),
            (None, vec![0, 901], 2),
        ] {
            let (kept, asked) = kept(end, false);
            for seconds in &times {
                kept.get(after(*seconds)).await.unwrap();
            }
            assert_eq!(asked.load(Ordering::Relaxed), expected, "{times:?}");
        }
        let (kept, asked) = kept(None, false);
        kept.get(now).await.unwrap();
        kept.forget().await;
        kept.get(now).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_do_not_come_are_not_waited_for_for_ever() {
        let why = kept(None, true).0.get(SystemTime::now()).await.unwrap_err();
        assert!(why.contains("10 s"), "{why}");
    }

    #[test]
    fn requests_go_to_the_host_of_the_queue() {
        assert_eq!(
            endpoint("https://sqs.eu-west-1.amazonaws.com/1/q"),
            "https://sqs.eu-west-1.amazonaws.com/"
        );
        assert_eq!(endpoint("http://127.0.0.1:9324"), "http://127.0.0.1:9324/");
    }
}
