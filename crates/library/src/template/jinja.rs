//! The tree of a Go template as Jinja. Every value has a kind, which says what its fields are called there and how
//! Go would print it; texts are written as Jinja's, so that no engine takes blanks from them.

mod kind;

use kind::{Kind, Value};

use super::{
    Untranslatable, no,
    parse::{Expression, Node, Range},
};
use crate::limits::TEMPLATE_BYTES_MAX;

/// Messages as Ollama hands them to a template: neighbours of one role are one, and what the system says is also
/// to be had together.
const COLLATED: &str = r"{% set ns = namespace(all=[], system='', said=false) %}{% for m in messages %}{% set text = m.content or '' %}{% if m.role == 'system' %}{% set ns.system = (ns.system ~ '\n\n' ~ text) if ns.said else text %}{% set ns.said = true %}{% endif %}{% if ns.all and ns.all[-1].role == m.role and m.role != 'tool' %}{% set ns.all = ns.all[:-1] + [dict(ns.all[-1], content=ns.all[-1].content ~ '\n\n' ~ text)] %}{% else %}{% set ns.all = ns.all + [dict(m, content=text)] %}{% endif %}{% endfor %}";

/// Turns, for templates that know one question and its answer: each is what the system says, the user, the model.
/// The last one is open.
const TURNS: &str = r"{% set ns.turns = [] %}{% set ns.open = {'system': '', 'prompt': '', 'response': ''} %}{% set none_yet = ns.open %}{% for m in ns.all %}{% if m.role == 'system' %}{% if ns.open.prompt or ns.open.response %}{% set ns.turns = ns.turns + [ns.open] %}{% set ns.open = none_yet %}{% endif %}{% set ns.open = dict(ns.open, system=m.content) %}{% elif m.role == 'user' %}{% if ns.open.response %}{% set ns.turns = ns.turns + [ns.open] %}{% set ns.open = none_yet %}{% endif %}{% set ns.open = dict(ns.open, prompt=m.content) %}{% elif m.role == 'assistant' %}{% set ns.open = dict(ns.open, response=m.content) %}{% endif %}{% endfor %}";

pub(super) fn written(nodes: &[Node]) -> Result<String, Untranslatable> {
    let mut writer = Writer { text: COLLATED.to_owned(), ..Writer::default() };
    if any_field(nodes, "Messages") {
        writer.nodes(nodes)?;
        return Ok(writer.text);
    }
    let mut nodes = nodes.to_vec();
    if !any_field(&nodes, "Response") {
        let dot = Box::new(Expression::Dot);
        nodes.push(Node::Print(Expression::Field(dot, "Response".to_owned())));
    }
    writer.has_turns = true;
    writer.text.push_str(TURNS);
    writer.text.push_str("{% for turn in ns.turns %}");
    writer.nodes(&nodes)?;
    writer.text.push_str("{% endfor %}{% set turn = ns.open %}");
    // The model writes from there on.
    writer.nodes(&up_to_response(&nodes, &mut false))?;
    Ok(writer.text)
}

/// What stands before the first place of the answer, with that.
fn up_to_response(nodes: &[Node], is_behind: &mut bool) -> Vec<Node> {
    let mut kept = Vec::new();
    for node in nodes {
        if *is_behind {
            break;
        }
        let mut below = |nodes: &[Node]| up_to_response(nodes, is_behind);
        kept.push(match node.clone() {
            Node::If { condition, then, otherwise } => {
                Node::If { condition, then: below(&then), otherwise: below(&otherwise) }
            }
            Node::With { variable, value, then, otherwise } => {
                Node::With { variable, value, then: below(&then), otherwise: below(&otherwise) }
            }
            Node::Range(range) => Node::Range(Range {
                then: below(&range.then),
                otherwise: below(&range.otherwise),
                ..range
            }),
            Node::Print(value) | Node::Set { value, .. } if has_field(&value, "Response") => {
                *is_behind = true;
                node.clone()
            }
            node @ (Node::Text(_)
            | Node::Print(_)
            | Node::Set { .. }
            | Node::Break
            | Node::Continue) => node,
        });
    }
    kept
}

fn any_field(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Print(value) | Node::Set { value, .. } => has_field(value, name),
        Node::If { condition: value, then, otherwise }
        | Node::With { value, then, otherwise, .. }
        | Node::Range(Range { list: value, then, otherwise, .. }) => {
            has_field(value, name) || any_field(then, name) || any_field(otherwise, name)
        }
    })
}

fn has_field(value: &Expression, name: &str) -> bool {
    match value {
        Expression::Field(of, field) => field == name || has_field(of, name),
        Expression::Call(_, values) => values.iter().any(|value| has_field(value, name)),
        Expression::Dot | Expression::Variable(_) | Expression::Text(_) | Expression::Number(_) => {
            false
        }
    }
}

#[derive(Debug, Default)]
struct Writer {
    text: String,
    /// Variables by their names in Go; the last of a name is the one that is meant.
    variables: Vec<(String, Value)>,
    /// What the dot is; at the top it is everything.
    dots: Vec<Value>,
    /// Names that were made up.
    made: usize,
    has_turns: bool,
}

impl Writer {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), Untranslatable> {
        // What is made in a block is gone behind it.
        let known = self.variables.len();
        for node in nodes {
            self.node(node)?;
            if self.text.len() > TEMPLATE_BYTES_MAX {
                return no("it would become too long");
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), Untranslatable> {
        match node {
            Node::Text(text) => self.put(&format!("{{{{ {} }}}}", literal(text))),
            Node::Print(value) => {
                let printed = self.value(value)?.printed()?;
                self.put(&format!("{{{{ {printed} }}}}"));
            }
            Node::Set { name, is_new, value } => self.set(name, *is_new, value)?,
            Node::If { condition, then, otherwise } => {
                let condition = self.value(condition)?;
                self.put(&format!("{{% if {} %}}", condition.text));
                self.nodes(then)?;
                self.otherwise(otherwise)?;
                self.put("{% endif %}");
            }
            Node::With { variable, value, then, otherwise } => {
                let value = self.value(value)?;
                let name = self.made("w");
                self.put(&format!("{{% set {name} = {} %}}{{% if {name} %}}", value.text));
                let value = Value { text: name, kind: value.kind };
                let known = self.variables.len();
                self.variables.extend(variable.iter().map(|name| (name.clone(), value.clone())));
                self.below(value, then)?;
                self.variables.truncate(known);
                self.otherwise(otherwise)?;
                self.put("{% endif %}");
            }
            Node::Range(range) => self.range(range)?,
            Node::Break => self.put("{% break %}"),
            Node::Continue => self.put("{% continue %}"),
        }
        Ok(())
    }

    /// Variables are kept where blocks and loops can change them.
    fn set(&mut self, name: &str, is_new: bool, value: &Expression) -> Result<(), Untranslatable> {
        let value = self.value(value)?;
        if is_new {
            let place = self.made("ns.v");
            self.put(&format!("{{% set {place} = {} %}}", value.text));
            self.variables.push((name.to_owned(), Value { text: place, kind: value.kind }));
            return Ok(());
        }
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        let Some((_, known)) = known else { return no(format!("${name} is not there")) };
        if !known.text.starts_with("ns.") {
            return no(format!("the variable ${name} of a loop is changed"));
        }
        if known.kind != value.kind {
            known.kind = Kind::Any;
        }
        let place = known.text.clone();
        self.put(&format!("{{% set {place} = {} %}}", value.text));
        Ok(())
    }

    fn range(&mut self, range: &Range) -> Result<(), Untranslatable> {
        let list = self.value(&range.list)?;
        let (element, key) = (self.made("e"), self.made("k"));
        let Some((kind, has_keys)) = list.kind.element() else {
            return no(format!("it goes through {}", list.kind.called()));
        };
        let known = self.variables.len();
        let (key_kind, begin) = if has_keys {
            // Go goes through keys in their order.
            let list = format!("({}) | dictsort(case_sensitive=true)", list.text);
            (Kind::Text, format!("{{% for {key}, {element} in {list} %}}"))
        } else {
            let begin =
                format!("{{% for {element} in {} %}}{{% set {key} = loop.index0 %}}", list.text);
            (Kind::Number, begin)
        };
        self.put(&begin);
        let element = Value { text: element, kind };
        let made =
            [(&range.key, Value { text: key, kind: key_kind }), (&range.value, element.clone())];
        for (name, value) in made {
            self.variables.extend(name.iter().map(|name| (name.clone(), value.clone())));
        }
        self.below(element, &range.then)?;
        self.variables.truncate(known);
        self.otherwise(&range.otherwise)?;
        self.put("{% endfor %}");
        Ok(())
    }

    /// Parts for which the dot is something else.
    fn below(&mut self, dot: Value, nodes: &[Node]) -> Result<(), Untranslatable> {
        self.dots.push(dot);
        self.nodes(nodes)?;
        self.dots.pop();
        Ok(())
    }

    fn otherwise(&mut self, nodes: &[Node]) -> Result<(), Untranslatable> {
        if nodes.is_empty() {
            return Ok(());
        }
        self.put("{% else %}");
        self.nodes(nodes)
    }

    /// A value; what is compared with several others is written as often, so that hostile ones grow.
    fn value(&self, value: &Expression) -> Result<Value, Untranslatable> {
        let value = self.any_value(value)?;
        if value.text.len() > TEMPLATE_BYTES_MAX {
            no("it would become too long")
        } else {
            Ok(value)
        }
    }

    fn any_value(&self, value: &Expression) -> Result<Value, Untranslatable> {
        match value {
            Expression::Dot => Ok(self.dots.last().cloned().unwrap_or_else(Value::root)),
            Expression::Variable(name) if name.is_empty() => Ok(Value::root()),
            Expression::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or_else(
                    || no(format!("${name} is not there")),
                    |(_, value)| Ok(value.clone()),
                )
            }
            Expression::Field(of, name) => self.value(of)?.field(name, self.has_turns),
            Expression::Text(text) => Ok(Value::new(literal(text), Kind::Text)),
            Expression::Number(number) => Ok(Value::new(number.to_string(), Kind::Number)),
            Expression::Call(name, values) => {
                let values = values.iter().map(|value| self.value(value));
                kind::call(name, &values.collect::<Result<Vec<_>, _>>()?)
            }
        }
    }

    fn made(&mut self, begin: &str) -> String {
        self.made += 1;
        format!("{begin}{}", self.made)
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// A text in Jinja, with as few escapes as may be: the marks of a family are looked for in a template's source.
fn literal(text: &str) -> String {
    let quote = if text.contains('"') { '\'' } else { '"' };
    let mut written = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '\\' => written.push_str("\\\\"),
            c if c == quote => written.extend(['\\', c]),
            c => written.push(c),
        }
    }
    written.push(quote);
    written
}
