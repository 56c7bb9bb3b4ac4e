//! Random typed expressions, evaluated a column at a time and by a naive row-at-a-time interpreter that shares no code
//! with it.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray,
};
use proptest::prelude::*;
use redkite_expr::{BatchColumns, Templates, parse};
use redkite_types::{DataType, Schema};

use crate::fixture::field;

/// One row; every value may be missing.
#[derive(Debug, Clone)]
struct Row {
    small: Option<i8>,
    big: Option<i64>,
    float: Option<f32>,
    double: Option<f64>,
    text: Option<String>,
    flag: Option<bool>,
    /// The value of key `k` of the JSON field; none for an object without it.
    json: Option<Scalar>,
}

#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
}

/// A field, by the name it has in filters.
const NUMBERS: [&str; 4] = ["small", "big", "float", "double"];

#[derive(Debug, Clone)]
enum Expr {
    Compare(&'static str, &'static str, Scalar),
    Range(&'static str, Scalar, bool, Scalar, bool),
    In(&'static str, Vec<Scalar>),
    Like(&'static str, String),
    IsNull(&'static str),
    /// field, operator, operand, comparison, constant
    Arithmetic(&'static str, &'static str, i64, &'static str, i64),
    Fields(&'static str, &'static str, &'static str),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Scalar {
    fn print(&self) -> String {
        match self {
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => format!("{value:?}"),
            Scalar::Text(value) => quoted(value),
            Scalar::Bool(value) => value.to_string(),
        }
    }
}

impl Expr {
    fn print(&self) -> String {
        let join = |operands: &[Expr], operator: &str| {
            operands.iter().map(|operand| format!("({})", operand.print())).collect::<Vec<_>>().join(operator)
        };
        match self {
            Expr::Compare(field, operator, value) => format!("{field} {operator} {}", value.print()),
            Expr::Range(field, low, low_inclusive, high, high_inclusive) => {
                let symbol = |inclusive: &bool| if *inclusive { "<=" } else { "<" };
                let (low_symbol, high_symbol) = (symbol(low_inclusive), symbol(high_inclusive));
                format!("{} {low_symbol} {field} {high_symbol} {}", low.print(), high.print())
            }
            Expr::In(field, values) => {
                format!("{field} in [{}]", values.iter().map(Scalar::print).collect::<Vec<_>>().join(", "))
            }
            Expr::Like(field, pattern) => format!("{field} like {}", quoted(pattern)),
            Expr::IsNull(field) => format!("{field} is null"),
            Expr::Arithmetic(field, operator, operand, comparison, constant) => {
                format!("{field} {operator} {operand} {comparison} {constant}")
            }
            Expr::Fields(left, operator, right) => format!("{left} {operator} {right}"),
            Expr::And(operands) => join(operands, " and "),
            Expr::Or(operands) => join(operands, " or "),
            Expr::Not(inner) => format!("not ({})", inner.print()),
        }
    }
}

/// The value of a field, with floats of 32 bits widened.
fn value(row: &Row, field: &str) -> Option<Scalar> {
    match field {
        "small" => row.small.map(|value| Scalar::Int(value.into())),
        "big" => row.big.map(Scalar::Int),
        "float" => row.float.map(|value| Scalar::Float(value.into())),
        "double" => row.double.map(Scalar::Float),
        "text" => row.text.clone().map(Scalar::Text),
        "flag" => row.flag.map(Scalar::Bool),
        "j['k']" => row.json.clone(),
        other => panic!("{other}"),
    }
}

/// By value and without rounding; none for a NaN. The outer option tells whether the kinds compare at all.
fn order(a: &Scalar, b: &Scalar) -> Option<Option<Ordering>> {
    // All integers of i64 and all finite floats in its range, exactly, as a whole part and a rest.
    fn split(value: &Scalar) -> Option<(i128, f64)> {
        match value {
            Scalar::Int(value) => Some((i128::from(*value), 0.0)),
            Scalar::Float(value) => {
                let clamped = value.clamp(-1e30, 1e30);
                (!value.is_nan()).then_some((clamped.floor() as i128, clamped - clamped.floor()))
            }
            _ => None,
        }
    }
    match (a, b) {
        (Scalar::Text(a), Scalar::Text(b)) => Some(Some(a.cmp(b))),
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(Some(a.cmp(b))),
        (Scalar::Float(a), Scalar::Float(b)) => Some(a.partial_cmp(b)),
        (Scalar::Int(_) | Scalar::Float(_), Scalar::Int(_) | Scalar::Float(_)) => {
            Some(split(a).zip(split(b)).and_then(|(a, b)| a.partial_cmp(&b)))
        }
        _ => None,
    }
}

fn holds(operator: &str, ordering: Option<Ordering>) -> bool {
    match operator {
        "==" => ordering == Some(Ordering::Equal),
        "!=" => ordering != Some(Ordering::Equal),
        "<" => ordering == Some(Ordering::Less),
        "<=" => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        ">" => ordering == Some(Ordering::Greater),
        ">=" => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        other => panic!("{other}"),
    }
}

/// The constant as a 32-bit column sees it.
fn rounded(field: &str, constant: &Scalar) -> Scalar {
    match constant {
        Scalar::Float(value) if field == "float" && (*value as f32).is_finite() => {
            Scalar::Float((*value as f32).into())
        }
        other => other.clone(),
    }
}

fn compare(row: &Row, field: &str, operator: &str, constant: &Scalar) -> Option<bool> {
    order(&value(row, field)?, &rounded(field, constant)).map(|ordering| holds(operator, ordering))
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// All of them, in three-valued logic.
fn all(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut truth = Some(true);
    truths.for_each(|operand| truth = and(truth, operand));
    truth
}

fn not(a: Option<bool>) -> Option<bool> {
    a.map(|a| !a)
}

/// `like` by plain recursion over the pattern; fine for the short ones here.
fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        ['_', rest @ ..] => text.split_first().is_some_and(|(_, text)| like(rest, text)),
        ['\\', c, rest @ ..] | [c, rest @ ..] => {
            text.split_first().is_some_and(|(first, text)| first == c && like(rest, text))
        }
    }
}

fn arithmetic(value: &Scalar, operator: &str, operand: i64) -> Option<Scalar> {
    match value {
        Scalar::Int(value) => Some(Scalar::Int(match operator {
            "+" => value.wrapping_add(operand),
            "-" => value.wrapping_sub(operand),
            "*" => value.wrapping_mul(operand),
            "/" => value.wrapping_div(operand),
            "%" => value.wrapping_rem(operand),
            other => panic!("{other}"),
        })),
        Scalar::Float(value) => match operator {
            "+" => Some(Scalar::Float(value + operand as f64)),
            "-" => Some(Scalar::Float(value - operand as f64)),
            "*" => Some(Scalar::Float(value * operand as f64)),
            "/" => Some(Scalar::Float(value / operand as f64)),
            _ => None,
        },
        _ => None,
    }
}

fn interpret(expr: &Expr, row: &Row) -> Option<bool> {
    match expr {
        Expr::Compare(field, operator, constant) => compare(row, field, operator, constant),
        Expr::Range(field, low, low_inclusive, high, high_inclusive) => and(
            compare(row, field, if *low_inclusive { ">=" } else { ">" }, low),
            compare(row, field, if *high_inclusive { "<=" } else { "<" }, high),
        ),
        Expr::In(field, constants) => {
            value(row, field)?;
            // In the list: not different from every member.
            not(all(constants.iter().map(|constant| not(compare(row, field, "==", constant)))))
        }
        Expr::Like(field, pattern) => match value(row, field)? {
            Scalar::Text(text) => Some(like(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())),
            _ => None,
        },
        Expr::IsNull(field) => Some(value(row, field).is_none()),
        Expr::Arithmetic(field, operator, operand, comparison, constant) => {
            let result = arithmetic(&value(row, field)?, operator, *operand)?;
            order(&result, &Scalar::Int(*constant)).map(|ordering| holds(comparison, ordering))
        }
        Expr::Fields(left, operator, right) => {
            order(&value(row, left)?, &value(row, right)?).map(|ordering| holds(operator, ordering))
        }
        Expr::And(operands) => all(operands.iter().map(|operand| interpret(operand, row))),
        Expr::Or(operands) => not(all(operands.iter().map(|operand| not(interpret(operand, row))))),
        Expr::Not(inner) => not(interpret(inner, row)),
    }
}

/// Few enough different values that comparisons are often equal, with the extremes among them.
fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![
        -3i64..4,
        Just(127),
        Just(-128),
        Just(300),
        Just(i64::MAX),
        Just(i64::MIN),
        Just((1 << 53) + 1),
        Just(-(1 << 53) - 1),
        Just(16_777_217),
    ]
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-6i32..7).prop_map(|half| f64::from(half) / 2.0),
        Just(0.1),
        Just(-0.0),
        Just(9_007_199_254_740_992.0),
        Just(9_223_372_036_854_775_808.0),
        Just(1e30),
        Just(16_777_216.0),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    "[ab\u{e9}%_\\\\]{0,4}"
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any_int().prop_map(Scalar::Int),
        any_float().prop_map(Scalar::Float),
        any_text().prop_map(Scalar::Text),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

fn any_number() -> impl Strategy<Value = Scalar> {
    prop_oneof![any_int().prop_map(Scalar::Int), any_float().prop_map(Scalar::Float)]
}

fn any_row() -> impl Strategy<Value = Row> {
    use proptest::option::of;
    let float = any_float().prop_map(|value| value as f32);
    let double = prop_oneof![9 => any_float(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    let small = prop_oneof![-3i8..4, Just(127), Just(-128)];
    (of(small), of(any_int()), of(float), of(double), of(any_text()), of(any::<bool>()), of(any_scalar()))
        .prop_map(|(small, big, float, double, text, flag, json)| Row { small, big, float, double, text, flag, json })
}

fn any_comparison() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["==", "!=", "<", "<=", ">", ">="][..])
}

/// Two different bounds in order.
fn bounds(scalar: impl Strategy<Value = Scalar> + Clone) -> impl Strategy<Value = (Scalar, bool, Scalar, bool)> {
    (scalar.clone(), any::<bool>(), scalar, any::<bool>()).prop_filter_map(
        "one bound below the other",
        |(a, x, b, y)| match order(&a, &b)?? {
            Ordering::Less => Some((a, x, b, y)),
            Ordering::Greater => Some((b, x, a, y)),
            Ordering::Equal => None,
        },
    )
}

fn any_leaf() -> impl Strategy<Value = Expr> {
    let number_field = || proptest::sample::select(&NUMBERS[..]);
    let any_field = proptest::sample::select(&["small", "big", "float", "double", "text", "flag", "j['k']"][..]);
    let operator = proptest::sample::select(&["+", "-", "*", "/", "%"][..]);
    let operand = prop_oneof![1i64..5, -5i64..0, Just(i64::MAX)];
    let arithmetic_field = proptest::sample::select(&["small", "big", "float", "double", "j['k']"][..]);
    prop_oneof![
        (number_field(), any_comparison(), any_number()).prop_map(|(f, o, c)| Expr::Compare(f, o, c)),
        (any_comparison(), any_text()).prop_map(|(o, c)| Expr::Compare("text", o, Scalar::Text(c))),
        (any_comparison(), any::<bool>()).prop_map(|(o, c)| Expr::Compare("flag", o, Scalar::Bool(c))),
        (any_comparison(), any_scalar()).prop_map(|(o, c)| Expr::Compare("j['k']", o, c)),
        (number_field(), bounds(any_number().boxed())).prop_map(|(f, (a, x, b, y))| Expr::Range(f, a, x, b, y)),
        bounds(any_text().prop_map(Scalar::Text).boxed()).prop_map(|(a, x, b, y)| Expr::Range("text", a, x, b, y)),
        bounds(any_number().boxed()).prop_map(|(a, x, b, y)| Expr::Range("j['k']", a, x, b, y)),
        (proptest::sample::select(&["small", "big"][..]), proptest::collection::vec(any_int(), 0..24))
            .prop_map(|(f, list)| Expr::In(f, list.into_iter().map(Scalar::Int).collect())),
        (proptest::sample::select(&["float", "double"][..]), proptest::collection::vec(any_number(), 0..6))
            .prop_map(|(f, list)| Expr::In(f, list)),
        proptest::collection::vec(any_text(), 0..6)
            .prop_map(|list| Expr::In("text", list.into_iter().map(Scalar::Text).collect())),
        proptest::collection::vec(any_scalar(), 0..6).prop_map(|list| Expr::In("j['k']", list)),
        any_pattern().prop_map(|pattern| Expr::Like("text", pattern)),
        any_pattern().prop_map(|pattern| Expr::Like("j['k']", pattern)),
        any_field.prop_map(Expr::IsNull),
        (arithmetic_field, operator, operand, any_comparison(), any_int())
            .prop_filter("only integers have a remainder", |(f, o, ..)| *o != "%" || !matches!(*f, "float" | "double"))
            .prop_map(|(f, o, operand, comparison, c)| Expr::Arithmetic(f, o, operand, comparison, c)),
        (number_field(), any_comparison(), number_field()).prop_map(|(a, o, b)| Expr::Fields(a, o, b)),
    ]
}

/// Patterns whose backslashes all have something behind them.
fn any_pattern() -> impl Strategy<Value = String> {
    "([ab\u{e9}%_]|\\\\[%_a\\\\]){0,5}"
}

fn any_expr() -> impl Strategy<Value = Expr> {
    any_leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
            inner.prop_map(|inner| Expr::Not(Box::new(inner))),
        ]
    })
}

fn schema() -> Schema {
    let fields = vec![
        field(100, "small", DataType::Int8, true),
        field(101, "big", DataType::Int64, true),
        field(102, "float", DataType::Float, true),
        field(103, "double", DataType::Double, true),
        field(104, "text", DataType::VarChar { max_length: 64 }, true),
        field(105, "flag", DataType::Bool, true),
        field(106, "j", DataType::Json, true),
    ];
    Schema { fields, description: String::new() }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let json = |row: &Row| match &row.json {
        // A missing key, a null and a missing document mean the same; take turns.
        None => [None, Some("{}".to_owned()), Some(r#"{"k": null}"#.to_owned())]
            [row.big.unwrap_or(0).rem_euclid(3) as usize]
            .clone(),
        Some(Scalar::Text(text)) => {
            Some(format!("{{\"x\": [1, {{}}], \"k\": {}}}", serde_json::to_string(text).unwrap()))
        }
        Some(other) => Some(format!("{{\"k\": {}}}", other.print())),
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.small).collect::<Int8Array>()),
        Arc::new(rows.iter().map(|row| row.big).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.float).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.text.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(json).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema().arrow(), columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn columns_and_rows_agree(expr in any_expr(), rows in proptest::collection::vec(any_row(), 1..80)) {
        let (batch, schema) = (batch(&rows), schema());
        let text = expr.print();
        let predicate = match parse(&text, &Templates::new(), &schema) {
            Ok(predicate) => predicate,
            Err(error) => return Err(TestCaseError::fail(format!("{text}: {error}"))),
        };
        let selected = predicate.evaluate(&BatchColumns::new(&batch, &schema)).unwrap();
        for (at, row) in rows.iter().enumerate() {
            let expected = interpret(&expr, row) == Some(true);
            prop_assert_eq!(selected.value(at), expected, "{} on {:?}", text, row);
        }
    }
}
