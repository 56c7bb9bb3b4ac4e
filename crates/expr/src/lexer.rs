//! The lexer: cuts the text of a filter into tokens, one at a time, without copying more than string contents.
//!
//! Keywords exist only in the casings that Milvus lists (`and`, `AND`, never `And`).

mod literal;

use crate::error::{ExprError, Result, clip};

/// A piece of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    /// An integer literal's magnitude; up to 2^63, which only a minus in front makes valid.
    Int(u64),
    Float(f64),
    Text(String),
    Bool(bool),
    /// A name that is no keyword.
    Name(&'a str),
    /// `$meta`
    Meta,
    /// `$`, the current element of a struct array.
    Dollar,
    /// `null` in any casing.
    Null,
    And,
    Or,
    Not,
    In,
    Like,
    Exists,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    CloseBrace,
    Comma,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    RegexMatch,
    RegexNotMatch,
    Assign,
    Plus,
    Minus,
    Star,
    StarStar,
    Slash,
    Percent,
    Ampersand,
    Pipe,
    Caret,
    Tilde,
    ShiftLeft,
    ShiftRight,
    End,
}

/// Operators and brackets, the longest spelling first where one is the start of another.
const SYMBOLS: [(&str, Token<'static>); 33] = [
    (",", Token::Comma),
    ("&&", Token::And),
    ("||", Token::Or),
    ("==", Token::Eq),
    ("!=", Token::Ne),
    ("=~", Token::RegexMatch),
    ("!~", Token::RegexNotMatch),
    ("<=", Token::Le),
    (">=", Token::Ge),
    ("<<", Token::ShiftLeft),
    (">>", Token::ShiftRight),
    ("**", Token::StarStar),
    ("$meta", Token::Meta),
    ("!", Token::Not),
    ("<", Token::Lt),
    (">", Token::Gt),
    ("=", Token::Assign),
    ("+", Token::Plus),
    ("-", Token::Minus),
    ("*", Token::Star),
    ("/", Token::Slash),
    ("%", Token::Percent),
    ("&", Token::Ampersand),
    ("|", Token::Pipe),
    ("^", Token::Caret),
    ("~", Token::Tilde),
    ("$", Token::Dollar),
    ("(", Token::Open),
    (")", Token::Close),
    ("[", Token::OpenBracket),
    ("]", Token::CloseBracket),
    ("{", Token::OpenBrace),
    ("}", Token::CloseBrace),
];

/// Reads tokens from a text.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    /// The next token and the offset in bytes where it begins; `End` for ever once the text is used up.
    pub fn next_token(&mut self) -> Result<(Token<'a>, usize)> {
        let rest = self.rest().trim_start_matches([' ', '\t', '\r', '\n']);
        self.position = self.text.len() - rest.len();
        let start = self.position;
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, start));
        };
        let token = if let Some((raw, prefix)) = literal::text_prefix(rest) {
            self.text_literal(raw, prefix)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            self.word()
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            self.number_literal()?
        } else {
            self.symbol()?
        };
        Ok((token, start))
    }

    /// An error at an offset of this text.
    pub fn error<T>(&self, position: usize, message: impl Into<String>) -> Result<T> {
        let near = clip(self.text.get(position..).unwrap_or_default());
        Err(ExprError::Parse { position, near, message: message.into() })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn word(&mut self) -> Token<'a> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..end];
        self.position += end;
        match word {
            "and" | "AND" => Token::And,
            "or" | "OR" => Token::Or,
            "not" | "NOT" => Token::Not,
            "in" | "IN" => Token::In,
            "like" | "LIKE" => Token::Like,
            "exists" | "EXISTS" => Token::Exists,
            "true" | "True" | "TRUE" => Token::Bool(true),
            "false" | "False" | "FALSE" => Token::Bool(false),
            word if word.eq_ignore_ascii_case("null") => Token::Null,
            word => Token::Name(word),
        }
    }

    fn symbol(&mut self) -> Result<Token<'a>> {
        let rest = self.rest();
        match SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
            Some((symbol, token)) => {
                self.position += symbol.len();
                Ok(token.clone())
            }
            None => self.error(self.position, "unexpected character"),
        }
    }

    fn text_literal(&mut self, raw: bool, prefix: usize) -> Result<Token<'a>> {
        let start = self.position;
        let body = &self.rest()[prefix..];
        let literal = if raw { literal::raw_text(body) } else { literal::text(body) };
        match literal {
            Ok((text, length)) => {
                self.position += prefix + length;
                Ok(Token::Text(text))
            }
            Err(message) => self.error(start, message),
        }
    }

    fn number_literal(&mut self) -> Result<Token<'a>> {
        match literal::number(self.rest()) {
            Ok((token, length)) => {
                self.position += length;
                Ok(token)
            }
            Err(message) => self.error(self.position, message),
        }
    }
}

#[cfg(test)]
mod tests;
