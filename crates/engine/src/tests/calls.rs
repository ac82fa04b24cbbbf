//! Answers that must call tools, may not, or may call one: whatever the model would rather say, in the form
//! of every family, and read back from it.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use worker_protocol::{Constraint, ToolChoice};

use super::constrained::any_schema;
use super::*;
use crate::fake::{SCRIPT, Speech};

/// What one request said.
#[derive(Debug, Default)]
struct Said {
    reasoning: String,
    text: String,
    calls: Vec<(String, String)>,
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
            Event::Text(piece) => said.text.push_str(&piece.text),
            Event::Reasoning(piece) => said.reasoning.push_str(&piece.text),
            Event::ToolCall(piece) => {
                said.calls.extend(piece.name.map(|name| (name, String::new())));
                said.calls[piece.index as usize].1.push_str(&piece.arguments);
            }
            Event::Progress { .. } => {}
            last => {
                said.last = Some(last);
                return said;
            }
        }
    }
}

/// A family: what its template holds, and which of its marks are control tokens.
struct Kin {
    name: &'static str,
    template: &'static str,
    marks: &'static [&'static str],
}

const fn kin(name: &'static str, template: &'static str, marks: &'static [&'static str]) -> Kin {
    Kin { name, template, marks }
}

const HERMES: &str = "{{ messages[0].content }}{# <tool_call> </think> #}";
const PLAIN_HERMES: &str = "{{ messages[0].content }}{# <tool_call> #}";
const MISTRAL: &str = "{{ messages[0].content }}{# [TOOL_CALLS] #}";
const DEEPSEEK: &str = "{{ messages[0].content }}{# <｜tool▁calls▁begin｜> </think> #}";
const GEMMA: &str = "{{ messages[0].content }}{# <|tool_call>call: <|channel> #}";
const LIST: &str = "{{ messages[0].content }}{# <|tool_call|> #}";
const PYTHON: &str = "{{ messages[0].content }}{# <|tool_call_start|> #}";
const HARMONY: &str = "{{ messages[0].content }}{# <|channel|> <|message|> #}";
const HARMONY_MARKS: &[&str] =
    &["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"];

static KINDS: [Kin; 19] = [
    kin("Hermes", HERMES, &[]),
    kin("Hermes without reasoning", PLAIN_HERMES, &[]),
    kin(
        "Hermes of control tokens",
        HERMES,
        &["<tool_call>", "</tool_call>", "<think>", "</think>"],
    ),
    kin("Xml", "{{ messages[0].content }}{# <tool_call> <function= <parameter= #}", &[]),
    kin("Glm", "{{ messages[0].content }}{# <tool_call> <arg_key> </think> #}", &[]),
    kin(
        "Glm of control tokens",
        "{{ messages[0].content }}{# <tool_call> <arg_key> </think> #}",
        &["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"],
    ),
    kin("Llama", "{{ messages[0].content }}{# <|python_tag|> #}", &["<|python_tag|>"]),
    kin("Mistral", MISTRAL, &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]),
    kin("older Mistral", MISTRAL, &["[TOOL_CALLS]"]),
    kin("Mistral in text", MISTRAL, &[]),
    kin(
        "DeepSeek",
        DEEPSEEK,
        &[
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁calls▁end｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁sep｜>",
        ],
    ),
    kin("DeepSeek in text", DEEPSEEK, &[]),
    kin("Gemma", GEMMA, &["<|tool_call>", "<tool_call|>", "<|\"|>", "<|channel>", "<channel|>"]),
    kin("List", LIST, &["<|tool_call|>"]),
    kin("Python", PYTHON, &["<|tool_call_start|>", "<|tool_call_end|>"]),
    kin("Function", "{{ messages[0].content }}{# <function= #}", &[]),
    kin("Recipient", "{{ messages[0].content }}>>>{# >>>all #}", &[]),
    kin("Harmony", HARMONY, HARMONY_MARKS),
    kin("of no family", "{{ messages[0].content }}{# tools #}", &[]),
];

impl Kin {
    fn model(&self, speech: Speech) -> Fake {
        let mut model = Fake::new(16_384, 2, true).with_marks(self.marks);
        model.speech = speech;
        model.template = self.template;
        model
    }
}

fn tool(name: &str, parameters: &Value) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// Two tools, one without parameters.
fn tools() -> Vec<Value> {
    let city = json!({ "type": "string", "maxLength": 9 });
    let days = json!({ "type": "integer", "minimum": 1, "maximum": 9 });
    vec![
        tool("weather", &object(json!({ "city": city, "days": days }), &["city"])),
        tool("now", &object(json!({}), &[])),
    ]
}

fn ask(content: String, tools: Vec<Value>, tool_choice: ToolChoice) -> Generate {
    let messages = vec![Message::text(Role::User, content)];
    let chat = Chat { messages, tools, tool_choice, ..Chat::default() };
    Generate {
        sampling: Sampling::greedy(),
        tokens_max: Some(3000),
        // Noise would reason for ever.
        reasoning_tokens_max: Some(20),
        ..Generate::new(Prompt::Chat(chat))
    }
}

/// The conversation that a script answers.
fn scripted(tool_choice: ToolChoice) -> Generate {
    ask(SCRIPT.to_string(), tools(), tool_choice)
}

fn one_call(mut generate: Generate) -> Generate {
    if let Prompt::Chat(chat) = &mut generate.prompt {
        chat.one_call = true;
    }
    generate
}

fn required(names: &[&str]) -> ToolChoice {
    ToolChoice::Required(names.iter().map(ToString::to_string).collect())
}

fn say(template: &'static str, marks: &[&'static str], script: &'static str) -> Hub {
    let mut model = Fake::new(4096, 2, true).with_marks(marks);
    model.speech = Speech::Script(script);
    model.template = template;
    Hub::start(model)
}

fn call(name: &str, arguments: &str) -> (String, String) {
    (name.to_owned(), arguments.to_owned())
}

/// A call of an offered tool, whose arguments are what its schema says.
fn check_call(tools: &[Value], (name, arguments): &(String, String)) -> Result<(), String> {
    let tool = tools.iter().find(|tool| tool["function"]["name"] == **name);
    let schema = &tool.ok_or_else(|| format!("{name} was not offered"))?["function"]["parameters"];
    let value: Value =
        serde_json::from_str(arguments).map_err(|error| format!("{error}: {arguments}"))?;
    jsonschema::validate(schema, &value)
        .map_err(|error| format!("{arguments} of {schema}: {error}"))
}

#[test]
fn a_demanded_call_comes_in_the_form_of_every_family() {
    for kin in &KINDS {
        let mut hub = Hub::start(kin.model(Speech::Noise));
        for (request, names) in (0..).zip([&["now"][..], &["weather"], &[]]) {
            let wanted = ask(format!("{request}?"), tools(), required(names));
            hub.generate(request, one_call(wanted));
            let said = listen(&mut hub, request);
            assert_eq!(said.reason(), &FinishReason::ToolCalls, "{}: {said:?}", kin.name);
            let [one] = &said.calls[..] else { panic!("{}: {said:?}", kin.name) };
            assert!(names.is_empty() || names.contains(&&*one.0), "{}: {said:?}", kin.name);
            check_call(&tools(), one).unwrap_or_else(|error| panic!("{}: {error}", kin.name));
            assert_eq!(said.text, "", "{}", kin.name);
        }
    }
}

#[test]
fn what_the_model_would_rather_say_is_not_said() {
    let script = "<think>hm</think>\n\nI cannot do that.";
    let mut hub = say(HERMES, &[], script);
    hub.generate(1, one_call(scripted(required(&["now"]))));
    let said = listen(&mut hub, 1);
    assert_eq!(said.reasoning, "hm");
    assert_eq!((said.text.as_str(), &said.calls[..]), ("", &[call("now", "{}")][..]));
}

#[test]
fn what_has_begun_like_reasoning_becomes_it_where_no_answer_begins_so() {
    let hermes_tokens = &["<tool_call>", "</tool_call>", "<think>", "</think>"];
    for (marks, script) in
        [(&[][..], "<a"), (&[], "<thin"), (hermes_tokens, "<a"), (&[], "<tool_cal")]
    {
        let mut hub = say(HERMES, marks, script);
        hub.generate(1, one_call(scripted(required(&["now"]))));
        let said = listen(&mut hub, 1);
        let [(name, arguments)] = &said.calls[..] else { panic!("{script}: {said:?}") };
        assert_eq!(
            (&**name, serde_json::from_str(arguments).ok()),
            ("now", Some(json!({}))),
            "{script}"
        );
        hub.generate(
            2,
            Generate {
                constraint: Some(Constraint::JsonSchema(json!({ "enum": [1] }))),
                ..ask(SCRIPT.to_string(), Vec::new(), ToolChoice::Auto)
            },
        );
        let said = listen(&mut hub, 2);
        assert_eq!((said.text.as_str(), said.reason()), ("1", &FinishReason::End), "{script}");
    }
}

#[test]
fn a_call_that_the_model_makes_itself_is_taken_as_it_is() {
    let hermes = "<think>hm</think>\n\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>";
    let mistral = "[TOOL_CALLS]weather[ARGS]{\"city\": \"Ulm\"}";
    let harmony = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary \
                   to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}<|call|>";
    for (template, marks, script, thought) in [
        (HERMES, &[][..], hermes, "hm"),
        (MISTRAL, &["[TOOL_CALLS]", "[ARGS]"][..], mistral, ""),
        (HARMONY, HARMONY_MARKS, harmony, "hm"),
    ] {
        for choice in [ToolChoice::Auto, required(&[]), required(&["weather"])] {
            let mut hub = say(template, marks, script);
            hub.generate(1, one_call(scripted(choice.clone())));
            let said = listen(&mut hub, 1);
            assert_eq!(said.calls, [call("weather", "{\"city\": \"Ulm\"}")], "{choice:?}");
            assert_eq!((said.reasoning.as_str(), said.text.as_str()), (thought, ""), "{choice:?}");
            assert_eq!(said.reason(), &FinishReason::ToolCalls);
        }
    }
}

#[test]
fn one_call_at_most_where_more_are_not_wanted() {
    let twice = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\n\
                 <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}</tool_call>";
    for choice in [ToolChoice::Auto, required(&[])] {
        let mut hub = say(PLAIN_HERMES, &[], twice);
        hub.generate(1, scripted(choice.clone()));
        assert_eq!(listen(&mut hub, 1).calls.len(), 2, "{choice:?}");
        hub.generate(2, one_call(scripted(choice.clone())));
        let said = listen(&mut hub, 2);
        assert_eq!(said.calls, [call("now", "{}")], "{choice:?}");
        assert_eq!((said.reason(), said.text.as_str()), (&FinishReason::ToolCalls, ""));
    }
}

#[test]
fn without_a_choice_of_tools_what_looks_like_a_call_is_text() {
    let script = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    let mut hub = say(PLAIN_HERMES, &[], script);
    hub.generate(1, scripted(ToolChoice::None));
    let said = listen(&mut hub, 1);
    assert_eq!((said.text.as_str(), said.calls.len()), (script, 0));
    assert_eq!(said.reason(), &FinishReason::End);
}

#[test]
fn beside_a_schema_the_answer_is_a_call_or_what_the_schema_says() {
    let schema = json!({ "type": "object", "properties": { "x": { "enum": ["<tool_call>", 2] } },
        "required": ["x"], "additionalProperties": false });
    let wanted = || Generate {
        constraint: Some(Constraint::JsonSchema(schema.clone())),
        ..scripted(ToolChoice::Auto)
    };
    let called = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    let mut hub = say(PLAIN_HERMES, &[], called);
    hub.generate(1, one_call(wanted()));
    assert_eq!(listen(&mut hub, 1).calls, [call("now", "{}")]);
    let answered = "{\"x\": \"<tool_call>\"} and more";
    let mut hub = say(PLAIN_HERMES, &[], answered);
    hub.generate(1, wanted());
    let said = listen(&mut hub, 1);
    assert_eq!(
        (said.text.as_str(), said.reason()),
        ("{\"x\": \"<tool_call>\"}", &FinishReason::End)
    );
    let prose = "I think that";
    let mut hub = say(PLAIN_HERMES, &[], prose);
    hub.generate(1, one_call(wanted()));
    let said = listen(&mut hub, 1);
    let is_either = said.calls.len() == 1 || serde_json::from_str::<Value>(&said.text).is_ok();
    assert!(is_either && !said.text.starts_with('I'), "{said:?}");
}

#[test]
fn beside_a_schema_every_family_keeps_to_either() {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "boolean" } },
        "required": ["x"], "additionalProperties": false });
    for kin in KINDS.iter().filter(|kin| kin.name != "of no family") {
        let mut hub = Hub::start(kin.model(Speech::Noise));
        for request in 0..4 {
            let constraint = Some(Constraint::JsonSchema(schema.clone()));
            let wanted = ask(format!("{request}!"), tools(), ToolChoice::Auto);
            hub.generate(request, one_call(Generate { constraint, ..wanted }));
            let said = listen(&mut hub, request);
            if let [one] = &said.calls[..] {
                assert_eq!((said.reason(), said.text.as_str()), (&FinishReason::ToolCalls, ""));
                check_call(&tools(), one).unwrap_or_else(|error| panic!("{}: {error}", kin.name));
            } else {
                let value: Value = serde_json::from_str(&said.text)
                    .unwrap_or_else(|error| panic!("{}: {error} {said:?}", kin.name));
                assert!(value["x"].is_boolean() && said.calls.is_empty(), "{}: {said:?}", kin.name);
                assert_eq!(said.reason(), &FinishReason::End);
            }
        }
    }
}

#[test]
fn what_cannot_be_demanded_is_refused_with_its_reason() {
    let never = json!({ "type": "object", "properties": { "a": { "type": "integer", "not": {} } },
        "required": ["a"] });
    let mut strict = tool("f", &never);
    strict["function"]["strict"] = json!(true);
    let odd = tool("two words", &object(json!({}), &[]));
    let begun = {
        let mut begun = scripted(required(&[]));
        if let Prompt::Chat(chat) = &mut begun.prompt {
            chat.continues = true;
        }
        begun
    };
    let asked = |tools| ask(SCRIPT.to_string(), tools, required(&[]));
    let mut hub = say(PLAIN_HERMES, &[], "hm");
    for (request, (generate, kind, word)) in (0..).zip([
        (asked(vec![strict]), FailureKind::Invalid, "not"),
        (asked(vec![odd]), FailureKind::Invalid, "two words"),
        (asked(Vec::new()), FailureKind::Invalid, "no tools"),
        (begun, FailureKind::Invalid, "go on"),
        (
            Generate { ignore_end: true, ..scripted(required(&[])) },
            FailureKind::Invalid,
            "past its end",
        ),
    ]) {
        hub.generate(request, generate);
        let said = listen(&mut hub, request);
        assert_eq!(said.failure().kind, kind, "{said:?}");
        assert!(said.failure().message.contains(word), "no {word} in {}", said.failure());
    }
    // Whoever asked for no strictness gets what can be enforced.
    hub.generate(10, one_call(asked(vec![tool("f", &never)])));
    let said = listen(&mut hub, 10);
    assert_eq!((said.calls.len(), said.reason()), (1, &FinishReason::ToolCalls), "{said:?}");
}

#[test]
fn a_mark_that_ordinary_tokens_spell_is_text_where_it_is_a_control_token() {
    let marks = &["[TOOL_CALLS]", "[ARGS]"];
    for (script, text, calls) in [
        ("See [TOOL_CALLS]now[ARGS]{}", "See ", 1),
        ("See [TOOL\u{3}_CALLS]now[ARG\u{3}S]{}", "See [TOOL_CALLS]now[ARGS]{}", 0),
    ] {
        let mut hub = say(MISTRAL, marks, script);
        hub.generate(1, scripted(ToolChoice::Auto));
        let said = listen(&mut hub, 1);
        assert_eq!((said.text.as_str(), said.calls.len()), (text, calls));
    }
}

/// A tool that says what cannot be enforced costs none of the others what they say.
#[test]
fn only_the_tool_that_cannot_be_enforced_is_enforced_in_part() {
    let unit = tool("unit", &object(json!({ "unit": { "enum": ["c", "f"] } }), &["unit"]));
    // As a library writes addresses of mail.
    let looks_ahead = json!({ "type": "string", "pattern": "^(?!\\.)[a-z]+$", "maxLength": 5 });
    let mail = tool(
        "mail",
        &object(json!({ "to": looks_ahead, "deep": { "type": "boolean", "not": {} } }), &["to"]),
    );
    let offered = vec![mail.clone(), unit.clone()];
    for kin in &KINDS {
        let mut hub = Hub::start(kin.model(Speech::Noise));
        let mut called = 0;
        // Some are compiled anew, and some are there already.
        for request in 0..12 {
            let mut tools = offered.clone();
            tools.extend((request % 3 == 2).then(|| tool("now", &object(json!({}), &[]))));
            let wanted = ask(format!("{request}?"), tools.clone(), required(&["unit", "mail"]));
            hub.generate(request, one_call(wanted));
            let said = listen(&mut hub, request);
            // What is left of the other one has no end that noise would come to.
            for one in said.calls.iter().filter(|(name, _)| name == "unit") {
                called += 1;
                assert_eq!(said.reason(), &FinishReason::ToolCalls, "{}: {said:?}", kin.name);
                check_call(&tools, one).unwrap_or_else(|error| panic!("{}: {error}", kin.name));
            }
        }
        assert!(called > 0, "{}", kin.name);
    }
}

#[test]
fn of_two_tools_with_one_name_the_first_counts() {
    let digit = json!({ "type": "integer", "minimum": 0, "maximum": 9 });
    let first = tool("f", &object(json!({ "a": digit }), &["a"]));
    let second = tool("f", &object(json!({ "a": { "type": "string" } }), &["a"]));
    let tools = vec![first, second];
    for kin in &KINDS {
        let mut hub = Hub::start(kin.model(Speech::Noise));
        for request in 0..4 {
            let wanted = ask(format!("{request}?"), tools.clone(), required(&[]));
            hub.generate(request, one_call(wanted));
            let said = listen(&mut hub, request);
            let [one] = &said.calls[..] else { panic!("{}: {said:?}", kin.name) };
            check_call(&tools, one).unwrap_or_else(|error| panic!("{}: {error}", kin.name));
        }
    }
}

/// Beside tools that are as they should be, and beside one that is not.
#[test]
fn a_schema_of_the_answer_that_cannot_be_enforced_is_not_the_tools_fault() {
    let never = json!({ "type": "object", "not": {} });
    let mut strict = tool("f", &never);
    strict["function"]["strict"] = json!(true);
    let mut hub = say(PLAIN_HERMES, &[], "hm");
    for (request, tools) in [(1, tools()), (2, vec![tool("f", &never)]), (3, vec![strict.clone()])]
    {
        for (offset, answer, word) in [
            (0, json!({ "properties": { "a": { "$ref": "http://x/y" } } }), "http://x/y"),
            (10, never.clone(), "not"),
            (20, json!(false), "object"),
        ] {
            let constraint = Some(Constraint::JsonSchema(answer));
            let wanted = ask(SCRIPT.to_string(), tools.clone(), ToolChoice::Auto);
            hub.generate(request + offset, Generate { constraint, ..wanted });
            let said = listen(&mut hub, request + offset);
            let failure = said.failure();
            assert_eq!(failure.kind, FailureKind::Constraint, "{failure}");
            let is_its = failure.message.contains(word) && !failure.message.contains("tool");
            assert!(is_its, "no {word} in {failure}");
        }
    }
    let constraint = Some(Constraint::Json);
    let wanted = ask(SCRIPT.to_string(), vec![strict], ToolChoice::Auto);
    hub.generate(50, Generate { constraint, ..wanted });
    let said = listen(&mut hub, 50);
    assert_eq!(said.failure().kind, FailureKind::Invalid, "and this is");
    assert!(said.failure().message.contains("tools"), "{}", said.failure());
}

/// One whose schema is no object once took the process with it.
#[test]
fn a_parameter_that_is_never_allowed_is_not_made_up() {
    let either = |required: &[&str]| {
        let limits = json!({ "type": "integer", "minimum": 0, "maximum": 9 });
        let parameters = json!({ "never": false, "one": limits, "two": limits });
        vec![tool("f", &object(parameters, required))]
    };
    for kin in &KINDS {
        let mut hub = Hub::start(kin.model(Speech::Noise));
        for request in 0..4 {
            let tools = either(&["two"]);
            let wanted = ask(format!("{request}?"), tools.clone(), required(&[]));
            let wanted = if request % 2 == 0 {
                wanted
            } else {
                Generate {
                    constraint: Some(Constraint::Json),
                    ..ask(format!("{request}?"), tools.clone(), ToolChoice::Auto)
                }
            };
            hub.generate(request, one_call(wanted));
            let said = listen(&mut hub, request);
            for one in &said.calls {
                check_call(&tools, one).unwrap_or_else(|error| panic!("{}: {error}", kin.name));
            }
            assert_eq!(said.calls.len() == 1, *said.reason() == FinishReason::ToolCalls);
        }
        // Nothing can be said then; nobody asked for strictness, so it is called without.
        hub.generate(9, one_call(ask("?".to_owned(), either(&["never"]), required(&[]))));
        let said = listen(&mut hub, 9);
        assert_eq!(said.calls.len(), 1, "{}: {said:?}", kin.name);
    }
}

/// Parameters that noise comes to the end of.
fn any_parameters() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "b", "größe", "with space", "$", "c_d"]);
    let never = Just((json!(false), false));
    let field = prop_oneof![6 => (any_schema(), any::<bool>()), 1 => never];
    prop::collection::btree_map(name, field, 0..4).prop_map(|fields| {
        let required = fields.iter().filter(|(_, (_, is_required))| *is_required);
        let required: Vec<&str> = required.map(|(name, _)| *name).collect();
        let properties =
            fields.iter().map(|(name, (schema, _))| ((*name).to_owned(), schema.clone()));
        object(Value::Object(properties.collect::<Map<_, _>>()), &required)
    })
}

/// What opens a call of each family, after which noise comes.
const OPENED: [(&str, &str); 12] = [
    ("Hermes", "So.\n<tool_call>"),
    ("Hermes of control tokens", "<think>hm</think>\n\n<tool_call>"),
    ("Xml", "<tool_call>"),
    ("Glm", "<tool_call>"),
    ("Mistral", "So.[TOOL_CALLS]"),
    ("DeepSeek in text", "<｜tool▁calls▁begin｜>"),
    ("Gemma", "<|tool_call>"),
    ("List", "functools"),
    ("Python", "<|tool_call_start|>"),
    ("Function", "<function="),
    ("Recipient", "all\nSo.>>>t"),
    ("Harmony", "<|channel|>commentary to="),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Several calls, of several tools, some of one name, in the form of any family. What only some forms can
    /// keep to is kept to there, and elsewhere refused where the tool is strict.
    #[test]
    fn noise_becomes_calls_that_their_schemas_allow(
        parameters in prop::collection::vec(any_parameters(), 1..4),
        kin in 0..KINDS.len(),
        seed in 0..1000_u32,
        [is_one, is_strict, is_twice] in any::<[bool; 3]>(),
    ) {
        let kin = &KINDS[kin];
        let mut tools: Vec<Value> = (0..).zip(&parameters)
            .map(|(index, schema): (u32, _)| tool(&format!("tool_{index}"), schema)).collect();
        tools.iter_mut().for_each(|tool| tool["function"]["strict"] = is_strict.into());
        if is_twice {
            tools.push(tool("tool_0", &object(json!({ "a": { "const": "else" } }), &["a"])));
        }
        let mut hub = Hub::start(kin.model(Speech::Noise));
        let wanted = ask(format!("{seed}"), tools.clone(), required(&[]));
        hub.generate(1, if is_one { one_call(wanted) } else { wanted });
        let mut said = listen(&mut hub, 1);
        let is_beyond = kin.is_bare() && parameters.iter().any(says_more_of_a_text);
        if is_beyond && is_strict {
            prop_assert_eq!(&said.failure().kind, &FailureKind::Invalid);
            prop_assert!(said.failure().message.contains("without quotes"), "{}", said.failure());
            return Ok(());
        }
        prop_assert_eq!(said.text.as_str(), "", "{}", kin.name);
        if *said.reason() == FinishReason::Length {
            // Noise went on calling; its last call was cut.
            said.calls.pop();
        } else {
            prop_assert_eq!(said.reason(), &FinishReason::ToolCalls, "{}", kin.name);
            prop_assert!(!said.calls.is_empty(), "{}", kin.name);
        }
        for one in &said.calls {
            let schema = tools.iter().find(|tool| tool["function"]["name"] == *one.0);
            let schema = schema.map(|tool| &tool["function"]["parameters"]);
            if kin.is_bare() && schema.is_some_and(says_more_of_a_text) {
                continue;
            }
            let checked = check_call(&tools, one);
            prop_assert!(checked.is_ok(), "{}: {:?}", kin.name, checked);
        }
    }

    /// The same of a call that the model has begun and is strict.
    #[test]
    fn noise_behind_the_mark_of_a_call_becomes_what_a_strict_tool_allows(
        parameters in prop::collection::vec(any_parameters(), 1..4),
        (name, script) in prop::sample::select(&OPENED[..]),
        seed in 0..1000_u32,
    ) {
        let kin = KINDS.iter().find(|kin| kin.name == name).unwrap();
        let mut tools: Vec<Value> = (0..).zip(&parameters)
            .map(|(index, schema): (u32, _)| tool(&format!("tool_{index}"), schema)).collect();
        tools.iter_mut().for_each(|tool| tool["function"]["strict"] = json!(true));
        let mut hub = Hub::start(kin.model(Speech::Script(script)));
        hub.generate(1, one_call(ask(format!("{seed}{SCRIPT}"), tools.clone(), ToolChoice::Auto)));
        let said = listen(&mut hub, 1);
        if kin.is_bare() && parameters.iter().any(says_more_of_a_text) {
            prop_assert_eq!(&said.failure().kind, &FailureKind::Invalid);
            prop_assert!(said.failure().message.contains("without quotes"), "{}", said.failure());
            return Ok(());
        }
        if *said.reason() != FinishReason::Length {
            prop_assert_eq!(said.reason(), &FinishReason::ToolCalls, "{}", kin.name);
            prop_assert_eq!(said.calls.len(), 1, "{}", kin.name);
            let checked = check_call(&tools, &said.calls[0]);
            prop_assert!(checked.is_ok(), "{}: {:?}", kin.name, checked);
        }
    }
}

/// The tools of `tools`, with the word that their schemas hold for calls that nobody demanded.
fn strict_tools() -> Vec<Value> {
    let mut tools = tools();
    for tool in &mut tools {
        tool["function"]["strict"] = json!(true);
    }
    tools
}

/// What each family says that calls wrongly, behind a text where calls may stand there: what is wrong begins
/// behind the mark, the name, or in the arguments.
const WRONG: &[(&str, &str)] = &[
    (
        "Hermes",
        "So.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"town\": 7}}\n</tool_call>",
    ),
    ("Hermes", "<tool_call>{\"arguments\": [1], \"name\": \"weather\"}</tool_call>"),
    (
        "Hermes without reasoning",
        "a <tool <tool_call>\n{\"name\": \"rain\", \"arguments\": {}}</tool_call>",
    ),
    (
        "Hermes of control tokens",
        "<think>hm</think>\n\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": 1}}",
    ),
    (
        "Xml",
        "So.\n<tool_call>\n<function=weather>\n<parameter=days>\nmany\n</parameter>\n</function>\n</tool_call>",
    ),
    (
        "Glm",
        "So.\n<tool_call>weather\n<arg_key>days</arg_key>\n<arg_value>many</arg_value>\n</tool_call>",
    ),
    (
        "Glm of control tokens",
        "<tool_call>weather\n<arg_key>days</arg_key>\n<arg_value>many</arg_value>\n</tool_call>",
    ),
    ("Llama", "{\"name\": \"weather\", \"parameters\": {\"city\": 5}}"),
    ("Llama", "{ \"name\":\"weather\", \"arguments\":{\"town\": 5}}"),
    ("Llama", "<|python_tag|>{\"name\": \"weather\", \"parameters\": {\"days\": 99}}"),
    ("Mistral", "So.[TOOL_CALLS]weather[ARGS]{\"city\": 5, \"x\": 1}"),
    ("older Mistral", "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {}}]"),
    ("Mistral in text", "So.[TOOL_CALLS]weather[ARGS]{\"city\": 5}"),
    (
        "DeepSeek",
        "So.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"days\": 3}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    ("DeepSeek", "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"days\": 3}<｜tool▁call▁end｜>"),
    ("Gemma", "So.<|tool_call>call:weather{days:<|\"|>x<|\"|>}<tool_call|>"),
    ("List", "So.<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"days\": 0}}]"),
    ("List", "functools[{\"name\": \"weather\", \"arguments\": {\"days\": 0}}]"),
    ("Python", "So.<|tool_call_start|>[weather(days=\"x\")]<|tool_call_end|>"),
    ("Function", "So. <function=weather>{\"days\": 0}</function>"),
    ("Recipient", "all\nSo.>>>weather\n{\"days\": 0}"),
    ("Recipient", "weather\n{\"days\": 0}"),
    (
        "Harmony",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"days\": 0}<|call|>",
    ),
    ("Harmony", "<|channel|>commentary to=functions.rain<|message|>{\"days\": 0}<|call|>"),
    (
        "Harmony",
        "<|channel|>final<|message|>So.<|end|><|start|>assistant to=functions.weather<|channel|>commentary json<|message|>[]<|call|>",
    ),
];

#[test]
fn a_call_that_the_model_begins_itself_is_held_to_a_strict_tool() {
    for (name, script) in WRONG {
        let kin = KINDS.iter().find(|kin| kin.name == *name).unwrap();
        let ask = |tools| one_call(ask(SCRIPT.to_string(), tools, ToolChoice::Auto));
        let mut hub = Hub::start(kin.model(Speech::Script(script)));
        hub.generate(1, ask(tools()));
        let free = listen(&mut hub, 1);
        let keeps = |one| check_call(&tools(), one).is_ok();
        assert!(!free.calls.iter().any(keeps), "{name}: {free:?}");
        hub.generate(2, ask(strict_tools()));
        let said = listen(&mut hub, 2);
        assert_eq!(said.reason(), &FinishReason::ToolCalls, "{name}: {script}: {said:?}");
        let [one] = &said.calls[..] else { panic!("{name}: {said:?}") };
        check_call(&tools(), one).unwrap_or_else(|error| panic!("{name}: {script}: {error}"));
        assert!(
            said.text.is_empty() || free.text.starts_with(&said.text),
            "{name}: {said:?} {free:?}"
        );
        assert_eq!(said.reasoning, free.reasoning, "{name}");
    }
}

#[test]
fn beside_strict_tools_what_is_no_call_is_free() {
    let texts = [
        ("Hermes", "<think>a <tool_call> b</think>\n\nI say <tool, { and [1]."),
        ("Llama", "{\"name\": \"rain\", \"parameters\": {}}"),
        ("Llama", "{\"answer\": 42}"),
        ("Mistral", "See [TOOL\u{3}_CALLS]now."),
        (
            "Harmony",
            "<|channel|>analysis<|message|>to=functions.x<|end|><|start|>assistant<|channel|>final<|message|>to=you",
        ),
        ("Recipient", "all\nIt is >> 3."),
        ("of no family", "{\"name\": \"now\", \"parameters\": 7}"),
    ];
    for (name, script) in texts {
        let kin = KINDS.iter().find(|kin| kin.name == name).unwrap();
        let mut hub = Hub::start(kin.model(Speech::Script(script)));
        hub.generate(1, scripted(ToolChoice::Auto));
        hub.generate(2, ask(SCRIPT.to_string(), strict_tools(), ToolChoice::Auto));
        let (free, said) = (listen(&mut hub, 1), listen(&mut hub, 2));
        assert!(!free.text.is_empty() && free.calls.is_empty(), "{name}: {free:?}");
        assert_eq!((said.text, said.reasoning), (free.text, free.reasoning), "{name}");
        assert_eq!(said.calls, [], "{name}");
        assert_eq!(said.last.map(|last| matches!(last, Event::Finished(_))), Some(true));
    }
}

#[test]
fn text_and_further_calls_may_follow_a_strict_call() {
    let script = "One:\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\nTwo:\n\
                  <tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}\n</tool_call>";
    let mut hub = say(PLAIN_HERMES, &[], script);
    hub.generate(1, ask(SCRIPT.to_string(), strict_tools(), ToolChoice::Auto));
    let said = listen(&mut hub, 1);
    assert_eq!(said.calls, [call("now", "{}"), call("weather", "{\"city\": \"Ulm\"}")]);
    assert_eq!(said.text, "One:\nTwo:\n");
}

#[test]
fn a_strict_tool_that_cannot_be_enforced_is_refused_and_no_other() {
    let never = json!({ "type": "object", "properties": { "a": { "type": "integer", "not": {} } },
        "required": ["a"] });
    let mut hub = say(PLAIN_HERMES, &[], "hm");
    hub.generate(1, ask(SCRIPT.to_string(), vec![tool("f", &never)], ToolChoice::Auto));
    assert_eq!(listen(&mut hub, 1).text, "hm");
    let mut strict = tool("f", &never);
    strict["function"]["strict"] = json!(true);
    hub.generate(2, ask(SCRIPT.to_string(), vec![strict.clone()], ToolChoice::Auto));
    let said = listen(&mut hub, 2);
    assert_eq!(said.failure().kind, FailureKind::Invalid);
    assert!(said.failure().message.contains("without strict"), "{}", said.failure());
    hub.generate(3, ask(SCRIPT.to_string(), vec![strict], ToolChoice::None));
    assert_eq!(listen(&mut hub, 3).text, "hm");
}

impl Kin {
    /// Whether texts stand without quotes in its calls.
    fn is_bare(&self) -> bool {
        ["Xml", "Glm", "Gemma"].iter().any(|form| self.name.starts_with(form))
    }
}

/// Whether a schema says more of a text than can be kept to without quotes.
fn says_more_of_a_text(parameters: &Value) -> bool {
    let mut properties = parameters["properties"].as_object().into_iter().flatten();
    properties.any(|(_, schema)| {
        let says = |key| schema.get(key).is_some();
        schema.get("type").is_some_and(|kind| kind == "string") && (says("format") || says("anyOf"))
    })
}
