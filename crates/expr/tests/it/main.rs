//! The filter language from text to selected rows, through the public interface only.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod arithmetic;
mod arrays;
mod columns;
mod comparisons;
mod errors;
mod fixture;
mod fuzz;
mod json;
mod keys;
mod limits;
mod literals;
mod logic;
mod membership;
mod model;
mod templates;
