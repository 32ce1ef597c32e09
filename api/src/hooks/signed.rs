//! Requests to SQS: JSON, signed by the credentials that the SDK finds.
//!
//! Three calls are needed. The SDK's client for SQS would be one of the largest crates of the build for them; what it
//! does beside signing (retries, endpoints) the loop that polls does not want.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use super::outbound::{connector_for, send};

/// The content type of the protocol (AWS JSON 1.0).
const JSON: &str = "application/x-amz-json-1.0";

/// The way to one queue.
pub(super) struct Queue {
    url: String,
    region: String,
    connector: Connector,
    credentials: SharedCredentialsProvider,
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
        Ok(Self { url: url.to_owned(), region: region.to_owned(), connector, credentials })
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
        let credentials = self.credentials.provide_credentials().await.map_err(|error| error.to_string())?;
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

/// Scheme and host of a URL, and the path that is none.
fn endpoint(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    format!("{scheme}://{}/", rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_the_host_of_the_queue() {
        assert_eq!(
            endpoint("https://sqs.eu-west-1.amazonaws.com/1/q"),
            "https://sqs.eu-west-1.amazonaws.com/"
        );
        assert_eq!(endpoint("http://127.0.0.1:9324"), "http://127.0.0.1:9324/");
    }
}
