//! Originals for other eyes: without place and serial numbers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darkroom_media::{MediaError, Scratch, SourceFormat};
use darkroom_store::StoreError;
use darkroom_store::model::photos::{Original, Photo};
use darkroom_store::objects::{ObjectKey, ObjectStore};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::compute::{ComputePool, Priority};
use crate::options::STRIPPING_COPIES;
use crate::permits::Permit;
use crate::pipeline::Pipeline;

/// Longest that reading an original and stripping it may take, the wait for a thread of the compute pool included.
const STRIP_TIME_MAX: Duration = Duration::from_secs(30);

/// Bytes in memory, and the permit for them: dropping it gives the memory back.
#[derive(Debug)]
pub struct HeldBytes {
    bytes: Bytes,
    permit: Permit,
}

impl HeldBytes {
    /// How many.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, and what must live as long as they are held.
    pub fn into_parts(self) -> (Bytes, Permit) {
        (self.bytes, self.permit)
    }
}

/// Why an original could not be given without what is private in it.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// Others hold the memory that it takes.
    #[error("as many originals as may be in memory are being stripped and sent")]
    Full,
    /// Disk or compute pool had too much else to do.
    #[error("the original could not be read and stripped within {} s", STRIP_TIME_MAX.as_secs())]
    Late,
    /// Its format, or its bytes.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect of ours, which the log tells more of.
    #[error("the original could not be read")]
    Panicked,
}

/// What stripping came to; `None` where the object is gone.
type Stripped = Result<Option<HeldBytes>, StripError>;

/// The format of an original from which what is private can be removed without encoding it again.
///
/// # Errors
/// [`MediaError::Unsupported`] for others, in the media engine's words.
pub fn strippable(original: &Original) -> Result<SourceFormat, MediaError> {
    let format = SourceFormat::from_mime(&original.media_type).ok_or_else(|| MediaError::Unsupported {
        found: original.media_type.clone(),
        advice: "ask for a variant instead".to_owned(),
    })?;
    // Nothing at all is a damaged file of every format that can be stripped.
    match darkroom_media::without_private(&[], format) {
        Err(error @ MediaError::Unsupported { .. }) => Err(error),
        _ => Ok(format),
    }
}

impl Pipeline {
    /// The original with place and serial numbers removed and its pixels untouched: what
    /// [`without_private`](darkroom_media::without_private()) leaves of it. `None` if the bytes are recorded, and not
    /// there.
    ///
    /// The original and what is left of it are held in memory, and charged to a budget of their own: at once or not at
    /// all.
    ///
    /// # Errors
    /// [`StripError`].
    pub async fn without_private(&self, photo: &Photo) -> Result<Option<HeldBytes>, StripError> {
        let format = strippable(&photo.original)?;
        let house = self.house();
        // One that is larger than is accepted today takes the whole budget.
        let needed = photo.original.bytes.saturating_mul(STRIPPING_COPIES);
        let permit = house.admission.stripping.try_fresh(needed).ok_or(StripError::Full)?;
        let (reply, answer) = oneshot::channel();
        let Original { object: key, bytes, .. } = &photo.original;
        let work = Strip { key: key.clone(), bytes: *bytes, format, permit, reply };
        tokio::spawn(work.run(house.objects.clone(), house.compute.clone()));
        in_time(answer).await
    }
}

async fn in_time(answer: oneshot::Receiver<Stripped>) -> Stripped {
    match timeout(STRIP_TIME_MAX, answer).await {
        Ok(answer) => answer.unwrap_or(Err(StripError::Panicked)),
        Err(_) => Err(StripError::Late),
    }
}

/// One original to be stripped. A task of its own: whoever asked may go away at any moment, while reading and stripping
/// cannot be stopped and hold what the permit is for until they end.
struct Strip {
    key: ObjectKey,
    /// As recorded: what the permit is for.
    bytes: u64,
    format: SourceFormat,
    permit: Permit,
    reply: oneshot::Sender<Stripped>,
}

impl Strip {
    async fn run(self, objects: ObjectStore, compute: Arc<ComputePool>) {
        let Self { key, bytes, format, mut permit, reply } = self;
        let original = match objects.get_whole(&key, bytes).await {
            Ok(Some(original)) => original,
            // Nobody listens any more if the asker went away, here and below.
            Ok(None) => return drop(reply.send(Ok(None))),
            Err(error) => return drop(reply.send(Err(error.into()))),
        };
        let strip = move |_: &mut Scratch| {
            if reply.is_closed() {
                return;
            }
            let stripped = darkroom_media::without_private(&original, format).map(|stripped| {
                drop(original);
                permit.shrink_to(stripped.capacity() as u64);
                Some(HeldBytes { bytes: stripped.into(), permit })
            });
            let _ = reply.send(stripped.map_err(StripError::from));
        };
        // Before decodes, as what frees memory: it copies bytes for milliseconds, and a client waits.
        if let Err(panicked) = compute.run(Priority::Resize, strip).await {
            tracing::error!(object = %key, panic = panicked.0, "removing private metadata panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::ContentHash;
    use darkroom_store::objects::ObjectKind;
    use darkroom_store::objects::filesystem::FilesystemOptions;
    use tokio::time::Instant;

    use super::*;
    use crate::permits::Budget;

    const JPEG: &[u8] = include_bytes!("../../media/tests/data/gray.jpg");

    fn original(media_type: &str) -> Original {
        Original {
            media_type: media_type.to_owned(),
            width: 1,
            height: 1,
            bytes: 1,
            hash: ContentHash::of(b"x"),
            object: ObjectKey::new(ObjectKind::Original),
            probe: serde_json::Value::Null,
            capture: None,
        }
    }

    #[test]
    fn what_cannot_be_stripped_is_known_by_its_type() {
        for media_type in ["image/jpeg", "image/png", "image/webp", "image/gif"] {
            assert_eq!(strippable(&original(media_type)).unwrap().mime(), media_type);
        }
        for media_type in ["image/bmp", "image/x-unheard-of"] {
            let error = strippable(&original(media_type)).unwrap_err();
            assert_eq!(error.code(), "unsupported-image", "{media_type}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
        let (reply, answer) = oneshot::channel();
        let began = Instant::now();
        assert!(matches!(in_time(answer).await, Err(StripError::Late)));
        assert_eq!(began.elapsed(), STRIP_TIME_MAX);
        assert!(reply.is_closed(), "the work is not begun any more");
        let (reply, answer) = oneshot::channel();
        drop(reply);
        assert!(matches!(in_time(answer).await, Err(StripError::Panicked)));
    }

    /// A store, a pool whose only thread waits for the gate, and a budget of 1 MiB.
    struct Scene {
        objects: ObjectStore,
        compute: Arc<ComputePool>,
        gate: std::sync::mpsc::Sender<()>,
        budget: Budget,
        _home: tempfile::TempDir,
    }

    impl Scene {
        async fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let objects =
                ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
            let compute = Arc::new(ComputePool::start(1).unwrap());
            let (gate, opened) = std::sync::mpsc::channel();
            let pool = compute.clone();
            tokio::spawn(async move { pool.run(Priority::Decode, move |_| opened.recv()).await });
            while compute.load().1 == 0 {
                tokio::task::yield_now().await;
            }
            let budget = Budget::bytes("stripping", 1 << 20, 0);
            Self { objects, compute, gate, budget, _home: home }
        }

        /// Begins to strip an object; the task, and its answer.
        fn strip(&self, key: &ObjectKey) -> (tokio::task::JoinHandle<()>, oneshot::Receiver<Stripped>) {
            let (reply, answer) = oneshot::channel();
            let permit = self.budget.try_fresh(1 << 20).unwrap();
            let bytes = JPEG.len() as u64;
            let work = Strip { key: key.clone(), bytes, format: SourceFormat::Jpeg, permit, reply };
            (tokio::spawn(work.run(self.objects.clone(), self.compute.clone())), answer)
        }
    }

    #[tokio::test]
    async fn memory_is_given_back_when_the_work_has_ended_and_not_when_its_asker_goes() {
        let scene = Scene::new().await;
        let key = ObjectKey::new(ObjectKind::Original);
        scene.objects.put(&key, Bytes::from_static(JPEG)).await.unwrap();
        let (task, answer) = scene.strip(&key);
        drop(answer);
        // The one thread is busy, so that the original waits in memory.
        while scene.compute.load().2 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.budget.used(), 1 << 20);
        scene.gate.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(scene.budget.used(), 0);
    }

    #[tokio::test]
    async fn what_is_left_is_held_for_as_much_as_it_takes() {
        let scene = Scene::new().await;
        scene.gate.send(()).unwrap();
        let key = ObjectKey::new(ObjectKind::Original);
        let (_, answer) = scene.strip(&key);
        assert!(matches!(in_time(answer).await, Ok(None)), "there is no such object");
        scene.objects.put(&key, Bytes::from_static(JPEG)).await.unwrap();
        let (_, answer) = scene.strip(&key);
        let stripped = in_time(answer).await.unwrap().unwrap();
        assert!(!stripped.is_empty() && stripped.len() <= JPEG.len());
        let held = scene.budget.used();
        assert!(held >= stripped.len() as u64 && held <= JPEG.len() as u64 + 1024, "{held} bytes");
        drop(stripped);
        assert_eq!(scene.budget.used(), 0);
    }
}
