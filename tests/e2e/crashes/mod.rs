//! `kill -9` under upload load: nothing acknowledged is lost, nothing is stuck, nobody sees half a photo, and nothing is
//! left behind.
//!
//! Every second death comes at a random moment, every other at a named point of a photo's way, one after the other.
//! `load` uploads and looks on, `aftermath` looks at what is there in the end.

mod aftermath;
mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use darkroom_tests::{Daemon, Setup, scale};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use load::Load;

/// Where the process dies, in the order of a photo's way: after the put, before and after the commit, in the middle of
/// processing, between variants, after the last, before and after the publish.
const POINTS: [&str; 8] = [
    "original_stored",
    "before_commit",
    "photo_committed",
    "decode",
    "variant_stored",
    "variants_stored",
    "before_publish",
    "published",
];
/// How a death at a random moment is called.
const RANDOM: &str = "random";

/// Budgets small enough that most photos wait on disk when the kill comes, and few variants: it is deaths that count.
const CONFIG: &str = "[limits]\npixels_max = 16000000\nupload_bytes_max = '32 MiB'\n\
                      [budgets]\nbodies = '128 MiB'\npixels = '256 MiB'\n\
                      [[presets]]\nname = 'small'\nwidth = 640\nheight = 640\n\
                      [[presets]]\nname = 'thumb'\nwidth = 160\nheight = 160\n\
                      [[presets]]\nname = 'square'\nwidth = 50\nheight = 50\nfit = 'cover'\n";
/// How many those are.
const PRESETS: usize = 3;

/// `DARKROOM_TEST_KILLS=100` for the whole of it; `DARKROOM_TEST_KILL_WIDTH=4032` for photos of 12 megapixels;
/// `DARKROOM_TEST_SEED` to repeat one.
#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_left_behind() {
    let kills = scale("DARKROOM_TEST_KILLS", 8);
    let wanted = scale("DARKROOM_TEST_KILL_ACKS", 50);
    let width = scale("DARKROOM_TEST_KILL_WIDTH", 320) as u32;
    let seed = scale("DARKROOM_TEST_SEED", rand::random::<u32>() as usize) as u64;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let load = Load::new(width);
    let mut home = Arc::new(tempfile::tempdir().unwrap());
    let mut deaths = BTreeMap::new();
    // Few kills take other points each time.
    let first = random.random_range(0..POINTS.len());
    for cycle in 0..kills {
        let point = (cycle % 2 == 1).then(|| POINTS[(first + cycle / 2) % POINTS.len()]);
        *deaths.entry(point.unwrap_or(RANDOM)).or_insert(0) += 1;
        home = one_life(home, &load, point, wanted, &mut random).await;
    }
    let end = aftermath::look(home, &load.acknowledged(), |client| load.watch(client, &mut random)).await;
    let seen = load.seen();
    println!(
        "{kills} cycles, {} acknowledged, deaths {deaths:?}, {} looks at {} photos: {} half visible; then {end}",
        load.acknowledged().len(),
        seen.looks,
        seen.photos,
        seen.half.len(),
    );
    assert!(load.acknowledged().len() >= kills * wanted);
    assert!(seen.ready > 0, "nobody ever saw a photo ready: {seen:?}");
    assert!(seen.half.is_empty(), "half visible: {:#?}", seen.half);
    end.check();
}

/// A daemon's life under load, until it dies: at a random moment, or at `point`. Its home.
async fn one_life(
    home: Arc<TempDir>,
    load: &Load,
    point: Option<&'static str>,
    wanted: usize,
    random: &mut StdRng,
) -> Arc<TempDir> {
    let armed = home.path().join("armed");
    let _ = std::fs::remove_file(&armed);
    let fault = point.map_or_else(String::new, |point| {
        // Not the first that comes by, which may always be in the same situation.
        let skip = random.random_range(0..16);
        format!(
            "[[testing.faults]]\npoint = '{point}'\naction = 'kill'\narmed_by = '{}'\nskip = {skip}\n",
            armed.display()
        )
    });
    let mut daemon = Daemon::start_on(home, &Setup::config(&format!("{CONFIG}{fault}")));
    let clients = load.start(&daemon.client(), random);
    clients.acknowledged(wanted).await;
    let home = if point.is_some() {
        std::fs::write(&armed, "").unwrap();
        let waiting = tokio::task::spawn_blocking(move || {
            assert!(!daemon.wait(), "it ended in order instead of dying");
            daemon
        });
        waiting.await.unwrap().home()
    } else {
        // Not a wait for a condition: the moment of the kill is what is random.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
        daemon.kill()
    };
    clients.end().await;
    home
}
