//! Three-valued logic for rules: yes, no, unknown (Kleene's strong logic). Every answer comes with
//! the findings that made it so: for *yes* those that fired, for *unknown* those to measure.
//!
//! ```text
//! or    := and ("or" and)*
//! and   := not ("and" not)*
//! not   := "not" not | term
//! term  := "(" or ")" | "known(" name ")" | "atleast(" number ("," or)+ ")" | name (op value)?
//! op    := "<" | "<=" | ">" | ">=" | "="
//! ```

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;

/// Yes, no, or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tri {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// Not enough is known.
    Unknown,
}

impl Tri {
    fn of(known: bool) -> Self {
        if known { Tri::Yes } else { Tri::No }
    }

    fn not(self) -> Self {
        match self {
            Tri::Yes => Tri::No,
            Tri::No => Tri::Yes,
            Tri::Unknown => Tri::Unknown,
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
}

/// A rule's condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// All of these.
    #[doc(hidden)]
    And(Vec<Expr>),
    /// Any of these.
    #[doc(hidden)]
    Or(Vec<Expr>),
    /// Not this.
    #[doc(hidden)]
    Not(Box<Expr>),
    /// At least so many of these.
    #[doc(hidden)]
    AtLeast(usize, Vec<Expr>),
    /// Whether a finding is known: itself never unknown.
    #[doc(hidden)]
    Known(String),
    /// A flag or a defined name.
    #[doc(hidden)]
    Name(String),
    /// A number compared.
    #[doc(hidden)]
    Number(String, NumberTest),
    /// A choice compared.
    #[doc(hidden)]
    Choice(String, String),
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberTest {
    op: Op,
    bound: f64,
}

/// An answer and what made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub tri: Tri,
    /// The findings behind it.
    pub because: BTreeSet<String>,
}

/// What conditions are read against.
pub struct Scope<'a> {
    /// Findings by name; what is not there is unknown.
    pub findings: &'a BTreeMap<String, FindingValue>,
    /// Defined names.
    pub defines: &'a BTreeMap<String, Expr>,
    /// Between which bounds a number is usual. One beyond them may show a danger, and clears none:
    /// it is measured again.
    pub usual: &'a BTreeMap<String, (f64, f64)>,
    /// What nobody asks about, as its own gate is closed: no to every question but whether it is
    /// known. Empty but where gates are read.
    pub closed: &'a BTreeSet<String>,
}

/// Nothing is closed: how rules read a case.
pub static NOTHING_CLOSED: BTreeSet<String> = BTreeSet::new();

impl Scope<'_> {
    /// What a finding comes to that has no value.
    fn unsaid(&self, name: &str) -> Tri {
        match self.closed.contains(name) {
            true => Tri::No,
            false => Tri::Unknown,
        }
    }
}

/// How deeply definitions and brackets may nest.
const DEPTH_MAX: usize = 32;

impl Expr {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
        };
        let expr = parser.or()?;
        match parser.peek() {
            None => Ok(expr),
            Some(token) => Err(format!("{token:?} was not expected in {text:?}")),
        }
    }

    /// All names in the condition.
    pub fn names(&self, into: &mut BTreeSet<String>) {
        match self {
            Expr::And(terms) | Expr::Or(terms) | Expr::AtLeast(_, terms) => {
                terms.iter().for_each(|t| t.names(into))
            }
            Expr::Not(term) => term.names(into),
            Expr::Known(name)
            | Expr::Name(name)
            | Expr::Number(name, _)
            | Expr::Choice(name, _) => {
                into.insert(name.clone());
            }
        }
    }

    /// With which numbers and words it compares what, and what else it names.
    pub(crate) fn compared(
        &self,
        into: &mut BTreeMap<String, (Vec<f64>, Vec<String>)>,
        names: &mut BTreeSet<String>,
    ) {
        match self {
            Expr::And(terms) | Expr::Or(terms) | Expr::AtLeast(_, terms) => {
                terms.iter().for_each(|term| term.compared(into, names));
            }
            Expr::Not(term) => term.compared(into, names),
            Expr::Known(name) | Expr::Name(name) => drop(names.insert(name.clone())),
            Expr::Number(name, test) => into.entry(name.clone()).or_default().0.push(test.bound),
            Expr::Choice(name, word) => into.entry(name.clone()).or_default().1.push(word.clone()),
        }
    }

    /// The answer for these findings.
    pub fn answer(&self, scope: &Scope<'_>) -> Answer {
        self.answer_at(scope, 0)
    }

    fn answer_at(&self, scope: &Scope<'_>, depth: usize) -> Answer {
        let leaf = |name: &str, tri| Answer {
            tri,
            because: BTreeSet::from([name.to_owned()]),
        };
        let all = |terms: &[Expr]| {
            terms
                .iter()
                .map(|t| t.answer_at(scope, depth + 1))
                .collect::<Vec<_>>()
        };
        if depth > DEPTH_MAX {
            return leaf("(nested too deeply)", Tri::Unknown);
        }
        match self {
            Expr::And(terms) => at_least(terms.len(), &all(terms)),
            Expr::Or(terms) => at_least(1, &all(terms)),
            Expr::AtLeast(count, terms) => at_least(*count, &all(terms)),
            Expr::Not(term) => {
                let answer = term.answer_at(scope, depth + 1);
                Answer {
                    tri: answer.tri.not(),
                    because: answer.because,
                }
            }
            Expr::Known(name) => leaf(
                name,
                Tri::of(
                    scope
                        .findings
                        .get(name)
                        .is_some_and(|v| *v != FindingValue::Unknown),
                ),
            ),
            Expr::Name(name) => match (scope.defines.get(name), scope.findings.get(name)) {
                (Some(expr), _) => expr.answer_at(scope, depth + 1),
                (None, Some(FindingValue::Yes)) => leaf(name, Tri::Yes),
                (None, Some(FindingValue::No)) => leaf(name, Tri::No),
                (None, _) => leaf(name, scope.unsaid(name)),
            },
            Expr::Number(name, test) => match scope.findings.get(name) {
                Some(FindingValue::Number(number)) if test.holds(*number) => leaf(name, Tri::Yes),
                Some(FindingValue::Number(number)) => {
                    let usual = scope
                        .usual
                        .get(name)
                        .is_none_or(|(least, most)| (*least..=*most).contains(number));
                    leaf(name, if usual { Tri::No } else { Tri::Unknown })
                }
                _ => leaf(name, scope.unsaid(name)),
            },
            Expr::Choice(name, choice) => match scope.findings.get(name) {
                Some(FindingValue::Text(text)) => leaf(name, Tri::of(text == choice)),
                _ => leaf(name, scope.unsaid(name)),
            },
        }
    }
}

impl NumberTest {
    fn holds(self, number: f64) -> bool {
        match self.op {
            Op::Less => number < self.bound,
            Op::LessEqual => number <= self.bound,
            Op::Greater => number > self.bound,
            Op::GreaterEqual => number >= self.bound,
            Op::Equal => number == self.bound,
        }
    }
}

/// Yes when `count` answers are yes whatever the unknown ones are; no when even they would not be
/// enough.
fn at_least(count: usize, answers: &[Answer]) -> Answer {
    let of = |tri| answers.iter().filter(move |a| a.tri == tri);
    let (yes, unknown) = (of(Tri::Yes).count(), of(Tri::Unknown).count());
    let tri = match () {
        () if yes >= count => Tri::Yes,
        () if yes + unknown >= count => Tri::Unknown,
        () => Tri::No,
    };
    Answer {
        tri,
        because: of(tri).flat_map(|a| a.because.iter().cloned()).collect(),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Number(f64),
    Op(Op),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '<' if rest.starts_with("<=") => (Token::Op(Op::LessEqual), 2),
            '>' if rest.starts_with(">=") => (Token::Op(Op::GreaterEqual), 2),
            '<' => (Token::Op(Op::Less), 1),
            '>' => (Token::Op(Op::Greater), 1),
            '=' => (Token::Op(Op::Equal), 1),
            '-' | '0'..='9' => {
                let length = rest
                    .find(|c: char| !(c == '-' || c == '.' || c.is_ascii_digit()))
                    .unwrap_or(rest.len());
                let number = rest.get(..length).unwrap_or_default();
                (
                    Token::Number(
                        number
                            .parse()
                            .map_err(|_| format!("{number:?} is not a number"))?,
                    ),
                    length,
                )
            }
            'a'..='z' => {
                let length = rest
                    .find(|c: char| !(c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit()))
                    .unwrap_or(rest.len());
                (
                    Token::Word(rest.get(..length).unwrap_or_default().to_owned()),
                    length,
                )
            }
            other => return Err(format!("{other:?} was not expected in {text:?}")),
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn word(&mut self, word: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Word(w)) if w == word);
        if here {
            self.at += 1;
        }
        here
    }

    fn require(&mut self, token: &Token) -> Result<(), String> {
        match self.next() {
            Some(found) if found == *token => Ok(()),
            found => Err(format!("{token:?} was expected, not {found:?}")),
        }
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut terms = vec![self.and()?];
        while self.word("or") {
            terms.push(self.and()?);
        }
        Ok(one_or(terms, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut terms = vec![self.not()?];
        while self.word("and") {
            terms.push(self.not()?);
        }
        Ok(one_or(terms, Expr::And))
    }

    fn not(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deeply".into());
        }
        let expr = if self.word("not") {
            Ok(Expr::Not(Box::new(self.not()?)))
        } else {
            self.term()
        };
        self.depth -= 1;
        expr
    }

    fn term(&mut self) -> Result<Expr, String> {
        match self.next() {
            Some(Token::Open) => {
                let inner = self.or()?;
                self.require(&Token::Close)?;
                Ok(inner)
            }
            Some(Token::Word(name)) if name == "known" => {
                self.require(&Token::Open)?;
                let Some(Token::Word(name)) = self.next() else {
                    return Err("known() needs a name".into());
                };
                self.require(&Token::Close)?;
                Ok(Expr::Known(name))
            }
            Some(Token::Word(name)) if name == "atleast" => self.at_least(),
            Some(Token::Word(name)) => self.comparison(name),
            other => Err(format!("a condition was expected, not {other:?}")),
        }
    }

    fn at_least(&mut self) -> Result<Expr, String> {
        self.require(&Token::Open)?;
        let Some(Token::Number(count)) = self.next() else {
            return Err("atleast() begins with a number".into());
        };
        let mut terms = Vec::new();
        while self.peek() == Some(&Token::Comma) {
            self.at += 1;
            terms.push(self.or()?);
        }
        self.require(&Token::Close)?;
        Ok(Expr::AtLeast(count as usize, terms))
    }

    fn comparison(&mut self, name: String) -> Result<Expr, String> {
        let Some(Token::Op(op)) = self.peek().cloned() else {
            return Ok(Expr::Name(name));
        };
        self.at += 1;
        match (op, self.next()) {
            (op, Some(Token::Number(bound))) => Ok(Expr::Number(name, NumberTest { op, bound })),
            (Op::Equal, Some(Token::Word(choice))) => Ok(Expr::Choice(name, choice)),
            (_, other) => Err(format!("{name} is compared with {other:?}")),
        }
    }
}

fn one_or(mut terms: Vec<Expr>, many: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        Some(last) => {
            terms.push(last);
            many(terms)
        }
        None => many(terms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str, findings: &[(&str, FindingValue)]) -> Answer {
        let findings = findings
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        let (defines, usual) = (
            BTreeMap::new(),
            BTreeMap::from([("c".to_owned(), (15.0, 90.0))]),
        );
        Expr::parse(text).unwrap().answer(&Scope {
            findings: &findings,
            defines: &defines,
            usual: &usual,
            closed: &NOTHING_CLOSED,
        })
    }

    #[test]
    fn unknown_is_neither_yes_nor_no() {
        assert_eq!(answer("a", &[]).tri, Tri::Unknown);
        assert_eq!(answer("not a", &[]).tri, Tri::Unknown);
        assert_eq!(answer("a and b", &[("b", FindingValue::No)]).tri, Tri::No);
        assert_eq!(answer("a or b", &[("b", FindingValue::Yes)]).tri, Tri::Yes);
        assert_eq!(
            answer("a or b", &[("b", FindingValue::No)]).tri,
            Tri::Unknown
        );
        assert_eq!(
            answer("known(a)", &[("a", FindingValue::Unknown)]).tri,
            Tri::No
        );
    }

    #[test]
    fn a_number_that_is_hardly_possible_shows_a_danger_and_clears_none() {
        let rate = |rate: f64| answer("c >= 50", &[("c", FindingValue::Number(rate))]).tri;
        assert_eq!(
            [30.0, 50.0, 95.0, 14.0].map(rate),
            [Tri::No, Tri::Yes, Tri::Yes, Tri::Unknown]
        );
    }

    #[test]
    fn at_least_counts_what_could_still_be() {
        let yes = ("a", FindingValue::Yes);
        assert_eq!(
            answer("atleast(2, a, b, c)", std::slice::from_ref(&yes)).tri,
            Tri::Unknown
        );
        assert_eq!(
            answer(
                "atleast(2, a, b, c)",
                &[
                    yes.clone(),
                    ("b", FindingValue::No),
                    ("c", FindingValue::No)
                ]
            )
            .tri,
            Tri::No
        );
        assert_eq!(
            answer("atleast(2, a, b, c)", &[yes, ("c", FindingValue::Yes)]).tri,
            Tri::Yes
        );
    }

    #[test]
    fn the_reasons_are_those_that_count() {
        let because = answer(
            "(a and b) or c >= 50",
            &[("a", FindingValue::No), ("c", FindingValue::Number(52.0))],
        )
        .because;
        assert_eq!(because.into_iter().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "a and",
            "(a",
            "a b",
            "a < b",
            "atleast(a)",
            "a & b",
            &"(".repeat(2000),
        ] {
            assert!(Expr::parse(text).is_err(), "{text:?}");
        }
    }
}
