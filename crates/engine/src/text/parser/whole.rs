//! Calls that are no JSON, so that they can be read only when they are whole: where they end, and what
//! they say.

use serde_json::{Map, Value};

use super::block::TOOL_CALL_END;
use super::json::{is_name, is_of_name};
use super::literal::{self, Call, QUOTE};
use crate::limits::CALL_HEAD_BYTES_MAX;
use crate::text::markup::{Calls, Kind, Tools};

pub(super) const FUNCTION: &str = "<function=";
pub(super) const FUNCTION_END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const KEY: &str = "<arg_key>";
const KEY_END: &str = "</arg_key>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

/// The special tokens inside of such calls.
pub(super) const MARKS: &[&str] = &[QUOTE, KEY, KEY_END, VALUE, VALUE_END];

/// Whether what came so far can still become a call.
pub(super) fn may_be(form: Calls, body: &str) -> bool {
    match form {
        Calls::Xml => xml_may_be(body).is_ok(),
        Calls::Glm => glm_may_be(body).is_ok(),
        Calls::Gemma => gemma_may_be(body).is_ok(),
        Calls::Python => python_may_be(body).is_ok(),
        Calls::Hermes
        | Calls::Llama
        | Calls::Mistral
        | Calls::DeepSeek
        | Calls::List
        | Calls::Function
        | Calls::Recipient
        | Calls::Harmony => false,
    }
}

/// What stood where something else should.
struct Other;

/// What follows in a text; `None` where the text ends too early to say whether that is right.
type Rest<'a> = Result<Option<&'a str>, Other>;

/// Behind one of these marks, which must stand here, and which it was.
fn behind<'a>(text: &'a str, marks: &[&str]) -> Result<Option<(&'a str, usize)>, Other> {
    let text = text.trim_start();
    for (index, mark) in marks.iter().enumerate() {
        if let Some(rest) = text.strip_prefix(mark) {
            return Ok(Some((rest, index)));
        }
    }
    if marks.iter().any(|mark| mark.starts_with(text)) { Ok(None) } else { Err(Other) }
}

/// Behind a name.
fn behind_name(text: &str) -> Rest<'_> {
    match text.find(|character| !is_of_name(character)) {
        Some(0) => Err(Other),
        Some(at) => Ok(Some(&text[at..])),
        None if text.len() <= CALL_HEAD_BYTES_MAX => Ok(None),
        None => Err(Other),
    }
}

/// Behind a key and the mark that closes it.
fn behind_key<'a>(text: &'a str, close: &str) -> Rest<'a> {
    let (key, rest) = text.split_once(close).map_or((text, None), |(key, rest)| (key, Some(rest)));
    if key.len() <= CALL_HEAD_BYTES_MAX && !key.trim().contains('\n') {
        Ok(rest)
    } else {
        Err(Other)
    }
}

fn xml_may_be(body: &str) -> Rest<'_> {
    let mut rest = body;
    loop {
        // Where the outer mark closes all, who looks for it finds it.
        let Some((name, 0)) = behind(rest, &[FUNCTION, TOOL_CALL_END])? else { return Ok(None) };
        let Some(after) = behind_name(name)? else { return Ok(None) };
        let Some(mut inner) = after.strip_prefix('>') else { return Err(Other) };
        rest = loop {
            match behind(inner, &[FUNCTION_END, PARAMETER])? {
                None => return Ok(None),
                Some((after, 0)) => break after,
                Some((key, _)) => {
                    let Some(value) = behind_key(key, ">")? else { return Ok(None) };
                    let Some((_, after)) = value.split_once(PARAMETER_END) else {
                        return Ok(None);
                    };
                    inner = after;
                }
            }
        };
    }
}

fn glm_may_be(body: &str) -> Rest<'_> {
    let body = body.trim_start();
    if body.is_empty() {
        return Ok(None);
    }
    let Some(mut rest) = behind_name(body)? else { return Ok(None) };
    loop {
        let Some((key, 0)) = behind(rest, &[KEY, TOOL_CALL_END])? else { return Ok(None) };
        let Some(after) = behind_key(key, KEY_END)? else { return Ok(None) };
        let Some((value, _)) = behind(after, &[VALUE])? else { return Ok(None) };
        let Some((_, after)) = value.split_once(VALUE_END) else { return Ok(None) };
        rest = after;
    }
}

/// Up to the bracket behind the name.
fn gemma_may_be(body: &str) -> Rest<'_> {
    let Some((name, _)) = behind(body, &["call:"])? else { return Ok(None) };
    let name = name.trim_start();
    if name.is_empty() {
        return Ok(None);
    }
    let Some(rest) = behind_name(name)? else { return Ok(None) };
    Ok(behind(rest, &["{"])?.map(|(rest, _)| rest))
}

/// Up to the bracket behind the name, or that of JSON.
fn python_may_be(body: &str) -> Rest<'_> {
    let Some((inner, _)) = behind(body, &["["])? else { return Ok(None) };
    let inner = inner.trim_start();
    if inner.is_empty() || inner.starts_with('{') {
        return Ok(None);
    }
    let Some(rest) = behind_name(inner)? else { return Ok(None) };
    Ok(behind(rest, &["("])?.map(|(rest, _)| rest))
}

/// Where the marker that closes a call begins. Within a value it is text.
pub(super) fn end(form: Calls, body: &str, close: &str) -> Option<usize> {
    let value = match form {
        Calls::Xml => Some((PARAMETER, PARAMETER_END)),
        Calls::Glm => Some((VALUE, VALUE_END)),
        Calls::Gemma => Some((QUOTE, QUOTE)),
        Calls::Python
        | Calls::Hermes
        | Calls::Llama
        | Calls::Mistral
        | Calls::DeepSeek
        | Calls::List
        | Calls::Function
        | Calls::Recipient
        | Calls::Harmony => None,
    };
    let Some((open, shut)) = value else { return body.find(close) };
    let mut from = 0;
    loop {
        let at = from + body[from..].find(close)?;
        let Some(value) = body[from..at].find(open) else { return Some(at) };
        let inner = from + value + open.len();
        from = inner + body[inner..].find(shut)? + shut.len();
    }
}

/// The calls that stand between the markers; `None` when it is something else.
pub(super) fn read(form: Calls, body: &str, tools: &Tools) -> Option<Vec<Call>> {
    match form {
        Calls::Xml => xml(body, tools),
        Calls::Glm => Some(vec![glm(body, tools)?]),
        Calls::Gemma => Some(vec![literal::gemma_call(body)?]),
        Calls::Python => literal::python_calls(body).or_else(|| json_calls(body)),
        Calls::Hermes
        | Calls::Llama
        | Calls::Mistral
        | Calls::DeepSeek
        | Calls::List
        | Calls::Function
        | Calls::Recipient
        | Calls::Harmony => None,
    }
}

/// LFM2 writes JSON instead where its system message asks for it.
fn json_calls(body: &str) -> Option<Vec<Call>> {
    let calls: Vec<Value> = serde_json::from_str(body).ok()?;
    calls.iter().map(|call| super::json::read_call(&call.to_string())).collect()
}

fn xml(body: &str, tools: &Tools) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let (name, mut inner) = rest.strip_prefix(FUNCTION)?.split_once('>')?;
        let mut arguments = Map::new();
        rest = loop {
            inner = inner.trim_start();
            if let Some(rest) = inner.strip_prefix(FUNCTION_END) {
                break rest.trim_start();
            }
            let (key, after) = inner.strip_prefix(PARAMETER)?.split_once('>')?;
            let (value, after) = after.split_once(PARAMETER_END)?;
            // The template puts a line break on either side of the value.
            let value = value.strip_prefix('\n').unwrap_or(value);
            let value = value.strip_suffix('\n').unwrap_or(value);
            arguments.insert(key.to_owned(), typed(value, tools.kind(name, key)));
            inner = after;
        };
        calls.push((Some(name).filter(|name| is_name(name))?.to_owned(), object(arguments)));
    }
    Some(calls)
}

fn glm(body: &str, tools: &Tools) -> Option<Call> {
    let body = body.trim();
    let (name, mut rest) = body.split_at(body.find(KEY).unwrap_or(body.len()));
    let name = Some(name.trim()).filter(|name| is_name(name))?;
    // A single word between the markers may be anything.
    if rest.is_empty() && !tools.has(name) {
        return None;
    }
    let mut arguments = Map::new();
    while !rest.trim_start().is_empty() {
        let (key, after) = rest.trim_start().strip_prefix(KEY)?.split_once(KEY_END)?;
        let (value, after) = after.trim_start().strip_prefix(VALUE)?.split_once(VALUE_END)?;
        let key = key.trim();
        arguments.insert(key.to_owned(), typed(value, tools.kind(name, key)));
        rest = after;
    }
    Some((name.to_owned(), object(arguments)))
}

fn object(arguments: Map<String, Value>) -> String {
    Value::Object(arguments).to_string()
}

/// A value without quotes. What should be a number and is none stays the text it is: the tool says best
/// what is wrong with it.
fn typed(text: &str, kind: Kind) -> Value {
    match kind {
        Kind::Text => Value::from(text),
        Kind::Value | Kind::Any => literal::alone(text).unwrap_or_else(|| Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::markup::{Family, Markup};

    fn tools() -> std::sync::Arc<Tools> {
        let properties = json!({"n": {"type": "integer"}, "t": {"type": "string"}});
        let function = json!({"name": "f", "parameters": {"properties": properties}});
        Markup::new(Family::default(), "", &[json!({ "function": function })]).tools
    }

    fn one(form: Calls, body: &str) -> Option<String> {
        let calls = read(form, body, &tools())?;
        let [(name, arguments)] = &calls[..] else { return None };
        assert_eq!(name, "f");
        Some(arguments.clone())
    }

    #[test]
    fn xml_values_have_the_types_of_the_schema() {
        let body = "\n<function=f>\n<parameter=n>\n7\n</parameter>\n<parameter=t>\n7\n\n</parameter>\n\
                    <parameter=x>\n[1, \"a\"]\n</parameter>\n<parameter=y>\nb c\n</parameter>\n</function>\n";
        assert_eq!(one(Calls::Xml, body).unwrap(), r#"{"n":7,"t":"7\n","x":[1,"a"],"y":"b c"}"#);
        assert_eq!(one(Calls::Xml, "<function=f>\n</function>").unwrap(), "{}");
        for broken in ["<function=f>", "<function=f><parameter=n>1</function>", "x", "<function= >"]
        {
            assert_eq!(one(Calls::Xml, broken), None, "{broken}");
        }
    }

    #[test]
    fn glm_values_have_the_types_of_the_schema() {
        let body = "f\n<arg_key>n</arg_key>\n<arg_value>7</arg_value>\n<arg_key>t</arg_key>\n\
                    <arg_value>7</arg_value>\n";
        assert_eq!(one(Calls::Glm, body).unwrap(), r#"{"n":7,"t":"7"}"#);
        assert_eq!(one(Calls::Glm, "f\n").unwrap(), "{}");
        assert_eq!(one(Calls::Glm, "oops"), None);
        assert_eq!(one(Calls::Glm, "f\n<arg_key>n</arg_key>"), None);
    }

    #[test]
    fn what_can_be_no_call_is_known_as_soon_as_it_can_be_none() {
        let first_wrong = |form: Calls, body: &str| {
            let ends = body.char_indices().map(|(at, character)| at + character.len_utf8());
            ends.map(|end| &body[..end]).find(|begun| !may_be(form, begun)).map(str::len)
        };
        let wrong = [
            (Calls::Xml, "<function=` tag", 11),
            (Calls::Xml, "<function=f> is", 14),
            (Calls::Xml, "<function=f><parameter=a>x</parameter> is", 40),
            (Calls::Xml, "<function=f></function> and", 25),
            (Calls::Glm, "f is", 3),
            (Calls::Glm, "f<arg_key>a</arg_key>1", 22),
            (Calls::Gemma, "calls", 5),
            (Calls::Gemma, "call:f(", 7),
            (Calls::Python, "[1, 2]", 3),
            (Calls::Python, "[f is", 4),
        ];
        for (form, body, at) in wrong {
            assert_eq!(first_wrong(form, body), Some(at), "{body}");
        }
        let right = [
            (
                Calls::Xml,
                "\n<function=f>\n<parameter=a>\n<b> is\n</parameter>\n</function>\n<function=g>",
            ),
            (Calls::Xml, "<function=f></function>\n</tool_call>"),
            (Calls::Glm, "f\n<arg_key>a</arg_key>\n<arg_value>x is</arg_value>\n</tool_call>"),
            (Calls::Gemma, "call:f{a:1}"),
            (Calls::Python, "[f(a=1), g()]"),
            (Calls::Python, "[{\"name\": \"f\"}]"),
        ];
        for (form, body) in right {
            assert_eq!(first_wrong(form, body), None, "{body}");
        }
    }

    #[test]
    fn a_closing_marker_in_a_value_is_text() {
        let body = "<function=f><parameter=t>a</tool_call>b</parameter></function></tool_call>";
        assert_eq!(end(Calls::Xml, body, "</tool_call>"), Some(body.len() - 12));
        assert_eq!(end(Calls::Xml, &body[..60], "</tool_call>"), None);
        assert_eq!(end(Calls::Python, "[f()]!", "!"), Some(5));
    }
}
