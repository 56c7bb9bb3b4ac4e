//! The table row by row: case, code, older code, text.

use super::*;
use crate::proto::common::ErrorCode;

#[test]
fn every_case_has_its_code_and_text() {
    let cases = [
        (
            collection_not_found("default", "films"),
            (100, ErrorCode::CollectionNotExists, "collection not found[database=default][collection=films]"),
        ),
        (
            WireError::CollectionNotLoaded { collection: "films".into() },
            (101, ErrorCode::UnexpectedError, "collection not loaded[collection=films]"),
        ),
        (
            WireError::CollectionLimit { limit: 4096 },
            (102, ErrorCode::UnexpectedError, "exceeded the limit number of collections[limit=4096]"),
        ),
        (
            WireError::SchemaMismatch { collection: "films".into() },
            (109, ErrorCode::SchemaMismatch, "collection schema mismatch[collection=films]"),
        ),
        (
            WireError::PartitionNotFound { partition: "p".into() },
            (200, ErrorCode::MetaFailed, "partition not found[partition=p]"),
        ),
        (
            WireError::IndexNotFoundInCollection { collection: "films".into() },
            (700, ErrorCode::IndexNotExist, "index not found[collection=films]"),
        ),
        (
            WireError::IndexNotFound { index: "i".into() },
            (700, ErrorCode::IndexNotExist, "index not found[indexName=i]"),
        ),
        (
            WireError::NoIndexToLoad { field: "vec".into() },
            (700, ErrorCode::IndexNotExist, "there is no vector index on field: [vec], please create index firstly"),
        ),
        (
            WireError::DatabaseNotFound { database: "d".into() },
            (800, ErrorCode::UnexpectedError, "database not found[database=d]"),
        ),
        (invalid_parameter("x is wrong"), (1100, ErrorCode::IllegalArgument, "x is wrong: invalid parameter")),
        (
            invalid_value("x is wrong", 8, 4),
            (1100, ErrorCode::IllegalArgument, "x is wrong: invalid parameter[expected=8][actual=4]"),
        ),
        (
            WireError::InvalidExpression { expression: "a ==".into(), reason: "unexpected end".into() },
            (
                1100,
                ErrorCode::IllegalArgument,
                "failed to create query plan: cannot parse expression: a ==, error: unexpected end",
            ),
        ),
        (WireError::FieldNotExist { field: "f".into() }, (1100, ErrorCode::IllegalArgument, "field f not exist")),
        (
            WireError::MetricMismatch { expected: "L2".into(), actual: "IP".into() },
            (1100, ErrorCode::IllegalArgument, "metric type not match: invalid parameter[expected=L2][actual=IP]"),
        ),
        (unsupported("BM25"), (1100, ErrorCode::IllegalArgument, "BM25 is not supported yet")),
        (field_name_invalid("a-b", "bad"), (1701, ErrorCode::UnexpectedError, "bad: field name invalid[field=a-b]")),
        (
            WireError::SearchDimension { expected_bytes: 32, actual_bytes: 12 },
            (65535, ErrorCode::UnexpectedError, "vector dimension mismatch, expected vector size(byte) 32, actual 12."),
        ),
        (
            WireError::CollectionExists { collection: "films".into() },
            (
                65535,
                ErrorCode::UnexpectedError,
                "create duplicate collection with different parameters, collection: films",
            ),
        ),
        (WireError::Unexpected { what: "oh".into() }, (65535, ErrorCode::UnexpectedError, "oh")),
        (engine(ErrorKind::Exhausted, "full"), (3, ErrorCode::InsufficientMemoryToLoad, "full")),
    ];
    for (error, (code, legacy, text)) in cases {
        let status = error.to_status();
        assert_eq!((status.code, status.error_code(), status.reason.as_str()), (code, legacy, text), "{error:?}");
    }
}

const KINDS: [ErrorKind; 10] = [
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Exists,
    ErrorKind::Conflict,
    ErrorKind::Unavailable,
    ErrorKind::Unknown,
    ErrorKind::Exhausted,
    ErrorKind::Corrupt,
    ErrorKind::Unsupported,
    ErrorKind::Internal,
];

#[test]
fn failure_sets_both_codes_and_success_neither() {
    assert_eq!((success().code, success().error_code), (0, 0));
    for kind in KINDS {
        let status = engine(kind, "x").to_status();
        assert!(status.code != 0 && status.error_code != 0, "{kind:?}");
        assert_eq!(status.retriable, kind.is_retryable(), "{kind:?}");
        // 8 and RateLimit make clients retry silently for minutes.
        assert!(status.code != 8 && status.error_code() != ErrorCode::RateLimit, "{kind:?}");
    }
}

#[test]
fn only_what_the_user_can_mend_is_an_input_error() {
    let mendable = |error: WireError| error.to_status().extra_info.contains_key(IS_INPUT_ERROR);
    assert!(mendable(invalid_parameter("x")));
    assert!(mendable(collection_not_found("default", "x")));
    assert!(mendable(engine(ErrorKind::Invalid, "x")));
    assert!(!mendable(engine(ErrorKind::Unavailable, "x")));
    assert!(!mendable(WireError::Unexpected { what: "x".into() }));
}

#[test]
fn clients_never_retry_a_wrong_request_or_an_unknown_outcome() {
    // What pymilvus leaves alone.
    let final_codes = [
        tonic::Code::Unauthenticated,
        tonic::Code::PermissionDenied,
        tonic::Code::InvalidArgument,
        tonic::Code::AlreadyExists,
        tonic::Code::ResourceExhausted,
        tonic::Code::Unimplemented,
        tonic::Code::DeadlineExceeded,
    ];
    for kind in KINDS {
        let is_final = final_codes.contains(&grpc_code_of_kind(kind));
        let may_retry = kind.is_retryable() || matches!(kind, ErrorKind::Internal | ErrorKind::Corrupt);
        assert_eq!(is_final, !may_retry, "{kind:?}");
    }
}
