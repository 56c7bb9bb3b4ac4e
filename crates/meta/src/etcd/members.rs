//! The members of etcd, and which of them is asked.
//!
//! All requests go to one member for as long as it answers, and to the next one when it does not. Were they spread, a part of them
//! would run into every member that is dead or frozen, for as long as it is. Processes begin with different members.
//!
//! A connection on which a request was not answered in time is not used again: the network may carry new ones long before it
//! carries that one again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Client, KvClient, LeaseClient, WatchClient};
use futures::future::join_all;
use redkite_types::Revision;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::failure::{self, Call, Failure};
use super::{EtcdOptions, RESPONSE_BYTES_MAX, backoff};
use crate::{Error, Result};

/// All members that are known.
pub(super) struct Members {
    options: EtcdOptions,
    members: Vec<Member>,
    /// Which of them is asked: this, modulo their number.
    turn: AtomicUsize,
}

struct Member {
    endpoint: String,
    /// None before the first request and after one that was not answered. Held while a connection is made, so that all who
    /// need one take the same.
    clients: Mutex<Option<Clients>>,
}

/// Clients of one member.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) kv: KvClient,
    pub(super) lease: LeaseClient,
    pub(super) watch: WatchClient,
    /// Owns what the clients above are connected by.
    client: Arc<Client>,
}

impl Members {
    /// Fails if an endpoint is none, and if no member can be reached.
    pub(super) async fn connect(options: EtcdOptions) -> Result<Self> {
        let member = |endpoint: &String| Member { endpoint: endpoint.clone(), clients: Mutex::default() };
        let members: Vec<Member> = options.endpoints.iter().map(member).collect();
        let turn = AtomicUsize::new(backoff::random() as usize);
        let all = Self { options, members, turn };
        let connected = join_all(all.members.iter().map(|member| all.clients(member))).await;
        let mut failure = Some(Error::Invalid("etcd has no endpoints".to_owned()));
        for outcome in connected {
            match outcome {
                Ok(_) => failure = None,
                Err(Failure::Final(error)) => return Err(error),
                Err(other) => failure = failure.map(|_| other.into_error()),
            }
        }
        failure.map_or(Ok(all), Err)
    }

    /// Asks the member whose turn it is, within the time that a request has. If it does not answer, the next one has its turn.
    pub(super) async fn ask<T, F>(
        &self,
        kind: Call,
        what: &str,
        revision: Option<Revision>,
        request: impl FnOnce(Clients) -> F,
    ) -> std::result::Result<T, Failure>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let turn = self.turn.load(Ordering::Relaxed);
        let member = &self.members[turn % self.members.len()];
        let answer = match self.clients(member).await {
            Ok(clients) => {
                let what = || format!("{what} at {}", member.endpoint);
                let connection = clients.client.clone();
                match timeout(self.options.request_timeout, request(clients)).await {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(error)) => match failure::sort(kind, &what(), revision, error) {
                        // It has answered, and will answer the same again for another token.
                        Failure::Denied(error) if self.options.user.is_some() => {
                            self.log_in(&connection).await?;
                            return Err(Failure::Transient(error));
                        }
                        failure => Err(failure),
                    },
                    Err(_) => {
                        member.give_up(&connection).await;
                        Err(failure::timed_out(kind, &what(), self.options.request_timeout))
                    }
                }
            }
            Err(failure) => Err(failure),
        };
        if let Err(Failure::Transient(error)) = &answer {
            self.pass_on(turn, error);
        }
        answer
    }

    /// Fetches another token for what is asked of the member whose turn it is; false where etcd wants none.
    pub(super) async fn log_in_again(&self) -> std::result::Result<bool, Failure> {
        if self.options.user.is_none() {
            return Ok(false);
        }
        let member = &self.members[self.turn.load(Ordering::Relaxed) % self.members.len()];
        self.log_in(&self.clients(member).await?.client).await?;
        Ok(true)
    }

    async fn log_in(&self, client: &Client) -> std::result::Result<(), Failure> {
        tracing::debug!("another token is fetched from etcd");
        timeout(self.options.request_timeout, client.refresh_token())
            .await
            .map_err(|_| failure::timed_out(Call::Harmless, "login", self.options.request_timeout))?
            .map_err(|error| failure::sort(Call::Harmless, "login", None, error))
    }

    /// Of several requests that the same member has not answered, the first one passes the turn on.
    fn pass_on(&self, turn: usize, error: &Error) {
        let next = turn.wrapping_add(1);
        let passed = self.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
        if passed.is_ok() && self.members.len() > 1 {
            let endpoint = &self.members[next % self.members.len()].endpoint;
            tracing::warn!(%error, next = endpoint, "a member of etcd does not answer; another one is asked");
        }
    }

    /// Those of one member. Connecting waits for an answer only where etcd wants a password.
    async fn clients(&self, member: &Member) -> std::result::Result<Clients, Failure> {
        let mut known = member.clients.lock().await;
        if let Some(clients) = &*known {
            return Ok(clients.clone());
        }
        let what = format!("connect to etcd at {}", member.endpoint);
        let connecting = Client::connect([&member.endpoint], Some(self.options.connect_options()));
        let client = timeout(self.options.request_timeout, connecting)
            .await
            .map_err(|_| failure::timed_out(Call::Harmless, &what, self.options.request_timeout))?
            .map_err(|error| failure::sort(Call::Harmless, &what, None, error))?;
        let clients = Clients {
            kv: client.kv_client().max_decoding_message_size(RESPONSE_BYTES_MAX),
            lease: client.lease_client(),
            watch: client.watch_client().max_decoding_message_size(RESPONSE_BYTES_MAX),
            client: Arc::new(client),
        };
        *known = Some(clients.clone());
        Ok(clients)
    }
}

impl Member {
    /// The next request takes another connection. Those that are on this one may still be answered.
    async fn give_up(&self, connection: &Arc<Client>) {
        let mut known = self.clients.lock().await;
        if known.as_ref().is_some_and(|clients| Arc::ptr_eq(&clients.client, connection)) {
            *known = None;
        }
    }
}
