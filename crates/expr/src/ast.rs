//! The tree as written: names and operators, nothing resolved, nothing typed.

use crate::constant::Constant;
use crate::number::{Arithmetic, Comparison};

/// A node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub kind: Kind,
    /// Levels below and including this one; bounds every recursion over the tree.
    pub depth: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Constant(Constant),
    /// The value of a template variable.
    Template(Constant),
    Path(Path),
    /// Unary minus, plus excluded: that is dropped by the parser.
    Negate(Box<Expr>),
    BitNot(Box<Expr>),
    Not(Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Power(Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `low < middle <= high`; a descending range is turned round by the parser.
    Range {
        low: Box<Expr>,
        low_inclusive: bool,
        middle: Box<Expr>,
        high: Box<Expr>,
        high_inclusive: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    In {
        left: Box<Expr>,
        list: Box<Expr>,
    },
    Like {
        left: Box<Expr>,
        pattern: Box<Expr>,
    },
    Exists(Box<Expr>),
    IsNull(Path),
    Contains {
        function: Contains,
        left: Box<Expr>,
        elements: Box<Expr>,
    },
    ArrayLength(Box<Expr>),
}

/// A name with the brackets behind it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    /// The field, or a key of the dynamic field.
    pub name: String,
    pub steps: Vec<PathStep>,
}

/// One pair of brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PathStep {
    /// A key of a JSON object.
    Key(String),
    /// A position in an array.
    Index(usize),
}

/// The three membership functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contains {
    One,
    All,
    Any,
}

impl Contains {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Contains::One => "contains",
            Contains::All => "contains_all",
            Contains::Any => "contains_any",
        }
    }
}
