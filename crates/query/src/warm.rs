//! Opening everything of a collection before the first query needs it.

use std::sync::Arc;

use redkite_table::{Collection, Database};
use redkite_types::FieldId;

use crate::Result;
use crate::source::Source;

/// Opens all files of the collection; on a remote store this fetches them. Fails if one cannot be opened.
pub async fn warm(database: &Database, collection: &Arc<Collection>) -> Result<()> {
    let all = redkite_expr::Predicate::always_true();
    let source = Source::new(collection, &all)?;
    let fields: Vec<FieldId> = source.record.schema.fields.iter().map(|field| field.id).collect();
    source.open(database, source.all(), &fields).await?;
    Ok(())
}
