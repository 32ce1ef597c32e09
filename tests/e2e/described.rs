//! What `/openapi.json` says of headers is what the daemon does with them.

use darkroom_tests::{Answer, Client, Daemon, Setup};
use hyper::Method;
use serde_json::Value;

/// Headers that are refused when they cannot be read: by whom they are not looked at, they are passed over.
const MALFORMED: &[(&str, &str, &str)] = &[
    ("Idempotency-Key", "\"open", "idempotency-key-malformed"),
    ("Content-Digest", "sha-256=nonsense", "digest-malformed"),
    ("Repr-Digest", "sha-256=nonsense", "digest-malformed"),
    ("Content-MD5", "nonsense", "digest-malformed"),
];

/// What `$ref` stands for.
fn resolved<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(place) => description.pointer(&place[1..]).unwrap_or_else(|| panic!("{place} is nowhere")),
        None => value,
    }
}

/// The names of the headers that an operation takes.
fn taken<'d>(description: &'d Value, operation: &'d Value) -> Vec<&'d str> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.map(|parameter| resolved(description, parameter));
    parameters.filter(|parameter| parameter["in"] == "header").filter_map(|p| p["name"].as_str()).collect()
}

/// A request that would be in order, but for what is added to it.
async fn ask(client: &Client, method: &str, path: &str, header: (&str, &str)) -> Answer {
    let path = path.replace("{id}", "01a200fb-c08e-77b1-b3a0-d6348fccc4c2").replace("{preset}", "small");
    let mut headers = vec![header, ("upload-complete", "?1")];
    if method == "patch" {
        headers.extend([("content-type", "application/partial-upload"), ("upload-offset", "0")]);
    }
    let body = if ["get", "delete", "options"].contains(&method) { "" } else { "{}" };
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    client.send(method, &path, &headers, body).await
}

#[tokio::test]
async fn headers_are_described_where_they_are_honoured_and_nowhere_else() {
    let daemon = Daemon::start_with(&Setup::config("[limits]\nrequests_per_second = 10000"));
    let client = daemon.client();
    let description = client.get("/openapi.json").await.json();
    let mut honoured = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let operations = item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters");
        // Not commands of the operator, which do something whatever they are sent, nor what is outside of all limits, nor a
        // stream that does not end.
        let is_asked = path.starts_with("/v1/") && !path.contains("admin") && path != "/v1/events";
        for (method, operation) in operations.filter(|_| is_asked) {
            let taken = taken(&description, operation);
            for (name, value, problem) in MALFORMED {
                let answer = ask(&client, method, path, (name, value)).await;
                let is_read =
                    method != "options" && answer.status.is_client_error() && answer.problem() == *problem;
                assert_eq!(taken.contains(name), is_read, "{method} {path}: {name}: {answer:?}");
                honoured += u32::from(is_read);
                for told in ["ratelimit-policy", "ratelimit"] {
                    assert_ne!(answer.header(told), "", "{method} {path}");
                }
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                for told in ["RateLimit-Policy", "RateLimit"] {
                    let header = resolved(&description, &answer["headers"][told]);
                    assert!(
                        header["schema"].is_object(),
                        "{method} {path} {status}: {told} is not described"
                    );
                }
            }
        }
    }
    assert!(honoured >= 12, "{honoured}");
}
