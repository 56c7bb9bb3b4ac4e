//! One user's database as one node sees it: a metadata store, an object store, the catalog, and the commit path.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use redkite_meta::keys::{USER_LIST, UserKeys};
use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_storage::DataStore;
use redkite_types::{ClusterId, CommitId, FragmentId, Incarnation, NodeId, Revision, UserName};

use crate::auto_id::AutoIds;
use crate::commit::{Committer, floor_value};
use crate::entry::FORMAT;
use crate::fragment::{ReaderOptions, Readers};
use crate::horizon::Horizon;
use crate::outcome_lease::OutcomeLease;
use crate::presence::{Needs, NodeNeeds, Pin, Presence};
use crate::replication::Replication;
use crate::unfinished::{IdGuard, Unfinished};
use crate::{Ambient, Catalog, Error, Follower, HeadReader, Result, Slowdowns};

/// Tries to enter the user into the list of users before giving up.
const REGISTER_TRIES: u32 = 16;

/// Who this node is and how much it may cache.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Whose collections.
    pub user: UserName,
    /// The cluster this node belongs to.
    pub cluster: ClusterId,
    /// Its number there.
    pub node: NodeId,
    /// Which run of that node this is; no other one that may still be alive has the same.
    pub incarnation: Incarnation,
    /// Whether the metadata store is across a network, so that concurrent requests share revision reads.
    pub remote_metadata: bool,
    /// What readers of fragments may keep.
    pub readers: ReaderOptions,
}

/// How new the snapshot of a read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everything whose flush returned before the request arrived (S08).
    Strong,
    /// What this node happens to know. It asks nobody, so it may be served even from metadata that went back to an earlier
    /// state, until a strong read finds out.
    Eventual,
}

/// One user's database. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Database {
    /// Who this node is.
    pub options: DatabaseOptions,
    /// The user's keys.
    pub keys: UserKeys,
    /// The metadata store.
    pub meta: Arc<dyn MetaStore>,
    /// The object store.
    pub data: DataStore,
    /// Time and randomness.
    pub ambient: Ambient,
    /// The commit path.
    pub committer: Committer,
    /// Open fragments.
    pub readers: Readers,
    /// Automatic keys.
    pub auto_ids: AutoIds,
    /// How much flushes are slowed down.
    pub slowdowns: Slowdowns,
    /// What flushes wait for before they publish.
    pub replication: Replication,
    follower: Follower,
    heads: HeadReader,
    presence: Presence,
    unfinished: Arc<Unfinished>,
}

impl Database {
    /// Enters the user where that is new, reads the catalog and follows it.
    pub async fn open(
        meta: Arc<dyn MetaStore>,
        data: DataStore,
        ambient: Ambient,
        options: DatabaseOptions,
    ) -> Result<Arc<Self>> {
        let keys = UserKeys::new(&options.user);
        register_user(meta.as_ref(), &keys, &options.user).await?;
        let presence = Presence::announce(meta.clone(), keys.clone(), &options, ambient.clone()).await?;
        let follower = Follower::start(meta.clone(), keys.clone()).await?;
        let heads = HeadReader::new(meta.clone(), keys.head(), options.remote_metadata, follower.known());
        let lease = OutcomeLease::new(meta.clone(), ambient.clone());
        let committer = Committer::new(meta.clone(), keys.clone(), lease);
        let auto_ids = AutoIds::new(meta.clone(), keys.auto_id());
        let readers = Readers::new(data.clone(), options.user.clone(), options.readers.clone());
        let unfinished = Arc::default();
        Ok(Arc::new(Self {
            options,
            keys,
            meta,
            data,
            ambient,
            committer,
            readers,
            auto_ids,
            slowdowns: Slowdowns::default(),
            replication: Replication::default(),
            follower,
            heads,
            presence,
            unfinished,
        }))
    }

    pub(crate) async fn pin(&self, revision: Revision) -> Result<Pin> {
        self.presence.pin(revision, || self.node_needs()).await
    }

    fn node_needs(&self) -> NodeNeeds {
        let oldest_id = self.unfinished.oldest(|| self.newest().revision);
        NodeNeeds { format: FORMAT, read_floor: self.follower.oldest_held(), oldest_id }
    }

    /// The key under which [`Database::tell_needs`] tells them.
    pub fn needs_key(&self) -> String {
        self.keys.node(&self.options.cluster, self.options.node, self.options.incarnation)
    }

    /// Tells the other nodes what this one still needs, and renews its lease. To be called every
    /// [`RENEWAL_PAUSE`](crate::presence::RENEWAL_PAUSE), and before collecting.
    pub async fn tell_needs(&self) -> Result<()> {
        self.presence.tell(|| self.node_needs()).await?;
        self.presence.release_unused_pins().await
    }

    /// Takes back what this node told the others: it reads and writes nothing any more.
    pub async fn leave(&self) -> Result<()> {
        self.presence.leave().await
    }

    /// What all nodes need.
    pub async fn needs(&self) -> Result<Needs> {
        Needs::read(self.meta.as_ref(), &self.keys).await
    }

    /// Keeps files uploaded from now on from being taken for abandoned. To be called before the revision of their ids is
    /// read, and held until they are committed.
    pub fn hold_ids(&self) -> Arc<IdGuard> {
        self.unfinished.hold(|| self.newest().revision)
    }

    /// Waits until a newer catalog than `seen` is here.
    pub async fn changed_since(&self, seen: Revision) -> Result<Arc<Catalog>> {
        self.follower.wait_for(seen.next()).await
    }

    /// The catalog a read may use.
    pub async fn snapshot(&self, visibility: Visibility) -> Result<Arc<Catalog>> {
        match visibility {
            Visibility::Strong => self.follower.at_least(self.heads.read().await?).await,
            Visibility::Eventual => self.heads.check().map(|()| self.follower.newest()),
        }
    }

    /// A catalog of at least `revision`, which must exist.
    pub async fn at_least(&self, revision: Revision) -> Result<Arc<Catalog>> {
        self.follower.at_least(revision).await
    }

    /// The newest catalog here, without asking anybody.
    pub fn newest(&self) -> Arc<Catalog> {
        self.follower.newest()
    }

    /// A fresh commit id.
    pub fn commit_id(&self, revision: Revision) -> CommitId {
        CommitId::new(revision, self.ambient.random())
    }

    /// A fresh fragment id; one that sorts behind `previous`, if that is given.
    pub fn fragment_id(&self, revision: Revision, previous: Option<FragmentId>) -> FragmentId {
        let random = self.ambient.random();
        previous.map_or_else(|| FragmentId::new(revision, random), |previous| previous.following(revision, random))
    }

    /// Stores files under new names; durable when it returns.
    // A boxed future: the compiler cannot see that the store's own is `Send` from inside another one.
    pub fn put_files(&self, files: Vec<(String, Bytes)>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { Ok(self.data.put_all(files).await?) })
    }

    /// Where an object of a collection lies, relative to the storage url.
    pub fn object_path(&self, segment: &str, path: &str) -> String {
        object_path(&self.options.user, segment, path)
    }
}

/// Where an object of a collection lies, relative to the storage url (S30).
pub fn object_path(user: &UserName, segment: &str, path: &str) -> String {
    format!("{user}/{segment}/data/{path}")
}

/// Puts the user into S29's list, and the floor under ids and the horizon at zero, each unless it is there.
async fn register_user(meta: &dyn MetaStore, keys: &UserKeys, user: &UserName) -> Result<()> {
    for (key, lowest) in [(keys.id_floor(), floor_value(Revision::ZERO)), (keys.horizon(), Horizon::default().value())]
    {
        if meta.get(&key).await?.is_none() {
            let compares = vec![Compare::absent(&key)];
            meta.txn(Txn { compares, then: vec![Op::put(key, lowest)], otherwise: Vec::new() }).await?;
        }
    }
    for _ in 0..REGISTER_TRIES {
        let listed = meta.get(USER_LIST).await?;
        let (mut users, revision): (Vec<String>, Revision) = match &listed {
            None => (Vec::new(), Revision::ZERO),
            Some(kv) => {
                let users = serde_json::from_slice(&kv.value)
                    .map_err(|error| Error::Damaged { what: USER_LIST.into(), detail: error.to_string() })?;
                (users, kv.mod_revision)
            }
        };
        if users.iter().any(|known| known == user.as_str()) {
            return Ok(());
        }
        users.push(user.to_string());
        let txn = Txn {
            compares: vec![Compare::unchanged_since(USER_LIST, revision)],
            then: vec![Op::put(USER_LIST, crate::entry::encode(&users)?)],
            otherwise: Vec::new(),
        };
        if meta.txn(txn).await?.succeeded {
            return Ok(());
        }
    }
    Err(Error::Contended { what: USER_LIST.into() })
}
