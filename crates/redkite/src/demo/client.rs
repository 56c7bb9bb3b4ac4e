//! The demonstration's client: Milvus's protocol over the wire, like any other client's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use prost::Message;
use redkite_api::proto::common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status};
use redkite_api::proto::milvus as wire;
use redkite_api::proto::milvus::milvus_service_client::MilvusServiceClient;
use redkite_api::proto::schema::field_data::Field;
use redkite_api::proto::schema::scalar_field::Data as Scalars;
use redkite_api::proto::schema::vector_field::Data as Vectors;
use redkite_api::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, StringArray, VectorField,
};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::dataset::Glosses;

/// What a word may be as a field of the collection.
const LEMMA_BYTES_MAX: usize = 256;
const GLOSS_BYTES_MAX: usize = 4096;

/// A connected client.
#[derive(Debug)]
pub struct Client {
    rpc: MilvusServiceClient<Channel>,
    identifier: i64,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Cosine of the angle between the query and the row.
    pub score: f32,
    /// The word.
    pub lemma: String,
    /// What kind of word.
    pub part_of_speech: String,
    /// What it means.
    pub gloss: String,
}

impl Client {
    /// Connects to the server at `address`.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{}", reachable(address)))?.connect().await?;
        let mut rpc = MilvusServiceClient::new(channel);
        let answer = rpc.connect(wire::ConnectRequest::default()).await?.into_inner();
        check(answer.status.as_ref(), "Connect")?;
        Ok(Self { rpc, identifier: answer.identifier })
    }

    /// Rows of the collection; none if there is no such collection.
    pub async fn count(&mut self, collection: &str) -> Result<Option<i64>> {
        let request = wire::HasCollectionRequest { collection_name: collection.to_owned(), ..Default::default() };
        let answer = self.rpc.has_collection(self.request(request)).await?.into_inner();
        check(answer.status.as_ref(), "HasCollection")?;
        if !answer.value {
            return Ok(None);
        }
        let request = wire::QueryRequest {
            collection_name: collection.to_owned(),
            output_fields: vec!["count(*)".to_owned()],
            ..Default::default()
        };
        let answer = self.rpc.query(self.request(request)).await?.into_inner();
        check(answer.status.as_ref(), "Query")?;
        let count = answer.fields_data.into_iter().find_map(|field| match field.field {
            Some(Field::Scalars(ScalarField { data: Some(Scalars::LongData(longs)) })) => longs.data.first().copied(),
            _ => None,
        });
        count.map(Some).context("count(*) answered no number")
    }

    /// Makes the collection, with an index for the cosine.
    pub async fn create(&mut self, collection: &str, dim: usize) -> Result<()> {
        let schema = CollectionSchema { name: collection.to_owned(), fields: fields(dim), ..Default::default() };
        let request = wire::CreateCollectionRequest {
            collection_name: collection.to_owned(),
            schema: Bytes::from(schema.encode_to_vec()),
            ..Default::default()
        };
        let answer = self.rpc.create_collection(self.request(request)).await?.into_inner();
        check(Some(&answer), "CreateCollection")?;
        let request = wire::CreateIndexRequest {
            collection_name: collection.to_owned(),
            field_name: "embedding".to_owned(),
            extra_params: pairs(&[("index_type", "AUTOINDEX"), ("metric_type", "COSINE")]),
            ..Default::default()
        };
        let answer = self.rpc.create_index(self.request(request)).await?.into_inner();
        check(Some(&answer), "CreateIndex")
    }

    /// Inserts all rows in one request.
    pub async fn insert(&mut self, collection: &str, rows: Glosses) -> Result<()> {
        let num_rows = u32::try_from(rows.ids.len())?;
        let texts = |name: &str, data: Vec<String>| {
            let data = Scalars::StringData(StringArray { data });
            scalars(name, DataType::VarChar, data)
        };
        let vectors = VectorField {
            dim: i64::try_from(rows.dim)?,
            data: Some(Vectors::FloatVector(FloatArray { data: rows.embeddings })),
        };
        let fields_data = vec![
            scalars("id", DataType::Int64, Scalars::LongData(LongArray { data: rows.ids })),
            texts("lemma", rows.lemmas),
            texts("pos", rows.parts_of_speech),
            texts("gloss", rows.glosses),
            FieldData {
                r#type: DataType::FloatVector.into(),
                field_name: "embedding".to_owned(),
                field: Some(Field::Vectors(vectors)),
                ..Default::default()
            },
        ];
        let request =
            wire::InsertRequest { collection_name: collection.to_owned(), fields_data, num_rows, ..Default::default() };
        let answer = self.rpc.insert(self.request(request)).await?.into_inner();
        check(answer.status.as_ref(), "Insert")?;
        ensure!(answer.insert_cnt == i64::from(num_rows), "{} of {num_rows} rows were inserted", answer.insert_cnt);
        Ok(())
    }

    /// Publishes what was inserted.
    pub async fn flush(&mut self, collection: &str) -> Result<()> {
        let request = wire::FlushRequest { collection_names: vec![collection.to_owned()], ..Default::default() };
        let answer = self.rpc.flush(self.request(request)).await?.into_inner();
        check(answer.status.as_ref(), "Flush")
    }

    /// The rows nearest to `vector` among those that satisfy `filter`, the nearest first.
    pub async fn search(&mut self, collection: &str, vector: &[f32], filter: &str, limit: usize) -> Result<Vec<Hit>> {
        let value = Bytes::from_iter(vector.iter().flat_map(|number| number.to_le_bytes()));
        let placeholder = PlaceholderValue {
            tag: "$0".to_owned(),
            r#type: PlaceholderType::FloatVector.into(),
            values: vec![value],
            ..Default::default()
        };
        let group = PlaceholderGroup { placeholders: vec![placeholder] };
        let request = wire::SearchRequest {
            collection_name: collection.to_owned(),
            dsl: filter.to_owned(),
            dsl_type: redkite_api::proto::common::DslType::BoolExprV1.into(),
            search_input: Some(wire::search_request::SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
            output_fields: ["lemma", "pos", "gloss"].map(str::to_owned).to_vec(),
            search_params: pairs(&[("topk", &limit.to_string()), ("params", "{}")]),
            nq: 1,
            ..Default::default()
        };
        let answer = self.rpc.search(self.request(request)).await?.into_inner();
        check(answer.status.as_ref(), "Search")?;
        hits(answer.results.unwrap_or_default())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("identifier", self.identifier.into());
        request
    }
}

/// A server that listens everywhere is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn fields(dim: usize) -> Vec<FieldSchema> {
    let field = |name: &str, data_type: DataType, params: &[(&str, &str)]| FieldSchema {
        name: name.to_owned(),
        data_type: data_type.into(),
        type_params: pairs(params),
        ..Default::default()
    };
    let text = |name: &str, bytes_max: usize| field(name, DataType::VarChar, &[("max_length", &bytes_max.to_string())]);
    vec![
        FieldSchema { is_primary_key: true, ..field("id", DataType::Int64, &[]) },
        text("lemma", LEMMA_BYTES_MAX),
        text("pos", LEMMA_BYTES_MAX),
        text("gloss", GLOSS_BYTES_MAX),
        field("embedding", DataType::FloatVector, &[("dim", &dim.to_string())]),
    ]
}

fn scalars(name: &str, data_type: DataType, data: Scalars) -> FieldData {
    FieldData {
        r#type: data_type.into(),
        field_name: name.to_owned(),
        field: Some(Field::Scalars(ScalarField { data: Some(data) })),
        ..Default::default()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    let pair = |(key, value): &(&str, &str)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() };
    pairs.iter().map(pair).collect()
}

fn check(status: Option<&Status>, rpc: &str) -> Result<()> {
    match status {
        Some(status) if status.code != 0 => bail!("{rpc} failed with code {}: {}", status.code, status.reason),
        _ => Ok(()),
    }
}

fn hits(results: redkite_api::proto::schema::SearchResultData) -> Result<Vec<Hit>> {
    let texts = |name: &str| {
        let field = results.fields_data.iter().find(|field| field.field_name == name);
        match field.and_then(|field| field.field.as_ref()) {
            Some(Field::Scalars(ScalarField { data: Some(Scalars::StringData(texts)) })) => Ok(texts.data.clone()),
            _ if results.scores.is_empty() => Ok(Vec::new()),
            _ => bail!("Search answered no field {name}"),
        }
    };
    let (lemmas, parts, glosses) = (texts("lemma")?, texts("pos")?, texts("gloss")?);
    let rows = lemmas.into_iter().zip(parts).zip(glosses).zip(&results.scores);
    Ok(rows
        .map(|(((lemma, part_of_speech), gloss), score)| Hit { score: *score, lemma, part_of_speech, gloss })
        .collect())
}
