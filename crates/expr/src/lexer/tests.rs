use super::{Lexer, Token};

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    loop {
        match lexer.next_token().unwrap().0 {
            Token::End => return tokens,
            token => tokens.push(token),
        }
    }
}

#[test]
fn longest_symbol_wins() {
    use Token::*;
    let cases: &[(&str, &[Token<'_>])] = &[
        ("< <= << = == =~", &[Lt, Le, ShiftLeft, Assign, Eq, RegexMatch]),
        ("> >= >>", &[Gt, Ge, ShiftRight]),
        ("! != !~ ~", &[Not, Ne, RegexNotMatch, Tilde]),
        ("* ** & && | ||", &[Star, StarStar, Ampersand, And, Pipe, Or]),
        ("a<=-1", &[Name("a"), Le, Minus, Int(1)]),
        ("$meta $", &[Meta, Dollar]),
        ("()[]{},", &[Open, Close, OpenBracket, CloseBracket, OpenBrace, CloseBrace, Comma]),
    ];
    for (text, expected) in cases {
        assert_eq!(tokens(text), *expected, "{text}");
    }
}

#[test]
fn keywords_have_listed_casings_only() {
    use Token::*;
    assert_eq!(tokens("and AND or OR not NOT in IN"), [And, And, Or, Or, Not, Not, In, In]);
    assert_eq!(tokens("like LIKE exists EXISTS"), [Like, Like, Exists, Exists]);
    assert_eq!(tokens("true True TRUE false"), [Bool(true), Bool(true), Bool(true), Bool(false)]);
    assert_eq!(tokens("null Null NULL nULL"), [Null, Null, Null, Null]);
    assert_eq!(
        tokens("And iN tRue nulls r u8"),
        [Name("And"), Name("iN"), Name("tRue"), Name("nulls"), Name("r"), Name("u8")]
    );
}

#[test]
fn positions_are_offsets_in_bytes() {
    let mut lexer = Lexer::new("  a == '\u{4e2d}' \n b");
    let positions: Vec<usize> = (0..5).map(|_| lexer.next_token().unwrap().1).collect();
    assert_eq!(positions, [2, 4, 7, 15, 16]);
}
