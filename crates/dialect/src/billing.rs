//! The line of Claude Code that says on whose account a request is.
//!
//! It begins the system prompt, `x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli;
//! cch=fa690;`, means nothing to a model, and has another number in each request. So no two requests of
//! a conversation would begin alike, and nothing of a prompt of tens of thousands of tokens would be found
//! in any cache. Every dialect passes its canonical messages through here.

use worker_protocol::{Message, Role};

/// How the line begins.
const NAME: &str = "x-anthropic-billing-header:";

/// Takes the line out of the instructions that a conversation begins with, and nothing that only looks
/// like it or stands elsewhere. Instructions that say nothing else go as a whole, where others follow.
pub(crate) fn strip(messages: &mut Vec<Message>) {
    let Some(first) = messages.first_mut() else { return };
    match first.role {
        Role::System | Role::Developer => {}
        Role::User | Role::Assistant | Role::Tool => return,
    }
    let Some(content) = first.content.as_mut() else { return };
    let Some(rest) = behind_line(content) else { return };
    let line_bytes = content.len() - rest.len();
    content.drain(..line_bytes);
    if content.is_empty() && messages.len() > 1 {
        messages.remove(0);
    }
}

/// What stands behind the line, if `text` begins with it.
fn behind_line(text: &str) -> Option<&str> {
    let after = text.strip_prefix(NAME)?;
    let end = after.find(['\r', '\n']).unwrap_or(after.len());
    let (fields, rest) = after.split_at(end);
    let mut fields = fields.split(';').map(str::trim).filter(|field| !field.is_empty()).peekable();
    // A sentence about the line is not the line.
    let is_line = fields.peek().is_some() && fields.all(is_field);
    is_line.then(|| rest.trim_start_matches(['\r', '\n']))
}

/// `cc_entrypoint=cli`
fn is_field(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace());
    text.split_once('=').is_some_and(|(name, value)| is_word(name) && is_word(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=fa690;";

    #[test]
    fn the_line_goes_where_it_begins_the_instructions() {
        for (text, expected) in [
            (format!("{LINE}\nYou are Claude Code."), "You are Claude Code."),
            (format!("{LINE}\r\n\r\nYou are.\n{LINE}"), &*format!("You are.\n{LINE}")),
            (format!("{LINE}\n"), ""),
            ("x-anthropic-billing-header:cch=0\nYou".to_owned(), "You"),
        ] {
            for role in [Role::System, Role::Developer] {
                let mut messages = vec![Message::text(role, text.as_str())];
                strip(&mut messages);
                assert_eq!(messages, [Message::text(role, expected)], "{text:?}");
            }
        }
    }

    #[test]
    fn instructions_that_say_nothing_else_go_where_others_follow() {
        let others = [Message::text(Role::System, "You are."), Message::text(Role::User, "Hi.")];
        let mut messages = [&[Message::text(Role::System, LINE)], &others[..]].concat();
        strip(&mut messages);
        assert_eq!(messages, others);
    }

    #[test]
    fn what_looks_like_it_or_stands_elsewhere_stays() {
        let said = |role, text: &str| Message::text(role, text);
        let line = format!("{LINE}\nYou are.");
        for messages in [
            vec![],
            vec![said(Role::User, &line)],
            vec![said(Role::System, "You are."), said(Role::System, &line)],
            vec![said(Role::System, &format!("You are.\n{line}"))],
            vec![said(Role::System, &format!(" {line}"))],
            vec![said(Role::System, "x-anthropic-billing-header:\nYou are.")],
            vec![said(Role::System, "x-anthropic-billing-header: ;\nYou are.")],
            vec![said(Role::System, "x-anthropic-billing-header: is a line of Claude Code.")],
            vec![said(Role::System, "x-anthropic-billing-header: a=b; and more words=c;")],
            vec![said(Role::System, "X-Anthropic-Billing-Header: cch=1;")],
            vec![said(Role::System, "x-anthropic-billing-headers: cch=1;")],
        ] {
            let mut stripped = messages.clone();
            strip(&mut stripped);
            assert_eq!(stripped, messages);
        }
    }
}
