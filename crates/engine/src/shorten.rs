//! Conversations that are longer than the context, and whose sender would rather have their oldest turns left out
//! than be refused.
//!
//! Instructions at their beginning stay. What stays behind them begins with something that the user says, since
//! chat templates insist on that, and calls do not lose their results.

use worker_protocol::{Chat, Failure, Message, Role};

/// What `read` makes of the conversation without as few of its oldest turns as it takes to fit: `read` gives
/// nothing for one that is still too long. `None` where every shorter one is.
///
/// # Errors
/// Those of `read`.
pub(crate) fn fitting<T>(
    chat: &Chat,
    mut read: impl FnMut(&Chat) -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let begins = begins(&chat.messages);
    let instructions = instructions(&chat.messages);
    let mut found = None;
    // Each one that is looked at is rendered and tokenized, so the half is looked at first.
    let (mut from, mut to) = (0, begins.len());
    while from < to {
        let middle = from.midpoint(to);
        let rest = chat.messages.get(begins[middle]..).unwrap_or_default();
        let messages = [&chat.messages[..instructions], rest].concat();
        match read(&Chat { messages, ..chat.clone() })? {
            Some(shorter) => {
                found = Some(shorter);
                to = middle;
            }
            None => from = middle + 1,
        }
    }
    Ok(found)
}

/// How many messages at the beginning are instructions.
fn instructions(messages: &[Message]) -> usize {
    let is_instruction = |message: &&Message| match message.role {
        Role::System | Role::Developer => true,
        Role::User | Role::Assistant | Role::Tool => false,
    };
    messages.iter().take_while(is_instruction).count()
}

/// Where a shorter conversation may begin, oldest first.
fn begins(messages: &[Message]) -> Vec<usize> {
    let is_users = |(at, message): (usize, &Message)| (message.role == Role::User).then_some(at);
    let behind = instructions(messages) + 1;
    messages.iter().enumerate().filter_map(is_users).filter(|at| *at >= behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roles by their letters, each message as long as its number.
    fn chat(roles: &str) -> Chat {
        let role = |letter| match letter {
            's' => Role::System,
            'u' => Role::User,
            'a' => Role::Assistant,
            _ => Role::Tool,
        };
        let messages = roles.chars().map(|letter| Message::text(role(letter), "x")).collect();
        Chat { messages, ..Chat::default() }
    }

    /// What is left of it where so many messages fit.
    fn shortened(roles: &str, fits: usize) -> Option<usize> {
        let read = |chat: &Chat| {
            let messages = &chat.messages;
            let first = messages.iter().find(|message| message.role != Role::System).unwrap();
            assert_eq!(first.role, Role::User);
            Ok((messages.len() <= fits).then_some(messages.len()))
        };
        fitting(&chat(roles), read).unwrap()
    }

    #[test]
    fn as_little_is_left_out_as_it_takes() {
        let roles = "ssuauatauau";
        // Behind the instructions it may begin at the last four of the user's messages.
        for (fits, left) in [(10, Some(9)), (9, Some(9)), (8, Some(5)), (4, Some(3)), (2, None)] {
            assert_eq!(shortened(roles, fits), left, "{fits} fit");
        }
    }

    #[test]
    fn nothing_is_left_out_where_the_user_spoke_once() {
        assert_eq!(shortened("suatatat", 3), None);
        assert_eq!(shortened("u", 0), None);
        assert_eq!(shortened("aau", 1), Some(1));
    }
}
