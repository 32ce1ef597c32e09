//! Presets whose format is left open: which file a client gets, under which link, and what caches may make of it.

use darkroom_tests::{Client, Daemon, Setup, photos};
use hyper::StatusCode;
use serde_json::Value;

fn preset(name: &str, side: u32, format: &str) -> String {
    format!("[[presets]]\nname = '{name}'\nwidth = {side}\nheight = {side}\nformat = '{format}'\n")
}

#[tokio::test]
async fn an_open_format_follows_what_the_client_accepts() {
    let setup = Setup::config(
        "[[presets]]\nname = \"auto\"\nwidth = 300\nheight = 300\nformat = \"auto\"\n\
         [[presets]]\nname = \"plain\"\nwidth = 100\nheight = 100\n",
    );
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 800, 600)).await;
    let auto = &photo["variants"][0];
    assert_eq!((&auto["type"], &auto["formats"][0]["type"]), (&"image/jpeg".into(), &"image/webp".into()));
    let url = auto["url"].as_str().unwrap();
    let cases = [
        ("*/*", "image/jpeg"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "image/webp"),
        ("text/html, IMAGE/WEBP;q=0.5", "image/webp"),
        ("image/webp;q=0, */*", "image/jpeg"),
        ("image/jpeg, image/webp;q=0.1", "image/jpeg"),
        ("image/png", "image/jpeg"),
    ];
    for (accept, expected) in cases {
        let answer = client.get_with(url, &[("accept", accept)]).await;
        assert_eq!(answer.header("content-type"), expected, "{accept}");
        let limits = darkroom_media::Limits::default();
        assert_eq!(darkroom_media::probe(&answer.body, &limits).unwrap().format.mime(), expected);
        assert_eq!(answer.header("vary"), "accept");
        assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
        let tag = answer.header("etag").to_owned();
        let again = client.get_with(url, &[("accept", accept), ("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.header("vary")), (StatusCode::NOT_MODIFIED, "accept"));
    }
    let plain = client.get(photo["variants"][1]["url"].as_str().unwrap()).await;
    assert_eq!(plain.header("vary"), "", "nothing to choose from");
    assert!(photo["variants"][1].get("formats").is_none());

    // What is transparent is no JPEG.
    let clear = client.upload_settled(&photos::fixture("lossy-alpha.webp")).await;
    assert_eq!(clear["variants"][0]["type"], "image/png", "{clear}");
}

#[tokio::test]
async fn conditions_and_ranges_concern_the_file_that_is_chosen() {
    let daemon = Daemon::start_with(&Setup::config(&preset("auto", 300, "auto")));
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 800, 600)).await;
    let url = photo["variants"][0]["url"].as_str().unwrap();
    let get = async |headers: &[(&str, &str)]| {
        let answer = client.get_with(url, headers).await;
        assert_eq!(answer.header("vary"), "accept", "{headers:?}: {answer:?}");
        answer
    };
    let webp = ("accept", "image/webp");
    let (jpeg_file, webp_file) = (get(&[]).await, get(&[webp]).await);
    let (jpeg_tag, webp_tag) = (jpeg_file.header("etag"), webp_file.header("etag"));
    assert_ne!(jpeg_tag, webp_tag);
    // One date for both files would tell them apart from nothing.
    assert_eq!((jpeg_file.header("last-modified"), webp_file.header("last-modified")), ("", ""));

    // Whoever has the other file has not got this one.
    let other = get(&[webp, ("if-none-match", jpeg_tag)]).await;
    assert_eq!((other.status, &other.body), (StatusCode::OK, &webp_file.body));
    let both = get(&[webp, ("if-none-match", &format!("{jpeg_tag}, {webp_tag}"))]).await;
    assert_eq!((both.status, both.header("etag")), (StatusCode::NOT_MODIFIED, webp_tag));

    let range = ("range", "bytes=4-11");
    let part = get(&[webp, range]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &webp_file.body[4..12]));
    assert_eq!(part.header("content-range"), format!("bytes 4-11/{}", webp_file.body.len()));
    let part = get(&[webp, range, ("if-range", webp_tag)]).await;
    assert_eq!((part.status, part.body.len()), (StatusCode::PARTIAL_CONTENT, 8));
    let whole = get(&[webp, range, ("if-range", jpeg_tag)]).await;
    assert_eq!((whole.status, &whole.body), (StatusCode::OK, &webp_file.body));
    let part = get(&[range, ("if-range", jpeg_tag)]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &jpeg_file.body[4..12]));
}

/// The file for who takes anything.
async fn plain(client: &Client, photo: &Value, index: usize) -> String {
    let answer =
        client.get_with(photo["variants"][index]["url"].as_str().unwrap(), &[("accept", "*/*")]).await;
    assert_eq!(answer.header("content-type"), photo["variants"][index]["type"].as_str().unwrap());
    answer.header("content-type").to_owned()
}

#[tokio::test]
async fn what_every_client_understands_comes_first_beside_other_presets() {
    let presets = preset("webp", 300, "webp") + &preset("auto", 300, "auto") + &preset("larger", 500, "auto");
    let daemon = Daemon::start_with(&Setup::config(&presets));
    let client = daemon.client();
    // Of the size of two presets, and smaller than all.
    for photo in [photos::photo(1, 800, 600), photos::photo(2, 200, 150)] {
        let photo = client.upload_settled(&photo).await;
        assert_eq!(plain(&client, &photo, 0).await, "image/webp");
        for index in [1, 2] {
            assert_eq!(plain(&client, &photo, index).await, "image/jpeg");
            assert_eq!(photo["variants"][index]["formats"][0]["type"], "image/webp");
        }
    }
}

#[tokio::test]
async fn a_link_stands_for_all_files_of_its_preset() {
    let daemon = Daemon::start_with(&Setup::config(&preset("auto", 300, "auto")));
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 800, 600)).await;
    let auto = &photo["variants"][0];
    let (path, _) = auto["url"].as_str().unwrap().split_once("?v=").unwrap();
    // The digits of one file would go on standing for the other one when that changes.
    for file in [auto, &auto["formats"][0]] {
        let link = format!("{path}?v={}", &file["blake3"].as_str().unwrap()[..16]);
        let answer = client.get(&link).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (StatusCode::FOUND, auto["url"].as_str().unwrap())
        );
    }
}

#[tokio::test]
async fn while_two_files_are_left_of_a_preset_that_makes_one_now_the_answer_varies() {
    let before = Daemon::start_with(&Setup::config(&preset("x", 300, "auto")));
    let photo = before.client().upload_settled(&photos::photo(1, 800, 600)).await;
    let path = format!("/v1/photos/{}/variants/x", photo["id"].as_str().unwrap());
    // Nothing can be decoded any more, so that the new file is never made.
    let stuck = preset("x", 300, "jpeg") + "[[testing.faults]]\npoint = 'decode'\naction = 'panic'\n";
    let after = Daemon::start_on(before.stop(), &Setup::config(&stuck));
    for accept in ["image/webp", "image/jpeg"] {
        let answer = after.client().get_with(&path, &[("accept", accept)]).await;
        assert_eq!((answer.header("content-type"), answer.header("vary")), (accept, "accept"));
    }
}
