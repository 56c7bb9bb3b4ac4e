//! The files one merge has written and no commit names: those of a merge that did not come to its end, and delete logs of
//! tries that lost.

use redkite_table::Database;

/// Their paths, relative to the storage url.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<String>);

impl Written {
    /// Before a file is begun.
    pub(super) fn add(&mut self, path: String) {
        self.0.push(path);
    }

    /// At once when a commit has made it one of those it names.
    pub(super) fn committed(&mut self, path: &str) {
        self.0.retain(|written| written != path);
    }

    /// Removes them. What cannot be removed now is left for the sweep.
    pub(super) async fn remove(self, database: &Database) {
        if self.0.is_empty() {
            return;
        }
        if let Err(error) = database.data.delete_all(&self.0).await {
            tracing::debug!(%error, files = self.0.len(), "what a merge wrote in vain is left for the sweep");
        }
    }
}
