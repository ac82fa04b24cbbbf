//! Kinds of values in Go's templates of chats: their fields, how they are printed, and what functions make of them.

use super::{
    super::{Untranslatable, no},
    literal,
};

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything that a template is given.
    Root,
    Messages,
    Message,
    Calls,
    Call,
    CalledFunction,
    /// A call's arguments.
    Arguments,
    Tools,
    Tool,
    Function,
    Parameters,
    Properties,
    Property,
    Texts,
    Text,
    Number,
    Truth,
    /// A value of JSON.
    Any,
}

/// A value, as Jinja writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) kind: Kind,
}

impl Kind {
    /// It in words.
    pub(super) fn called(self) -> &'static str {
        match self {
            Self::Root => "everything at once",
            Self::Messages | Self::Message => "messages",
            Self::Calls | Self::Call | Self::CalledFunction => "tool calls",
            Self::Arguments => "a tool call's arguments",
            Self::Tools | Self::Tool | Self::Function => "tools",
            Self::Parameters => "a tool's parameters",
            Self::Properties | Self::Property => "a tool's properties",
            Self::Texts => "texts",
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Truth => "a truth value",
            Self::Any => "a value of no certain kind",
        }
    }

    /// What one goes through in it, and whether that has keys.
    pub(super) fn element(self) -> Option<(Self, bool)> {
        match self {
            Self::Messages => Some((Self::Message, false)),
            Self::Calls => Some((Self::Call, false)),
            Self::Tools => Some((Self::Tool, false)),
            Self::Texts => Some((Self::Text, false)),
            Self::Properties => Some((Self::Property, true)),
            Self::Arguments => Some((Self::Any, true)),
            Self::Root
            | Self::Message
            | Self::Call
            | Self::CalledFunction
            | Self::Tool
            | Self::Function
            | Self::Parameters
            | Self::Property
            | Self::Text
            | Self::Number
            | Self::Truth
            | Self::Any => None,
        }
    }
}

impl Value {
    pub(super) fn new(text: impl Into<String>, kind: Kind) -> Self {
        Self { text: text.into(), kind }
    }

    pub(super) fn root() -> Self {
        Self::new("", Kind::Root)
    }

    /// A field by its name in Go.
    pub(super) fn field(&self, name: &str, has_turns: bool) -> Result<Self, Untranslatable> {
        let of = &self.text;
        let (text, kind) = match (self.kind, name) {
            (Kind::Root, _) => return root_field(name, has_turns),
            (Kind::Message, "Role") => (format!("{of}.role"), Kind::Text),
            (Kind::Message, "Content") => (format!("({of}.content or '')"), Kind::Text),
            (Kind::Message, "Thinking") => {
                (format!("({of}.reasoning_content or {of}.thinking or '')"), Kind::Text)
            }
            (Kind::Message, "ToolCalls") => (format!("({of}.tool_calls or [])"), Kind::Calls),
            (Kind::Message, "ToolName") => (format!("({of}.name or '')"), Kind::Text),
            (Kind::Message, "ToolCallID") => (format!("({of}.tool_call_id or '')"), Kind::Text),
            (Kind::Call, "ID") => (format!("({of}.id or '')"), Kind::Text),
            (Kind::Call, "Function") => (format!("{of}.function"), Kind::CalledFunction),
            (Kind::CalledFunction, "Name") => (format!("{of}.name"), Kind::Text),
            (Kind::CalledFunction, "Arguments") => (format!("{of}.arguments"), Kind::Arguments),
            (Kind::Tool, "Type") => (format!("{of}.type"), Kind::Text),
            (Kind::Tool, "Function") => (format!("{of}.function"), Kind::Function),
            (Kind::Function, "Name") => (format!("{of}.name"), Kind::Text),
            (Kind::Function | Kind::Property, "Description") => {
                (format!("({of}.description or '')"), Kind::Text)
            }
            (Kind::Function, "Parameters") => {
                (format!("({of}.parameters or {{}})"), Kind::Parameters)
            }
            (Kind::Parameters, "Type") => (format!("({of}.type or 'object')"), Kind::Text),
            (Kind::Parameters, "Required") => (format!("({of}.required or [])"), Kind::Texts),
            (Kind::Parameters, "Properties") => {
                (format!("({of}.properties or {{}})"), Kind::Properties)
            }
            // It may be a list.
            (Kind::Property, "Type") => (format!("{of}.type"), Kind::Any),
            (Kind::Property, "Enum") => (format!("({of}.enum or [])"), Kind::Texts),
            (kind, _) => return no(format!("it asks {} for `.{name}`", kind.called())),
        };
        Ok(Self { text, kind })
    }

    /// As Go would print it.
    pub(super) fn printed(&self) -> Result<String, Untranslatable> {
        let text = &self.text;
        Ok(match self.kind {
            Kind::Text | Kind::Number => text.clone(),
            // Python has them in capitals.
            Kind::Truth => format!("('true' if {text} else 'false')"),
            Kind::Any => format!("({text}) if ({text}) is string else (({text}) | tojson)"),
            // These print themselves as JSON.
            Kind::Arguments
            | Kind::Tools
            | Kind::Tool
            | Kind::Function
            | Kind::Parameters
            | Kind::Properties
            | Kind::Property => json(text),
            Kind::Root
            | Kind::Messages
            | Kind::Message
            | Kind::Calls
            | Kind::Call
            | Kind::CalledFunction
            | Kind::Texts => return no(format!("it prints {} as Go does", self.kind.called())),
        })
    }
}

fn json(text: &str) -> String {
    format!("(({text}) | tojson)")
}

fn root_field(name: &str, has_turns: bool) -> Result<Value, Untranslatable> {
    let (text, kind) = match (name, has_turns) {
        ("Messages", _) => ("ns.all", Kind::Messages),
        ("System", false) => ("ns.system", Kind::Text),
        ("System", true) => ("turn.system", Kind::Text),
        ("Prompt", true) => ("turn.prompt", Kind::Text),
        ("Response", true) => ("turn.response", Kind::Text),
        // With messages there are none, and a chat has nothing behind its answer.
        ("Prompt" | "Response", false) | ("Suffix", _) => ("''", Kind::Text),
        ("Tools", false) => ("(tools or [])", Kind::Tools),
        ("Tools", true) => ("[]", Kind::Tools),
        ("Think", _) => ("(enable_thinking is defined and enable_thinking)", Kind::Truth),
        ("IsThinkSet", _) => ("(enable_thinking is defined)", Kind::Truth),
        ("ThinkLevel", _) => ("(reasoning_effort or '')", Kind::Text),
        (name, _) => return no(format!("it asks for `.{name}`")),
    };
    Ok(Value::new(text, kind))
}

/// What a function makes of its arguments.
pub(super) fn call(name: &str, values: &[Value]) -> Result<Value, Untranslatable> {
    let text = |at: usize| values[at].text.as_str();
    let compared = |sign| Ok(Value::new(format!("({} {sign} {})", text(0), text(1)), Kind::Truth));
    match (name, values.len()) {
        ("true", 0) => Ok(Value::new("true", Kind::Truth)),
        ("false", 0) => Ok(Value::new("false", Kind::Truth)),
        ("currentDate", 0 | 1) => Ok(Value::new("strftime_now('%Y-%m-%d')", Kind::Text)),
        ("not", 1) => Ok(Value::new(format!("(not {})", text(0)), Kind::Truth)),
        ("len", 1) => Ok(Value::new(format!("({} | length)", text(0)), Kind::Number)),
        ("json", 1) => Ok(Value::new(json(text(0)), Kind::Text)),
        // Any of several.
        ("eq", 2..) => {
            let each = values[1..].iter().map(|other| format!("{} == {}", text(0), other.text));
            Ok(Value::new(format!("({})", each.collect::<Vec<_>>().join(" or ")), Kind::Truth))
        }
        ("ne", 2) => compared("!="),
        ("lt", 2) => compared("<"),
        ("le", 2) => compared("<="),
        ("gt", 2) => compared(">"),
        ("ge", 2) => compared(">="),
        ("and" | "or", 1..) => {
            let kind = values[0].kind;
            let kind = if values.iter().all(|value| value.kind == kind) { kind } else { Kind::Any };
            let each: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
            Ok(Value::new(format!("({})", each.join(&format!(" {name} "))), kind))
        }
        ("slice", 2) => Ok(Value::new(format!("{}[{}:]", text(0), text(1)), values[0].kind)),
        ("slice", 3) => {
            Ok(Value::new(format!("{}[{}:{}]", text(0), text(1), text(2)), values[0].kind))
        }
        ("index", 2) => match values[0].kind.element() {
            Some((kind, _)) => Ok(Value::new(format!("{}[{}]", text(0), text(1)), kind)),
            None => no(format!("it looks something up in {}", values[0].kind.called())),
        },
        ("print", 1) => Ok(Value::new(values[0].printed()?, Kind::Text)),
        ("printf", 1..) => format_of(values),
        (name, count) => no(format!("it calls `{name}` with {count} values")),
    }
}

/// `printf "%s and %d" a b`: pieces and values in turn.
fn format_of(values: &[Value]) -> Result<Value, Untranslatable> {
    let format = &values[0].text;
    // Only what was written as a text begins so.
    if !format.starts_with(['"', '\'']) {
        return no("it makes a format of something else");
    }
    // The literal's own quotes are taken off, and its pieces are literals again.
    let quote = &format[..1];
    let mut rest = &format[1..format.len() - 1];
    let (mut pieces, mut values) = (Vec::new(), values[1..].iter());
    while let Some((before, behind)) = rest.split_once('%') {
        pieces.push(format!("{quote}{before}{quote}"));
        rest = match behind.chars().next() {
            Some('s' | 'd' | 'v') => match values.next() {
                Some(value) => {
                    pieces.push(format!("({})", value.printed()?));
                    &behind[1..]
                }
                None => return no("a format has more places than values"),
            },
            Some('%') => {
                pieces.push(literal("%"));
                &behind[1..]
            }
            Some(_) | None => return no("a format has a place of an unknown kind"),
        };
    }
    pieces.push(format!("{quote}{rest}{quote}"));
    match values.next() {
        None => Ok(Value::new(format!("({})", pieces.join(" ~ ")), Kind::Text)),
        Some(_) => no("a format has fewer places than values"),
    }
}
