//! Waits until the photos of a batch are ready or failed.

use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use serde::Deserialize;

use super::ask::Asker;
use super::ledger::{Elsewhere, Group, Kind, Tally};
use super::patience::{GaveUp, Reason};
use super::progress::Waiting;

/// How often the batch is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Failed photos that are read at once.
const PAGE: usize = 200;

/// What became of the photos.
#[derive(Debug, Default)]
pub(super) struct Processed {
    pub(super) ready: u64,
    pub(super) failed: u64,
    pub(super) groups: Vec<(String, Group)>,
}

/// A batch, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct BatchView {
    counts: Counts,
}

#[derive(Debug, Deserialize)]
struct Counts {
    processing: u64,
    ready: u64,
    failed: u64,
}

#[derive(Deserialize)]
struct ItemPage {
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    name: Option<String>,
    photo: Option<String>,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    detail: String,
}

/// A photo, as far as it is looked at. Without a state: it is gone.
#[derive(Default, Deserialize)]
struct PhotoView {
    state: String,
    failure: Option<Failure>,
}

/// Waits for the photos of a batch, and for those that were sent and are in others; reads which failed. None when the
/// import is to end before.
///
/// # Errors
/// When the daemon cannot be asked.
pub(super) async fn wait(
    asker: &Asker,
    batch: &str,
    elsewhere: &[Elsewhere],
    mut shown: Waiting,
) -> anyhow::Result<Option<Processed>> {
    let path = format!("/v1/batches/{batch}");
    // The grouping of what could not be sent serves here, too.
    let mut failed = Tally::default();
    let mut processed = loop {
        let Some(view) = get::<BatchView>(asker, &path).await? else { return Ok(None) };
        let view = view.counts;
        shown.show(view.ready + view.failed, view.processing);
        if view.processing == 0 {
            break Processed { ready: view.ready, failed: view.failed, ..Processed::default() };
        }
        if !pause(asker).await {
            return Ok(None);
        }
    };
    if processed.failed > 0 && !explain(asker, &path, &mut failed).await? {
        return Ok(None);
    }
    for photo in elsewhere {
        match settled(asker, photo).await? {
            None => return Ok(None),
            Some(view) if view.state == "failed" => {
                processed.failed += 1;
                failed.explain(Kind::Failed, &reason(view.failure), photo.path.clone());
            }
            Some(view) if view.state == "ready" => processed.ready += 1,
            // Deleted since: nobody waits for it.
            Some(_) => {}
        }
    }
    shown.end();
    processed.groups = failed.groups.into_iter().map(|((_, name), group)| (name, group)).collect();
    Ok(Some(processed))
}

/// Until the next look; false when the import is to end before.
async fn pause(asker: &Asker) -> bool {
    tokio::select! {
        () = tokio::time::sleep(LOOK_EVERY) => true,
        () = asker.stop.asked() => false,
    }
}

/// The photo once nobody works on it any more. None when the import is to end before.
async fn settled(asker: &Asker, photo: &Elsewhere) -> anyhow::Result<Option<PhotoView>> {
    loop {
        let path = format!("/v1/photos/{}", photo.photo);
        let view = match asker.ask(Method::GET, &path, None::<&()>).await {
            Ok(answer) => serde_json::from_slice::<PhotoView>(&answer.body)
                .with_context(|| format!("the answer of {path} is not understood"))?,
            Err(GaveUp::Stopped) => return Ok(None),
            Err(GaveUp::Refused(reason)) if reason.is("photo-not-found") => PhotoView::default(),
            Err(GaveUp::Refused(reason) | GaveUp::Failed(reason)) => {
                bail!("could not ask for {}, which was sent: {reason}", photo.path.display())
            }
        };
        if view.state != "processing" {
            return Ok(Some(view));
        }
        if !pause(asker).await {
            return Ok(None);
        }
    }
}

fn reason(failure: Option<Failure>) -> Reason {
    failure.map_or_else(
        || Reason::local("no reason is known"),
        |Failure { code, detail }| Reason { code: Some(code), detail },
    )
}

/// Notes which photos of a batch failed, and why; false when the import is to end before.
async fn explain(asker: &Asker, batch: &str, failed: &mut Tally) -> anyhow::Result<bool> {
    let mut cursor = String::new();
    loop {
        let page = format!("{batch}/items?state=failed&limit={PAGE}{cursor}");
        let Some(page) = get::<ItemPage>(asker, &page).await? else { return Ok(false) };
        for item in page.items {
            let name = item.name.or(item.photo).unwrap_or_default();
            failed.explain(Kind::Failed, &reason(item.failure), name.into());
        }
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(true),
        }
    }
}

async fn get<T: for<'de> Deserialize<'de>>(asker: &Asker, path: &str) -> anyhow::Result<Option<T>> {
    match asker.ask(Method::GET, path, None::<&()>).await {
        Ok(answer) => serde_json::from_slice(&answer.body)
            .with_context(|| format!("the answer of {path} is not understood"))
            .map(Some),
        Err(GaveUp::Stopped) => Ok(None),
        Err(GaveUp::Refused(reason) | GaveUp::Failed(reason)) => {
            bail!("could not follow the batch: {reason}")
        }
    }
}
