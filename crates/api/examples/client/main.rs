//! Writes numbered blocks of rows through whatever node a Master names, and goes on when that dies:
//!
//!     cargo run -p redkite-api --example client -- 127.0.0.1:19530 blocks 100
//!
//! (with `protoc` installed, or PROTOC set.) `redkite.rs` beside this file is the client; this is how it is used.

mod redkite;

use std::error::Error;

use prost::Message as _;
use redkite::{Client, check};
use redkite_api::proto::common::KeyValuePair;
use redkite_api::proto::milvus::{
    CreateCollectionRequest, CreateIndexRequest, DeleteRequest, InsertRequest, QueryRequest,
};
use redkite_api::proto::schema::field_data::Field;
use redkite_api::proto::schema::scalar_field::Data as Scalars;
use redkite_api::proto::schema::vector_field::Data as Vectors;
use redkite_api::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, VectorField,
};

/// Rows of a block.
const ROWS: i64 = 10;
/// Of the vectors.
const DIM: i64 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [masters, collection, blocks] = &args[..] else {
        return Err("usage: client MASTER:PORT[,MASTER:PORT...] COLLECTION BLOCKS".into());
    };
    let blocks: i64 = blocks.parse()?;
    let mut client = Client::connect(masters.split(',').map(str::to_owned).collect()).await?;
    create(&mut client, collection).await?;
    for block in 0..blocks {
        // A block is what one flush publishes; if it is lost it is lost as a whole, and written again.
        while let Err(error) = write(&mut client, collection, block).await {
            match error {
                redkite::Error::Lost(what) => println!("block {block} is written again on {}: {what}", client.node()),
                other => return Err(other.into()),
            }
        }
        println!("block {block} is committed on {}", client.node());
    }
    println!("{} rows", count(&mut client, collection).await?);
    Ok(())
}

/// Inserts the rows of a block and deletes the first one of the block before, as one atom.
async fn write(client: &mut Client, collection: &str, block: i64) -> Result<(), redkite::Error> {
    let keys: Vec<i64> = (block * ROWS..(block + 1) * ROWS).collect();
    let vectors = keys.iter().flat_map(|key| [*key as f32, 1.0, 0.0, 0.0]).collect();
    let vectors = VectorField { dim: DIM, data: Some(Vectors::FloatVector(FloatArray { data: vectors })) };
    let keys = ScalarField { data: Some(Scalars::LongData(LongArray { data: keys })) };
    let column = |name: &str, kind: DataType, field| FieldData {
        field_name: name.to_owned(),
        r#type: kind.into(),
        field: Some(field),
        ..Default::default()
    };
    let insert = InsertRequest {
        collection_name: collection.to_owned(),
        num_rows: ROWS as u32,
        fields_data: vec![
            column("id", DataType::Int64, Field::Scalars(keys)),
            column("vector", DataType::FloatVector, Field::Vectors(vectors)),
        ],
        ..Default::default()
    };
    let delete = DeleteRequest {
        collection_name: collection.to_owned(),
        expr: format!("id == {}", (block - 1) * ROWS),
        ..Default::default()
    };
    client.insert(insert).await?;
    client.delete(delete).await?;
    client.flush().await
}

/// Makes the collection and its index.
async fn create(client: &mut Client, collection: &str) -> Result<(), redkite::Error> {
    let pair = |key: &str, value: &str| KeyValuePair { key: key.to_owned(), value: value.to_owned() };
    let field = |name: &str, kind: DataType| FieldSchema {
        name: name.to_owned(),
        data_type: kind.into(),
        is_primary_key: name == "id",
        type_params: if name == "id" { Vec::new() } else { vec![pair("dim", &DIM.to_string())] },
        ..Default::default()
    };
    let schema = CollectionSchema {
        name: collection.to_owned(),
        fields: vec![field("id", DataType::Int64), field("vector", DataType::FloatVector)],
        ..Default::default()
    };
    let create = CreateCollectionRequest {
        collection_name: collection.to_owned(),
        schema: schema.encode_to_vec().into(),
        ..Default::default()
    };
    let index = CreateIndexRequest {
        collection_name: collection.to_owned(),
        field_name: "vector".to_owned(),
        extra_params: vec![pair("index_type", "AUTOINDEX"), pair("metric_type", "L2")],
        ..Default::default()
    };
    // Sent again they change nothing.
    check(Some(client.read(async |mut rpc, create| rpc.create_collection(create).await, create).await?))?;
    check(Some(client.read(async |mut rpc, index| rpc.create_index(index).await, index).await?))
}

/// Rows that are visible.
async fn count(client: &mut Client, collection: &str) -> Result<i64, Box<dyn Error>> {
    let query = QueryRequest {
        collection_name: collection.to_owned(),
        output_fields: vec!["count(*)".to_owned()],
        ..Default::default()
    };
    let answer = client.read(async |mut rpc, query| rpc.query(query).await, query).await?;
    check(answer.status)?;
    match answer.fields_data.into_iter().next().and_then(|column| column.field) {
        Some(Field::Scalars(ScalarField { data: Some(Scalars::LongData(LongArray { data })) })) if data.len() == 1 => {
            Ok(data[0])
        }
        _ => Err("count(*) answered no number".into()),
    }
}
