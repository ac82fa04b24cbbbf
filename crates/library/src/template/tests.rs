//! Templates in the ways of Ollama's models, rendered by the engine. The prompts are what Ollama makes of the same
//! conversations: for the first ones they were compared with those in its own tests.

use engine::Template;
use proptest::prelude::*;
use serde_json::{Value, json};
use worker_protocol::{Chat, Message, Role, ToolCall};

use super::jinja;

const SYSTEM: (Role, &str) = (Role::System, "Be kind.");
const FIRST: (Role, &str) = (Role::User, "Hello?");
const ANSWER: (Role, &str) = (Role::Assistant, "I'm here.");
const SECOND: (Role, &str) = (Role::User, "Bye!");
const WHOLE: [(Role, &str); 4] = [SYSTEM, FIRST, ANSWER, SECOND];

fn chat(messages: &[(Role, &str)]) -> Chat {
    let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
    Chat { messages, ..Chat::default() }
}

#[track_caller]
fn check_chat(template: &str, chat: &Chat, expected: &str) {
    let source = jinja(template).unwrap();
    let template = Template::new(&source, String::new(), String::new()).unwrap();
    assert_eq!(template.render(chat).unwrap(), expected, "{source}");
}

#[track_caller]
fn check(template: &str, messages: &[(Role, &str)], expected: &str) {
    check_chat(template, &chat(messages), expected);
}

#[test]
fn chatml() {
    let template = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n";
    check(
        template,
        &WHOLE,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\nI'm here.<|im_end|>\n<|im_start|>user\nBye!<|im_end|>\n<|im_start|>assistant\n",
    );
}

#[test]
fn llama_3_with_messages_and_with_turns() {
    let expected = "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nI'm here.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye!<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
    let messages = "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>\n{{- end }}<|start_header_id|>assistant<|end_header_id|>\n\n";
    check(messages, &WHOLE, expected);
    let turns = "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}<|eot_id|>{{ end }}{{ if .Prompt }}<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n{{ .Response }}<|eot_id|>";
    check(turns, &WHOLE, expected);
}

#[test]
fn mistral() {
    let template = "[INST] {{ range $index, $_ := .Messages }}\n{{- if eq .Role \"system\" }}{{ .Content }}\n\n{{ else if eq .Role \"user\" }}{{ .Content }}[/INST]\n{{- else if eq .Role \"assistant\" }} {{ .Content }}</s>[INST] {{ end }}\n{{- end }}";
    check(template, &WHOLE, "[INST] Be kind.\n\nHello?[/INST] I'm here.</s>[INST] Bye![/INST]");
    check(template, &[FIRST], "[INST] Hello?[/INST]");
}

#[test]
fn gemma_keeps_what_the_system_says_for_the_next_question() {
    let template = "{{- $system := \"\" }}\n{{- range .Messages }}\n{{- if eq .Role \"system\" }}\n{{- if not $system }}{{ $system = .Content }}\n{{- else }}{{ $system = printf \"%s\\n\\n%s\" $system .Content }}\n{{- end }}\n{{- continue }}\n{{- else if eq .Role \"user\" }}<start_of_turn>user\n{{- if $system }}\n{{ $system }}\n{{- $system = \"\" }}\n{{- end }}\n{{- else if eq .Role \"assistant\" }}<start_of_turn>model\n{{- end }}\n{{ .Content }}<end_of_turn>\n{{ end }}<start_of_turn>model\n";
    check(
        template,
        &WHOLE,
        "<start_of_turn>user\nBe kind.\nHello?<end_of_turn>\n<start_of_turn>model\nI'm here.<end_of_turn>\n<start_of_turn>user\nBye!<end_of_turn>\n<start_of_turn>model\n",
    );
    check(
        template,
        &[SYSTEM, SYSTEM, FIRST],
        "<start_of_turn>user\nBe kind.\n\nBe kind.\nHello?<end_of_turn>\n<start_of_turn>model\n",
    );
}

#[test]
fn phi_3() {
    let template =
        "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n";
    check(
        template,
        &[SYSTEM, FIRST],
        "<|system|>\nBe kind.<|end|>\n<|user|>\nHello?<|end|>\n<|assistant|>\n",
    );
}

#[test]
fn alpaca_and_vicuna_know_one_turn() {
    let alpaca = "{{ if .System }}{{ .System }}\n\n{{ end }}{{ if .Prompt }}### Instruction:\n{{ .Prompt }}\n\n{{ end }}### Response:\n{{ .Response }}\n\n";
    check(
        alpaca,
        &WHOLE,
        "Be kind.\n\n### Instruction:\nHello?\n\n### Response:\nI'm here.\n\n### Instruction:\nBye!\n\n### Response:\n",
    );
    // The answer's place is added where there is none.
    let vicuna = "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: ";
    check(vicuna, &WHOLE, "Be kind.\nUSER: Hello?\nASSISTANT: I'm here.\nUSER: Bye!\nASSISTANT: ");
    check("{{ .Prompt }}", &[FIRST], "Hello?");
    // The system speaks in the middle.
    check(
        vicuna,
        &[FIRST, ANSWER, SYSTEM, SECOND],
        "\nUSER: Hello?\nASSISTANT: I'm here.Be kind.\nUSER: Bye!\nASSISTANT: ",
    );
}

#[test]
fn deepseek_with_and_without_thinking() {
    let template = "{{- if .System }}{{ .System }}{{ end }}\n{{- range $i, $_ := .Messages }}\n{{- $last := eq (len (slice $.Messages $i)) 1}}\n{{- if eq .Role \"user\" }}<｜User｜>{{ .Content }}\n{{- else if eq .Role \"assistant\" }}<｜Assistant｜>{{ .Content }}{{- if not $last }}<｜end▁of▁sentence｜>{{- end }}\n{{- end }}\n{{- if and $last (ne .Role \"assistant\") }}<｜Assistant｜>\n{{- if and $.IsThinkSet (not $.Think) -}}\n<think>\n\n</think>\n\n{{ end }}\n{{- end -}}\n{{- end }}";
    let expected = "Be kind.<｜User｜>Hello?<｜Assistant｜>I'm here.<｜end▁of▁sentence｜><｜User｜>Bye!<｜Assistant｜>";
    check(template, &WHOLE, expected);
    let mut chat = chat(&WHOLE);
    chat.variables.insert("enable_thinking".to_owned(), json!(true));
    check_chat(template, &chat, expected);
    chat.variables.insert("enable_thinking".to_owned(), json!(false));
    check_chat(template, &chat, &format!("{expected}<think>\n\n</think>\n\n"));
}

/// In the way of Qwen 2.5 and 3.
const TOOLS: &str = "{{- $lastUserIdx := -1 -}}\n{{- range $idx, $msg := .Messages -}}\n{{- if eq $msg.Role \"user\" }}{{ $lastUserIdx = $idx }}{{ end -}}\n{{- end }}\n{{- if or .System .Tools }}<|im_start|>system\n{{ .System }}\n{{- if .Tools }}\n\n# Tools\n<tools>\n{{- range .Tools }}\n{\"type\": \"function\", \"function\": {{ .Function }}}\n{{- end }}\n</tools>\n{{- end }}<|im_end|>\n{{ end }}\n{{- range $i, $_ := .Messages }}\n{{- $last := eq (len (slice $.Messages $i)) 1 -}}\n{{- if eq .Role \"user\" }}<|im_start|>user\n{{ .Content }}\n{{- if and $.IsThinkSet (eq $i $lastUserIdx) }}\n   {{- if $.Think -}}\n      {{- \" \"}}/think\n   {{- else -}}\n      {{- \" \"}}/no_think\n   {{- end -}}\n{{- end }}<|im_end|>\n{{ else if eq .Role \"assistant\" }}<|im_start|>assistant\n{{ if and .Thinking (or $last (gt $i $lastUserIdx)) -}}\n<think>{{ .Thinking }}</think>\n{{ end -}}\n{{ if .Content }}{{ .Content }}\n{{- else if .ToolCalls }}<tool_call>\n{{ range .ToolCalls }}{\"name\": \"{{ .Function.Name }}\", \"arguments\": {{ .Function.Arguments }}}\n{{ end }}</tool_call>\n{{- end }}{{ if not $last }}<|im_end|>\n{{ end }}\n{{- else if eq .Role \"tool\" }}<|im_start|>user\n<tool_response>\n{{ .Content }}\n</tool_response><|im_end|>\n{{ end }}\n{{- if and (ne .Role \"assistant\") $last }}<|im_start|>assistant\n{{ end }}\n{{- end }}";

fn tool() -> Value {
    let properties = json!({ "unit": { "type": "string", "enum": ["C", "F"] }, "city": { "type": ["string", "null"], "description": "Where." } });
    let parameters = json!({ "type": "object", "properties": properties, "required": ["city"] });
    json!({ "type": "function", "function": { "name": "weather", "description": "How it is.", "parameters": parameters } })
}

/// A question, a call, its two results, and what was thought about them.
fn called() -> Chat {
    let mut chat = chat(&[FIRST, (Role::Assistant, ""), (Role::Tool, "12"), (Role::Tool, "rain")]);
    let arguments = json!({ "city": "Köln", "unit": "C" });
    chat.messages[1].content = None;
    chat.messages[1].reasoning = Some("hm".to_owned());
    let call = ToolCall { id: "call1".to_owned(), name: "weather".to_owned(), arguments };
    chat.messages[1].tool_calls.push(call);
    chat.tools.push(tool());
    chat
}

#[test]
fn tools_calls_and_thoughts() {
    let mut chat = called();
    chat.variables.insert("enable_thinking".to_owned(), json!(true));
    let expected = "<|im_start|>system\n\n\n# Tools\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": \"How it is.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"unit\": {\"type\": \"string\", \"enum\": [\"C\", \"F\"]}, \"city\": {\"type\": [\"string\", \"null\"], \"description\": \"Where.\"}}, \"required\": [\"city\"]}}}\n</tools><|im_end|>\n<|im_start|>user\nHello? /think<|im_end|>\n<|im_start|>assistant\n<think>hm</think>\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\", \"unit\": \"C\"}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n12\n</tool_response><|im_end|>\n<|im_start|>user\n<tool_response>\nrain\n</tool_response><|im_end|>\n<|im_start|>assistant\n";
    check_chat(TOOLS, &chat, expected);
    // What the engine knows a family's calls by is there still.
    let source = jinja(TOOLS).unwrap();
    assert!(source.contains("<tool_call>") && source.contains("</think>"), "{source}");
}

#[test]
fn properties_come_in_the_order_of_their_names() {
    let template = "{{ range .Messages }}{{ end }}{{ range .Tools }}{{ with .Function }}def {{ .Name }}({{ range $name, $property := .Parameters.Properties }}{{ $name }}: {{ $property.Type }}{{ if .Description }} # {{ .Description }}{{ end }}, {{ end }}){{ end }}{{ else }}none{{ end }}{{ range $i, $x := .Messages }}{{ range $x.ToolCalls }}{{ $i }}{{ range $k, $v := .Function.Arguments }} {{ $k }}={{ $v }}{{ end }}{{ end }}{{ end }}";
    let expected =
        "def weather(city: [\"string\", \"null\"] # Where., unit: string, )1 city=Köln unit=C";
    check_chat(template, &called(), expected);
    check(template, &[FIRST], "none");
}

#[test]
fn neighbours_of_one_role_are_one_message() {
    let template = "{{ .System }}|{{ range .Messages }}[{{ .Role }}]{{ .Content }}{{ end }}";
    let messages = [SYSTEM, FIRST, SECOND, SYSTEM, (Role::Tool, "a"), (Role::Tool, "b")];
    check(
        template,
        &messages,
        "Be kind.\n\nBe kind.|[system]Be kind.[user]Hello?\n\nBye![system]Be kind.[tool]a[tool]b",
    );
}

#[test]
fn blanks_comments_functions_and_texts() {
    for (template, expected) in [
        ("a {{- /* no */ -}} b{{/* no */}} c", "ab c"),
        ("a\n{{- `\"raw\" \\n` -}}\n b", "a\"raw\" \\nb"),
        ("{{ \"it's \\\"so\\\"\\t\\\\\" }}", "it's \"so\"\t\\"),
        (
            "{{ 3 }}{{ len .Messages }}{{ eq 1 2 1 }}{{ ne 1 2 }}{{ lt 1 2 }}{{ le 2 2 }}{{ gt 1 2 }}{{ ge 1 2 }}",
            "31truetruetruetruefalsefalse",
        ),
        ("{{ printf \"%s 100%% %d\" .System 3 | print }}", "Be kind. 100% 3"),
        ("{{ .System | json }}{{ json .Tools }}", "\"Be kind.\"[]"),
        ("{{ (index .Messages 0).Content }}{{ slice .System 0 2 }}", "Be kind.Be"),
        (
            "{{ range .Messages }}{{ break }}{{ end }}{{ with $x := .System }}{{ $x }}{{ . }}{{ end }}",
            "Be kind.Be kind.",
        ),
        (
            "{{ with .Suffix }}{{ . }}{{ else }}none{{ end }}{{ if true }}{{ if false }}no{{ end }}{{ end }}",
            "none",
        ),
        ("{{ $a := 1 }}{{ if true }}{{ $a := 2 }}{{ $a }}{{ end }}{{ $a }}{{ .ThinkLevel }}", "21"),
    ] {
        let whole = format!("{template}{{{{ range .Messages }}}}{{{{ end }}}}");
        check(&whole, &[SYSTEM], expected);
    }
    let source = jinja("{{ currentDate }}{{ .Messages | len }}").unwrap();
    assert!(source.ends_with("{{ strftime_now('%Y-%m-%d') }}{{ (ns.all | length) }}"), "{source}");
    let is_jinja = "{% for m in messages %}{{ m.content }}{% endfor %}";
    assert_eq!(jinja(is_jinja).as_deref(), Ok(is_jinja));
}

#[test]
fn what_is_not_known_is_refused_with_the_reason() {
    for (template, why) in [
        ("{{ template \"x\" . }}", "it has a template in itself (`template`)"),
        ("{{ range .Messages }}{{ .Images }}{{ end }}", "it asks messages for `.Images`"),
        ("{{ .Nothing }}", "it asks for `.Nothing`"),
        ("{{ .Messages }}", "it prints messages as Go does"),
        ("{{ . }}", "it prints everything at once"),
        ("{{ range .System }}{{ end }}", "it goes through a text"),
        ("{{ index .System 0 }}", "it looks something up in a text"),
        ("{{ yesterdayDate }}", "it calls `yesterdayDate` with 0 values"),
        (
            "{{ range .Messages }}{{ toTypeScriptType .Content }}{{ end }}",
            "it calls `toTypeScriptType`",
        ),
        ("{{ printf \"%q\" .System }}", "a place of an unknown kind"),
        ("{{ printf \"%s\" }}", "more places than values"),
        ("{{ printf \"\" .System }}", "fewer places than values"),
        ("{{ printf .System }}", "a format of something else"),
        ("{{ $a }}", "$a is not there"),
        ("{{ $a = 1 }}", "$a is not there"),
        (
            "{{ range $i, $m := .Messages }}{{ $i = 1 }}{{ end }}",
            "the variable $i of a loop is changed",
        ),
        ("{{ if .System }}", "`if` has no end"),
        ("{{ if .System }}{{ else }}", "`else` has no end"),
        ("{{ end }}", "has no beginning"),
        ("{{ if .System }}{{ else range }}{{ end }}", "something other than `if`"),
        ("{{ range $a, $b, $c := .Messages }}{{ end }}", "`range` makes 3 variables"),
        ("{{ .System", "an action has no end"),
        ("{{ \"a }}", "a text has no end"),
        ("{{ `a }}", "a text has no end"),
        ("{{ \"\\x\" }}", "an escape that is not known"),
        ("{{ /* a", "a comment has no end"),
        ("{{ (.System }}", "a bracket is not closed"),
        ("{{ .System .Prompt }}", "a value stands where a function should"),
        ("{{ ; }}", "';' means nothing"),
        ("{{ 1 := 2 }}", "something other than a variable is set"),
        ("{{ ) }}", "a value stands where a function should"),
    ] {
        let error = jinja(template).expect_err(template).to_string();
        assert!(error.contains(why), "{template}: {error}");
    }
}

#[test]
fn hostile_templates_end() {
    let deep = "{{ if true }}".repeat(1000);
    let brackets = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    let fields = format!("{{{{ {} }}}}", ".A".repeat(100_000));
    let pipes = format!("{{{{ 1 {} }}}}", "| len".repeat(100_000));
    // Each compares the whole before it with two others.
    let growing = (0..60).fold("1".to_owned(), |text, _| format!("(eq {text} 1 2)"));
    let growing = format!("{{{{ {growing} }}}}");
    let long = "a".repeat(2_000_000);
    for template in [deep, brackets, fields, pipes, growing, long] {
        assert!(jinja(&template).is_err(), "{}", &template[..40]);
    }
}

proptest! {
    #[test]
    fn any_text_is_translated_to_what_the_engine_reads_or_refused(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("{{ "), Just(" }}"), Just("{{- "), Just(" -}}"), Just("if "), Just("range "), Just("end"),
                Just("else "), Just(".Messages"), Just(".System"), Just(".Role"), Just("$"), Just("$a"), Just(" := "),
                Just("eq "), Just("printf "), Just("\"%s\" "), Just("("), Just(")"), Just(" | "), Just("1"), Just("\n"),
                Just("'\""), Just("{{ end }}"), Just("{{ range .Messages }}"), Just("{{ if .System }}"), Just("\\"),
            ],
            0..24,
        )
    ) {
        let text = pieces.concat();
        if let Ok(source) = jinja(&text) {
            let template = Template::new(&source, String::new(), String::new());
            prop_assert!(template.is_ok(), "{} became {}: {:?}", text, source, template.err());
        }
    }
}
