//! How much flushes into a collection are slowed down because merging is behind.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use redkite_types::CollectionId;

/// Pauses by collection; those without one are not slowed down.
#[derive(Debug, Default)]
pub struct Slowdowns(Mutex<HashMap<CollectionId, Duration>>);

impl Slowdowns {
    /// Sets the pause before a flush into a collection. True if it starts or ends with this.
    pub fn set(&self, collection: CollectionId, pause: Duration) -> bool {
        let mut pauses = self.0.lock();
        match pause.is_zero() {
            true => pauses.remove(&collection).is_some(),
            false => pauses.insert(collection, pause).is_none(),
        }
    }

    /// The pause before a flush into a collection.
    pub fn of(&self, collection: CollectionId) -> Duration {
        self.0.lock().get(&collection).copied().unwrap_or_default()
    }

    /// Forgets collections that are gone.
    pub fn retain(&self, exists: impl Fn(CollectionId) -> bool) {
        self.0.lock().retain(|id, _| exists(*id));
    }
}
