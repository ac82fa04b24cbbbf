//! Answers that must look like something: whatever the model would rather say, what comes is what was
//! asked for, and it ends when that is whole.

use proptest::prelude::*;
use serde_json::{Value, json};
use worker_protocol::{Constraint, SpeculationSource};

use super::*;
use crate::fake::{SCRIPT, Speech};
use crate::limits::CONSTRAINED_MAX;
use crate::model::Guessing;

/// What one request said, reasoning apart.
#[derive(Debug, Default)]
struct Said {
    reasoning: String,
    text: String,
    logprobs: usize,
    last: Option<Event>,
}

impl Said {
    fn reason(&self) -> &FinishReason {
        match &self.last {
            Some(Event::Finished(finished)) => &finished.reason,
            other => panic!("{other:?} after {self:?}"),
        }
    }

    fn failure(&self) -> &Failure {
        match &self.last {
            Some(Event::Failed(failure)) => failure,
            other => panic!("{other:?} after {self:?}"),
        }
    }
}

fn listen(hub: &mut Hub, request: u64) -> Said {
    let mut said = Said::default();
    loop {
        let event = hub.next(request);
        hub.grant(request);
        match event {
            Event::Text(piece) => {
                said.text.push_str(&piece.text);
                said.logprobs += piece.logprobs.len();
            }
            Event::Reasoning(piece) => {
                said.reasoning.push_str(&piece.text);
                said.logprobs += piece.logprobs.len();
            }
            Event::Progress { .. } => {}
            last => {
                said.last = Some(last);
                return said;
            }
        }
    }
}

fn held_to(constraint: Constraint, prompt: Vec<u32>, tokens_max: u32) -> Generate {
    Generate { constraint: Some(constraint), ..greedy(prompt, tokens_max) }
}

fn schema(schema: Value) -> Constraint {
    Constraint::JsonSchema(schema)
}

fn noisy(cells: u32, sequences: u32) -> Fake {
    let mut model = Fake::new(cells, sequences, true);
    model.speech = Speech::Noise;
    model
}

/// A model that would say this to whatever it is asked in a chat.
fn scripted(template: &'static str, script: &'static str) -> Hub {
    let mut model = Fake::new(4096, 2, true);
    model.speech = Speech::Script(script);
    model.template = template;
    Hub::start(model)
}

/// The same with tokens of several letters each, which no text can name.
fn worded(template: &'static str, words: &[&'static str], script: &'static str) -> Fake {
    let mut model = Fake::new(4096, 2, true).with_words(words);
    model.speech = Speech::Script(script);
    model.template = template;
    model
}

/// A chat, whose answer is what the script says and the constraint allows.
fn chat(constraint: Option<Constraint>) -> Generate {
    let content = SCRIPT.to_string();
    let messages = vec![Message::text(Role::User, content)];
    Generate {
        sampling: Sampling::greedy(),
        tokens_max: Some(300),
        constraint,
        ..Generate::new(Prompt::Chat(Chat { messages, ..Chat::default() }))
    }
}

fn point() -> Constraint {
    schema(json!({
        "type": "object",
        "properties": { "x": { "type": "integer", "minimum": 0, "maximum": 9 }, "ok": { "type": "boolean" } },
        "required": ["x", "ok"],
        "additionalProperties": false,
    }))
}

fn is_point(text: &str) -> bool {
    serde_json::from_str::<Value>(text)
        .is_ok_and(|value| value["x"].is_u64() && value["ok"].is_boolean())
}

/// Templates of models that think, that begin thinking, and that do neither.
const THINKS: &str = "{{ messages[0].content }}{# </think> #}";
const BEGINS: &str = "{{ messages[0].content }}<think>{# </think> #}";
const PLAIN: &str = "{{ messages[0].content }}{# <tool_call> #}";

#[test]
fn an_answer_ends_when_it_is_whole_whatever_the_model_would_add() {
    let mut hub = scripted(PLAIN, "{\"x\": 4, \"ok\": true}\n\nI hope that this helps.");
    hub.generate(1, chat(Some(point())));
    let said = listen(&mut hub, 1);
    assert_eq!(
        (said.text.as_str(), said.reason()),
        ("{\"x\": 4, \"ok\": true}", &FinishReason::End)
    );
    // The last token of the answer is the last one that was computed.
    let Some(Event::Finished(finished)) = &said.last else { panic!("{said:?}") };
    assert_eq!(finished.usage.completion_tokens as usize, said.text.len());
}

#[test]
fn an_answer_cannot_end_before_it_is_whole() {
    let mut hub = scripted(PLAIN, "{");
    hub.generate(1, chat(Some(point())));
    let said = listen(&mut hub, 1);
    assert!(is_point(&said.text), "{said:?}");
    assert_eq!(said.reason(), &FinishReason::End);
}

#[test]
fn an_answer_without_a_constraint_is_free_beside_one_that_has_one() {
    let mut hub = scripted(PLAIN, "I would rather not.");
    hub.generate(1, chat(None));
    hub.generate(2, chat(Some(point())));
    hub.generate(3, chat(None));
    assert_eq!(listen(&mut hub, 1).text, "I would rather not.");
    assert!(is_point(&listen(&mut hub, 2).text));
    assert_eq!(listen(&mut hub, 3).text, "I would rather not.");
}

#[test]
fn reasoning_is_free_and_the_answer_behind_it_is_not() {
    // Where the prompt begins to think, that much of the script is said already.
    let script = "<think>\nA { or a \"y\"?\n</think>\n\n{\"x\": 4, \"ok\": false} is it.";
    for template in [THINKS, BEGINS] {
        let mut hub = scripted(template, script);
        hub.generate(1, Generate { logprobs: Some(0), ..chat(Some(point())) });
        let said = listen(&mut hub, 1);
        assert_eq!(said.reasoning, "A { or a \"y\"?\n");
        assert_eq!(said.text, "{\"x\": 4, \"ok\": false}", "the blanks between are not part of it");
        assert_eq!(said.reason(), &FinishReason::End);
        let Some(Event::Finished(finished)) = &said.last else { panic!("{said:?}") };
        assert_eq!(said.logprobs, finished.usage.completion_tokens as usize);
    }
}

#[test]
fn whatever_comes_behind_reasoning_is_held_to_the_constraint() {
    let mut hub = scripted(THINKS, "<think>hm</think>Sure! Here it is:\n```json\n{\"x\": 4}");
    hub.generate(1, chat(Some(point())));
    let said = listen(&mut hub, 1);
    assert_eq!(said.reasoning, "hm");
    assert!(is_point(&said.text), "{said:?}");
}

/// The mark came in several tokens of which none is known before it is whole, and what came behind it was
/// not allowed.
#[test]
fn reasoning_whose_closing_mark_comes_in_pieces_is_closed_before_the_answer() {
    let mut hub = Hub::start(worded(THINKS, &["k>Sure"], "<think>hm</think>Sure"));
    hub.generate(1, chat(Some(point())));
    let said = listen(&mut hub, 1);
    assert_eq!(said.reasoning, "hm");
    assert!(is_point(&said.text), "{said:?}");
}

#[test]
fn white_space_that_the_grammar_forbids_is_not_in_the_answer() {
    for script in ["\n\n{\"x\": 4, \"ok\": true}", "<think>hm</think>\n\n{\"x\": 4, \"ok\": true}"]
    {
        let mut hub = scripted(THINKS, script);
        hub.generate(1, chat(Some(point())));
        let said = listen(&mut hub, 1);
        assert_eq!(said.text, "{\"x\": 4, \"ok\": true}", "{script:?}");
        // A blank of its own stays.
        let mut hub = scripted(THINKS, &script[..script.len() - 4]);
        let grammar = "start: \" \" /[a-z]+/".to_owned();
        hub.generate(1, chat(Some(Constraint::Lark(grammar))));
        assert!(listen(&mut hub, 1).text.starts_with(' '), "{script:?}");
    }
}

#[test]
fn reasoning_over_its_budget_is_closed_and_the_answer_comes() {
    let endless = "<think>and so on and on and on and on";
    for template in [THINKS, BEGINS] {
        let mut hub = scripted(template, endless);
        let wanted = Generate { reasoning_tokens_max: Some(9), ..chat(Some(point())) };
        hub.generate(1, wanted);
        let said = listen(&mut hub, 1);
        assert_eq!(said.reasoning, "and so on\n", "{template}");
        assert!(is_point(&said.text), "{said:?}");
    }
    // None at all, where the prompt has opened it.
    let mut hub = scripted(BEGINS, "<think>hm</think>yes, it is so");
    hub.generate(1, Generate { reasoning_tokens_max: Some(0), ..chat(None) });
    let said = listen(&mut hub, 1);
    assert_eq!((said.reasoning.trim(), said.reason()), ("", &FinishReason::End));
    assert!(said.text.ends_with("is so"), "{said:?}");
    // Reasoning that ends in time is left alone.
    let mut hub = scripted(THINKS, "<think>hm</think>yes");
    hub.generate(1, Generate { reasoning_tokens_max: Some(50), ..chat(None) });
    let said = listen(&mut hub, 1);
    assert_eq!((said.reasoning.as_str(), said.text.as_str()), ("hm", "yes"));
}

#[test]
fn a_model_that_could_think_may_answer_at_once_but_not_with_anything_else() {
    for script in ["{\"x\": 4, \"ok\": true} and", "\n{\"x\": 4, \"ok\": true}", "Sure!", "é", ""]
    {
        let mut hub = scripted(THINKS, script);
        hub.generate(1, chat(Some(point())));
        let said = listen(&mut hub, 1);
        assert!(is_point(&said.text), "{said:?}");
        assert_eq!((said.reasoning.as_str(), said.reason()), ("", &FinishReason::End));
    }
    // What could have become the mark of reasoning has been said and is not allowed: it becomes that.
    let mut hub = scripted(THINKS, "<b>4</b>");
    hub.generate(1, chat(Some(point())));
    let said = listen(&mut hub, 1);
    assert!(is_point(&said.text) && said.reasoning.is_empty(), "{said:?}");
}

#[test]
fn a_model_cannot_end_in_its_reasoning() {
    let mut hub = scripted(BEGINS, "<think>hm");
    hub.generate(1, chat(Some(point())));
    let said = listen(&mut hub, 1);
    assert!(said.reasoning.starts_with("hm"), "{said:?}");
    assert_eq!((said.text.as_str(), said.reason()), ("", &FinishReason::Length));
    hub.generate(2, chat(None));
    assert_eq!(listen(&mut hub, 2).reason(), &FinishReason::End, "without a constraint it can");
}

#[test]
fn what_looks_like_a_call_or_a_thought_is_text_in_a_constrained_answer() {
    for text in [
        "{\"a\":\"<tool_call>{\\\"name\\\": \\\"f\\\"}</tool_call>\"}",
        "{\"a\":\"<think>x</think>\"}",
        "{\"name\":\"f\",\"arguments\":{}}",
    ] {
        for template in [PLAIN, THINKS] {
            let mut hub = scripted(template, text);
            hub.generate(1, chat(Some(Constraint::Json)));
            let said = listen(&mut hub, 1);
            assert_eq!((said.text.as_str(), said.reasoning.as_str()), (text, ""));
            assert_eq!(said.reason(), &FinishReason::End);
        }
    }
}

#[test]
fn stop_strings_and_lengths_hold_as_ever() {
    let mut hub = scripted(PLAIN, "{\"x\": 4, \"ok\": true}");
    hub.generate(1, Generate { stop: vec![", \"".to_owned()], ..chat(Some(point())) });
    let said = listen(&mut hub, 1);
    assert_eq!(said.text, "{\"x\": 4");
    assert_eq!(said.reason(), &FinishReason::StopString(", \"".to_owned()));
    hub.generate(2, Generate { tokens_max: Some(3), ..chat(Some(point())) });
    let said = listen(&mut hub, 2);
    assert_eq!((said.text.as_str(), said.reason()), ("{\"x", &FinishReason::Length));
    // Whole with the last token that it may have.
    hub.generate(3, Generate { tokens_max: Some(20), ..chat(Some(point())) });
    let said = listen(&mut hub, 3);
    assert_eq!((said.text.len(), said.reason()), (20, &FinishReason::End));
}

#[test]
fn characters_of_several_tokens_stay_whole() {
    let words = json!({ "enum": ["日本語", "🦀 crab", "naïve"] });
    let schema = schema(json!({ "type": "object", "properties": { "w": words }, "required": ["w"],
        "additionalProperties": false }));
    let mut hub = scripted(PLAIN, "{\"w\":\"🦀");
    hub.generate(1, chat(Some(schema)));
    let value: Value = serde_json::from_str(&listen(&mut hub, 1).text).unwrap();
    assert_eq!(value, json!({ "w": "🦀 crab" }));
}

#[test]
fn a_grammar_is_kept_to() {
    let grammar = "start: word (\", \" word)*\nword: \"yes\" | \"no\" | /[0-9]{2}/";
    let mut hub = scripted(PLAIN, "yes, 42, maybe");
    hub.generate(1, chat(Some(Constraint::Lark(grammar.to_owned()))));
    let said = listen(&mut hub, 1);
    assert!(said.text.starts_with("yes, 42, "), "{said:?}");
    let is_word = |word: &str| ["yes", "no"].contains(&word) || word.parse::<u8>().is_ok();
    assert!(said.text.split(", ").all(is_word), "{said:?}");
}

#[test]
fn what_cannot_be_enforced_is_refused_before_any_token() {
    let mut hub = scripted(PLAIN, "{}");
    let refused = [
        (schema(json!({ "type": "object", "not": {} })), "not"),
        (schema(json!({ "$ref": "https://example.org/schema" })), "$ref"),
        (schema(json!({ "$ref": "#" })), "no text can go on"),
        (schema(json!([])), "object"),
        (Constraint::Lark("start: (".to_owned()), "cannot be enforced"),
    ];
    for (request, (constraint, word)) in (1..).zip(refused) {
        hub.generate(request, chat(Some(constraint)));
        // Its first event is its last: nothing was computed for it.
        let Event::Failed(failure) = hub.next(request) else { panic!("{word} was not refused") };
        assert_eq!(failure.kind, FailureKind::Constraint);
        assert!(failure.message.contains(word), "no {word} in: {failure}");
    }
    let tool = json!({ "type": "function", "function": { "name": "f" } });
    let mut with_tool = chat(Some(Constraint::Lark("start: \"a\"".to_owned())));
    if let Prompt::Chat(chat) = &mut with_tool.prompt {
        chat.tools.push(tool);
    }
    let endless = Generate { ignore_end: true, ..chat(Some(Constraint::Json)) };
    for (request, generate) in (100..).zip([with_tool, endless]) {
        hub.generate(request, generate);
        assert_eq!(listen(&mut hub, request).failure().kind, FailureKind::Invalid);
    }
}

#[test]
fn only_so_many_are_held_at_a_time() {
    let mut hub = Hub::start(noisy(4096, 1));
    let most = CONSTRAINED_MAX as u64;
    // Longer than what may be said before somebody reads it, so that none of them ends.
    let long = json!({ "type": "string", "minLength": 500, "maxLength": 500 });
    let long = Constraint::JsonSchema(long);
    for request in 0..=most {
        hub.generate(request, held_to(long.clone(), prompt(request as u32, 5), 1000));
    }
    let last = listen(&mut hub, most);
    assert_eq!(last.failure().kind, FailureKind::Overloaded);
    for request in 0..most {
        hub.send(Command::Cancel { request: RequestId(request) });
        assert_eq!(*listen(&mut hub, request).reason(), FinishReason::Cancelled);
    }
    hub.generate(most + 1, held_to(point(), prompt(1, 5), 1000));
    assert!(is_point(&listen(&mut hub, most + 1).text), "those that ended made room");
}

/// Schemas whose values are bounded, so that noise comes to their end.
pub(super) fn any_schema() -> impl Strategy<Value = Value> {
    let word =
        prop::sample::select(vec!["a", "naïve", "日本", "🦀", "say \"hi\"", "back\\slash", ""]);
    let leaf = prop_oneof![
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": "null" })),
        (-50..50_i32, 0..200_i32).prop_map(|(least, more)| {
            json!({ "type": "integer", "minimum": least, "maximum": least + more })
        }),
        (0..9_u32).prop_map(|length| json!({ "type": "string", "maxLength": length })),
        (1..4_u32).prop_map(|length| {
            json!({ "type": "string", "minLength": length, "maxLength": length + 2 })
        }),
        prop::sample::select(vec!["^[a-c]{1,4}$", "^(ä|🦀)+x?$", "^\\d{2}:\\d{2}$"])
            .prop_map(|pattern| json!({ "type": "string", "pattern": pattern, "maxLength": 12 })),
        prop::collection::vec(word.clone(), 1..4).prop_map(|words| json!({ "enum": words })),
        word.clone().prop_map(|word| json!({ "const": word })),
        word.clone().prop_map(|word| json!({ "type": "string", "const": word })),
        word.prop_map(|word| json!({ "type": "string", "anyOf": [
            { "const": word }, { "minLength": 3, "maxLength": 4 }] })),
        prop::sample::select(vec!["date", "ipv4", "uuid"])
            .prop_map(|format| json!({ "type": "string", "format": format })),
        (0..99_u32).prop_map(|value| json!({ "const": { "fixed": [value, null] } })),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name = prop::sample::select(vec!["a", "b", "größe", "with space", "$"]);
        let never = Just((json!(false), false));
        let field = prop_oneof![6 => (inner.clone(), any::<bool>()), 1 => never];
        let fields = prop::collection::btree_map(name, field, 0..4);
        prop_oneof![
            fields.prop_map(|fields| {
                let of = |field: (&&str, &(Value, bool))| (field.0.to_string(), field.1.0.clone());
                let required = fields.iter().filter(|(_, (_, is_required))| *is_required);
                json!({
                    "type": "object",
                    "properties": fields.iter().map(of).collect::<serde_json::Map<_, _>>(),
                    "required": required.map(|(name, _)| *name).collect::<Vec<_>>(),
                    "additionalProperties": false,
                })
            }),
            (inner.clone(), 0..3_u32, 0..3_u32).prop_map(|(items, least, more)| {
                json!({ "type": "array", "items": items, "minItems": least, "maxItems": least + more })
            }),
            prop::collection::vec(inner, 1..3).prop_map(|any| json!({ "anyOf": any })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Several at once, each with a schema of its own, from a model that says anything, with guesses
    /// from the text and from a model that knows nothing of schemas.
    #[test]
    fn noise_becomes_what_the_schema_says(
        schemas in prop::collection::vec(any_schema(), 1..5),
        seed in 0..1000_u32,
        guesses in prop::sample::select(vec![None, Some(false), Some(true)]),
    ) {
        let mut model = noisy(32_768, 3);
        if guesses == Some(true) {
            model.guessing = Guessing::Tokens(4);
        }
        let source = match guesses {
            None => SpeculationSource::Off,
            Some(_) => SpeculationSource::Lookup,
        };
        let speculation = Speculation { source, tokens: guesses.map(|_| 4) };
        let mut hub = Hub::start_guessing(model, None, speculation);
        for (request, schema) in (0..).zip(&schemas) {
            let constraint = Constraint::JsonSchema(schema.clone());
            hub.generate(request, held_to(constraint, prompt(seed + request as u32, 7), 5000));
        }
        for (request, schema) in (0..).zip(&schemas) {
            let said = listen(&mut hub, request);
            prop_assert_eq!(said.reason(), &FinishReason::End, "{} gave {}", schema, said.text);
            let value: Value = serde_json::from_str(&said.text)
                .map_err(|error| TestCaseError::fail(format!("{error}: {}", said.text)))?;
            let checked = jsonschema::validate(schema, &value);
            prop_assert!(checked.is_ok(), "{} is no {}: {:?}", said.text, schema, checked);
        }
    }

    /// The same text with guesses and without.
    #[test]
    fn guesses_change_no_constrained_text(seed in 0..1000_u32, guessed in any_schema()) {
        let mut texts = Vec::new();
        for source in [SpeculationSource::Off, SpeculationSource::Lookup] {
            let mut model = noisy(4096, 1);
            model.guessing = Guessing::Tokens(3);
            let speculation = Speculation { source, tokens: Some(3) };
            let mut hub = Hub::start_guessing(model, None, speculation);
            let array = json!({ "type": "array", "items": guessed, "minItems": 3, "maxItems": 6 });
            hub.generate(1, held_to(schema(array), prompt(seed, 9), 1500));
            texts.push(listen(&mut hub, 1).text);
        }
        prop_assert_eq!(&texts[0], &texts[1]);
    }
}
