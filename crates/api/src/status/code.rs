//! The numbers of errors: Milvus's codes and the older ones that old clients still read.

use crate::proto::common::ErrorCode;

/// A code of `Status.code`. The numbers are Milvus's; clients compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names say it, the table in `status` says when each is used")]
pub enum Code {
    NotReady = 1,
    Unavailable = 2,
    MemoryLimit = 3,
    ServiceInternal = 5,
    RateLimit = 8,
    Quota = 9,
    CollectionNotFound = 100,
    CollectionNotLoaded = 101,
    CollectionLimit = 102,
    CollectionNotFullyLoaded = 103,
    SchemaMismatch = 109,
    PartitionNotFound = 200,
    IndexNotFound = 700,
    IndexNotSupported = 701,
    IndexDuplicate = 702,
    DatabaseNotFound = 800,
    DatabaseInvalidName = 802,
    IoFailed = 1001,
    InvalidParameter = 1100,
    MissingParameter = 1101,
    ParameterTooLarge = 1102,
    FieldNotFound = 1700,
    FieldInvalidName = 1701,
    Unexpected = 65535,
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// `Status.error_code`: never `Success`, so that old and new clients agree that it failed.
    pub fn legacy(self) -> ErrorCode {
        match self {
            Code::NotReady => ErrorCode::NotReadyServe,
            Code::MemoryLimit => ErrorCode::InsufficientMemoryToLoad,
            Code::RateLimit => ErrorCode::RateLimit,
            Code::Quota => ErrorCode::ForceDeny,
            Code::CollectionNotFound => ErrorCode::CollectionNotExists,
            Code::SchemaMismatch => ErrorCode::SchemaMismatch,
            Code::PartitionNotFound => ErrorCode::MetaFailed,
            Code::IndexNotFound => ErrorCode::IndexNotExist,
            Code::InvalidParameter | Code::MissingParameter | Code::ParameterTooLarge => ErrorCode::IllegalArgument,
            Code::Unavailable
            | Code::ServiceInternal
            | Code::CollectionNotLoaded
            | Code::CollectionLimit
            | Code::CollectionNotFullyLoaded
            | Code::IndexNotSupported
            | Code::IndexDuplicate
            | Code::DatabaseNotFound
            | Code::DatabaseInvalidName
            | Code::IoFailed
            | Code::FieldNotFound
            | Code::FieldInvalidName
            | Code::Unexpected => ErrorCode::UnexpectedError,
        }
    }
}
