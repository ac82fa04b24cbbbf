//! A canonical request for text as the body that a server is asked with.
//!
//! The answer is always streamed: a server that writes as it generates notices that nobody reads
//! any more, and several go on computing for a client of a whole answer that has left.
//!
//! Temperature and top-p are always said, because servers differ in what they do unasked
//! (`mlx_lm.server` takes the likeliest token). Everything else is said where it differs from the
//! hub's own default, so that a server that knows only OpenAI's fields is not troubled with others.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use worker_protocol::{
    Chat, Constraint, Dry, Generate, Media, MediaKind, Message, Mirostat, MirostatVersion, Prompt,
    Role, Sampling, ToolChoice,
};

use crate::media;

use super::{Fields, Request, decimal};

/// The body that asks for this. `model` is the name that the server knows; fields in `drops` are
/// left out.
#[must_use]
pub fn generate(generate: &Generate, model: &str, drops: &[String]) -> Request {
    let mut fields = Fields::new(drops);
    fields.set("model", model);
    let path = match &generate.prompt {
        Prompt::Chat(chat) => {
            self::chat(chat, &mut fields);
            chat_logprobs(generate.logprobs, &mut fields);
            "/v1/chat/completions"
        }
        Prompt::Text(text) => {
            fields.set("prompt", text.as_str());
            completion_logprobs(generate.logprobs, &mut fields);
            "/v1/completions"
        }
        Prompt::Tokens(tokens) => {
            fields.set("prompt", tokens.as_slice());
            completion_logprobs(generate.logprobs, &mut fields);
            "/v1/completions"
        }
        Prompt::Infill(infill) => {
            fields.set("prompt", infill.before_with_snippets() + &infill.begun);
            fields.set("suffix", infill.after.as_str());
            completion_logprobs(generate.logprobs, &mut fields);
            "/v1/completions"
        }
    };
    if let Some(tokens) = generate.tokens_max {
        fields.set("max_tokens", tokens);
    }
    if !generate.stop.is_empty() {
        fields.set("stop", generate.stop.as_slice());
    }
    if generate.ignore_end {
        fields.set("ignore_eos", true);
    }
    if let Some(tokens) = generate.reasoning_tokens_max {
        reasoning(tokens, &mut fields);
    }
    constraint(generate, &mut fields);
    sampling(&generate.sampling, &mut fields);
    fields.set("stream", true);
    fields.set("stream_options", json!({ "include_usage": true }));
    Request { path, body: fields.into_body() }
}

/// What the answer must look like. Grammars are not passed on: each engine has a language of its own.
fn constraint(generate: &Generate, fields: &mut Fields<'_>) {
    let schema = match &generate.constraint {
        None | Some(Constraint::Lark(_)) => return,
        Some(Constraint::Json) => {
            return fields.set("response_format", json!({ "type": "json_object" }));
        }
        Some(Constraint::JsonSchema(schema)) => schema,
    };
    // A name is required.
    let wrapped = json!({ "name": "answer", "schema": schema, "strict": true });
    fields.set("response_format", json!({ "type": "json_schema", "json_schema": wrapped }));
}

/// llama-server's name for the bound, and vLLM's. Who asks for none says so in OpenAI's words too.
fn reasoning(tokens: u32, fields: &mut Fields<'_>) {
    fields.set("thinking_budget_tokens", tokens);
    fields.set("thinking_token_budget", tokens);
    if tokens == 0 {
        fields.set("reasoning_effort", "none");
    }
}

fn chat(chat: &Chat, fields: &mut Fields<'_>) {
    fields.set("messages", chat.messages.iter().map(message).collect::<Vec<Value>>());
    if !chat.tools.is_empty() {
        fields.set("tools", chat.tools.as_slice());
    }
    tool_choice(&chat.tool_choice, fields);
    if chat.one_call {
        fields.set("parallel_tool_calls", false);
    }
    // vLLM's words; llama-server does so anyway.
    if chat.continues {
        fields.set("add_generation_prompt", false);
        fields.set("continue_final_message", true);
    }
    if !chat.documents.is_empty() {
        fields.set("documents", chat.documents.as_slice());
    }
    if !chat.variables.is_empty() {
        fields.set("chat_template_kwargs", chat.variables.clone());
    }
    // OpenAI's own name for it; servers that render templates look among the variables.
    if let Some(effort @ Value::String(_)) = chat.variables.get("reasoning_effort") {
        fields.set("reasoning_effort", effort.clone());
    }
}

fn tool_choice(choice: &ToolChoice, fields: &mut Fields<'_>) {
    let function = |name: &String| json!({ "type": "function", "function": { "name": name } });
    match choice {
        ToolChoice::Auto => {}
        ToolChoice::None => fields.set("tool_choice", "none"),
        ToolChoice::Required(names) => match &names[..] {
            [] => fields.set("tool_choice", "required"),
            [name] => fields.set("tool_choice", function(name)),
            several => {
                let tools: Vec<Value> = several.iter().map(function).collect();
                let allowed = json!({ "mode": "required", "tools": tools });
                let choice = json!({ "type": "allowed_tools", "allowed_tools": allowed });
                fields.set("tool_choice", choice);
            }
        },
    }
}

fn message(message: &Message) -> Value {
    let content = match &message.content {
        _ if !message.media.is_empty() => parts(message),
        Some(text) => Value::from(text.as_str()),
        None if message.tool_calls.is_empty() => Value::from(""),
        None => Value::Null,
    };
    let mut said = json!({ "role": role(message.role), "content": content });
    if let Some(reasoning) = &message.reasoning {
        said["reasoning_content"] = Value::from(reasoning.as_str());
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let function = json!({ "name": call.name, "arguments": call.arguments.to_string() });
            json!({ "id": call.id, "type": "function", "function": function })
        });
        said["tool_calls"] = calls.collect();
    }
    if let Some(id) = &message.tool_call_id {
        said["tool_call_id"] = Value::from(id.as_str());
    }
    if let Some(name) = &message.name {
        said["name"] = Value::from(name.as_str());
    }
    said
}

/// Text, pictures and sounds in their order.
fn parts(message: &Message) -> Value {
    let text = message.content.as_deref().unwrap_or_default();
    let said = |text: &str| (!text.is_empty()).then(|| json!({ "type": "text", "text": text }));
    let (mut parts, mut from) = (Vec::new(), 0);
    for media in &message.media {
        let at = usize::try_from(media.at).unwrap_or(usize::MAX);
        parts.extend(text.get(from..at).and_then(said));
        parts.push(part(media));
        from = at.max(from);
    }
    parts.extend(text.get(from..).and_then(said));
    Value::Array(parts)
}

/// A file as it came.
fn part(file: &Media) -> Value {
    let (kind, data) = (media::media_type(&file.bytes), STANDARD.encode(&file.bytes));
    match file.kind {
        MediaKind::Image => {
            let url = format!("data:{kind};base64,{data}");
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
        MediaKind::Audio => {
            let format = match kind {
                "audio/mpeg" => "mp3",
                "audio/flac" => "flac",
                _ => "wav",
            };
            json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })
        }
    }
}

/// Every server knows `system`; few chat templates know `developer`, which means the same.
fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

fn chat_logprobs(alternatives: Option<u8>, fields: &mut Fields<'_>) {
    if let Some(alternatives) = alternatives {
        fields.set("logprobs", true);
        fields.set("top_logprobs", alternatives);
    }
}

fn completion_logprobs(alternatives: Option<u8>, fields: &mut Fields<'_>) {
    if let Some(alternatives) = alternatives {
        fields.set("logprobs", alternatives);
    }
}

fn sampling(sampling: &Sampling, fields: &mut Fields<'_>) {
    let unsaid = Sampling::default();
    fields.set("temperature", decimal(sampling.temperature));
    fields.set("top_p", decimal(sampling.top_p));
    if sampling.top_k != unsaid.top_k {
        fields.set("top_k", sampling.top_k);
    }
    fields.set_unless("min_p", sampling.min_p, unsaid.min_p);
    fields.set_unless("typical_p", sampling.typical_p, unsaid.typical_p);
    // The two names of the same thing: llama.cpp's, and that of vLLM and MLX.
    fields.set_unless("repeat_penalty", sampling.repeat_penalty, unsaid.repeat_penalty);
    fields.set_unless("repetition_penalty", sampling.repeat_penalty, unsaid.repeat_penalty);
    if sampling.penalty_last_tokens != unsaid.penalty_last_tokens {
        fields.set("repeat_last_n", sampling.penalty_last_tokens);
    }
    fields.set_unless("presence_penalty", sampling.presence_penalty, unsaid.presence_penalty);
    fields.set_unless("frequency_penalty", sampling.frequency_penalty, unsaid.frequency_penalty);
    if let Some(dry) = &sampling.dry {
        self::dry(dry, fields);
    }
    if let Some(xtc) = sampling.xtc {
        fields.set("xtc_probability", decimal(xtc.probability));
        fields.set("xtc_threshold", decimal(xtc.threshold));
    }
    if let Some(mirostat) = sampling.mirostat {
        self::mirostat(mirostat, fields);
    }
    if !sampling.logit_bias.is_empty() {
        let biases = sampling.logit_bias.iter();
        let biases = biases.map(|(token, bias)| (token.to_string(), decimal(*bias)));
        fields.set("logit_bias", biases.collect::<Value>());
    }
    if let Some(seed) = sampling.seed {
        fields.set("seed", seed);
    }
}

fn dry(dry: &Dry, fields: &mut Fields<'_>) {
    fields.set("dry_multiplier", decimal(dry.multiplier));
    fields.set("dry_base", decimal(dry.base));
    fields.set("dry_allowed_length", dry.allowed_length);
    fields.set("dry_penalty_last_n", dry.last_tokens);
    fields.set("dry_sequence_breakers", dry.sequence_breakers.as_slice());
}

fn mirostat(mirostat: Mirostat, fields: &mut Fields<'_>) {
    let version = match mirostat.version {
        MirostatVersion::One => 1,
        MirostatVersion::Two => 2,
    };
    fields.set("mirostat", version);
    fields.set("mirostat_tau", decimal(mirostat.tau));
    fields.set("mirostat_eta", decimal(mirostat.eta));
}

#[cfg(test)]
mod tests {
    use worker_protocol::{ToolCall, Xtc};

    use super::*;
    use crate::openai::{chat as chat_dialect, completion as completion_dialect};

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[track_caller]
    fn check(wanted: Generate, path: &str, expected: &Value) {
        let request = generate(&wanted, "m", &[]);
        assert_eq!((request.path, body(&request)), (path, expected.clone()));
    }

    fn said(messages: Vec<Message>) -> Generate {
        Generate::new(Prompt::Chat(Chat { messages, ..Chat::default() }))
    }

    #[test]
    fn a_plain_chat_says_openais_fields_only() {
        check(
            said(vec![Message::text(Role::User, "hi")]),
            "/v1/chat/completions",
            &json!({
                "model": "m", "messages": [{ "role": "user", "content": "hi" }],
                "temperature": 0.8, "top_p": 0.95,
                "stream": true, "stream_options": { "include_usage": true },
            }),
        );
    }

    #[test]
    fn every_kind_of_message_is_said() {
        let call = ToolCall { id: "c1".into(), name: "f".into(), arguments: json!({ "a": 1 }) };
        let asked = Message {
            content: None,
            reasoning: Some("hm".into()),
            tool_calls: vec![call],
            ..Message::text(Role::Assistant, "")
        };
        let answered = Message {
            tool_call_id: Some("c1".into()),
            name: Some("f".into()),
            ..Message::text(Role::Tool, "42")
        };
        let silent = Message { content: None, ..Message::text(Role::Assistant, "") };
        let messages = vec![
            Message::text(Role::System, "s"),
            Message::text(Role::Developer, "d"),
            asked,
            answered,
            silent,
        ];
        let request = generate(&said(messages), "m", &[]);
        assert_eq!(
            body(&request)["messages"],
            json!([
                { "role": "system", "content": "s" },
                { "role": "system", "content": "d" },
                { "role": "assistant", "content": null, "reasoning_content": "hm",
                  "tool_calls": [{ "id": "c1", "type": "function",
                                   "function": { "name": "f", "arguments": "{\"a\":1}" } }] },
                { "role": "tool", "content": "42", "tool_call_id": "c1", "name": "f" },
                { "role": "assistant", "content": "" },
            ])
        );
    }

    #[test]
    fn pictures_and_sounds_are_said_in_their_places_and_read_back_so() {
        let media = |at, kind, bytes: &[u8]| Media { at, kind, bytes: bytes.to_vec() };
        let gif = b"GIF89a\x01\0\x01\0\0\0\0";
        let wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0\
                    data\x02\0\0\0\0\0";
        let seen = Message {
            media: vec![
                media(0, MediaKind::Image, gif),
                media(5, MediaKind::Audio, wav),
                media(5, MediaKind::Image, gif),
            ],
            ..Message::text(Role::User, "what\nis it?")
        };
        let gif_uri = format!("data:image/gif;base64,{}", STANDARD.encode(gif));
        let picture = json!({ "type": "image_url", "image_url": { "url": gif_uri } });
        let data = STANDARD.encode(wav);
        let sound =
            json!({ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } });
        let request = generate(&said(vec![seen.clone()]), "m", &[]);
        assert_eq!(
            body(&request)["messages"][0]["content"],
            json!([
                picture,
                { "type": "text", "text": "what\n" },
                sound,
                picture,
                { "type": "text", "text": "is it?" },
            ])
        );
        check_back(&said(vec![seen]));
        let alone = Message {
            media: vec![media(0, MediaKind::Image, gif)],
            ..Message::text(Role::User, "")
        };
        check_back(&said(vec![alone]));
    }

    #[test]
    fn raw_prompts_go_to_the_other_route() {
        let expected = |prompt: Value| {
            json!({
                "model": "m", "prompt": prompt, "logprobs": 2, "temperature": 0.8, "top_p": 0.95,
                "stream": true, "stream_options": { "include_usage": true },
            })
        };
        for (prompt, said) in
            [(Prompt::Text("ab".into()), json!("ab")), (Prompt::Tokens(vec![1, 2]), json!([1, 2]))]
        {
            let wanted = Generate { logprobs: Some(2), ..Generate::new(prompt) };
            check(wanted, "/v1/completions", &expected(said));
        }
    }

    /// Our own decoder of clients' bodies is the other half: what it reads is what was meant.
    #[test]
    fn another_hub_understands_all_of_it() {
        let sampling = Sampling {
            temperature: 0.3,
            top_k: 7,
            top_p: 0.5,
            min_p: 0.1,
            typical_p: 0.9,
            repeat_penalty: 1.25,
            penalty_last_tokens: 32,
            presence_penalty: 0.5,
            frequency_penalty: -0.5,
            dry: Some(Dry {
                multiplier: 0.5,
                base: 2.0,
                allowed_length: 3,
                last_tokens: 100,
                sequence_breakers: vec!["\n".into()],
            }),
            xtc: Some(Xtc { probability: 0.5, threshold: 0.2 }),
            mirostat: Some(Mirostat { version: MirostatVersion::Two, tau: 4.0, eta: 0.2 }),
            logit_bias: vec![(5, -100.0)],
            seed: Some(9),
            said: Vec::new(),
        };
        let tool = json!({ "type": "function", "function": { "name": "f" } });
        let variables = json!({ "enable_thinking": false, "reasoning_effort": "low" });
        let chat = Chat {
            messages: vec![Message::text(Role::User, "hi")],
            tools: vec![tool],
            documents: vec![json!({ "title": "t", "text": "x" })],
            variables: variables.as_object().cloned().unwrap(),
            tool_choice: ToolChoice::Required(vec!["f".into()]),
            one_call: true,
            continues: false,
            ..Chat::default()
        };
        let wanted = Generate {
            sampling,
            tokens_max: Some(5),
            stop: vec!["END".into()],
            logprobs: Some(3),
            ignore_end: true,
            reasoning_tokens_max: Some(77),
            ..Generate::new(Prompt::Chat(chat))
        };
        check_back(&wanted);
        let raw =
            Generate { prompt: Prompt::Tokens(vec![1, 2]), reasoning_tokens_max: None, ..wanted };
        let read = completion_dialect::decode(&generate(&raw, "m", &[]).body).unwrap();
        assert_eq!(as_sent(read.generates), [raw]);
    }

    #[test]
    fn what_an_answer_must_look_like_is_said_and_a_grammar_is_not() {
        for constraint in [Constraint::Json, Constraint::JsonSchema(json!({ "type": "array" }))] {
            let mut wanted = said(vec![Message::text(Role::User, "hi")]);
            wanted.constraint = Some(constraint);
            check_back(&wanted);
        }
        let mut wanted = said(vec![Message::text(Role::User, "hi")]);
        let free = generate(&wanted, "m", &[]);
        wanted.constraint = Some(Constraint::Lark("start: \"a\"".to_owned()));
        assert_eq!(generate(&wanted, "m", &[]), free);
    }

    /// What is said is read as what was wanted.
    #[track_caller]
    fn check_back(wanted: &Generate) {
        let request = generate(wanted, "m", &[]);
        let read = chat_dialect::decode(&request.body).unwrap();
        assert_eq!(
            (as_sent(read.generates), read.stream, read.include_usage),
            (vec![wanted.clone()], true, true)
        );
    }

    /// Without which parameters were said: all that have a value are.
    fn as_sent(mut generates: Vec<Generate>) -> Vec<Generate> {
        generates.iter_mut().for_each(|generate| generate.sampling.said.clear());
        generates
    }

    #[test]
    fn efforts_are_said_by_openais_name_too() {
        let variables = json!({ "enable_thinking": true, "reasoning_effort": "low" });
        let chat = Chat {
            messages: vec![Message::text(Role::User, "hi")],
            variables: variables.as_object().cloned().unwrap(),
            ..Chat::default()
        };
        let wanted = Generate::new(Prompt::Chat(chat));
        let request = generate(&wanted, "m", &[]);
        assert_eq!(body(&request)["reasoning_effort"], "low");
        check_back(&wanted);
    }

    #[test]
    fn every_choice_among_tools_is_said() {
        let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let choices: [(ToolChoice, Value); 5] = [
            (ToolChoice::Auto, Value::Null),
            (ToolChoice::None, json!("none")),
            (ToolChoice::Required(Vec::new()), json!("required")),
            (ToolChoice::Required(vec!["f".into()]), tool("f")),
            (
                ToolChoice::Required(vec!["f".into(), "g".into()]),
                json!({ "type": "allowed_tools", "allowed_tools": {
                    "mode": "required", "tools": [tool("f"), tool("g")] } }),
            ),
        ];
        for (tool_choice, expected) in choices {
            // Who names one function wants one call.
            let one_call = matches!(&tool_choice, ToolChoice::Required(names) if names.len() == 1);
            let chat = Chat {
                messages: vec![Message::text(Role::User, "hi")],
                tools: vec![tool("f"), tool("g"), tool("h")],
                tool_choice,
                one_call,
                ..Chat::default()
            };
            let wanted = Generate::new(Prompt::Chat(chat));
            assert_eq!(body(&generate(&wanted, "m", &[]))["tool_choice"], expected);
            check_back(&wanted);
        }
    }

    #[test]
    fn a_beginning_and_a_bound_on_reasoning_are_said() {
        let begun = vec![Message::text(Role::User, "hi"), Message::text(Role::Assistant, "Well,")];
        let mut wanted = said(begun);
        if let Prompt::Chat(chat) = &mut wanted.prompt {
            chat.continues = true;
        }
        check_back(&wanted);
        wanted.reasoning_tokens_max = Some(0);
        let asked = body(&generate(&wanted, "m", &[]));
        assert_eq!(asked["reasoning_effort"], "none");
        assert_eq!(asked["thinking_budget_tokens"], 0);
        assert_eq!(asked["continue_final_message"], true);
    }

    #[test]
    fn what_a_server_refuses_is_left_out() {
        let wanted = Generate {
            stop: vec!["END".into()],
            sampling: Sampling { presence_penalty: 1.0, ..Sampling::default() },
            ..said(vec![Message::text(Role::User, "hi")])
        };
        let drops = ["stop", "presence_penalty", "stream_options"].map(str::to_owned);
        let said = body(&generate(&wanted, "m", &drops));
        let kept: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(kept, ["model", "messages", "temperature", "top_p", "stream"]);
    }
}
