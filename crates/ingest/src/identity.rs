//! Who a client is: a connection, and the identifier that `Connect` handed out on it.
//!
//! Clients of one process share a connection, so the connection alone is not enough; clients reconnect silently and
//! keep their identifier, so the identifier alone is not enough either.

use std::collections::{HashMap, VecDeque};

/// Bits of an identifier that number clients; those above tell one boot of a node from another.
const CLIENT_BITS: u32 = 32;
/// Most identities remembered as having lost unflushed operations; beyond it the oldest is forgotten.
const LOST_MAX: usize = 1 << 18;

/// A TCP connection, numbered since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// One client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId {
    /// Its connection.
    pub connection: ConnectionId,
    /// What `Connect` told it; 0 if it never asked.
    pub identifier: i64,
}

/// Who a client is over its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// One that asked for an identifier, on whichever connection.
    Identifier(i64),
    /// One that never did: what comes on its connection.
    Connection(ConnectionId),
}

impl ClientId {
    pub(crate) fn identity(&self) -> Identity {
        match self.identifier {
            0 => Identity::Connection(self.connection),
            identifier => Identity::Identifier(identifier),
        }
    }
}

/// Hands out identifiers and remembers who lost unflushed operations with a session.
#[derive(Debug)]
pub(crate) struct Identities {
    boot: i64,
    next: i64,
    lost: HashMap<Identity, String>,
    lost_order: VecDeque<Identity>,
}

impl Identities {
    /// `random` tells this boot from others.
    pub fn new(random: u64) -> Self {
        // 30 random bits above the client's number keep identifiers positive.
        let boot = ((random & 0x3fff_ffff) | 1) as i64;
        Self { boot: boot << CLIENT_BITS, next: 0, lost: HashMap::new(), lost_order: VecDeque::new() }
    }

    /// A fresh identifier.
    pub fn hand_out(&mut self) -> i64 {
        self.next += 1;
        self.boot | (self.next & ((1 << CLIENT_BITS) - 1))
    }

    /// Remembers that a session of `identity` died with unflushed operations.
    pub fn lose(&mut self, identity: Identity, reason: String) {
        if self.lost.insert(identity, reason).is_none() {
            self.lost_order.push_back(identity);
        }
        if self.lost_order.len() > LOST_MAX
            && let Some(oldest) = self.lost_order.pop_front()
        {
            self.lost.remove(&oldest);
        }
    }

    /// What the first write or flush of `identity` in a new session has to be told, once: what was lost here.
    pub fn tell(&mut self, identity: Identity) -> Option<String> {
        let reason = self.lost.remove(&identity)?;
        self.lost_order.retain(|known| *known != identity);
        Some(reason)
    }

    /// Whether `identifier` was handed out here.
    pub fn is_ours(&self, identifier: i64) -> bool {
        identifier >> CLIENT_BITS == self.boot >> CLIENT_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::Identity::{Connection, Identifier};
    use super::*;

    #[test]
    fn identifiers_are_positive_and_of_this_boot() {
        let mut identities = Identities::new(u64::MAX);
        let (a, b) = (identities.hand_out(), identities.hand_out());
        assert!(a > 0 && b > 0 && a != b);
        assert_eq!(identities.tell(Identifier(a)), None);
    }

    #[test]
    fn a_loss_is_told_once() {
        let mut identities = Identities::new(1);
        for identity in [Identifier(identities.hand_out()), Connection(ConnectionId(3))] {
            identities.lose(identity, "gone".into());
            assert_eq!(identities.tell(identity).as_deref(), Some("gone"));
            assert_eq!(identities.tell(identity), None);
        }
    }

    #[test]
    fn identifiers_of_other_boots_are_known_as_such() {
        let mut identities = Identities::new(77);
        assert!(identities.is_ours(identities.boot | 1));
        let own = identities.hand_out();
        assert!(identities.is_ours(own));
        for other in [Identities::new(5 << 1).hand_out(), 7, -1] {
            assert!(!identities.is_ours(other));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut identities = Identities::new(1);
        for id in 1..(LOST_MAX as i64 + 10) {
            identities.lose(Identifier(id), String::new());
        }
        assert_eq!(identities.lost.len(), LOST_MAX);
    }
}
