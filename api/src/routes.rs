//! Which path and method is which handler.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode, Version};
use uuid::Uuid;

use crate::auth::authenticate::{admit, authenticate};
use crate::auth::{access, keys, registration, sessions};
use crate::caller::{Caller, ClientKey};
use crate::cors::Cors;
use crate::objects::Asked;
use crate::problem::Problem;
use crate::request::{BodyEnd, header};
use crate::response::{self, Answer};
use crate::serve::Crowd;
use crate::{
    Api, admin, albums, batches, conversations, direct, events, feed, health, hooks, jobs, limits, links,
    objects, people, photos, posts, upload, uploads,
};

/// Methods and paths, as `openapi.json` names them.
pub type Routes = &'static [(&'static str, &'static str)];

/// Every route: those that are answered here, and those of modules that have paths of their own.
pub const ROUTES: &[Routes] = &[
    OWN_ROUTES,
    registration::ROUTES,
    sessions::ROUTES,
    keys::ROUTES,
    conversations::ROUTES,
    batches::ROUTES,
    uploads::ROUTES,
    direct::ROUTES,
    hooks::ROUTES,
    people::ROUTES,
    albums::ROUTES,
    posts::ROUTES,
    feed::ROUTES,
    events::ROUTES,
];

const OWN_ROUTES: Routes = &[
    ("POST", "/v1/photos"),
    ("GET", "/v1/photos"),
    ("GET", "/v1/photos/{id}"),
    ("PATCH", "/v1/photos/{id}"),
    ("DELETE", "/v1/photos/{id}"),
    ("GET", "/v1/photos/{id}/original"),
    ("GET", "/v1/photos/{id}/variants/{preset}"),
    ("POST", "/v1/photos/{id}/links"),
    ("GET", "/v1/admin/actors"),
    ("POST", "/v1/admin/janitor"),
    ("GET", "/v1/admin/jobs"),
    ("GET", "/v1/admin/jobs/{id}"),
    ("DELETE", "/v1/admin/jobs/{id}"),
    ("POST", "/v1/admin/jobs/{id}/retry"),
    ("POST", "/v1/admin/backup"),
    ("GET", "/v1/usage"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/v1/admin/signing-keys"),
    ("GET", "/openapi.json"),
    ("GET", "/.well-known/jwks.json"),
];

/// The description of the API, served at `/openapi.json`.
pub const OPENAPI: &str = include_str!("../openapi.json");

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Answers one request. Never fails: what goes wrong is an answer too.
pub async fn answer(api: Api, request: Request<Incoming>, client: ClientKey, crowd: Crowd) -> Answer {
    let began = Instant::now();
    let request_id = request_id(&request);
    let (method, version) = (request.method().clone(), request.version());
    let path = request.uri().path().to_owned();
    let end = BodyEnd::of(request.body());
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    // Until it is known who asks, and where that makes no difference.
    let mut caller = Caller::signed_out(client);
    let cors = Cors::of(&api, &request);
    let asking = Asking { request, caller: caller.clone(), crowd, end: end.clone(), cors: cors.clone() };
    let routed = AssertUnwindSafe(route(&api, asking, &segments, &mut caller)).catch_unwind().await;
    let (route, result) = routed.unwrap_or_else(|_| {
        // The panic hook has logged it.
        ("panicked", Err(Problem::new("internal-error", "a bug of the daemon's own; its log says where")))
    });
    let mut answer = result.unwrap_or_else(Problem::into_answer);
    if method == Method::HEAD {
        without_body(&mut answer);
    }
    cors.decorate(&mut answer);
    let headers = answer.headers_mut();
    headers.insert(REQUEST_ID.clone(), request_id.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if segments.first() == Some(&"v1") {
        api.limits().tell(&caller, headers);
    }
    if version < Version::HTTP_2 && (!end.was_reached() || crowd != Crowd::Room) {
        // The rest of the body lies between us and the next request; and one connection too many must go.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    note(&method, route, answer.status(), began, &request_id, &path);
    answer
}

/// Headers as for GET, and nothing else: on HTTP/2 hyper would send the body.
fn without_body(answer: &mut Answer) {
    let length = answer.body().size_hint().exact();
    if let Some(length) = length.filter(|_| !answer.headers().contains_key(CONTENT_LENGTH)) {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *answer.body_mut() = response::nothing();
}

fn request_id<B>(request: &Request<B>) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        id.len() <= REQUEST_ID_BYTES_MAX && !id.is_empty() && id.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

fn note(
    method: &Method,
    route: &'static str,
    status: StatusCode,
    began: Instant,
    id: &HeaderValue,
    path: &str,
) {
    let took = began.elapsed();
    let method = match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        // Anything a client can make up must not become a label.
        _ => "other",
    };
    metrics::counter!(
        "darkroom_http_requests_total", "route" => route, "method" => method,
        "status" => status.as_u16().to_string()
    )
    .increment(1);
    metrics::histogram!("darkroom_http_request_duration_seconds", "route" => route, "method" => method)
        .record(took);
    let (status, id) = (status.as_u16(), id.to_str().unwrap_or_default());
    if status >= 500 && status != 503 {
        tracing::error!(method, path, status, ?took, request_id = id, "request failed");
    } else {
        tracing::debug!(method, path, status, ?took, request_id = id, "request");
    }
}

/// A request, and what is known of it beside.
pub struct Asking {
    /// What was sent.
    pub request: Request<Incoming>,
    /// Who sent it.
    pub caller: Caller,
    /// Whether there is room for it.
    pub crowd: Crowd,
    /// Whether its body was read to the end.
    pub end: BodyEnd,
    /// What is allowed to the page that it comes from.
    pub(crate) cors: Cors,
}

/// A route's name for metrics, and its answer.
pub type Routed = (&'static str, Result<Answer, Problem>);

/// Answers, and leaves in `caller` who asked.
async fn route(api: &Api, mut asking: Asking, segments: &[&str], caller: &mut Caller) -> Routed {
    let request = &asking.request;
    if let Some(answer) = outside_admission(api, request, segments).await {
        return answer;
    }
    if api.is_health_only() {
        let detail = "only /livez, /readyz and /metrics are answered here; use the main address";
        return ("unknown", Err(Problem::new("not-found", detail)));
    }
    if let Some(problem) = asking.crowd.problem() {
        return ("crowded", Err(problem));
    }
    if asking.cors.is_preflight() && !matches!(segments, ["v1", "uploads", ..]) {
        return ("preflight", Ok(response::empty(StatusCode::NO_CONTENT)));
    }
    let known = match segments {
        // Whoever sends these has credentials of another kind, which their handler knows.
        ["v1", "hooks", ..] => Ok(Caller::signed_out(caller.client)),
        _ => authenticate(api, request.headers(), caller.client).await,
    };
    if let Ok(known) = &known {
        *caller = known.clone();
    }
    // Also those who are refused: a wrong token costs as much as a right one.
    if let Err(problem) = api.limits().request(caller) {
        return ("limited", Err(problem));
    }
    let admitted = known.and_then(|caller| admit(&caller, request.method(), segments).map(|()| caller));
    asking.caller = match admitted {
        Ok(caller) => caller,
        Err(problem) => return ("refused", Err(problem)),
    };
    let request = &asking.request;
    if request.headers().len() > api.options().headers_max {
        let detail = format!("the request has more than {} headers: send fewer", api.options().headers_max);
        return ("headers", Err(Problem::new("headers-too-large", detail)));
    }
    if is_cross_site(request) && !asking.cors.is_allowed() {
        let detail = "a page of another site may not change anything here; send the request from your own";
        return ("cross-site", Err(Problem::new("cross-site-request", detail)));
    }
    // Boxed where they are large: the future of each request would be as large as the largest.
    match segments {
        ["v1", "uploads", rest @ ..] => Box::pin(uploads::route(api, asking, rest)).await,
        ["v1", "batches", rest @ ..] => batches::route(api, asking, rest).await,
        ["v1", "direct-uploads", rest @ ..] => direct::route(api, asking, rest).await,
        ["v1", "feed"] | ["v1", "tags" | "trending", ..] => feed::route(api, asking, &segments[1..]).await,
        ["v1", "hooks", rest @ ..] => hooks::route(api, asking, rest).await,
        ["v1", "sessions", rest @ ..] => Box::pin(sessions::route(api, asking, rest)).await,
        ["v1", "conversations", rest @ ..] => Box::pin(conversations::route(api, asking, rest)).await,
        ["v1", "api-keys", rest @ ..] => Box::pin(keys::route(api, asking, rest)).await,
        ["v1", "users", rest @ ..] => Box::pin(people::route(api, asking, rest)).await,
        ["v1", "events"] => Box::pin(events::route(api, asking)).await,
        ["v1", "albums", rest @ ..] => Box::pin(albums::route(api, asking, rest)).await,
        ["v1", "posts", rest @ ..] => Box::pin(posts::route(api, asking, rest)).await,
        _ => Box::pin(own_route(api, asking, segments)).await,
    }
}

async fn own_route(api: &Api, asking: Asking, segments: &[&str]) -> Routed {
    let Asking { request, caller, end, .. } = asking;
    let method = request.method().clone();
    let query = request.uri().query().map(ToOwned::to_owned);
    let query = query.as_deref();
    // HEAD is answered wherever GET is.
    let get = method == Method::GET || method == Method::HEAD;
    match segments {
        ["v1", "photos"] => (
            "/v1/photos",
            match method {
                Method::POST => upload::create(api, request, caller, end).await,
                _ if get => photos::list(api, &caller, query).await,
                _ => not_allowed("GET, HEAD, POST"),
            },
        ),
        ["v1", "photos", id] => (
            "/v1/photos/{id}",
            match method {
                Method::PATCH => photos::edit(api, &caller, query, id, (request.into_body(), end)).await,
                Method::DELETE => photos::delete(api, &caller, query, id).await,
                _ if get => photos::get(api, &caller, request.headers(), query, id).await,
                _ => not_allowed("GET, HEAD, PATCH, DELETE"),
            },
        ),
        ["v1", "photos", id, "original"] => ("/v1/photos/{id}/original", {
            let asked = Asked { method: &method, headers: request.headers(), query };
            if get { objects::original(api, &caller, asked, id).await } else { not_allowed("GET, HEAD") }
        }),
        ["v1", "photos", id, "variants", preset] => ("/v1/photos/{id}/variants/{preset}", {
            let asked = Asked { method: &method, headers: request.headers(), query };
            if get {
                objects::variant(api, &caller, asked, id, preset).await
            } else {
                not_allowed("GET, HEAD")
            }
        }),
        ["v1", "photos", id, "links"] => (
            "/v1/photos/{id}/links",
            match method {
                Method::POST => links::create(api, &caller, id, (request, end)).await,
                _ => not_allowed("POST"),
            },
        ),
        ["v1", "usage"] => (
            "/v1/usage",
            if get { limits::usage::get(api, &caller, query).await } else { not_allowed("GET, HEAD") },
        ),
        ["v1", "admin", "jobs", rest @ ..] => jobs_route(api, &method, query, rest).await,
        ["v1", "admin", "actors"] => {
            ("/v1/admin/actors", if get { Ok(admin::actors(api)) } else { not_allowed("GET, HEAD") })
        }
        ["v1", "admin", "janitor"] => (
            "/v1/admin/janitor",
            match method {
                Method::POST => admin::janitor(api).await,
                _ => not_allowed("POST"),
            },
        ),
        ["v1", "admin", "backup"] => (
            "/v1/admin/backup",
            match method {
                Method::POST => admin::backup(api).await,
                _ => not_allowed("POST"),
            },
        ),
        ["v1", "admin", "signing-keys"] => (
            "/v1/admin/signing-keys",
            match method {
                Method::POST => access::follow(api, request, end).await,
                _ => not_allowed("POST"),
            },
        ),
        [".well-known", "jwks.json"] => (
            "/.well-known/jwks.json",
            if get { access::public_keys(api).await } else { not_allowed("GET, HEAD") },
        ),
        ["openapi.json"] => ("/openapi.json", {
            let description = || response::text(StatusCode::OK, "application/json", OPENAPI);
            if get { Ok(description()) } else { not_allowed("GET, HEAD") }
        }),
        _ => ("unknown", {
            let path = request.uri().path();
            Err(Problem::new(
                "not-found",
                format!("there is nothing at {path:?}: see /openapi.json for what there is"),
            ))
        }),
    }
}

/// What is below `/v1/admin/jobs`.
async fn jobs_route(api: &Api, method: &Method, query: Option<&str>, rest: &[&str]) -> Routed {
    let get = method == Method::GET || method == Method::HEAD;
    match rest {
        [] => ("/v1/admin/jobs", if get { jobs::list(api, query).await } else { not_allowed("GET, HEAD") }),
        [id] => (
            "/v1/admin/jobs/{id}",
            match *method {
                Method::DELETE => jobs::delete(api, query, id).await,
                _ if get => jobs::show(api, query, id).await,
                _ => not_allowed("GET, HEAD, DELETE"),
            },
        ),
        [id, "retry"] => (
            "/v1/admin/jobs/{id}/retry",
            if method == Method::POST { jobs::retry(api, query, id).await } else { not_allowed("POST") },
        ),
        _ => (
            "unknown",
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is")),
        ),
    }
}

/// Health and metrics: answered whatever the load.
pub(crate) async fn outside_admission<B>(
    api: &Api,
    request: &Request<B>,
    segments: &[&str],
) -> Option<Routed> {
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    let route = match segments {
        ["livez"] => "/livez",
        ["readyz"] => "/readyz",
        ["metrics"] => "/metrics",
        _ => return None,
    };
    let answer = match route {
        _ if !get => not_allowed("GET, HEAD"),
        "/livez" => Ok(health::livez()),
        "/readyz" => Ok(health::readyz(api).await),
        _ => Ok(health::metrics(api).await),
    };
    Some((route, answer))
}

/// Whether a browser sends this for a page of another site: without authentication, any page that its user
/// visits could otherwise upload or delete.
fn is_cross_site<B>(request: &Request<B>) -> bool {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    changes && header(request.headers(), "sec-fetch-site") == Some("cross-site")
}

pub(crate) fn not_allowed(allow: &'static str) -> Result<Answer, Problem> {
    let mut problem = Problem::new("method-not-allowed", format!("this path takes {allow}"));
    problem.allow = Some(allow);
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_description_refers_to_is_in_it() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let (mut left, mut references) = (vec![&description], 0);
        while let Some(value) = left.pop() {
            if let Some(place) = value["$ref"].as_str() {
                assert!(description.pointer(&place[1..]).is_some(), "{place} is nowhere");
                references += 1;
            }
            let members = value.as_object().into_iter().flat_map(|object| object.values());
            left.extend(members.chain(value.as_array().into_iter().flatten()));
        }
        assert!(references > 0);
    }

    #[test]
    fn the_description_names_every_route_and_no_other() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = Vec::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for method in
                item.as_object().unwrap().keys().filter(|key| *key != "parameters" && *key != "head")
            {
                described.push((method.to_uppercase(), path.clone()));
            }
        }
        let routes = ROUTES.iter().copied().flatten();
        let mut routes: Vec<_> =
            routes.map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        routes.sort();
        described.sort();
        assert_eq!(described, routes);
    }
}
