//! The commands other than `serve`. They speak to the running daemon, or open the store themselves when none
//! runs.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use std::path::Path;

use anyhow::{Context, bail};
use darkroom_actors::{JanitorReport, LettersKept, Sweep};
use darkroom_config::{Config, DEFAULT_FILE};
use darkroom_store::backup::{self, Backup, Contents, Target};
use darkroom_store::life;
use darkroom_store::model::Timestamp;
use hyper::Method;
use uuid::Uuid;

use crate::{admin, lock, stores, telemetry};

/// `check-config`: reaching this point means that the configuration is fine.
pub(crate) fn check_config(config: &Config) -> anyhow::Result<()> {
    telemetry::filter(&config.log)?;
    let presets: Vec<_> = config.presets.iter().map(|preset| preset.name.as_str()).collect();
    println!("the configuration is fine");
    println!("  listen   {}", config.server.listen);
    println!("  data     {}", config.server.data.display());
    println!("  presets  {}", presets.join(", "));
    let budgets = &config.budgets;
    println!(
        "  memory   {} for bodies, {} for pixels, {} for stripping",
        budgets.bodies, budgets.pixels, budgets.stripping
    );
    Ok(())
}

/// `default-config`.
#[expect(clippy::unnecessary_wraps, reason = "like every command")]
pub(crate) fn default_config() -> anyhow::Result<()> {
    print!("{DEFAULT_FILE}");
    Ok(())
}

/// `janitor --now`.
pub(crate) fn janitor(config: &Config) -> anyhow::Result<()> {
    let report = runtime()?.block_on(async {
        match admin::ask(&config.server.data, Method::POST, "/v1/admin/janitor").await? {
            Some(answer) => serde_json::from_slice(&answer).context("the daemon's answer is not understood"),
            None => sweep_alone(config).await,
        }
    })?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// With no daemon running here: on an engine of one node all that earlier processes left is swept; on a shared one what
/// nodes left that are known to be dead.
async fn sweep_alone(config: &Config) -> anyhow::Result<JanitorReport> {
    let data = &config.server.data;
    if !data.is_dir() {
        bail!("there is no data directory {}: nothing to sweep", data.display());
    }
    let _lock = lock::acquire(data)?;
    let metadata = stores::metadata(config).await?;
    let objects = stores::objects(config).await?;
    let life = life::begin(&metadata, &objects).await?;
    let letters = LettersKept::by(&config.pipeline_options());
    let report = Sweep::new(metadata.clone(), objects, life.epoch).keeping(letters).run().await;
    let ended = life::end(&metadata, life.epoch).await;
    metadata.close().await;
    ended?;
    Ok(report?)
}

/// `backup FILE`.
pub(crate) fn backup(config: &Config, file: &Path) -> anyhow::Result<()> {
    let mut target = Target::create(file)?;
    let summary = runtime()?.block_on(async {
        let take = |bytes: &[u8]| Ok(target.write(bytes)?);
        let data = &config.server.data;
        if !admin::ask_for_stream(data, Method::POST, "/v1/admin/backup", take).await? {
            back_up_alone(config, &mut target).await?;
        }
        anyhow::Ok(target.finish()?)
    })?;
    let store_id = summary.header.store_id.map(|id| id.to_string());
    let report = serde_json::json!({"store_id": store_id, "rows": summary.rows, "bytes": summary.bytes});
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// With no daemon running, nobody else has the store open.
async fn back_up_alone(config: &Config, target: &mut Target) -> anyhow::Result<()> {
    let data = &config.server.data;
    if !data.is_dir() {
        bail!("there is no data directory {}: nothing to back up", data.display());
    }
    let _lock = lock::acquire(data)?;
    let metadata = stores::metadata(config).await?;
    let mut backup = Backup::begin(&metadata, Timestamp::now()).await?;
    while let Some(bytes) = backup.next().await? {
        target.write(&bytes)?;
    }
    drop(backup);
    metadata.close().await;
    Ok(())
}

/// `restore FILE`.
pub(crate) fn restore(config: &Config, file: &Path) -> anyhow::Result<()> {
    let restored = runtime()?.block_on(async {
        // A daemon has its store's identity in it from the start, so that there is nothing to restore into.
        let _lock = lock::acquire(&config.server.data)?;
        let objects = stores::objects(config).await?;
        let backed_up = Contents::open(file)?.header().store_id;
        check_objects(backed_up, objects.store_id().await?)?;
        let metadata = stores::metadata(config).await?;
        let restored = backup::restore(&metadata, file, Uuid::new_v4(), Timestamp::now()).await;
        metadata.close().await;
        let without_objects = objects.store_id().await?.is_none();
        anyhow::Ok((restored?, without_objects))
    })?;
    let (restored, without_objects) = restored;
    println!("{}", serde_json::to_string_pretty(&restored)?);
    if without_objects {
        println!(
            "The metadata is restored. The objects are not in a backup: put a copy of them, with its file store-id, \
             in place before the daemon starts (docs/backup.md)."
        );
    }
    Ok(())
}

/// Refuses to restore the metadata of one store beside the objects of another.
fn check_objects(backed_up: Option<Uuid>, objects: Option<Uuid>) -> anyhow::Result<()> {
    match objects {
        Some(objects) if Some(objects) != backed_up => bail!(
            "the objects belong to store {objects}, the backup to {}: point both at the same store",
            backed_up.map_or_else(|| "one that was never started".to_owned(), |id| format!("store {id}"))
        ),
        _ => Ok(()),
    }
}

/// `actors`.
pub(crate) fn actors(config: &Config) -> anyhow::Result<()> {
    let data = &config.server.data;
    match runtime()?.block_on(admin::ask(data, Method::GET, "/v1/admin/actors"))? {
        Some(answer) => {
            let tree: serde_json::Value = serde_json::from_slice(&answer)?;
            println!("{}", serde_json::to_string_pretty(&tree)?);
            Ok(())
        }
        None => bail!("no daemon runs on {}: start it with `darkroomd serve`", data.display()),
    }
}

/// What commands run on.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start the runtime")
}
