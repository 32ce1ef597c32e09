//! What both protocols do with an upload.

use darkroom_actors::{AppendError, Body, BodyError, Chunk, Held, Last, Lease, NotHeld};
use darkroom_store::StoreError;
use darkroom_store::model::uploads::{Ended, Kind, NotBegun, OverLimit, State, Upload, Wishes};
use darkroom_store::model::{ItemId, LeaseId, UploadId};
use futures_util::StreamExt;
use hyper::body::{Body as _, Incoming};

use crate::Api;
use crate::batches::refusals::{self, RefusedFile};
use crate::caller::Caller;
use crate::digests::{Digests, UPLOAD_CHECKSUM};
use crate::idempotency::Claim;
use crate::limits::opening::{Announced, Shape};
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, body_bytes};
use crate::upload::intake::view_of;
use crate::view::PhotoView;

/// The body of a request that appends.
pub(super) struct Content {
    pub(super) body: Incoming,
    pub(super) end: BodyEnd,
    /// What is announced of these bytes.
    pub(super) digests: Digests,
    /// The length of the whole, where this request tells it.
    pub(super) length: Option<u64>,
    pub(super) last: Last,
}

impl Content {
    /// Bytes that will come, if the request says so.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }
}

/// Where an upload stands after a request.
pub(super) struct Progress {
    pub(super) upload: Upload,
    /// What it has become, if it has.
    pub(super) photo: Option<PhotoView>,
}

/// Why a request failed, with the upload as it stands then, where that is known.
pub(super) struct Failed {
    pub(super) problem: Problem,
    pub(super) upload: Option<Box<Upload>>,
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self { problem, upload: None }
    }
}

/// The id in a path.
pub(super) fn parse_id(text: &str) -> Result<UploadId, Problem> {
    text.parse().map_err(|_| not_found(text))
}

pub(super) fn not_found(id: &str) -> Problem {
    let detail =
        format!("there is no upload {id:?}: it has expired, was terminated, or the id is wrong; begin again");
    Problem::new("upload-not-found", detail)
}

/// An upload that is to be begun.
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) length: Option<u64>,
    pub(super) wishes: Wishes,
}

/// An upload that a request begins, or has begun before.
pub(super) enum Begun {
    /// It has nothing yet: bytes that come with the request are its first.
    Empty(Upload),
    /// An earlier attempt at the same request has brought it further.
    Further(Progress),
    /// An earlier attempt has begun this one, and it is no more.
    Gone(UploadId),
}

/// Whether a request that begins an upload may bring bytes: asked before anything is written down.
///
/// # Errors
/// Why not.
pub(super) fn expect_room(
    api: &Api,
    caller: &Caller,
    before: u64,
    bytes: Option<u64>,
) -> Result<(), Problem> {
    api.expect_room(caller, Announced { bytes, before, shape: Shape::Piece, is_repeated: false })
}

/// Begins an upload without bytes, or finds the one that an earlier attempt at the same request has begun.
pub(super) async fn begin(api: &Api, caller: &Caller, claim: &Claim, new: New) -> Result<Begun, Failed> {
    if let Some(made) = claim.made() {
        return begun_before(api, caller, made).await;
    }
    let New { kind, length, wishes } = new;
    check_length(api, length)?;
    if length == Some(0) && kind == Kind::Plain {
        let detail = "the upload is announced to be empty; nothing was made";
        return Err(Problem::new("empty-image", detail).into());
    }
    crate::albums::admitted(api, &caller.owner, wishes.fields.album).await?;
    let (owner, key) = (caller.owner.clone(), claim.upload_key());
    let begun = api.pipeline().begin_upload(owner, kind, length, wishes, key).await;
    begun.map_err(Problem::from)?.map(Begun::Empty).map_err(|why| {
        Failed::from(match why {
            NotBegun::Over(over) => over_limit(over),
            NotBegun::Batch(why) => why.into(),
            NotBegun::Gone => not_found("of this idempotency key"),
        })
    })
}

/// The upload that an earlier attempt has begun, with what came of it. Whoever still appends to it is stopped.
pub(super) async fn begun_before(api: &Api, caller: &Caller, id: UploadId) -> Result<Begun, Failed> {
    let upload = api.pipeline().upload_at_rest(id, &caller.owner).await.map_err(Problem::from)?;
    match upload {
        None => Ok(Begun::Gone(id)),
        Some(Upload { state: State::Refused { code, detail }, .. }) => {
            Err(refused_before(&code, &detail).into())
        }
        Some(upload) if upload.state == State::Open && upload.offset == 0 => Ok(Begun::Empty(upload)),
        Some(upload) => whole(api, caller, upload).await.map(Begun::Further),
    }
}

/// After a creation whose bytes came to nothing: ends the upload, if nobody will ever find it, or nothing came of the one
/// that its key tells.
pub(super) async fn abandon(api: &Api, caller: &Caller, id: UploadId, error: &Failed, found_by: FoundBy) {
    let is_empty = error.upload.as_ref().is_some_and(|upload| upload.offset == 0);
    let is_anothers = error.problem.is("upload-taken-over") || error.problem.is("upload-offset-mismatch");
    let is_refused = error.problem.status_code().is_client_error() && !is_anothers;
    let is_wanted = match found_by {
        FoundBy::Anything => true,
        FoundBy::Key => !is_empty || !is_refused,
        FoundBy::Nothing => false,
    };
    if !is_wanted
        && !error.problem.is_refusal()
        && let Err(error) = terminate(api, caller, &id.to_string()).await
    {
        tracing::debug!(upload = %id, detail = error.detail, "left to expire");
    }
}

/// By what a client finds an upload of which it was not told where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundBy {
    /// By its content, or because it may be told yet.
    Anything,
    /// By the idempotency key under which it was begun, and begun anew if nothing has come.
    Key,
    /// Its client was never told where it is, and never will be.
    Nothing,
}

impl FoundBy {
    /// What there is of a creation, beside its content.
    pub(super) fn of(claim: &Claim, is_found: bool) -> Self {
        match claim.upload_key() {
            Some(_) => Self::Key,
            None if is_found => Self::Anything,
            None => Self::Nothing,
        }
    }
}

/// Refuses what is announced to be larger than may be.
pub(super) fn check_length(api: &Api, length: Option<u64>) -> Result<(), Problem> {
    let limit = api.pipeline().options().upload_bytes_max;
    match length {
        Some(length) if length > limit => Err(Problem::new(
            "body-too-large",
            format!("the upload has {length} bytes, and at most {limit} are taken"),
        )),
        _ => Ok(()),
    }
}

pub(super) fn over_limit(over: OverLimit) -> Problem {
    let (code, detail) = match over {
        OverLimit::OpenOfOwner => (
            "too-many-open-uploads",
            "as many of your uploads are open as may be: finish some, or terminate them",
        ),
        OverLimit::Open => ("uploads-full", "as many uploads are open as may be; begin again later"),
        OverLimit::Bytes => (
            "uploads-full",
            "as many bytes are reserved for open uploads as may be; begin later, or upload in one request",
        ),
        OverLimit::BytesOfOwner => (
            "too-many-open-uploads",
            "as many bytes are reserved for your open uploads as may be: finish some, or terminate them",
        ),
    };
    Problem::new(code, detail).retry_after(60)
}

/// Appends a body at `offset`, and makes the photo if it is the last.
///
/// What is wrong with the request is said before its body is read: who sent `Expect: 100-continue` has not even sent it.
pub(super) async fn append(
    api: &Api,
    caller: &Caller,
    id: UploadId,
    offset: u64,
    content: Content,
) -> Result<Progress, Failed> {
    let held = match api.pipeline().hold_upload(id, &caller.owner, offset).await {
        Ok(held) => held,
        Err(NotHeld::Closed(upload)) => return closed(api, caller, upload, offset, content.bytes()).await,
        Err(NotHeld::Elsewhere(upload)) => return Err(elsewhere(upload, offset)),
        Err(NotHeld::Missing) => return Err(not_found(&id.to_string()).into()),
        Err(NotHeld::Store(error)) => return Err(Problem::from(error).into()),
    };
    check_fits(api, held.upload(), &content)?;
    let (began, holder) = (held.upload().clone(), held.lease());
    let bytes = content.bytes();
    let deadlines = BodyDeadlines::of(api.options());
    // The upload's own limit is looked at with every byte.
    let body = body_bytes(content.body, content.end, deadlines, u64::MAX).boxed();
    let (lease, body) = open(api, caller, &held, bytes, body).await?;
    let check = content.digests.check();
    let chunk = Chunk { bytes, body, check, length: content.length, last: content.last };
    let (outcome, lease) = api.pipeline().append_upload(held, chunk, lease).await;
    match (outcome, lease) {
        (Ok(upload), Some(lease)) => finish(api, upload, lease).await,
        (Ok(upload), None) => Ok(Progress { upload, photo: None }),
        (Err(error), _) => Err(append_failed(api, began, holder, error).await),
    }
}

/// Appends the bytes that come with the request by which an upload begins. Whether or not its client stays, this comes to
/// an end: nobody else knows of the upload then, to finish it or to end it.
pub(super) async fn append_first(
    api: &Api,
    caller: Caller,
    id: UploadId,
    content: Content,
    found_by: FoundBy,
) -> Result<Progress, Failed> {
    let api = api.clone();
    let work = tokio::spawn(async move {
        let outcome = append(&api, &caller, id, 0, content).await;
        if let Err(error) = &outcome {
            abandon(&api, &caller, id, error, found_by).await;
        }
        outcome
    });
    work.await.unwrap_or_else(|error| {
        let reason = format!("the work on an upload was cut off: {error}");
        Err(Problem::from(StoreError::Unavailable { reason }).into())
    })
}

/// A lease for what is to be appended, once its first bytes are there: until then a slow client holds up nobody but itself,
/// and not even that, since a later request takes the upload over.
async fn open(
    api: &Api,
    caller: &Caller,
    held: &Held,
    bytes: Option<u64>,
    body: Body,
) -> Result<(Lease, Body), Failed> {
    let upload = || Box::new(held.upload().clone());
    let announced =
        Announced { bytes, before: held.upload().offset, shape: Shape::Piece, is_repeated: false };
    tokio::select! {
        biased;
        () = held.stopped() => {
            let stopped = AppendError::Stopped(upload());
            Err(append_failed(api, held.upload().clone(), held.lease(), stopped).await)
        }
        opened = api.open(caller, announced, body) => {
            opened.map_err(|problem| Failed { problem: late(problem, held.upload()), upload: Some(upload()) })
        }
    }
}

/// Before the body is read: whether there is room for it, and whether lengths agree.
fn check_fits(api: &Api, upload: &Upload, content: &Content) -> Result<(), Failed> {
    let failed = |problem| Failed { problem, upload: Some(Box::new(upload.clone())) };
    if let (Some(known), Some(told)) = (upload.length, content.length)
        && known != told
    {
        return Err(failed(length_mismatch(known, told)));
    }
    let length = upload.length.or(content.length);
    check_length(api, length).map_err(failed)?;
    let end = content.bytes().map(|bytes| upload.offset.saturating_add(bytes));
    if let (Some(end), Some(length)) = (end, length)
        && end > length
    {
        let detail =
            format!("the body ends at byte {end}, and the upload has {length}; nothing of it was read");
        return Err(failed(Problem::new("upload-length-exceeded", detail)));
    }
    check_length(api, end).map_err(failed)?;
    if content.last == Last::Yes
        && let (Some(end), Some(length)) = (end, length)
        && end != length
    {
        return Err(failed(length_mismatch(length, end)));
    }
    if content.length.is_some_and(|length| length < upload.offset) {
        return Err(failed(length_mismatch(upload.offset, content.length.unwrap_or_default())));
    }
    Ok(())
}

pub(super) fn length_mismatch(known: u64, told: u64) -> Problem {
    let detail = format!("the upload has {known} bytes by what was said before, and {told} by this request");
    Problem::new("upload-length-mismatch", detail)
}

fn elsewhere(upload: Upload, offset: u64) -> Failed {
    let detail =
        format!("the upload stands at byte {}, and not at {offset}: go on from there", upload.offset);
    Failed { problem: Problem::new("upload-offset-mismatch", detail), upload: Some(Box::new(upload)) }
}

/// A request to append to what takes no more. One that adds nothing is told how it stands: its client did not get the
/// last answer.
async fn closed(
    api: &Api,
    caller: &Caller,
    upload: Upload,
    offset: u64,
    bytes: Option<u64>,
) -> Result<Progress, Failed> {
    match (&upload.kind, &upload.state) {
        (Kind::Final { .. }, _) => {
            let detail = "this upload is made of others: nothing can be added to it";
            Err(Failed { problem: Problem::new("upload-final", detail), upload: Some(Box::new(upload)) })
        }
        (_, State::Refused { code, detail }) => Err(refused_before(code, detail).into()),
        (_, State::Finishing | State::Done { .. }) if offset == upload.offset && bytes == Some(0) => {
            whole(api, caller, upload).await
        }
        _ if offset != upload.offset => Err(elsewhere(upload, offset)),
        (_, State::Finishing) => {
            let detail = "the upload has all its bytes; nothing can be added to it";
            Err(Failed { problem: Problem::new("upload-ended", detail), upload: Some(Box::new(upload)) })
        }
        _ => Err(Failed { problem: ended(&upload), upload: Some(Box::new(upload)) }),
    }
}

/// The problem by which an upload was refused, once more.
pub(super) fn refused_before(code: &str, detail: &str) -> Problem {
    Problem::new(code, detail)
}

pub(super) fn ended(upload: &Upload) -> Problem {
    let detail = match &upload.state {
        State::Done { photo, .. } => format!("the upload has become the photo {photo}"),
        State::Joined { into } => format!("the upload has become a part of the upload {into}"),
        State::Refused { code, detail } => format!("the upload was refused ({code}): {detail}"),
        _ => "the upload has ended".to_owned(),
    };
    Problem::new("upload-ended", detail)
}

/// How an upload stands of which a request broke off.
fn keeps(upload: &Upload) -> String {
    format!("; the upload stands at byte {}, go on from there", upload.offset)
}

/// A body that did not come in time is no fault of the request, since what came of it is kept: a client takes the status of
/// one for final, and gives up an upload with which it could go on.
fn late(problem: Problem, upload: &Upload) -> Problem {
    if !problem.is("body-timeout") && !problem.is("body-too-slow") {
        return problem;
    }
    let detail = format!("the body stalled or came too slowly{}", keeps(upload));
    Problem::new("upload-stalled", detail).retry_after(1)
}

async fn append_failed(api: &Api, began: Upload, holder: LeaseId, error: AppendError) -> Failed {
    match error {
        AppendError::Refused(error) => refuse(api, began, Some(holder), Problem::from(*error)).await,
        AppendError::TooLong { limit } => {
            let detail = format!("more than the {limit} bytes came that the upload may have; begin again");
            refuse(api, began, Some(holder), Problem::new("upload-length-exceeded", detail)).await
        }
        AppendError::OtherLength(upload) => {
            let problem = length_mismatch(upload.length.unwrap_or_default(), upload.offset);
            Failed { problem, upload: Some(upload) }
        }
        AppendError::TooManyPieces(upload) => {
            let detail =
                "the upload came in so many small requests that no more fit: begin again with larger ones";
            Failed { problem: Problem::new("upload-too-fragmented", detail), upload: Some(upload) }
        }
        AppendError::OtherBytes(error) => {
            Failed { problem: other_bytes(error), upload: Some(Box::new(began)) }
        }
        AppendError::Cut(upload, error) => {
            let mut problem = Problem::from(error);
            problem.detail = format!("the body did not arrive whole{}", keeps(&upload));
            Failed { problem: late(problem, &upload), upload: Some(upload) }
        }
        AppendError::Stopped(upload) if api.pipeline().is_draining() => {
            let detail = format!("the daemon is shutting down{}", keeps(&upload));
            Failed { problem: Problem::new("draining", detail).retry_after(5), upload: Some(upload) }
        }
        AppendError::Stopped(upload) => Failed { problem: taken_over(), upload: Some(upload) },
        AppendError::LeaseLost => taken_over().into(),
        AppendError::Store(error) => Problem::from(error).into(),
    }
}

/// The bytes of a request are not those that a digest of it announces.
fn other_bytes(error: BodyError) -> Problem {
    let detail = format!("{error}; none of them were kept, send them again, or mend the digest");
    match &error {
        BodyError::Mismatch { header: UPLOAD_CHECKSUM, .. } => {
            Problem::new("upload-checksum-mismatch", detail)
        }
        _ => Problem { detail, ..error.into() },
    }
}

fn taken_over() -> Problem {
    let detail = "another request goes on with this upload; ask where it stands before you send more";
    Problem::new("upload-taken-over", detail)
}

/// Ends an upload that will never be a photo, unless another has taken it over from `holder`. Whether or not that could be
/// noted, the problem is what it is.
async fn refuse(api: &Api, mut upload: Upload, holder: Option<LeaseId>, problem: Problem) -> Failed {
    let state = State::Refused { code: problem.code().to_owned(), detail: problem.detail.clone() };
    match api.pipeline().end_upload(upload.id, &upload.owner, (state.clone(), holder)).await {
        Ok(Ended::LeaseLost) => return taken_over().into(),
        Ok(Ended::Missing) => return not_found(&upload.id.to_string()).into(),
        Ok(Ended::Found(found)) if matches!(found.state, State::Done { .. } | State::Joined { .. }) => {
            return Failed { problem: ended(&found), upload: Some(Box::new(found)) };
        }
        Ok(Ended::Found(_)) => upload.state = state,
        Err(error) => {
            tracing::warn!(upload = %upload.id, %error, "the refusal of an upload was not noted; it is found again");
        }
    }
    let Wishes { batch, name, .. } = upload.wishes.clone();
    let file = RefusedFile { batch, item: ItemId(upload.id.0), name, bytes: upload.length };
    refusals::note(api, &upload.owner, file, &problem).await;
    Failed { problem, upload: Some(Box::new(upload)) }
}

/// Makes the photo of an upload that is whole, or tells the one that it has become.
pub(super) async fn finish(api: &Api, upload: Upload, lease: Lease) -> Result<Progress, Failed> {
    match &upload.state {
        State::Finishing | State::Done { .. } => {}
        State::Open | State::Joined { .. } => return Ok(Progress { upload, photo: None }),
        State::Refused { code, detail } => return Err(refused_before(code, detail).into()),
        State::Terminated => return Err(not_found(&upload.id.to_string()).into()),
    }
    match api.pipeline().finish_upload(&upload, lease).await {
        Ok(ingested) => {
            let photo = view_of(api, &ingested).await;
            let (id, owner) = (upload.id, upload.owner.clone());
            // As it is now: its record stays for a while.
            let upload = api.pipeline().upload(id, &owner).await.ok().flatten().unwrap_or(upload);
            Ok(Progress { upload, photo: Some(photo) })
        }
        Err(error) if error.is_final() => Err(refuse(api, upload, None, error.into()).await),
        Err(error) => Err(Failed { problem: error.into(), upload: Some(Box::new(upload)) }),
    }
}

/// The upload at an offset that stays, with its photo if all bytes are there.
pub(super) async fn at_rest(api: &Api, caller: &Caller, id: &str) -> Result<Progress, Failed> {
    let upload = api.pipeline().upload_at_rest(parse_id(id)?, &caller.owner).await.map_err(Problem::from)?;
    whole(api, caller, upload.ok_or_else(|| not_found(id))?).await
}

/// The upload as it is, with its photo if there is one. A look, which makes nothing and waits for nobody.
pub(super) async fn as_it_is(api: &Api, caller: &Caller, id: &str) -> Result<Progress, Failed> {
    let upload = api.pipeline().upload(parse_id(id)?, &caller.owner).await.map_err(Problem::from)?;
    let upload = upload.ok_or_else(|| not_found(id))?;
    match upload.state {
        State::Finishing => Ok(Progress { upload, photo: None }),
        _ => whole(api, caller, upload).await,
    }
}

async fn whole(api: &Api, caller: &Caller, mut upload: Upload) -> Result<Progress, Failed> {
    if upload.state == State::Finishing {
        // Who makes the photo holds a slot for it; who waits for that one needs none.
        let id = upload.id;
        api.pipeline().upload_finished(id).await;
        let found = api.pipeline().upload(id, &caller.owner).await.map_err(Problem::from)?;
        upload = found.ok_or_else(|| not_found(&id.to_string()))?;
        if let State::Refused { code, detail } = &upload.state {
            return Err(refused_before(code, detail).into());
        }
    }
    match upload.state {
        State::Finishing => {
            let lease = api.admit(caller, Some(upload.offset)).await?;
            finish(api, upload, lease).await
        }
        State::Done { photo, duplicate } => {
            let photo = crate::photos::find(api, photo).await.ok();
            let photo = match photo {
                Some(photo) => Some(crate::photos::view_of_own(api, &photo, duplicate).await),
                None => None,
            };
            Ok(Progress { upload, photo })
        }
        _ => Ok(Progress { upload, photo: None }),
    }
}

/// Frees everything of an upload. The photo that it has become stays.
pub(super) async fn terminate(api: &Api, caller: &Caller, id: &str) -> Result<(), Problem> {
    match api.pipeline().end_upload(parse_id(id)?, &caller.owner, (State::Terminated, None)).await? {
        Ended::Found(_) => Ok(()),
        Ended::Missing | Ended::LeaseLost => Err(not_found(id)),
    }
}
