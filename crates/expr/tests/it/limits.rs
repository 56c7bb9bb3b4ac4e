//! Size and depth, and that messages stay short.

use redkite_expr::{ExprError, Limits, Templates, parse, parse_with_limits};

use crate::fixture::{check, error, predicate, schema, select};

#[test]
fn nesting() {
    let nested = |depth: usize| format!("{}i8 == 1{}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(200), &[0]);
    check(&format!("{}(i8 == 1)", "not ".repeat(100)), &[0]);
    let deep: [String; 9] = [
        nested(10_000),
        "(".repeat(500_000),
        format!("{}(i8 == 1)", "not ".repeat(10_000)),
        format!("i8 == {}1", "-".repeat(10_001)),
        format!("i8 == {}1", "~".repeat(10_000)),
        format!("i8 in {}", "[".repeat(10_000)),
        format!("i8 == 1{}", " + 1".repeat(10_000)),
        format!("j{} == 1", "['a']".repeat(10_000)),
        "exists ".repeat(10_000),
    ];
    for filter in deep {
        let error = error(&filter);
        assert!(matches!(error, ExprError::TooDeep { .. }), "{}: {error}", &filter[..40]);
        assert!(error.to_string().contains("nesting depth"));
    }
}

/// A worker thread has 2 MiB, some of it in use; what recurses must do with half of that, unoptimised as it is here.
const STACK_BYTES: usize = 1024 * 1024;

#[test]
fn the_deepest_filters_fit_the_stack() {
    let max = Limits::default().depth_max;
    let mut mixed = "i8 == 1".to_owned();
    for _ in 0..max / 8 {
        // Every level of the tree is a different operator, so nothing is flattened or cancelled out.
        mixed = format!("not (i32 == 10 and not (i8 == 5 or ({mixed})))");
    }
    let cases: Vec<(String, Option<&'static [usize]>)> = vec![
        (format!("{}i8 == 1{}", "(".repeat(max - 2), ")".repeat(max - 2)), Some(&[0])),
        (format!("j['a'] == {}{}", "[".repeat(max - 2), "]".repeat(max - 2)), Some(&[])),
        (format!("{}(i8 == 1)", "not ".repeat(max - 4)), Some(&[0])),
        (format!("i8 {} == 1", "+ 1 ".repeat(max - 4)), Some(&[])),
        (format!("i8 == {}1{}", "1 * (".repeat(max / 2 - 3), ")".repeat(max / 2 - 3)), Some(&[0])),
        (format!("{}nums{} == 1", "array_length(".repeat(max - 2), ")".repeat(max - 2)), None),
        (format!("{}j['a'], 1{}", "json_contains(".repeat(max - 2), ")".repeat(max - 2)), None),
        (format!("{}1", "not exists ".repeat(max / 2 - 1)), None),
        (mixed, Some(&[0, 1, 2, 4, 5])),
    ];
    let run = move || {
        for (filter, expected) in cases {
            match (expected, parse(&filter, &Templates::new(), &schema())) {
                (Some(expected), Ok(predicate)) => assert_eq!(select(&predicate), expected, "{}", &filter[..60]),
                (None, Err(error)) => assert!(!matches!(error, ExprError::TooDeep { .. }), "{}", &filter[..60]),
                (_, outcome) => panic!("{}: {}", &filter[..60], outcome.is_ok()),
            }
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

#[test]
fn chains_are_not_deep() {
    let chain = |operator: &str| (0..6000).map(|i| format!("i32 + {i} == 10")).collect::<Vec<_>>().join(operator);
    assert_eq!(select(&predicate(&chain(" or "))), [0]);
    assert_eq!(select(&predicate(&chain(" and "))), [0usize; 0]);
    let keys = (0..16_000).map(|i| format!("id == {i}")).collect::<Vec<_>>().join(" || ");
    assert_eq!(predicate(&keys).exact_keys().unwrap().len(), 16_000);
}

#[test]
fn length() {
    let long_text = format!("name == '{}'", "x".repeat(2 << 20));
    assert!(matches!(error(&long_text), ExprError::TooLong { .. }));
    let spaces = format!("i8 == {}1", " ".repeat(2 << 20));
    assert!(matches!(error(&spaces), ExprError::TooLong { .. }));
    let many = "i8 == 1 or ".repeat(100_000) + "i8 == 1";
    assert!(matches!(error(&many), ExprError::TooLong { .. } | ExprError::TooMany { .. }));
    let many = "a+".repeat(40_000) + "a";
    assert!(matches!(error(&many), ExprError::TooDeep { .. }));
}

#[test]
fn long_lists_are_normal() {
    // As a client writes a delete of 200,000 keys: longer than any other text may be.
    let keys = (0..200_000i64).map(|i| (i + (1 << 60)).to_string()).collect::<Vec<_>>().join(", ");
    let filter = format!("id in [{keys}]");
    assert!(filter.len() > Limits::default().text_bytes_max);
    assert_eq!(predicate(&filter).exact_keys().unwrap().len(), 200_000);
    let negative = (1..70_000).map(|i| format!("-{i}")).collect::<Vec<_>>().join(",");
    assert_eq!(predicate(&format!("i64 in [{negative}]")).fields().len(), 1);
}

#[test]
fn each_limit() {
    let base = Limits::default();
    let refused = |filter: &str, limits: Limits| parse_with_limits(filter, &Templates::new(), &schema(), &limits).err();
    assert!(matches!(refused("i8 == 1", Limits { nodes_max: 2, ..base }), Some(ExprError::TooMany { max: 2, .. })));
    assert!(refused("i8 == 1", Limits { nodes_max: 3, ..base }).is_none());
    let lists = Limits { list_elements_max: 3, ..base };
    assert!(refused("i8 in [1, 2, 3]", lists).is_none());
    assert!(matches!(refused("i8 in [1, 2] or i32 in [3, 4]", lists), Some(ExprError::TooMany { max: 3, .. })));
    let bytes = Limits { text_bytes_max: 20, list_bytes_max: 20, ..base };
    assert!(refused("i8 in [100, 200, 300]", bytes).is_none());
    assert!(matches!(
        refused("i8 in [100, 200, 300, 400, 500]", bytes),
        Some(ExprError::TooLong { part: "in lists", .. })
    ));
    assert!(matches!(
        refused("i8    ==    1   or   i8 == 2", bytes),
        Some(ExprError::TooLong { part: "outside lists", .. })
    ));
    assert!(matches!(refused(&" i8".repeat(100), bytes), Some(ExprError::TooLong { part: "in all", .. })));
    assert!(matches!(refused("((i8 == 1))", Limits { depth_max: 3, ..base }), Some(ExprError::TooDeep { max: 3 })));
    let templates = Templates::from([("k".to_owned(), redkite_expr::TemplateValue::from_json(b"[1,2,3,4]").unwrap())]);
    let error = parse_with_limits("i8 in {k}", &templates, &schema(), &lists).unwrap_err();
    assert!(matches!(error, ExprError::TooMany { max: 3, .. }), "{error}");
}

#[test]
fn messages_stay_short() {
    let mut bare = schema();
    bare.fields.retain(|field| !field.dynamic);
    let long = "x".repeat(500_000);
    for filter in [
        long.clone(),
        format!("{long} == 1"),
        format!("i8 == '{long}"),
        format!("i8 in ['{long}']"),
        format!("i8 == {{{long}}}"),
        format!("{long}(1)"),
        format!("i8 == 1 {long}"),
        format!("'{long}'"),
        format!("name like '{long}'"),
        format!("i8 == '\u{4e2d}{}", "\u{4e2d}".repeat(1000)),
    ] {
        let error = parse(&filter, &Templates::new(), &bare).unwrap_err().to_string();
        assert!(error.len() < 300, "{} bytes", error.len());
    }
}

#[test]
fn hostile_patterns_are_linear() {
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    let mut schema = schema();
    schema.fields.retain(|field| field.name == "name");
    let column: ArrayRef = std::sync::Arc::new(StringArray::from(vec!["a".repeat(60_000)]));
    let batch = RecordBatch::try_new(schema.arrow(), vec![column]).unwrap();
    let columns = redkite_expr::BatchColumns::new(&batch, &schema);
    for (pattern, expected) in [
        ("%a".repeat(3000) + "%b", false),
        ("%a".repeat(3000) + "%", true),
        ("a%_".repeat(2000) + "b%a", false),
        (format!("%{}b%", "a_".repeat(1000)), false),
    ] {
        let filter = format!("name like '{pattern}'");
        let predicate = parse(&filter, &Templates::new(), &schema).unwrap();
        assert_eq!(predicate.evaluate(&columns).unwrap().value(0), expected);
    }
}
