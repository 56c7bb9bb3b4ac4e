//! Three-valued logic, precedence and layout.

use redkite_expr::{BatchColumns, Templates, parse};

use crate::fixture::{batch, check_all, schema};

/// Conditions that are true, false and unknown on row 2 of the fixture.
const TRUE: &str = "i32 == 30";
const FALSE: &str = "i32 == 31";
const UNKNOWN: &str = "i8 == 1";

fn on_row_2(filter: &str) -> bool {
    let (batch, schema) = (batch(), schema());
    let predicate = parse(filter, &Templates::new(), &schema).unwrap_or_else(|error| panic!("{filter}: {error}"));
    predicate.evaluate(&BatchColumns::new(&batch, &schema)).unwrap().value(2)
}

/// The truth of a condition: selected, or selected when negated, or neither.
fn truth(condition: &str) -> Option<bool> {
    match (on_row_2(condition), on_row_2(&format!("not ({condition})"))) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
        (true, true) => panic!("{condition} is both true and false"),
    }
}

#[test]
fn truth_tables() {
    let values = [(TRUE, Some(true)), (FALSE, Some(false)), (UNKNOWN, None)];
    for (a, a_truth) in values {
        assert_eq!(truth(a), a_truth, "{a}");
        for (b, b_truth) in values {
            let and = match (a_truth, b_truth) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            let or = match (a_truth, b_truth) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            for (operator, expected) in [("and", and), ("&&", and), ("AND", and), ("or", or), ("||", or), ("OR", or)] {
                let condition = format!("{a} {operator} {b}");
                assert_eq!(truth(&condition), expected, "{condition}");
            }
        }
    }
}

#[test]
fn everything_on_a_null_is_unknown() {
    let conditions = [
        "i8 == 1",
        "i8 != 1",
        "i8 < 300",
        "i8 == 300",
        "i8 in [1, 2]",
        "i8 in []",
        "i8 not in []",
        "i8 + 1 == 2",
        "0 < i8 < 9",
        "i8 == id",
        "name == 'a'",
        "name like '%'",
        "name in ['a']",
        "'a' < name < 'b'",
        "flag == true",
        "nums == [1]",
        "nums[0] == 1",
        "array_length(nums) == 0",
        "array_contains(nums, 1)",
        "array_contains_all(nums, [])",
        "j['x'] == 1",
        "j['x'] in [1]",
        "j['x'] like '%'",
        "json_contains(j['x'], 1)",
        "array_length(j['x']) == 1",
        "j['x'] + 1 == 1",
    ];
    for condition in conditions {
        assert_eq!(truth(condition), None, "{condition}");
    }
    for known in ["i8 is null", "exists j['a']", "j['x'] is null"] {
        assert_eq!(truth(known), Some(true), "{known}");
    }
}

#[test]
fn combinations() {
    check_all(&[
        ("i8 == 1 or i32 == 20", &[0, 1]),
        ("i8 == 1 or i32 == 20 and flag == true", &[0]),
        ("(i8 == 1 or i32 == 20) and flag == false", &[1]),
        ("not (i8 == 1 or i32 == 20)", &[4, 5]),
        ("!(i8 == 1)", &[1, 3, 4, 5]),
        ("not not (i8 == 1)", &[0]),
        ("not ((i8 == 1))", &[1, 3, 4, 5]),
        ("true and i8 == 1", &[0]),
        ("i8 == 1 or true", &[0, 1, 2, 3, 4, 5]),
        ("i8 == 1 and false", &[]),
        ("i8 == 1 or false", &[0]),
        ("i8 == 1 or (i8 == 5 or i8 == 127)", &[0, 3, 5]),
        ("i8 == 1 or name == 'banana' or i8 in [5, 127] or name == ''", &[0, 1, 3, 5]),
        ("not (i8 == 1 or i8 == 5 or i8 == 127)", &[1, 4]),
        ("i8\n==\r\n1\tor i8==5", &[0, 5]),
        ("i8 == 1 or i8 == 5 and i32 > 0 and not (name like 'b%')", &[0, 5]),
        ("1 == i8 && name like 'a%' && flag == true", &[0]),
    ]);
}
