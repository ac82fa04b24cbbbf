//! Arguments in the forms that are no JSON: each has its parameters one by one, texts without quotes, and
//! everything else as JSON, which `text::parser` reads there as well.

use serde_json::{Value, json};

use super::{Tool, Writer, literal, sequence};
use crate::text::{Kind, kind};

/// One parameter of a tool.
struct Parameter<'a> {
    name: &'a str,
    /// Its own schema, with what that refers to.
    schema: Value,
    is_required: bool,
}

impl Writer<'_> {
    /// `<function=name>`, and each parameter between marks of its own on lines of their own.
    pub(super) fn xml(&mut self, tool: &Tool) -> Result<String, String> {
        let mut call = literal(&format!("<function={}>\n", tool.name));
        for parameter in parameters(tool, &['>', '\n'])? {
            let open = literal(&format!("<parameter={}>\n", parameter.name));
            let value = self.bare(&parameter.schema, "\n", "</parameter>", tool.is_strict)?;
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
            let value = self.bare(&parameter.schema, "", "</arg_value>", tool.is_strict)?;
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
            let value = if kind(&parameter.schema) == Kind::Text {
                let open = self.mark("<|\"|>");
                let text = self.bare(&parameter.schema, "", "<|\"|>", tool.is_strict)?;
                sequence(&[&open, &text])
            } else {
                self.json(&parameter.schema)
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
            let value = self.json(&parameter.schema);
            members.push((sequence(&[&key, &value]), parameter.is_required));
        }
        let members = self.members(&members, ", ");
        Ok(sequence(&[&literal(&format!("{}(", tool.name)), &members, &literal(")")]))
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
        schema: &Value,
        around: &str,
        end: &str,
        is_strict: bool,
    ) -> Result<String, String> {
        if kind(schema) != Kind::Text {
            let json = self.json(schema);
            let mark = self.mark(end);
            let around = if around.is_empty() { String::new() } else { literal(around) };
            return Ok(sequence(&[&json, &around, &mark]));
        }
        let is_control = self.markup.control_token(end).is_some();
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let fits = |text: &&str| is_control || !text.contains(end);
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).filter(fits).collect();
            if texts.is_empty() {
                return Err("none of the values of an enum can be written".to_owned());
            }
            let mark = self.mark(end);
            let texts: Vec<String> =
                texts.iter().map(|text| literal(&format!("{text}{around}"))).collect();
            return Ok(sequence(&[&super::either(&texts), &mark]));
        }
        let limits = limits(schema, is_strict)?;
        if !is_control {
            return Ok(self.terminal_rule(&terminal(&limits, around, end)));
        }
        if schema.get("maxLength").and_then(Value::as_u64) == Some(0) {
            return Ok(self.mark(end));
        }
        let may_be_empty = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0) == 0
            && schema.get("pattern").is_none();
        let text = format!("(/(?s:.+)/{limits})");
        let text = self.terminal_rule(&text);
        let optional = if may_be_empty { "?" } else { "" };
        let mark = self.mark(end);
        let around = if around.is_empty() { String::new() } else { literal(around) };
        Ok(format!("{text}{optional} {around} {mark}"))
    }

    /// A rule for text, whose name says that it is one.
    pub(super) fn terminal_rule(&mut self, body: &str) -> String {
        let name = format!("T{}", self.rules.len());
        self.rules.push(format!("{name}: {body}"));
        name
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

/// What else a schema says of a text, as what is added to a regular expression.
fn limits(schema: &Value, is_strict: bool) -> Result<String, String> {
    let mut limits = String::new();
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    if let (least, Some(most)) = (count("minLength").unwrap_or(0), count("maxLength")) {
        if least > most {
            return Err(format!("minLength {least} is over maxLength {most}"));
        }
        limits.push_str(&format!(" & /(?s:.{{{least},{most}}})/"));
    } else if let Some(least) = count("minLength") {
        limits.push_str(&format!(" & /(?s:.{{{least},}})/"));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        match anchored(pattern) {
            Some(pattern) => limits.push_str(&format!(" & /{pattern}/")),
            None if is_strict => {
                return Err(format!(
                    "the pattern {pattern:?} cannot be enforced in text without quotes"
                ));
            }
            None => {}
        }
    }
    Ok(limits)
}

/// A pattern, which need only match somewhere, as one that matches the whole; `None` where its anchors
/// stand elsewhere than at its ends.
fn anchored(pattern: &str) -> Option<String> {
    let (from_start, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (to_end, body) = match rest.strip_suffix('$') {
        Some(body) if !body.ends_with('\\') => (true, body),
        Some(_) | None => (false, rest),
    };
    let mut out = String::new();
    let (mut depth, mut in_class) = (0_usize, false);
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                'd' => out.push_str("[0-9]"),
                'w' => out.push_str("[A-Za-z0-9_]"),
                'b' | 'B' => return None,
                next => out.extend(['\\', next]),
            },
            '/' => out.push_str("\\/"),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                // The one that turns a class round is no anchor.
                if let Some(rest) = characters.as_str().strip_prefix('^') {
                    out.push('^');
                    characters = rest.chars();
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '^' | '$' if !in_class => return None,
            '|' if !in_class && depth == 0 && (from_start || to_end) => return None,
            '(' if !in_class => {
                depth += 1;
                out.push('(');
            }
            ')' if !in_class => {
                depth = depth.checked_sub(1)?;
                out.push(')');
            }
            _ => out.push(character),
        }
    }
    let any = |is_fixed: bool| if is_fixed { "" } else { "(?s:.*)" };
    Some(format!("{}({out}){}", any(from_start), any(to_end)))
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
    let schema = tool.parameters.as_object();
    let together =
        TOGETHER.iter().find(|key| schema.is_some_and(|fields| fields.contains_key(**key)));
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
    let listed = listed.map(|(name, schema)| (name.as_str(), schema.clone()));
    let unlisted = required.iter().filter(|name| !is_listed(name));
    let all = listed.chain(unlisted.map(|name| (*name, json!({}))));
    let mut parameters = Vec::new();
    for (name, schema) in all {
        let is_required = required.contains(&name);
        let is_odd = name.is_empty() || name.trim() != name || name.contains(apart);
        if is_odd && is_required {
            return Err(format!(
                "the parameter {name:?} cannot be written in this model's form of calls"
            ));
        }
        if !is_odd {
            let schema = with_definitions(schema, &tool.parameters);
            parameters.push(Parameter { name, schema, is_required });
        }
    }
    Ok(parameters)
}

/// A part of a schema with all that it may refer to.
fn with_definitions(schema: Value, whole: &Value) -> Value {
    let Value::Object(mut fields) = schema else {
        return if schema == Value::Bool(false) { schema } else { json!({}) };
    };
    let refers = Value::Object(fields.clone()).to_string().contains("\"$ref\"");
    for key in ["$defs", "definitions"].into_iter().filter(|_| refers) {
        if let Some(definitions) = whole.get(key) {
            fields.entry(key).or_insert_with(|| definitions.clone());
        }
    }
    Value::Object(fields)
}
