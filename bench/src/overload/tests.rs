use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::connection::Target;

/// A server that takes two uploads of three, and has them ready at once.
async fn start() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let uploads = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let uploads = Arc::clone(&uploads);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&uploads, request));
                let connection = hyper::server::conn::http1::Builder::new();
                drop(connection.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Target::parse(&url, None).unwrap()
}

async fn answer(
    uploads: &AtomicU64,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut response = Response::builder();
    let (status, body) = match *request.method() {
        Method::POST => {
            request.into_body().collect().await.unwrap();
            let number = uploads.fetch_add(1, Ordering::Relaxed);
            if number % 3 == 2 {
                response = response.header("retry-after", "0");
                (503, "{\"type\":\"/problems/overloaded\"}".to_owned())
            } else {
                (201, format!("{{\"id\":\"{number}\",\"state\":\"processing\"}}"))
            }
        }
        _ if path.ends_with("/thumb") => (200, "bytes".to_owned()),
        _ => {
            let id = path.rsplit('/').next().unwrap_or_default();
            let variants = "\"variants\":[{\"url\":\"/x/large\"},{\"url\":\"/x/thumb\"}]";
            (200, format!("{{\"id\":\"{id}\",\"state\":\"ready\",{variants}}}"))
        }
    };
    Ok(response.status(status).body(Full::new(body.into())).unwrap())
}

const LINE: &str = "overload --rate 200 --gets 50 --seconds 2 --capacity-photos 6 --width 16 --height 16 --json \
                    --get-p99-ms-max 1e9 --refused-p99-ms-max 1e9 --capacity-share-min 0";

fn args() -> OverloadArgs {
    parsed(LINE)
}

fn parsed(line: &str) -> OverloadArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: OverloadArgs,
    }
    <Line as clap::Parser>::parse_from(line.split(' ')).args
}

async fn measured() -> Report {
    measure(&args(), &Server::at(start().await, None)).await.unwrap()
}

#[tokio::test]
async fn what_was_due_is_answered_and_accounted_for() {
    let report = measured().await;
    args().bounds.check(&report).unwrap();
    report.print(false).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let count = |name: &str| json["statuses"][name].as_u64().unwrap_or(0);
    let (taken, refused, got) = (count("POST 201"), count("POST 503"), count("GET 200"));
    let unsent = json["unsent"].as_u64().unwrap();
    assert_eq!(taken + refused + got + unsent, 500, "{json}");
    assert!(taken > refused && refused > 0, "{json}");
    assert_eq!(json["accepted"]["count"], taken);
    assert_eq!((json["settled"]["ready"].as_u64(), &json["unreadable_refusals"]), (Some(taken), &0.into()));
    assert!(json["get"]["from_due_ms"]["max"].as_f64() >= json["get"]["from_sent_ms"]["p50"].as_f64());
    assert!(json["after"]["per_second"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn what_is_beyond_its_bounds_is_a_failure_that_is_named() {
    let gone = ready::Finished { ready: 3, failed: 1, ..ready::Finished::default() };
    let mut report = measured().await.with_settled(Settled::new(&gone, Duration::from_secs(1)));
    let told = |report: &Report, line: &str| parsed(line).bounds.check(report).unwrap_err().to_string();
    let error = told(&report, LINE);
    assert!(error.contains("1 failed or are missing") && !error.contains("99th"), "{error}");
    let error = told(&report, "overload --get-p99-ms-max 0 --refused-p99-ms-max 0 --capacity-share-min 1e9");
    for part in ["GETs took", "refusals took", "after the storm"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    report.statuses.insert("GET 503".to_owned(), 2);
    let error = told(&report, LINE);
    assert!(error.contains("2 GETs were not answered"), "{error}");
}

#[test]
fn a_rate_is_a_number_or_left_to_the_program() {
    assert_eq!("auto".parse(), Ok(Rate::Auto));
    assert_eq!("12.5".parse(), Ok(Rate::PerSecond(12.5)));
    for wrong in ["0", "-1", "inf", "fast"] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
    }
}
