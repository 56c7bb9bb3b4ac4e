//! No text panics, hangs or is answered by anything but rows or an error.

use proptest::prelude::*;
use redkite_expr::{BatchColumns, Constant, Predicate, Templates, parse};

use crate::fixture::{batch, schema, sent};

/// Pieces that the language is made of, and some that it is not.
const PIECES: &[&str] = &[
    "i8",
    "i32",
    "i64",
    "id",
    "flag",
    "f",
    "d",
    "name",
    "nums",
    "tags",
    "floats",
    "j",
    "vec",
    "$meta",
    "color",
    "j['a']",
    "j[\"n\"]['k'][0]",
    "nums[0]",
    "tags[1]",
    "1",
    "-1",
    "0",
    "5",
    "127",
    "9223372036854775807",
    "9223372036854775808",
    "1.5",
    "1e300",
    "0x7f",
    "0b1",
    "07",
    ".5",
    "'a'",
    "\"apple\"",
    "'%a_'",
    "r'\\d'",
    "true",
    "false",
    "null",
    "[]",
    "[1, 2]",
    "['a', 'b']",
    "[1, 'a', 2.5]",
    "[[1], 2]",
    "{t}",
    "{list}",
    "{gone}",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "&",
    "|",
    "^",
    "~",
    "<<",
    ">>",
    "and",
    "or",
    "not",
    "&&",
    "||",
    "!",
    "in",
    "not in",
    "like",
    "exists",
    "is null",
    "is not null",
    "=~",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "$",
    "array_length(",
    "json_contains(",
    "array_contains_all(",
    "json_contains_any(",
    "text_match(",
    "'",
    "\"",
    "\\",
    " ",
    "\n",
    "\u{4e2d}",
];

const VALID: &[&str] = &[
    "i8 == 1 and (name like 'a%' or not (d < 2.5)) && j['a'] in [1, 'x', true]",
    "1 < i8 <= 5 or 'a' <= name < 'c' or exists j['n']['k'][0] and color is not null",
    "array_contains_any(nums, [1, 2, 3]) or array_length(tags) + 1 == 3 or nums[0] ** 2 > 1",
    "id in [1, 2, 3, 0x7f, 0b11, -9223372036854775808] and f not in [0.5, 1e10, .25] and i64 % 7 == 3",
    "json_contains_all(j['arr'], [[1, 2], \"q\\u4e2d\\n\", r'\\d']) and $meta['x y'] != {t} or i8 in {list}",
    "((i8 & 3) << 2) == 4 or ~i32 == -11 or (i64 ^ 5 | 6) >= 0 or -d <= 2 ** 3 ** 1 - 4 / 2.0",
];

fn templates() -> Templates {
    let list = Constant::Array(vec![Constant::Int(1), Constant::Int(5)]);
    Templates::from([("t".to_owned(), Constant::Int(1)), ("list".to_owned(), list)])
}

/// Parses, and evaluates what parses. Whatever the outcome, it is one.
fn exercise(text: &str) -> Option<Predicate> {
    let (batch, schema) = (batch(), schema());
    match parse(text, &templates(), &schema) {
        Ok(predicate) => {
            let selected = predicate.evaluate(&BatchColumns::new(&batch, &schema)).unwrap();
            assert_eq!(selected.len(), batch.num_rows(), "{text}");
            let sent = sent(predicate.clone(), text, &templates());
            assert_eq!(sent.evaluate(&BatchColumns::new(&batch, &schema)).unwrap(), selected, "{text}, sent");
            Some(predicate)
        }
        Err(error) => {
            assert!(error.to_string().len() < 400, "{text}: {error}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_text(text in "\\PC{0,80}") {
        exercise(&text);
    }

    #[test]
    fn random_pieces(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..24), spaced in any::<bool>()) {
        exercise(&pieces.join(if spaced { " " } else { "" }));
    }
}

/// SplitMix64: enough randomness for mutations, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn mutate(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(chars.len() + 1);
        let to = at + random.below(chars.len() - at + 1).min(random.below(12));
        match random.below(5) {
            0 => drop(chars.drain(at..to)),
            1 => chars.splice(at..at, PIECES[random.below(PIECES.len())].chars()).for_each(drop),
            2 => chars.splice(at..to, PIECES[random.below(PIECES.len())].chars()).for_each(drop),
            3 => {
                let copy: Vec<char> = chars[at..to].to_vec();
                let target = random.below(chars.len() + 1);
                chars.splice(target..target, copy).for_each(drop);
            }
            _ => {
                if let Some(c) = chars.get_mut(at) {
                    *c = char::from(random.below(128) as u8);
                }
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutations_of_valid_filters() {
    let (batch, schema) = (batch(), schema());
    let columns = BatchColumns::new(&batch, &schema);
    let templates = templates();
    let mut random = Random(42);
    let mut parsed = 0;
    for round in 0..20_000 {
        let mut text = mutate(&mut random, VALID[round % VALID.len()]);
        if random.below(4) == 0 {
            text = mutate(&mut random, &text);
        }
        if let Ok(predicate) = parse(&text, &templates, &schema) {
            predicate.evaluate(&columns).unwrap();
            parsed += 1;
        }
    }
    // A mutation that never parses would prove little.
    assert!(parsed > 500, "{parsed} of 20000 parsed");
}

#[test]
fn the_seeds_are_valid() {
    let refused: Vec<_> = VALID.iter().filter(|text| exercise(text).is_none()).collect();
    assert_eq!(refused, [&VALID[2]], "the third has a power of a field on purpose");
}
