//! Values inside JSON texts: each text is read once, whatever number of paths is wanted from it.
//!
//! The wanted paths of one field form a tree of keys and indexes. Reading a text follows that tree and skips everything
//! else unparsed. A text that is not JSON, or nested deeper than the parser allows, has none of the values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::ast::PathStep;

/// The paths wanted from one field.
#[derive(Debug, Default)]
pub(crate) struct PathTree {
    /// The number of each path.
    paths: HashMap<Vec<PathStep>, usize>,
    root: Node,
}

/// A place in a JSON value.
#[derive(Debug, Default)]
struct Node {
    /// The path that ends here.
    wanted: Option<usize>,
    keys: HashMap<String, Node>,
    indexes: BTreeMap<usize, Node>,
}

impl PathTree {
    /// Adds a path; the same path again changes nothing.
    pub fn add(&mut self, path: &[PathStep]) {
        if self.paths.contains_key(path) {
            return;
        }
        let mut node = &mut self.root;
        for step in path {
            node = match step {
                PathStep::Key(key) => node.keys.entry(key.clone()).or_default(),
                PathStep::Index(index) => node.indexes.entry(*index).or_default(),
            };
        }
        node.wanted = Some(self.paths.len());
        self.paths.insert(path.to_vec(), self.paths.len());
    }

    /// The number of a path that was added: its place in what `extract` returns.
    pub fn position(&self, path: &[PathStep]) -> Option<usize> {
        self.paths.get(path).copied()
    }

    /// Number of distinct paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Reads one text: the value at each path, none where there is nothing. `values` is as long as there are paths.
    pub fn extract(&self, text: &str, values: &mut [Option<Value>]) {
        values.fill(None);
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = Seed { node: &self.root, values: &mut *values }.deserialize(&mut reader);
        if read.and_then(|()| reader.end()).is_err() {
            values.fill(None);
        }
    }
}

impl Node {
    /// Forgets what was found here and below: of a key given twice the last one counts.
    fn clear(&self, values: &mut [Option<Value>]) {
        if let Some(at) = self.wanted {
            values[at] = None;
        }
        self.keys.values().chain(self.indexes.values()).for_each(|child| child.clear(values));
    }

    /// Takes what is wanted out of a value that is parsed already.
    fn pick(&self, value: &Value, values: &mut [Option<Value>]) {
        for (key, child) in &self.keys {
            if let Some(inner) = value.as_object().and_then(|object| object.get(key)) {
                child.pick(inner, values);
            }
        }
        for (index, child) in &self.indexes {
            if let Some(inner) = value.as_array().and_then(|array| array.get(*index)) {
                child.pick(inner, values);
            }
        }
        if let Some(at) = self.wanted {
            values[at] = Some(value.clone());
        }
    }
}

/// Reads the value at one place of the tree.
struct Seed<'a> {
    node: &'a Node,
    values: &'a mut [Option<Value>],
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node.wanted {
            Some(at) if self.node.keys.is_empty() && self.node.indexes.is_empty() => {
                self.values[at] = Some(serde::Deserialize::deserialize(deserializer)?);
            }
            Some(_) => {
                let value: Value = serde::Deserialize::deserialize(deserializer)?;
                self.node.pick(&value, self.values);
            }
            None => deserializer.deserialize_any(self)?,
        }
        Ok(())
    }
}

/// Walks through a value of which only parts are wanted.
impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match self.node.keys.get(&*key) {
                Some(node) => {
                    node.clear(self.values);
                    map.next_value_seed(Seed { node, values: self.values })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let more = match self.node.indexes.get(&index) {
                Some(node) => seq.next_element_seed(Seed { node, values: self.values })?,
                None => seq.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
