//! Distance metrics and their score conventions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How two vectors are compared. Scores follow Milvus's conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Metric {
    /// Squared Euclidean distance, no square root; smaller is better.
    L2,
    /// Inner product; larger is better.
    Ip,
    /// Cosine of the angle, in [-1, 1]; larger is better. 0 where either vector is all zero.
    Cosine,
    /// Number of differing bits; smaller is better. Binary vectors only.
    Hamming,
    /// 1 - |a and b| / |a or b|, in [0, 1]; smaller is better. Two all-zero vectors: 0. Binary vectors only.
    Jaccard,
}

impl Metric {
    /// Whether a larger score is a better hit.
    pub fn larger_is_better(self) -> bool {
        matches!(self, Metric::Ip | Metric::Cosine)
    }

    /// Whether the metric compares binary vectors (the others compare numbers).
    pub fn is_binary(self) -> bool {
        matches!(self, Metric::Hamming | Metric::Jaccard)
    }

    /// The name on the wire and in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "L2",
            Metric::Ip => "IP",
            Metric::Cosine => "COSINE",
            Metric::Hamming => "HAMMING",
            Metric::Jaccard => "JACCARD",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    /// Case-insensitive.
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Metric::L2, Metric::Ip, Metric::Cosine, Metric::Hamming, Metric::Jaccard];
        all.into_iter()
            .find(|metric| metric.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("metric type {text:?} is not supported, use L2, IP, COSINE, HAMMING or JACCARD"))
    }
}
