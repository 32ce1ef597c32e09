//! Photos in tar archives: what of them is taken, told while they arrive, and left out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use darkroom_tests::{Answer, Client, Daemon, Setup, has_program, photos};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::limits::{connect_from, stalled, until_metric};

const TAR: (&str, &str) = ("content-type", "application/x-tar");

/// An entry as POSIX has it, with this type.
fn entry(path: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    bytes[156] = flag;
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

fn lines(text: &[u8]) -> Vec<Value> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap_or_else(|_| panic!("{}", line.escape_ascii())))
        .collect()
}

/// The lines of an answer, the files' in the order of the archive, and the last.
fn outcomes(answer: &Answer) -> (Vec<Value>, Value) {
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/x-ndjson"));
    let mut lines = lines(&answer.body);
    let last = lines.pop().unwrap();
    assert!(last["totals"].is_object(), "{last}");
    lines.sort_by_key(|line| line["index"].as_u64());
    (lines, last)
}

/// Name, status and problem of each file.
fn told(lines: &[Value]) -> Vec<(&str, u64, &str)> {
    lines
        .iter()
        .map(|line| {
            let problem = line["problem"]["type"].as_str().unwrap_or_default();
            (line["name"].as_str().unwrap(), line["status"].as_u64().unwrap(), problem)
        })
        .collect()
}

async fn send(client: &Client, archive: impl Into<Bytes>) -> Answer {
    client.send(Method::POST, "/v1/photos", &[TAR], archive).await
}

/// A folder with a photo, one deep below in folders of long names, and what is no file.
fn folder(home: &Path) -> (Bytes, Bytes, String) {
    let long = format!("{}/{}/b.jpg", "d".repeat(90), "e".repeat(90));
    let (a, b) = (photos::photo(1, 300, 200), photos::photo(2, 200, 300));
    std::fs::create_dir_all(home.join("photos").join(&long).parent().unwrap()).unwrap();
    std::fs::write(home.join("photos/a.jpg"), &a).unwrap();
    std::fs::write(home.join("photos").join(&long), &b).unwrap();
    std::os::unix::fs::symlink("a.jpg", home.join("photos/link.jpg")).unwrap();
    (a, b, format!("photos/{long}"))
}

fn tar(home: &Path, format: &str) -> Command {
    let mut tar = Command::new("tar");
    tar.arg("--sort=name").arg(format!("--format={format}")).arg("-C").arg(home).args(["-cf", "-", "photos"]);
    tar
}

#[tokio::test]
async fn archives_of_every_usual_format_are_taken() {
    if !has_program("tar") {
        return;
    }
    let daemon = Daemon::start();
    let client = daemon.client();
    let home = tempfile::tempdir().unwrap();
    let (a, b, long) = folder(home.path());
    for (round, format) in ["ustar", "gnu", "pax", "posix", "v7"].into_iter().enumerate() {
        let packed = tar(home.path(), format).stderr(Stdio::null()).output().unwrap();
        let answer = send(&client, packed.stdout).await;
        let (files, last) = outcomes(&answer);
        let status = if round == 0 { 201 } else { 200 };
        let mut wanted = vec![("photos/a.jpg", status, ""), (&*long, status, "")];
        if format == "v7" {
            wanted.pop(); // It has no place for long paths.
        }
        assert_eq!(told(&files), wanted, "{format}");
        for (file, bytes) in files.iter().zip([&a, &b]) {
            assert_eq!(file["photo"]["blake3"], blake3::hash(bytes).to_hex().as_str());
            assert_eq!(file["photo"]["duplicate"] == true, round > 0);
        }
        assert!(last["problem"].is_null(), "{last}");
        let totals = &last["totals"];
        assert_eq!(totals["created"], if round == 0 { 2 } else { 0 }, "{format}: {last}");
        assert_eq!(totals["duplicates"], if round == 0 { 0 } else { wanted.len() }, "{format}: {last}");
        assert!(totals["skipped"].as_u64().unwrap() >= 2, "folders and the link: {last}");
    }
    assert_eq!(client.all().await.len(), 2);
}

/// As a shell does it: neither program knows how long the archive will be.
#[tokio::test]
async fn an_archive_may_come_out_of_a_pipe() {
    if !has_program("tar") || !has_program("curl") {
        return;
    }
    let daemon = Daemon::start();
    let home = tempfile::tempdir().unwrap();
    folder(home.path());
    let mut packing = tar(home.path(), "gnu").stdout(Stdio::piped()).spawn().unwrap();
    let curl = Command::new("curl")
        .args(["-sS", "-X", "POST", "-T", "-", "-H", "content-type: application/x-tar"])
        .arg(format!("{}/v1/photos", daemon.url()))
        .stdin(packing.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(packing.wait().unwrap().success());
    let lines = lines(&curl.stdout);
    assert_eq!(lines.len(), 3, "{curl:?}");
    assert_eq!(lines[2]["totals"]["created"], 2);
}

/// The body of a request that is sent piece by piece.
type Pieces = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that has begun, with a folder and a file.
async fn begun() -> (mpsc::Sender<Vec<u8>>, Pieces) {
    let (sender, pieces) = mpsc::channel::<Vec<u8>>(4);
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(Bytes::from(piece))), pieces))
    });
    sender.send(entry("photos/", b'5', b"")).await.unwrap();
    sender.send(entry("first.jpg", b'0', &photos::photo(1, 64, 48))).await.unwrap();
    (sender, StreamBody::new(pieces).boxed_unsync())
}

/// A request that has begun, and its answer.
async fn open(client: &Client) -> (mpsc::Sender<Vec<u8>>, Incoming) {
    let stream = TcpStream::connect(client.address()).await.unwrap();
    let (mut http, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (sender, body) = begun().await;
    let request = Request::post("/v1/photos").header("host", "localhost").header(TAR.0, TAR.1);
    let answer = http.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    (sender, answer.into_body())
}

/// The same over HTTP/2.
async fn open_h2(client: &Client) -> (mpsc::Sender<Vec<u8>>, Incoming) {
    let stream = TcpStream::connect(client.address()).await.unwrap();
    let (mut http, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (sender, body) = begun().await;
    let request = Request::post(format!("http://{}/v1/photos", client.address())).header(TAR.0, TAR.1);
    let answer = http.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    (sender, answer.into_body())
}

async fn next(answer: &mut Incoming) -> Value {
    let frame = answer.frame().await.unwrap().unwrap();
    let lines = lines(&frame.into_data().unwrap());
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[tokio::test]
async fn a_file_is_told_while_the_next_has_not_been_sent() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (sender, mut answer) = open(&client).await;
    let first = next(&mut answer).await;
    assert_eq!((&first["name"], &first["status"]), (&"first.jpg".into(), &201.into()));
    // It is worked on, too, although the archive has no end yet.
    assert_eq!(client.settled(first["photo"]["id"].as_str().unwrap()).await["state"], "ready");
    sender.send(entry("second.jpg", b'0', &photos::photo(2, 64, 48))).await.unwrap();
    assert_eq!(next(&mut answer).await["name"], "second.jpg");
    sender.send(end()).await.unwrap();
    drop(sender);
    let last = next(&mut answer).await;
    assert_eq!((&last["totals"]["created"], &last["totals"]["skipped"]), (&2.into(), &1.into()));
    assert!(answer.frame().await.is_none());
    client.idle().await;
}

/// Whoever breaks off leaves what was told and nothing else.
#[tokio::test]
async fn a_client_that_goes_away_leaves_whole_photos() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (sender, mut answer) = open(&client).await;
    next(&mut answer).await;
    let mut half = entry("half.jpg", b'0', &photos::photo(2, 640, 480));
    half.truncate(5000);
    sender.send(half).await.unwrap();
    drop((sender, answer));
    client.idle().await;
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn one_bad_file_of_an_archive_does_not_fail_the_others() {
    let daemon = Daemon::start_with(&Setup::config("[limits]\nupload_bytes_max = '1 MiB'"));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let archive = [
        entry("text.jpg", b'0', &b"this is no photo ".repeat(50_000)),
        entry("a/good.jpg", b'0', &photo),
        entry("empty.jpg", b'0', b""),
        entry("large.jpg", b'0', &vec![7; 2 << 20]),
        entry("x", b'x', b"22 GNU.sparse.major=1\n"),
        entry("sparse.jpg", b'0', &photo),
        entry("cut.jpg", b'0', &photo[..300]),
        entry("last.jpg", b'0', &photos::photo(2, 300, 200)),
        end(),
    ]
    .concat();
    let (files, last) = outcomes(&send(&client, archive).await);
    assert_eq!(
        told(&files),
        [
            ("text.jpg", 415, "/problems/unsupported-image"),
            ("a/good.jpg", 201, ""),
            ("empty.jpg", 422, "/problems/empty-image"),
            ("large.jpg", 413, "/problems/body-too-large"),
            ("sparse.jpg", 422, "/problems/tar-entry-unsupported"),
            ("cut.jpg", 422, "/problems/truncated-image"),
            ("last.jpg", 201, ""),
        ]
    );
    assert_eq!((&last["totals"]["created"], &last["totals"]["refused"]), (&2.into(), &5.into()));
    client.idle().await;
}

#[tokio::test]
async fn a_damaged_archive_ends_with_a_problem_behind_what_is_durable() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (a, b) =
        (entry("a.jpg", b'0', &photos::photo(1, 64, 48)), entry("b.jpg", b'0', &photos::photo(2, 64, 48)));
    let mut damaged = b.clone();
    damaged[0] ^= 1;
    for (archive, files, problem) in [
        ([&a[..], &b[..700]].concat(), 2, "body-incomplete"),
        ([&a[..], &b].concat(), 2, "tar-malformed"),
        ([&a[..], &damaged].concat(), 1, "tar-malformed"),
        ([&a[..], &b[..100]].concat(), 1, "tar-malformed"),
    ] {
        let (told, last) = outcomes(&send(&client, archive).await);
        assert_eq!(told.len(), files, "{told:?}");
        assert!(told[0]["photo"].is_object());
        assert_eq!(last["problem"]["type"], format!("/problems/{problem}"), "{last}");
    }
    client.idle().await;
}

#[tokio::test]
async fn what_is_no_archive_is_refused_as_a_whole() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 64, 48);
    let gzip = [&b"\x1f\x8b\x08"[..], &[7; 1000]].concat();
    for (headers, body, problem) in [
        (vec![TAR], photo.clone(), "tar-malformed"),
        (vec![TAR], Bytes::new(), "tar-malformed"),
        (vec![TAR], Bytes::from(gzip.clone()), "compressed-body"),
        (vec![TAR, ("content-encoding", "gzip")], Bytes::from(gzip.clone()), "content-encoding-unsupported"),
        (vec![("content-type", "application/gzip")], Bytes::from(gzip), "compressed-body"),
    ] {
        let answer = client.send(Method::POST, "/v1/photos", &headers, body).await;
        assert_eq!(answer.problem(), problem);
    }
    let (files, last) = outcomes(&send(&client, end()).await);
    assert!(files.is_empty() && last["problem"].is_null(), "an empty archive is whole: {last}");
    client.idle().await;
}

#[tokio::test]
async fn so_many_files_and_so_many_archives_are_taken_and_no_more() {
    let daemon = Daemon::start_with(&Setup::config("[http]\ntar_entries_max = 2\ntar_streams_max = 1"));
    let client = daemon.client();
    let mut archive: Vec<u8> =
        (0..3).flat_map(|seed| entry("a.jpg", b'0', &photos::photo(seed, 64, 48))).collect();
    archive.extend(end());
    let (files, last) = outcomes(&send(&client, archive.clone()).await);
    assert_eq!((files.len(), &last["problem"]["type"]), (2, &"/problems/too-many-parts".into()));

    let (sender, mut answer) = open(&client).await;
    let refused = send(&client, archive).await;
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "5"));
    sender.send(end()).await.unwrap();
    drop(sender);
    next(&mut answer).await;
    assert!(next(&mut answer).await["totals"].is_object());
    // The place is free again, at once or soon.
    while send(&client, end()).await.status != StatusCode::OK {}
}

/// Where others have every slot, an archive's next file waits until one is free, and nothing has to be sent again.
#[tokio::test]
async fn an_archive_waits_for_room() {
    let daemon = Daemon::start_with(&Setup::config("[budgets]\njob_slots = 4"));
    let client = daemon.client();
    let (sender, mut answer) = open(&client).await;
    next(&mut answer).await;
    client.idle().await;
    let large = photos::photo(9, 1500, 1000);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(stalled(&client, &large).await);
    }
    client.holds("job_slots", 3).await;
    sender.send(entry("second.jpg", b'0', &photos::photo(2, 64, 48))).await.unwrap();
    // It has asked more than once.
    until_metric(&client, "darkroom_refusals_total{reason=\"full\"}", 3.0).await;
    drop(crowd);
    let second = next(&mut answer).await;
    assert_eq!((&second["name"], &second["status"]), (&"second.jpg".into(), &201.into()));
    sender.send(end()).await.unwrap();
    drop(sender);
    assert_eq!(next(&mut answer).await["totals"]["created"], 2);
    client.idle().await;
}

/// A client's archives leave places for others', and one that does not come has none.
#[tokio::test]
async fn one_clients_archives_do_not_keep_others_out() {
    let daemon = Daemon::start_with(&Setup::config("[http]\ntar_streams_max = 2"));
    let client = daemon.client();
    let archive = [&entry("b.jpg", b'0', &photos::photo(2, 64, 48))[..], &end()].concat();
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&client, 4096, archive.len()).await;
        stream.write_all(&archive[..300]).await.unwrap();
        idle.push(stream);
    }
    client.holds("job_slots", 3).await;
    let (_sender, mut answer) = open(&client).await;
    next(&mut answer).await;
    let refused = send(&client, archive.clone()).await;
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "5"));
    let mut other = connect_from(&client, "127.0.0.2").await;
    let head = head(archive.len());
    other.write_all(&[head.as_bytes(), &archive].concat()).await.unwrap();
    let mut text = String::new();
    let mut reader = BufReader::new(other);
    while !text.contains("totals") {
        assert_ne!(reader.read_line(&mut text).await.unwrap(), 0, "{text}");
    }
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"created\":1"), "{text}");
}

/// An archive may take longer than other bodies, also where it is long before the next file is told.
#[tokio::test]
async fn an_archive_with_nothing_to_tell_is_not_cut_off() {
    // Whether a connection stands still is looked at as often as headers may take.
    let daemon =
        Daemon::start_with(&Setup::config("[http]\nheader_timeout = '500ms'\nbody_timeout = '300ms'"));
    let client = daemon.client();
    let (sender, mut answer) = open_h2(&client).await;
    next(&mut answer).await;
    let second = entry("second.jpg", b'0', &photos::photo(2, 640, 480));
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for piece in second.chunks(second.len() / 24) {
        ticks.tick().await; // So long a body takes is what is tested.
        sender.send(piece.to_vec()).await.unwrap();
    }
    assert_eq!(next(&mut answer).await["status"], 201);
    sender.send(end()).await.unwrap();
    drop(sender);
    assert!(next(&mut answer).await["totals"].is_object());
}

/// Whoever has read the last line may send the same again under its key.
#[tokio::test]
async fn a_key_is_free_when_the_last_line_is_there() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let archive =
        [&entry("a.jpg", b'0', &photos::photo(1, 64, 48))[..], &entry("b.jpg", b'0', b"no photo"), &end()];
    let archive = Bytes::from(archive.concat());
    for round in 0..20 {
        let headers = [TAR, ("idempotency-key", "again")];
        let answer = client.send(Method::POST, "/v1/photos?duplicate=allow", &headers, archive.clone()).await;
        let (files, _) = outcomes(&answer);
        assert_eq!(told(&files)[0], ("a.jpg", 201, ""), "round {round}");
    }
    assert_eq!(client.all().await.len(), 1);
}

/// An archive of so many small photos, in a folder of this name.
fn many(count: u64, folder: &str) -> Vec<u8> {
    let photo = photos::photo(1, 16, 16);
    let mut archive = Vec::new();
    for number in 0..count {
        // A comment makes each one unique.
        let mut bytes = photo[..2].to_vec();
        bytes.extend_from_slice(b"\xff\xfe\x00\x0a");
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&photo[2..]);
        archive.extend(entry("././@LongLink", b'L', format!("{folder}/{number:06}.jpg\0").as_bytes()));
        archive.extend(entry("short", b'0', &bytes));
    }
    archive.extend(end());
    archive
}

async fn connect(client: &Client, receive_buffer: u32, length: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(receive_buffer).unwrap();
    let mut stream = socket.connect(client.address().parse().unwrap()).await.unwrap();
    stream.write_all(head(length).as_bytes()).await.unwrap();
    stream
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/photos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// As most clients of HTTP/1.1 do, and with as little room of its own as a system gives.
#[tokio::test]
async fn a_client_may_send_a_thousand_files_before_it_reads() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let archive = many(1000, "photos/2026");
    let mut stream = connect(&client, 4096, archive.len()).await;
    stream.write_all(&archive).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert_eq!(text.matches("\"status\":201").count(), 1000, "{}", &text[..text.len().min(2000)]);
    assert!(text.contains("\"totals\":{\"created\":1000,\"duplicates\":0,\"refused\":0,\"skipped\":0,"));
}

/// Who sends more and never reads is given up, and the answer is not a whole one.
#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let setup =
        Setup::config("[http]\ntar_answer_bytes = '64 KiB'\ntar_patience = '500ms'\ntar_streams_max = 1");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    // Long names make long lines: more than all the buffers between here and there hold.
    let archive = many(2500, &"d".repeat(4000));
    let mut stream = connect(&client, 4096, archive.len()).await;
    let (mut reading, mut writing) = stream.split();
    // It fails when the daemon stops reading before the system has taken all of it.
    let _ = writing.write_all(&archive).await;
    while send(&client, end()).await.status != StatusCode::OK {}
    let mut answer = Vec::new();
    let _ = reading.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200") && !text.contains("\"totals\""), "{} bytes", answer.len());
    client.idle().await;
    assert!(client.all().await.len() < 2500);
}
