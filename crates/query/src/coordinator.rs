//! Answers requests of clients, with the help of the other nodes of the cluster.

use std::sync::Arc;

use redkite_expr::Predicate;
use redkite_table::{Collection, Database};

use crate::fanout::{Asking, Fanout, Peers};
use crate::{QueryRequest, Result, Rows, SearchHits, SearchRequest, lookup, search};

/// The node that a request reached.
#[derive(Debug)]
pub struct Coordinator {
    database: Arc<Database>,
    fanout: Option<Fanout>,
}

impl Coordinator {
    /// One that reads everything itself.
    pub fn alone(database: Arc<Database>) -> Self {
        Self { database, fanout: None }
    }

    /// One that asks its peers for what they hold. While there are no others it is as if it were alone.
    pub fn among(database: Arc<Database>, peers: Arc<dyn Peers>) -> Self {
        let fanout = Fanout::new(database.clone(), peers);
        Self { database, fanout: Some(fanout) }
    }

    /// How it asks others, if there may be any.
    pub(crate) fn fanout(&self) -> Option<&Fanout> {
        self.fanout.as_ref()
    }

    fn asking(&self) -> Asking<'_> {
        let fanout = self.fanout.as_ref().filter(|fanout| fanout.has_others());
        Asking { database: &self.database, fanout }
    }

    /// As [`search`](crate::search).
    pub async fn search(&self, request: SearchRequest) -> Result<SearchHits> {
        search::asked(self.asking(), request).await
    }

    /// As [`query`](crate::query).
    pub async fn query(&self, request: QueryRequest) -> Result<Rows> {
        lookup::queried(self.asking(), request).await
    }

    /// As [`count`](crate::count).
    pub async fn count(&self, collection: &Arc<Collection>, filter: &Arc<Predicate>) -> Result<u64> {
        lookup::counted(self.asking(), collection, filter).await
    }
}
