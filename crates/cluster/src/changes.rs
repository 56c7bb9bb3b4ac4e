//! When a key of the metadata changes. A hint: whoever follows looks again by itself now and then.

use futures::StreamExt;
use redkite_meta::{KeyRange, MetaStore, RangeRequest, WatchStream};

/// The changes of one key.
#[expect(missing_debug_implementations, reason = "a stream has none")]
pub struct Changes {
    key: String,
    watched: Option<WatchStream>,
}

impl Changes {
    /// Of that key, from the first wait on.
    pub fn of(key: &str) -> Self {
        Self { key: key.to_owned(), watched: None }
    }

    /// Waits for a change. Where the key cannot be watched it waits for ever, and is tried again with the next call.
    pub async fn next(&mut self, meta: &dyn MetaStore) {
        if self.watched.is_none() {
            let range = || KeyRange::Exact(self.key.clone());
            let now = meta.range(RangeRequest::new(range())).await;
            let watched = match now {
                Ok(now) => meta.watch(range(), now.revision.next()).await,
                Err(error) => Err(error),
            };
            match watched {
                Ok(stream) => self.watched = Some(stream),
                Err(error) => {
                    tracing::debug!(self.key, %error, "a key cannot be watched for the moment");
                    return std::future::pending().await;
                }
            }
        }
        if let Some(stream) = &mut self.watched
            && !matches!(stream.next().await, Some(Ok(_)))
        {
            self.watched = None;
        }
    }
}
