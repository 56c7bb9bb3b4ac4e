//! What the conversions' tests share, and the tests that go through several of them.

mod fuzz;
mod round_trip;
mod samples;

pub(crate) use samples::{dynamic_data, every_type, every_type_message, key_data, scalar_data, vector_data};
