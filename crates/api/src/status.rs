//! The error table: every way a request can fail, its code and its words.
//!
//! Clients decide by code and people read the text, so both follow Milvus where Milvus has the case; upstream test
//! suites compare the code exactly and search for fragments of the text.
//!
//! Invariants: a failed request sets both `Status.code` and the older `Status.error_code`, a successful one neither;
//! what the user can mend carries `extra_info["is_input_error"]`; a user's mistake is never a gRPC-level error that
//! clients retry by themselves.

mod code;

use redkite_types::ErrorKind;

pub use code::Code;

use crate::proto::common::Status;

/// `Status.extra_info` key that tells the user's mistakes from the server's.
const IS_INPUT_ERROR: &str = "is_input_error";

/// A request that failed, as the client will hear of it. The text is the variant's `Display`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each case and its fields are")]
pub enum WireError {
    #[error("collection not found[database={database}][collection={collection}]")]
    CollectionNotFound { database: String, collection: String },
    #[error("create duplicate collection with different parameters, collection: {collection}")]
    CollectionExists { collection: String },
    #[error("collection not loaded[collection={collection}]")]
    CollectionNotLoaded { collection: String },
    #[error("exceeded the limit number of collections[limit={limit}]")]
    CollectionLimit { limit: usize },
    #[error("collection schema mismatch[collection={collection}]")]
    SchemaMismatch { collection: String },
    #[error("partition not found[partition={partition}]")]
    PartitionNotFound { partition: String },
    #[error("index not found[collection={collection}]")]
    IndexNotFoundInCollection { collection: String },
    #[error("index not found[indexName={index}]")]
    IndexNotFound { index: String },
    #[error("there is no vector index on field: [{field}], please create index firstly")]
    NoIndexToLoad { field: String },
    #[error("database not found[database={database}]")]
    DatabaseNotFound { database: String },
    #[error("{what}: invalid parameter")]
    InvalidParameter { what: String },
    #[error("{what}: invalid parameter[expected={expected}][actual={actual}]")]
    InvalidValue { what: String, expected: String, actual: String },
    #[error("failed to create query plan: cannot parse expression: {expression}, error: {reason}")]
    InvalidExpression { expression: String, reason: String },
    #[error("failed to create query plan: {reason}")]
    InvalidPlan { reason: String },
    #[error("field {field} not exist")]
    FieldNotExist { field: String },
    #[error("{what}: field name invalid[field={field}]")]
    FieldNameInvalid { field: String, what: String },
    #[error("vector dimension mismatch, expected vector size(byte) {expected_bytes}, actual {actual_bytes}.")]
    SearchDimension { expected_bytes: usize, actual_bytes: usize },
    #[error("metric type not match: invalid parameter[expected={expected}][actual={actual}]")]
    MetricMismatch { expected: String, actual: String },
    #[error("{what} is not supported yet")]
    Unsupported { what: String },
    #[error("{what}")]
    Unexpected { what: String },
    /// The one failure told as a gRPC error: clients have to slow down.
    #[error("{what}")]
    BufferFull { what: String },
    /// What the engine said, by what it means to the caller.
    #[error("{what}")]
    Engine { kind: ErrorKind, what: String },
}

/// A result whose error goes to the client.
pub type WireResult<T> = Result<T, WireError>;

impl WireError {
    /// Milvus's number for the case.
    pub fn code(&self) -> Code {
        match self {
            WireError::CollectionNotFound { .. } => Code::CollectionNotFound,
            WireError::CollectionNotLoaded { .. } => Code::CollectionNotLoaded,
            WireError::CollectionLimit { .. } => Code::CollectionLimit,
            WireError::SchemaMismatch { .. } => Code::SchemaMismatch,
            WireError::PartitionNotFound { .. } => Code::PartitionNotFound,
            WireError::IndexNotFoundInCollection { .. }
            | WireError::IndexNotFound { .. }
            | WireError::NoIndexToLoad { .. } => Code::IndexNotFound,
            WireError::DatabaseNotFound { .. } => Code::DatabaseNotFound,
            WireError::InvalidParameter { .. }
            | WireError::InvalidValue { .. }
            | WireError::InvalidExpression { .. }
            | WireError::InvalidPlan { .. }
            | WireError::FieldNotExist { .. }
            | WireError::MetricMismatch { .. }
            | WireError::Unsupported { .. } => Code::InvalidParameter,
            WireError::FieldNameInvalid { .. } => Code::FieldInvalidName,
            WireError::CollectionExists { .. } | WireError::SearchDimension { .. } | WireError::Unexpected { .. } => {
                Code::Unexpected
            }
            WireError::BufferFull { .. } => Code::MemoryLimit,
            WireError::Engine { kind, .. } => code_of_kind(*kind),
        }
    }

    /// What the failure means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            WireError::Engine { kind, .. } => *kind,
            WireError::Unexpected { .. } => ErrorKind::Internal,
            WireError::Unsupported { .. } => ErrorKind::Unsupported,
            WireError::CollectionExists { .. } => ErrorKind::Exists,
            WireError::CollectionLimit { .. } | WireError::BufferFull { .. } => ErrorKind::Exhausted,
            WireError::CollectionNotFound { .. }
            | WireError::PartitionNotFound { .. }
            | WireError::IndexNotFoundInCollection { .. }
            | WireError::IndexNotFound { .. }
            | WireError::NoIndexToLoad { .. }
            | WireError::DatabaseNotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    /// Whether the user can mend it by changing the request.
    pub fn is_input_error(&self) -> bool {
        matches!(self.kind(), ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Unsupported)
    }

    /// The failure as the body of an answer. This is the usual way; gRPC itself says OK.
    pub fn to_status(&self) -> Status {
        let code = self.code();
        let text = self.to_string();
        let mut status = Status {
            error_code: code.legacy().into(),
            code: code.number(),
            retriable: self.kind().is_retryable(),
            detail: text.clone(),
            reason: text,
            ..Status::default()
        };
        if self.is_input_error() {
            status.extra_info.insert(IS_INPUT_ERROR.to_owned(), "true".to_owned());
        }
        status
    }

    /// The failure as a gRPC-level error, for the few cases where clients must see one.
    pub fn to_grpc(&self) -> tonic::Status {
        tonic::Status::new(grpc_code_of_kind(self.kind()), self.to_string())
    }
}

/// The status of a request that succeeded.
pub fn success() -> Status {
    Status::default()
}

/// Milvus's code for what an engine error means. `Unavailable` is not `NotReady`: a store that does not answer says
/// nothing about this server's readiness.
pub fn code_of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid | ErrorKind::Unsupported => Code::InvalidParameter,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Exhausted => Code::MemoryLimit,
        ErrorKind::Corrupt => Code::IoFailed,
        ErrorKind::Internal => Code::ServiceInternal,
        ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Conflict | ErrorKind::Unknown => Code::Unexpected,
    }
}

/// The gRPC code for what an engine error means.
///
/// Clients retry `Unavailable`, `Internal`, `NotFound` and others on their own. A wrong request must not be retried and
/// an unknown outcome must not be retried blindly, so these get the nearest code that pymilvus leaves alone.
pub fn grpc_code_of_kind(kind: ErrorKind) -> tonic::Code {
    match kind {
        ErrorKind::Invalid | ErrorKind::NotFound => tonic::Code::InvalidArgument,
        ErrorKind::Exists => tonic::Code::AlreadyExists,
        ErrorKind::Unavailable | ErrorKind::Conflict => tonic::Code::Unavailable,
        ErrorKind::Exhausted => tonic::Code::ResourceExhausted,
        ErrorKind::Unsupported => tonic::Code::Unimplemented,
        ErrorKind::Unknown => tonic::Code::DeadlineExceeded,
        ErrorKind::Corrupt | ErrorKind::Internal => tonic::Code::Internal,
    }
}

/// No collection of that name.
pub fn collection_not_found(database: &str, collection: &str) -> WireError {
    WireError::CollectionNotFound { database: database.to_owned(), collection: collection.to_owned() }
}

/// Something in the request is wrong; `what` says which part, what it was and what would be right.
pub fn invalid_parameter(what: impl Into<String>) -> WireError {
    WireError::InvalidParameter { what: what.into() }
}

/// Something in the request is not what it has to be.
pub fn invalid_value(what: impl Into<String>, expected: impl ToString, actual: impl ToString) -> WireError {
    WireError::InvalidValue { what: what.into(), expected: expected.to_string(), actual: actual.to_string() }
}

/// A field's name that breaks the rules.
pub fn field_name_invalid(field: &str, what: impl Into<String>) -> WireError {
    WireError::FieldNameInvalid { field: field.to_owned(), what: what.into() }
}

/// Something Milvus can do and this version cannot.
pub fn unsupported(what: impl Into<String>) -> WireError {
    WireError::Unsupported { what: what.into() }
}

/// An engine error.
pub fn engine(kind: ErrorKind, error: impl ToString) -> WireError {
    WireError::Engine { kind, what: error.to_string() }
}

#[cfg(test)]
mod tests;
