//! Engine errors as clients hear of them.

use redkite_types::ErrorKind;

use super::DEFAULT_DATABASE;
use crate::status::{WireError, collection_not_found, engine};

impl From<redkite_table::Error> for WireError {
    fn from(error: redkite_table::Error) -> Self {
        use redkite_table::Error;
        match error {
            Error::CollectionNotFound { name } => collection_not_found(DEFAULT_DATABASE, &name),
            Error::CollectionExists { name } => WireError::CollectionExists { collection: name },
            Error::IndexConflict { detail } => WireError::InvalidParameter { what: detail },
            error @ Error::NameTaken { .. } => WireError::Unexpected { what: error.to_string() },
            Error::FieldNotFound { name } => WireError::FieldNotExist { field: name },
            Error::TooManyCollections { limit } => WireError::CollectionLimit { limit },
            other => engine(other.kind(), other),
        }
    }
}

impl From<redkite_ingest::Error> for WireError {
    fn from(error: redkite_ingest::Error) -> Self {
        use redkite_ingest::Error;
        match error {
            Error::Table(error) => error.into(),
            Error::MemoryExhausted { .. } => WireError::BufferFull { what: error.to_string() },
            Error::FlushNotCommitted | Error::SessionLost { .. } | Error::BlockOpsMismatch { .. } => {
                WireError::Unexpected { what: error.to_string() }
            }
            // The same call again would succeed, with nothing in it.
            error @ Error::Discarded { .. } if error.kind().is_retryable() => {
                WireError::Unexpected { what: error.to_string() }
            }
            other => engine(other.kind(), other),
        }
    }
}

impl From<redkite_query::Error> for WireError {
    fn from(error: redkite_query::Error) -> Self {
        match error {
            redkite_query::Error::Table(error) => error.into(),
            other => engine(other.kind(), other),
        }
    }
}

/// A filter that cannot be understood, quoting at most so many bytes of it.
const QUOTED_BYTES_MAX: usize = 256;

/// Why a filter is refused; `context` is what the client asked the filter for.
pub(super) fn filter_error(expression: &str, error: &redkite_expr::ExprError) -> WireError {
    if let redkite_expr::ExprError::NotBoolean { .. } = error {
        return WireError::InvalidPlan { reason: error.to_string() };
    }
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Exhausted => {
            let mut end = expression.len().min(QUOTED_BYTES_MAX);
            while !expression.is_char_boundary(end) {
                end -= 1;
            }
            let cut = if end < expression.len() { "..." } else { "" };
            let expression = format!("{}{cut}", &expression[..end]);
            WireError::InvalidExpression { expression, reason: error.to_string() }
        }
        kind => engine(kind, error),
    }
}

#[cfg(test)]
mod tests {
    use redkite_ingest::Error;

    use super::*;

    #[test]
    fn s10_no_client_is_told_to_try_again_what_is_lost() {
        let lost = || Error::SessionLost { reason: "it has gone".to_owned() };
        let discarded = |cause| Error::Discarded { cause: Box::new(cause) };
        for error in [lost(), discarded(lost()), discarded(Error::UploadsCollected)] {
            let text = error.to_string();
            let status = WireError::from(error).to_status();
            assert!(!status.retriable && status.code != 0, "{text}");
            assert_eq!(status.reason, text);
        }
    }
}
