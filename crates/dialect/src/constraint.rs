//! What an answer must look like: OpenAI's `response_format` and `text.format`, what llama.cpp's clients say
//! instead, Anthropic's `output_config.format` and Ollama's `format`.
//!
//! Not here: whether a schema can be enforced, which only who enforces it knows (`engine`), and whether
//! this hub takes grammars at all (`gateway`).

use serde_json::Value;
use worker_protocol::Constraint;

use crate::{
    Error,
    read::{Object, Path},
};

/// Takes the fields of OpenAI's and llama.cpp's clients out of a request. `has_tools` says whether tools
/// may be called: beside a schema the answer is either a call or what the schema says, but a grammar of the
/// client's own has no place for calls.
pub(crate) fn openai(
    fields: &mut Object<'_>,
    has_tools: bool,
) -> Result<Option<Constraint>, Error> {
    let ends_late = fields.peek("ignore_eos").and_then(Value::as_bool).unwrap_or(false);
    let said = [
        ("response_format", response_format(fields)?),
        ("json_schema", json_schema(fields)?),
        ("grammar", grammar(fields)?),
    ];
    let mut said = said.into_iter().filter_map(|(key, constraint)| Some((key, constraint?)));
    let Some((key, constraint)) = said.next() else { return Ok(None) };
    let path = fields.path(key);
    let other = said.next().map(|(other, _)| other);
    let has_calls = has_tools && matches!(constraint, Constraint::Lark(_));
    let beside = other.or(has_calls.then_some("tools")).or(ends_late.then_some("ignore_eos"));
    match beside {
        None => Ok(Some(constraint)),
        Some(other) => Err(apart(&path, other)),
    }
}

/// Takes the field of OpenAI's responses, `format`, out of a request's `text`.
pub(crate) fn responses(text: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let path = text.path("format");
    let Some(format) = text.take("format") else { return Ok(None) };
    let mut format = Object::new(&path, format)?;
    let at = format.path("type");
    let constraint = match format.string("type")?.ok_or_else(|| at.missing())?.as_str() {
        "text" => return Ok(None),
        "json_object" => Constraint::Json,
        // It is enforced whether `strict` says so or not, as in chat.
        "json_schema" => {
            let at = format.path("schema");
            let schema = format.object("schema")?.ok_or_else(|| at.missing())?;
            Constraint::JsonSchema(Value::Object(schema))
        }
        kind => {
            return Err(at.unsupported(format_args!(
                "must be \"text\", \"json_object\" or \"json_schema\", but it is {kind:?}"
            )));
        }
    };
    Ok(Some(constraint))
}

/// Takes Ollama's field out of a request. An empty text asks for nothing.
pub(crate) fn ollama(fields: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let path = fields.path("format");
    let constraint = match fields.take("format") {
        None => return Ok(None),
        Some(Value::String(format)) if format.is_empty() => return Ok(None),
        Some(Value::String(format)) if format == "json" => Constraint::Json,
        Some(schema @ Value::Object(_)) => Constraint::JsonSchema(schema),
        Some(ref other) => return Err(path.wrong("\"json\" or a JSON schema", other)),
    };
    Ok(Some(constraint))
}

/// Takes Anthropic's field out of a request: `output_config.format`, which a beta called `output_format`.
pub(crate) fn anthropic(fields: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let config = fields.path("output_config");
    let said = fields.peek("output_config").and_then(|config| config.get("format"));
    let said = said.filter(|format| !format.is_null()).cloned();
    if let Some(format) = said {
        return anthropic_format(&Path::Key(&config, "format"), format).map(Some);
    }
    let path = fields.path("output_format");
    let Some(format) = fields.take("output_format") else { return Ok(None) };
    anthropic_format(&path, format).map(Some)
}

fn anthropic_format(path: &Path<'_>, format: Value) -> Result<Constraint, Error> {
    let mut format = Object::new(path, format)?;
    let at = format.path("type");
    let kind = format.string("type")?.ok_or_else(|| at.missing())?;
    if kind != "json_schema" {
        return Err(at.unsupported(format_args!("must be \"json_schema\", but it is {kind:?}")));
    }
    let at = format.path("schema");
    let schema = format.object("schema")?.ok_or_else(|| at.missing())?;
    Ok(Constraint::JsonSchema(Value::Object(schema)))
}

fn response_format(fields: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let path = fields.path("response_format");
    let Some(format) = fields.take("response_format") else { return Ok(None) };
    let mut format = Object::new(&path, format)?;
    let at = format.path("type");
    match format.string("type")?.ok_or_else(|| at.missing())?.as_str() {
        "text" => Ok(None),
        // llama.cpp's clients may say the schema here.
        "json_object" => {
            let schema = format.object("schema")?;
            Ok(Some(
                schema.map_or(Constraint::Json, |schema| {
                    Constraint::JsonSchema(Value::Object(schema))
                }),
            ))
        }
        "json_schema" => {
            let at = format.path("json_schema");
            let wrapped = format.take("json_schema").ok_or_else(|| at.missing())?;
            // Its name and description are for people. It is enforced whether `strict` says so or not:
            // an answer that keeps to the schema is right for both.
            let mut wrapped = Object::new(&at, wrapped)?;
            let at = wrapped.path("schema");
            let schema = wrapped.object("schema")?.ok_or_else(|| at.missing())?;
            Ok(Some(Constraint::JsonSchema(Value::Object(schema))))
        }
        kind => Err(at.unsupported(format_args!(
            "must be \"text\", \"json_object\" or \"json_schema\", but it is {kind:?}"
        ))),
    }
}

fn json_schema(fields: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let schema = fields.object("json_schema")?;
    Ok(schema.map(|schema| Constraint::JsonSchema(Value::Object(schema))))
}

fn grammar(fields: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let grammar = fields.string("grammar")?.filter(|grammar| !grammar.trim().is_empty());
    Ok(grammar.map(Constraint::Lark))
}

/// What holds an answer to one thing does not go with what makes it another.
fn apart(path: &Path<'_>, other: &str) -> Error {
    path.unsupported(format_args!("cannot go together with {other}; leave one of them out"))
}
