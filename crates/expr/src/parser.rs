//! The parser: precedence climbing over the tokens, one level of the tree a call.
//!
//! Precedence follows Milvus's grammar, tightest first: `like`, `**`, unary operators and `not`, `* / %`, `+ -`,
//! `<< >>`, `in`, `< <= > >=` and ranges, `== !=`, `&`, `^`, `|`, `and`, `or`. So `not a == 1` is `(not a) == 1`.
//! `is null` belongs to the name before it. Chains of `and` and `or` are flat, however long.
//!
//! List elements are folded to constants as they are read, so a list of a million keys costs a million constants.

mod prefix;

use crate::ast::{Expr, Kind};
use crate::constant::{Constant, Templates};
use crate::error::{ExprError, Result};
use crate::lexer::{Lexer, Token};
use crate::limits::Limits;
use crate::number::{Arithmetic, Comparison};

/// Binding strength; a higher one binds tighter.
mod strength {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const BIT_OR: u8 = 3;
    pub const BIT_XOR: u8 = 4;
    pub const BIT_AND: u8 = 5;
    pub const EQUALITY: u8 = 6;
    pub const RELATION: u8 = 7;
    pub const IN: u8 = 8;
    pub const SHIFT: u8 = 9;
    pub const SUM: u8 = 10;
    pub const PRODUCT: u8 = 11;
    pub const UNARY: u8 = 12;
    pub const POWER: u8 = 13;
    pub const LIKE: u8 = 14;
}

/// Parses a text that is not blank.
pub(crate) fn parse(text: &str, templates: &Templates, limits: &Limits) -> Result<Expr> {
    if text.len() > limits.text_bytes_max.saturating_add(limits.list_bytes_max) {
        return Err(ExprError::TooLong { part: "in all", max: limits.text_bytes_max + limits.list_bytes_max });
    }
    let mut lexer = Lexer::new(text);
    let (token, position) = lexer.next_token()?;
    let mut parser = Parser {
        lexer,
        token,
        position,
        templates,
        limits,
        depth: 0,
        nodes: 0,
        elements: 0,
        list_bytes: 0,
        list_start: None,
    };
    let expr = parser.expression(0)?;
    match parser.token {
        Token::End => Ok(expr),
        Token::Assign => parser.error("'=' is not an operator, write '=='"),
        _ => parser.error("unexpected input after the expression"),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to be read next and where it begins.
    token: Token<'a>,
    position: usize,
    templates: &'a Templates,
    limits: &'a Limits,
    /// Calls of `expression` now on the stack.
    depth: usize,
    nodes: usize,
    elements: usize,
    /// Bytes of the lists already read.
    list_bytes: usize,
    /// Where the outermost list being read begins.
    list_start: Option<usize>,
}

/// What stands between two operands.
enum Infix {
    And,
    Or,
    In,
    NotIn,
    Like,
    Power,
    Compare(Comparison),
    Arithmetic(Arithmetic),
}

impl<'a> Parser<'a> {
    /// Reads operators as long as they bind at least this tightly.
    fn expression(&mut self, strength: u8) -> Result<Expr> {
        self.depth += 1;
        if self.depth > self.limits.depth_max {
            return Err(ExprError::TooDeep { max: self.limits.depth_max });
        }
        let left = self.prefix()?;
        let expr = self.climb(left, strength)?;
        self.depth -= 1;
        Ok(expr)
    }

    /// Extends an expression to the right.
    fn climb(&mut self, mut left: Expr, minimum: u8) -> Result<Expr> {
        while let Some((infix, strength)) = self.infix()? {
            if strength < minimum {
                break;
            }
            self.advance()?;
            if matches!(infix, Infix::NotIn) {
                self.expect(Token::In, "'in' after 'not'")?;
            }
            let right = self.expression(strength + 1)?;
            left = self.combine(infix, left, right)?;
        }
        Ok(left)
    }

    /// An operator with both its operands. Apart from `climb`, which is on the stack once a level, to keep that small.
    fn combine(&mut self, infix: Infix, left: Expr, right: Expr) -> Result<Expr> {
        match infix {
            Infix::And => self.chain(left, right, true),
            Infix::Or => self.chain(left, right, false),
            Infix::In => self.node(Kind::In { left: left.into(), list: right.into() }),
            Infix::NotIn => {
                let inner = self.node(Kind::In { left: left.into(), list: right.into() })?;
                self.node(Kind::Not(inner.into()))
            }
            Infix::Like => self.node(Kind::Like { left: left.into(), pattern: right.into() }),
            Infix::Power => self.node(Kind::Power(left.into(), right.into())),
            Infix::Arithmetic(operator) => self.node(Kind::Arithmetic(operator, left.into(), right.into())),
            Infix::Compare(comparison) => self.comparison(comparison, left, right),
        }
    }

    /// The operator that comes next, not yet taken, with its strength.
    fn infix(&self) -> Result<Option<(Infix, u8)>> {
        use strength::{AND, BIT_AND, BIT_OR, BIT_XOR, EQUALITY, IN, LIKE, OR, POWER, PRODUCT, RELATION, SHIFT, SUM};
        Ok(Some(match self.token {
            Token::And => (Infix::And, AND),
            Token::Or => (Infix::Or, OR),
            Token::In => (Infix::In, IN),
            Token::Not => (Infix::NotIn, IN),
            Token::Like => (Infix::Like, LIKE),
            Token::StarStar => (Infix::Power, POWER),
            Token::Eq => (Infix::Compare(Comparison::Eq), EQUALITY),
            Token::Ne => (Infix::Compare(Comparison::Ne), EQUALITY),
            Token::Lt => (Infix::Compare(Comparison::Lt), RELATION),
            Token::Le => (Infix::Compare(Comparison::Le), RELATION),
            Token::Gt => (Infix::Compare(Comparison::Gt), RELATION),
            Token::Ge => (Infix::Compare(Comparison::Ge), RELATION),
            Token::Plus => (Infix::Arithmetic(Arithmetic::Add), SUM),
            Token::Minus => (Infix::Arithmetic(Arithmetic::Sub), SUM),
            Token::Star => (Infix::Arithmetic(Arithmetic::Mul), PRODUCT),
            Token::Slash => (Infix::Arithmetic(Arithmetic::Div), PRODUCT),
            Token::Percent => (Infix::Arithmetic(Arithmetic::Mod), PRODUCT),
            Token::Ampersand => (Infix::Arithmetic(Arithmetic::BitAnd), BIT_AND),
            Token::Pipe => (Infix::Arithmetic(Arithmetic::BitOr), BIT_OR),
            Token::Caret => (Infix::Arithmetic(Arithmetic::BitXor), BIT_XOR),
            Token::ShiftLeft => (Infix::Arithmetic(Arithmetic::ShiftLeft), SHIFT),
            Token::ShiftRight => (Infix::Arithmetic(Arithmetic::ShiftRight), SHIFT),
            Token::RegexMatch => return unsupported("=~"),
            Token::RegexNotMatch => return unsupported("!~"),
            _ => return Ok(None),
        }))
    }

    /// A comparison, or a range if the same direction goes on behind a middle that is not a constant.
    fn comparison(&mut self, first: Comparison, left: Expr, right: Expr) -> Result<Expr> {
        let ascending = matches!(first, Comparison::Lt | Comparison::Le);
        let second = match self.token {
            Token::Lt if ascending => Comparison::Lt,
            Token::Le if ascending => Comparison::Le,
            Token::Gt if !ascending => Comparison::Gt,
            Token::Ge if !ascending => Comparison::Ge,
            _ => return self.node(Kind::Compare(first, left.into(), right.into())),
        };
        let is_range = matches!(right.kind, Kind::Path(_) | Kind::ArrayLength(_) | Kind::Arithmetic(..));
        if matches!(first, Comparison::Eq | Comparison::Ne) || !is_range {
            return self.node(Kind::Compare(first, left.into(), right.into()));
        }
        self.advance()?;
        let last = self.expression(strength::RELATION + 1)?;
        let middle = Box::new(right);
        let first_inclusive = matches!(first, Comparison::Le | Comparison::Ge);
        let second_inclusive = matches!(second, Comparison::Le | Comparison::Ge);
        self.node(if ascending {
            let (low_inclusive, high_inclusive) = (first_inclusive, second_inclusive);
            Kind::Range { low: left.into(), low_inclusive, middle, high: last.into(), high_inclusive }
        } else {
            let (low_inclusive, high_inclusive) = (second_inclusive, first_inclusive);
            Kind::Range { low: last.into(), low_inclusive, middle, high: left.into(), high_inclusive }
        })
    }

    /// Joins two conditions, into the left one if that is a chain of the same kind.
    fn chain(&mut self, mut left: Expr, right: Expr, and: bool) -> Result<Expr> {
        if let (Kind::And(operands), true) | (Kind::Or(operands), false) = (&mut left.kind, and) {
            left.depth = left.depth.max(right.depth + 1);
            operands.push(right);
            return self.check_depth(left);
        }
        let operands = vec![left, right];
        self.node(if and { Kind::And(operands) } else { Kind::Or(operands) })
    }

    /// A new node, counted and with its depth checked.
    fn node(&mut self, kind: Kind) -> Result<Expr> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes_max {
            return Err(ExprError::TooMany { what: "operators and operands", max: self.limits.nodes_max });
        }
        let depth = 1 + match &kind {
            Kind::Constant(_) | Kind::Template(_) | Kind::Path(_) | Kind::IsNull(_) => 0,
            Kind::Negate(inner) | Kind::BitNot(inner) | Kind::Not(inner) => inner.depth,
            Kind::Exists(inner) | Kind::ArrayLength(inner) => inner.depth,
            Kind::Arithmetic(_, a, b) | Kind::Power(a, b) | Kind::Compare(_, a, b) => a.depth.max(b.depth),
            Kind::In { left: a, list: b } | Kind::Like { left: a, pattern: b } => a.depth.max(b.depth),
            Kind::Contains { left: a, elements: b, .. } => a.depth.max(b.depth),
            Kind::Range { low, middle, high, .. } => low.depth.max(middle.depth).max(high.depth),
            Kind::And(operands) | Kind::Or(operands) => operands.iter().map(|expr| expr.depth).max().unwrap_or(0),
        };
        self.check_depth(Expr { kind, depth })
    }

    fn check_depth(&self, expr: Expr) -> Result<Expr> {
        if expr.depth > self.limits.depth_max {
            return Err(ExprError::TooDeep { max: self.limits.depth_max });
        }
        Ok(expr)
    }

    fn count_elements(&mut self, more: usize) -> Result<()> {
        self.elements += more;
        if self.elements > self.limits.list_elements_max {
            return Err(ExprError::TooMany { what: "list elements", max: self.limits.list_elements_max });
        }
        Ok(())
    }

    /// Takes the next token and reads the one behind it.
    fn advance(&mut self) -> Result<Token<'a>> {
        let (token, position) = self.lexer.next_token()?;
        self.position = position;
        let in_list = self.list_start.map_or(0, |start| position - start);
        if position - self.list_bytes - in_list > self.limits.text_bytes_max {
            return Err(ExprError::TooLong { part: "outside lists", max: self.limits.text_bytes_max });
        }
        if self.list_bytes + in_list > self.limits.list_bytes_max {
            return Err(ExprError::TooLong { part: "in lists", max: self.limits.list_bytes_max });
        }
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn expect(&mut self, token: Token<'static>, what: &str) -> Result<()> {
        if self.token != token {
            return self.error(format!("expected {what}"));
        }
        self.advance().map(|_| ())
    }

    /// An error at the token to be read next.
    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        self.lexer.error(self.position, message)
    }

    fn constant(&mut self, constant: Constant) -> Result<Expr> {
        self.node(Kind::Constant(constant))
    }
}

fn unsupported<T>(function: &str) -> Result<T> {
    Err(ExprError::Unsupported { function: crate::error::clip(function) })
}

#[cfg(test)]
mod tests;
