//! A direct upload as JSON.

use std::collections::BTreeMap;
use std::time::SystemTime;

use darkroom_store::model::direct::DirectUpload;
use darkroom_store::objects::s3::PresignedRequest;
use serde::Serialize;

use crate::Api;
use crate::problem::Problem;
use crate::view::PhotoView;

/// What a client is told.
#[derive(Serialize)]
pub(super) struct View {
    id: String,
    state: &'static str,
    bytes: u64,
    expires: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    put: Option<RequestView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<PartView>>,
    /// The number of the first part after these.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) photo: Option<PhotoView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Problem>,
}

/// A request that the client makes by itself, with these headers as they are.
#[derive(Serialize)]
struct RequestView {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct PartView {
    number: u64,
    bytes: u64,
    #[serde(flatten)]
    request: RequestView,
}

impl RequestView {
    fn of(request: PresignedRequest) -> Self {
        let PresignedRequest { method, url, headers } = request;
        // Whoever sends the request names the host by itself, and browsers let nobody else do so.
        let headers = headers.into_iter().filter(|(name, _)| name != "host").collect();
        Self { method, url, headers }
    }
}

impl View {
    /// Without a URL.
    pub(super) fn bare(upload: &DirectUpload) -> Self {
        let parts = upload.parts.as_ref();
        Self {
            id: upload.id.to_string(),
            state: upload.state.as_str(),
            bytes: upload.bytes,
            expires: humantime::format_rfc3339_millis(SystemTime::from(upload.expires)).to_string(),
            put: None,
            part_bytes: parts.map(|parts| parts.part_bytes),
            part_count: parts.map(|parts| parts.count(upload.bytes)),
            parts: None,
            next: None,
            photo: None,
            problem: None,
        }
    }

    /// With where to send it.
    pub(super) async fn of(api: &Api, upload: &DirectUpload) -> Result<Self, Problem> {
        let mut view = Self::bare(upload);
        if upload.parts.is_some() {
            view.add_parts(api, upload, 1).await?;
        } else {
            view.put = Some(RequestView::of(api.pipeline().put_url(upload).await?));
        }
        Ok(view)
    }

    /// With where to send its parts, from the one of this number on.
    pub(super) async fn add_parts(
        &mut self,
        api: &Api,
        upload: &DirectUpload,
        from: u64,
    ) -> Result<(), Problem> {
        let urls = api.pipeline().part_urls(upload, from).await?;
        let last = urls.last().map(|part| part.number);
        self.next = last.zip(self.part_count).and_then(|(last, count)| (last < count).then_some(last + 1));
        let part = |part: darkroom_actors::direct::PartUrl| PartView {
            number: part.number,
            bytes: part.bytes,
            request: RequestView::of(part.request),
        };
        self.parts = Some(urls.into_iter().map(part).collect());
        Ok(())
    }
}
