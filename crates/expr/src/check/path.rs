//! Names: which field a path means, what is read from it, and the tests that take a path only.

use redkite_types::DataType;

use super::{Checker, Field, Value};
use crate::ast::{Expr, Path, PathStep};
use crate::constant::data_type_name;
use crate::error::{ExprError, Result, clip, mistyped};
use crate::node::{Access, Base, JsonOperand, Node, Operand};

impl Checker<'_> {
    /// The value a path leads to. A name the schema does not have is a key of the dynamic field.
    pub(super) fn path(&self, path: &Path) -> Result<Value> {
        let Some(field) = self.schema.field(&path.name) else {
            let Some(dynamic) = self.schema.dynamic_field() else {
                return Err(ExprError::UnknownField { field: clip(&path.name) });
            };
            let mut steps = vec![PathStep::Key(path.name.clone())];
            steps.extend(path.steps.iter().cloned());
            return Ok(JsonOperand { field: dynamic.id, path: steps, length: false, steps: Vec::new() }.into());
        };
        let operand = |access, base| Operand { field: field.id, access, base, steps: Vec::new() };
        let whole = |base| {
            let operand = operand(Access::Whole, base);
            Ok(Field { operand, data_type: field.data_type, nullable: field.nullable }.into())
        };
        match (field.data_type, path.steps.as_slice()) {
            (DataType::Json, steps) => {
                Ok(JsonOperand { field: field.id, path: steps.to_vec(), length: false, steps: Vec::new() }.into())
            }
            (DataType::Array { .. }, []) => whole(Base::Array),
            (DataType::Array { element, .. }, [PathStep::Index(index)]) => {
                let data_type = element.data_type();
                let operand = operand(Access::Element(*index), base_of(data_type)?);
                Ok(Field { operand, data_type, nullable: true }.into())
            }
            (DataType::Array { .. }, _) => {
                mistyped(format!("can only access array field {} with one integer index", field.name))
            }
            (data_type, []) => whole(base_of(data_type)?),
            (data_type, _) => {
                mistyped(format!("{} data type not supported accessed with []", data_type_name(data_type)))
            }
        }
    }

    /// `path is null`
    pub(super) fn is_null(&self, path: &Path) -> Result<Value> {
        if let Some(field) = self.schema.field(&path.name) {
            if field.data_type.is_vector() {
                return mistyped(format!("'is null' is not supported on vector field {}", field.name));
            }
            if matches!(field.data_type, DataType::Array { .. }) && !path.steps.is_empty() {
                return mistyped(format!("'is null' is not supported on elements of array field {}", field.name));
            }
        }
        Ok(Value::from(match self.path(path)? {
            Value::Json(operand) if !operand.path.is_empty() => Node::Exists(operand.field, operand.path).negated(),
            Value::Json(operand) => Node::IsNull(operand.field),
            Value::Field(field) => Node::IsNull(field.operand.field),
            Value::Constant { .. } | Value::Condition(_) => return mistyped("'is null' needs a field"),
        }))
    }

    /// `exists path`
    pub(super) fn exists(&self, inner: Expr) -> Result<Value> {
        let inner = self.value(inner)?;
        match inner {
            Value::Json(operand) if operand.is_plain() && !operand.path.is_empty() => {
                Ok(Node::Exists(operand.field, operand.path).into())
            }
            Value::Json(_) => mistyped("exists operations are only supported on json key"),
            other => {
                mistyped(format!("exists operations are only supported on json field, got: {}", other.type_name()))
            }
        }
    }

    /// `array_length(path)`
    pub(super) fn array_length(&self, inner: Expr) -> Result<Value> {
        let inner = self.value(inner)?;
        match inner {
            Value::Json(operand) if operand.is_plain() => Ok(JsonOperand { length: true, ..*operand }.into()),
            Value::Field(field) if field.is_whole_array() => {
                let operand = Operand { access: Access::Length, base: Base::Int, ..field.operand };
                Ok(Field { operand, data_type: DataType::Int64, nullable: field.nullable }.into())
            }
            other => mistyped(format!(
                "array_length operation are only supported on json or array fields now, got: {}",
                other.type_name()
            )),
        }
    }
}

fn base_of(data_type: DataType) -> Result<Base> {
    match data_type {
        DataType::Bool => Ok(Base::Bool),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Ok(Base::Int),
        DataType::Float => Ok(Base::Float32),
        DataType::Double => Ok(Base::Float64),
        DataType::VarChar { .. } => Ok(Base::Text),
        other => mistyped(format!("a field of type {} cannot be used in a filter", data_type_name(other))),
    }
}
