//! Logs and metrics.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use darkroom_api::MetricsText;
use darkroom_config::sections::{Log, LogFormat};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Bounds of the histograms of durations: from an fsync (below a millisecond) to a photo that waited behind
/// a backlog (minutes), each about twice the one before.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The storage engine and the S3 client tell at `info` what only their own developers need. A filter that names them
/// comes later,
/// and wins.
const QUIETER: &str = "fjall=warn,lsm_tree=warn,aws_config=error,aws_runtime=warn,aws_smithy_runtime=warn";

/// How often samples are folded into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Transactions that share one fsync.
const GROUP_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Starts logging to standard error.
pub(crate) fn start_logs(log: &Log) -> anyhow::Result<()> {
    let filter = filter(log)?;
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if human {
        builder.with_timer(SystemTime).with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("could not start logging: {error}"))?;
    log_panics();
    Ok(())
}

/// The filter of `log.level`.
pub(crate) fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIETER},{}", log.level))
        .with_context(|| format!("log.level {:?} is not understood: try \"info\"", log.level))
}

/// Panics go to the log like everything else, with where they happened.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(message, place, thread, "panic");
    }));
}

/// Installs the recorder of metrics and describes them all.
pub(crate) fn start_metrics() -> anyhow::Result<MetricsText> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_group_transactions".to_owned()), GROUP_SIZES)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .context("could not install the recorder of metrics")?;
    darkroom_store::metadata::describe_metrics();
    darkroom_store::objects::describe_metrics();
    darkroom_actors::telemetry::describe();
    darkroom_api::telemetry::describe();
    metrics::describe_gauge!("darkroom_build_info", "Always 1; its label says which version runs.");
    metrics::gauge!("darkroom_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        // Without it histograms would keep every sample until somebody scrapes.
        let mut often = tokio::time::interval(UPKEEP);
        loop {
            often.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(Box::new(move || handle.render()))
}
