//! Background work on request, for `redkite admin`. Answers JSON. What was asked for is done to its end, whether or not who
//! asked still waits.
//!
//! | request | does | answers |
//! |---|---|---|
//! | `POST /admin/merge[/C]` | merges all that can be merged, of collection C or of all | an array, one object a collection |
//! | `POST /admin/gc[/C]` | removes what nobody needs any more, of collection C or of all | an object: what was removed, and how things stand |
//! | `GET /admin/fragments[/C]` | nothing | an array, one object a fragment |

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{Response, StatusCode};
use redkite_jobs::Standing;
use redkite_table::Visibility;
use redkite_types::ErrorKind;
use serde_json::{Value, json};

use super::{JSON, Operators, answer, error, is_this_machine};
use crate::allow_list::Peer;

/// The collection named in the path; none means all.
type Named = Option<Path<String>>;
type Outcome = Result<Value, redkite_jobs::Error>;

pub(super) async fn merge(
    State(operators): State<Operators>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    collection: Named,
) -> Response<Body> {
    reply(peer, async move {
        let collection = collection.as_ref().map(|Path(name)| name.as_str());
        let merged = operators.engine.maintenance.merge(collection).await?;
        let of_collection = |(name, reports): (String, Vec<redkite_jobs::MergeReport>)| {
            json!({
                "collection": name,
                "merges": reports.len(),
                "fragments_merged": reports.iter().map(|report| report.inputs).sum::<usize>(),
                "rows_written": reports.iter().map(|report| report.rows).sum::<u64>(),
                "bytes_written": reports.iter().map(|report| report.bytes).sum::<u64>(),
            })
        };
        Ok(merged.into_iter().map(of_collection).collect())
    })
    .await
}

pub(super) async fn collect(
    State(operators): State<Operators>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    collection: Named,
) -> Response<Body> {
    reply(peer, async move {
        let collection = collection.as_ref().map(|Path(name)| name.as_str());
        let removed = operators.engine.maintenance.collect(collection).await?;
        let standing = operators.engine.maintenance.standing().await?;
        Ok(json!({
            "files_removed": removed.files,
            "bytes_removed": removed.bytes,
            "keys_removed": removed.keys,
            "never_committed": removed.abandoned,
            "standing": standing_of(&standing),
        }))
    })
    .await
}

pub(super) async fn fragments(
    State(operators): State<Operators>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    collection: Named,
) -> Response<Body> {
    reply(peer, async move {
        let catalog = operators.engine.ingest.database().snapshot(Visibility::Strong).await?;
        let mut wanted = catalog.live_collections()?;
        if let Some(Path(name)) = &collection {
            // An unknown name is an error, not an empty list.
            catalog.collection(name)?;
            wanted.retain(|(known, _)| *known == name.as_str());
        }
        let mut listed = Vec::new();
        for (name, collection) in wanted {
            for fragment in collection.fragments.values() {
                let anchor = fragment.anchor()?;
                listed.push(json!({
                    "collection": name,
                    "fragment": fragment.id,
                    "rows": fragment.rows(),
                    "live_rows": fragment.live_rows(),
                    "deleted_rows": anchor.entry.deleted,
                    "files": fragment.files.len(),
                    "bytes": fragment.bytes(),
                    "created_revision": anchor.created,
                    "delete_log": anchor.entry.delete_log,
                    "cluster": anchor.entry.cluster,
                    "node": anchor.entry.node,
                }));
            }
        }
        Ok(Value::Array(listed))
    })
    .await
}

fn standing_of(standing: &Standing) -> Value {
    json!({
        "fragments": standing.fragments,
        "unmerged": standing.unmerged,
        "bytes_live": standing.bytes_live,
        "bytes_retained": standing.bytes_retained,
        "bytes_garbage": standing.bytes_garbage,
        "tombstones": standing.tombstones,
        "oldest_floor": standing.oldest_floor,
        "oldest_floor_holder": standing.oldest_floor_holder,
        "horizon": standing.horizon,
    })
}

async fn reply(peer: Peer, work: impl Future<Output = Outcome> + Send + 'static) -> Response<Body> {
    if !is_this_machine(peer) {
        return error(StatusCode::FORBIDDEN, "administration is for this machine only");
    }
    match tokio::spawn(work).await {
        Err(error) => {
            tracing::error!(%error, "administration met a defect");
            self::error(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the server; its log says more")
        }
        Ok(Ok(value)) => answer(StatusCode::OK, JSON, value.to_string()),
        Ok(Err(failure)) => {
            let not_found =
                matches!(&failure, redkite_jobs::Error::Table(error) if error.kind() == ErrorKind::NotFound);
            let status = if not_found { StatusCode::NOT_FOUND } else { StatusCode::SERVICE_UNAVAILABLE };
            error(status, &failure.to_string())
        }
    }
}
