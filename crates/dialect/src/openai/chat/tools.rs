//! The tools that a model may call, and whether it must.

use serde_json::Value;
use worker_protocol::ToolChoice;

use crate::{
    Error,
    limits::TOOLS_MAX,
    openai::responses::known_name,
    read::{Object, Path},
    tools::{self, Offered},
};

/// Takes the tools out of a request, and how they are to be called.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Offered, Error> {
    refuse_functions(fields)?;
    let tools = tools::decode(fields)?;
    choose(fields, tools)
}

/// What tools were called before they were called tools would be answered in another form too.
fn refuse_functions(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("functions");
    match fields.take("functions") {
        Some(Value::Array(functions)) if functions.is_empty() => Ok(()),
        None => Ok(()),
        Some(_) => Err(path.unsupported(
            "is what OpenAI had before tools; send them as tools, each as {\"type\":\"function\",\
             \"function\":{…}}",
        )),
    }
}

/// Takes out of a request how these tools are to be called. Responses say it in the same words, with names
/// in fewer objects.
pub(in crate::openai) fn choose(
    fields: &mut Object<'_>,
    tools: Vec<Value>,
) -> Result<Offered, Error> {
    let one_call = !fields.bool("parallel_tool_calls")?.unwrap_or(true);
    let mut offered = Offered { tools, choice: ToolChoice::Auto, one_call };
    let path = fields.path("tool_choice");
    match fields.take("tool_choice") {
        None => {}
        Some(Value::String(word)) => offered.choice = choice(&path, &word, &offered.tools)?,
        Some(form @ Value::Object(_)) => named(&path, form, &mut offered)?,
        Some(ref other) => return Err(path.wrong("a string or an object", other)),
    }
    Ok(offered)
}

fn choice(path: &Path<'_>, word: &str, tools: &[Value]) -> Result<ToolChoice, Error> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // Mistral's clients say the other word.
        "required" | "any" => {
            tools::some(path, tools)?;
            Ok(ToolChoice::Required(Vec::new()))
        }
        _ => Err(path.refuse(format_args!(
            "must be \"auto\", \"none\", \"required\" or an object that names a tool, but it is {word:?}"
        ))),
    }
}

fn named(path: &Path<'_>, form: Value, offered: &mut Offered) -> Result<(), Error> {
    let mut form = Object::new(path, form)?;
    let at = form.path("type");
    match form.string("type")?.ok_or_else(|| at.missing())?.as_str() {
        "function" | "custom" => {
            let name = function_name(&mut form, &offered.tools)?;
            offered.choice = ToolChoice::Required(vec![name]);
            // One function is named for one call.
            offered.one_call = true;
            Ok(())
        }
        "allowed_tools" => {
            let at = form.path("allowed_tools");
            // The form of the other API has no object around these.
            match form.take("allowed_tools") {
                Some(inner) => allowed(&mut Object::new(&at, inner)?, offered),
                None => allowed(&mut form, offered),
            }
        }
        kind => Err(at.unsupported(format_args!(
            "must be \"function\" or \"allowed_tools\", but it is {kind:?}"
        ))),
    }
}

/// A name, in an object of its own, called like its kind, or without one.
fn function_name(form: &mut Object<'_>, tools: &[Value]) -> Result<String, Error> {
    let is_custom = form.peek("custom").is_some_and(|inner| !inner.is_null());
    let key = if is_custom { "custom" } else { "function" };
    let at = form.path(key);
    let Some(inner) = form.take(key) else {
        let at = form.path("name");
        let name = form.string("name")?.ok_or_else(|| form.path(key).missing())?;
        // Responses say the namespace of a tool beside its name; chat knows none.
        let namespace = form.string("namespace")?;
        return tools::known(&at, known_name(namespace.as_deref(), &name), tools);
    };
    let mut inner = Object::new(&at, inner)?;
    let at = inner.path("name");
    tools::known(&at, inner.string("name")?.ok_or_else(|| at.missing())?, tools)
}

/// Some of the tools. Where the model need not call any, the others are not shown to it.
fn allowed(form: &mut Object<'_>, offered: &mut Offered) -> Result<(), Error> {
    let at = form.path("tools");
    let entries = form.list("tools", TOOLS_MAX)?.ok_or_else(|| at.missing())?;
    let mut names = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let at = Path::Index(&at, index);
        let mut entry = Object::new(&at, entry)?;
        // What OpenAI runs itself is not offered, so that it cannot be called either.
        let kind = entry.string("type")?;
        if kind.is_none_or(|kind| ["function", "custom"].contains(&&*kind)) {
            names.push(function_name(&mut entry, &offered.tools)?);
        }
    }
    if names.is_empty() {
        return Err(at.refuse(
            "must name at least one tool that is offered here; \"tool_choice\": \"none\" allows none",
        ));
    }
    let at = form.path("mode");
    match form.string("mode")?.as_deref() {
        None | Some("auto") => {
            offered.tools.retain(|tool| names.iter().any(|name| name == tools::name(tool)));
        }
        Some("required") => offered.choice = ToolChoice::Required(names),
        Some(mode) => {
            return Err(
                at.refuse(format_args!("must be \"auto\" or \"required\", but it is {mode:?}"))
            );
        }
    }
    Ok(())
}
