//! The S3 client.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::options::StorageOptions;
use crate::{Error, Result};

/// Longest pause before a request is tried again; short, since the whole patience is about ten seconds.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A client for `bucket`. Credentials come from the options, else from the `AWS_` environment variables.
pub(super) fn build(bucket: &str, options: &StorageOptions) -> Result<AmazonS3> {
    let client = ClientOptions::new()
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.connect_timeout)
        .with_user_agent(http::HeaderValue::from_static("redkite"));
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: BACKOFF_MAX, ..BackoffConfig::default() },
        max_retries: options.retries_max,
        retry_timeout: options.retry_timeout,
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(client)
        .with_retry(retry)
        .with_virtual_hosted_style_request(false);
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(keys) = &options.credentials {
        builder = builder.with_access_key_id(&keys.access_key_id).with_secret_access_key(&keys.secret_access_key);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    builder.build().map_err(|error| Error::InvalidOption {
        option: "storage.url",
        value: options.url.clone(),
        reason: error.to_string(),
    })
}
