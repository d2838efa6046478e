//! The router: which path is answered where, by whom it may be asked, and that every error has one shape.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mta::Handle;
use report::Store;
use tokio::sync::watch;

use crate::body::Budget;
use crate::caller::{Caller, Peer};
use crate::feedback::FeedbackStore;
use crate::idempotency::{Idempotency, OpenError};
use crate::{
    ApiError, accounts, campaigns, decisions, feed, feedback, messages, queue, sources, status, stories,
    tls_reports, upload,
};

/// Everything that a request may need.
#[derive(Clone)]
pub struct Console {
    pub(crate) handle: Handle,
    pub(crate) store: Store,
    /// The log of each shard.
    pub(crate) readers: Arc<[spool::Reader]>,
    pub(crate) budget: Budget,
    pub(crate) idempotency: Idempotency,
    pub(crate) feedback: FeedbackStore,
    /// Turns true when the server stops: whoever waits for events answers at once.
    pub(crate) stopping: Arc<watch::Sender<bool>>,
}

/// Why the API cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what} in {data_dir}: {reason}")]
pub struct ConsoleError {
    what: &'static str,
    data_dir: String,
    reason: String,
}

impl Console {
    /// An API for the engine behind `handle`, with what `store` tells of it.
    ///
    /// # Errors
    /// When the files of Idempotency-Keys and feedback in the engine's data directory cannot be used.
    pub fn new(handle: Handle, store: Store) -> Result<Self, ConsoleError> {
        let config = handle.config();
        let data_dir = &config.node.data_dir;
        let idempotency =
            Idempotency::open(data_dir).map_err(unusable("the memory of Idempotency-Keys", data_dir))?;
        let feedback = FeedbackStore::open(data_dir).map_err(unusable("the memory of feedback", data_dir))?;
        let stopping = Arc::new(watch::Sender::new(false));
        let readers = handle.readers().into();
        Ok(Self { handle, store, readers, budget: Budget::default(), idempotency, feedback, stopping })
    }

    /// The router. Each request must carry its [`Peer`] as an extension.
    pub fn router(&self) -> Router {
        let known = Router::new()
            .route("/v1/messages", post(messages::submit))
            .route("/v1/messages/{id}", get(stories::show))
            .route("/v1/campaigns", get(campaigns::list).post(campaigns::create))
            .route("/v1/campaigns/{id}", get(campaigns::show))
            .route("/v1/campaigns/{id}/recipients", post(upload::add_recipients))
            .route("/v1/campaigns/{id}/{action}", post(campaigns::act))
            .route("/v1/ledger", get(feed::ledger))
            .route("/v1/events", get(feed::events))
            .route("/v1/feedback", post(feedback::take))
            .route("/v1/accounts", get(accounts::show))
            .route("/v1/decisions", get(decisions::show))
            .route("/v1/sources", get(sources::show))
            .route("/v1/sources/warmup", post(sources::warm_up))
            .route("/v1/reputation", get(sources::reputation))
            .route("/v1/queue", get(queue::show))
            .route("/v1/queue/suspend", post(queue::suspend))
            .route("/v1/queue/resume", post(queue::resume))
            .route("/v1/queue/release", post(queue::release))
            .route("/v1/why/{id}", get(queue::why))
            .route("/v1/tls-reports", get(tls_reports::show))
            .route("/metrics", get(status::metrics))
            .layer(middleware::from_fn_with_state(self.clone(), identify))
            .route("/healthz", get(status::health));
        dress(known).with_state(self.clone())
    }
}

/// Gives a router the answers for what it does not know, and every error the one shape.
pub(crate) fn dress<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|| async { ApiError::of_status(StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { ApiError::of_status(StatusCode::METHOD_NOT_ALLOWED) })
        .layer(middleware::map_response(shape))
}

/// Whatever error was not made here, such as the router's own, gets the shape of ours; and nothing is kept in caches.
async fn shape(response: Response) -> Response {
    let status = response.status();
    let is_json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let is_error = status.is_client_error() || status.is_server_error();
    let mut response = if is_error && !is_json {
        let allow = response.headers().get(header::ALLOW).cloned();
        let mut shaped = ApiError::of_status(status).into_response();
        allow.map(|allow| shaped.headers_mut().insert(header::ALLOW, allow));
        shaped
    } else {
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn identify(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return ApiError::fault("the request came from nowhere").into_response();
    };
    match Caller::identify(&console.handle.config().accounts, peer, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

fn unusable(what: &'static str, data_dir: &Path) -> impl Fn(OpenError) -> ConsoleError {
    let data_dir = data_dir.display().to_string();
    move |error| ConsoleError { what, data_dir: data_dir.clone(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: Router, method: &str, path: &str) -> (u16, serde_json::Value, Option<String>) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("answered");
        let status = response.status().as_u16();
        let allow =
            response.headers().get(header::ALLOW).map(|value| value.to_str().expect("text").to_owned());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"), allow)
    }

    fn router() -> Router {
        dress(
            Router::new()
                .route("/thing", get(|| async { "{}" }))
                .route("/plain", get(|| async { (StatusCode::BAD_REQUEST, "not ours") })),
        )
    }

    #[tokio::test]
    async fn what_the_router_does_not_know_has_the_shape_of_all_errors() {
        for (method, path, status, code) in [
            ("GET", "/nothing", 404, "not_found"),
            ("POST", "/thing", 405, "method_not_allowed"),
            ("GET", "/plain", 400, "bad_request"),
        ] {
            let (found, body, allow) = ask(router(), method, path).await;
            assert_eq!((found, body["error"]["code"].as_str()), (status, Some(code)), "{method} {path}");
            assert!(body["error"]["message"].is_string());
            assert!(body["error"].as_object().expect("an object").contains_key("field"));
            assert_eq!(allow.is_some(), status == 405, "{method} {path}: {allow:?}");
        }
    }
}
