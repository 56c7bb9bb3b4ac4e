//! Settings of the data store.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Result};

/// Keys of S3, where they shall not come from the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// As `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// As `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3Credentials({}, secret)", self.access_key_id)
    }
}

/// Settings of a [`super::DataStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOptions {
    /// `file:///absolute/path`, a plain path, `memory://` or `s3://bucket/prefix`.
    pub url: String,
    /// Address of an S3 server other than Amazon's; `http://` implies plain HTTP. Buckets are addressed by path.
    pub endpoint: Option<String>,
    /// Region of S3; else the environment's, else us-east-1.
    pub region: Option<String>,
    /// None: from the usual `AWS_` environment variables or the instance's role.
    pub credentials: Option<S3Credentials>,
    /// Where copies of remote files are kept; one process only. Required for a remote url.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes the cache keeps on disk.
    pub cache_bytes_max: u64,
    /// Whether copies are kept of what was just put, too; they are made in the background, so they may come late.
    pub keep_puts: bool,
    /// Longest a single request may take, its body included; large files go in several requests.
    pub request_timeout: Duration,
    /// Longest a connection may take to be made.
    pub connect_timeout: Duration,
    /// For how long a failed request is tried again before the operation fails.
    pub retry_timeout: Duration,
    /// How many times at most.
    pub retries_max: usize,
}

impl StorageOptions {
    /// The defaults for the store at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            credentials: None,
            cache_dir: None,
            cache_bytes_max: 10 << 30,
            keep_puts: true,
            request_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(3),
            retry_timeout: Duration::from_secs(10),
            retries_max: 10,
        }
    }

    /// Checks everything that can be checked without IO.
    pub fn validate(&self) -> Result<()> {
        self.location().map(drop)
    }

    pub(super) fn location(&self) -> Result<Location> {
        let bad = |reason: &str| {
            let reason = reason.to_owned();
            Err(Error::InvalidOption { option: "storage.url", value: self.url.clone(), reason })
        };
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return match self.url.is_empty() {
                true => bad("want a path, file:///path, memory:// or s3://bucket/prefix"),
                false => Ok(Location::Local(PathBuf::from(&self.url))),
            };
        };
        match scheme {
            "file" if rest.starts_with('/') => Ok(Location::Local(PathBuf::from(rest))),
            "file" => bad("want file:// and an absolute path, such as file:///var/lib/redkite"),
            "memory" if rest.is_empty() => Ok(Location::Memory),
            "memory" => bad("want memory:// alone"),
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = prefix.trim_end_matches('/');
                if bucket.is_empty() || (!prefix.is_empty() && super::path::check(prefix).is_err()) {
                    return bad("want s3://bucket or s3://bucket/prefix");
                }
                Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            _ => bad("this build knows file://, memory:// and s3://"),
        }
    }
}

/// What a storage url names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Local(PathBuf),
    Memory,
    S3 { bucket: String, prefix: String },
}

#[cfg(test)]
mod tests;
