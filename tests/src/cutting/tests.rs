use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Cutting, Fate, Manner, Side, Weather};

/// Until something that must come has come, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing has to come for it to be believed that nothing does.
const SILENCE: Duration = Duration::from_millis(100);

/// A server of one connection at a time, and its URL.
async fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn connect(proxy: &Cutting) -> TcpStream {
    TcpStream::connect(&proxy.address).await.unwrap()
}

/// A weather that cuts every connection alike, found by looking at seeds.
fn cutting(side: Side, manner: Manner, after: u64) -> Weather {
    let weather = |seed| Weather {
        seed,
        cut_share: 1.0,
        sent: after..after + 1,
        answered: after..after + 1,
        delay_max: Duration::ZERO,
    };
    let wanted = Some(Fate { side, after, manner });
    (0..1 << 20).map(weather).find(|weather| weather.fate(0) == wanted).unwrap()
}

/// All that comes until the end, and whether the end was in order.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("an end");
    (got, ended.is_ok())
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn in_fair_weather_all_passes_both_ways() {
    let (listener, url) = server().await;
    let proxy =
        Cutting::start(&url, Weather { delay_max: Duration::from_micros(50), ..Weather::fair() }).await;
    let sent = bytes(1 << 20);
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (got, in_order) = rest(&mut stream).await;
        assert!(in_order);
        stream.write_all(&got).await.unwrap();
    });
    let mut client = connect(&proxy).await;
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    assert!(rest(&mut client).await == (sent, true));
    echo.await.unwrap();
    assert_eq!((proxy.carried(), proxy.cuts()), (1 << 20, 0));
}

#[test]
fn the_same_seed_is_the_same_weather() {
    let weather = |seed| Weather {
        seed,
        cut_share: 0.5,
        sent: 0..1_000_000,
        answered: 0..500,
        delay_max: Duration::ZERO,
    };
    let fates = |seed| (0..1_000).map(|number| weather(seed).fate(number)).collect::<Vec<_>>();
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
    let cut = fates(1).into_iter().flatten().collect::<Vec<_>>();
    assert!((400..600).contains(&cut.len()), "{} of 1000", cut.len());
    for manner in [Manner::Close, Manner::Reset, Manner::Vanish] {
        for side in [Side::Requests, Side::Answers] {
            assert!(cut.iter().any(|fate| (fate.manner, fate.side) == (manner, side)), "{manner:?} {side:?}");
        }
    }
    assert!(fates(3).iter().flatten().all(|fate| fate.side == Side::Requests || fate.after < 500));
}

#[tokio::test]
async fn a_request_is_cut_after_exactly_so_many_bytes() {
    for (manner, in_order) in [(Manner::Close, true), (Manner::Reset, false)] {
        let (listener, url) = server().await;
        let proxy = Cutting::start(&url, cutting(Side::Requests, manner, 100_001)).await;
        let mut client = connect(&proxy).await;
        let (mut server, _) = listener.accept().await.unwrap();
        let sending = tokio::spawn(async move {
            // It may break while it sends, or afterwards.
            let _ = client.write_all(&bytes(300_000)).await;
            rest(&mut client).await
        });
        let (got, ended_in_order) = rest(&mut server).await;
        // Where it is reset, what had arrived and was not yet read may be gone.
        assert!(got == bytes(got.len()) && got.len() <= 100_001, "{manner:?}: {} bytes", got.len());
        assert!(ended_in_order == in_order && (!in_order || got.len() == 100_001), "{manner:?}");
        assert_eq!(sending.await.unwrap().0, b"");
        assert_eq!((proxy.carried(), proxy.cuts()), (100_001, 1));
    }
}

#[tokio::test]
async fn an_answer_is_cut_after_exactly_so_many_bytes() {
    let (listener, url) = server().await;
    let proxy = Cutting::start(&url, cutting(Side::Answers, Manner::Close, 7)).await;
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    server.read_exact(&mut [0; 5]).await.unwrap();
    server.write_all(b"0123456789").await.unwrap();
    assert_eq!(rest(&mut client).await.0, b"0123456");
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn a_server_hears_nothing_of_a_client_that_vanishes() {
    let (listener, url) = server().await;
    let proxy = Cutting::start(&url, cutting(Side::Requests, Manner::Vanish, 10)).await;
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(&bytes(20)).await.unwrap();
    let mut got = [0; 10];
    server.read_exact(&mut got).await.unwrap();
    assert!(!rest(&mut client).await.1, "the client is told");
    assert!(timeout(SILENCE, server.read_u8()).await.is_err(), "the server is not");
    drop(proxy);
    assert_eq!(rest(&mut server).await.0, b"", "until the proxy is gone");
}

#[tokio::test]
async fn what_is_behind_it_can_be_gone_and_another_take_its_place() {
    let (listener, url) = server().await;
    let proxy = Cutting::start(&url, Weather::fair()).await;
    let mut first = connect(&proxy).await;
    drop(listener.accept().await.unwrap());
    assert_eq!(rest(&mut first).await.0, b"");
    drop(listener);
    assert!(!rest(&mut connect(&proxy).await).await.1, "nobody is there");

    let ((one, one_url), (two, two_url)) = (server().await, server().await);
    proxy.point_at_each(&[&one_url, &two_url]);
    let clients = [connect(&proxy).await, connect(&proxy).await];
    let (mut at_one, mut at_two) = (one.accept().await.unwrap().0, two.accept().await.unwrap().0);
    at_one.write_all(b"x").await.unwrap();
    at_two.write_all(b"x").await.unwrap();
    for mut client in clients {
        assert_eq!(client.read_u8().await.unwrap(), b'x');
        proxy.cut_all();
    }
    assert!(!rest(&mut at_one).await.1 && !rest(&mut at_two).await.1, "all were reset");
}
