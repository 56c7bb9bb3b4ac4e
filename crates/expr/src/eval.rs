//! Evaluation: the typed tree against columns, a whole column at a time.
//!
//! Every node yields a [`Mask`], two bitmaps; the logical operators combine bitmaps. Within one evaluation every column
//! is asked for once and every JSON text is parsed once, whatever number of nodes look at it.

mod array;
mod field;
mod json;
mod mask;
mod operand;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;
use redkite_types::FieldId;

use crate::columns::{Columns, checked_column};
use crate::error::Result;
use crate::json_path::PathTree;
use crate::node::Node;
use json::JsonColumn;
use mask::Mask;

/// The rows for which the condition is true.
pub(crate) fn selected(root: &Node, columns: &dyn Columns) -> Result<BooleanBuffer> {
    let mut evaluation = Evaluation::new(root, columns);
    let Node::And(operands) = root else {
        return evaluation.node(root).map(|mask| mask.yes);
    };
    // Only true rows count at the top, so once none is left the other operands need not be looked at.
    let mut selected = BooleanBuffer::new_set(columns.rows());
    for operand in operands {
        selected = &selected & &evaluation.node(operand)?.yes;
        if !selected.has_true() {
            break;
        }
    }
    Ok(selected)
}

/// What one evaluation has read so far.
struct Evaluation<'a> {
    columns: &'a dyn Columns,
    loaded: HashMap<FieldId, ArrayRef>,
    /// The paths that the tree wants from each JSON field.
    paths: HashMap<FieldId, PathTree>,
    parsed: HashMap<FieldId, JsonColumn>,
}

impl<'a> Evaluation<'a> {
    fn new(root: &Node, columns: &'a dyn Columns) -> Self {
        let mut paths: HashMap<FieldId, PathTree> = HashMap::new();
        root.visit_paths(&mut |field, path| paths.entry(field).or_default().add(path));
        Self { columns, loaded: HashMap::new(), paths, parsed: HashMap::new() }
    }

    fn rows(&self) -> usize {
        self.columns.rows()
    }

    fn column(&mut self, field: FieldId) -> Result<ArrayRef> {
        if let Some(column) = self.loaded.get(&field) {
            return Ok(column.clone());
        }
        let column = checked_column(self.columns, field)?;
        self.loaded.insert(field, column.clone());
        Ok(column)
    }

    /// The parsed values of a JSON field at all paths that the tree wants.
    fn json(&mut self, field: FieldId) -> Result<&JsonColumn> {
        // Looked at before the entry is taken, which borrows the map; a clone of a column is a pointer.
        let column = self.column(field)?;
        Ok(match self.parsed.entry(field) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let paths = self.paths.remove(&field).unwrap_or_default();
                entry.insert(JsonColumn::parse(field, &column, paths)?)
            }
        })
    }

    /// On the stack once a level of the tree; what does not recurse is in `leaf`.
    fn node(&mut self, node: &Node) -> Result<Mask> {
        match node {
            Node::And(operands) => self.all(operands),
            Node::Or(operands) => self.any(operands),
            Node::Not(inner) => self.node(inner).map(|mask| mask.not()),
            leaf => self.leaf(leaf),
        }
    }

    fn all(&mut self, operands: &[Node]) -> Result<Mask> {
        let mut mask = Mask::constant(true, self.rows());
        for operand in operands {
            mask = mask.and(&self.node(operand)?);
        }
        Ok(mask)
    }

    fn any(&mut self, operands: &[Node]) -> Result<Mask> {
        let mut mask = Mask::constant(false, self.rows());
        for operand in operands {
            mask = mask.or(&self.node(operand)?);
        }
        Ok(mask)
    }

    fn leaf(&mut self, node: &Node) -> Result<Mask> {
        let rows = self.rows();
        match node {
            Node::IsNull(field) => {
                let nulls = self.column(*field)?.logical_nulls();
                Ok(Mask::known(nulls.map_or_else(|| BooleanBuffer::new_unset(rows), |nulls| !nulls.inner())))
            }
            Node::Exists(field, path) => Ok(self.json(*field)?.exists(path)),
            Node::Test(operand, test) => {
                let values = self.operand(operand)?;
                field::test(operand.field, &values, test)
            }
            Node::Fields(left, comparison, right) => {
                let (left_values, right_values) = (self.operand(left)?, self.operand(right)?);
                field::compare((left.field, &left_values), *comparison, (right.field, &right_values))
            }
            Node::Json(operand, test) => Ok(self.json(operand.field)?.test(operand, test)),
            Node::Constant(value) => Ok(Mask::constant(*value, rows)),
            // Only these three have conditions inside them.
            Node::And(_) | Node::Or(_) | Node::Not(_) => self.node(node),
        }
    }
}
