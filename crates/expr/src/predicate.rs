//! The public face: a filter that was parsed and checked against a schema.

use std::sync::Arc;

use arrow_buffer::BooleanBuffer;
use redkite_types::{DataType, Field, FieldId, Keys, Schema};

use crate::columns::Columns;
use crate::constant::Templates;
use crate::error::{ExprError, Result, mistyped};
use crate::limits::Limits;
use crate::node::{Access, Base, Node, Operand};
use crate::portable::{Portable, Written};
use crate::{check, eval, keys, parser};

/// A condition on rows. Cheap to clone, free of references, good for any number of evaluations on any thread.
#[derive(Debug, Clone)]
pub struct Predicate {
    root: Arc<Node>,
    fields: Arc<[FieldId]>,
    exact_keys: Option<Arc<Keys>>,
    candidate_keys: Option<Arc<Keys>>,
    written: Option<Arc<Written>>,
}

/// Parses a filter within the default [`Limits`] and checks it against a schema. A blank text selects every row.
pub fn parse(text: &str, templates: &Templates, schema: &Schema) -> Result<Predicate> {
    parse_with_limits(text, templates, schema, &Limits::default())
}

/// As [`parse`], with other limits. A `depth_max` far above the default can exhaust the stack.
pub fn parse_with_limits(text: &str, templates: &Templates, schema: &Schema, limits: &Limits) -> Result<Predicate> {
    if text.trim().is_empty() {
        return Ok(Predicate::always_true());
    }
    let expr = parser::parse(text, templates, limits)?;
    let root = check::check(expr, schema, text)?;
    Ok(Predicate::new(root, schema))
}

impl Predicate {
    fn new(root: Node, schema: &Schema) -> Self {
        let mut fields = Vec::new();
        let mut seen = std::collections::HashSet::new();
        root.visit_fields(&mut |field| {
            if seen.insert(field) {
                fields.push(field);
            }
        });
        let key = schema.primary_key().and_then(|field| Some((field.id, no_keys(field)?)));
        let exact_keys = key.as_ref().and_then(|(id, none)| keys::exact(&root, *id, none)).map(Arc::new);
        let candidate_keys = match (&exact_keys, &key) {
            (Some(exact), _) => Some(exact.clone()),
            (None, Some((id, none))) => keys::candidates(&root, *id, none).map(Arc::new),
            (None, None) => None,
        };
        Self { root: Arc::new(root), fields: fields.into(), exact_keys, candidate_keys, written: None }
    }

    /// The same, with what it was parsed from, so that it can be sent to others.
    #[must_use]
    pub fn written_as(self, text: String, templates: Templates) -> Self {
        Self { written: Some(Arc::new(Written { text, templates })), ..self }
    }

    /// What another process makes the same predicate of; none if it was parsed and nobody told from what
    /// ([`Predicate::written_as`]).
    pub fn portable(&self) -> Option<Portable> {
        if self.is_always_true() {
            return Some(Portable::All);
        }
        match (&self.exact_keys, &self.written) {
            (Some(keys), _) => Some(Portable::Keys(keys.clone())),
            (None, Some(written)) => Some(Portable::Written(written.clone())),
            (None, None) => None,
        }
    }

    /// The predicate that selects every row.
    pub fn always_true() -> Self {
        let root = Arc::new(Node::Constant(true));
        Self { root, fields: Arc::new([]), exact_keys: None, candidate_keys: None, written: None }
    }

    /// The predicate that the primary key is one of these. Fails if the schema's primary key is of the other type.
    pub fn from_keys(schema: &Schema, keys: Keys) -> Result<Self> {
        let Some(field) = schema.primary_key() else {
            return mistyped("the schema has no primary key");
        };
        let base = match (&keys, field.data_type) {
            (Keys::Int(_), DataType::Int64) => Base::Int,
            (Keys::Text(_), DataType::VarChar { .. }) => Base::Text,
            (Keys::Int(_), _) => {
                return mistyped(format!("integer keys for primary key {} of type VarChar", field.name));
            }
            (Keys::Text(_), _) => return mistyped(format!("text keys for primary key {} of type Int64", field.name)),
        };
        let operand = Operand { field: field.id, access: Access::Whole, base, steps: Vec::new() };
        Ok(Self::new(Node::Test(operand, keys::test(keys)), schema))
    }

    /// Whether the predicate selects every row whatever is in it: the filter was blank, or its constants amount to true.
    /// A delete by such a filter is to be refused.
    pub fn is_always_true(&self) -> bool {
        matches!(*self.root, Node::Constant(true))
    }

    /// Whether the filter's constants amount to false, so that no row is selected.
    pub fn is_always_false(&self) -> bool {
        matches!(*self.root, Node::Constant(false))
    }

    /// The fields whose columns evaluation may ask for, each once.
    pub fn fields(&self) -> &[FieldId] {
        &self.fields
    }

    /// The keys of exactly the rows selected, ascending, each once: the filter is `pk == c`, `pk in [...]` or a union of
    /// such. Rows found by these keys need no evaluation.
    pub fn exact_keys(&self) -> Option<&Keys> {
        self.exact_keys.as_deref()
    }

    /// Keys that hold all rows selected, ascending, each once: the filter has such a condition that must be true. Rows
    /// found by these keys must still be evaluated, unless [`Predicate::exact_keys`] is there, too.
    pub fn candidate_keys(&self) -> Option<&Keys> {
        self.candidate_keys.as_deref()
    }

    /// Which rows are selected: those for which the condition is true, neither false nor unknown. Columns that the
    /// outcome no longer depends on are not asked for.
    pub fn evaluate(&self, columns: &dyn Columns) -> std::result::Result<BooleanBuffer, ExprError> {
        eval::selected(&self.root, columns)
    }
}

/// No keys, of the kind that this key field has.
fn no_keys(field: &Field) -> Option<Keys> {
    match field.data_type {
        DataType::Int64 => Some(Keys::Int(Vec::new())),
        DataType::VarChar { .. } => Some(Keys::Text(Vec::new())),
        _ => None,
    }
}
