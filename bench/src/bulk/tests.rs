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

/// A server that counts the uploads to its one batch, forgets `lost` of them, and has each ready when it is looked at next.
async fn start(lost: u64) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let uploads = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let uploads = Arc::clone(&uploads);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&uploads, lost, request));
                let connection = hyper::server::conn::http1::Builder::new();
                drop(connection.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Target::parse(&url, None).unwrap()
}

async fn answer(
    uploads: &AtomicU64,
    lost: u64,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let (status, body) = match (request.method(), &*path) {
        (&Method::POST, "/v1/batches") => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert!(body.windows(13).any(|part| part == b"\"expected\":40"), "{body:?}");
            (201, "{\"id\":\"b\"}".to_owned())
        }
        (&Method::POST, "/v1/photos?batch_id=b") => {
            request.into_body().collect().await.unwrap();
            let number = uploads.fetch_add(1, Ordering::Relaxed);
            (201, format!("{{\"id\":\"{number}\",\"state\":\"processing\"}}"))
        }
        (&Method::GET, "/v1/batches/b") => {
            let received = uploads.load(Ordering::Relaxed);
            let ready = received - lost;
            (
                200,
                format!(
                    "{{\"id\":\"b\",\"bytes\":7,\"counts\":{{\"received\":{received},\"ready\":{ready},\"x\":1}}}}"
                ),
            )
        }
        other => panic!("{other:?}"),
    };
    Ok(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}

fn args() -> BulkArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: BulkArgs,
    }
    let line = "bulk --photos 40 --connections 4 --width 16 --height 16 --json";
    <Line as clap::Parser>::parse_from(line.split(' ')).args
}

async fn measured(lost: u64) -> Report {
    let server = Server::at(start(lost).await, Some(std::process::id()));
    measure(&args(), &server).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_accounts_for_every_photo_is_a_success() {
    let report = measured(0).await;
    report.check().unwrap();
    report.print(true).unwrap();
    report.print(false).unwrap();
    assert_eq!((report.uploads.created, report.batch.counts.received, report.batch.bytes), (40, 40, 7));
}

#[tokio::test]
async fn one_that_does_not_is_a_failure() {
    let error = measured(1).await.check().unwrap_err().to_string();
    assert!(error.contains("40 were sent") && error.contains("39 ready"), "{error}");
}
