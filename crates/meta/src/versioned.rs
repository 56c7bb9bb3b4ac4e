//! Stored JSON with a format number: what is newer than the program is known as such before anything else of it is looked at.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why stored JSON cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// A newer version wrote it.
    #[error("it has format {found}, this version knows {supported}")]
    Newer {
        /// What it has.
        found: u32,
        /// The newest that is known.
        supported: u32,
    },
}

/// Reads an object that has a `format` of at most `supported`.
pub fn decode<T: DeserializeOwned>(value: &[u8], supported: u32) -> Result<T, Unusable> {
    /// All that may be relied on in a newer format.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: serde_json::Error| Unusable::Damaged(error.to_string());
    let Format { format: found } = serde_json::from_slice(value).map_err(damaged)?;
    if found > supported {
        return Err(Unusable::Newer { found, supported });
    }
    serde_json::from_slice(value).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Thing {
        name: String,
    }

    #[test]
    fn the_format_decides_before_anything_else() {
        let decode = |text: &str| decode::<Thing>(text.as_bytes(), 2);
        assert_eq!(decode(r#"{"format":2,"name":"a"}"#), Ok(Thing { name: "a".to_owned() }));
        assert_eq!(decode(r#"{"format":3,"name":7}"#), Err(Unusable::Newer { found: 3, supported: 2 }));
        for damaged in ["", "{}", r#"{"name":"a"}"#, r#"{"format":1}"#, r#"{"format":-1,"name":"a"}"#, "[]"] {
            assert!(matches!(decode(damaged), Err(Unusable::Damaged(_))), "{damaged}");
        }
    }
}
