//! What a model's requests have that do not say otherwise: instructions, what was said before them, and how
//! tokens are chosen.
//!
//! Not here: where it is written down (whoever implements [`crate::Models`]), and its chat template, which the
//! worker has.

use worker_protocol::{Generate, Message, Parameter, Prompt, Role, Sampling};

/// What a model's requests have that do not say otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Habits {
    /// Instructions of a conversation that begins without any.
    pub system: Option<String>,
    /// What was said before a conversation.
    pub messages: Vec<Message>,
    /// How tokens are chosen; what [`Sampling::said`] does not name is nobody's word.
    pub sampling: Sampling,
    /// Where the text ends, unless the request says that itself.
    pub stop: Vec<String>,
    /// Tokens to generate at most.
    pub tokens_max: Option<u32>,
}

impl Habits {
    /// Adds to a request what it does not say.
    pub(crate) fn fill_in(&self, generate: &mut Generate) {
        self.begin(&mut generate.prompt);
        let says_length = generate.sampling.said.contains(&Parameter::TokensMax);
        if generate.tokens_max.is_none() && !says_length {
            generate.tokens_max = self.tokens_max;
        }
        if generate.stop.is_empty() {
            generate.stop.clone_from(&self.stop);
        }
        generate.sampling.fill_in(&self.sampling);
    }

    /// Puts in front of a conversation what it begins with. Text as it stands stays so.
    pub(crate) fn begin(&self, prompt: &mut Prompt) {
        let Prompt::Chat(chat) = prompt else { return };
        let is_said = |message: &Message| !matches!(message.role, Role::System | Role::Developer);
        let instructions = chat.messages.iter().position(is_said).unwrap_or(chat.messages.len());
        let own = self.system.iter().filter(|_| instructions == 0);
        let own = own.map(|system| Message::text(Role::System, system));
        let before = own.chain(self.messages.iter().cloned());
        chat.messages.splice(instructions..instructions, before);
    }
}

#[cfg(test)]
mod tests {
    use worker_protocol::Chat;

    use super::*;

    fn mario() -> Habits {
        Habits {
            system: Some("You are Mario.".to_owned()),
            messages: vec![
                Message::text(Role::User, "Who?"),
                Message::text(Role::Assistant, "It's me."),
            ],
            sampling: Sampling {
                temperature: 0.1,
                top_k: 3,
                top_p: 0.2,
                said: vec![Parameter::Temperature, Parameter::TopK],
                ..Sampling::default()
            },
            stop: vec!["END".to_owned()],
            tokens_max: Some(7),
        }
    }

    fn filled(messages: &[(Role, &str)]) -> Vec<(Role, String)> {
        let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        let mut prompt = Prompt::Chat(Chat { messages, ..Chat::default() });
        mario().begin(&mut prompt);
        let Prompt::Chat(chat) = prompt else { panic!("a conversation stays one") };
        let said = |message: Message| (message.role, message.content.unwrap_or_default());
        chat.messages.into_iter().map(said).collect()
    }

    #[test]
    fn a_conversation_begins_with_what_the_model_has_unless_it_has_its_own() {
        let said = |all: &[(Role, &str)]| {
            all.iter().map(|(role, text)| (*role, (*text).to_owned())).collect::<Vec<_>>()
        };
        let before = [(Role::User, "Who?"), (Role::Assistant, "It's me.")];
        let hi = (Role::User, "Hi");
        assert_eq!(
            filled(&[hi]),
            said(&[(Role::System, "You are Mario."), before[0], before[1], hi])
        );
        for role in [Role::System, Role::Developer] {
            let own = (role, "You are Luigi.");
            assert_eq!(filled(&[own, hi]), said(&[own, before[0], before[1], hi]));
        }
    }

    #[test]
    fn text_as_it_stands_stays_so() {
        let mut prompt = Prompt::Text("once".to_owned());
        mario().begin(&mut prompt);
        assert_eq!(prompt, Prompt::Text("once".to_owned()));
    }

    #[test]
    fn a_requests_own_values_win_one_by_one() {
        let mut silent = Generate::new(Prompt::Text("x".to_owned()));
        mario().fill_in(&mut silent);
        let Sampling { temperature, top_k, top_p, .. } = silent.sampling;
        assert_eq!((temperature, top_k), (0.1, 3));
        assert_eq!(top_p, Sampling::default().top_p, "nobody said it");
        assert_eq!((silent.stop, silent.tokens_max), (vec!["END".to_owned()], Some(7)));

        let sampling = Sampling {
            temperature: 0.8,
            said: vec![Parameter::Temperature, Parameter::TokensMax],
            ..Sampling::default()
        };
        let stop = vec!["mine".to_owned()];
        let mut own = Generate { sampling, stop, ..Generate::new(Prompt::Text("x".to_owned())) };
        mario().fill_in(&mut own);
        assert_eq!((own.sampling.temperature, own.sampling.top_k), (0.8, 3));
        assert_eq!(
            (own.stop, own.tokens_max),
            (vec!["mine".to_owned()], None),
            "no bound is a word too"
        );
    }
}
