//! Anthropic's request bodies, as OpenAI's.

use dialect::{
    Encode, Error,
    anthropic::{StreamEncoder, WholeEncoder, count, error_body, messages},
};
use worker_protocol::{Command, Prompt, RequestId};

use crate::openai::{answered, answers, generates, json, through_a_frame};

/// A body of `/v1/messages`.
pub fn anthropic_messages(body: &[u8]) {
    let messages::Request { model, generate, .. } = match messages::decode(body) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    assert!(generate.tokens_max.is_some_and(|tokens| tokens > 0));
    spoken(&generate.prompt);
    generates(body, &model, &[generate]);
    let mut stream = StreamEncoder::new("id", &model);
    let mut whole = WholeEncoder::new("id", &model);
    let mut events = Vec::new();
    for (choice, event) in answers(1) {
        stream.event(choice, &event, &mut events);
        whole.event(&event);
    }
    stream.finish(&mut events);
    for event in &events {
        match event.split_once("\ndata: ") {
            Some((name, data)) => {
                assert!(name.starts_with("event: ") && !name.contains('\n'), "{event}");
                assert!(!data.contains('\n'), "a line is broken: {event}");
                json(data);
            }
            None => panic!("an event without data: {event}"),
        }
    }
    let ends = events.iter().filter(|event| event.starts_with("event: message_stop\n"));
    assert_eq!(ends.count(), 1);
    answered(whole.finish());
}

/// A body of `/v1/messages/count_tokens`.
pub fn anthropic_count(body: &[u8]) {
    match count::decode(body) {
        Ok(count::Request { model, prompt, .. }) => {
            assert!(!model.is_empty());
            spoken(&prompt);
            through_a_frame(body, &Command::Count { request: RequestId(1), prompt });
            answered(answers(1).last().map_or(Ok(String::new()), |(_, last)| count::answer(&last)));
        }
        Err(error) => refused(&error),
    }
}

/// Somebody says something, and results of tools say whose they are.
fn spoken(prompt: &Prompt) {
    match prompt {
        Prompt::Chat(chat) => {
            assert!(!chat.messages.is_empty());
            for message in &chat.messages {
                let is_result = message.role == worker_protocol::Role::Tool;
                assert_eq!(is_result, message.tool_call_id.is_some());
                assert!(message.content.is_some() || !message.tool_calls.is_empty());
            }
        }
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) => panic!("it is no conversation"),
    }
}

fn refused(error: &Error) {
    assert!((400..500).contains(&error.status), "{}", error.status);
    json(&error_body(error, Some("req_id")));
}
