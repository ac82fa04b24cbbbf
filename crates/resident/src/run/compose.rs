//! What the person typed: a message, perhaps over several lines, or a command.
//!
//! Pure: lines in, messages and commands out.

use crate::models;

/// The mark that begins and ends a message of several lines.
const FENCE: &str = "\"\"\"";

/// What `/help` prints.
pub(crate) const HELP: &str = "\
  /help              this list
  /clear             forget the conversation
  /system TEXT       give instructions for the conversation; without TEXT takes them back
  /set NAME VALUE    temperature, top_p, max_tokens or seed; without VALUE back to the default
  /show              what is set
  /bye               leave (so does Ctrl-D)
  \"\"\"                begins and ends a message of several lines
  Ctrl-C             stops the answer, not the program";

/// A whole input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// Something to say to the model.
    Message(String),
    /// Something to do.
    Command(Command),
    /// Something that looks like a command and is none; the text says what to do instead.
    Wrong(String),
}

/// What the person wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Print the commands.
    Help,
    /// Forget the conversation.
    Clear,
    /// Give instructions; `None` takes them back.
    System(Option<String>),
    /// Change how the model answers.
    Set(Setting),
    /// Print what is set.
    Show,
    /// Leave.
    Bye,
}

/// One thing that `/set` sets; `None` is the hub's default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Setting {
    /// How much answers vary.
    Temperature(Option<f32>),
    /// Share of probability that is drawn from.
    TopP(Option<f32>),
    /// Tokens of an answer at most.
    MaxTokens(Option<u32>),
    /// Seed of the draw.
    Seed(Option<u32>),
}

/// Puts inputs together from lines.
#[derive(Debug, Default)]
pub(crate) struct Composer {
    /// The lines since an opening fence.
    open: Option<String>,
}

impl Composer {
    /// Whether a message of several lines has begun.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Forgets a message of several lines that has begun.
    pub(crate) fn abandon(&mut self) {
        self.open = None;
    }

    /// Takes a line; `None` until an input is whole. Empty lines are nothing.
    pub(crate) fn push(&mut self, line: &str) -> Option<Input> {
        if let Some(mut message) = self.open.take() {
            message.push('\n');
            return self.until_fence(message, line);
        }
        let line = line.trim();
        if let Some(rest) = line.strip_prefix(FENCE) {
            self.until_fence(String::new(), rest)
        } else if let Some(command) = line.strip_prefix('/') {
            Some(match parse_command(command) {
                Ok(command) => Input::Command(command),
                Err(message) => Input::Wrong(message),
            })
        } else if line.is_empty() {
            None
        } else {
            Some(Input::Message(line.to_owned()))
        }
    }

    /// Adds `line` to `message`, which ends where the fence does.
    fn until_fence(&mut self, mut message: String, line: &str) -> Option<Input> {
        match line.trim_end().strip_suffix(FENCE) {
            Some(last) => {
                message.push_str(last);
                let message = message.trim_matches('\n').to_owned();
                (!message.trim().is_empty()).then_some(Input::Message(message))
            }
            None => {
                message.push_str(line);
                self.open = Some(message);
                None
            }
        }
    }
}

fn parse_command(text: &str) -> Result<Command, String> {
    const NAMES: [&str; 6] = ["help", "clear", "system", "set", "show", "bye"];
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match name {
        "help" | "?" => Ok(Command::Help),
        "clear" => Ok(Command::Clear),
        "system" => Ok(Command::System((!rest.is_empty()).then(|| rest.to_owned()))),
        "set" => parse_setting(rest).map(Command::Set),
        "show" => Ok(Command::Show),
        "bye" | "exit" | "quit" => Ok(Command::Bye),
        _ => Err(match models::nearest(name, NAMES.into_iter()) {
            Some(nearest) => format!("there is no /{name}; did you mean /{nearest}?"),
            None => format!("there is no /{name}; /help lists what there is"),
        }),
    }
}

fn parse_setting(text: &str) -> Result<Setting, String> {
    const NAMES: [&str; 4] = ["temperature", "top_p", "max_tokens", "seed"];
    let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let value = Some(value.trim()).filter(|value| !value.is_empty());
    match name {
        "temperature" => number(name, value, 0.0..=2.0).map(Setting::Temperature),
        "top_p" => number(name, value, 0.0..=1.0).map(Setting::TopP),
        "max_tokens" => number(name, value, 1..=u32::MAX).map(Setting::MaxTokens),
        "seed" => number(name, value, 0..=u32::MAX).map(Setting::Seed),
        _ => Err(match models::nearest(name, NAMES.into_iter()) {
            Some(nearest) => format!("'{name}' cannot be set; did you mean {nearest}?"),
            None => format!("'{name}' cannot be set; what can is {}", NAMES.join(", ")),
        }),
    }
}

/// The value within its range; none given is the default.
fn number<N>(
    name: &str,
    value: Option<&str>,
    range: std::ops::RangeInclusive<N>,
) -> Result<Option<N>, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let Some(text) = value else { return Ok(None) };
    match text.parse::<N>() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        Ok(_) | Err(_) => Err(format!(
            "'{text}' is no {name}; give a number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(text: &str) -> Vec<Input> {
        let mut composer = Composer::default();
        let inputs = text.lines().filter_map(|line| composer.push(line)).collect();
        assert!(!composer.is_open(), "the message has not ended");
        inputs
    }

    fn message(text: &str) -> Input {
        Input::Message(text.to_owned())
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(inputs("  hello \n\n\nyou"), [message("hello"), message("you")]);
    }

    #[test]
    fn a_fence_makes_one_message_of_many_lines() {
        assert_eq!(inputs("\"\"\"\na\n\n  /b\n\"\"\"\nc"), [message("a\n\n  /b"), message("c")]);
        assert_eq!(inputs("\"\"\"a\nb\"\"\""), [message("a\nb")]);
        assert_eq!(inputs("\"\"\"a\"\"\""), [message("a")]);
        assert_eq!(inputs("\"\"\"\n\"\"\""), []);
    }

    #[test]
    fn an_open_message_can_be_abandoned() {
        let mut composer = Composer::default();
        assert_eq!(composer.push("\"\"\"a"), None);
        assert!(composer.is_open());
        composer.abandon();
        assert_eq!(composer.push("b"), Some(message("b")));
    }

    #[test]
    fn commands() {
        for (line, command) in [
            ("/help", Command::Help),
            ("/?", Command::Help),
            (" /clear ", Command::Clear),
            ("/system  be brief ", Command::System(Some("be brief".into()))),
            ("/system", Command::System(None)),
            ("/set temperature 0.5", Command::Set(Setting::Temperature(Some(0.5)))),
            ("/set temperature", Command::Set(Setting::Temperature(None))),
            ("/set seed 7", Command::Set(Setting::Seed(Some(7)))),
            ("/set max_tokens 5", Command::Set(Setting::MaxTokens(Some(5)))),
            ("/set top_p 1", Command::Set(Setting::TopP(Some(1.0)))),
            ("/show", Command::Show),
            ("/bye", Command::Bye),
        ] {
            assert_eq!(inputs(line), [Input::Command(command)], "{line}");
        }
    }

    #[test]
    fn what_is_no_command_says_what_is() {
        for (line, text) in [
            ("/hlep", "there is no /hlep; did you mean /help?"),
            ("/zzz", "there is no /zzz; /help lists what there is"),
            ("/set temprature 1", "'temprature' cannot be set; did you mean temperature?"),
            ("/set", "'' cannot be set; what can is temperature, top_p, max_tokens, seed"),
            ("/set temperature hot", "'hot' is no temperature; give a number from 0 to 2"),
            ("/set temperature NaN", "'NaN' is no temperature; give a number from 0 to 2"),
            ("/set max_tokens 0", "'0' is no max_tokens; give a number from 1 to 4294967295"),
        ] {
            assert_eq!(inputs(line), [Input::Wrong(text.to_owned())], "{line}");
        }
    }

    #[test]
    fn the_help_names_every_command() {
        for name in ["/help", "/clear", "/system", "/set", "/show", "/bye"] {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
