//! The tools that a model may call, and whether it may.

use serde_json::{Map, Value, json};

use crate::{
    Error,
    limits::TOOLS_MAX,
    read::{Object, Path},
    request,
};

/// Takes the tools out of a request, where the model may call them, in the form that chat templates
/// expect.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Vec<Value>, Error> {
    let path = fields.path("tools");
    let entries = fields.list("tools", TOOLS_MAX)?.unwrap_or_default();
    let mut tools = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        tools.extend(tool(&Path::Index(&path, index), entry)?);
    }
    Ok(if offers(fields)? { tools } else { Vec::new() })
}

/// A tool; `None` for one of Anthropic's own, which has a type and no schema: its servers run it, or its
/// models know it by heart.
fn tool(path: &Path<'_>, value: Value) -> Result<Option<Value>, Error> {
    let mut fields = Object::new(path, value)?;
    let kind = fields.string("type")?;
    let at = fields.path("input_schema");
    let Some(schema) = fields.object("input_schema")? else {
        return match kind.as_deref() {
            Some("custom") | None => Err(at.missing()),
            Some(_) => Ok(None),
        };
    };
    let name_at = fields.path("name");
    let name = request::word(&mut fields, "name")?.ok_or_else(|| name_at.missing())?;
    let mut function = Map::new();
    function.insert("name".to_owned(), name.into());
    if let Some(description) = fields.string("description")? {
        function.insert("description".to_owned(), description.into());
    }
    function.insert("parameters".to_owned(), schema.into());
    Ok(Some(json!({ "type": "function", "function": function })))
}

/// Whether the model is offered the tools at all.
fn offers(fields: &mut Object<'_>) -> Result<bool, Error> {
    let path = fields.path("tool_choice");
    let Some(choice) = fields.take("tool_choice") else { return Ok(true) };
    let mut choice = Object::new(&path, choice)?;
    let at = choice.path("type");
    let kind = choice.string("type")?.ok_or_else(|| at.missing())?;
    match &*kind {
        "auto" => Ok(true),
        "none" => Ok(false),
        "any" | "tool" => Err(at.unsupported(format_args!(
            "is {kind:?}, which demands a call, and a model cannot be held to one yet; use \"auto\" or \
             \"none\""
        ))),
        _ => Err(at.refuse(format_args!("must be \"auto\" or \"none\", but it is {kind:?}"))),
    }
}
