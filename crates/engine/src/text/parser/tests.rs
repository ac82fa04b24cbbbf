//! Answers in the form of each family, whole, broken, and cut anywhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::text::markup::{self, Family};

/// What came of an answer, pieces put together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Text(String),
    Reasoning(String),
    Call(String, String),
}

fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}

fn thought(text: &str) -> Said {
    Said::Reasoning(text.to_owned())
}

fn call(name: &str, arguments: &str) -> Said {
    Said::Call(name.to_owned(), arguments.to_owned())
}

fn tools() -> Vec<Value> {
    let properties = json!({
        "a": {"type": "integer"},
        "t": {"type": "string"},
        "list": {"type": "array", "items": {"type": "integer"}},
    });
    let tool = |name: &str| {
        let parameters = json!({ "type": "object", "properties": properties });
        json!({"type": "function", "function": {"name": name, "parameters": parameters}})
    };
    vec![tool("add"), tool("now")]
}

const FORMS: [Calls; 12] = [
    Calls::Hermes,
    Calls::Xml,
    Calls::Glm,
    Calls::Llama,
    Calls::Mistral,
    Calls::DeepSeek,
    Calls::Gemma,
    Calls::List,
    Calls::Python,
    Calls::Function,
    Calls::Recipient,
    Calls::Harmony,
];

/// A family that thinks between tags, where it has no other way, and was offered tools.
fn markup(form: Calls) -> Markup {
    let thinks = match form {
        Calls::Harmony | Calls::Recipient => None,
        Calls::Gemma => Some(Thinks::Channel),
        Calls::Mistral => Some(Thinks::Bracket),
        Calls::Hermes
        | Calls::Xml
        | Calls::Glm
        | Calls::Llama
        | Calls::DeepSeek
        | Calls::List
        | Calls::Python
        | Calls::Function => Some(Thinks::Tag),
    };
    Markup::new(Family { thinks, calls: Some(form) }, "assistant\n\n>>>", &tools())
}

/// Reads an answer given in these pieces, and says how many calls were whole.
fn read<'a>(markup: Markup, pieces: impl IntoIterator<Item = &'a str>) -> (Vec<Said>, u32) {
    let mut parser = Parser::new(markup);
    let mut parts = Vec::new();
    for piece in pieces {
        parser.push(piece, false, &mut parts);
    }
    parser.finish(&mut parts);
    (joined(parts), parser.count.whole)
}

fn joined(parts: Vec<Part>) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    let mut calls = 0;
    for part in parts {
        match (said.last_mut(), part) {
            (Some(Said::Text(last)), Part::Text(text))
            | (Some(Said::Reasoning(last)), Part::Reasoning(text)) => {
                last.push_str(&super::joined(text));
            }
            (_, Part::Text(text)) => said.push(Said::Text(super::joined(text))),
            (_, Part::Reasoning(text)) => said.push(Said::Reasoning(super::joined(text))),
            (_, Part::Call { index, name: Some(name), arguments }) => {
                assert_eq!(index, calls, "calls are numbered");
                calls += 1;
                said.push(Said::Call(name, super::joined(arguments)));
            }
            (Some(Said::Call(_, last)), Part::Call { index, name: None, arguments }) => {
                assert_eq!(index + 1, calls, "a piece of the last call");
                last.push_str(&super::joined(arguments));
            }
            (_, part @ Part::Call { .. }) => panic!("a piece without its beginning: {part:?}"),
        }
    }
    said
}

/// Reads the answer whole and by character; both must give the same, and whole calls are valid JSON.
#[track_caller]
fn check_markup(markup: &Markup, answer: &str, expected: &[Said]) {
    let (whole, count) = read(markup.clone(), [answer]);
    assert_eq!(whole, expected, "whole");
    let slow: Vec<String> = answer.chars().map(String::from).collect();
    let slow = read(markup.clone(), slow.iter().map(String::as_str));
    assert_eq!(slow, (whole.clone(), count), "by character");
    let is_valid = |said: &&Said| match said {
        Said::Call(_, arguments) => serde_json::from_str::<Value>(arguments).is_ok(),
        Said::Text(_) | Said::Reasoning(_) => false,
    };
    assert_eq!(whole.iter().filter(is_valid).count(), count as usize, "whole calls");
}

#[track_caller]
fn check(form: Calls, answer: &str, expected: &[Said]) {
    check_markup(&markup(form), answer, expected);
}

const ADD: &str = r#"{"a": 1, "t": "é}\"{"}"#;

#[test]
fn plain_text_passes() {
    for form in FORMS {
        check(form, "a < b and <i>c</i> [x] {y} 🦀", &[text("a < b and <i>c</i> [x] {y} 🦀")]);
        check(form, "", &[]);
    }
    let marked = "<think>x</think><tool_call>{}</tool_call>[TOOL_CALLS]";
    check_markup(&Markup::default(), marked, &[text(marked)]);
}

#[test]
fn reasoning_comes_first_or_not_at_all() {
    for form in FORMS {
        let markup = markup(form);
        let Some((open, close)) = markup.family.thinks.map(Thinks::markers) else { continue };
        let answer = format!("\n{open}\nhm\n{close}\n\nyes");
        check(form, &answer, &[thought("hm\n"), text("yes")]);
        check(form, &format!("so {open} is a mark"), &[text(&format!("so {open} is a mark"))]);
        check(form, &format!("{open}cut off"), &[thought("cut off")]);
        let begun = Markup { begins: Begins::Inside, ..markup };
        check_markup(&begun, &format!("hm{close}yes"), &[thought("hm"), text("yes")]);
    }
}

#[test]
fn calls_are_read_in_every_form() {
    let (add, now) = (call("add", ADD), call("now", "{}"));
    let both = [text("Look: "), add.clone(), now.clone()];
    let hermes = format!(
        "Look: <tool_call>\n{{\"name\": \"add\", \"arguments\": {ADD}}}\n</tool_call>\n<tool_call>{{\"name\":\"now\"}}</tool_call>"
    );
    check(Calls::Hermes, &hermes, &both);
    let function = format!("Look: <function=add>{ADD}</function>\n<function=now>{{}}</function>");
    check(Calls::Function, &function, &both);
    let list = format!(
        "[{{\"name\":\"add\",\"arguments\":{ADD}}}, {{\"name\":\"now\",\"arguments\":{{}}, \"id\":\"x}}\"}}]"
    );
    check(Calls::Mistral, &format!("Look: [TOOL_CALLS]{list}"), &both);
    check(Calls::List, &format!("Look: <|tool_call|>{list}"), &both);
    check(Calls::List, &format!("Look: functools{list}"), &both);
    check(Calls::List, &format!("Look: <|tool_call|>{list}<|/tool_call|>"), &both);
    let named =
        format!("Look: [TOOL_CALLS]add[ARGS]{ADD}[TOOL_CALLS]now[CALL_ID]abc123DEF[ARGS]{{}}");
    check(Calls::Mistral, &named, &both);
    check(Calls::Mistral, &format!("Look: [TOOL_CALLS]add{ADD}[TOOL_CALLS]now{{}}"), &both);
    let deepseek = format!(
        "Look: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{ADD}<｜tool▁call▁end｜>\
         <｜tool▁call▁begin｜>now<｜tool▁sep｜>{{}}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    );
    check(Calls::DeepSeek, &deepseek, &both);
    let fenced = format!(
        "Look: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{ADD}\n```<｜tool▁call▁end｜>\n\
         <｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{{}}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    );
    check(Calls::DeepSeek, &fenced, &both);
    check(Calls::Recipient, &format!("all\nLook: >>>add\n{ADD}>>>now\n{{}}"), &both);
    let harmony = format!(
        "<|channel|>commentary<|message|>Look: <|end|><|start|>assistant<|channel|>commentary to=functions.add \
         <|constrain|>json<|message|>{ADD}<|call|><|start|>assistant to=functions.now<|channel|>commentary json<|message|>{{}}"
    );
    check(Calls::Harmony, &harmony, &both);
    let bare = format!(
        "\n{{\"name\": \"add\", \"parameters\": {ADD}}}; {{\"name\": \"now\", \"parameters\": {{}}}}"
    );
    check(Calls::Llama, &bare, &[add.clone(), now.clone()]);
    check(Calls::Llama, &format!("<|python_tag|>{}", bare.trim()), &[add, now]);
}

#[test]
fn calls_that_are_no_json_become_json() {
    let both = [text("Look: "), call("add", r#"{"a":1,"t":"2"}"#), call("now", "{}")];
    let xml = "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=t>\n2\n</parameter>\n\
               </function>\n</tool_call>\n";
    check(
        Calls::Xml,
        &format!("Look: {xml}<tool_call><function=now></function></tool_call>"),
        &both,
    );
    // Without the outer mark.
    let inner = xml.replace("<tool_call>\n", "");
    check(Calls::Xml, &format!("Look: {inner}<function=now>\n</function>"), &both);
    let glm = "Look: <tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>t</arg_key>\n\
               <arg_value>2</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>";
    check(Calls::Glm, glm, &both);
    let gemma = "Look: <|tool_call>call:add{a:1,t:<|\"|>2<|\"|>}<tool_call|><|tool_call>call:now{}<tool_call|>";
    check(Calls::Gemma, gemma, &both);
    let python = "Look: <|tool_call_start|>[add(a=1, t=\"2\"), now()]<|tool_call_end|>";
    check(Calls::Python, python, &both);
}

#[test]
fn text_goes_on_behind_a_call() {
    let expected = [call("now", "{}"), text("Done.")];
    for (form, answer) in [
        (Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>\nDone."),
        (Calls::Xml, "<tool_call><function=now></function></tool_call>\nDone."),
        (Calls::Glm, "<tool_call>now</tool_call>\nDone."),
        (Calls::Llama, "{\"name\":\"now\",\"parameters\":{}}\nDone."),
        (Calls::Mistral, "[TOOL_CALLS]now[ARGS]{}\nDone."),
        (Calls::Mistral, "[TOOL_CALLS][{\"name\":\"now\",\"arguments\":{}}]\nDone."),
        (
            Calls::DeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>\
                           <｜tool▁calls▁end｜>Done.",
        ),
        (Calls::Gemma, "<|tool_call>call:now{}<tool_call|>Done."),
        (Calls::List, "<|tool_call|>[{\"name\":\"now\",\"arguments\":{}}] Done."),
        (Calls::Python, "<|tool_call_start|>[now()]<|tool_call_end|>Done."),
        (Calls::Function, "<function=now>{}</function>\nDone."),
        (Calls::Recipient, "now\n{}>>>all\nDone."),
        (Calls::Harmony, " to=functions.now<|message|>{}<|call|><|channel|>final<|message|>Done."),
    ] {
        check(form, answer, &expected);
    }
}

#[test]
fn a_broken_call_is_shown_and_not_lost() {
    for (form, answer) in [
        (Calls::Hermes, "<tool_call>{oops</tool_call>!"),
        (Calls::Hermes, "<tool_call>oops</tool_call>!"),
        (Calls::Hermes, "<tool_call>{\"na"),
        (Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":7}</tool_call>!"),
        (Calls::Hermes, "<tool_call>[]</tool_call>!"),
        (Calls::Xml, "<tool_call>oops</tool_call>!"),
        (Calls::Xml, "<tool_call><function=add><parameter=a>1"),
        (Calls::Xml, "call <function= f> and </function>"),
        (Calls::Glm, "<tool_call>oops</tool_call>!"),
        (Calls::Glm, "<tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value>"),
        (Calls::Llama, "{\"name\": \"none\", \"parameters\": {}}"),
        (Calls::Llama, "{\"title\": \"now\"} is JSON"),
        (Calls::Llama, "So {\"name\": \"now\", \"parameters\": {}}"),
        (Calls::Llama, "<|python_tag|>print(1)"),
        (Calls::Mistral, "[TOOL_CALLS]oops and so on"),
        (Calls::Mistral, "[TOOL_CALLS]now[ARGS]7"),
        (Calls::DeepSeek, "<｜tool▁calls▁begin｜>oops<｜tool▁calls▁end｜>!"),
        (Calls::DeepSeek, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>oops"),
        (Calls::Gemma, "<|tool_call>call:now{a<tool_call|>!"),
        (Calls::List, "<|tool_call|>oops"),
        (Calls::List, "functools.lru_cache"),
        (Calls::Python, "<|tool_call_start|>[now(1)]<|tool_call_end|>!"),
        (Calls::Function, "<function=now>oops</function>"),
    ] {
        check(form, answer, &[text(answer)]);
    }
    check(Calls::Recipient, "now\nprint(1)", &[text("now\nprint(1)")]);
    check(Calls::Recipient, "all\n>>> print(1)", &[text(">>> print(1)")]);
}

#[test]
fn behind_a_broken_call_a_whole_one_is_read() {
    check(
        Calls::Hermes,
        "<tool_call>oops <tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>",
        &[text("<tool_call>oops "), call("now", "{}")],
    );
    check(
        Calls::Mistral,
        "[TOOL_CALLS][{\"name\":\"now\",\"arguments\":{}}, oops",
        &[call("now", "{}"), text(", oops")],
    );
    let cut = "{\"name\":\"now\",\"parameters\":{}, so it goes";
    check(Calls::Llama, cut, &[call("now", "{}"), text(", so it goes")]);
}

#[test]
fn what_is_forgiven() {
    let now = [call("now", "{}")];
    // A bracket too few or too many, no end marker.
    check(Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":{}</tool_call>", &now);
    check(Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":{}}}</tool_call>", &now);
    check(Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":{}}", &now);
    // Members in another order, arguments as a text.
    check(Calls::Hermes, "<tool_call>{\"arguments\":{},\"name\":\"now\"}</tool_call>", &now);
    check(Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":\"{}\"}</tool_call>", &now);
    let unmarked =
        "<｜tool▁calls▁begin｜>function<｜tool▁sep｜>now\n```json\n{}```<｜tool▁calls▁end｜>";
    check(Calls::DeepSeek, unmarked, &now);
    // A line break inside a text.
    check(
        Calls::Hermes,
        "<tool_call>{\"name\":\"add\",\"arguments\":{\"t\":\"a\nb\"}}</tool_call>",
        &[call("add", "{\"t\":\"a\\nb\"}")],
    );
}

/// What a client has seen the beginning of goes on to its end, and does not count as a call: half a
/// command must not look like a whole one.
#[test]
fn a_call_that_breaks_behind_its_beginning_stays_one_and_is_not_whole() {
    let cut = "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":1,\"t\":\"x";
    check(Calls::Hermes, cut, &[call("add", "{\"a\":1,\"t\":\"x")]);
    let wrong = "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":oops}}</tool_call>!";
    check(Calls::Hermes, wrong, &[call("add", "{\"a\":oops}"), text("!")]);
    let crossed = "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\":[1}}</tool_call>!";
    check(Calls::Hermes, crossed, &[call("add", "{\"a\":[1}}"), text("!")]);
    let open = "[TOOL_CALLS]add[ARGS]{]x[TOOL_CALLS]now[ARGS]{}";
    check(Calls::Mistral, open, &[call("add", "{]x"), call("now", "{}")]);
}

/// A family whose marks are all control tokens.
fn of_control(form: Calls) -> Markup {
    let markup = markup(form);
    let control = markup::marks(markup.family).into_iter().zip(0..).collect();
    Markup { control: std::sync::Arc::new(control), ..markup }
}

/// Calls in the forms whose marks are control tokens in most models.
const MARKED: [(Calls, &str); 6] = [
    (Calls::Mistral, "Look: [TOOL_CALLS]now[ARGS]{}"),
    (
        Calls::DeepSeek,
        "Look: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    (Calls::Gemma, "Look: <|tool_call>call:now{}<tool_call|>"),
    (Calls::List, "Look: <|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]"),
    (Calls::Python, "Look: <|tool_call_start|>[now()]<|tool_call_end|>"),
    (Calls::Hermes, "Look: <tool_call>{\"name\": \"now\"}</tool_call>"),
];

#[test]
fn marks_that_are_control_tokens_are_believed_only_as_such() {
    for (form, answer) in MARKED {
        // Spelled by text, in pieces of any size.
        for size in [1, 2, 3, 7, 100] {
            let pieces = cut(answer, &[size]);
            assert_eq!(read(of_control(form), pieces), (vec![text(answer)], 0), "{form:?}");
        }
        let mut parser = Parser::new(of_control(form));
        let mut parts = Vec::new();
        let mut rest = answer;
        let marks = markup::marks(parser.markup.family);
        while let Some((at, mark)) = earliest(rest, &marks) {
            parser.push(&rest[..at], false, &mut parts);
            parser.push(mark, true, &mut parts);
            rest = &rest[at + mark.len()..];
        }
        parser.push(rest, false, &mut parts);
        parser.finish(&mut parts);
        assert_eq!(joined(parts), [text("Look: "), call("now", "{}")], "{form:?}");
    }
    let spelled = "<|end|> and </think> and <|channel|>final<|message|>";
    let mut parser = Parser::new(of_control(Calls::Harmony));
    let mut parts = Vec::new();
    for mark in ["<|channel|>", "<|message|>"] {
        parser.push(mark, true, &mut parts);
        let word = if mark == "<|channel|>" { "final" } else { spelled };
        parser.push(word, false, &mut parts);
    }
    parser.finish(&mut parts);
    assert_eq!(joined(parts), [text(spelled)]);
}

#[test]
fn marks_in_the_arguments_of_a_call_are_text_where_they_are_no_tokens() {
    let mut parser = Parser::new(of_control(Calls::Gemma));
    let mut parts = Vec::new();
    for (piece, is_special) in [
        ("<|tool_call>", true),
        ("call:add{t:", false),
        ("<|\"|>", true),
        ("a <|\"|> b <tool_call|>", false),
        ("<|\"|>", true),
        ("}", false),
        ("<tool_call|>", true),
    ] {
        parser.push(piece, is_special, &mut parts);
    }
    parser.finish(&mut parts);
    assert_eq!(joined(parts), [call("add", "{\"t\":\"a <|\\\"|> b <tool_call|>\"}")]);
}

#[test]
fn prose_about_calls_is_not_held_back() {
    for (form, prose) in [
        (Calls::Hermes, "Use <tool_call> like so: "),
        (Calls::Hermes, "<tool_call>{ and a bracket "),
        (Calls::Xml, "The <function=name> tag is "),
        (Calls::Xml, "The <tool_call> tag is "),
        (Calls::Glm, "A <tool_call> is a tag "),
        (Calls::Gemma, "A <|tool_call> is a tag "),
        (Calls::Python, "A <|tool_call_start|>[ is a tag "),
        (Calls::Function, "A `<function=` is a tag "),
    ] {
        let mut parser = Parser::new(markup(form));
        let mut parts = Vec::new();
        parser.push(prose, false, &mut parts);
        assert_eq!(joined(parts), [text(prose)], "{form:?}");
    }
}

#[test]
fn a_call_that_is_cut_in_its_closing_mark_is_whole_and_its_mark_not_shown() {
    for (form, answer, close) in [
        (Calls::Hermes, "<tool_call>{\"name\":\"now\",\"arguments\":{}}", "</tool_call>"),
        (Calls::Xml, "<tool_call><function=now></function>", "</tool_call>"),
        (Calls::Xml, "<function=now></function>", "\n</tool_call>"),
        (Calls::Gemma, "<|tool_call>call:now{}", "<tool_call|>"),
        (Calls::Python, "<|tool_call_start|>[now()]", "<|tool_call_end|>"),
        (Calls::Function, "<function=now>{}", "</function>"),
        (Calls::List, "<|tool_call|>[{\"name\":\"now\",\"arguments\":{}}]", "<|/tool_call|>"),
    ] {
        for bytes in 0..=close.len() {
            check(form, &format!("{answer}{}", &close[..bytes]), &[call("now", "{}")]);
        }
    }
    check(Calls::Glm, "<tool_call>now</tool", &[call("now", "{}")]);
}

#[test]
fn arguments_come_as_they_are_written() {
    let mut parser = Parser::new(markup(Calls::Hermes));
    let mut piece = |text: &str| {
        let mut parts = Vec::new();
        parser.push(text, false, &mut parts);
        parts
    };
    let came = |name: Option<&str>, arguments: &str| {
        let (name, arguments) = (name.map(str::to_owned), arguments.to_owned());
        [Part::Call { index: 0, name, arguments }]
    };
    assert_eq!(piece("<tool_call>{\"name\": \"add\", \"argu"), []);
    assert_eq!(piece("ments\": {\"t\": \"a"), came(Some("add"), "{\"t\": \"a"));
    assert_eq!(piece("b"), came(None, "b"));
    assert_eq!(piece("c\"}}"), came(None, "c\"}"));
    assert_eq!(piece("</tool_call>"), []);
}

#[test]
fn channels_are_told_apart_and_their_marks_not_shown() {
    check(
        Calls::Harmony,
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
        &[thought("hm"), text("Yes.")],
    );
    check(Calls::Harmony, "<|channel|>final<|message|>Yes.", &[text("Yes.")]);
    check(Calls::Harmony, "<|channel|>analysis<|message|>cut off", &[thought("cut off")]);
    check(Calls::Harmony, "<|channel|>fin", &[]);
    check(Calls::Harmony, "Just text", &[text("Just text")]);
    check(Calls::Harmony, "<<|message|>Hi", &[text("<Hi")]);
    check(Calls::Harmony, "<|channel|>final <|constrain|>json<|message|>{}", &[text("{}")]);
    let silent = Markup::new(Family { thinks: None, calls: Some(Calls::Harmony) }, "", &[]);
    let answer = "<|channel|>commentary to=functions.now<|message|>{}";
    check_markup(&silent, answer, &[text("{}")]);
}

#[test]
fn special_tokens_are_text_only_where_they_mark_something() {
    let reads = |form, special| Parser::new(markup(form)).reads(special);
    assert!(reads(Calls::Mistral, "[TOOL_CALLS]") && reads(Calls::Mistral, "[ARGS]"));
    assert!(reads(Calls::DeepSeek, "<｜tool▁sep｜>") && reads(Calls::DeepSeek, "</think>"));
    assert!(reads(Calls::Harmony, "<|channel|>") && reads(Calls::Harmony, "<|call|>"));
    assert!(reads(Calls::Gemma, "<|\"|>") && reads(Calls::Gemma, "<|channel>"));
    assert!(reads(Calls::Python, "<|tool_call_start|>") && reads(Calls::List, "<|tool_call|>"));
    assert!(!reads(Calls::Hermes, "<|im_end|>") && !reads(Calls::Hermes, "<|channel|>"));
    assert!(!Parser::new(Markup::default()).reads("<think>"));
}

#[test]
fn whether_it_reasons_is_known_at_any_time() {
    let mut parts = Vec::new();
    let mut parser = Parser::new(markup(Calls::Hermes));
    let mut seen = vec![parser.is_reasoning()];
    for piece in ["<think>", "hm", "</think>", "\n\nyes"] {
        parser.push(piece, false, &mut parts);
        seen.push(parser.is_reasoning());
    }
    assert_eq!(seen, [true, true, true, false, false]);
    let closed = Markup { begins: Begins::Behind, ..markup(Calls::Hermes) };
    assert!(!Parser::new(closed).is_reasoning());
    assert!(!Parser::new(Markup::default()).is_reasoning());
    let mut parser = Parser::new(markup(Calls::Harmony));
    assert!(parser.is_reasoning());
    parser.push("<|channel|>final<|message|>", false, &mut parts);
    assert!(!parser.is_reasoning());
}

/// Bits of all forms, so that markers meet others, and each other's halves.
const BITS: &str = r#"
<think> </think> [THINK] [/THINK] <|channel>thought <channel|> <tool_call> </tool_call>
<function= add> </function> <parameter=a> </parameter> <arg_key>a</arg_key>
<arg_value>1</arg_value> <|python_tag|> [TOOL_CALLS] [CALL_ID]x1 [ARGS]
<｜tool▁calls▁begin｜> <｜tool▁call▁begin｜> function <｜tool▁sep｜> <｜tool▁call▁end｜>
<｜tool▁calls▁end｜> <|tool_call> call:add{ <|"|> <tool_call|> <|tool_call|> functools
<|/tool_call|> <|tool_call_start|> [add(a=1)] <|tool_call_end|> >>> add <|start|>assistant
<|channel|> analysis final <|message|> <|end|> <|call|> {"name":"add", "arguments": {"a":1}
{} { } [ ] , text é🦀 < <| [T ｜
"#;

/// Bits that hold white space or escapes.
const SPACED: &[&str] = &[
    "\n```json\n",
    "\n```",
    "all\n",
    "now\n",
    "commentary to=functions.add ",
    "{\"name\": \"now\", ",
    "\"parameters\": ",
    "\"",
    "\\",
    "{\"t\": \"é\n🦀\"}",
    " ",
    "\n",
];

fn answers() -> impl Strategy<Value = String> {
    let bits: Vec<&str> = BITS.split_whitespace().chain(SPACED.iter().copied()).collect();
    prop::collection::vec(prop::sample::select(bits), 0..14).prop_map(|bits| bits.concat())
}

/// The answer cut at these distances, at whole characters.
fn cut<'a>(answer: &'a str, cuts: &[usize]) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = answer;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let at = rest.char_indices().nth(*cut).map_or(rest.len(), |(at, _)| at);
        let (now, later) = rest.split_at(at);
        pieces.push(now);
        rest = later;
    }
    pieces
}

proptest! {
    #[test]
    fn cut_anywhere_an_answer_reads_the_same(
        answer in answers(),
        form in prop::sample::select(FORMS.to_vec()),
        begins in prop::sample::select(vec![Begins::Open, Begins::Inside, Begins::Behind]),
        cuts in prop::collection::vec(1..9usize, 1..30),
    ) {
        let markup = Markup { begins, ..markup(form) };
        let (said, whole) = read(markup.clone(), [answer.as_str()]);
        prop_assert_eq!(read(markup, cut(&answer, &cuts)), (said.clone(), whole));
        let valid = said.iter().filter(|said| match said {
            Said::Call(_, arguments) => serde_json::from_str::<Value>(arguments).is_ok(),
            Said::Text(_) | Said::Reasoning(_) => false,
        });
        prop_assert_eq!(valid.count(), whole as usize);
    }

    /// Where nothing is marked, nothing is lost.
    #[test]
    fn text_without_markers_is_kept(
        words in "[a-zé🦀 .\n]{0,40}",
        form in prop::sample::select(FORMS.to_vec()),
        cuts in prop::collection::vec(1..9usize, 1..30),
    ) {
        let markup = Markup { in_header: false, ..markup(form) };
        let (said, _) = read(markup, cut(&words, &cuts));
        let expected: Vec<Said> = (!words.is_empty()).then(|| text(&words)).into_iter().collect();
        prop_assert_eq!(said, expected);
    }
}
