//! Arguments in the forms that are no JSON: each has its parameters one by one, texts without quotes, and
//! everything else as JSON, which `text::parser` reads there as well.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::parts;
use super::texts::Texts;
use super::{Tool, Writer, literal, sequence};
use crate::text::{Kind, kind};

/// One parameter of a tool.
struct Parameter<'a> {
    name: &'a str,
    /// Its own schema.
    schema: Cow<'a, Map<String, Value>>,
    kind: Kind,
    is_required: bool,
}

impl Writer<'_> {
    /// `<function=name>`, and each parameter between marks of its own on lines of their own.
    pub(super) fn xml(&mut self, tool: &Tool) -> Result<String, String> {
        let mut call = literal(&format!("<function={}>\n", tool.name));
        for parameter in parameters(tool, &['>', '\n'])? {
            let open = literal(&format!("<parameter={}>\n", parameter.name));
            let value = self.bare(&parameter, tool, "\n", "</parameter>")?;
            add(&mut call, &sequence(&[&open, &value, &literal("\n")]), parameter.is_required);
        }
        Ok(sequence(&[&call, &literal("</function>")]))
    }

    /// The name, and each parameter and its value between marks.
    pub(super) fn glm(&mut self, tool: &Tool) -> Result<String, String> {
        let mut call = format!("{} {}", literal(&tool.name), super::BREAK);
        for parameter in parameters(tool, &['<', '\n'])? {
            let (open, close) = (self.mark("<arg_key>"), self.mark("</arg_key>"));
            let value_open = self.mark("<arg_value>");
            let value = self.bare(&parameter, tool, "", "</arg_value>")?;
            let one = sequence(&[
                &open,
                &literal(parameter.name),
                &close,
                super::BREAK,
                &value_open,
                &value,
                super::BREAK,
            ]);
            add(&mut call, &one, parameter.is_required);
        }
        Ok(call)
    }

    /// `call:name{key:value}`, with texts between marks.
    pub(super) fn gemma(&mut self, tool: &Tool) -> Result<String, String> {
        let mut members = Vec::new();
        for parameter in parameters(tool, &[])? {
            let key = literal(&format!("{}:", key(parameter.name)));
            let value = if parameter.kind == Kind::Text {
                let open = self.mark("<|\"|>");
                let text = self.bare(&parameter, tool, "", "<|\"|>")?;
                sequence(&[&open, &text])
            } else {
                self.part(&parameter, tool)?
            };
            members.push((sequence(&[&key, &value]), parameter.is_required));
        }
        let members = self.members(&members, ",");
        Ok(sequence(&[&literal(&format!("call:{}{{", tool.name)), &members, &literal("}")]))
    }

    /// `name(key=value)`.
    pub(super) fn python(&mut self, tool: &Tool) -> Result<String, String> {
        let mut members = Vec::new();
        for parameter in parameters(tool, &[])? {
            let key = literal(&format!("{}=", key(parameter.name)));
            let value = self.part(&parameter, tool)?;
            members.push((sequence(&[&key, &value]), parameter.is_required));
        }
        let members = self.members(&members, ", ");
        Ok(sequence(&[&literal(&format!("{}(", tool.name)), &members, &literal(")")]))
    }

    /// JSON of one parameter.
    fn part(&mut self, parameter: &Parameter<'_>, tool: &Tool) -> Result<String, String> {
        let schema = parts::alone(&parameter.schema, &tool.parameters);
        let json = schema.and_then(|schema| self.json(&schema));
        json.map_err(|reason| format!("the parameter {:?}: {reason}", parameter.name))
    }

    /// Members with something between any two, of which those that are not required may be missing.
    fn members(&mut self, members: &[(String, bool)], between: &str) -> String {
        let between = literal(between);
        // What follows where some stand before, and where none does.
        let (mut behind, mut first) = ("\"\"".to_owned(), "\"\"".to_owned());
        for (member, is_required) in members.iter().rev() {
            let begun = sequence(&[member, &behind]);
            let (more, one) = if *is_required {
                (sequence(&[&between, &begun]), begun)
            } else {
                (format!("({between} {member})? {behind}"), format!("{begun} | {first}"))
            };
            behind = self.rule(&more);
            first = self.rule(&one);
        }
        first
    }

    /// A value that stands between marks, and the mark that ends it, with `around` on either side of it.
    fn bare(
        &mut self,
        parameter: &Parameter<'_>,
        tool: &Tool,
        around: &str,
        end: &str,
    ) -> Result<String, String> {
        let last = if around.is_empty() { String::new() } else { literal(around) };
        if parameter.kind != Kind::Text {
            let (json, mark) = (self.part(parameter, tool)?, self.mark(end));
            return Ok(sequence(&[&json, &last, &mark]));
        }
        let of_parameter = |reason| format!("the parameter {:?}: {reason}", parameter.name);
        let texts = Texts::of(&parameter.schema, tool.is_strict).map_err(of_parameter)?;
        let is_control = self.markup.control_token(end).is_some();
        match texts {
            Texts::OneOf(mut texts) => {
                texts.retain(|text| is_control || !text.contains(end));
                if texts.is_empty() {
                    let reason = "none of the values of its enum or const can be written";
                    return Err(of_parameter(reason.to_owned()));
                }
                let texts: Vec<String> =
                    texts.iter().map(|text| literal(&format!("{text}{around}"))).collect();
                Ok(sequence(&[&super::either(&texts), &self.mark(end)]))
            }
            Texts::Like { limits, .. } if !is_control => {
                Ok(self.terminal_rule(&terminal(&limits, around, end)))
            }
            Texts::Like { is_empty: true, .. } => Ok(sequence(&[&last, &self.mark(end)])),
            Texts::Like { limits, may_be_empty, is_empty: false } => {
                let text = self.terminal_rule(&format!("(/(?s:.+)/{limits})"));
                let optional = if may_be_empty { "?" } else { "" };
                let mark = self.mark(end);
                Ok(format!("{text}{optional} {last} {mark}"))
            }
        }
    }

    /// A rule for text, whose name says that it is one.
    pub(super) fn terminal_rule(&mut self, body: &str) -> String {
        self.add(format!("T{}", self.rules.len()), body)
    }
}

/// Text that ends with the first of these marks.
pub(super) fn ended(mark: &str) -> String {
    terminal("", "", mark)
}

fn terminal(limits: &str, around: &str, end: &str) -> String {
    let inner = regex(end);
    let text = format!("(/(?s:.*)/ & ~/(?s:.*){inner}(?s:.*)/{limits})");
    format!("({text} {})", literal(&format!("{around}{end}")))
}

/// A text as a regular expression between slashes.
fn regex(text: &str) -> String {
    let escaped = |character: char| {
        let is_plain = character.is_alphanumeric() || !character.is_ascii();
        let backslash = (!is_plain && !"_<>\"".contains(character)).then_some('\\');
        backslash.into_iter().chain([character])
    };
    text.chars().flat_map(escaped).collect()
}

/// Adds a part that may be missing where it is not required.
fn add(call: &mut String, part: &str, is_required: bool) {
    let optional = if is_required { "" } else { "?" };
    call.push_str(&format!(" ({part}){optional}"));
}

/// A key that cannot be taken for anything else.
fn key(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

/// The parameters of a tool one by one. What a schema says of them together cannot be enforced in these
/// forms, and neither can those whose names hold any of `apart`.
fn parameters<'a>(tool: &'a Tool, apart: &[char]) -> Result<Vec<Parameter<'a>>, String> {
    const TOGETHER: [&str; 11] = [
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "dependentRequired",
        "dependentSchemas",
    ];
    let together = TOGETHER.iter().find(|key| tool.parameters.contains_key(**key));
    if let Some(key) = together.filter(|_| tool.is_strict) {
        return Err(format!(
            "{key} of its parameters cannot be enforced in this model's form of calls"
        ));
    }
    let properties = tool.parameters.get("properties").and_then(Value::as_object);
    let required: Vec<&str> = tool
        .parameters
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let is_listed = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
    let listed = properties.into_iter().flatten();
    let listed = listed.map(|(name, schema)| (name.as_str(), schema));
    let unlisted = required.iter().filter(|name| !is_listed(name));
    let other = other(tool);
    let all = listed.chain(unlisted.map(|name| (*name, other)));
    let mut parameters = Vec::new();
    for (name, schema) in all {
        let is_required = required.contains(&name);
        let is_odd = name.is_empty() || name.trim() != name || name.contains(apart);
        if is_odd && is_required {
            return Err(format!(
                "the parameter {name:?} cannot be written in this model's form of calls"
            ));
        }
        let kind = kind(schema);
        if let Some(schema) = allowed(name, schema, is_required)?.filter(|_| !is_odd) {
            parameters.push(Parameter { name, schema, kind, is_required });
        }
    }
    Ok(parameters)
}

/// What is said of parameters that are not listed.
fn other(tool: &Tool) -> &Value {
    match tool.parameters.get("additionalProperties") {
        Some(other) if tool.is_strict => other,
        // They are none of its own, and whoever requires them says no more of them.
        Some(_) | None => &Value::Bool(true),
    }
}

/// The schema of a parameter, or nothing where it is one that is never there.
fn allowed<'a>(
    name: &str,
    schema: &'a Value,
    is_required: bool,
) -> Result<Option<Cow<'a, Map<String, Value>>>, String> {
    match schema {
        Value::Object(fields) => Ok(Some(Cow::Borrowed(fields))),
        Value::Bool(true) => Ok(Some(Cow::Owned(Map::new()))),
        Value::Bool(false) if is_required => {
            Err(format!("the parameter {name:?} is required, and no value of it is allowed"))
        }
        Value::Bool(false) => Ok(None),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(format!("the schema of the parameter {name:?} is {schema}, and must be an object"))
        }
    }
}
