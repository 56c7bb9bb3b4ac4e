//! Connecting, health, versions, databases.

use super::{Call, DEFAULT_DATABASE, Shared};
use crate::proto::common::ServerInfo;
use crate::proto::milvus as wire;
use crate::status::WireResult;

/// The version of Milvus whose behaviour clients may expect.
const MILVUS_VERSION: &str = "2.6.6";

pub(super) async fn connect(shared: &Shared, call: Call<wire::ConnectRequest>) -> WireResult<wire::ConnectResponse> {
    shared.check_database(&call.metadata, "")?;
    let server_info = ServerInfo {
        build_tags: MILVUS_VERSION.to_owned(),
        git_commit: concat!("redkite ", env!("CARGO_PKG_VERSION")).to_owned(),
        deploy_mode: "STANDALONE".to_owned(),
        ..ServerInfo::default()
    };
    let identifier = shared.ingest.new_identifier(call.client.connection);
    Ok(wire::ConnectResponse { server_info: Some(server_info), identifier, ..Default::default() })
}

pub(super) async fn get_version(_: &Shared, _: Call<wire::GetVersionRequest>) -> WireResult<wire::GetVersionResponse> {
    Ok(wire::GetVersionResponse { version: format!("v{MILVUS_VERSION}"), ..Default::default() })
}

pub(super) async fn check_health(
    shared: &Shared,
    _: Call<wire::CheckHealthRequest>,
) -> WireResult<wire::CheckHealthResponse> {
    let reasons: Vec<String> = match shared.database.snapshot(redkite_table::Visibility::Strong).await {
        Ok(_) => Vec::new(),
        Err(error) => vec![error.to_string()],
    };
    Ok(wire::CheckHealthResponse { is_healthy: reasons.is_empty(), reasons, ..Default::default() })
}

pub(super) async fn alloc_timestamp(
    shared: &Shared,
    _: Call<wire::AllocTimestampRequest>,
) -> WireResult<wire::AllocTimestampResponse> {
    Ok(wire::AllocTimestampResponse { timestamp: shared.timestamps.next(), ..Default::default() })
}

pub(super) async fn list_databases(
    _: &Shared,
    _: Call<wire::ListDatabasesRequest>,
) -> WireResult<wire::ListDatabasesResponse> {
    Ok(wire::ListDatabasesResponse {
        db_names: vec![DEFAULT_DATABASE.to_owned()],
        created_timestamp: vec![0],
        db_ids: vec![1],
        ..Default::default()
    })
}

pub(super) async fn describe_database(
    shared: &Shared,
    call: Call<wire::DescribeDatabaseRequest>,
) -> WireResult<wire::DescribeDatabaseResponse> {
    shared.check_database(&call.metadata, &call.message.db_name)?;
    Ok(wire::DescribeDatabaseResponse { db_name: DEFAULT_DATABASE.to_owned(), db_id: 1, ..Default::default() })
}
