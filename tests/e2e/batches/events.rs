//! The counts as they change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_tests::{Daemon, Setup, photos};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Batch, PATIENCE, counts};
use crate::limits::connect_from;

/// A stream of events that is being read.
struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    async fn follow(batch: &Batch, headers: &[(&str, &str)]) -> Result<Self, StatusCode> {
        let stream = TcpStream::connect(batch.client.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = batch.client.request(Method::GET, &batch.path("/events"), headers, Bytes::new());
        let answer = sender.send_request(request).await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Ok(Self { body: answer.into_body(), text: String::new() })
    }

    /// The next block up to its empty line; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("a frame in time")?;
            self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }

    /// The next event: its name, id and data. Comments are passed over.
    async fn event(&mut self) -> Option<(String, String, Value)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            if let Some(event) = field("event:") {
                let data = serde_json::from_str(&field("data:").unwrap()).unwrap();
                return Some((event, field("id:").unwrap(), data));
            }
        }
    }
}

#[tokio::test]
async fn events_tell_every_follower_how_a_batch_gets_on_to_its_end() {
    let setup =
        Setup::config("[batches]\nevents_interval = '20ms'\nevents_heartbeat = '50ms'\nsubscribers_max = 3");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let mut followers = [(); 2].map(|()| Vec::new());
    for follower in &mut followers {
        follower.push(Events::follow(&batch, &[]).await.unwrap());
    }
    assert_eq!(client.metric("darkroom_batch_subscribers").await, 2.0);
    // The third place is left for others.
    assert_eq!(client.get(&batch.path("/events")).await.problem(), "too-many-subscribers");
    let mut other = connect_from(&client, "127.0.0.2").await;
    let head = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", batch.path("/events"));
    other.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(other);
    let [first, second] = &mut followers;
    let (first, second) = (&mut first[0], &mut second[0]);
    assert_eq!(first.block().await.unwrap(), "retry: 2000");
    let (name, _, data) = first.event().await.unwrap();
    assert_eq!((name.as_str(), &data["counts"]["received"]), ("counts", &json!(0)));
    assert_eq!(first.block().await.unwrap(), ": still here");
    for seed in 0..5 {
        assert_eq!(batch.upload("a.jpg", photos::photo(seed, 90, 60)).await.status, StatusCode::CREATED);
    }
    assert_eq!(batch.post("/close", "").await.status, StatusCode::OK);
    let mut last = None;
    for follower in [first, second] {
        let (mut ready, mut end, mut ids) = (0, None, BTreeSet::new());
        while let Some((name, id, data)) = follower.event().await {
            assert!(end.is_none(), "nothing comes after the end");
            assert!(ids.insert(id.clone()), "the same counts are told once");
            let now = data["counts"]["ready"].as_u64().unwrap();
            assert!(now >= ready, "counts do not go back");
            ready = now;
            if name == "complete" {
                end = Some((id, data));
            }
        }
        let (id, data) = end.expect("an end");
        assert_eq!(counts(&data), BTreeMap::from([("received", 5), ("ready", 5)]));
        last = Some(id);
    }
    // Who comes again with the last event's id is told not to, and others are told the end.
    let last = last.unwrap();
    let again = Events::follow(&batch, &[("last-event-id", &last)]).await;
    assert_eq!(again.err(), Some(StatusCode::NO_CONTENT));
    let mut late = Events::follow(&batch, &[("last-event-id", "0000")]).await.unwrap();
    assert_eq!(late.event().await.unwrap().0, "complete");
    assert!(late.event().await.is_none());
    drop((late, followers));
    let began = Instant::now();
    while client.metric("darkroom_batch_subscribers").await > 0.0 {
        assert!(began.elapsed() < PATIENCE, "a place is never free again");
        tokio::time::sleep(Duration::from_millis(10)).await; // Polling for the condition.
    }
}

#[tokio::test]
async fn a_stream_of_events_ends_with_its_time_and_with_the_daemon() {
    let setup = Setup::config("[batches]\nevents_interval = '20ms'\nevents_time_max = '300ms'");
    let daemon = Daemon::start_with(&setup);
    let batch = Batch::open(&daemon.client(), &json!({})).await;
    let mut events = Events::follow(&batch, &[]).await.unwrap();
    let mut last = String::new();
    while let Some(block) = events.block().await {
        last = block;
    }
    assert_eq!(last, ": come again");
    let home = daemon.stop();
    let mut daemon = Daemon::start_on(home, &Setup::config("[batches]\nevents_interval = '20ms'"));
    let batch = Batch { client: daemon.client(), id: batch.id };
    let mut events = Events::follow(&batch, &[]).await.unwrap();
    assert_eq!(events.event().await.unwrap().2["state"], "open");
    daemon.signal(rustix::process::Signal::TERM);
    assert!(events.event().await.is_none(), "nobody keeps a daemon from ending");
    assert!(daemon.wait(), "{}", daemon.log());
}
