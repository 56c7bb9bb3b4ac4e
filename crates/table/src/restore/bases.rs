//! Which bases were given to a user before.
//!
//! A dump may be restored twice, or an older one after a newer one. It does not know of the stores that were restored
//! before and are lost as well: with the same base again their revisions would be those of another history, and their ids and automatic
//! keys would be given out once more. So each restore leaves a file under `.redkite-bases/<user>/` in the object store, put once
//! and removed by nobody, and goes on above all that are there.

use redkite_storage::DataStore;
use redkite_types::Revision;
use serde::{Deserialize, Serialize};

use super::{RestoreError, UserPlan};
use crate::Ambient;
use crate::mark::{self, FORMAT};

/// No user's name begins with a dot.
const FOLDER: &str = ".redkite-bases";

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    format: u32,
    /// Of this restore, so that of two at the same time one finds out.
    id: String,
    base: Revision,
    /// The first automatic key.
    auto_id: i64,
}

/// Sets the plan above what was given before, and keeps others from being given the same. Costs a listing, a read for each
/// restore before, and a put.
pub(super) async fn take(data: &DataStore, plan: &mut UserPlan, ambient: &Ambient) -> Result<(), RestoreError> {
    let folder = format!("{FOLDER}/{}", plan.user);
    for file in data.list(&folder).await? {
        // Others are those of puts that never finished.
        let is_whole = file.path.rsplit('/').next().is_some_and(|name| name.parse::<i64>().is_ok());
        if is_whole && let Some(given) = mark::read_file::<Given>(data, &file.path).await? {
            plan.go_above(given.base, given.auto_id)?;
        }
    }
    let file = format!("{folder}/{:019}", plan.base.0);
    let given = Given { format: FORMAT, id: mark::new_id(ambient), base: plan.base, auto_id: plan.auto_id };
    mark::make_file(data, &file, &given).await?;
    match mark::read_file::<Given>(data, &file).await? {
        Some(found) if found == given => Ok(()),
        _ => Err(RestoreError::Overtaken),
    }
}
