//! The engines that a test runs on, each with a place of its own for a store.
//!
//! `FoundationDB` takes part when the crate has the feature `foundationdb` and the environment names a cluster; see
//! `docs/foundationdb.md`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
#[cfg(feature = "foundationdb")]
use std::time::Duration;

#[cfg(feature = "foundationdb")]
use darkroom_store::metadata::RetryOptions;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use futures_util::FutureExt;

/// One test per case and engine, in a module per engine, so that a failure names both. `$run` is given the engine and
/// the case, and opens what the case wants of [`run`].
#[allow(unused_macros, reason = "some tests have more cases than one list of them")]
macro_rules! cases {
    ($run:path: $($case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $run(crate::engines::Engine::Embedded, super::$case).await;
            })*
        }
        #[cfg(feature = "foundationdb")]
        mod foundationdb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $run(crate::engines::Engine::FoundationDb, super::$case).await;
            })*
        }
    };
}

/// Names the cluster file of the cluster that the tests may use.
#[cfg(feature = "foundationdb")]
const CLUSTER_FILE: &str = "DARKROOM_TEST_FDB_CLUSTER_FILE";

/// An engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Embedded,
    #[cfg(feature = "foundationdb")]
    FoundationDb,
}

/// Where one store lies: it can be opened again and again there. Empty at first, and removed at the end.
#[derive(Clone)]
pub(crate) enum Place {
    Folder(Arc<tempfile::TempDir>),
    #[cfg(feature = "foundationdb")]
    Subspace(darkroom_store::metadata::FoundationDbOptions),
}

impl Place {
    /// A new place, or `None` where the engine is not to be had.
    #[cfg_attr(
        not(feature = "foundationdb"),
        expect(clippy::unnecessary_wraps, reason = "the embedded engine always is")
    )]
    fn new(engine: Engine) -> Option<Self> {
        match engine {
            Engine::Embedded => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                Some(Self::Folder(Arc::new(folder)))
            }
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb => {
                let cluster_file = std::env::var_os(CLUSTER_FILE)?.into();
                let prefix = format!("test/{:016x}/", rand::random::<u64>());
                let options = darkroom_store::metadata::FoundationDbOptions {
                    cluster_file,
                    prefix,
                    // Dozens of writers of one key take long on a cluster that others use, too.
                    retry: RetryOptions { deadline: Duration::from_mins(1), ..RetryOptions::default() },
                    ..darkroom_store::metadata::FoundationDbOptions::default()
                };
                Some(Self::Subspace(options))
            }
        }
    }

    /// A handle to the store. On the embedded engine there is one at a time.
    pub(crate) async fn open(&self) -> Metadata {
        match self {
            Self::Folder(folder) => {
                Metadata::open_embedded(folder.path(), EmbeddedOptions::default()).await.expect("open")
            }
            #[cfg(feature = "foundationdb")]
            Self::Subspace(options) => Metadata::open_foundationdb(options.clone()).await.expect("open"),
        }
    }

    /// Removes what is left. A folder goes with its last handle.
    #[cfg_attr(
        not(feature = "foundationdb"),
        expect(clippy::unused_async, reason = "only clusters are remote")
    )]
    async fn remove(self) {
        match &self {
            Self::Folder(_) => {}
            #[cfg(feature = "foundationdb")]
            Self::Subspace(_) => {
                let everything = darkroom_store::metadata::KeyRange::all();
                let everything = &everything;
                let metadata = self.open().await;
                let clear = metadata.transact("remove", |tx| async move { tx.clear_range(everything) });
                clear.await.expect("remove the test's subspace");
            }
        }
    }
}

/// Runs `case` on an empty place of `engine`, and removes what it leaves, also when it fails. Where the engine is not
/// to be had it says so and passes.
pub(crate) async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Place) -> Fut,
    Fut: Future<Output = ()>,
{
    let Some(place) = Place::new(engine) else {
        println!("skipped: set DARKROOM_TEST_FDB_CLUSTER_FILE to the cluster file of a cluster for tests");
        return;
    };
    let outcome = AssertUnwindSafe(case(place.clone())).catch_unwind().await;
    place.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
