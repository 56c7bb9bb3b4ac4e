//! What writes mean, on plain data: the model that the engine is checked against.

use redkite_types::Keys;

/// A row: its key, and a number that tells rows of one key apart.
pub type Row = (i64, i64);

/// One write into one collection.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Adds rows.
    Insert(Vec<Row>),
    /// Replaces rows of the same keys.
    Upsert(Vec<Row>),
    /// Removes rows by key.
    DeleteKeys(Vec<i64>),
    /// Removes rows whose tag lies in `low..high`.
    DeleteTags(i64, i64),
}

impl Write {
    /// The filter of a delete.
    pub fn filter(&self) -> String {
        match self {
            Write::DeleteKeys(keys) => format!("id in {keys:?}"),
            Write::DeleteTags(low, high) => format!("tag >= {low} and tag < {high}"),
            Write::Insert(_) | Write::Upsert(_) => String::new(),
        }
    }
}

/// The rows of a collection, in no order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plain(pub Vec<Row>);

impl Plain {
    /// The rows after one more write.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Insert(rows) => self.0.extend(rows),
            Write::Upsert(rows) => {
                self.0.retain(|(key, _)| rows.iter().all(|(upserted, _)| upserted != key));
                self.0.extend(rows);
            }
            Write::DeleteKeys(keys) => self.0.retain(|(key, _)| !keys.contains(key)),
            Write::DeleteTags(low, high) => self.0.retain(|(_, tag)| !(*low..*high).contains(tag)),
        }
    }

    /// The rows in order.
    pub fn sorted(&self) -> Vec<Row> {
        let mut rows = self.0.clone();
        rows.sort_unstable();
        rows
    }
}

/// The keys of rows.
#[allow(dead_code, reason = "not every test binary that includes this file needs it")]
pub fn keys_of(rows: &[Row]) -> Keys {
    Keys::Int(rows.iter().map(|(key, _)| *key).collect())
}
