//! The S3 server the test command started, told to the tests through the environment.

use anyhow::{Context as _, Result, bail};

/// An S3 endpoint with a bucket and credentials limited to it.
#[derive(Debug, Clone)]
pub struct S3 {
    /// `http://127.0.0.1:<port>`; path-style requests.
    pub endpoint: String,
    /// A bucket that exists.
    pub bucket: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
}

impl S3 {
    /// The server of this test run, or none when the tests were started without one (plain `cargo test`).
    ///
    /// Reads `REDKITE_TEST_S3_ENDPOINT`, `_BUCKET`, `_ACCESS_KEY` and `_SECRET_KEY`; an endpoint without the others is an
    /// error. `cargo xtask test` sets all four, and sets `REDKITE_TEST_REQUIRE=1`, under which a missing endpoint is an
    /// error too: what was meant to be tested is never skipped silently.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_lookup(|name| std::env::var(format!("REDKITE_TEST_{name}")).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let Some(endpoint) = lookup("S3_ENDPOINT") else {
            if lookup("REQUIRE").is_some_and(|value| value == "1") {
                bail!("REDKITE_TEST_REQUIRE is set and REDKITE_TEST_S3_ENDPOINT is not");
            }
            return Ok(None);
        };
        let need = |name: &str| lookup(name).with_context(|| format!("REDKITE_TEST_{name} is not set"));
        Ok(Some(Self {
            endpoint,
            bucket: need("S3_BUCKET")?,
            access_key: need("S3_ACCESS_KEY")?,
            secret_key: need("S3_SECRET_KEY")?,
        }))
    }

    /// The `AWS_*` variables a child process needs for this server.
    pub fn aws_env(&self) -> [(&'static str, String); 3] {
        [
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::S3;

    #[test]
    fn all_variables_or_none() {
        let from = |set: &[&str]| S3::from_lookup(|name| set.contains(&name).then(|| "1".to_owned()));
        assert!(from(&[]).unwrap().is_none());
        assert!(from(&["S3_ENDPOINT", "S3_BUCKET", "S3_ACCESS_KEY", "S3_SECRET_KEY"]).unwrap().is_some());
        assert!(from(&["S3_ENDPOINT"]).is_err());
        assert!(from(&["REQUIRE"]).is_err());
    }
}
