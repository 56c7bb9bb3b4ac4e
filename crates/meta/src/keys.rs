//! The one place that knows key names.
//!
//! | key | value | statement |
//! |---|---|---|
//! | `/user_list` | `["alice","bob"]` | S29 |
//! | `/<user>/collection_list` | array of name records, newest first | S33 |
//! | `/<user>/config/<cluster>` | the cluster's configuration | S34 |
//! | `/<user>/<cluster>_property` | nodes and weights | S28 |
//! | `/<user>/<segment>/schema` | the collection's id, fields, indexes, properties | |
//! | `/<user>/<segment>/head` | put by every commit of the collection | |
//! | `/<user>/<segment>/data/<file path>` | one data file | S30 |
//! | `/<user>/.head` | put by every commit of the user: its mod revision is the newest a reader has to have seen | |
//! | `/<user>/.head/base` | what is added to the store's revisions, if the metadata was restored from a dump | |
//! | `/<user>/.idfloor` | commits with an id from before this revision are refused | |
//! | `/<user>/.autoid` | the next unassigned automatic key | |
//! | `/<user>/.store` | the identity of the object store all data files lie in; put once | |
//! | `/<user>/.claim` | the id by which the user's files in that store are known to be those of this metadata | |
//! | `/<user>/.commit/<id>` | outcome of a commit, leased | S37 |
//! | `/<user>/.flush/<name>` | outcome of a flush the client named, leased | S37 |
//! | `/<user>/.intent/<segment>` | a delete that kept losing asks others to let it pass, leased | S40 |
//! | `/<user>/.tomb/collection/<id>` | a dropped collection | |
//! | `/<user>/.tomb/segment/<segment>/<commit>/<what>` | entries that a commit dropped or replaced | |
//! | `/<user>/.client/<identifier>` | which process took up a client last that has been on several, leased | S06, S10 |
//! | `/<user>/.horizon` | no revision before this one can be read any more, and what only those need may be removed | |
//! | `/<user>/.node/<cluster>/<node>/<incarnation>` | what one run of a node still reads and writes, leased | |
//! | `/<user>/.pin/<cluster>/<node>/<incarnation>/<revision>` | an old revision it reads, leased | |
//! | `/<user>/.pins` | put with every new pin: raising the horizon compares it | |
//!
//! `<segment>` is the name the collection was created with, or `<name>.<id>` where that was taken; names cannot contain
//! a dot or start with one, so bookkeeping keys and collections never meet.

use redkite_types::{ClusterId, CollectionId, CommitId, Incarnation, NodeId, Revision, UserName};

use crate::KeyRange;

/// The key of S29.
pub const USER_LIST: &str = "/user_list";

/// The keys of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKeys {
    prefix: String,
}

impl UserKeys {
    /// The keys of `user`.
    pub fn new(user: &UserName) -> Self {
        Self { prefix: format!("/{user}/") }
    }

    /// `/<user>/`: everything the user has.
    pub fn all(&self) -> &str {
        &self.prefix
    }

    /// The key of S33.
    pub fn collection_list(&self) -> String {
        format!("{}collection_list", self.prefix)
    }

    /// The key of S34.
    pub fn config(&self, cluster: &ClusterId) -> String {
        format!("{}config/{cluster}", self.prefix)
    }

    /// The key of S28.
    pub fn property(&self, cluster: &ClusterId) -> String {
        format!("{}{cluster}_property", self.prefix)
    }

    /// Put by every commit of the user.
    pub fn head(&self) -> String {
        format!("{}.head", self.prefix)
    }

    /// What is added to the store's revisions. Beside the head, so that one read tells both.
    pub fn base(&self) -> String {
        format!("{}/base", self.head())
    }

    /// The floor under commit and fragment ids.
    pub fn id_floor(&self) -> String {
        format!("{}.idfloor", self.prefix)
    }

    /// The next unassigned automatic key.
    pub fn auto_id(&self) -> String {
        format!("{}.autoid", self.prefix)
    }

    /// The identity of the object store all data files lie in.
    pub fn store(&self) -> String {
        format!("{}.store", self.prefix)
    }

    /// The id by which the user's files in that store are known to be those of this metadata.
    pub fn claim(&self) -> String {
        format!("{}.claim", self.prefix)
    }

    /// The process that took up a client last.
    pub fn client(&self, identifier: i64) -> String {
        format!("{}.client/{identifier:016x}", self.prefix)
    }

    /// The outcome of a commit.
    pub fn commit(&self, id: &CommitId) -> String {
        format!("{}.commit/{id}", self.prefix)
    }

    /// The outcome of a flush its client named. The name is hex-encoded: it is any bytes.
    pub fn flush(&self, name: &[u8]) -> String {
        let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}.flush/{hex}", self.prefix)
    }

    /// Put by a delete that lost too often; other commits of the collection compare it absent.
    pub fn intent(&self, segment: &str) -> String {
        format!("{}.intent/{segment}", self.prefix)
    }

    /// What is left of a dropped collection.
    pub fn collection_tombstone(&self, id: CollectionId) -> String {
        format!("{}.tomb/collection/{id}", self.prefix)
    }

    /// What is left of entries of a collection that a commit dropped or replaced.
    pub fn tombstone(&self, segment: &str, commit: &CommitId, what: &str) -> String {
        format!("{}{commit}/{what}", self.tombstones(segment))
    }

    /// The tombstones of entries of one collection: a prefix.
    pub fn tombstones(&self, segment: &str) -> String {
        format!("{}.tomb/segment/{segment}/", self.prefix)
    }

    /// The oldest revision that can be read.
    pub fn horizon(&self) -> String {
        format!("{}.horizon", self.prefix)
    }

    /// What one run of a node still reads and writes. One that was taken for dead says so under another key than the one
    /// that took its place.
    pub fn node(&self, cluster: &ClusterId, node: NodeId, incarnation: Incarnation) -> String {
        format!("{}{cluster}/{node}/{incarnation}", self.nodes())
    }

    /// The keys of all nodes: a prefix.
    pub fn nodes(&self) -> String {
        format!("{}.node/", self.prefix)
    }

    /// An old revision that one run of a node reads.
    pub fn pin(&self, cluster: &ClusterId, node: NodeId, incarnation: Incarnation, revision: Revision) -> String {
        format!("{}{cluster}/{node}/{incarnation}/{:019}", self.pins(), revision.0)
    }

    /// The pins of all nodes: a prefix.
    pub fn pins(&self) -> String {
        format!("{}.pin/", self.prefix)
    }

    /// Put with every new pin.
    pub fn pins_head(&self) -> String {
        format!("{}.pins", self.prefix)
    }

    /// A collection's schema.
    pub fn schema(&self, segment: &str) -> String {
        format!("{}{segment}/schema", self.prefix)
    }

    /// A collection's head.
    pub fn collection_head(&self, segment: &str) -> String {
        format!("{}{segment}/head", self.prefix)
    }

    /// One data file of a collection; `path` is relative to the collection's data folder.
    pub fn data(&self, segment: &str, path: &str) -> String {
        format!("{}{segment}/data/{path}", self.prefix)
    }

    /// Everything the user has but the base.
    pub fn all_but_base(&self) -> [KeyRange; 2] {
        let (base, user) = (self.base(), self.prefix.trim_end_matches('/'));
        // `0` is the character behind `/`.
        [
            KeyRange::Between(self.prefix.clone(), base.clone()),
            KeyRange::Between(format!("{base}\0"), format!("{user}0")),
        ]
    }

    /// For how long what stands under `key` means something; none of a key that is not this user's, or is none of ours.
    pub fn term(&self, key: &str) -> Option<Term> {
        let rest = key.strip_prefix(self.prefix.as_str())?;
        let of_this_store = [self.base(), self.id_floor(), self.horizon(), self.auto_id(), self.claim()];
        if of_this_store.iter().any(|known| known == key) {
            return Some(Term::Store);
        }
        if [".commit/", ".flush/", ".client/"].iter().any(|prefix| rest.starts_with(prefix)) {
            return Some(Term::Day);
        }
        if rest.starts_with(".intent/") || key.starts_with(&self.nodes()) || key.starts_with(&self.pins()) {
            return Some(Term::Process);
        }
        let lasting = match self.parse(key)? {
            UserKey::Bookkeeping if key == self.pins_head() => return Some(Term::Process),
            UserKey::Bookkeeping => key == self.store(),
            UserKey::Cluster => rest.starts_with("config/") || (rest.ends_with("_property") && !rest.contains('/')),
            _ => true,
        };
        lasting.then_some(Term::Lasting)
    }

    /// What `key` is, if it is one of this user's.
    pub fn parse<'k>(&self, key: &'k str) -> Option<UserKey<'k>> {
        let rest = key.strip_prefix(self.prefix.as_str())?;
        if rest == "collection_list" {
            return Some(UserKey::CollectionList);
        }
        if rest == ".head" {
            return Some(UserKey::Head);
        }
        if let Some(tombstone) = rest.strip_prefix(".tomb/") {
            return Some(match tombstone.split_once('/') {
                Some(("collection", _)) => UserKey::CollectionTombstone,
                Some(("segment", below)) => match below.split_once('/') {
                    Some((segment, _)) => UserKey::Tombstone { segment },
                    None => UserKey::Bookkeeping,
                },
                _ => UserKey::Bookkeeping,
            });
        }
        if rest.starts_with('.') {
            return Some(UserKey::Bookkeeping);
        }
        let Some((segment, below)) = rest.split_once('/') else {
            return Some(UserKey::Cluster);
        };
        match below.split_once('/') {
            Some(("data", path)) => Some(UserKey::Data { segment, path }),
            None if below == "schema" => Some(UserKey::Schema { segment }),
            None if below == "head" => Some(UserKey::CollectionHead { segment }),
            _ => Some(UserKey::Cluster),
        }
    }
}

/// For how long what a key says means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Until it is changed, in whatever store it stands.
    Lasting,
    /// For a day or so; under a lease.
    Day,
    /// While the process that put it runs.
    Process,
    /// In this very store: it speaks of its revisions, or of what it alone may hand out or remove.
    Store,
}

/// What a key of a user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserKey<'k> {
    /// The name records.
    CollectionList,
    /// Put by every commit of the user.
    Head,
    /// A collection's schema.
    Schema {
        /// The collection's segment.
        segment: &'k str,
    },
    /// A collection's head.
    CollectionHead {
        /// The collection's segment.
        segment: &'k str,
    },
    /// A data file's entry.
    Data {
        /// The collection's segment.
        segment: &'k str,
        /// Relative to the collection's data folder.
        path: &'k str,
    },
    /// What is left of a dropped collection.
    CollectionTombstone,
    /// What is left of entries a commit dropped or replaced.
    Tombstone {
        /// The collection's segment.
        segment: &'k str,
    },
    /// A cluster's configuration or property.
    Cluster,
    /// Outcomes, floors and the like.
    Bookkeeping,
}

#[cfg(test)]
mod tests;
