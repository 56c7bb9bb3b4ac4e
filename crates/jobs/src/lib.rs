//! Background work: merging small fragments, and giving space back.
//!
//! - [`merge`]: neighbouring fragments become one (pick, execute, publish).
//! - [`collect`]: what no reader can need any more is removed (decide, remove), and what was never committed (sweep).
//! - [`Maintenance`] runs both by itself and when asked, and tells how things stand.
//!
//! Every step here may be taken by several nodes at once, be cut off anywhere, or come late: safety is in the compares of
//! the transactions, never in who runs what.

pub mod collect;
mod error;
mod failpoint;
mod floor;
mod maintenance;
pub mod merge;
mod metrics;
mod pool;

pub use collect::{CollectOptions, CollectReport, Scope};
pub use error::{Error, Result};
pub use maintenance::{Maintenance, MaintenanceOptions};
pub use merge::{Eagerness, MergeOptions, MergeReport, Next, Wanted};
pub use metrics::{Standing, standing};
pub use pool::Pool;
