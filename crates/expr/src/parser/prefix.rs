//! What an expression begins with: constants, names, unary operators, brackets and calls.

use super::{Parser, strength, unsupported};
use crate::ast::{Contains, Expr, Kind, Path, PathStep};
use crate::constant::Constant;
use crate::error::{ExprError, Result, clip};
use crate::fold;
use crate::lexer::Token;

/// Functions of Milvus's language that are not evaluated here, in lower case; Milvus knows each in upper case, too.
const UNSUPPORTED: [&str; 24] = [
    "text_match",
    "text_match_fuzzy",
    "phrase_match",
    "random_sample",
    "element_filter",
    "match_all",
    "match_any",
    "match_least",
    "match_most",
    "match_exact",
    "st_equals",
    "st_touches",
    "st_overlaps",
    "st_crosses",
    "st_contains",
    "st_intersects",
    "st_within",
    "st_dwithin",
    "st_isvalid",
    "bloom_match",
    "membership_match",
    "starts_with",
    "ends_with",
    "empty",
];

impl<'a> Parser<'a> {
    /// An operand with the operators in front of it. On the stack once a level: what does not recurse is elsewhere.
    pub(super) fn prefix(&mut self) -> Result<Expr> {
        match self.advance()? {
            Token::Open => self.parentheses(),
            Token::OpenBracket => self.list(),
            Token::Name(name) => self.name(name),
            Token::Minus => self.minus(),
            Token::Plus => self.expression(strength::UNARY),
            Token::Tilde => self.unary(strength::UNARY, Kind::BitNot),
            Token::Not => self.unary(strength::UNARY, Kind::Not),
            Token::Exists => self.unary(strength::LIKE + 1, Kind::Exists),
            token => self.leaf(token),
        }
    }

    fn parentheses(&mut self) -> Result<Expr> {
        let inner = self.expression(0)?;
        self.expect(Token::Close, "')'")?;
        Ok(inner)
    }

    fn unary(&mut self, strength: u8, kind: fn(Box<Expr>) -> Kind) -> Result<Expr> {
        let inner = self.expression(strength)?;
        self.node(kind(inner.into()))
    }

    /// An operand with nothing inside it, or the error of a token that begins no operand.
    fn leaf(&mut self, token: Token<'a>) -> Result<Expr> {
        match token {
            Token::Int(value) => match i64::try_from(value) {
                Ok(value) => self.constant(Constant::Int(value)),
                Err(_) => self.error("integer out of the range of Int64, before this"),
            },
            Token::Float(value) => self.constant(Constant::Float(value)),
            Token::Text(value) => self.constant(Constant::Text(value)),
            Token::Bool(value) => self.constant(Constant::Bool(value)),
            Token::Meta => {
                let path = self.path("$meta")?;
                self.path_or_null_test(path)
            }
            Token::OpenBrace => self.template(),
            Token::Null => Err(ExprError::Type(
                "NULL literal is not supported in expressions; use '<field> is null' or '<field> is not null'"
                    .to_owned(),
            )),
            Token::Dollar => unsupported("$ (elements of struct arrays)"),
            Token::End => self.error("the expression ends too early"),
            _ => self.error("expected a field, a constant or '(', before this"),
        }
    }

    /// Unary minus; a number behind it is folded at once, which also makes room for the least Int64.
    fn minus(&mut self) -> Result<Expr> {
        match self.negative_number()? {
            Some(number) => self.constant(number),
            None => self.unary(strength::UNARY, Kind::Negate),
        }
    }

    /// The number behind a minus, taken, unless `**` binds it tighter: `-2 ** 2` is `-(2 ** 2)`.
    fn negative_number(&mut self) -> Result<Option<Constant>> {
        let number = match self.token {
            Token::Int(value) => Constant::Int(0i64.wrapping_sub_unsigned(value)),
            Token::Float(value) => Constant::Float(-value),
            _ => return Ok(None),
        };
        let before = (self.lexer.clone(), self.token.clone(), self.position);
        self.advance()?;
        if self.token != Token::StarStar {
            return Ok(Some(number));
        }
        (self.lexer, self.token, self.position) = before;
        Ok(None)
    }

    /// A field, a call, or one of the constructs that begin with a name.
    fn name(&mut self, name: &'a str) -> Result<Expr> {
        if self.token == Token::Open {
            return match self.function(name)? {
                Some(function) => self.contains(function),
                None => self.array_length(),
            };
        }
        self.field(name)
    }

    fn field(&mut self, name: &'a str) -> Result<Expr> {
        if matches!(self.token, Token::Text(_)) && matches!(name, "interval" | "INTERVAL" | "iso" | "ISO") {
            return unsupported(name);
        }
        let path = self.path(name)?;
        self.path_or_null_test(path)
    }

    /// The brackets behind a name.
    fn path(&mut self, name: &str) -> Result<Path> {
        let mut steps = Vec::new();
        while self.token == Token::OpenBracket {
            self.advance()?;
            let step = match self.advance()? {
                Token::Text(key) if key.is_empty() => return self.error("empty key, before this"),
                Token::Text(key) => PathStep::Key(key),
                Token::Int(index) => match usize::try_from(index) {
                    Ok(index) => PathStep::Index(index),
                    Err(_) => return self.error("index out of range, before this"),
                },
                Token::Name(_) => return unsupported("[name] (fields of struct arrays)"),
                _ => return self.error("expected a quoted key or a non-negative index in [], before this"),
            };
            steps.push(step);
            if steps.len() > self.limits.depth_max {
                return Err(ExprError::TooDeep { max: self.limits.depth_max });
            }
            self.expect(Token::CloseBracket, "']'")?;
        }
        Ok(Path { name: name.to_owned(), steps })
    }

    /// The path itself, or `is null` or `is not null` behind it.
    fn path_or_null_test(&mut self, path: Path) -> Result<Expr> {
        if !matches!(self.token, Token::Name("is" | "IS")) {
            return self.node(Kind::Path(path));
        }
        self.advance()?;
        let negated = self.token == Token::Not;
        if negated {
            self.advance()?;
        }
        self.expect(Token::Null, "'null' or 'not null' after 'is'")?;
        let test = self.node(Kind::IsNull(path))?;
        if negated { self.node(Kind::Not(test.into())) } else { Ok(test) }
    }

    /// Which function a name is, in lower or upper case; none for `array_length`.
    fn function(&self, name: &str) -> Result<Option<Contains>> {
        let lower = name.to_ascii_lowercase();
        let listed_casing = name == lower || name == name.to_ascii_uppercase();
        match lower.as_str() {
            _ if !listed_casing => self.error(format!("unknown function {}, before this", clip(name))),
            "array_length" => Ok(None),
            "json_contains" | "array_contains" => Ok(Some(Contains::One)),
            "json_contains_all" | "array_contains_all" => Ok(Some(Contains::All)),
            "json_contains_any" | "array_contains_any" => Ok(Some(Contains::Any)),
            known if UNSUPPORTED.contains(&known) => unsupported(known),
            _ => self.error(format!("unknown function {}, before this", clip(name))),
        }
    }

    fn array_length(&mut self) -> Result<Expr> {
        self.expect(Token::Open, "'('")?;
        let inner = self.expression(0)?;
        self.expect(Token::Close, "')'")?;
        self.node(Kind::ArrayLength(inner.into()))
    }

    fn contains(&mut self, function: Contains) -> Result<Expr> {
        self.expect(Token::Open, "'('")?;
        let left = Box::new(self.expression(0)?);
        self.expect(Token::Comma, "','")?;
        let elements = Box::new(self.expression(0)?);
        self.expect(Token::Close, "')'")?;
        self.node(Kind::Contains { function, left, elements })
    }

    /// `{name}`; the opening brace has been read.
    fn template(&mut self) -> Result<Expr> {
        let Token::Name(name) = self.token else {
            return self.error("expected the name of a template variable");
        };
        self.advance()?;
        self.expect(Token::CloseBrace, "'}'")?;
        let Some(value) = self.templates.get(name) else {
            return Err(ExprError::TemplateMissing { name: clip(name) });
        };
        self.count_elements(value.element_count())?;
        self.node(Kind::Template(value.clone()))
    }

    /// A list of constants; the opening bracket has been read.
    fn list(&mut self) -> Result<Expr> {
        let outermost = self.list_start.is_none();
        if outermost {
            self.list_start = Some(self.position);
        }
        let mut elements = Vec::new();
        while self.token != Token::CloseBracket {
            let element = self.element()?;
            self.count_elements(1)?;
            elements.push(element);
            if self.token != Token::Comma {
                break;
            }
            self.advance()?;
        }
        if self.token != Token::CloseBracket {
            return self.error("expected ',' or ']' in a list");
        }
        if outermost {
            self.list_bytes += self.list_start.take().map_or(0, |start| self.position - start);
        }
        self.advance()?;
        self.constant(Constant::Array(elements))
    }

    /// One element of a list, folded.
    fn element(&mut self) -> Result<Constant> {
        let nodes = self.nodes;
        let expr = self.expression(0)?;
        if let Kind::Constant(constant) = expr.kind {
            // Plain literals count as elements, not as nodes.
            self.nodes = nodes;
            return Ok(constant);
        }
        fold::constant(expr)
    }
}
