//! Reading a set of keys of any size, page by page at one revision, with pages sized by what the last one weighed.

use etcd_client::{GetOptions, GetResponse};
use redkite_types::Revision;

use super::failure::{Call, Failure};
use super::members::Clients;
use super::{EtcdStore, convert};
use crate::{Error, KeyRange, RangeRequest, RangeResponse, Result, validate};

/// What a page should weigh: well below the 4 MiB other gRPC clients and proxies take.
const PAGE_BYTES: usize = 1 << 20;
/// Keys of the first page, before anything is known of their size.
const PAGE_KEYS_FIRST: usize = 128;
/// Keys of a page at most.
const PAGE_KEYS_MAX: usize = 10_000;
/// How often a read of "now" starts over because its revision was compacted on the way.
const RESTARTS_MAX: usize = 3;

/// Reads all pages. A read without a revision whose pages a compaction overtakes starts over.
pub(super) async fn read(store: &EtcdStore, request: &RangeRequest) -> Result<RangeResponse> {
    validate::check_range(&request.range)?;
    if let Some(revision) = request.revision {
        validate::check_revision(revision)?;
    }
    for _ in 0..RESTARTS_MAX {
        match read_once(store, request).await {
            Err(Error::Compacted { .. }) if request.revision.is_none() => {}
            other => return other,
        }
    }
    Err(Error::Unavailable(format!("etcd compacts faster than {:?} can be read", request.range)))
}

async fn read_once(store: &EtcdStore, request: &RangeRequest) -> Result<RangeResponse> {
    let mut page = Page {
        range: request.range.clone(),
        revision: request.revision,
        keys: PAGE_KEYS_FIRST,
        keys_only: request.keys_only,
    };
    let limit = request.limit.unwrap_or(usize::MAX);
    let mut kvs = Vec::new();
    loop {
        // One key more than asked for tells whether there is more, a limit of nothing included.
        let wanted = limit.saturating_sub(kvs.len()).saturating_add(1);
        let mut answer = page.fetch(store, wanted).await?;
        let newest = answer.header().map(|header| Revision(header.revision())).unwrap_or_default();
        let revision = *page.revision.get_or_insert(newest);
        let more = answer.more();
        let before = kvs.len();
        for kv in answer.take_kvs() {
            kvs.push(convert::key_value(kv)?);
        }
        let bytes: usize = kvs[before..].iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        page.resize(kvs.len() - before, bytes);
        if kvs.len() > limit {
            kvs.truncate(limit);
            return Ok(RangeResponse { kvs, revision, more: true });
        }
        match kvs.last() {
            Some(last) if more => page.start_after(&last.key),
            _ => return Ok(RangeResponse { kvs, revision, more: false }),
        }
    }
}

struct Page {
    range: KeyRange,
    revision: Option<Revision>,
    keys: usize,
    keys_only: bool,
}

impl Page {
    async fn fetch(&mut self, store: &EtcdStore, wanted: usize) -> Result<GetResponse> {
        loop {
            let limit = self.keys.min(wanted);
            match self.try_fetch(store, limit).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::TooLarge) if limit > 1 => self.keys = limit / 8 + 1,
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    async fn try_fetch(&self, store: &EtcdStore, limit: usize) -> std::result::Result<GetResponse, Failure> {
        let mut options = GetOptions::new().with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
        if let Some(revision) = self.revision {
            options = options.with_revision(revision.0);
        }
        if self.keys_only {
            options = options.with_keys_only();
        }
        let (key, options) = convert::get(&self.range, options);
        let call = |mut at: Clients| {
            let options = options.clone();
            async move { at.kv.get(key, Some(options)).await }
        };
        store.retrying(Call::Harmless, "read", self.revision, call).await
    }

    fn resize(&mut self, keys: usize, bytes: usize) {
        if let Some(bytes_per_key) = bytes.checked_div(keys) {
            self.keys = (PAGE_BYTES / bytes_per_key.max(1)).clamp(1, PAGE_KEYS_MAX);
        }
    }

    fn start_after(&mut self, last: &str) {
        let start = format!("{last}\0");
        self.range = match std::mem::replace(&mut self.range, KeyRange::Exact(String::new())) {
            // One key has no second page.
            KeyRange::Exact(key) => KeyRange::Exact(key),
            KeyRange::Prefix(prefix) => KeyRange::Between(start, end_of(&prefix)),
            KeyRange::Between(_, end) => KeyRange::Between(start, end),
        };
    }
}

/// The least text greater than everything that starts with `prefix`.
fn end_of(prefix: &str) -> String {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // Text sorts by its bytes as by its characters; there is none between U+D7FF and U+E000.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            end.push(next);
            return end.into_iter().collect();
        }
    }
    // Nothing but the greatest characters: no text beyond, so the rest of the store is meant.
    "\0".to_owned()
}

#[cfg(test)]
mod tests;
