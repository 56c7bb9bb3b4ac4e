//! Passes rows on from one node to another, over lines that break when they are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redkite_ingest::forward::{Guest, Guests, Line, Outlets};
use redkite_types::NodeId;
use tokio::sync::Notify;

use crate::world::Node;

/// What goes wrong with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The other node dies before it has heard it.
    Before,
    /// It dies once it has done what it was asked, before it can answer.
    After,
    /// It answers a question of somebody else's, as it were.
    Nonsense,
    /// Its answer has one word in it replaced by another.
    Replaced(&'static str, &'static str),
    /// It hears another word than was said.
    Misheard(&'static str, &'static str),
    /// It stops before it is heard, until [`Switch::resume`].
    Stops,
    /// Whoever asks it meets a defect.
    Panics,
}

/// The outlets of a node: one other node.
#[derive(Debug)]
pub struct Switch {
    to: NodeId,
    guests: Mutex<Option<Guests>>,
    needed: AtomicBool,
    shared: Arc<Shared>,
    /// Lines that were opened.
    pub opened: AtomicUsize,
    /// Times that the node was told to avoid the other one.
    pub avoided: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shared {
    /// Raised when the other node dies: lines of before are dead.
    life: AtomicUsize,
    /// What goes wrong with the question that comes after so many others.
    trouble: Mutex<Option<(usize, Trouble)>>,
    stopped: Notify,
    resumed: Notify,
}

impl Switch {
    /// From now on rows of `from`'s clients can go to `to`.
    pub fn between(from: &Node, to: &Node) -> Arc<Self> {
        let switch = Arc::new(Self {
            to: to.database.options.node,
            guests: Mutex::new(Some(Guests::new(to.ingest.clone()))),
            needed: AtomicBool::new(true),
            shared: Arc::default(),
            opened: AtomicUsize::new(0),
            avoided: AtomicUsize::new(0),
        });
        from.ingest.forward_by(switch.clone());
        switch
    }

    /// Whether the node is short of memory.
    pub fn need(&self, needed: bool) {
        self.needed.store(needed, Ordering::Relaxed);
    }

    /// Something goes wrong with the question that comes after `others`.
    pub fn trouble(&self, others: usize, trouble: Trouble) {
        *self.shared.trouble.lock() = Some((others, trouble));
    }

    /// The other node dies, and is there again at once.
    pub fn kill(&self) {
        self.shared.life.fetch_add(1, Ordering::Relaxed);
    }

    /// The other node is gone for good.
    pub fn end(&self) {
        *self.guests.lock() = None;
        self.kill();
    }

    /// The other node was restarted.
    pub fn restarted(&self, to: &Node) {
        *self.guests.lock() = Some(Guests::new(to.ingest.clone()));
        self.kill();
    }

    /// Waits until a question has stopped.
    pub async fn stopped(&self) {
        self.shared.stopped.notified().await;
    }

    pub fn resume(&self) {
        self.shared.resumed.notify_one();
    }
}

#[async_trait]
impl Outlets for Switch {
    fn are_needed(&self) -> bool {
        self.needed.load(Ordering::Relaxed)
    }

    async fn line(&self) -> Option<(NodeId, Box<dyn Line>)> {
        let guest = self.guests.lock().as_ref()?.begin();
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (shared, life) = (self.shared.clone(), self.shared.life.load(Ordering::Relaxed));
        Some((self.to, Box::new(Direct { guest: Some(guest), life, shared })))
    }

    fn avoid(&self, node: NodeId) {
        assert_eq!(node, self.to);
        self.avoided.fetch_add(1, Ordering::Relaxed);
    }
}

/// A line within the process.
#[derive(Debug)]
struct Direct {
    guest: Option<Guest>,
    life: usize,
    shared: Arc<Shared>,
}

impl Direct {
    fn due(&self) -> Option<Trouble> {
        let mut trouble = self.shared.trouble.lock();
        match *trouble {
            Some((0, what)) => {
                *trouble = None;
                Some(what)
            }
            Some((others, what)) => {
                *trouble = Some((others - 1, what));
                None
            }
            None => None,
        }
    }
}

#[async_trait]
impl Line for Direct {
    async fn ask(&mut self, question: Bytes) -> Result<Bytes, String> {
        let trouble = self.due();
        if trouble == Some(Trouble::Stops) {
            self.shared.stopped.notify_one();
            self.shared.resumed.notified().await;
        }
        assert_ne!(trouble, Some(Trouble::Panics), "a defect");
        // Where a task is given up is no matter of chance.
        tokio::task::yield_now().await;
        if trouble == Some(Trouble::Before) || self.shared.life.load(Ordering::Relaxed) != self.life {
            self.guest = None;
        }
        let guest = self.guest.as_mut().ok_or("it is gone")?;
        let question = match trouble {
            Some(Trouble::Misheard(word, by)) => replaced(&question, word, by),
            _ => question,
        };
        let answer = guest.answer(question).await;
        match trouble {
            Some(Trouble::After) => {
                self.guest = None;
                Err("it is gone".to_owned())
            }
            Some(Trouble::Nonsense) => Ok(Bytes::from_static(b"\x01\0\0\0nonsense")),
            Some(Trouble::Replaced(word, by)) => answer.map(|answer| replaced(&answer, word, by)),
            _ => {
                if answer.is_err() {
                    self.guest = None;
                }
                answer
            }
        }
    }
}

/// The same with another word in its head, its checksum and length right.
fn replaced(said: &Bytes, word: &str, by: &str) -> Bytes {
    let length = u32::from_le_bytes(said[12..16].try_into().unwrap()) as usize;
    let (head, rows) = said[16..].split_at(length);
    let head = std::str::from_utf8(head).unwrap();
    assert!(head.contains(word), "no {word} in {head}");
    let head = head.replacen(word, by, 1);
    let rest = [&(head.len() as u32).to_le_bytes(), head.as_bytes(), rows].concat();
    [&said[..4], &xxhash_rust::xxh3::xxh3_64(&rest).to_le_bytes(), &rest].concat().into()
}
