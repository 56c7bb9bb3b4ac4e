use super::parse;
use crate::ast::{Expr, Kind};
use crate::constant::{Constant, Templates};
use crate::limits::Limits;

/// The tree in prefix notation.
fn print(expr: &Expr) -> String {
    let join = |operator: &str, operands: &[&Expr]| {
        format!("({operator} {})", operands.iter().map(|operand| print(operand)).collect::<Vec<_>>().join(" "))
    };
    match &expr.kind {
        Kind::Constant(Constant::Array(elements)) => format!("{elements:?}").replace("Int", "").replace(['(', ')'], ""),
        Kind::Constant(constant) | Kind::Template(constant) => constant.to_string(),
        Kind::Path(path) => format!("{}{}", path.name, "[]".repeat(path.steps.len())),
        Kind::Negate(inner) => join("neg", &[inner]),
        Kind::BitNot(inner) => join("~", &[inner]),
        Kind::Not(inner) => join("not", &[inner]),
        Kind::Arithmetic(operator, left, right) => join(&format!("{operator:?}"), &[left, right]),
        Kind::Power(left, right) => join("**", &[left, right]),
        Kind::Compare(comparison, left, right) => join(&format!("{comparison:?}"), &[left, right]),
        Kind::Range { low, low_inclusive, middle, high, high_inclusive } => {
            join(&format!("range-{low_inclusive}-{high_inclusive}"), &[low, middle, high])
        }
        Kind::And(operands) => join("and", &operands.iter().collect::<Vec<_>>()),
        Kind::Or(operands) => join("or", &operands.iter().collect::<Vec<_>>()),
        Kind::In { left, list } => join("in", &[left, list]),
        Kind::Like { left, pattern } => join("like", &[left, pattern]),
        Kind::Exists(inner) => join("exists", &[inner]),
        Kind::IsNull(path) => format!("(null {}{})", path.name, "[]".repeat(path.steps.len())),
        Kind::Contains { function, left, elements } => join(function.name(), &[left, elements]),
        Kind::ArrayLength(inner) => join("length", &[inner]),
    }
}

#[test]
fn precedence() {
    let cases = [
        ("a == 1 and b == 2 or c == 3", "(or (and (Eq a 1) (Eq b 2)) (Eq c 3))"),
        ("a == 1 or b == 2 and c == 3", "(or (Eq a 1) (and (Eq b 2) (Eq c 3)))"),
        ("a and b and c or d or e", "(or (and a b c) d e)"),
        ("a or (b or c)", "(or a (or b c))"),
        ("1 + 2 * 3 - 4", "(Sub (Add 1 (Mul 2 3)) 4)"),
        ("1 - 2 - 3", "(Sub (Sub 1 2) 3)"),
        ("2 ** 3 ** 2", "(** (** 2 3) 2)"),
        ("-2 ** 2", "(neg (** 2 2))"),
        ("2 ** -1", "(** 2 -1)"),
        ("-a * b", "(Mul (neg a) b)"),
        ("- 5", "-5"),
        ("+a", "a"),
        ("not a == 1", "(Eq (not a) 1)"),
        ("not a in [1]", "(in (not a) [1])"),
        ("not a like 'x'", "(not (like a x))"),
        ("not a is null", "(not (null a))"),
        ("a is not null and b", "(and (not (null a)) b)"),
        ("not exists a", "(not (exists a))"),
        ("a not in [1]", "(not (in a [1]))"),
        ("a in [1] == true", "(Eq (in a [1]) true)"),
        ("a + 1 in [1]", "(in (Add a 1) [1])"),
        ("a << 1 + 2 in [1]", "(in (ShiftLeft a (Add 1 2)) [1])"),
        ("a & 1 == 1", "(BitAnd a (Eq 1 1))"),
        ("a | b ^ c & d", "(BitOr a (BitXor b (BitAnd c d)))"),
        ("a < 1 == b < 2", "(Eq (Lt a 1) (Lt b 2))"),
        ("exists j['a'] and b", "(and (exists j[]) b)"),
        ("1 < a <= 3", "(range-false-true 1 a 3)"),
        ("3 >= a > 1", "(range-false-true 1 a 3)"),
        ("1 < a + 1 < 3", "(range-false-false 1 (Add a 1) 3)"),
        ("1 < a > 3", "(Gt (Lt 1 a) 3)"),
        ("1 < 2 < 3", "(Lt (Lt 1 2) 3)"),
        ("1 < a < 3 and b", "(and (range-false-false 1 a 3) b)"),
        ("array_length(a) == 1", "(Eq (length a) 1)"),
        ("json_contains_all(a['x'][0], [1])", "(contains_all a[][] [1])"),
        ("((a))", "a"),
        ("a ==b&&!c", "(and (Eq a b) (not c))"),
    ];
    for (text, expected) in cases {
        let expr = parse(text, &Templates::new(), &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(print(&expr), expected, "{text}");
    }
}
