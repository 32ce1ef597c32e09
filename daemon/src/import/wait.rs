//! Waits until the photos of a batch are ready or failed.

use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use serde::Deserialize;

use super::ask::Asker;
use super::ledger::{Group, Kind, Tally};
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

/// Waits, and reads which failed. None when the import is to end before.
///
/// # Errors
/// When the daemon cannot be asked.
pub(super) async fn wait(
    asker: &Asker,
    batch: &str,
    mut shown: Waiting,
) -> anyhow::Result<Option<Processed>> {
    let path = format!("/v1/batches/{batch}");
    loop {
        let Some(view) = get::<BatchView>(asker, &path).await? else { return Ok(None) };
        let view = view.counts;
        shown.show(view.ready + view.failed, view.processing);
        if view.processing == 0 {
            shown.end();
            let Some(groups) = failures(asker, &path, view.failed).await? else { return Ok(None) };
            return Ok(Some(Processed { ready: view.ready, failed: view.failed, groups }));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = asker.stop.asked() => return Ok(None),
        }
    }
}

async fn failures(asker: &Asker, batch: &str, count: u64) -> anyhow::Result<Option<Vec<(String, Group)>>> {
    // The grouping of what could not be sent serves here, too.
    let (mut tally, mut cursor) = (Tally::default(), String::new());
    if count == 0 {
        return Ok(Some(Vec::new()));
    }
    loop {
        let page = format!("{batch}/items?state=failed&limit={PAGE}{cursor}");
        let Some(page) = get::<ItemPage>(asker, &page).await? else { return Ok(None) };
        for item in page.items {
            let reason = item.failure.map_or_else(
                || Reason::local("no reason is known"),
                |Failure { code, detail }| Reason { code: Some(code), detail },
            );
            let name = item.name.or(item.photo).unwrap_or_default();
            tally.explain(Kind::Failed, &reason, name.into());
        }
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(Some(tally.groups.into_iter().map(|((_, name), group)| (name, group)).collect()))
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
