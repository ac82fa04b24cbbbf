//! What a model may answer: anything. Reasoning, calls and text come the same however the answer is cut,
//! and what is no call is not lost.

use engine::{Calls, Family, Markup, Text, Thinks};
use serde_json::json;
use worker_protocol::Event;

const FORMS: [Option<Calls>; 13] = [
    None,
    Some(Calls::Hermes),
    Some(Calls::Xml),
    Some(Calls::Glm),
    Some(Calls::Llama),
    Some(Calls::Mistral),
    Some(Calls::DeepSeek),
    Some(Calls::Gemma),
    Some(Calls::List),
    Some(Calls::Python),
    Some(Calls::Function),
    Some(Calls::Recipient),
    Some(Calls::Harmony),
];

const THINKS: [Option<Thinks>; 4] =
    [None, Some(Thinks::Tag), Some(Thinks::Bracket), Some(Thinks::Channel)];

/// Of an answer the first letter is the form of calls, `a` for none; the second the form of reasoning
/// likewise, a capital if no tools were offered; the third says how the prompt ended, `o` inside of the
/// reasoning, `c` behind it. The rest is the answer.
pub fn answer(bytes: &[u8]) {
    let Some(([form, thinks, end], answer)) = bytes.split_first_chunk() else { return };
    let calls = FORMS[usize::from(form.wrapping_sub(b'a')) % FORMS.len()];
    let is_offered = !thinks.is_ascii_uppercase();
    let thinks = thinks.to_ascii_lowercase().wrapping_sub(b'a');
    let thinks = THINKS[usize::from(thinks) % THINKS.len()];
    let prompt = match (thinks.map(Thinks::markers), end) {
        (Some((open, _)), b'o') => open,
        (Some((_, close)), b'c') => close,
        _ => ">>>",
    };
    let tool = |name: &str| {
        let properties = json!({"a": {"type": "integer"}, "t": {"type": "string"}});
        json!({"function": {"name": name, "parameters": {"properties": properties}}})
    };
    let tools = if is_offered { vec![tool("add"), tool("now")] } else { Vec::new() };
    let markup = Markup::new(Family { thinks, calls }, prompt, &tools);
    let said = read(&markup, answer, answer.len().max(1));
    for piece_bytes in [1, 3, 7] {
        assert_eq!(read(&markup, answer, piece_bytes), said, "in pieces of {piece_bytes}");
    }
    let is_whole =
        |call: &(String, String)| serde_json::from_str::<serde::de::IgnoredAny>(&call.1).is_ok();
    assert_eq!(said.called, said.calls.iter().any(is_whole), "{said:?}");
    assert!(is_offered || said.calls.is_empty(), "a call of no tool: {said:?}");
    let has_header = matches!(calls, Some(Calls::Harmony | Calls::Recipient));
    if said.calls.is_empty() && !has_header {
        let (open, close) = thinks.map_or(("", ""), Thinks::markers);
        keeps(&String::from_utf8_lossy(answer), &said, &format!("{open}{close}"));
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    text: String,
    reasoning: String,
    calls: Vec<(String, String)>,
    called: bool,
}

fn read(markup: &Markup, answer: &[u8], piece_bytes: usize) -> Said {
    let mut text = Text::new(Vec::new(), markup.clone());
    let mut events = Vec::new();
    for piece in answer.chunks(piece_bytes) {
        assert_eq!(text.push(piece, false, None, &mut events), None, "it has no stops");
    }
    text.finish(&mut events);
    let mut said = Said { called: text.called_tools(), ..Said::default() };
    for event in events {
        match event {
            Event::Text(piece) => said.text.push_str(&piece.text),
            Event::Reasoning(piece) => said.reasoning.push_str(&piece.text),
            Event::ToolCall(piece) => {
                said.calls.extend(piece.name.map(|name| (name, String::new())));
                assert_eq!(said.calls.len(), piece.index as usize + 1, "calls come in order");
                if let Some((_, arguments)) = said.calls.last_mut() {
                    arguments.push_str(&piece.arguments);
                }
            }
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::Finished(_)
            | Event::Failed(_) => panic!("{event:?}"),
        }
    }
    said
}

/// Without calls all of it is shown but white space and the marks of the reasoning.
fn keeps(answer: &str, said: &Said, marks: &str) {
    let shown = format!("{}{}", said.text, said.reasoning);
    let count = |text: &str, wanted: char| text.chars().filter(|one| *one == wanted).count();
    for character in answer.chars().filter(|character| !character.is_whitespace()) {
        let kept = count(&shown, character) + count(marks, character);
        assert!(kept >= count(answer, character), "{character:?} is lost: {said:?}");
    }
}
