//! Answers that carry their status inside.

use tonic::Response;

use super::Reply;
use crate::proto::common::Status;
use crate::proto::milvus as wire;
use crate::status::{WireError, WireResult, success};

/// A message a failure can be told with.
pub(super) trait Answer: Default {
    /// Sets the status.
    fn set_status(&mut self, status: Status);
}

impl Answer for Status {
    fn set_status(&mut self, status: Status) {
        *self = status;
    }
}

macro_rules! answers {
    ($($message:ident),* $(,)?) => {$(
        impl Answer for wire::$message {
            fn set_status(&mut self, status: Status) {
                // A success may already carry hints for the client.
                if self.status.is_none() || status != success() {
                    self.status = Some(status);
                }
            }
        }
    )*};
}
answers!(
    ConnectResponse,
    GetVersionResponse,
    CheckHealthResponse,
    AllocTimestampResponse,
    ListDatabasesResponse,
    DescribeDatabaseResponse,
    BoolResponse,
    DescribeCollectionResponse,
    ShowCollectionsResponse,
    GetCollectionStatisticsResponse,
    ShowPartitionsResponse,
    GetPartitionStatisticsResponse,
    DescribeIndexResponse,
    GetLoadingProgressResponse,
    GetLoadStateResponse,
    MutationResult,
    SearchResults,
    QueryResults,
    FlushResponse,
    GetFlushStateResponse,
    FlushAllResponse,
    GetFlushAllStateResponse,
);

/// The result of an RPC as the client gets it.
pub(super) fn reply<T: Answer>(rpc: &'static str, result: WireResult<T>) -> Reply<T> {
    match result {
        Ok(mut answer) => {
            metrics::counter!("redkite_requests_total", "rpc" => rpc, "outcome" => "ok").increment(1);
            answer.set_status(success());
            Ok(Response::new(answer))
        }
        Err(error) => {
            metrics::counter!("redkite_requests_total", "rpc" => rpc, "outcome" => "error").increment(1);
            if error.is_input_error() {
                tracing::debug!(rpc, %error, "a request was refused");
            } else {
                tracing::warn!(rpc, %error, "a request failed");
            }
            if matches!(error, WireError::BufferFull { .. }) {
                return Err(error.to_grpc());
            }
            let mut answer = T::default();
            answer.set_status(error.to_status());
            Ok(Response::new(answer))
        }
    }
}
