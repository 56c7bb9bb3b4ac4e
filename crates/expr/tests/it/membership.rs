//! `in` and `like`.

use crate::fixture::check_all;

#[test]
fn lists() {
    check_all(&[
        ("i8 in [1, 5]", &[0, 5]),
        ("i8 IN [1]", &[0]),
        ("i8 in [1, 5,]", &[0, 5]),
        ("i8 not in [1, 5]", &[1, 3, 4]),
        ("i8 NOT IN [1, 5]", &[1, 3, 4]),
        ("not (i8 in [1, 5])", &[1, 3, 4]),
        ("i8 in []", &[]),
        ("i8 not in []", &[0, 1, 3, 4, 5]),
        ("i8 in [ ]", &[]),
        ("i8 in [1, 1, 1]", &[0]),
        ("i64 in [9223372036854775807, -9223372036854775808]", &[4, 5]),
        ("f in [0.1, 1]", &[0, 2]),
        ("f in [0]", &[5]),
        ("f not in [0.1, 1]", &[1, 4, 5]),
        ("d in [1.5, 3, -2.5]", &[0, 1, 3]),
        ("d not in [1.5]", &[1, 2, 3, 4, 5]),
        ("d in [9007199254740993]", &[]),
        ("flag in [true]", &[0, 3, 5]),
        ("flag in [true, false]", &[0, 1, 3, 4, 5]),
        ("flag not in [true]", &[1, 4]),
        ("flag in []", &[]),
        ("name in ['apple', 'a%c', 'none']", &[0, 3]),
        ("name not in ['apple', '']", &[1, 3, 4]),
        ("name in []", &[]),
        ("nums[0] in [1, 7]", &[0, 4, 5]),
        ("nums[0] not in [1, 7]", &[3]),
        ("tags[0] in ['a', 'x']", &[0, 4]),
    ]);
}

#[test]
fn long_lists_of_every_shape() {
    let dense: Vec<String> = (-128..100).map(|i| i.to_string()).collect();
    let sparse: Vec<String> = (0..5000i64).map(|i| (i * 1_000_000_007 - 5).to_string()).collect();
    let texts: Vec<String> = (0..5000).map(|i| format!("'a{i}'")).chain(["'apple'".to_owned()]).collect();
    check_all(&[
        (&format!("i8 in [{}]", dense.join(",")), &[0, 1, 4, 5]),
        (&format!("i64 in [{}]", dense.join(",")), &[3]),
        (&format!("i64 in [{}]", sparse.join(",")), &[3]),
        (&format!("i64 not in [{}]", sparse.join(",")), &[0, 2, 4, 5]),
        (&format!("name in [{}]", texts.join(",")), &[0]),
    ]);
}

#[test]
fn like() {
    check_all(&[
        ("name like 'apple'", &[0]),
        ("name like \"a%\"", &[0, 3]),
        ("name LIKE '%e'", &[0, 4]),
        ("name like '%an%'", &[1]),
        ("name like '%'", &[0, 1, 3, 4, 5]),
        ("name like ''", &[5]),
        ("name like '_pple'", &[0, 4]),
        ("name like '%p_e'", &[0, 4]),
        ("name like 'b%n%a'", &[1]),
        ("name like 'APPLE'", &[]),
        ("name like 'a\\%c'", &[3]),
        ("name like 'a\\\\%c'", &[3]),
        ("name like r'a\\%c'", &[3]),
        ("name like 'a\\%%'", &[3]),
        ("not name like 'a%'", &[1, 4, 5]),
        ("tags[0] like '%pp%'", &[5]),
        ("j['s'] like '%pie'", &[5]),
        ("not (j['s'] like '%pie')", &[0, 1, 2]),
        ("j['a'] like '%'", &[2]),
        ("color like 're%'", &[0]),
    ]);
}
