//! JSON paths and the dynamic field.

use crate::fixture::check_all;

#[test]
fn comparisons_go_by_the_kind_of_each_value() {
    check_all(&[
        ("j['a'] == 1", &[0]),
        ("j[\"a\"] == 1.0", &[0]),
        ("j['a'] != 1", &[1, 5]),
        ("not (j['a'] == 1)", &[1, 5]),
        ("j['a'] > 1", &[1, 5]),
        ("1 < j['a']", &[1, 5]),
        ("j['a'] == 'text'", &[2]),
        ("j['a'] != 'other'", &[2]),
        ("j['a'] >= 'a'", &[2]),
        // Of a key given twice the last value counts.
        ("j['a'] == 4", &[5]),
        ("j['a'] == 3", &[]),
        ("j['b'] == true", &[0]),
        ("j['b'] != true", &[2]),
        ("j['b'] == 1", &[1]),
        ("j['big'] == 9007199254740993", &[0]),
        ("j['big'] > 9007199254740992.0", &[0]),
        ("j['nul'] == 1", &[]),
        ("j['arr'] == [1, 2, 3]", &[0]),
        ("j['arr'] == []", &[5]),
        ("j['arr'] != []", &[0, 1, 2]),
        ("j['arr'] == [[1, 2], 3, true]", &[2]),
        ("j == 1", &[]),
    ]);
}

#[test]
fn paths() {
    check_all(&[
        ("j['n']['k'][0] == 10", &[0]),
        ("j[\"n\"]['k'][1] == 20", &[0]),
        ("j['n']['k'][1] > 0", &[0]),
        ("j['n']['k'][9] == 1", &[]),
        ("j['n'][0] == 1", &[]),
        ("j['arr']['0'] == 1", &[]),
        ("j['arr'][0][1] == 2", &[2]),
        ("j['a b'] == 7", &[5]),
        ("j[r\"a b\"] == 7", &[5]),
        ("j['\\u0061'] == 1", &[0]),
        ("j['n']['k'] == [30] or j['n']['k'][0] == 10 or j['n']['x'] == 1", &[0, 5]),
        ("j['n']['k'][0] == 30 and j['n']['k'] == [30]", &[5]),
    ]);
}

#[test]
fn ranges_lists_and_arithmetic() {
    check_all(&[
        ("1 < j['a'] < 4", &[1]),
        ("1 <= j['a'] <= 4", &[0, 1, 5]),
        ("4 > j['a'] >= 1", &[0, 1]),
        ("'a' < j['a'] < 'z'", &[2]),
        ("not (1 < j['a'] < 4)", &[0, 5]),
        ("j['a'] in [1, 4]", &[0, 5]),
        ("j['a'] in [1.0, 'text']", &[0, 2]),
        ("j['a'] in [2.5]", &[1]),
        ("j['a'] not in [1]", &[1, 5]),
        // A member of another kind leaves it open, as `!=` does.
        ("j['a'] not in [1, 'text']", &[]),
        ("j['a'] in []", &[]),
        ("j['a'] not in []", &[0, 1, 2, 5]),
        ("j['b'] in [1]", &[1]),
        ("j['b'] in [true]", &[0]),
        ("j['b'] in [true, 1]", &[0, 1]),
        ("j['arr'] in [[1, 2, 3], []]", &[0, 5]),
        ("j['a'] + 1 == 2", &[0]),
        ("j['a'] * 2 == 5", &[1]),
        ("j['a'] % 2 == 0", &[5]),
        ("not (j['a'] % 2 == 0)", &[0]),
        ("2 - j['a'] == 1", &[0]),
        ("j['a'] / 2 == 0", &[0]),
        ("j['a'] / 2 == 1.25", &[1]),
        ("j['a'] + 1 in [2, 5]", &[0, 5]),
    ]);
}

#[test]
fn existence() {
    check_all(&[
        ("exists j['a']", &[0, 1, 2, 5]),
        ("EXISTS j['nul']", &[]),
        ("exists(j['n']['k'])", &[0, 5]),
        ("not exists j['a']", &[3, 4]),
        ("exists j['n'] and j['a'] == 4", &[5]),
        ("j['a'] is null", &[3, 4]),
        ("j['nul'] is null", &[0, 1, 2, 3, 4, 5]),
        ("j['a'] is not null", &[0, 1, 2, 5]),
        ("not j['a'] is not null", &[3, 4]),
    ]);
}

#[test]
fn the_dynamic_field() {
    check_all(&[
        ("color == 'red'", &[0]),
        ("$meta['color'] == 'red'", &[0]),
        ("color in ['red', 'blue']", &[0, 1]),
        ("color is null", &[2, 3, 4, 5]),
        ("exists color", &[0, 1]),
        ("n >= 1", &[0, 4]),
        ("1 <= n < 3", &[0, 4]),
        ("n['x'] == 1", &[]),
        ("unheard_of == 1", &[]),
        ("$meta is null", &[3]),
        ("color == 'red' and i8 == 1 or n == 2", &[0, 4]),
    ]);
}

#[test]
fn contains() {
    check_all(&[
        ("json_contains(j['arr'], 1)", &[0, 1]),
        ("JSON_CONTAINS(j['arr'], 'a')", &[1]),
        ("json_contains(j['arr'], [1, 2])", &[2]),
        ("json_contains(j['arr'], true)", &[2]),
        // A value that is no array contains nothing; a missing one is unknown.
        ("not json_contains(j['arr'], 1)", &[2, 5]),
        ("not json_contains(j['a'], 1)", &[0, 1, 2, 5]),
        ("json_contains_all(j['arr'], [1, 3])", &[0]),
        ("json_contains_all(j['arr'], [1, 1.0])", &[0, 1]),
        ("json_contains_all(j['arr'], [])", &[0, 1, 2, 5]),
        ("json_contains_any(j['arr'], [3, 'b'])", &[0, 1, 2]),
        ("json_contains_any(j['arr'], [[1, 2], 'zz'])", &[2]),
        ("json_contains_any(j['arr'], [])", &[]),
        ("array_contains_any(j['arr'], [2])", &[0]),
        ("array_length(j['arr']) == 3", &[0, 1, 2]),
        ("array_length(j['arr']) < 3", &[5]),
        ("array_length(j['a']) == 0", &[]),
        ("not (array_length(j['a']) == 0)", &[]),
        ("array_length(j['arr']) + 1 in [1, 4]", &[0, 1, 2, 5]),
    ]);
}
