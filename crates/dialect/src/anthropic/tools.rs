//! The tools that a model may call, and whether it must.

use serde_json::{Map, Value, json};
use worker_protocol::ToolChoice;

use crate::{
    Error,
    limits::TOOLS_MAX,
    read::{Object, Path},
    request,
    tools::{self, Offered},
};

/// Takes the tools out of a request, in the form that chat templates expect, and how they are to be
/// called.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Offered, Error> {
    let path = fields.path("tools");
    let entries = fields.list("tools", TOOLS_MAX)?.unwrap_or_default();
    let mut tools = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        tools.extend(tool(&Path::Index(&path, index), entry)?);
    }
    let mut offered = Offered { tools, ..Offered::default() };
    choose(fields, &mut offered)?;
    Ok(offered)
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
    if let Some(strict) = fields.bool("strict")? {
        function.insert("strict".to_owned(), strict.into());
    }
    function.insert("parameters".to_owned(), schema.into());
    Ok(Some(json!({ "type": "function", "function": function })))
}

/// How the tools are to be called.
fn choose(fields: &mut Object<'_>, offered: &mut Offered) -> Result<(), Error> {
    let path = fields.path("tool_choice");
    let Some(choice) = fields.take("tool_choice") else { return Ok(()) };
    let mut choice = Object::new(&path, choice)?;
    offered.one_call = choice.bool("disable_parallel_tool_use")?.unwrap_or(false);
    let at = choice.path("type");
    match choice.string("type")?.ok_or_else(|| at.missing())?.as_str() {
        "auto" => {}
        "none" => offered.choice = ToolChoice::None,
        "any" => {
            tools::some(&at, &offered.tools)?;
            offered.choice = ToolChoice::Required(Vec::new());
        }
        "tool" => {
            let at = choice.path("name");
            let name = choice.string("name")?.ok_or_else(|| at.missing())?;
            offered.choice = ToolChoice::Required(vec![tools::known(&at, name, &offered.tools)?]);
            // One tool is named for one call.
            offered.one_call = true;
        }
        kind => {
            return Err(at.refuse(format_args!(
                "must be \"auto\", \"any\", \"tool\" or \"none\", but it is {kind:?}"
            )));
        }
    }
    Ok(())
}
