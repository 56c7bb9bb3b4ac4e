//! A client of the server: one connection, the calls that are measured, and every failure an error.

pub mod messages;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use redkite_api::proto::common::Status;
use redkite_api::proto::milvus::milvus_service_client::MilvusServiceClient;
use redkite_api::proto::milvus::{
    ConnectRequest, DeleteRequest, FlushAllRequest, GetVersionRequest, InsertRequest, MutationResult, QueryRequest,
    SearchRequest, SearchResults, UpsertRequest,
};
use redkite_api::proto::schema::field_data::Field as Column;
use redkite_api::proto::schema::i_ds::IdField;
use redkite_api::proto::schema::scalar_field::Data;
use redkite_api::proto::schema::{FieldData, IDs};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use messages::{COUNT, count_query, create_collection};

/// Answers can hold all vectors.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One connection with a session of its own.
#[derive(Debug)]
pub struct Client {
    service: MilvusServiceClient<Channel>,
    identifier: MetadataValue<Ascii>,
}

impl Client {
    /// Connects as Milvus's own clients do: a connection, then the call `Connect`, whose identifier every call repeats.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await.context("connect to the server")?;
        let mut service = MilvusServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        let answer = service.connect(ConnectRequest::default()).await?.into_inner();
        check(answer.status)?;
        let identifier = answer.identifier.to_string().parse().context("an identifier is a number")?;
        Ok(Self { service, identifier })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("identifier", self.identifier.clone());
        request
    }

    /// The call that does nothing.
    pub async fn version(&mut self) -> Result<()> {
        let answer = self.service.get_version(self.request(GetVersionRequest {})).await?.into_inner();
        check(answer.status)
    }

    /// Creates a collection with an int64 key and a float32 vector, compared by inner product.
    pub async fn create(&mut self, name: &str, dim: usize) -> Result<()> {
        self.create_with(name, dim, &[]).await
    }

    /// The same with further int64 columns.
    pub async fn create_with(&mut self, name: &str, dim: usize, columns: &[&str]) -> Result<()> {
        let (collection, index) = create_collection(name, dim, columns);
        check(Some(self.service.create_collection(self.request(collection)).await?.into_inner()))?;
        check(Some(self.service.create_index(self.request(index)).await?.into_inner()))
    }

    /// Inserts rows; they wait for a flush.
    pub async fn insert(&mut self, request: InsertRequest) -> Result<()> {
        let rows = request.num_rows;
        let answer = self.service.insert(self.request(request)).await?.into_inner();
        acknowledged(answer, rows)
    }

    /// Upserts rows; they wait for a flush.
    pub async fn upsert(&mut self, request: UpsertRequest) -> Result<()> {
        let rows = request.num_rows;
        let answer = self.service.upsert(self.request(request)).await?.into_inner();
        acknowledged(answer, rows)
    }

    /// Deletes the rows that a filter matches; that waits for a flush.
    pub async fn delete(&mut self, collection: &str, filter: String) -> Result<()> {
        let delete = DeleteRequest { collection_name: collection.to_owned(), expr: filter, ..Default::default() };
        let answer = self.service.delete(self.request(delete)).await?.into_inner();
        check(answer.status)
    }

    /// Makes everything so far visible.
    pub async fn flush(&mut self) -> Result<()> {
        let answer = self.service.flush_all(self.request(FlushAllRequest::default())).await?.into_inner();
        check(answer.status)
    }

    /// Searches.
    pub async fn search(&mut self, request: SearchRequest) -> Result<Hits> {
        let answer = self.service.search(self.request(request)).await?.into_inner();
        hits(answer)
    }

    /// Queries and returns the columns.
    pub async fn query(&mut self, request: QueryRequest) -> Result<Vec<FieldData>> {
        let answer = self.service.query(self.request(request)).await?.into_inner();
        check(answer.status)?;
        Ok(answer.fields_data)
    }

    /// Queries and returns how many rows there were, by the keys.
    pub async fn query_rows(&mut self, request: QueryRequest) -> Result<usize> {
        let columns = self.query(request).await?;
        Ok(integers(&columns, messages::KEY)?.len())
    }

    /// Visible rows of a collection.
    pub async fn count(&mut self, collection: &str) -> Result<usize> {
        let columns = self.query(count_query(collection)).await?;
        let [count] = integers(&columns, COUNT)?[..] else { bail!("count(*) did not answer one number") };
        usize::try_from(count).context("count(*) is negative")
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// Hits per query.
    pub counts: Vec<usize>,
    /// Keys of all hits, query after query.
    pub keys: Vec<i64>,
}

fn hits(answer: SearchResults) -> Result<Hits> {
    check(answer.status)?;
    let results = answer.results.context("the search answered nothing")?;
    let Some(IDs { id_field: Some(IdField::IntId(ids)) }) = results.ids else { bail!("the search answered no keys") };
    let counts = results.topks.iter().map(|count| usize::try_from(*count)).collect::<Result<Vec<_>, _>>()?;
    ensure!(counts.iter().sum::<usize>() == ids.data.len(), "the search's counts and keys do not fit together");
    Ok(Hits { counts, keys: ids.data })
}

fn integers<'c>(columns: &'c [FieldData], name: &str) -> Result<&'c [i64]> {
    let column = columns.iter().find(|column| column.field_name == name);
    let column = column.with_context(|| format!("the answer has no column {name}"))?;
    match &column.field {
        Some(Column::Scalars(values)) => match &values.data {
            Some(Data::LongData(values)) => Ok(&values.data),
            _ => bail!("the column {name} holds no 64-bit integers"),
        },
        _ => bail!("the column {name} is no scalar"),
    }
}

fn acknowledged(answer: MutationResult, rows: u32) -> Result<()> {
    check(answer.status)?;
    let counted = answer.insert_cnt.max(answer.upsert_cnt);
    ensure!(counted == i64::from(rows), "{counted} of {rows} rows were acknowledged");
    Ok(())
}

fn check(status: Option<Status>) -> Result<()> {
    let status = status.context("the answer has no status")?;
    ensure!(status.code == 0, "the server answers {}: {}", status.code, status.reason);
    Ok(())
}
