//! Who sends a request, from its connection and headers.

use redkite_ingest::{ClientId, ConnectionId, FlushRequest};
use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::server::ConnectionInfo;
use crate::status::{WireResult, invalid_parameter};

/// Header with the client's name for a flush; any bytes as `redkite-flush-id-bin`.
const FLUSH_ID: &str = "redkite-flush-id";
/// The same for names that are not text.
const FLUSH_ID_BINARY: &str = "redkite-flush-id-bin";
/// Header with the number of operations the client had acknowledged since its last flush.
const BLOCK_OPS: &str = "redkite-block-ops";

/// The client: its connection, and what `Connect` told it.
pub(super) fn client_of<T>(request: &Request<T>) -> ClientId {
    // A request without connection can only come from a test that calls handlers directly.
    let connection = request.extensions().get::<ConnectionInfo>().map_or(0, |info| info.id.0);
    let identifier = text(request.metadata(), "identifier").and_then(|text| text.parse().ok()).unwrap_or(0);
    ClientId { connection: ConnectionId(connection), identifier }
}

fn text<'m>(metadata: &'m MetadataMap, key: &str) -> Option<&'m str> {
    metadata.get(key).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

/// The client's name for a flush; an empty one is none.
pub(super) fn flush_name(metadata: &MetadataMap) -> WireResult<Option<Vec<u8>>> {
    let binary = match metadata.get_bin(FLUSH_ID_BINARY) {
        None => None,
        Some(value) => {
            Some(value.to_bytes().map_err(|_| invalid_parameter(format!("{FLUSH_ID_BINARY} is not base64")))?.to_vec())
        }
    };
    let text = metadata.get(FLUSH_ID).map(|value| value.as_bytes().to_vec());
    Ok(binary.into_iter().chain(text).find(|name| !name.is_empty()))
}

/// What the headers ask of a flush.
pub(super) fn flush_request(metadata: &MetadataMap) -> WireResult<FlushRequest> {
    let block_ops = match metadata.get(BLOCK_OPS) {
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(number.ok_or_else(|| invalid_parameter(format!("{BLOCK_OPS} should be a whole number")))?)
        }
    };
    Ok(FlushRequest { name: flush_name(metadata)?, block_ops })
}

#[cfg(test)]
mod tests {
    use tonic::metadata::{MetadataKey, MetadataValue};

    use super::*;

    fn name(text: Option<&'static str>, binary: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut metadata = MetadataMap::new();
        if let Some(text) = text {
            metadata.insert(FLUSH_ID, MetadataValue::from_static(text));
        }
        if let Some(binary) = binary {
            metadata.insert_bin(MetadataKey::from_static(FLUSH_ID_BINARY), MetadataValue::from_bytes(binary));
        }
        flush_name(&metadata).unwrap()
    }

    #[test]
    fn s37_an_empty_name_is_no_name() {
        assert_eq!(name(None, None), None);
        assert_eq!(name(Some(""), Some(b"")), None);
        assert_eq!(name(Some("a"), Some(b"")), Some(b"a".to_vec()));
        assert_eq!(name(Some("a"), None), Some(b"a".to_vec()));
        assert_eq!(name(Some("a"), Some(b"\0\xff")), Some(b"\0\xff".to_vec()));
    }
}
