//! Array fields: elements, whole arrays, membership, length.

use crate::fixture::check_all;

#[test]
fn elements() {
    check_all(&[
        ("nums[0] == 1", &[0, 5]),
        ("nums[0] != 1", &[3, 4]),
        ("nums[2] == 3", &[0]),
        ("nums[2] != 3", &[]),
        ("nums[9223372036854775807] == 3", &[]),
        ("1 < nums[0] < 9", &[3, 4]),
        ("nums[0] + 1 == 8", &[4]),
        ("nums[0] < 1.5", &[0, 5]),
        ("tags[1] == 'b'", &[0]),
        ("tags[0] > 'a'", &[2, 4, 5]),
        ("floats[0] == 0.1", &[0]),
        ("floats[0] == 0", &[3]),
        ("floats[1] == 2", &[0]),
    ]);
}

#[test]
fn whole_arrays() {
    check_all(&[
        ("nums == [1, 2, 3]", &[0]),
        ("[1] == nums", &[5]),
        ("nums == []", &[1]),
        ("nums != [1]", &[0, 1, 3, 4]),
        ("tags == ['a', 'b']", &[0]),
        ("floats == [0.1, 2]", &[0]),
        ("floats != [0]", &[0, 2, 4, 5]),
    ]);
}

#[test]
fn membership() {
    check_all(&[
        ("array_contains(nums, 3)", &[0, 3]),
        ("ARRAY_CONTAINS(nums, 3)", &[0, 3]),
        ("json_contains(nums, 3)", &[0, 3]),
        ("not array_contains(nums, 3)", &[1, 4, 5]),
        ("array_contains_all(nums, [1, 2])", &[0]),
        ("array_contains_all(nums, [7, 7])", &[4]),
        ("array_contains_all(nums, [])", &[0, 1, 3, 4, 5]),
        ("array_contains_any(nums, [7, 2])", &[0, 4]),
        ("array_contains_any(nums, [])", &[]),
        ("not array_contains_any(nums, [])", &[0, 1, 3, 4, 5]),
        ("array_contains(tags, 'b')", &[0, 2]),
        ("array_contains_any(tags, ['z', 'apple'])", &[4, 5]),
        ("array_contains(floats, 0.1)", &[0]),
        ("array_contains(floats, 2)", &[0]),
        ("array_contains(floats, 0)", &[3]),
        ("array_contains_all(floats, [2, 0.1])", &[0]),
    ]);
}

#[test]
fn length() {
    check_all(&[
        ("array_length(nums) == 0", &[1]),
        ("ARRAY_LENGTH(nums) >= 2", &[0, 4]),
        ("array_length(tags) in [1, 3]", &[2, 4, 5]),
        ("array_length(nums) % 2 == 1", &[0, 3, 5]),
        ("1 < array_length(tags) < 3", &[0]),
        ("array_length(nums) == array_length(tags)", &[1, 5]),
    ]);
}
