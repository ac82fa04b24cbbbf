//! What holds an answer: the schema, grammar or choice among tools of a request becomes a guard, and how the
//! answer is read follows from it.
//!
//! Not here: what the guard does (`constraint`), and drawing tokens from what it leaves (`generation`).

use serde_json::{Value, json};
use worker_protocol::{Chat, Constraint, Failure, Generate, ToolChoice};

use crate::constraint::{Grammars, Guard, Wanted, any_strict};
use crate::generation::chat_of;
use crate::model::Model;
use crate::strict::Strict;
use crate::text::{Markup, Reads};

/// Whether a grammar is compiled for the request.
pub(crate) fn compiles(generate: &Generate) -> bool {
    let holds_calls = |chat: &Chat| match chat.tool_choice {
        ToolChoice::Required(_) => true,
        ToolChoice::Auto => any_strict(&chat.tools),
        ToolChoice::None => false,
    };
    generate.constraint.is_some() || chat_of(&generate.prompt).is_some_and(holds_calls)
}

/// How an answer is read, and what holds it to anything.
pub(crate) struct Held {
    pub(crate) markup: Markup,
    /// Holds the answer behind its reasoning.
    pub(crate) guard: Option<Guard>,
    /// Holds the calls that it makes of its own accord.
    pub(crate) strict: Option<Strict>,
}

/// What holds the answer to a request.
///
/// # Errors
/// What of the request cannot be enforced.
pub(crate) fn hold<M: Model>(
    model: &M,
    grammars: &mut Grammars,
    generate: &Generate,
    markup: Markup,
) -> Result<Held, Failure> {
    if let Some(chat) = chat_of(&generate.prompt).filter(|chat| !chat.tools.is_empty()) {
        match (&chat.tool_choice, schema(generate)) {
            (ToolChoice::Required(names), _) => {
                let markup = markup.calling();
                let guard = calls(model, grammars, chat, &markup, names, None)?;
                return Ok(Held { markup, guard: Some(guard), strict: None });
            }
            // What a schema says and a call are both answers.
            (ToolChoice::Auto, Some(schema)) if markup.form().is_some() => {
                let markup = markup.reading(Reads::CallsOrText);
                let guard = calls(model, grammars, chat, &markup, &[], Some(&schema))?;
                return Ok(Held { markup, guard: Some(guard), strict: None });
            }
            // Whether it calls is left to the model, and how, as far as no tool is strict.
            (ToolChoice::Auto, None) if markup.form().is_some() && any_strict(&chat.tools) => {
                let guard = calls(model, grammars, chat, &markup, &[], None)?;
                return Ok(Held { markup, guard: None, strict: Some(Strict::new(guard)) });
            }
            (ToolChoice::Auto | ToolChoice::None, _) => {}
        }
    }
    match &generate.constraint {
        None => Ok(Held { markup, guard: None, strict: None }),
        Some(constraint) => {
            let guard = Some(grammars.compile(model, constraint)?);
            Ok(Held { markup: markup.reading(Reads::Text), guard, strict: None })
        }
    }
}

fn calls<M: Model>(
    model: &M,
    grammars: &mut Grammars,
    chat: &Chat,
    markup: &Markup,
    names: &[String],
    answer: Option<&Value>,
) -> Result<Guard, Failure> {
    let tools = &chat.tools;
    let wanted = Wanted { markup, tools, names, one_call: chat.one_call, answer };
    let guard = grammars.compile_calls(model, &wanted)?;
    // Where the model says before each part what it is, reasoning is a part of the grammar too.
    Ok(if markup.has_headers() { guard.begun() } else { guard })
}

/// The schema of JSON that is wanted.
fn schema(generate: &Generate) -> Option<Value> {
    match generate.constraint.as_ref()? {
        Constraint::Json => Some(json!({ "type": "object" })),
        Constraint::JsonSchema(schema) => Some(schema.clone()),
        Constraint::Lark(_) => None,
    }
}
