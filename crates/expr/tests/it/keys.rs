//! What a predicate tells about itself: keys, fields, always true.

use redkite_expr::{Predicate, Templates, parse};
use redkite_types::{DataType, FieldId, Keys};

use crate::fixture::{predicate, schema, select};

fn ints(keys: &[i64]) -> Option<Keys> {
    Some(Keys::Int(keys.to_vec()))
}

#[test]
fn integer_keys() {
    // Filter, exact keys, candidate keys.
    let cases: &[(&str, Option<Keys>, Option<Keys>)] = &[
        ("id == 3", ints(&[3]), ints(&[3])),
        ("3 == id", ints(&[3]), ints(&[3])),
        ("id == 3.0", ints(&[3]), ints(&[3])),
        ("id in [3, 1, 3]", ints(&[1, 3]), ints(&[1, 3])),
        ("id in []", ints(&[]), ints(&[])),
        ("id == 1.5", ints(&[]), ints(&[])),
        ("(id in [3])", ints(&[3]), ints(&[3])),
        ("3 <= id <= 3", ints(&[3]), ints(&[3])),
        ("id == 1 or id == 2", ints(&[1, 2]), ints(&[1, 2])),
        ("id == 1 or id in [5, 2] or id == 1", ints(&[1, 2, 5]), ints(&[1, 2, 5])),
        ("true and id == 1", ints(&[1]), ints(&[1])),
        ("false", ints(&[]), ints(&[])),
        ("id == 1 and false", ints(&[]), ints(&[])),
        ("not (id != 1)", ints(&[1]), ints(&[1])),
        ("id == 1 and i8 == 1", None, ints(&[1])),
        ("i8 == 1 and id in [1, 2] and flag == true", None, ints(&[1, 2])),
        ("id in [1, 2, 3] and id in [2, 9]", None, ints(&[2, 9])),
        ("id == 1 and i8 == 1 or id == 5", None, ints(&[1, 5])),
        ("id == 1 or i8 == 1", None, None),
        ("id != 1", None, None),
        ("id not in [1]", None, None),
        ("not (id == 1)", None, None),
        ("id > 1", None, None),
        ("id + 1 == 2", None, None),
        ("i8 == 1", None, None),
        ("", None, None),
    ];
    for (filter, exact, candidates) in cases {
        let predicate = predicate(filter);
        assert_eq!(predicate.exact_keys(), exact.as_ref(), "{filter}");
        assert_eq!(predicate.candidate_keys(), candidates.as_ref(), "{filter}");
    }
}

#[test]
fn text_keys() {
    let mut schema = schema();
    schema.fields[0].data_type = DataType::VarChar { max_length: 64 };
    let texts = |keys: &[&str]| Some(Keys::Text(keys.iter().map(|key| (*key).to_owned()).collect()));
    let cases: &[(&str, Option<Keys>)] = &[
        ("id == 'b'", texts(&["b"])),
        ("id in ['b', 'a', 'b']", texts(&["a", "b"])),
        ("id == 'b' or id in ['c', 'a']", texts(&["a", "b", "c"])),
        ("false", texts(&[])),
        ("id > 'b'", None),
        ("id != \"\"", None),
        ("id like 'b'", None),
    ];
    for (filter, exact) in cases {
        let predicate = parse(filter, &Templates::new(), &schema).unwrap();
        assert_eq!(predicate.exact_keys(), exact.as_ref(), "{filter}");
    }
}

#[test]
fn from_keys() {
    let predicate = Predicate::from_keys(&schema(), Keys::Int(vec![5, 1, 99])).unwrap();
    assert_eq!(predicate.exact_keys(), ints(&[1, 5, 99]).as_ref());
    assert_eq!(predicate.fields(), [FieldId(100)]);
    assert_eq!(select(&predicate), [1, 5]);
    assert!(Predicate::from_keys(&schema(), Keys::Text(vec!["a".into()])).is_err());
    let empty = Predicate::from_keys(&schema(), Keys::Int(vec![])).unwrap();
    assert_eq!(select(&empty), [0usize; 0]);
    assert!(!empty.is_always_true());
}

#[test]
fn always_true() {
    for filter in ["", "  ", "true", "1 < 2", "i8 == 1 or true", "not false", "true and (true or i8 == 1)"] {
        assert!(predicate(filter).is_always_true(), "{filter}");
        assert!(predicate(filter).fields().is_empty(), "{filter}");
    }
    for filter in ["false", "i8 == 1", "id != 1", "id < 9223372036854775807", "id not in []", "id is not null", "1 > 2"]
    {
        assert!(!predicate(filter).is_always_true(), "{filter}");
    }
    assert!(Predicate::always_true().is_always_true());
    assert!(predicate("1 > 2").is_always_false());
}

#[test]
fn fields() {
    let cases: &[(&str, &[i64])] = &[
        ("i8 == 1 and i32 == 1 or i8 == 2", &[101, 102]),
        ("j['a'] == 1 or color == 'red' or exists j['b']", &[111, 113]),
        ("i8 == i32", &[101, 102]),
        ("name is null", &[107]),
        ("nums[0] == 1 and array_length(tags) == 1", &[108, 109]),
        ("false and i8 == 1", &[]),
    ];
    for (filter, expected) in cases {
        let fields: Vec<i64> = predicate(filter).fields().iter().map(|field| field.0).collect();
        assert_eq!(fields, *expected, "{filter}");
    }
}
