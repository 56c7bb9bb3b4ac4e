//! Raising the floor under ids: what has an older id and is not committed by then never will be.

use redkite_meta::{Compare, Op, Txn};
use redkite_table::Database;
use redkite_table::commit::{floor_value, read_floor};
use redkite_types::Revision;

use crate::Result;

/// Raises the floor as far as no node that told what it needs loses anything, and returns it. Costs at most three
/// transactions; none but reads if there is nothing to raise.
pub async fn raise_ids(database: &Database) -> Result<Revision> {
    database.tell_needs().await?;
    let needs = database.needs().await?;
    let key = database.keys.id_floor();
    let stored = database.meta.get(&key).await?;
    let (floor, revision) = match &stored {
        Some(kv) => (read_floor(kv)?, kv.mod_revision),
        None => (Revision::ZERO, Revision::ZERO),
    };
    // A node that told nothing loses a commit at worst, and makes its files anew.
    let Some(wanted) = needs.oldest_id().filter(|wanted| *wanted > floor) else {
        return Ok(floor);
    };
    let txn = Txn {
        compares: vec![Compare::unchanged_since(&key, revision)],
        then: vec![Op::put(&key, floor_value(wanted))],
        otherwise: Vec::new(),
    };
    match database.meta.txn(txn).await {
        Ok(response) if response.succeeded => Ok(wanted),
        // Somebody else raised it. What holds is at least what was read.
        Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => Ok(floor),
        Err(error) => Err(error.into()),
    }
}
