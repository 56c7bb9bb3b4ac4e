//! From one HTTP request to the gRPC service or the HTTP router, and what both must never do to a client.
//!
//! - A gRPC call of something unknown answers UNIMPLEMENTED and names it (tonic leaves the message empty).
//! - A message beyond the limit answers RESOURCE_EXHAUSTED; tonic says OUT_OF_RANGE, which pymilvus retries.
//! - A call that takes longer than its client waits (`grpc-timeout`) is given up, and answers DEADLINE_EXCEEDED.
//! - A handler that panics costs its own request only.
//! - A request runs until its answer's body is dropped; one that comes while the server stops is refused with UNAVAILABLE
//!   or 503, which clients take for a reason to try again elsewhere or later.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::response::IntoResponse;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::deadline;
use super::drain::{Drain, Running};
use crate::proto::milvus::milvus_service_server::{MilvusService, MilvusServiceServer};

const GRPC_CONTENT_TYPE: &str = "application/grpc";
const OUT_OF_RANGE: &str = "11";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
const UNIMPLEMENTED: &str = "12";
/// Follows what tonic says of a message beyond the limit. Nothing in it has to be encoded.
const TOO_LARGE_ADVICE: &[u8] = b" (server.message_limit); ask for fewer rows or fields at once, or send less";
const STOPPING: &str = "the server is shutting down and takes no new requests; try again once it is back";

/// The whole port as one service.
pub(super) struct Dispatch<S> {
    grpc: MilvusServiceServer<S>,
    http: Router,
    drain: Drain,
}

impl<S> Dispatch<S> {
    pub(super) fn new(grpc: MilvusServiceServer<S>, http: Router, drain: Drain) -> Self {
        Self { grpc, http, drain }
    }
}

impl<S: MilvusService> Dispatch<S> {
    /// Answers one request. It counts as running from here on.
    pub(super) fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let path = request.uri().path().to_owned();
        let is_grpc = is_grpc(&request);
        match self.drain.admit(&path) {
            None => Box::pin(std::future::ready(refusal(is_grpc))),
            Some(running) if is_grpc => Box::pin(answer_call(self.grpc.clone(), request, path, running)),
            Some(running) => Box::pin(answer_http(self.http.clone(), request, path, running)),
        }
    }
}

async fn answer_call<S: MilvusService>(
    mut grpc: MilvusServiceServer<S>,
    request: Request<Body>,
    path: String,
    running: Running,
) -> Response<Body> {
    let timeout = deadline::timeout(request.headers());
    let answered = AssertUnwindSafe(async move { grpc.call(request).await }).catch_unwind();
    let answered = match timeout {
        None => answered.await,
        Some(timeout) => match tokio::time::timeout(timeout, answered).await {
            Ok(answered) => answered,
            Err(_) => {
                let text = format!("{} took longer than its client waits, which is {timeout:?}", rpc_name(&path));
                return Status::deadline_exceeded(text).into_http();
            }
        },
    };
    match answered {
        Ok(Ok(response)) => amend(&path, response, running),
        Ok(Err(never)) => match never {},
        Err(_) => {
            report_panic(&path);
            Status::internal(format!("{} failed by a defect of the server; its log says more", rpc_name(&path)))
                .into_http()
        }
    }
}

async fn answer_http(mut http: Router, request: Request<Body>, path: String, running: Running) -> Response<Body> {
    let call = async move { http.call(request.map(axum::body::Body::new)).await };
    let response = match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            report_panic(&path);
            json_error(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the server; its log says more")
        }
    };
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            // Runs to the end of its body.
            let _held = &running;
            frame
        }))
    })
}

/// gRPC needs HTTP/2; the same content type over HTTP/1 is just an odd HTTP request.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(GRPC_CONTENT_TYPE.as_bytes()))
}

fn refusal(is_grpc: bool) -> Response<Body> {
    match is_grpc {
        true => Status::unavailable(STOPPING).into_http(),
        false => json_error(StatusCode::SERVICE_UNAVAILABLE, STOPPING).map(Body::new),
    }
}

/// The panic hook has written message and place already; this says which request it was.
fn report_panic(path: &str) {
    crate::metrics::request_panicked();
    tracing::error!(path, "a request failed by a defect: its handler panicked");
}

fn amend(path: &str, mut response: Response<Body>, running: Running) -> Response<Body> {
    let headers = response.headers_mut();
    if has_status(headers, UNIMPLEMENTED) && headers.get(Status::GRPC_MESSAGE).is_none_or(HeaderValue::is_empty) {
        return Status::unimplemented(format!("{} is not implemented by this server", rpc_name(path))).into_http();
    }
    refuse_for_good(headers);
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            // Runs to the end of its body.
            let _held = &running;
            if let Some(trailers) = frame.trailers_mut() {
                refuse_for_good(trailers);
            }
            frame
        }))
    })
}

/// What tonic says of a message beyond the limit, as clients should hear it.
fn refuse_for_good(headers: &mut HeaderMap) {
    if !has_status(headers, OUT_OF_RANGE) {
        return;
    }
    headers.insert(Status::GRPC_STATUS, RESOURCE_EXHAUSTED);
    let told = headers.get(Status::GRPC_MESSAGE).map_or(&b""[..], HeaderValue::as_bytes);
    if let Ok(message) = HeaderValue::from_bytes(&[told, TOO_LARGE_ADVICE].concat()) {
        headers.insert(Status::GRPC_MESSAGE, message);
    }
}

fn has_status(headers: &HeaderMap, code: &str) -> bool {
    headers.get(Status::GRPC_STATUS).is_some_and(|value| value == code)
}

/// `/milvus.proto.milvus.MilvusService/Import` is best known as `milvus.proto.milvus.MilvusService/Import`.
fn rpc_name(path: &str) -> &str {
    /// A path is the client's: no more of it than this is sent back.
    const SHOWN_BYTES_MAX: usize = 200;
    let name = path.trim_start_matches('/');
    &name[..name.floor_char_boundary(SHOWN_BYTES_MAX)]
}

/// A router that knows no path: everything answers 404 with a JSON body.
pub fn not_found() -> Router {
    Router::new().fallback(async |request: axum::extract::Request| {
        let text = format!("there is nothing at {}", rpc_name(request.uri().path()));
        json_error(StatusCode::NOT_FOUND, &text)
    })
}

fn json_error(status: StatusCode, message: &str) -> axum::response::Response {
    let body = serde_json::json!({ "code": status.as_u16(), "message": message }).to_string();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn constants_are_the_codes_they_are_named_for() {
        assert_eq!(Code::from_bytes(OUT_OF_RANGE.as_bytes()), Code::OutOfRange);
        assert_eq!(Code::from_bytes(UNIMPLEMENTED.as_bytes()), Code::Unimplemented);
        assert_eq!(Code::from_bytes(RESOURCE_EXHAUSTED.as_bytes()), Code::ResourceExhausted);
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        assert_eq!(rpc_name("/a.B/C"), "a.B/C");
        assert!(rpc_name(&"ä".repeat(300)).len() <= 200);
    }
}
