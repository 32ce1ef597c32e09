//! The commands other than `serve`. They speak to the running daemon, or open the store themselves when none
//! runs.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use anyhow::{Context, bail};
use darkroom_actors::{JanitorReport, Sweep};
use darkroom_config::{Config, DEFAULT_FILE};
use darkroom_store::life;
use hyper::Method;

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

/// With no daemon running, every earlier process is dead: all that it left is swept.
async fn sweep_alone(config: &Config) -> anyhow::Result<JanitorReport> {
    let data = &config.server.data;
    if !data.is_dir() {
        bail!("there is no data directory {}: nothing to sweep", data.display());
    }
    let _lock = lock::acquire(data)?;
    let metadata = stores::metadata(config).await?;
    let objects = stores::objects(config).await?;
    let life = life::begin(&metadata, &objects).await?;
    let report = Sweep::new(metadata.clone(), objects, life.epoch).run().await;
    metadata.close().await;
    Ok(report?)
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

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start the runtime")
}
