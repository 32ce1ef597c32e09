//! What the API tells and serves of a photo beyond its variants' bytes: placeholders, camera, damage, motion.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_media::SourceFormat;
use darkroom_tests::{Daemon, Setup, photos};
use hyper::StatusCode;

fn format(bytes: &[u8]) -> (SourceFormat, u32) {
    let probe = darkroom_media::probe(bytes, &darkroom_media::Limits::default()).unwrap();
    (probe.format, probe.frames)
}

#[tokio::test]
async fn a_cut_photo_is_shown_and_marked() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let whole = photos::photo(1, 1000, 800);
    let accepted = client.upload(&whole.slice(..whole.len() / 2)).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{accepted:?}");
    assert_eq!(accepted.json()["damage"], "the file ends before the picture does");
    let photo = client.settled(accepted.json()["id"].as_str().unwrap()).await;
    assert_eq!(photo["state"], "ready", "{photo}");
    let damage = photo["damage"].as_str().unwrap();
    assert!(damage.starts_with("its pixel data ends after row ") && damage.ends_with(" of 800"), "{damage}");
    let variant = client.get(photo["variants"][0]["url"].as_str().unwrap()).await;
    assert_eq!(photos::size(&variant.body), (1000, 800));
    // Whole ones say nothing.
    let photo = client.upload_settled(&whole).await;
    assert!(photo.get("damage").is_none(), "{photo}");
}

#[tokio::test]
async fn a_photo_tells_its_camera_and_its_looks_and_never_its_place() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let accepted = client.upload(&photos::photo(7, 640, 480)).await.json();
    assert_eq!(
        (&accepted["camera"]["make"], &accepted["camera"]["model"]),
        (&"Darkroom".into(), &"Synth 1".into())
    );
    assert!(accepted.get("looks").is_none(), "nothing is decoded yet: {accepted}");
    let photo = client.settled(accepted["id"].as_str().unwrap()).await;
    let looks = &photo["looks"];
    assert!(looks["dominant_color"].as_str().unwrap().starts_with('#'), "{photo}");
    assert_eq!(looks["perceptual_hash"].as_str().unwrap().len(), 16);
    assert!(
        looks["thumbhash"].as_str().unwrap().len() > 20 && looks["blurhash"].as_str().unwrap().len() > 20
    );
    // The place of this seed is 52° 7' 30" N, 13° 0' 30" E.
    let told = format!("{}{}", photo["camera"], photo["looks"]).to_lowercase();
    for place in ["latitude", "longitude", "52.1", "52/1", "52,7", "52°", "52 deg", "13.0", "13/1", "13,0"] {
        assert!(!told.contains(place), "{place} in {told}");
    }
    assert!(!photo.to_string().to_lowercase().contains("gps"), "{photo}");
    for variant in photo["variants"].as_array().unwrap() {
        let file = client.get(variant["url"].as_str().unwrap()).await.body;
        assert!(!photos::tells_place(&file, 7), "{variant}");
    }
    // The same picture in other bytes has nearly the same hash.
    let again = darkroom_media::synth::jpeg(&darkroom_media::synth::PhotoSpec {
        seed: 7,
        width: 640,
        height: 480,
        quality: 60,
        ..Default::default()
    });
    let again = client.upload_settled(&again.into()).await;
    let hash = |photo: &serde_json::Value| photo["looks"]["perceptual_hash"].as_str().unwrap().to_owned();
    let distance = darkroom_media::perceptual_distance(&hash(&photo), &hash(&again)).unwrap();
    assert!(distance <= 6, "{distance} bits");
}

#[tokio::test]
async fn an_animation_keeps_its_motion_where_the_preset_says_so() {
    let setup = Setup::config(
        "[[presets]]\nname = \"moving\"\nwidth = 80\nheight = 80\nformat = \"webp\"\nanimated = true\n\
         [[presets]]\nname = \"still\"\nwidth = 80\nheight = 80\nformat = \"webp\"\n",
    );
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let original = photos::fixture("animated.webp");
    let frames = format(&original).1;
    assert!(frames > 1);
    let photo = client.upload_settled(&original).await;
    let mut found = Vec::new();
    for index in 0..2 {
        let answer = client.get(photo["variants"][index]["url"].as_str().unwrap()).await;
        found.push(format(&answer.body));
    }
    assert_eq!(found, [(SourceFormat::WebP, frames), (SourceFormat::WebP, 1)]);
}

/// A GIF of a large canvas, of which each of many frames changes one pixel: small, and long to render.
fn slow_gif(side: u16, frames: u16) -> Bytes {
    let side_bytes = side.to_le_bytes();
    let mut gif = b"GIF89a".to_vec();
    gif.extend([side_bytes, side_bytes].concat());
    // A palette of two colours for all frames: black and white.
    gif.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    for frame in 0..frames {
        gif.extend([0x21, 0xF9, 4, 0, 10, 0, 0, 0]);
        gif.push(0x2C);
        gif.extend(frame.to_le_bytes());
        gif.extend([0, 0, 1, 0, 1, 0, 0]);
        // Three codes of three bits: clear, colour 1, end.
        gif.extend([2, 2, 0x4C, 0x01, 0]);
    }
    gif.push(0x3B);
    gif.into()
}

#[tokio::test]
async fn a_photo_that_takes_too_long_fails_with_a_reason() {
    // Two billion pixels: many times what can be rendered in a second.
    let daemon = Daemon::start_with(&Setup::config(
        "[limits]\ndecode_time_max = '1s'\nanimation_pixels_max = 4000000000\n\
         [[presets]]\nname = \"moving\"\nwidth = 400\nheight = 400\nformat = \"webp\"\nanimated = true\n",
    ));
    let client = daemon.client();
    let photo = client.upload_settled(&slow_gif(2000, 500)).await;
    let failure = &photo["failure"];
    assert_eq!((&photo["state"], &failure["code"]), (&"failed".into(), &"image-too-slow".into()), "{photo}");
    assert!(failure["detail"].as_str().unwrap().contains("longer than 1 s"), "{photo}");
    // The next one has its own time.
    assert_eq!(client.upload_settled(&slow_gif(20, 3)).await["state"], "ready");
}

#[tokio::test]
async fn motion_that_the_pixel_budget_cannot_hold_is_a_first_frame_and_no_refusal() {
    let preset = |animated: bool| {
        format!(
            "[limits]\npixels_max = 4000000\n[budgets]\npixels = '128 MiB'\n\
             [[presets]]\nname = \"x\"\nwidth = 400\nheight = 400\nformat = \"webp\"\nanimated = {animated}\n"
        )
    };
    let frames = |file: &[u8]| format(file).1;
    let original = slow_gif(500, 300);
    // Fresh.
    let daemon = Daemon::start_with(&Setup::config(&preset(true)));
    let client = daemon.client();
    let photo = client.upload_settled(&original).await;
    assert_eq!(photo["state"], "ready", "{photo}");
    assert_eq!(frames(&client.get(photo["variants"][0]["url"].as_str().unwrap()).await.body), 1);
    // A shorter one keeps its motion within the same budget.
    let short = client.upload_settled(&slow_gif(500, 5)).await;
    assert!(frames(&client.get(short["variants"][0]["url"].as_str().unwrap()).await.body) > 1);
    // Asked for after the photo was there.
    let daemon = Daemon::start_with(&Setup::config(&preset(false)));
    let photo = daemon.client().upload_settled(&original).await;
    let path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    let old = photo["variants"][0]["blake3"].clone();
    let daemon = Daemon::start_on(daemon.stop(), &Setup::config(&preset(true)));
    let client = daemon.client();
    // The old file is served while the new one is asked for.
    assert_eq!(client.get(&format!("{path}/variants/x")).await.status, StatusCode::OK);
    let began = Instant::now();
    while client.metric("darkroom_photos_settled_total{outcome=\"ready\"}").await == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never made anew");
    }
    let photo = client.get(&path).await.json();
    assert_eq!(photo["state"], "ready");
    assert_eq!(photo["variants"][0]["blake3"], old, "the same first frame");
    assert_eq!(frames(&client.get(photo["variants"][0]["url"].as_str().unwrap()).await.body), 1);
}
