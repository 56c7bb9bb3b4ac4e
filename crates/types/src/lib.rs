//! The vocabulary of Redkite: ids, schema, values, metrics, revisions.
//!
//! One concept a file, re-exported flat. Nothing here does IO, allocates threads or knows a wire format; every other
//! crate may depend on this one and this one depends on none of them.

mod error_kind;
mod id;
pub mod limits;
mod metric;
mod schema;
mod stamp;
mod value;

pub use error_kind::ErrorKind;
pub use id::{ClusterId, CollectionId, FieldId, IdError, Incarnation, NodeId, Revision, UserName};
pub use metric::Metric;
pub use schema::{DYNAMIC_FIELD_NAME, DataType, ElementType, Field, Schema};
pub use stamp::{CommitId, FragmentId};
pub use value::{Key, Keys, Scalar};
