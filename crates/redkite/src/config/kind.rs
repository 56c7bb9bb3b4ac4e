//! What a value may be, how it is read from text, and what is said when it is something else.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use redkite_storage::StorageOptions;
use redkite_types::{ClusterId, UserName};
use toml::Value;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Bits before the IPv4 address in an IPv6 address that stands for one.
const MAPPED_PREFIX: u8 = 96;

/// The number of a node that its host's name tells.
pub const AUTO: &str = "auto";

/// The kind of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number from 0 to 1.
    Share,
    /// Bytes: a number, or one with the unit K, M, G or T (powers of 1024).
    Size {
        /// The least, in bytes.
        min: u64,
    },
    /// A time span with its unit.
    Duration,
    /// Any text.
    Text,
    /// Any text, never printed.
    Secret,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// `host:port`.
    Address {
        /// Whether it may be empty, which means off.
        optional: bool,
    },
    /// A list of `http://` or `https://` addresses.
    Endpoints,
    /// The number of a node, or `auto`.
    Node,
    /// A list of networks, each an address with the length of its prefix, or one address.
    Networks,
    /// Text with a rule of its own; the error says what would be valid.
    Checked(fn(&str) -> Result<(), String>),
}

/// A value that passed the check of its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// As it was given, for people and files: `"16M"`.
    pub shown: Value,
    /// As the program uses it: 16777216; spans in milliseconds.
    pub plain: Value,
}

impl Kind {
    /// A value given as text: in TOML syntax, or bare where that says the same.
    pub fn read_text(&self, text: &str) -> Value {
        let parsed = toml_value(text);
        match (self, parsed) {
            (Kind::Bool | Kind::Integer { .. } | Kind::Share | Kind::Node, Some(value)) => value,
            (Kind::Endpoints | Kind::Networks, Some(value @ Value::Array(_))) => value,
            (Kind::Endpoints | Kind::Networks, _) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            (_, Some(value @ Value::String(_))) => value,
            _ => Value::String(text.to_owned()),
        }
    }

    /// Checks a value; the error says what would be valid.
    pub fn check(&self, value: Value) -> Result<Reading, String> {
        let wanted = || self.wanted();
        let plain = match (self, &value) {
            (Kind::Bool, Value::Boolean(_)) => value.clone(),
            (Kind::Integer { min, max }, Value::Integer(number)) if (min..=max).contains(&number) => value.clone(),
            (Kind::Share, Value::Float(share)) if (0.0..=1.0).contains(share) => value.clone(),
            (Kind::Share, Value::Integer(share @ 0..=1)) => Value::Float(*share as f64),
            (Kind::Size { min }, _) => {
                let bytes = size_bytes(&value).filter(|bytes| bytes >= min).ok_or_else(wanted)?;
                Value::Integer(i64::try_from(bytes).map_err(|_| wanted())?)
            }
            (Kind::Duration, Value::String(text)) => {
                let span = humantime::parse_duration(text).map_err(|_| wanted())?;
                Value::Integer(i64::try_from(span.as_millis()).map_err(|_| wanted())?)
            }
            (Kind::Text | Kind::Secret, Value::String(_)) => value.clone(),
            (Kind::OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => value.clone(),
            (Kind::Address { optional }, Value::String(text)) if (*optional && text.is_empty()) || is_address(text) => {
                value.clone()
            }
            (Kind::Node, Value::String(text)) if text == AUTO => value.clone(),
            (Kind::Node, Value::Integer(number)) if u32::try_from(*number).is_ok() => Value::String(number.to_string()),
            (Kind::Networks, Value::Array(parts)) => {
                let network = |part: &Value| part.as_str().and_then(network).ok_or_else(wanted);
                let networks: Vec<IpNet> = parts.iter().map(network).collect::<Result<_, _>>()?;
                Value::Array(networks.iter().map(|network| Value::String(network.to_string())).collect())
            }
            (Kind::Endpoints, Value::Array(parts)) if parts.iter().all(is_endpoint) => value.clone(),
            (Kind::Checked(check), Value::String(text)) => check(text).map(|()| value.clone())?,
            _ => return Err(wanted()),
        };
        Ok(Reading { shown: value, plain })
    }

    /// What would be valid.
    fn wanted(&self) -> String {
        match self {
            Kind::Bool => "want true or false".to_owned(),
            Kind::Integer { min, max } => format!("want a whole number from {min} to {max}"),
            Kind::Share => "want a number from 0 to 1 such as 0.6".to_owned(),
            Kind::Size { min: 0 | 1 } => "want a size such as \"16M\", \"2G\" or a number of bytes".to_owned(),
            Kind::Size { min } => format!("want a size such as \"16M\" or \"2G\", at least {}", size_text(*min)),
            Kind::Duration => "want a time span with its unit such as \"30s\", \"5m\" or \"1h\"".to_owned(),
            Kind::Text | Kind::Secret | Kind::Checked(_) => "want text".to_owned(),
            Kind::OneOf(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("want {}", words.join(" or "))
            }
            Kind::Address { optional: false } => "want an address and a port such as \"127.0.0.1:19530\"".to_owned(),
            Kind::Address { optional: true } => {
                "want an address and a port such as \"127.0.0.1:9091\", or \"\" for none".to_owned()
            }
            Kind::Node => format!("want a number from 0 to {}, or \"{AUTO}\" for that in the host's name", u32::MAX),
            Kind::Networks => "want a list such as [\"10.0.0.0/8\", \"192.168.1.7\", \"fd00::/8\"]".to_owned(),
            Kind::Endpoints => "want a list such as [\"http://127.0.0.1:2379\"]".to_owned(),
        }
    }
}

/// One value in TOML syntax, if `text` is that and nothing more.
fn toml_value(text: &str) -> Option<Value> {
    let mut table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    let value = table.remove("value")?;
    table.is_empty().then_some(value)
}

fn size_bytes(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::String(text) => parse_size(text),
        _ => None,
    }
}

/// `16M`, `16MB`, `16MiB`, `16m` and `16777216` are the same.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The shortest way to write a size exactly.
pub fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains([':', '/', ' '])) && port.parse::<u16>().is_ok()
    })
}

/// `10.0.0.0/8`, or `10.0.0.7` for one address. An IPv4 network written as one of IPv6 is the IPv4 network: so are the
/// addresses that it is compared with.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    let IpNet::V6(v6) = network else { return Some(network.trunc()) };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_PREFIX));
    match v4 {
        Some((address, prefix)) => Ipv4Net::new(address, prefix).ok().map(|network| IpNet::V4(network.trunc())),
        None => Some(network.trunc()),
    }
}

fn is_endpoint(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).is_some_and(|rest| !rest.is_empty())
    })
}

/// The rule of `user`.
pub fn user_name(text: &str) -> Result<(), String> {
    UserName::new(text).map(drop).map_err(|error| error.reason.to_owned())
}

/// The rule of `cluster_id`.
pub fn cluster_id(text: &str) -> Result<(), String> {
    ClusterId::new(text).map(drop).map_err(|error| error.reason.to_owned())
}

/// The rule of `log`: levels, and targets with their level. `EnvFilter` takes a word alone for a target, of which everything
/// is logged and of all others nothing; far more often it is a misspelt level, and an empty log is noticed too late.
pub fn log_filter(text: &str) -> Result<(), String> {
    const WANTED: &str = "want a log filter such as \"info\" or \"warn,redkite_table=debug\"";
    EnvFilter::try_new(text).map_err(|error| format!("{WANTED}: {error}"))?;
    let has_level = |part: &&str| part.is_empty() || part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok();
    match text.split(',').map(str::trim).find(|part| !has_level(part)) {
        Some(word) => Err(format!("{WANTED}: {word:?} is none of off, error, warn, info, debug and trace")),
        None => Ok(()),
    }
}

/// The rule of `master_address`.
pub fn addresses(text: &str) -> Result<(), String> {
    if text.is_empty() || text.split(',').all(|address| is_address(address.trim())) {
        return Ok(());
    }
    Err("want addresses with ports such as \"master-1:19530,master-2:19530\", or \"\" for none".to_owned())
}

/// The rule of `data_dir`.
pub fn directory(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("want the path of a directory".to_owned()) } else { Ok(()) }
}

/// The rule of `storage.url`.
pub fn storage_url(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        _ => StorageOptions::new(text).validate().map_err(|error| match error {
            redkite_storage::Error::InvalidOption { reason, .. } => reason,
            other => other.to_string(),
        }),
    }
}

/// The rule of `storage.endpoint`.
pub fn http_url(text: &str) -> Result<(), String> {
    if text.is_empty() || is_endpoint(&Value::String(text.to_owned())) {
        return Ok(());
    }
    Err("want a url such as \"http://127.0.0.1:8333\", or \"\" for Amazon S3".to_owned())
}

#[cfg(test)]
mod tests;
