//! The port for operators: health, readiness, metrics, and the metadata for `redkite meta dump`.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 while it serves, has fetched its share and metadata and object store answer, else 503 with the reason |
//! | `/metrics` | Prometheus text |
//! | `/meta/dump` | all metadata as JSON lines; to this machine only |
//! | `/admin/...` | background work on request, see `admin`; to this machine only |

mod admin;
mod readiness;
mod serving;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use redkite_query::Holdings;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::allow_list::{Guarded, Peer};
use crate::engine::Engine;
use crate::meta_dump;
use crate::metrics as telemetry;
pub use readiness::Readiness;
pub use serving::serve_by;

pub(crate) const JSON: &str = "application/json";
const JSON_LINES: &str = "application/x-ndjson";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the answers are made from.
#[derive(Debug, Clone)]
pub struct Operators {
    /// Whether the process serves.
    pub readiness: Arc<Readiness>,
    /// What it serves with.
    pub engine: Engine,
    /// What it holds of the data, if it is a node of a cluster.
    pub holdings: Option<Arc<Holdings>>,
    /// What was counted.
    pub metrics: PrometheusHandle,
}

/// Answers until aborted.
pub fn serve(listener: Guarded, operators: Operators) -> JoinHandle<()> {
    let router = Router::new()
        .route("/healthz", get(async || answer(StatusCode::OK, TEXT, "ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/meta/dump", get(dump))
        .route("/admin/merge", post(admin::merge))
        .route("/admin/merge/{collection}", post(admin::merge))
        .route("/admin/gc", post(admin::collect))
        .route("/admin/gc/{collection}", post(admin::collect))
        .route("/admin/fragments", get(admin::fragments))
        .route("/admin/fragments/{collection}", get(admin::fragments))
        .fallback(async || error(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics"))
        .with_state(operators);
    tokio::spawn(serve_by(listener, router))
}

async fn readyz(State(operators): State<Operators>) -> Response<Body> {
    match operators.readiness.check(&operators.engine, operators.holdings.as_deref()).await {
        Ok(()) => answer(StatusCode::OK, JSON, json!({ "ready": true }).to_string()),
        Err(reason) => {
            let body = json!({ "ready": false, "reason": reason }).to_string();
            answer(StatusCode::SERVICE_UNAVAILABLE, JSON, body)
        }
    }
}

async fn metrics(State(operators): State<Operators>) -> Response<Body> {
    let ingest = &operators.engine.ingest;
    gauge!("redkite_sessions").set(ingest.session_count() as f64);
    gauge!("redkite_session_buffered_bytes").set(ingest.buffered_bytes() as f64);
    if let Some(holdings) = &operators.holdings {
        let standing = holdings.standing();
        gauge!("redkite_held_fragments").set(standing.fragments as f64);
        gauge!("redkite_held_bytes").set(standing.bytes as f64);
        gauge!("redkite_pending_fragments").set(standing.pending as f64);
        gauge!("redkite_missing_fragments").set(standing.missing as f64);
    }
    answer(StatusCode::OK, PROMETHEUS, telemetry::render(&operators.metrics))
}

async fn dump(State(operators): State<Operators>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response<Body> {
    if !is_this_machine(peer) {
        return error(StatusCode::FORBIDDEN, "the metadata is told to this machine only");
    }
    match meta_dump::lines(operators.engine.meta.as_ref(), operators.engine.meta_is_shared).await {
        Ok(lines) => answer(StatusCode::OK, JSON_LINES, lines),
        Err(failure) => error(StatusCode::SERVICE_UNAVAILABLE, &format!("{failure:#}")),
    }
}

fn is_this_machine(Peer(peer): Peer) -> bool {
    peer.ip().to_canonical().is_loopback()
}

fn error(status: StatusCode, reason: &str) -> Response<Body> {
    answer(status, JSON, json!({ "error": reason }).to_string())
}

pub(crate) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(kind));
    response
}
