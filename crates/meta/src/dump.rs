//! Everything a store holds, for people to read.

use crate::{KeyRange, KeyValue, MetaStore, RangeRequest, RangeResponse, Result};

/// The prefix all keys of Redkite share.
pub const ROOT: &str = "/";

/// All keys that start with `prefix`, in key order, as of one revision, which the answer names.
pub async fn dump(store: &dyn MetaStore, prefix: &str) -> Result<RangeResponse> {
    store.range(RangeRequest::new(KeyRange::Prefix(prefix.to_owned()))).await
}

/// One key as a line: its revisions and version, the key, the value (readable as it is where it is text).
pub fn line(kv: &KeyValue) -> String {
    let lease = kv.lease.map(|lease| format!(" lease={:x}", lease.0)).unwrap_or_default();
    let value = match std::str::from_utf8(&kv.value) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("({} bytes, not text)", kv.value.len()),
    };
    format!(
        "{}\tcreated={} modified={} version={}{lease}\t{value}",
        kv.key, kv.create_revision, kv.mod_revision, kv.version
    )
}
