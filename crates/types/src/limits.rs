//! Limits of the data model, as Milvus's clients know them. Each is checked where data enters.

/// Fewest dimensions of a float, float16, bfloat16 or int8 vector.
pub const DIM_MIN: usize = 2;
/// Most dimensions of a float, float16, bfloat16 or int8 vector.
pub const DIM_MAX: usize = 32_768;
/// Fewest bits of a binary vector; always a multiple of 8.
pub const BINARY_DIM_MIN: usize = 8;
/// Most bits of a binary vector.
pub const BINARY_DIM_MAX: usize = 262_144;
/// Most fields of a collection, the dynamic field not counted.
pub const FIELDS_MAX: usize = 256;
/// Most vector fields of a collection.
pub const VECTOR_FIELDS_MAX: usize = 10;
/// Longest collection, field, index or partition name in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Largest `max_length` of a VarChar, in bytes.
pub const VARCHAR_BYTES_MAX: usize = 65_535;
/// Largest `max_capacity` of an array.
pub const ARRAY_CAPACITY_MAX: usize = 4_096;
/// Longest JSON or dynamic value, in bytes.
pub const JSON_BYTES_MAX: usize = 65_536;
/// Largest top-k, and the largest offset + limit of a search or query.
pub const RESULT_WINDOW_MAX: usize = 16_384;
/// Most query vectors in one search.
pub const NQ_MAX: usize = 16_384;
/// Largest answer of a query, in bytes.
pub const QUERY_OUTPUT_BYTES_MAX: usize = 100 * 1024 * 1024;
/// First id of a user's field; the ids below are reserved.
pub const FIRST_FIELD_ID: i64 = 100;
/// Most collections of one user. The name list is one key (S33) and must fit an etcd request of 1.5 MiB.
pub const COLLECTIONS_MAX: usize = 4_096;
