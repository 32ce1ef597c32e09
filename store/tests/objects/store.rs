//! An empty store of one engine.

use std::time::Duration;

use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::s3::{PART_BYTES_MIN, S3Options};
use darkroom_store::objects::{ObjectKind, ObjectStore};
use darkroom_test_s3::{BUCKET, KEY_ID, SECRET_KEY, Server};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

/// Parts are as small as S3 takes them, so that few bytes are several.
pub(crate) const PART_BYTES: usize = PART_BYTES_MIN as usize;
/// Larger ones go in parts.
pub(crate) const THRESHOLD_BYTES: usize = PART_BYTES + 1_000_000;
/// How long clearing away may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store, and how to look behind it.
pub(crate) struct Store {
    pub(crate) objects: ObjectStore,
    home: Home,
}

enum Home {
    Folder(TempDir),
    Server(Box<Server>),
    Endpoint(Box<S3Options>),
}

impl Store {
    pub(crate) async fn filesystem() -> Option<Self> {
        Some(Self::open(Home::Folder(tempfile::tempdir().unwrap())).await)
    }

    /// In a server inside this process.
    pub(crate) async fn s3() -> Option<Self> {
        Some(Self::open(Home::Server(Box::new(Server::start()))).await)
    }

    /// In a prefix of its own on the server that the environment names, if it does.
    pub(crate) async fn endpoint() -> Option<Self> {
        let given = |name: &str| std::env::var(format!("DARKROOM_TEST_S3_{name}")).ok();
        let Some(endpoint) = given("ENDPOINT") else {
            println!("DARKROOM_TEST_S3_ENDPOINT is not set: nothing is tested here");
            return None;
        };
        let needed = |name: &str| given(name).unwrap_or_else(|| panic!("DARKROOM_TEST_S3_{name} is not set"));
        let options = S3Options {
            bucket: needed("BUCKET"),
            endpoint: Some(endpoint),
            credentials: Some((needed("ACCESS_KEY"), needed("SECRET_KEY"))),
            region: given("REGION"),
            prefix: format!("darkroom-test/{}/", Uuid::now_v7()),
            ..sizes()
        };
        Some(Self::open(Home::Endpoint(Box::new(options))).await)
    }

    async fn open(home: Home) -> Self {
        Self { objects: home.open().await, home }
    }

    /// A second handle on the same store.
    pub(crate) async fn open_again(&self) -> ObjectStore {
        self.home.open().await
    }

    /// Waits until nothing is left of objects that were not finished.
    pub(crate) async fn nothing_unfinished(&self) {
        let gone = async {
            while self.home.unfinished().await > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await; // Polling for the condition: there is no event.
            }
        };
        assert!(timeout(PATIENCE, gone).await.is_ok(), "an object that was not finished has left something");
    }

    /// Ends a case: nothing is left half written. A server that others use too is left as it was.
    pub(crate) async fn close(self) {
        self.nothing_unfinished().await;
        let Home::Endpoint(options) = &self.home else { return };
        for kind in ObjectKind::ALL {
            let keys = self.objects.list(kind, None, usize::MAX).await.unwrap();
            self.objects.delete(&keys).await.unwrap();
        }
        let id = format!("{}store-id", options.prefix);
        client(options).delete_object().bucket(&options.bucket).key(id).send().await.unwrap();
    }
}

impl Home {
    async fn open(&self) -> ObjectStore {
        match self {
            Self::Folder(folder) => {
                ObjectStore::open_filesystem(folder.path(), FilesystemOptions::default()).await.unwrap()
            }
            Self::Server(server) => ObjectStore::open_s3(options(server)).await.unwrap(),
            Self::Endpoint(options) => ObjectStore::open_s3((**options).clone()).await.unwrap(),
        }
    }

    /// Temporary files, or uploads in parts that are neither completed nor aborted.
    async fn unfinished(&self) -> usize {
        match self {
            Self::Folder(folder) => std::fs::read_dir(folder.path().join("tmp")).unwrap().count(),
            Self::Server(server) => server.open_uploads().len(),
            Self::Endpoint(options) => {
                let asked = client(options).list_multipart_uploads().bucket(&options.bucket);
                asked.prefix(&options.prefix).send().await.unwrap().uploads().len()
            }
        }
    }
}

/// As small as parts may be, in a server that is named by its address.
fn sizes() -> S3Options {
    S3Options {
        path_style: true,
        multipart_threshold_bytes: THRESHOLD_BYTES as u64,
        part_bytes: PART_BYTES as u64,
        ..S3Options::default()
    }
}

/// The way to a server inside this process.
pub(crate) fn options(server: &Server) -> S3Options {
    S3Options {
        bucket: BUCKET.to_owned(),
        endpoint: Some(server.endpoint()),
        credentials: Some((KEY_ID.to_owned(), SECRET_KEY.to_owned())),
        ..sizes()
    }
}

/// The SDK itself, for what the store's interface does not offer.
fn client(options: &S3Options) -> aws_sdk_s3::Client {
    let (id, secret) = options.credentials.as_ref().unwrap();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .endpoint_url(options.endpoint.as_ref().unwrap())
        .credentials_provider(aws_sdk_s3::config::Credentials::new(id, secret, None, None, "test"))
        .region(aws_sdk_s3::config::Region::new(options.region.clone().unwrap_or("us-east-1".to_owned())))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}
