//! How a process becomes a node of its cluster.
//!
//! It reads the members (S28). If its number is taken it asks the process that took it: if that one answers, this one is
//! refused; if not, this one takes its place, under a greater incarnation. The transaction compares that nothing changed
//! meanwhile, so of two that start at once one joins first and answers the other.
//!
//! A predecessor that is not dead after all (it was frozen, or cut off) goes on as the zombie it is, without harm: what it
//! commits is compared like anything else, and it tells what it needs under its own incarnation.

use async_trait::async_trait;
use redkite_meta::keys::UserKeys;
use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_types::{ClusterId, NodeId, Revision};

use crate::internal::Answering;
use crate::{Error, Member, Members, Result, State};

/// Tries to join; each failed one means that another process did, or that an answer was lost.
const TRIES: u32 = 16;

/// Who wants to join, and as what.
#[derive(Debug)]
pub struct Joining<'a> {
    /// The metadata store.
    pub meta: &'a dyn MetaStore,
    /// The user's keys.
    pub keys: &'a UserKeys,
    /// The cluster.
    pub cluster: &'a ClusterId,
    /// The number.
    pub node: NodeId,
    /// Host at which clients will reach it.
    pub address: &'a str,
    /// Port at which clients will reach it.
    pub port: u16,
    /// Host and port of its internal port, which has to be open.
    pub internal: &'a str,
    /// Fresh random text, for the process and for a new cluster's secret.
    pub random: [String; 2],
}

/// Asks other processes.
#[async_trait]
pub trait Ask: Send + Sync {
    /// What the process at the internal address of a member answers to the question for its boot; none if it does not answer in
    /// time, or is another one.
    async fn boot(&self, member: &Member, secret: &str) -> Option<String>;
}

/// Joins, and returns what the members are then and as which of them. `answering` is what the internal port answers with.
pub async fn join(joining: Joining<'_>, ask: &dyn Ask, answering: &Answering) -> Result<(Members, Member)> {
    let Joining { meta, keys, cluster, node, address, port, internal, random: [boot, secret] } = joining;
    let key = keys.property(cluster);
    for _ in 0..TRIES {
        let stored = meta.get(&key).await?;
        let since = stored.as_ref().map_or(Revision::ZERO, |kv| kv.mod_revision);
        let mut members = match &stored {
            Some(kv) => Members::read(&key, &kv.value)?,
            None => Members::new(secret.clone()),
        };
        if let Some(known) = members.get(node) {
            if known.boot == boot {
                // The answer to an earlier try was lost.
                let member = known.clone();
                return Ok((members, member));
            }
            if ask.boot(known, &members.secret).await.as_ref() == Some(&known.boot) {
                let address = format!("{}:{}", known.address, known.port);
                return Err(Error::Runs { node, cluster: cluster.clone(), address });
            }
            tracing::warn!(
                %node,
                predecessor = %known.incarnation,
                internal = known.internal,
                "this node's predecessor does not answer and is taken for dead"
            );
        }
        let member = Member {
            node,
            incarnation: members.next_incarnation(node),
            boot: boot.clone(),
            address: address.to_owned(),
            port,
            internal: internal.to_owned(),
            state: State::Joining,
        };
        members.put(member.clone());
        // Before it is known: whoever loses to this one asks it at once.
        answering.answer(&members.secret, &member);
        // If not, another one joined; or, if no answer came, this one did.
        if put(meta, &key, since, &members).await?.is_some() {
            return Ok((members, member));
        }
    }
    Err(Error::Contended)
}

/// Changes who the members are; `change` says whether anything is to be changed, and is asked again if another process was
/// faster. Returns the members and the revision at which they are so.
pub async fn change<T>(
    meta: &dyn MetaStore,
    key: &str,
    mut change: impl FnMut(&mut Members) -> std::result::Result<bool, T>,
) -> Result<std::result::Result<(Members, Revision), T>> {
    for _ in 0..TRIES {
        let Some(stored) = meta.get(key).await? else { return Err(Error::NoMembers { key: key.to_owned() }) };
        let mut members = Members::read(key, &stored.value)?;
        match change(&mut members) {
            Err(refused) => return Ok(Err(refused)),
            Ok(false) => return Ok(Ok((members, stored.mod_revision))),
            Ok(true) => {}
        }
        if let Some(revision) = put(meta, key, stored.mod_revision, &members).await? {
            return Ok(Ok((members, revision)));
        }
    }
    Err(Error::Contended)
}

/// Puts the members, if nobody has since; at which revision. None: somebody has, or no answer came.
async fn put(meta: &dyn MetaStore, key: &str, since: Revision, members: &Members) -> Result<Option<Revision>> {
    let txn = Txn {
        compares: vec![Compare::unchanged_since(key, since)],
        then: vec![Op::put(key, members.value())],
        otherwise: Vec::new(),
    };
    match meta.txn(txn).await {
        Ok(response) => Ok(response.succeeded.then_some(response.revision)),
        Err(redkite_meta::Error::OutcomeUnknown(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
