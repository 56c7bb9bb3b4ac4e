use super::{Figure, markdown, rounded, table};

#[test]
fn numbers_have_three_digits() {
    let cases = [(0.0, "0"), (0.126, "0.13"), (9.994, "9.99"), (12.34, "12.3"), (123.4, "123"), (51234.0, "51234")];
    for (value, expected) in cases {
        assert_eq!(rounded(value), expected);
    }
}

#[test]
fn lines_show_target_share_and_verdict() {
    let figures = [
        Figure::against("restart", 150.0, 75.0, "ms", "median of 5"),
        Figure::against("files | opened", 0.0, 1.0, "", ""),
        Figure::only("bare sync", 2.5, "ms", ""),
    ];
    let expected = "\
| figure | target | measured | of target |  | how |
|---|---:|---:|---:|---|---|
| restart | <= 150 ms | 75.0 ms | 0.50 | pass | median of 5 |
| files \\| opened | <= 0 | 1.00 |  | MISS |  |
| bare sync |  | 2.50 ms |  |  |  |
";
    assert_eq!(markdown(&figures), expected);
    let table = table(&figures);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1].find("75.0 ms"), lines[3].find("2.50 ms"));
}
