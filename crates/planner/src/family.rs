//! How a model's family marks its reasoning and its tool calls, found in the source of its chat template: the
//! template writes in the same form what the model is to go on with.
//!
//! Not here: reading and demanding what is marked so (`engine`).

/// How reasoning is set apart from the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinks {
    /// `<think>…</think>`: Qwen, DeepSeek, GLM, SmolLM3 and most others.
    Tag,
    /// `[THINK]…[/THINK]`: Magistral.
    Bracket,
    /// `<|channel>thought…<channel|>`: Gemma 4.
    Channel,
}

impl Thinks {
    /// What opens and what closes it.
    #[must_use]
    pub const fn markers(self) -> (&'static str, &'static str) {
        match self {
            Self::Tag => ("<think>", "</think>"),
            Self::Bracket => ("[THINK]", "[/THINK]"),
            Self::Channel => ("<|channel>thought", "<channel|>"),
        }
    }

    /// What stands in front of the closing mark and behind it: some templates set it on a line of its own.
    #[must_use]
    pub const fn breaks(self) -> (&'static str, &'static str) {
        match self {
            Self::Tag => ("\n", "\n\n"),
            Self::Bracket | Self::Channel => ("", ""),
        }
    }
}

/// How tool calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// `<tool_call>{"name":…,"arguments":…}</tool_call>`: Hermes, Qwen 2.5 and 3, SmolLM3, Granite 4.
    Hermes,
    /// `<tool_call><function=…><parameter=…>…</parameter></function></tool_call>`: Qwen3-Coder,
    /// Qwen 3.5.
    Xml,
    /// `<tool_call>name<arg_key>…</arg_key><arg_value>…</arg_value></tool_call>`: GLM 4.
    Glm,
    /// `{"name":…,"parameters":…}` and nothing before it, or behind `<|python_tag|>`: Llama 3.
    Llama,
    /// `[TOOL_CALLS][{"name":…,"arguments":…}]`, later `[TOOL_CALLS]name[ARGS]{…}`: Mistral.
    Mistral,
    /// `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}`: DeepSeek; R1 and the first V3
    /// put a type before the name and a fence around the arguments.
    DeepSeek,
    /// `<|tool_call>call:name{key:<|"|>text<|"|>}<tool_call|>`: Gemma 4.
    Gemma,
    /// `<|tool_call|>[{"name":…,"arguments":…}]` or `functools[…]`: Granite 3, Phi 4.
    List,
    /// `<|tool_call_start|>[name(key=value)]<|tool_call_end|>`: LFM2.
    Python,
    /// `<function=name>{…}</function>`: Functionary 3.1, and Llama with such a prompt.
    Function,
    /// `>>>name` and a line with the arguments; `>>>all` before text: Functionary 3.2.
    Recipient,
    /// `<|channel|>commentary to=functions.name<|message|>{…}<|call|>`, and channels for reasoning and
    /// text as well: GPT-OSS's harmony.
    Harmony,
}

impl Calls {
    /// Whether the model says before each part of an answer what it is.
    #[must_use]
    pub const fn has_headers(self) -> bool {
        matches!(self, Self::Recipient | Self::Harmony)
    }
}

/// What a template that holds all of these texts is of, the first that does.
const SIGNS: &[(&[&str], Calls)] = &[
    (&["<|channel|>", "<|message|>"], Calls::Harmony),
    (&["<|tool_call>call:"], Calls::Gemma),
    (&["<|tool_call_start|>"], Calls::Python),
    (&["<|tool_list_start|>"], Calls::Python),
    (&["List of tools: ["], Calls::Python),
    (&["<｜tool▁calls▁begin｜>"], Calls::DeepSeek),
    (&["[TOOL_CALLS]"], Calls::Mistral),
    (&["<arg_key>"], Calls::Glm),
    (&["<function=", "<parameter="], Calls::Xml),
    (&["<tool_call>"], Calls::Hermes),
    (&[">>>all"], Calls::Recipient),
    (&["<function="], Calls::Function),
    (&["<|tool_call|>"], Calls::List),
    (&["<|tool|>"], Calls::List),
    (&["functools["], Calls::List),
    (&["<|python_tag|>"], Calls::Llama),
    (&["\"parameters\": dictionary"], Calls::Llama),
];

/// What a chat template says about the answers of its model. Nothing is read where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Family {
    /// How it sets reasoning apart.
    pub thinks: Option<Thinks>,
    /// How it calls tools.
    pub calls: Option<Calls>,
}

impl Family {
    /// Of the template with this source.
    #[must_use]
    pub fn of(source: &str) -> Self {
        let has_all = |signs: &[&str]| signs.iter().all(|sign| source.contains(sign));
        let calls = SIGNS.iter().find(|(signs, _)| has_all(signs)).map(|(_, calls)| *calls);
        let thinks = match calls {
            Some(Calls::Harmony) => None,
            _ if source.contains("<|channel>") => Some(Thinks::Channel),
            _ if source.contains("[THINK]") => Some(Thinks::Bracket),
            _ if source.contains("</think>") => Some(Thinks::Tag),
            _ => None,
        };
        Self { thinks, calls }
    }

    /// Whether it sets reasoning apart in any way.
    #[must_use]
    pub fn reasons(self) -> bool {
        self.thinks.is_some() || self.calls == Some(Calls::Harmony)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_says_nothing_is_of_no_family() {
        assert_eq!(Family::of("{{ messages[0].content }}"), Family::default());
        assert!(!Family::default().reasons());
    }

    #[test]
    fn who_says_before_each_part_what_it_is_reasons_without_a_mark_for_it() {
        let harmony = Family::of("<|channel|>analysis<|message|>");
        assert_eq!(harmony, Family { thinks: None, calls: Some(Calls::Harmony) });
        assert!(harmony.reasons());
        assert!(Family::of("{{ '[THINK]' }}").reasons());
    }
}
