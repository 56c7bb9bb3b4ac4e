//! The dynamic field cut down to the keys that were asked for.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The object `text` with only `keys`, values byte for byte as stored. Stored values were checked when they came in;
/// should one be no object all the same, it is shown whole rather than hidden.
pub(super) fn only_keys(text: &str, keys: &[String]) -> String {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Cut { keys }).unwrap_or_else(|_| text.to_owned())
}

struct Cut<'a> {
    keys: &'a [String],
}

impl<'de> Visitor<'de> for Cut<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut cut = String::from("{");
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if !self.keys.iter().any(|wanted| *wanted == key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            if cut.len() > 1 {
                cut.push(',');
            }
            cut.push_str(&serde_json::to_string(&key).map_err(serde::de::Error::custom)?);
            cut.push(':');
            cut.push_str(value.get());
        }
        cut.push('}');
        Ok(cut)
    }
}
