//! What is refused, and in what words.

use redkite_expr::{ExprError, Templates, parse};
use redkite_types::ErrorKind;

use crate::fixture::{error, schema};

fn check(cases: &[(&str, &str)]) {
    for (filter, expected) in cases {
        let error = error(filter);
        assert!(error.to_string().contains(expected), "{filter}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{filter}");
    }
}

#[test]
fn syntax() {
    check(&[
        ("i8 ==", "the expression ends too early"),
        ("== 1", "expected a field, a constant or '('"),
        ("i8 == 1 1", "unexpected input after the expression at position 8 near '1'"),
        ("i8 = 1", "'=' is not an operator, write '=='"),
        ("(i8 == 1", "expected ')'"),
        ("i8 == 1)", "unexpected input"),
        ("i8 in [1", "expected ',' or ']' in a list"),
        ("i8 in [,]", "expected a field"),
        ("i8 in [1 2]", "expected ',' or ']' in a list"),
        ("i8 not 1", "expected 'in' after 'not'"),
        ("i8 not like 'a'", "expected 'in' after 'not'"),
        ("i8 is 1", "expected 'null' or 'not null' after 'is'"),
        ("i8 is not", "expected 'null' or 'not null' after 'is'"),
        ("i8 And i8", "unexpected input"),
        ("j[", "expected a quoted key"),
        ("j['a'", "expected ']'"),
        ("j[1.5] == 1", "expected a quoted key or a non-negative index"),
        ("j[-1] == 1", "expected a quoted key or a non-negative index"),
        ("j[''] == 1", "empty key"),
        ("1 < i8 > 3", "comparisons"),
        ("$metadata == 1", "unexpected input"),
        ("foo(1)", "unknown function foo"),
        ("Text_Match(name, 'a')", "unknown function Text_Match"),
        ("json_contains(j)", "expected ','"),
        ("i8 == 'open", "unterminated string"),
        ("; drop", "unexpected character at position 0"),
    ]);
}

#[test]
fn types() {
    check(&[
        ("name == 1", "comparisons between VarChar and Int64 are not supported"),
        ("1 == name", "comparisons between VarChar and Int64 are not supported"),
        ("i8 == 'a'", "comparisons between Int8 and VarChar are not supported"),
        ("i64 == true", "comparisons between Int64 and Bool are not supported"),
        ("flag == 1", "comparisons between Bool and Int64 are not supported"),
        ("f == 'a'", "comparisons between Float and VarChar are not supported"),
        ("d < 'a'", "comparisons between Double and VarChar are not supported"),
        ("i8 == name", "comparisons between Int8 and VarChar are not supported"),
        ("flag == i8", "comparisons between Bool and Int8 are not supported"),
        ("i8 == [1]", "comparisons between Int8 and Array are not supported"),
        ("nums == 1", "comparisons between Array[Int64] and Int64 are not supported"),
        ("nums < [1]", "comparisons between Array[Int64] and Array are not supported"),
        ("nums == ['a']", "value 'a' in list cannot be casted to Int64"),
        ("nums == nums", "can not comparisons array fields directly"),
        ("j['a'] == i8", "two column comparison with JSON type is not supported"),
        ("j['a'] == j['b']", "two column comparison with JSON type is not supported"),
        ("j['a'] < [1]", "lists can only be compared with == and !="),
        ("1 == 'a'", "comparison operations cannot be applied to two incompatible operands"),
        ("1 < 2 < 3", "comparison operations cannot be applied to two incompatible operands"),
        ("(i8 == 1) == true", "comparisons between a condition and Bool are not supported"),
        ("(i8 == 1) == (i32 == 1)", "comparisons are not supported between conditions"),
        ("vec == 1", "a field of type FloatVector cannot be used in a filter"),
        ("i8 == null", "NULL literal is not supported in expressions; use '<field> is null'"),
        ("i8 in [1, NULL, 2]", "NULL literal is not supported in expressions"),
        ("name['a'] == 1", "VarChar data type not supported accessed with []"),
        ("i8[0] == 1", "Int8 data type not supported accessed with []"),
        ("nums['a'] == 1", "can only access array field nums with one integer index"),
        ("nums[0][1] == 1", "can only access array field nums with one integer index"),
        ("vec is null", "'is null' is not supported on vector field vec"),
        ("nums[0] is null", "'is null' is not supported on elements of array field nums"),
        ("exists i8", "exists operations are only supported on json field"),
        ("exists nums[0]", "exists operations are only supported on json field"),
        ("exists j", "exists operations are only supported on json key"),
        ("exists 1", "exists operations are only supported on json field"),
    ]);
}

#[test]
fn logic() {
    check(&[
        ("i8 and i32 == 1", "'and' can only be used between boolean expressions"),
        ("i8 == 1 or 1", "'or' can only be used between boolean expressions"),
        ("flag and true", "'and' can only be used between boolean expressions"),
        ("false and (i64 and i64 > 0)", "'and' can only be used between boolean expressions"),
        ("true or name", "'or' can only be used between boolean expressions"),
        ("not i8", "'not' can only be applied on boolean expressions"),
        ("not i8 == 1", "'not' can only be applied on boolean expressions"),
        ("not 1", "'not' can only be applied on boolean expressions"),
        ("not i8 in [1]", "'not' can only be applied on boolean expressions"),
        ("not (i8 == 1) in [1]", "write 'a not in [...]'"),
    ]);
}

#[test]
fn the_whole_must_be_a_condition() {
    for (filter, data_type) in
        [("i8", "Int8"), ("1", "Int64"), ("i8 + 1", "Int64"), ("flag", "Bool"), ("'a'", "VarChar"), ("j['a']", "JSON")]
    {
        let error = error(filter);
        assert!(matches!(error, ExprError::NotBoolean { .. }), "{filter}: {error}");
        let expected = format!("predicate is not a boolean expression: {filter}, data type: {data_type}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn arithmetic() {
    check(&[
        ("i8 / 0 == 1", "division or modulus by zero"),
        ("i8 % 0 == 1", "division or modulus by zero"),
        ("d / 0.0 == 1", "division or modulus by zero"),
        ("j['a'] / 0 == 1", "division or modulus by zero"),
        ("i8 == 1 / 0", "division or modulus by zero"),
        ("i8 == 1 % 0", "division or modulus by zero"),
        ("d % 2 == 1", "modulo can only apply on integer types"),
        ("i8 % 2.0 == 1", "modulo can only apply on integer types"),
        ("j['a'] % 2.5 == 1", "modulo can only apply on integer types"),
        ("i8 + i32 == 1", "not supported to do arithmetic operations between multiple fields"),
        ("name + 1 == 1", "'add' cannot perform arithmetic between VarChar field and Int64"),
        ("i8 + 'a' == 1", "'add' cannot perform arithmetic between Int8 field and VarChar"),
        ("flag + 1 == 1", "'add' cannot perform arithmetic between Bool field and Int64"),
        ("nums + 1 == 1", "'add' cannot perform arithmetic between Array[Int64] field and Int64"),
        ("'a' + 'b' == name", "'add' cannot perform arithmetic between VarChar and VarChar"),
        ("i8 ** 2 == 4", "power can only apply on constants"),
        ("(d & 1) == 1", "'&' can only apply on integer types"),
        ("i8 == (1.5 | 1)", "'|' can only apply on integer types"),
        ("~d == 1", "'^' can only apply on integer types"),
        ("i8 == ~1.5", "'~' can only be applied to integers"),
        ("i8 << 64 == 1", "shift amount must be in 0..63, got 64"),
        ("i8 == 1 >> -1", "shift amount must be in 0..63, got -1"),
        ("i8 & 1 == 1", "'&'"),
        ("-name == 1", "'subtract' cannot perform arithmetic between VarChar field and Int64"),
        ("i8 == -'a'", "unary '-' cannot be applied to VarChar"),
        ("i8 + 1 == 'a'", "comparisons between Int64 and VarChar are not supported"),
        ("j['a'] + 1 == 'a'", "comparisons between Double and VarChar are not supported"),
    ]);
}

#[test]
fn ranges_and_lists() {
    check(&[
        ("3 < i8 < 1", "lowerbound is greater than upperbound"),
        ("1 < i8 < 1", "lowerbound is greater than upperbound"),
        ("1 <= i8 < 1", "lowerbound is greater than upperbound"),
        ("1 > i8 > 3", "lowerbound is greater than upperbound"),
        ("'b' < name < 'a'", "lowerbound is greater than upperbound"),
        ("3 < j['a'] < 1", "lowerbound is greater than upperbound"),
        ("i32 < i8 < 3", "lowerbound cannot be a non-const expression"),
        ("1 < i8 < i32", "upperbound cannot be a non-const expression"),
        ("false < flag < true", "invalid range operations on boolean expr"),
        ("1 < name < 3", "invalid range operations"),
        ("'a' < i8 < 'b'", "invalid range operations"),
        ("1 < i8 < 'b'", "incompatible operands"),
        ("[1] < nums < [2]", "invalid range operations"),
        ("i8 in 1", "the right-hand side of 'in' must be a list"),
        ("i8 in i32", "the right-hand side of 'in' must be a list"),
        ("i8 in (1, 2)", "expected ')'"),
        ("1 in [1]", "'in' can only be used on a field"),
        ("i8 in [1.5]", "value '1.5' in list cannot be casted to Int8"),
        ("i64 in [1.0]", "value '1.0' in list cannot be casted to Int64"),
        ("i64 in ['a']", "value 'a' in list cannot be casted to Int64"),
        ("name in [1]", "value '1' in list cannot be casted to VarChar"),
        ("flag in [1]", "value '1' in list cannot be casted to Bool"),
        ("i8 in [i32]", "list elements must be constants"),
        ("nums in [[1]]", "'in' is not supported on a whole array field"),
        ("j['a'] + 1 in ['a']", "value 'a' in list cannot be casted to Double"),
        ("i8 like 'a'", "like operation on non-string or no-json field is unsupported"),
        ("tags like 'a'", "like operation on non-string or no-json field is unsupported"),
        ("name like 1", "the pattern of like must be a string"),
        ("name like name", "the pattern of like must be a string"),
        ("array_contains(nums, 'a')", "value 'a' in list cannot be casted to Int64"),
        ("array_contains_all(nums, 1)", "contains_all operation element must be an array"),
        ("json_contains_any(j['a'], 1)", "contains_any operation element must be an array"),
        ("json_contains(i8, 1)", "contains operation are only supported on json or array fields now"),
        ("json_contains(j['a'], i8)", "contains operation are only supported explicitly specified element"),
        ("array_length(i8) == 1", "array_length operation are only supported on json or array fields now"),
        ("array_length(nums[0]) == 1", "array_length operation are only supported on json or array fields now"),
        ("array_length(nums) == 'a'", "comparisons between Int64 and VarChar are not supported"),
    ]);
}

#[test]
fn unknown_fields() {
    let mut schema = schema();
    schema.fields.retain(|field| !field.dynamic);
    for (filter, field) in [("nope == 1", "nope"), ("$meta['a'] == 1", "$meta"), ("true or nope is null", "nope")] {
        let error = parse(filter, &Templates::new(), &schema).unwrap_err();
        assert!(matches!(error, ExprError::UnknownField { .. }), "{filter}: {error}");
        assert_eq!(error.to_string(), format!("field {field} not exist"));
    }
}

#[test]
fn functions_of_later() {
    let cases = [
        ("text_match(name, 'a')", "text_match"),
        ("TEXT_MATCH(name, 'a')", "text_match"),
        ("i8 == 1 and text_match_fuzzy(name, 'a', max_edit_distance=1)", "text_match_fuzzy"),
        ("phrase_match(name, 'a', 1)", "phrase_match"),
        ("random_sample(0.01)", "random_sample"),
        ("element_filter(s, $[x] > 1)", "element_filter"),
        ("MATCH_ANY(s, $[x] > 1)", "match_any"),
        ("st_contains(geo, 'POINT (1 1)')", "st_contains"),
        ("bloom_match(id, {blob})", "bloom_match"),
        ("starts_with(name, 'a')", "starts_with"),
        ("name =~ '^a'", "=~"),
        ("name !~ '^a'", "!~"),
        ("ts + INTERVAL 'P1D' > ISO '2025-01-01'", "INTERVAL"),
        ("ts > iso '2025-01-01'", "iso"),
        ("$[x] > 1", "$"),
        ("s[x] > 1", "[name]"),
    ];
    for (filter, function) in cases {
        let error = error(filter);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{filter}: {error}");
        assert!(
            matches!(&error, ExprError::Unsupported { function: named } if named.contains(function)),
            "{filter}: {error}"
        );
    }
}
