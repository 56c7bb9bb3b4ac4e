//! The byte layout of what the embedded store writes. All numbers little-endian; bytes read are never trusted.
//!
//! A version of a key, in the table `base` under the key and, behind its key, in the table `log`:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1 for a put, 0 for a deletion (then nothing follows) |
//! | 8 | revision of the put; absent in `log`, where it is the entry's |
//! | 8 | create revision |
//! | 8 | version |
//! | 8 | lease, 0 for none |
//! | 4 | length of the value |
//! | n | the value |
//!
//! An entry of `log`: the number of keys (4), then each: length of the key (4), the key, the version as above.
//! Checksums are redb's, which are verified whenever a file is opened.

use std::sync::Arc;

use bytes::Bytes;
use redkite_types::Revision;

use crate::state::{Change, Record};
use crate::{Error, LeaseId, Result};

const DELETION: u8 = 0;
const PUT: u8 = 1;

/// The value of a key in the table `base`; [`None`] for a deletion.
pub(super) fn encode_base(record: &Record) -> Option<Vec<u8>> {
    record.value.as_ref()?;
    let mut out = Vec::with_capacity(40 + record.value.as_ref().map_or(0, Bytes::len));
    encode_version(&mut out, record, true);
    Some(out)
}

/// The record of a key in the table `base`.
pub(super) fn decode_base(key: &str, bytes: &[u8]) -> Result<Record> {
    let mut input = Input { rest: bytes };
    let record = decode_version(&mut input, Arc::from(key), None).ok_or_else(|| damaged(key))?;
    input.rest.is_empty().then_some(record).ok_or_else(|| damaged(key))
}

/// The value of a revision in the table `log`.
pub(super) fn encode_change(change: &Change) -> Vec<u8> {
    let mut out = Vec::with_capacity(change.bytes());
    put_length(&mut out, change.records.len());
    for record in &change.records {
        put_length(&mut out, record.key.len());
        out.extend_from_slice(record.key.as_bytes());
        encode_version(&mut out, record, false);
    }
    out
}

/// The change of a revision in the table `log`.
pub(super) fn decode_change(revision: i64, bytes: &[u8]) -> Result<Change> {
    let revision = Revision(revision);
    decode_records(revision, bytes).ok_or_else(|| damaged(format!("revision {revision}")))
}

fn decode_records(revision: Revision, bytes: &[u8]) -> Option<Change> {
    let mut input = Input { rest: bytes };
    let count = input.length()?;
    let mut records = Vec::new();
    for _ in 0..count {
        let length = input.length()?;
        let key = std::str::from_utf8(input.bytes(length)?).ok()?;
        records.push(Arc::new(decode_version(&mut input, Arc::from(key), Some(revision))?));
    }
    input.rest.is_empty().then_some(Change { revision, records })
}

fn encode_version(out: &mut Vec<u8>, record: &Record, with_revision: bool) {
    let Some(value) = &record.value else {
        out.push(DELETION);
        return;
    };
    out.push(PUT);
    if with_revision {
        out.extend_from_slice(&record.revision.0.to_le_bytes());
    }
    out.extend_from_slice(&record.create_revision.0.to_le_bytes());
    out.extend_from_slice(&record.version.to_le_bytes());
    out.extend_from_slice(&record.lease.map_or(0, |lease| lease.0).to_le_bytes());
    put_length(out, value.len());
    out.extend_from_slice(value);
}

fn decode_version(input: &mut Input<'_>, key: Arc<str>, revision: Option<Revision>) -> Option<Record> {
    match (input.bytes(1)?, revision) {
        ([DELETION], Some(revision)) => Some(Record::deletion(key, revision)),
        ([PUT], _) => {
            let revision = match revision {
                Some(revision) => revision,
                None => Revision(input.number()?),
            };
            let create_revision = Revision(input.number()?);
            let version = input.number()?;
            let lease = Some(input.number()?).filter(|id| *id != 0).map(LeaseId);
            let length = input.length()?;
            let value = Some(Bytes::copy_from_slice(input.bytes(length)?));
            Some(Record { key, revision, value, create_revision, version, lease })
        }
        _ => None,
    }
}

/// Lengths fit: a transaction is at most [`crate::TXN_BYTES_MAX`] long.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("the entry of {what} cannot be read"))
}

struct Input<'i> {
    rest: &'i [u8],
}

impl<'i> Input<'i> {
    fn bytes(&mut self, count: usize) -> Option<&'i [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?)).ok()
    }
}

#[cfg(test)]
mod tests;
