//! The commands other than `serve`. They speak to the daemon of this machine, or open the store themselves when none
//! runs.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use std::path::Path;

use anyhow::{Context, bail};
use darkroom_actors::{JanitorReport, LettersKept, Sweep};
use darkroom_config::{Config, DEFAULT_FILE, MetadataEngine};
use darkroom_store::backup::{self, Backup, Contents, Target};
use darkroom_store::metadata::Metadata;
use darkroom_store::model::{Timestamp, identity};
use darkroom_store::{StoreError, life};
use hyper::Method;
use uuid::Uuid;

use crate::alone::Alone;
use crate::{admin, lock, stores, telemetry};

/// `check-config`: reaching this point means that the configuration is fine.
pub(crate) fn check_config(config: &Config) -> anyhow::Result<()> {
    telemetry::filter(&config.log)?;
    let presets: Vec<_> = config.presets.iter().map(|preset| preset.name.as_str()).collect();
    println!("the configuration is fine");
    println!("  listen   {}", config.server.listen);
    println!("  data     {}", config.server.data.display());
    println!("  metadata {}", stores::metadata_place(config));
    println!("  objects  {}", stores::objects_place(config));
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
    let alone = Alone::open(config).await?;
    let swept = sweep(config, &alone.metadata).await;
    alone.close().await;
    swept
}

async fn sweep(config: &Config, metadata: &Metadata) -> anyhow::Result<JanitorReport> {
    backup::check_not_cut_off(metadata).await?;
    if metadata.read("read identity", |tx| async move { identity::get(&tx).await }).await?.is_none() {
        bail!(
            "the metadata ({}) is empty: no daemon has ever started on it, and there is nothing to sweep",
            stores::metadata_place(config)
        );
    }
    let objects = stores::existing_objects(config, metadata).await?;
    let life = life::begin(metadata, &objects).await.with_context(|| stores::not_together(config))?;
    let options = config.pipeline_options();
    let sweep = Sweep::new(metadata.clone(), objects, life.epoch).keeping(LettersKept::by(&options));
    // Other nodes would take a command that says nothing for longer than they wait for a dead one.
    let report = tokio::select! {
        report = sweep.run() => report.map_err(anyhow::Error::from),
        () = life::keep(metadata, life.epoch, options.node_timeout) => Err(anyhow::anyhow!(
            "a node declared this command dead, because it could not reach the metadata for too long; give it again"
        )),
    };
    life::end(metadata, life.epoch).await?;
    report
}

/// A file holds the rows of one moment, and a transaction of `FoundationDB` is too short to read them all.
fn refuse_on_foundationdb(config: &Config) -> anyhow::Result<()> {
    match config.metadata.engine {
        MetadataEngine::Embedded => Ok(()),
        MetadataEngine::FoundationDb => Err(StoreError::no_backup_on_foundationdb().into()),
    }
}

/// `backup FILE`.
pub(crate) fn backup(config: &Config, file: &Path) -> anyhow::Result<()> {
    refuse_on_foundationdb(config)?;
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
    let alone = Alone::open(config).await?;
    let written = write_backup(&alone.metadata, target).await;
    alone.close().await;
    written
}

async fn write_backup(metadata: &Metadata, target: &mut Target) -> anyhow::Result<()> {
    let mut backup = Backup::begin(metadata, Timestamp::now()).await?;
    while let Some(bytes) = backup.next().await? {
        target.write(&bytes)?;
    }
    Ok(())
}

/// What whoever restores into a data directory that is in use can do.
const RESTORED_BESIDE_A_DAEMON: &str =
    "a backup is restored into an empty store that nobody uses; give an empty directory with --data";

/// `restore FILE`.
pub(crate) fn restore(config: &Config, file: &Path) -> anyhow::Result<()> {
    refuse_on_foundationdb(config)?;
    // Before anything is made: the name may be mistyped.
    let backed_up = Contents::open(file)?.header().store_id;
    let restored = runtime()?.block_on(async {
        // A daemon has its store's identity in it from the start, so that there is nothing to restore into.
        let _lock = lock::acquire(&config.server.data, RESTORED_BESIDE_A_DAEMON)?;
        let objects = stores::objects(config).await?;
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
        None => bail!(
            "no daemon runs on this machine with the data directory {}: start it with `darkroomd serve`, or name its \
             directory with --data",
            data.display()
        ),
    }
}

/// What commands run on.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start the runtime")
}
