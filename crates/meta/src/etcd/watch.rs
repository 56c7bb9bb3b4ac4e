//! A watch of etcd that survives its connections and delivers whole revisions only.
//!
//! - etcd may cut a response into fragments; the last revision of all but the last fragment may be incomplete and waits.
//! - A connection that breaks is made again from the first revision not delivered; a partial one is dropped first.
//! - etcd forgets deletions *at* the revision it compacted to but would still watch from there, silently without them. So
//!   a watch from R asks from R - 1, which etcd refuses in that case, and leaves R - 1 out.
//! - A token that etcd has forgotten, by a restart or by its age, is no error of a call here, but a watch that ends at once; then
//!   another token is fetched.

use std::collections::VecDeque;
use std::sync::Arc;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream as EtcdWatchStream};
use futures::StreamExt;
use redkite_types::Revision;

use super::failure::{self, Call, Failure};
use super::members::{Clients, Members};
use super::{backoff, convert};
use crate::{Error, Event, KeyRange, Result, WatchBatch, WatchStream, metrics, validate};

/// Opens a watch; an error if etcd cannot be reached now. Later it is taken up again for ever.
pub(super) async fn open(members: Arc<Members>, range: KeyRange, from: Revision) -> Result<WatchStream> {
    validate::check_range(&range)?;
    let assembly = Assembly::new(from.max(Revision(2)));
    let mut watch = Watch { members, range, connection: None, assembly, failures: 0, ended: false };
    watch.connect().await.map_err(Failure::into_error)?;
    Ok(futures::stream::unfold(watch, Watch::next).boxed())
}

struct Watch {
    members: Arc<Members>,
    range: KeyRange,
    connection: Option<EtcdWatchStream>,
    assembly: Assembly,
    /// In a row.
    failures: u32,
    ended: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<WatchBatch>, Self)> {
        while !self.ended {
            if let Some(batch) = self.assembly.ready.pop_front() {
                return Some((Ok(batch), self));
            }
            match self.step().await {
                Ok(()) => self.failures = 0,
                Err(Failure::Final(error) | Failure::Denied(error)) => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
                Err(failure) => self.pause(failure).await,
            }
        }
        None
    }

    async fn step(&mut self) -> std::result::Result<(), Failure> {
        if self.connection.is_none() {
            self.connect().await?;
            metrics::watch_reconnected();
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let message = connection.message().await;
        match message.map_err(|error| failure::sort(Call::Harmless, "watch", None, error))? {
            Some(response) => self.assembly.take(response, &self.range),
            None => Err(lost("etcd closed the watch")),
        }
    }

    async fn pause(&mut self, failure: Failure) {
        self.connection = None;
        self.assembly.drop_partial();
        self.failures = self.failures.saturating_add(1);
        let wait = backoff::wait_after(self.failures);
        let error = failure.into_error();
        tracing::warn!(range = ?self.range, from = %self.assembly.from, %error, ?wait, "watch lost, taking it up again");
        tokio::time::sleep(wait).await;
    }

    async fn connect(&mut self) -> std::result::Result<(), Failure> {
        let asked = self.ask().await;
        let Err(Failure::Denied(error)) = &asked else { return asked };
        tracing::debug!(%error, "another token is wanted for a watch");
        match self.members.log_in_again().await? {
            true => self.ask().await,
            false => asked,
        }
    }

    /// Asks for the watch and waits until etcd confirms it.
    async fn ask(&mut self) -> std::result::Result<(), Failure> {
        let start = (self.assembly.from.0 - 1).max(1);
        let options = WatchOptions::new().with_start_revision(start).with_fragment().with_progress_notify();
        let (key, options) = convert::watch(&self.range, options);
        let connecting = |mut at: Clients| async move {
            let mut stream = at.watch.watch(key, Some(options)).await?;
            let first = stream.message().await?;
            Ok((stream, first))
        };
        let (stream, first) = self.members.ask(Call::Harmless, "watch", None, connecting).await?;
        match first {
            Some(response) => self.assembly.take(response, &self.range)?,
            None => return Err(lost("etcd did not take the watch")),
        }
        self.connection = Some(stream);
        Ok(())
    }
}

fn lost(text: &str) -> Failure {
    Failure::Transient(Error::Unavailable(text.to_owned()))
}

/// Puts whole revisions together.
struct Assembly {
    /// The first revision not delivered yet.
    from: Revision,
    ready: VecDeque<WatchBatch>,
    /// The newest revision seen, of which more may come.
    partial: Option<WatchBatch>,
}

impl Assembly {
    fn new(from: Revision) -> Self {
        Self { from, ready: VecDeque::new(), partial: None }
    }

    fn drop_partial(&mut self) {
        self.partial = None;
    }

    fn take(&mut self, response: WatchResponse, range: &KeyRange) -> std::result::Result<(), Failure> {
        let message = response.0;
        if message.canceled {
            return Err(self.cancelled(message.compact_revision, &message.cancel_reason));
        }
        let idle = message.events.is_empty() && !message.created && !message.fragment && self.partial.is_none();
        for event in message.events {
            let deleted = event.r#type == EventType::Delete as i32;
            let Some(kv) = event.kv else { continue };
            let kv = convert::key_value(etcd_client::KeyValue(kv)).map_err(Failure::Final)?;
            self.add(match deleted {
                true => Event::Delete { revision: kv.mod_revision, key: kv.key },
                false => Event::Put(kv),
            });
        }
        if !message.fragment {
            self.complete();
        }
        // Etcd says now and then how far an idle watch has got; that spares a gap when it is taken up again.
        if let Some(header) = message.header.filter(|_| idle) {
            self.from = self.from.max(Revision(header.revision).next());
            tracing::trace!(?range, from = %self.from, "watch is idle");
        }
        Ok(())
    }

    fn add(&mut self, event: Event) {
        let revision = match &event {
            Event::Put(kv) => kv.mod_revision,
            Event::Delete { revision, .. } => *revision,
        };
        if revision < self.from {
            return;
        }
        if self.partial.as_ref().is_some_and(|partial| partial.revision != revision) {
            self.complete();
        }
        self.partial.get_or_insert(WatchBatch { revision, events: Vec::new() }).events.push(event);
    }

    /// Nothing more comes of the newest revision.
    fn complete(&mut self) {
        let Some(mut batch) = self.partial.take() else { return };
        let key = |event: &Event| match event {
            Event::Put(kv) => kv.key.clone(),
            Event::Delete { key, .. } => key.clone(),
        };
        batch.events.sort_by_cached_key(key);
        // Only somebody else's transaction can change a key twice; what it came to in the end counts.
        batch.events.reverse();
        batch.events.dedup_by_key(|event| key(event));
        batch.events.reverse();
        self.from = batch.revision.next();
        self.ready.push_back(batch);
    }

    fn cancelled(&self, compact_revision: i64, reason: &str) -> Failure {
        if compact_revision > 0 {
            return Failure::Final(Error::Compacted { asked: self.from, oldest: Revision(compact_revision) });
        }
        let text = format!("etcd ended the watch: {reason}");
        if reason.contains("permission denied") || reason.contains("invalid auth token") {
            return Failure::Denied(Error::Unavailable(text));
        }
        lost(&text)
    }
}

#[cfg(test)]
mod tests;
