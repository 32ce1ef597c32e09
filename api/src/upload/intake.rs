//! What every way in ends in.

use std::time::Duration;

use darkroom_actors::{Body, Ingested, Lease, Upload};
use darkroom_store::model::idempotency::PhotoKey;
use darkroom_store::model::photos::Fields;
use darkroom_store::model::posts::Draft;
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{BatchId, ContentHash, ItemId, SeriesId};
use hyper::HeaderMap;
use tokio::time::Instant;

use crate::batches::admitted;
use crate::batches::refusals::{self, RefusedFile};
use crate::caller::Caller;
use crate::posts::text;
use crate::problem::Problem;
use crate::request::{Query, preferred_wait};
use crate::view::PhotoView;
use crate::{Api, albums, fields, idempotency, photos};

/// Query parameters of an upload.
pub const PARAMETERS: &[&str] =
    &["batch_id", "caption", "duplicate", "filename", "publish", "title", "tags", "visibility", "album_id"];
/// Those of them that [`Intake::set`] takes: also form fields and tus keys.
pub const FIELDS: &[&str] =
    &["batch_id", "caption", "duplicate", "publish", "title", "tags", "visibility", "album_id"];

/// What holds for every photo of one request.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Who sends them.
    pub caller: Caller,
    /// The batch to which they belong.
    pub batch: Option<BatchId>,
    /// What is said of them.
    pub fields: Fields,
    /// Make a photo of its own even of bytes that the owner has in a photo.
    pub allow_duplicate: bool,
    /// How visible the post is to be in which each photo is shown; without it there is none.
    pub publish: Option<Visibility>,
    /// What that says.
    pub caption: Option<String>,
    /// How long the answer may wait for the photos to be ready or failed.
    pub wait: Option<Duration>,
}

/// One file that is to become a photo.
pub struct File {
    /// Its name, as the client gave it.
    pub name: Option<String>,
    /// The client's word on its type.
    pub declared_type: Option<String>,
    /// Its bytes.
    pub body: Body,
}

impl Intake {
    /// From the query parameters and headers of a request.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub fn of_query(api: &Api, caller: Caller, query: &Query, headers: &HeaderMap) -> Result<Self, Problem> {
        let wait = preferred_wait(headers).map(|wait| wait.min(api.options().wait_max));
        let (batch, publish, caption) = (None, None, None);
        let fields = Fields::default();
        let mut intake = Self { caller, batch, fields, allow_duplicate: false, publish, caption, wait };
        for name in FIELDS {
            if let Some(value) = query.get(name) {
                intake.set(name, value)?;
            }
        }
        Ok(intake)
    }

    /// The post in which each photo is to be shown.
    ///
    /// # Errors
    /// `invalid-parameter`, for a caption of no post; `invalid-text`; `unauthenticated`, where there is nobody to publish it.
    pub fn draft(&self) -> Result<Option<Draft>, Problem> {
        let caption = self.caption.clone();
        let Some(visibility) = self.publish else {
            let detail = "a caption is said of a post: give `publish`, too, or leave it out";
            return caption.map_or(Ok(None), |_| Err(Problem::new("invalid-parameter", detail)));
        };
        self.caller.user()?;
        Ok(Some(Draft { visibility, caption: text::caption(caption.unwrap_or_default())? }))
    }

    /// Sets what a query parameter, a form field or a tus key of this name says; false if it says nothing of an upload.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        let invalid = |wanted: &str| {
            Problem::new("invalid-parameter", format!("{name}={value:?} is not known: give {wanted}"))
        };
        match name {
            "batch_id" => {
                self.batch = Some(value.parse().map_err(|_| invalid("the id of a batch, or leave it out"))?);
            }
            "publish" => {
                let visibility = Visibility::ALL.into_iter().find(|visibility| visibility.as_str() == value);
                self.publish =
                    Some(visibility.ok_or_else(|| invalid("\"private\", \"followers\" or \"public\""))?);
            }
            "caption" => self.caption = Some(value.to_owned()),
            "duplicate" if value == "allow" => self.allow_duplicate = true,
            "duplicate" => return Err(invalid("\"allow\", or leave it out")),
            _ => return fields::set(&mut self.fields, name, value),
        }
        Ok(true)
    }

    /// Takes one photo in. When this returns `Ok`, it is durable.
    ///
    /// # Errors
    /// What is wrong with it; then nothing of it is left behind.
    pub async fn take(&self, api: &Api, lease: Lease, file: File) -> Result<PhotoView, Problem> {
        self.take_in_place(api, lease, file, None).await
    }

    /// The same, for a photo that has a place in a request with an idempotency key ([`Claim::photo`]): if an earlier attempt
    /// has made it, it is answered as it was then.
    ///
    /// [`Claim::photo`]: crate::idempotency::Claim::photo
    ///
    /// # Errors
    /// Those of [`Intake::take`], and `idempotency-key-reused`.
    pub async fn take_in_place(
        &self,
        api: &Api,
        lease: Lease,
        file: File,
        place: Option<(SeriesId, u64)>,
    ) -> Result<PhotoView, Problem> {
        let publish = self.draft()?;
        let parameters = self.parameters(&file, publish.as_ref());
        let key = place.map(|(series, number)| PhotoKey { series, number, parameters });
        let File { name, declared_type, mut body } = file;
        if let Some(key) = key
            && let Some((photo, duplicate)) = idempotency::photo_made(api, key, &mut body).await?
        {
            return Ok(photos::view_of_own(api, &photo, duplicate).await);
        }
        self.check_named(api).await?;
        let upload = Upload {
            declared_type,
            name: name.clone(),
            batch: self.batch,
            fields: self.fields.clone(),
            allow_duplicate: self.allow_duplicate,
            publish,
            key,
            ..Upload::new(lease, body, self.caller.owner.clone())
        };
        match api.pipeline().ingest(upload).await {
            Ok(ingested) => Ok(view_of(api, &ingested).await),
            Err(error) => Err(self.refused(api, name, error.into()).await),
        }
    }

    /// The problem of a file of which no photo is made, noted in its batch.
    pub async fn refused(&self, api: &Api, name: Option<String>, problem: Problem) -> Problem {
        let file = RefusedFile { batch: self.batch, item: ItemId::new(), name, bytes: None };
        refusals::note(api, &self.caller.owner, file, &problem).await;
        problem
    }

    /// Whether the batch and the album take what is to come. Asked before the body is read; the transaction that makes a photo
    /// asks again.
    ///
    /// # Errors
    /// `batch-not-found`, `batch-closed`, `batch-cancelled`, `album-not-found`, and those of the store.
    pub async fn check_named(&self, api: &Api) -> Result<(), Problem> {
        admitted(api, &self.caller.owner, self.batch).await?;
        albums::admitted(api, &self.caller.owner, self.fields.album).await
    }

    /// Digest of what is said of a file beside its bytes.
    fn parameters(&self, file: &File, publish: Option<&Draft>) -> ContentHash {
        let batch = self.batch.map(|batch| batch.to_string());
        let said = (&file.name, batch, self.allow_duplicate);
        // Texts and flags always have a JSON form. What says nothing of these has the digest that it had before there were
        // any, so that a request which is sent again after an update is known.
        let mut said = match publish {
            None => serde_json::to_vec(&said),
            Some(draft) => serde_json::to_vec(&(said, draft)),
        }
        .unwrap_or_default();
        if !self.fields.is_empty() {
            said.extend(serde_json::to_vec(&self.fields).unwrap_or_default());
        }
        ContentHash::of(&said)
    }

    /// Until when the client would wait, from now on.
    pub fn deadline(&self) -> Option<Instant> {
        self.wait.map(|wait| Instant::now() + wait)
    }
}

/// The view of what an upload has come to: of a new photo there is nothing to be read beside its record.
pub async fn view_of(api: &Api, ingested: &Ingested) -> PhotoView {
    let Ingested { photo, duplicate } = ingested;
    if *duplicate {
        photos::view_of_own(api, photo, true).await
    } else {
        PhotoView::new(photo, api.pipeline().presets())
    }
}

/// The photo as it is at the deadline, or once it is settled. Whatever happens while waiting, it is durable,
/// and that is the answer.
pub async fn settled(api: &Api, view: PhotoView, deadline: Option<Instant>) -> PhotoView {
    let (Some(deadline), Ok(id)) = (deadline, view.id.parse()) else { return view };
    let wait = deadline.saturating_duration_since(Instant::now());
    match photos::wait_until_settled(api, id, wait).await {
        Ok(Some(photo)) => {
            let PhotoView { album_id, downloads_count, duplicate, .. } = view;
            let now = PhotoView::new(&photo, api.pipeline().presets());
            PhotoView { album_id, downloads_count, duplicate, ..now }
        }
        // Deleted while we waited: the answer is still that it was created.
        Ok(None) => view,
        Err(error) => {
            tracing::warn!(photo = view.id, %error, "could not wait for a photo; it was answered as it was");
            view
        }
    }
}
