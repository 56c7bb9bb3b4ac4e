//! Tells sessions of connections and their end, and holds the ends back while the server stops.
//!
//! What a session has not flushed goes with its connection. A server that stops ends all connections, so it first lets
//! the running requests finish, then publishes what automatic flushing owes, and only then lets the sessions go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use redkite_api::server::{ConnectionEvents, ConnectionId, ConnectionInfo};

/// Passes events on to `E`.
#[derive(Debug)]
pub struct Connections<E> {
    sessions: E,
    /// How many there are.
    open: Arc<AtomicU64>,
    /// The connections that ended while the server stops.
    held: Mutex<Option<Vec<ConnectionId>>>,
}

impl<E: ConnectionEvents> Connections<E> {
    /// Passes everything on to `sessions` for now, and counts the connections in `open`.
    pub fn new(sessions: E, open: Arc<AtomicU64>) -> Self {
        Self { sessions, open, held: Mutex::new(None) }
    }

    /// From now on sessions survive their connections.
    pub fn hold(&self) {
        self.held.lock().get_or_insert_default();
    }

    /// Ends the sessions of the connections that ended meanwhile.
    pub fn release(&self) {
        let held = self.held.lock().take();
        held.into_iter().flatten().for_each(|connection| self.sessions.on_disconnect(connection));
    }
}

impl<E: ConnectionEvents> ConnectionEvents for Connections<E> {
    fn on_connect(&self, connection: ConnectionInfo) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.sessions.on_connect(connection);
    }

    fn on_disconnect(&self, connection: ConnectionId) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        match self.held.lock().as_mut() {
            Some(held) => held.push(connection),
            None => self.sessions.on_disconnect(connection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<String>>);

    impl ConnectionEvents for &'static Seen {
        fn on_connect(&self, connection: ConnectionInfo) {
            self.0.lock().push(format!("+{}", connection.id));
        }

        fn on_disconnect(&self, connection: ConnectionId) {
            self.0.lock().push(format!("-{connection}"));
        }
    }

    #[test]
    fn ends_are_held_back_while_the_server_stops() {
        let seen: &'static Seen = Box::leak(Box::default());
        let connections = Connections::new(seen, Arc::default());
        let peer = ([127, 0, 0, 1], 1).into();
        for id in 1..=3 {
            connections.on_connect(ConnectionInfo { id: ConnectionId(id), peer });
        }
        connections.on_disconnect(ConnectionId(1));
        connections.hold();
        connections.on_disconnect(ConnectionId(2));
        connections.on_disconnect(ConnectionId(3));
        assert_eq!(*seen.0.lock(), ["+1", "+2", "+3", "-1"]);
        connections.release();
        assert_eq!(seen.0.lock()[4..], ["-2", "-3"]);
    }
}
