//! Originals for other eyes: without place and serial numbers.

use bytes::Bytes;
use darkroom_media::{MediaError, SourceFormat};
use darkroom_store::StoreError;
use darkroom_store::model::photos::Photo;

use crate::compute::Priority;
use crate::permits::{Permit, Refused};
use crate::pipeline::Pipeline;

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
    /// There is no room for it now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its format, or its bytes.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes are recorded, and not there.
    #[error("the stored original cannot be found")]
    Missing,
    /// A defect of ours, which the log tells more of.
    #[error("the original could not be read")]
    Panicked,
}

impl Pipeline {
    /// The original with place and serial numbers removed and its pixels untouched: what
    /// [`without_private`](darkroom_media::without_private()) leaves of it.
    ///
    /// The original and what is left of it are held in memory, and charged to the bodies' budget.
    ///
    /// # Errors
    /// [`StripError`].
    pub async fn without_private(&self, photo: &Photo) -> Result<HeldBytes, StripError> {
        let house = self.house();
        let original = &photo.original;
        let budget = &house.admission.bodies;
        let needed = (2 * original.bytes + (64 << 10)).min(budget.total());
        let mut permit = budget.try_fresh(needed).ok_or(Refused::Full)?;
        let format = SourceFormat::from_mime(&original.media_type).ok_or(MediaError::Unsupported {
            found: original.media_type.clone(),
            advice: "ask for a variant instead".to_owned(),
        })?;
        let bytes = house.objects.get_whole(&original.object).await?.ok_or(StripError::Missing)?;
        let stripped = house
            .compute
            .run(Priority::Resize, move |_| {
                let stripped = darkroom_media::without_private(&bytes, format)?;
                drop(bytes);
                permit.shrink_to(stripped.capacity() as u64);
                Ok(HeldBytes { bytes: stripped.into(), permit })
            })
            .await;
        stripped.unwrap_or_else(|panicked| {
            tracing::error!(photo = %photo.id, panic = panicked.0, "removing private metadata panicked");
            Err(StripError::Panicked)
        })
    }
}
