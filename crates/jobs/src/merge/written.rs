//! The files one merge has written and no commit names: those of a merge that did not come to its end, and delete logs of
//! tries that lost.

use redkite_table::Database;

/// Their paths, relative to the storage url.
#[derive(Debug, Default)]
pub(super) struct Written {
    paths: Vec<String>,
    /// A commit that names them was sent, and is not known not to have happened.
    in_doubt: bool,
}

impl Written {
    /// Before a file is begun.
    pub(super) fn add(&mut self, path: String) {
        self.paths.push(path);
    }

    /// Before a commit that names them is sent: from here on they stay, whatever error comes back.
    pub(super) fn sent(&mut self) {
        self.in_doubt = true;
    }

    /// When that commit is known not to have happened, and not to happen any more, or after [`Written::committed`].
    pub(super) fn settled(&mut self) {
        self.in_doubt = false;
    }

    /// At once when a commit has made it one of those it names.
    pub(super) fn committed(&mut self, path: &str) {
        self.paths.retain(|written| written != path);
    }

    /// Removes them. What cannot be removed now is left for the sweep.
    pub(super) async fn remove(self, database: &Database) {
        if self.paths.is_empty() || self.in_doubt {
            return;
        }
        if let Err(error) = database.data.delete_all(&self.paths).await {
            tracing::debug!(%error, files = self.paths.len(), "what a merge wrote in vain is left for the sweep");
        }
    }
}
