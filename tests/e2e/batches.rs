//! Batches: many uploads followed as one, by counts, items, events and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_tests::{Answer, Client, Daemon, Setup, photos};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(120);

/// One batch and its daemon.
struct Batch {
    client: Client,
    id: String,
}

impl Batch {
    async fn open(client: &Client, wanted: &Value) -> Self {
        let answer = client.send(Method::POST, "/v1/batches", &[], wanted.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/v1/batches/{id}"));
        Self { client: client.clone(), id }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/batches/{}{rest}", self.id)
    }

    async fn upload(&self, name: &str, body: impl Into<Bytes>) -> Answer {
        let path = format!("/v1/photos?batch_id={}&filename={name}", self.id);
        self.client.send(Method::POST, &path, &[], body).await
    }

    async fn show(&self) -> Value {
        let answer = self.client.get(&self.path("")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }

    async fn post(&self, what: &str, body: impl Into<Bytes>) -> Answer {
        self.client.send(Method::POST, &self.path(what), &[], body).await
    }

    /// The batch once nothing of it is being processed, audited.
    async fn settled(&self) -> Value {
        let began = Instant::now();
        loop {
            let batch = self.show().await;
            if batch["counts"]["processing"] == 0 {
                self.audit(&batch).await;
                return batch;
            }
            assert!(began.elapsed() < PATIENCE, "never settled: {batch}");
            tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
        }
    }

    /// Every item, by pages of three.
    async fn items(&self, state: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.client.get(&self.path(&format!("/items?limit=3{state}{cursor}"))).await.json();
            items.extend(page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Every item, as lines.
    async fn lines(&self) -> Vec<Value> {
        let answer = self.client.get_with(&self.path("/items"), &[("accept", "application/x-ndjson")]).await;
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let text = std::str::from_utf8(&answer.body).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The counts are those of the items, found in whichever way, and they sum.
    async fn audit(&self, batch: &Value) {
        let items = self.items("").await;
        assert_eq!(self.lines().await, items);
        let count = |name: &str| batch["counts"][name].as_u64().unwrap();
        let mut found = 0;
        for (state, name) in [
            ("processing", "processing"),
            ("ready", "ready"),
            ("failed", "failed"),
            ("deleted", "deleted"),
            ("duplicate", "duplicates"),
            ("refused", "refused"),
        ] {
            let listed = self.items(&format!("&state={state}")).await;
            assert_eq!(listed.len() as u64, count(name), "{state} of {batch}");
            assert!(listed.iter().all(|item| item["state"] == state));
            found += listed.len();
        }
        assert_eq!(found, items.len());
        let sum = ["processing", "ready", "failed", "deleted", "duplicates"].map(count).iter().sum::<u64>();
        assert_eq!(count("received"), sum, "{batch}");
        let bytes = items.iter().filter(|item| item["state"] != "refused");
        assert_eq!(bytes.map(|item| item["bytes"].as_u64().unwrap()).sum::<u64>(), batch["bytes"]);
    }
}

fn counts(batch: &Value) -> BTreeMap<&str, u64> {
    let counts = batch["counts"].as_object().unwrap().iter();
    counts.map(|(name, count)| (name.as_str(), count.as_u64().unwrap())).filter(|(_, n)| *n > 0).collect()
}

#[tokio::test]
async fn every_file_of_a_batch_is_accounted_for() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({"name": "Iceland", "expected": 7})).await;
    let before = photos::photo(1, 90, 60);
    client.upload_settled(&before).await;
    let small = photos::photo(2, 120, 80);
    assert_eq!(batch.upload("a.jpg", small.clone()).await.status, StatusCode::CREATED);
    assert_eq!(batch.upload("b.jpg", photos::photo(3, 120, 80)).await.status, StatusCode::CREATED);
    assert_eq!(batch.upload("again.jpg", small.clone()).await.status, StatusCode::OK);
    assert_eq!(batch.upload("before.jpg", before.clone()).await.status, StatusCode::OK);
    assert_eq!(batch.upload("notes.txt", "no photo ".repeat(9000)).await.problem(), "unsupported-image");
    assert_eq!(batch.upload("cut.jpg", small.slice(..300)).await.problem(), "truncated-image");
    let form = [("content-type", "multipart/form-data; boundary=edge")];
    let mut body =
        b"--edge\r\nContent-Disposition: form-data; name=\"p\"; filename=\"c.jpg\"\r\n\r\n".to_vec();
    body.extend_from_slice(&photos::photo(4, 120, 80));
    body.extend_from_slice(b"\r\n--edge--\r\n");
    let path = format!("/v1/photos?batch_id={}", batch.id);
    assert_eq!(client.send(Method::POST, &path, &form, body).await.status, StatusCode::CREATED);

    let settled = batch.settled().await;
    let expected = [("received", 5), ("ready", 3), ("duplicates", 2), ("refused", 2)];
    assert_eq!(counts(&settled), BTreeMap::from(expected), "{settled}");
    assert_eq!((&settled["complete"], &settled["state"]), (&json!(true), &json!("open")));
    assert_eq!((&settled["estimated_seconds"], &settled["name"]), (&json!(0), &json!("Iceland")));
    assert!(settled["rate"]["photos_per_second"].as_f64().unwrap() > 0.0, "{settled}");
    let items = batch.items("").await;
    let names: Vec<_> = items.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names[..6], ["a.jpg", "b.jpg", "again.jpg", "before.jpg", "notes.txt", "cut.jpg"]);
    assert_eq!(items[2]["photo"], items[0]["photo"]);
    assert_eq!((&items[2]["duplicate"], &items[0]["duplicate"]), (&json!(true), &json!(false)));
    assert_eq!(items[0]["blake3"], blake3::hash(&small).to_hex().as_str());
    assert_eq!(items[4]["problem"]["type"], "/problems/unsupported-image");

    client.delete(&format!("/v1/photos/{}", items[0]["photo"].as_str().unwrap())).await;
    let settled = batch.settled().await;
    let expected = [("received", 5), ("ready", 2), ("deleted", 1), ("duplicates", 2), ("refused", 2)];
    assert_eq!(counts(&settled), BTreeMap::from(expected), "{settled}");
    let listed = client.get("/v1/batches").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["counts"], settled["counts"]);
    assert_eq!(client.metric("darkroom_batches_open").await, 1.0);
}

#[tokio::test]
async fn many_uploads_at_once_are_counted_exactly() {
    const PHOTOS: u64 = 120;
    let daemon = Daemon::start();
    let batch = Batch::open(&daemon.client(), &json!({"expected": PHOTOS + 20})).await;
    let batch = &batch;
    // Every sixth twice.
    let seeds = (0..PHOTOS).chain((0..PHOTOS).step_by(6));
    let statuses: Vec<_> = stream::iter(seeds)
        .map(|seed| async move {
            loop {
                let answer = batch.upload(&format!("{seed}.jpg"), photos::photo(seed, 48, 32)).await;
                if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                    return answer.status;
                }
            }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::CREATED).count() as u64, PHOTOS);
    let settled = batch.settled().await;
    let expected = BTreeMap::from([("received", PHOTOS + 20), ("ready", PHOTOS), ("duplicates", 20)]);
    assert_eq!(counts(&settled), expected, "{settled}");
    assert_eq!(settled["complete"], true);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_batch_loses_and_doubles_nothing() {
    const PHOTOS: u64 = 90;
    let mut daemon = Daemon::start();
    let id = Batch::open(&daemon.client(), &json!({})).await.id;
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let client = daemon.client();
        let batch = &Batch { client: client.clone(), id: id.clone() };
        let seeds = stream::iter(round * PHOTOS / 3..(round + 1) * PHOTOS / 3);
        let mut uploads = seeds
            .map(|seed| async move {
                let path = format!("/v1/photos?batch_id={}&filename={seed}.jpg", batch.id);
                let body = photos::photo(seed, 64, 48);
                let request = batch.client.request(Method::POST, &path, &[], body);
                batch.client.try_send(request).await.ok().filter(|answer| answer.status.is_success())
            })
            .buffer_unordered(8);
        let mut taken = 0;
        while let Some(outcome) = uploads.next().await {
            if let Some(answer) = outcome {
                acknowledged.insert(answer.json()["id"].as_str().unwrap().to_owned());
                taken += 1;
            }
            if taken == PHOTOS / 9 {
                // The rest of them are on their way, and some photos in the stages.
                break;
            }
        }
        drop(uploads);
        daemon = Daemon::start_on(daemon.kill(), &Setup::default());
    }
    let batch = Batch { client: daemon.client(), id };
    for seed in 0..PHOTOS {
        assert!(batch.upload(&format!("{seed}.jpg"), photos::photo(seed, 64, 48)).await.status.is_success());
    }
    assert_eq!(batch.post("/close", "").await.status, StatusCode::OK);
    let settled = batch.settled().await;
    let counts = counts(&settled);
    assert_eq!(counts["ready"], PHOTOS, "{settled}");
    // What was acknowledged, or at least committed, before a kill has come twice.
    assert!(counts["duplicates"] >= acknowledged.len() as u64, "{settled}");
    assert_eq!((&settled["complete"], &settled["state"]), (&json!(true), &json!("closed")));
    let found = batch.items("&state=ready").await;
    let found: BTreeSet<_> = found.iter().map(|item| item["photo"].as_str().unwrap().to_owned()).collect();
    assert!(acknowledged.is_subset(&found));
}

#[tokio::test]
async fn a_batch_that_has_ended_takes_no_uploads() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let (first, late) = (photos::photo(1, 90, 60), photos::photo(2, 90, 60));
    assert_eq!(batch.upload("a.jpg", first.clone()).await.status, StatusCode::CREATED);
    for _ in 0..2 {
        assert_eq!(batch.post("/close", "").await.json()["state"], "closed");
    }
    assert_eq!(batch.upload("late.jpg", late.clone()).await.problem(), "batch-closed");
    for _ in 0..2 {
        assert_eq!(batch.post("/cancel", "").await.json()["state"], "cancelled");
    }
    let refused = batch.upload("late.jpg", late.clone()).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::CONFLICT, "batch-cancelled"));
    assert_eq!(batch.post("/close", "").await.problem(), "batch-cancelled");
    let settled = batch.settled().await;
    assert_eq!(
        counts(&settled),
        BTreeMap::from([("received", 1), ("ready", 1)]),
        "what was acknowledged stays"
    );
    assert_eq!(settled["complete"], true);
    // A body that nobody reads: the answer comes at once, whatever is announced.
    let unknown = Batch { client: client.clone(), id: "01890000-0000-7000-8000-000000000000".to_owned() };
    let refused = unknown.upload("a.jpg", vec![0; 20_000_000]).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::NOT_FOUND, "batch-not-found"));
    for path in ["", "/items", "/events"] {
        assert_eq!(client.get(&unknown.path(path)).await.problem(), "batch-not-found", "{path}");
    }
    for path in ["/close", "/cancel", "/check"] {
        let answer = unknown.post(path, r#"{"items": []}"#).await;
        assert_eq!(answer.problem(), "batch-not-found", "{path}");
    }
    assert_eq!(client.get("/v1/batches/nonsense").await.problem(), "batch-not-found");
    let path = "/v1/photos?batch_id=nonsense";
    assert_eq!(client.send(Method::POST, path, &[], late).await.problem(), "invalid-parameter");
    assert_eq!(client.all().await.len(), 1);
}

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
                let block = block.to_owned();
                self.text = rest.to_owned();
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
        Setup::config("[batches]\nevents_interval = '20ms'\nevents_heartbeat = '50ms'\nsubscribers_max = 2");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let mut followers = [(); 2].map(|()| Vec::new());
    for follower in &mut followers {
        follower.push(Events::follow(&batch, &[]).await.unwrap());
    }
    assert_eq!(client.metric("darkroom_batch_subscribers").await, 2.0);
    assert_eq!(client.get(&batch.path("/events")).await.problem(), "too-many-subscribers");
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

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[tokio::test]
async fn a_check_tells_what_is_to_be_sent() {
    let setup = Setup::config("[limits]\nupload_bytes_max = '1 MiB'\n[batches]\ncheck_max = 5");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let (here, missing) = (photos::photo(1, 90, 60), photos::photo(2, 90, 60));
    let id = client.upload_settled(&here).await["id"].clone();
    let unknown = Bytes::from_static(b"whatever it is");
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let file = |bytes: &Bytes| json!({"blake3": digest(bytes), "bytes": bytes.len()});
    let mut named = file(&missing);
    named["name"] = json!("missing.jpg");
    let large = json!({"blake3": digest(b"large"), "bytes": 2 << 20});
    let question = json!({"items": [file(&here), named, large, file(&Bytes::new()), file(&unknown)]});
    let answer = batch.post("/check", question.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let items = answer.json()["items"].clone();
    assert_eq!(items[0], json!({"state": "have", "photo": id}));
    assert_eq!(items[1], json!({"state": "need", "name": "missing.jpg"}));
    assert_eq!((&items[2]["state"], &items[2]["problem"]["status"]), (&json!("refused"), &json!(413)));
    assert_eq!(items[3]["problem"]["type"], "/problems/empty-image");
    assert_eq!(items[4]["state"], "need");
    let wrong = json!({"items": [{"blake3": digest(&here), "bytes": 1}]});
    let items = batch.post("/check", wrong.to_string()).await.json()["items"].clone();
    assert_eq!(items[0]["state"], "refused");

    // A resumable upload that was announced with its digest goes on where it stands.
    let length = missing.len().to_string();
    let query = format!("/v1/uploads?batch_id={}", batch.id);
    let metadata = [("tus-resumable", "1.0.0"), ("upload-length", length.as_str())];
    let content = base64(digest(&missing).as_bytes());
    let said = format!("blake3 {content}");
    let headers = [metadata[0], metadata[1], ("upload-metadata", said.as_str())];
    let begun = client.send(Method::POST, &query, &headers, "").await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let location = begun.header("location").to_owned();
    let part = missing.slice(..500);
    let headers = [metadata[0], ("upload-offset", "0"), ("content-type", "application/offset+octet-stream")];
    assert_eq!(client.send(Method::PATCH, &location, &headers, part).await.status, StatusCode::NO_CONTENT);
    let items = batch.post("/check", question.to_string()).await.json()["items"].clone();
    assert_eq!((&items[1]["state"], &items[1]["offset"]), (&json!("need"), &json!(500)), "{items}");
    let upload = items[1]["upload"].as_str().unwrap();
    assert!(location.ends_with(upload), "{location} {upload}");
    let headers =
        [metadata[0], ("upload-offset", "500"), ("content-type", "application/offset+octet-stream")];
    let rest = missing.slice(500..);
    assert_eq!(client.send(Method::PATCH, upload, &headers, rest).await.status, StatusCode::NO_CONTENT);
    let settled = batch.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("ready", 1)]), "{settled}");
    let items = batch.post("/check", question.to_string()).await.json()["items"].clone();
    assert_eq!(items[1]["state"], "have");

    let six = json!({"items": vec![file(&here); 6]});
    assert_eq!(batch.post("/check", six.to_string()).await.problem(), "too-many-items");
    assert_eq!(
        batch.post("/check", r#"{"items": [{"blake3": "xyz", "bytes": 1}]}"#).await.problem(),
        "invalid-json"
    );
    assert_eq!(batch.post("/check", vec![b' '; 1 << 20]).await.problem(), "body-too-large");
    batch.post("/cancel", "").await;
    let items = batch.post("/check", question.to_string()).await.json()["items"].clone();
    assert_eq!(items[0]["state"], "have", "that it is here is still so");
    assert_eq!(items[4]["problem"]["type"], "/problems/batch-cancelled");
    let late = client.send(Method::POST, &query, &metadata, "").await;
    assert_eq!(late.problem(), "batch-cancelled");
}

/// The body of each is in memory while it arrives.
#[tokio::test]
async fn checks_at_once_are_bounded() {
    let daemon = Daemon::start_with(&Setup::config("[batches]\nchecks_at_once = 1"));
    let batch = Batch::open(&daemon.client(), &json!({})).await;
    let mut slow = TcpStream::connect(batch.client.address()).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{{", batch.path("/check"));
    slow.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let refused = loop {
        let answer = batch.post("/check", r#"{"items": []}"#).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "the slow one is never there");
    };
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "1"));
    slow.write_all(br#""items": []}"#).await.unwrap();
    let mut answer = [0; 15];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(batch.post("/check", r#"{"items": []}"#).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_photo_that_failed_is_needed_and_followed_where_it_comes_again() {
    // Decoding this width panics, until the fault is used up.
    let config = "[pipeline]\nattempts_max = 1\n[[testing.faults]]\npoint = 'decode'\naction = 'panic'\nwidth = 333\ntimes = 1";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let (first, second) = (Batch::open(&client, &json!({})).await, Batch::open(&client, &json!({})).await);
    let photo = photos::photo(1, 333, 200);
    first.upload("a.jpg", photo.clone()).await;
    let settled = first.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("failed", 1)]), "{settled}");
    let items = first.items("&state=failed").await;
    assert_eq!(items[0]["failure"]["code"], "processing-panicked");
    let file = json!({"blake3": blake3::hash(&photo).to_hex().as_str(), "bytes": photo.len()});
    let question = json!({"items": [file]}).to_string();
    let verdict = second.post("/check", question.clone()).await.json();
    assert_eq!(verdict["items"][0]["state"], "need");
    assert_eq!(second.upload("a again.jpg".replace(' ', "+").as_str(), photo).await.status, StatusCode::OK);
    let settled = second.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("ready", 1)]), "{settled}");
    assert_eq!(second.items("").await[0]["name"], "a again.jpg");
    assert_eq!(second.post("/check", question).await.json()["items"][0]["state"], "have");
    let settled = first.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("failed", 1)]), "{settled}");
}

#[tokio::test]
async fn batches_and_what_they_keep_are_bounded() {
    let setup = Setup::config("[batches]\nopen_max = 2\nname_bytes_max = 5\nrefused_max = 2");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let open = |body: &'static str| {
        let client = client.clone();
        async move { client.send(Method::POST, "/v1/batches", &[], body).await }
    };
    assert_eq!(open(r#"{"name": "longer"}"#).await.problem(), "invalid-parameter");
    assert_eq!(open(r#"{"nmae": "short"}"#).await.problem(), "invalid-json");
    let batch = Batch::open(&client, &json!({"name": "short"})).await;
    assert_eq!(open("").await.status, StatusCode::CREATED, "a body is not needed");
    let refused = open("{}").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "too-many-batches")
    );
    for _ in 0..3 {
        assert_eq!(batch.upload("notes.text", "no photo ".repeat(9000)).await.status, 415);
    }
    assert_eq!(batch.show().await["counts"]["refused"], 3);
    let items = batch.items("").await;
    assert_eq!((items.len(), &items[0]["name"]), (2, &json!("notes")));
    batch.post("/close", "").await;
    assert_eq!(open("{}").await.status, StatusCode::CREATED);
    let first = client.get("/v1/batches?limit=2").await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let rest = client.get(&format!("/v1/batches?cursor={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!(batch.id), &Value::Null));
    for path in ["/v1/batches?limit=0", "/v1/batches?cursor=x"] {
        assert_eq!(client.get(path).await.problem(), "invalid-parameter", "{path}");
    }
    assert_eq!(client.get(&batch.path("/items?state=lost")).await.problem(), "invalid-parameter");
    assert_eq!(client.delete(&batch.path("")).await.problem(), "method-not-allowed");
}

#[tokio::test]
async fn a_batch_that_nothing_happens_to_goes_and_its_photos_stay() {
    let daemon = Daemon::start_with(&Setup::config("[batches]\nkeep = '10ms'"));
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let answer = batch.upload("a.jpg", photos::photo(1, 90, 60)).await;
    let began = Instant::now();
    while client.get(&batch.path("")).await.status == StatusCode::OK {
        client.sweep().await;
        assert!(began.elapsed() < PATIENCE, "it never goes");
    }
    assert_eq!(client.get("/v1/batches").await.json()["items"], json!([]));
    assert_eq!(client.metric("darkroom_batches_open").await, 0.0);
    // An upload of a batch that has just gone was refused; one that was acknowledged stays.
    if answer.status.is_success() {
        assert_eq!(client.settled(answer.json()["id"].as_str().unwrap()).await["state"], "ready");
    }
}
