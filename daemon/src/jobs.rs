//! `darkroomd jobs`: what is in the durable queue, and what was given up.
//!
//! Speaks to the daemon of this machine, or looks into the metadata itself when none runs.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use anyhow::{Context, bail};
use darkroom_api::jobs::{self as view, JobPage, JobView};
use darkroom_config::Config;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::identity;
use darkroom_store::model::jobs::{self, Class, Dropped, Entry, Operation, Standing};
use darkroom_store::model::{JobId, LeaseId, Timestamp};
use hyper::Method;
use serde::Serialize;

use crate::admin;
use crate::alone::alone;

/// Which jobs to list.
pub(crate) struct Wanted {
    pub(crate) class: Option<Class>,
    pub(crate) state: Option<Standing>,
    pub(crate) limit: usize,
}

/// `jobs list`.
pub(crate) async fn list(config: &Config, wanted: &Wanted, json: bool) -> anyhow::Result<()> {
    let (mut items, mut cursor) = (Vec::new(), None);
    // A page may be short: it ends after so many rows, whatever it found among them.
    while items.len() < wanted.limit {
        let page = page(config, &query(wanted, wanted.limit - items.len(), cursor.as_deref())).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    items.truncate(wanted.limit);
    if json {
        return print_json(&items);
    }
    print!("{}", table(&items));
    if cursor.is_some() {
        println!("and more: raise --limit");
    }
    Ok(())
}

fn query(wanted: &Wanted, left: usize, cursor: Option<&str>) -> String {
    let mut query = format!("limit={}", left.min(view::LIMIT_MAX));
    if let Some(class) = wanted.class {
        query = format!("{query}&class={}", class.as_str());
    }
    if let Some(state) = wanted.state {
        query = format!("{query}&state={}", state.as_str());
    }
    cursor.map_or(query.clone(), |cursor| format!("{query}&cursor={cursor}"))
}

async fn page(config: &Config, query: &str) -> anyhow::Result<JobPage> {
    if let Some(answer) = ask(config, Method::GET, &format!("/v1/admin/jobs?{query}")).await? {
        return serde_json::from_slice(&answer).context("the daemon's answer is not understood");
    }
    let wanted = view::wanted(Some(query)).map_err(|problem| anyhow::anyhow!(problem.detail))?;
    alone(config, async |metadata| Ok(view::page(metadata, &wanted).await?)).await
}

/// `jobs show`.
pub(crate) async fn show(config: &Config, id: JobId, json: bool) -> anyhow::Result<()> {
    let job = if let Some(answer) = ask(config, Method::GET, &format!("/v1/admin/jobs/{id}")).await? {
        understand(&answer)?
    } else {
        let entry = alone(config, async |metadata| load(metadata, id).await).await?;
        JobView::new(&entry, Timestamp::now())
    };
    if json {
        return print_json(&job);
    }
    print!("{}", details(&job));
    Ok(())
}

/// `jobs retry`.
pub(crate) async fn retry(config: &Config, id: JobId, json: bool) -> anyhow::Result<()> {
    let path = format!("/v1/admin/jobs/{id}/retry");
    let job = if let Some(answer) = ask(config, Method::POST, &path).await? {
        understand(&answer)?
    } else {
        let entry = alone(config, async |metadata| {
            let by = &operation(metadata).await?;
            let transaction = |tx| async move { jobs::retry(&tx, id, by).await };
            let retried = metadata.transact("retry job", transaction).await?;
            view::due_job(retried, &id.to_string()).map_err(|problem| anyhow::anyhow!(problem.detail))
        });
        JobView::new(&entry.await?, Timestamp::now())
    };
    if json {
        return print_json(&job);
    }
    println!("job {id} is due now");
    Ok(())
}

/// `jobs drop`.
pub(crate) async fn drop_job(config: &Config, id: JobId) -> anyhow::Result<()> {
    if ask(config, Method::DELETE, &format!("/v1/admin/jobs/{id}")).await?.is_none() {
        let dropped = alone(config, async |metadata| {
            let (seen, by) = (&load(metadata, id).await?, &operation(metadata).await?);
            let transaction = |tx| async move { jobs::drop_job(&tx, seen, by).await };
            Ok(metadata.transact("drop job", transaction).await?)
        });
        if dropped.await? == Dropped::NotFound {
            bail!("there is no job {id} any more: it was done meanwhile");
        }
    }
    println!("job {id} is gone");
    Ok(())
}

async fn ask(config: &Config, method: Method, path: &str) -> anyhow::Result<Option<bytes::Bytes>> {
    admin::ask(&config.server.data, method, path).await
}

fn understand(answer: &[u8]) -> anyhow::Result<JobView> {
    serde_json::from_slice(answer).context("the daemon's answer is not understood")
}

async fn load(metadata: &Metadata, id: JobId) -> anyhow::Result<Entry> {
    view::find(metadata, id)
        .await?
        .with_context(|| format!("there is no job {id}: it is done, was dropped, or the id is wrong"))
}

async fn operation(metadata: &Metadata) -> anyhow::Result<Operation> {
    let identity = metadata.read("read identity", |tx| async move { identity::get(&tx).await }).await?;
    let history = identity.context("the store is empty: no daemon has ever started on it")?.history;
    Ok(Operation { id: LeaseId::new(), now: Timestamp::now(), history })
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Longest reason in a table; the whole of it is shown by `jobs show`.
const REASON_CHARS_MAX: usize = 60;

/// The jobs as aligned columns, for people.
fn table(jobs: &[JobView]) -> String {
    let headings = ["ID", "KIND", "CLASS", "STATE", "DUE", "ATTEMPTS", "DEATHS", "PHOTO", "REASON"];
    let mut rows = vec![headings.map(ToOwned::to_owned)];
    rows.extend(jobs.iter().map(|job| {
        [
            job.id.clone(),
            job.kind.clone(),
            job.class.clone(),
            job.state.clone(),
            job.due_at.clone(),
            job.attempts.to_string(),
            job.deaths.to_string(),
            job.photo.clone().unwrap_or_default(),
            reason(job).chars().take(REASON_CHARS_MAX).collect(),
        ]
    }));
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn reason(job: &JobView) -> String {
    match (&job.dead, job.failures.last()) {
        (Some(dead), _) => format!("{}: {}", dead.code, dead.detail),
        (None, Some(failed)) => failed.error.clone(),
        (None, None) => String::new(),
    }
}

/// One job, a line for each thing that is known of it.
fn details(job: &JobView) -> String {
    let mut lines = vec![
        ("id", job.id.clone()),
        ("kind", job.kind.clone()),
        ("photo", job.photo.clone().unwrap_or_default()),
        ("class", job.class.clone()),
        ("state", job.state.clone()),
        ("enqueued", job.enqueued_at.clone()),
        ("due", job.due_at.clone()),
        ("attempts", job.attempts.to_string()),
        ("deaths", job.deaths.to_string()),
        ("interruptions", job.interruptions.to_string()),
    ];
    lines.extend(job.held_by_epoch.map(|epoch| ("held by", format!("the node of epoch {epoch}"))));
    lines.extend(job.failures.iter().map(|failed| ("failed", format!("{}  {}", failed.at, failed.error))));
    lines.extend(
        job.dead.iter().map(|dead| ("given up", format!("{}  {}: {}", dead.at, dead.code, dead.detail))),
    );
    lines.iter().map(|(name, value)| format!("{name:<14} {value}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::PhotoId;
    use darkroom_store::model::jobs::{DeadJob, Job, Kind};

    use super::*;

    fn views() -> Vec<JobView> {
        let job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), Timestamp(0));
        let dead = DeadJob {
            job: Job::new(JobId::new(), Kind::Render, PhotoId::new(), Timestamp(0)),
            code: "processing-panicked".to_owned(),
            detail: "long ".repeat(50),
            died: Timestamp(1000),
        };
        [Entry::Live(job), Entry::Dead(dead)].map(|entry| JobView::new(&entry, Timestamp(5))).into()
    }

    #[test]
    fn a_table_has_a_line_for_each_job_and_its_columns_are_aligned() {
        let jobs = views();
        let text = table(&jobs);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let state = lines[0].find("STATE").unwrap();
        assert!(lines[1][state..].starts_with("due ") && lines[2][state..].starts_with("dead "), "{text}");
        assert!(lines[2].contains("processing-panicked: long"), "{text}");
        assert!(lines.iter().all(|line| line.len() < 250), "{text}");
    }

    #[test]
    fn one_job_is_shown_whole() {
        let text = details(&views()[1]);
        assert!(text.contains("given up") && text.contains("long long long"), "{text}");
        assert!(text.contains(&"long ".repeat(50).trim_end().to_owned()), "{text}");
    }

    #[test]
    fn a_question_says_what_was_asked_for_and_no_more_than_a_page() {
        let wanted = Wanted { class: Some(Class::Bulk), state: Some(Standing::Dead), limit: 1000 };
        assert_eq!(query(&wanted, 1000, Some("ab")), "limit=200&class=bulk&state=dead&cursor=ab");
    }
}
