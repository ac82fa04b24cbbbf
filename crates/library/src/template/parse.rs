//! Pieces of a Go template as a tree. What the words mean is not known here.

use std::{
    iter::{Cloned, Peekable},
    slice,
    vec::IntoIter,
};

use super::{
    Untranslatable,
    lex::{Piece, Word},
    no,
};
use crate::limits::TEMPLATE_DEPTH_MAX;

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Expression),
    /// `$a := x` makes a variable, and `$a = x` changes one.
    Set {
        name: String,
        is_new: bool,
        value: Expression,
    },
    If {
        condition: Expression,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        variable: Option<String>,
        value: Expression,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range(Range),
    Break,
    Continue,
}

/// `range $key, $value := list`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) list: Expression,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// What has a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Dot,
    /// `$` is the variable without a name.
    Variable(String),
    Field(Box<Expression>, String),
    Text(String),
    Number(i64),
    Call(String, Vec<Expression>),
}

/// The words of an action that are left.
type Words<'a> = Peekable<Cloned<slice::Iter<'a, Word>>>;

/// Where a list of parts ends.
#[derive(Debug, PartialEq)]
enum End {
    Template,
    Closed,
    /// With the words behind it.
    Else(Vec<Word>),
}

pub(super) fn nodes(pieces: Vec<Piece>) -> Result<Vec<Node>, Untranslatable> {
    let mut pieces = pieces.into_iter();
    match list(&mut pieces, 0)? {
        (nodes, End::Template) => Ok(nodes),
        (_, End::Closed | End::Else(_)) => no("an end or else has no beginning"),
    }
}

fn list(pieces: &mut IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, End), Untranslatable> {
    if depth > TEMPLATE_DEPTH_MAX {
        return no("its parts stand in each other too deeply");
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let words = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(words) => words,
        };
        let (keyword, rest) = match words.split_first() {
            Some((Word::Name(name), rest)) => (name.as_str(), rest),
            Some(_) | None => ("", &words[..]),
        };
        match keyword {
            "end" => return Ok((nodes, End::Closed)),
            "else" => return Ok((nodes, End::Else(rest.to_vec()))),
            "break" => nodes.push(Node::Break),
            "continue" => nodes.push(Node::Continue),
            "if" | "with" | "range" => nodes.push(branch(keyword, rest, pieces, depth)?),
            "block" | "define" | "template" => {
                return no(format!("it has a template in itself (`{keyword}`)"));
            }
            _ => nodes.push(statement(&words)?),
        }
    }
    Ok((nodes, End::Template))
}

fn branch(
    keyword: &str,
    words: &[Word],
    pieces: &mut IntoIter<Piece>,
    depth: usize,
) -> Result<Node, Untranslatable> {
    let (then, ended) = list(pieces, depth + 1)?;
    let otherwise = match ended {
        End::Template => return no(format!("`{keyword}` has no end")),
        End::Closed => Vec::new(),
        End::Else(behind) => {
            let behind: Vec<Word> =
                behind.into_iter().skip_while(|word| *word == Word::Blank).collect();
            match behind.split_first() {
                None => match list(pieces, depth + 1)? {
                    (nodes, End::Closed) => nodes,
                    (_, End::Template | End::Else(_)) => return no("`else` has no end"),
                },
                // One end for both.
                Some((Word::Name(name), rest)) if name == "if" || name == "with" => {
                    vec![branch(name, rest, pieces, depth + 1)?]
                }
                Some(_) => return no("something other than `if` follows `else`"),
            }
        }
    };
    let (mut names, value) = declared(words)?;
    Ok(match (keyword, names.len()) {
        ("if", 0) => Node::If { condition: value, then, otherwise },
        ("with", 0 | 1) => Node::With { variable: names.pop(), value, then, otherwise },
        ("range", 0..=2) => {
            let variable = names.pop();
            Node::Range(Range { key: names.pop(), value: variable, list: value, then, otherwise })
        }
        _ => return no(format!("`{keyword}` makes {} variables", names.len())),
    })
}

/// Variables that are made before a value, and the value.
fn declared(words: &[Word]) -> Result<(Vec<String>, Expression), Untranslatable> {
    let Some(at) = words.iter().position(|word| *word == Word::Sign(":=")) else {
        return Ok((Vec::new(), expression(words)?));
    };
    let mut names = Vec::new();
    for word in &words[..at] {
        match word {
            Word::Variable(name) => names.push(name.clone()),
            Word::Blank | Word::Sign(",") => {}
            Word::Name(_)
            | Word::Dot
            | Word::Field(_)
            | Word::Text(_)
            | Word::Number(_)
            | Word::Sign(_) => return no("something other than variables stands before `:=`"),
        }
    }
    Ok((names, expression(&words[at + 1..])?))
}

fn statement(words: &[Word]) -> Result<Node, Untranslatable> {
    let is_set = |word: &Word| matches!(word, Word::Sign(":=" | "="));
    let Some(at) = words.iter().position(is_set) else {
        return Ok(Node::Print(expression(words)?));
    };
    let ([Word::Variable(name), Word::Blank] | [Word::Variable(name)]) = &words[..at] else {
        return no("something other than a variable is set");
    };
    let is_new = words[at] == Word::Sign(":=");
    Ok(Node::Set { name: name.clone(), is_new, value: expression(&words[at + 1..])? })
}

fn expression(words: &[Word]) -> Result<Expression, Untranslatable> {
    let mut words = words.iter().cloned().peekable();
    let value = pipeline(&mut words, 0)?;
    match words.next() {
        None => Ok(value),
        Some(word) => no(format!("{word:?} stands where nothing can")),
    }
}

/// Commands with `|` between, each of which gets the value of the one before it as its last argument.
fn pipeline(words: &mut Words<'_>, depth: usize) -> Result<Expression, Untranslatable> {
    if depth > TEMPLATE_DEPTH_MAX {
        return no("its brackets stand in each other too deeply");
    }
    let mut value = command(words, None, depth)?;
    let mut length = 0;
    while words.next_if_eq(&Word::Sign("|")).is_some() {
        value = command(words, Some(value), depth)?;
        length = longer(length)?;
    }
    Ok(value)
}

fn command(
    words: &mut Words<'_>,
    piped: Option<Expression>,
    depth: usize,
) -> Result<Expression, Untranslatable> {
    let mut operands = Vec::new();
    let mut function = None;
    loop {
        while words.next_if_eq(&Word::Blank).is_some() {}
        let operand = match words.peek() {
            None | Some(Word::Sign(")" | "|")) => break,
            Some(Word::Name(name)) if operands.is_empty() && function.is_none() => {
                function = Some(name.clone());
                words.next();
                continue;
            }
            Some(_) => operand(words, depth)?,
        };
        operands.push(operand);
    }
    operands.extend(piped);
    match (function, operands.len()) {
        (Some(name), _) => Ok(Expression::Call(name, operands)),
        (None, 1) => Ok(operands.remove(0)),
        (None, _) => no("a value stands where a function should"),
    }
}

fn operand(words: &mut Words<'_>, depth: usize) -> Result<Expression, Untranslatable> {
    let mut value = match words.next() {
        Some(Word::Dot) => Expression::Dot,
        Some(Word::Field(name)) => Expression::Field(Box::new(Expression::Dot), name),
        Some(Word::Variable(name)) => Expression::Variable(name),
        Some(Word::Text(text)) => Expression::Text(text),
        Some(Word::Number(number)) => Expression::Number(number),
        // A value by its name, or a function without arguments.
        Some(Word::Name(name)) => Expression::Call(name, Vec::new()),
        Some(Word::Sign("(")) => {
            let value = pipeline(words, depth + 1)?;
            if words.next() != Some(Word::Sign(")")) {
                return no("a bracket is not closed");
            }
            value
        }
        Some(Word::Sign(_) | Word::Blank) | None => return no("a value is missing"),
    };
    let mut length = 0;
    while let Some(Word::Field(name)) = words.next_if(|word| matches!(word, Word::Field(_))) {
        value = Expression::Field(Box::new(value), name);
        length = longer(length)?;
    }
    Ok(value)
}

/// One more of what follows each other.
fn longer(length: usize) -> Result<usize, Untranslatable> {
    if length == TEMPLATE_DEPTH_MAX {
        return no("too many fields or functions follow each other");
    }
    Ok(length + 1)
}
