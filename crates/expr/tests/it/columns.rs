//! What evaluation asks of the caller's columns, and what it does with bad ones.

use std::cell::RefCell;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use redkite_expr::{BatchColumns, ColumnError, Columns, ExprError};
use redkite_types::{ErrorKind, FieldId};

use crate::fixture::{batch, predicate, schema};

struct Recording {
    asked: RefCell<Vec<i64>>,
}

impl Columns for Recording {
    fn rows(&self) -> usize {
        6
    }

    fn column(&self, field: FieldId) -> Result<ArrayRef, ColumnError> {
        self.asked.borrow_mut().push(field.0);
        BatchColumns::new(&batch(), &schema()).column(field)
    }
}

#[test]
fn each_column_is_asked_for_once_and_only_if_needed() {
    let cases: &[(&str, &[i64])] = &[
        ("", &[]),
        ("i8 == 1 or i8 < 0 or i8 is null", &[101]),
        ("j['a'] == 1 or j['b'] == true or j is null", &[111]),
        // Nothing is left after the first operand.
        ("i8 == 50 and j['a'] == 1 and name == 'a'", &[101]),
        ("i8 == 1 and j['a'] == 1", &[101, 111]),
    ];
    for (filter, expected) in cases {
        let columns = Recording { asked: RefCell::default() };
        predicate(filter).evaluate(&columns).unwrap();
        assert_eq!(columns.asked.into_inner(), *expected, "{filter}");
    }
}

struct Odd(fn() -> Result<ArrayRef, ColumnError>);

impl Columns for Odd {
    fn rows(&self) -> usize {
        2
    }

    fn column(&self, _: FieldId) -> Result<ArrayRef, ColumnError> {
        (self.0)()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is gone")]
struct DiskGone;

#[test]
fn the_callers_error_comes_back() {
    let error = predicate("i8 == 1").evaluate(&Odd(|| Err(Box::new(DiskGone)))).unwrap_err();
    let ExprError::Column { field, source } = error else {
        panic!("{error}");
    };
    assert_eq!(field, FieldId(101));
    assert!(source.downcast_ref::<DiskGone>().is_some());
}

#[test]
fn columns_of_another_shape() {
    let filters = [
        "i8 == 1",
        "i8 in [1, 2]",
        "f < 1",
        "f in [1, 2]",
        "flag == true",
        "nums == [1]",
        "nums[0] == 1",
        "array_length(nums) == 1",
        "array_contains(nums, 1)",
        "i8 + 1 == 2",
        "i8 < d",
        "flag == flag and f == f",
    ];
    for filter in filters {
        let predicate = predicate(filter);
        let texts = Odd(|| Ok(Arc::new(StringArray::from(vec!["a", "b"]))));
        // A text column compares with itself.
        if !filter.contains("flag == flag") && filter != "i8 < d" {
            let error = predicate.evaluate(&texts).unwrap_err();
            assert!(matches!(error, ExprError::ColumnShape { .. }), "{filter}: {error}");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        let long = Odd(|| Ok(Arc::new(Int64Array::from(vec![1, 2, 3]))));
        let error = predicate.evaluate(&long).unwrap_err();
        assert!(matches!(error, ExprError::ColumnShape { .. }), "{filter}: {error}");
    }
    let numbers = Odd(|| Ok(Arc::new(Int64Array::from(vec![1, 2]))));
    for filter in
        ["name == 'a'", "name in ['a', 'b']", "name like '%'", "j['a'] == 1", "exists j['a']", "'a' < name < 'b'"]
    {
        let error = predicate(filter).evaluate(&numbers).unwrap_err();
        assert!(matches!(error, ExprError::ColumnShape { .. }), "{filter}: {error}");
    }
}

#[test]
fn a_batch_without_the_column() {
    let (batch, schema) = (batch().project(&[0]).unwrap(), schema());
    let error = predicate("i8 == 1").evaluate(&BatchColumns::new(&batch, &schema)).unwrap_err();
    assert!(error.to_string().contains("i8"), "{error}");
    assert_eq!(predicate("id < 2").evaluate(&BatchColumns::new(&batch, &schema)).unwrap().count_set_bits(), 2);
}

#[test]
fn no_rows() {
    let (batch, schema) = (batch().slice(0, 0), schema());
    for filter in
        ["", "i8 == 1", "i8 == i32 or j['a'] == 1", "nums[0] == 1", "array_contains(nums, 1)", "not (f in [1])"]
    {
        let selected = predicate(filter).evaluate(&BatchColumns::new(&batch, &schema)).unwrap();
        assert_eq!(selected.len(), 0, "{filter}");
    }
}

#[test]
fn many_rows_cross_word_boundaries() {
    let mut schema = schema();
    schema.fields.truncate(4);
    schema.fields.retain(|field| matches!(field.name.as_str(), "id" | "i64"));
    for rows in [1usize, 63, 64, 65, 127, 128, 1000] {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let values: ArrayRef = Arc::new((0..rows as i64).map(|i| (i % 3 != 0).then_some(i)).collect::<Int64Array>());
        let batch = arrow_array::RecordBatch::try_new(schema.arrow(), vec![ids, values]).unwrap();
        for (offset, length) in [(0, rows), (rows / 3, rows - rows / 3)] {
            let batch = batch.slice(offset, length);
            let columns = BatchColumns::new(&batch, &schema);
            let predicate =
                redkite_expr::parse("not (i64 % 2 == 0) and id == i64", &Default::default(), &schema).unwrap();
            let selected: Vec<usize> = predicate.evaluate(&columns).unwrap().set_indices().collect();
            let expected: Vec<usize> = (0..length).filter(|i| (i + offset) % 3 != 0 && (i + offset) % 2 != 0).collect();
            assert_eq!(selected, expected, "{rows} rows from {offset}");
            assert_eq!(batch.column(0).len(), length);
        }
    }
}
