//! Chat templates: from messages to the text a model was trained on.
//!
//! A template comes with the model, as Jinja meant for Python's jinja2 with Hugging Face's settings
//! (trimmed blocks, loop controls, `tojson` without HTML escapes, `raise_exception`,
//! `strftime_now`). It is somebody else's code: fuel bounds its run time, and its output is bounded.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Value, json};
use worker_protocol::{Chat, Message, Role, ToolCall, ToolChoice};

use super::{Family, Markup};
use crate::limits::{RENDERED_BYTES_MAX, TEMPLATE_FUEL};

const NAME: &str = "chat";

/// A model's chat template, ready to render.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    begin: String,
    end: String,
    knows_developer: bool,
    family: Family,
    /// What stands in place of a text that is not there.
    no_text: Value,
    /// A call's arguments are given as the text of their JSON.
    text_arguments: bool,
    /// Reasoning of the history is also given by the name that GPT-OSS reads.
    knows_thinking: bool,
    /// What the system says behind other messages is written where it stands.
    takes_late_system: bool,
    /// A text is given as a list of parts of which each says its type.
    takes_parts: bool,
    knows_tools: bool,
}

/// Why a conversation has no prompt.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template itself is broken.
    #[error("the model's chat template cannot be read: {0}")]
    Broken(String),
    /// The template refuses this conversation, in its own words.
    #[error("the model's chat template refuses this conversation: {0}")]
    Refused(String),
    /// The result is too long.
    #[error("the rendered conversation has {0} bytes, over the limit of {RENDERED_BYTES_MAX}")]
    TooLong(usize),
}

/// A rendered conversation.
#[derive(Debug, PartialEq)]
pub struct Rendered {
    /// The prompt.
    pub text: String,
    /// How the answer to it is read.
    pub markup: Markup,
}

impl Template {
    /// Reads a template; `begin` and `end` are the texts of the model's boundary tokens.
    ///
    /// # Errors
    /// [`TemplateError::Broken`] when it is not Jinja that we can run.
    pub fn new(source: &str, begin: String, end: String) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_syntax(blocks_trimmed()?);
        environment.set_fuel(Some(TEMPLATE_FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_test("iterable", is_iterable);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TemplateError::Broken(report(&error)))?;
        let mut template = Self {
            environment,
            begin,
            end,
            knows_developer: source.contains("developer"),
            family: Family::of(source),
            no_text: Value::Null,
            text_arguments: false,
            knows_thinking: source.contains("message.thinking"),
            takes_late_system: false,
            takes_parts: false,
            knows_tools: source.contains("tools"),
        };
        template.settle_parts();
        template.settle_calls();
        template.settle_late_system();
        Ok(template)
    }

    /// The prompt for the model's next turn.
    ///
    /// # Errors
    /// [`TemplateError::Refused`] when the template raises, [`TemplateError::TooLong`].
    pub fn render(&self, chat: &Chat) -> Result<String, TemplateError> {
        let messages = match self.takes_late_system {
            true => Cow::Borrowed(&chat.messages[..]),
            false => Cow::Owned(late_system_said_by_user(&chat.messages)),
        };
        let text = match self.render_messages(chat, &messages) {
            Ok(text) => text,
            // Some models know no system role (Gemma 2). What they were told in its place stands
            // before the first user's message.
            Err(error) => match merged_system(&messages) {
                Some(messages) => self
                    .render_messages(chat, &messages)
                    .map_err(|_| TemplateError::Refused(report(&error)))?,
                None => return Err(TemplateError::Refused(report(&error))),
            },
        };
        if text.len() > RENDERED_BYTES_MAX {
            return Err(TemplateError::TooLong(text.len()));
        }
        Ok(text)
    }

    /// The prompt, with the beginning of the answer where that is given, and how the answer is read.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_for_answer(&self, chat: &Chat) -> Result<Rendered, TemplateError> {
        if let Some((last, before)) = chat.messages.split_last().filter(|_| chat.continues) {
            return self.render_begun(chat, last, before);
        }
        let told = self.told_of_tools(chat);
        let text = self.render(told.as_ref().unwrap_or(chat))?;
        // A model that may call none says so in text.
        let offered = if chat.tool_choice == ToolChoice::None { &[] } else { &*chat.tools };
        let markup = Markup::new(self.family, &text, offered);
        Ok(Rendered { text, markup })
    }

    /// Finds out how the template takes a text. Some that were written for pictures (SmolVLM's, LLaVA's)
    /// know only lists of parts, and say nothing of a text that is none.
    fn settle_parts(&mut self) {
        let messages = [Message::text(Role::User, "fairly")];
        let chat = Chat { messages: messages.to_vec(), ..Chat::default() };
        let render = |template: &Self| template.render_messages(&chat, &chat.messages);
        let says_it = |text: &str| text.contains("fairly");
        match render(self) {
            Ok(text) if says_it(&text) => return,
            // Another form does not make it end.
            Err(error) if error.kind() == ErrorKind::OutOfFuel => return,
            Ok(_) | Err(_) => {}
        }
        self.takes_parts = true;
        self.takes_parts = render(self).is_ok_and(|text| says_it(&text));
    }

    /// The prompt for an answer that begins with the last message. The turn is opened as it is for any
    /// answer, since templates close the turns of the history, and change what stands in them.
    fn render_begun(
        &self,
        chat: &Chat,
        last: &Message,
        before: &[Message],
    ) -> Result<Rendered, TemplateError> {
        let mut before = Chat { messages: before.to_vec(), continues: false, ..chat.clone() };
        if last.reasoning.is_none() {
            // There is no place for reasoning behind the beginning of the answer.
            before.variables.entry("enable_thinking").or_insert_with(|| false.into());
        }
        let Rendered { mut text, markup } = self.render_for_answer(&before)?;
        text.push_str(&markup.behind_reasoning(last.reasoning.as_deref()));
        text.push_str(last.content.as_deref().unwrap_or_default());
        if text.len() > RENDERED_BYTES_MAX {
            return Err(TemplateError::TooLong(text.len()));
        }
        Ok(Rendered { text, markup: markup.continued() })
    }

    /// The same conversation where it must call a tool and the template says nothing of tools.
    fn told_of_tools(&self, chat: &Chat) -> Option<Chat> {
        let is_told = self.family.calls.is_some() || self.knows_tools;
        let ToolChoice::Required(_) = chat.tool_choice else { return None };
        if is_told {
            return None;
        }
        let tools = write_json(&chat.tools, PythonFormatter).unwrap_or_default();
        let words = format!(
            "Answer with a call of one of these tools, as a JSON object and nothing else: \
             {{\"name\": name of the tool, \"parameters\": its arguments as an object}}.\n{tools}"
        );
        let mut told = chat.clone();
        match told.messages.first_mut().filter(|first| first.role == Role::System) {
            Some(first) => {
                let content = first.content.take().unwrap_or_default();
                first.content = Some(format!("{content}\n\n{words}"));
            }
            None => told.messages.insert(0, Message::text(Role::System, words)),
        }
        Some(told)
    }

    /// Finds out how the template takes a call without text, as clients send it. Where it puts the word
    /// "None" into the prompt, which no model was trained on, or looks for something in the text, the text
    /// is empty; but other templates (DeepSeek's) know a call by the missing text, so it is not empty for
    /// all. Some (Functionary's) add arguments to a text, so that they must be one.
    fn settle_calls(&mut self) {
        let call =
            ToolCall { id: "call00001".to_owned(), name: "f".to_owned(), arguments: json!({}) };
        let asked = Message::text(Role::User, "a");
        let mut answer = Message::text(Role::Assistant, "");
        answer.content = None;
        answer.tool_calls.push(call);
        let mut result = Message::text(Role::Tool, "b");
        result.tool_call_id = Some("call00001".to_owned());
        let chat = Chat { messages: vec![asked, answer, result], ..Chat::default() };
        for (text_arguments, no_text) in
            [(false, Value::Null), (false, json!("")), (true, Value::Null), (true, json!(""))]
        {
            (self.text_arguments, self.no_text) = (text_arguments, no_text);
            let text = self.render_messages(&chat, &chat.messages);
            if text.is_ok_and(|text| !text.contains("None")) {
                return;
            }
        }
        (self.text_arguments, self.no_text) = (false, Value::Null);
    }

    /// Finds out whether the template writes what the system says behind other messages, as Claude Code has
    /// it do. Some refuse it there (Qwen 3.5), some leave it out without a word (GPT-OSS).
    fn settle_late_system(&mut self) {
        const LATE: [&str; 2] = ["behind the user", "behind the model"];
        let messages = [
            Message::text(Role::System, "a"),
            Message::text(Role::User, "b"),
            Message::text(Role::System, LATE[0]),
            Message::text(Role::Assistant, "c"),
            Message::text(Role::System, LATE[1]),
            Message::text(Role::User, "d"),
        ];
        let text = self.render_messages(&Chat::default(), &messages);
        self.takes_late_system = text.is_ok_and(|text| LATE.iter().all(|late| text.contains(late)));
    }

    fn render_messages(&self, chat: &Chat, messages: &[Message]) -> Result<String, Error> {
        let messages: Vec<Value> = messages.iter().map(|m| self.message(m)).collect();
        // Templates ask `if tools`, and Python's callers pass None when there are none.
        let or_none = |list: &[Value]| if list.is_empty() { Value::Null } else { json!(list) };
        let mut variables = chat.variables.clone();
        for (name, value) in [
            ("messages", json!(messages)),
            ("tools", or_none(&chat.tools)),
            ("documents", or_none(&chat.documents)),
            ("add_generation_prompt", json!(true)),
            ("bos_token", json!(self.begin)),
            ("eos_token", json!(self.end)),
        ] {
            variables.insert(name.to_owned(), value);
        }
        self.environment.get_template(NAME)?.render(Jinja::from(Serde(variables)))
    }

    /// A message as templates expect it: OpenAI's form, with arguments as an object.
    fn message(&self, message: &Message) -> Value {
        let unknown = message.role == Role::Developer && !self.knows_developer;
        let role = if unknown { Role::System } else { message.role };
        let content = match &message.content {
            Some(text) if self.takes_parts => json!([{ "type": "text", "text": text }]),
            Some(text) => json!(text),
            None => self.no_text.clone(),
        };
        let mut value = json!({ "role": role.as_str(), "content": content });
        if let Some(reasoning) = &message.reasoning {
            value["reasoning_content"] = json!(reasoning);
            // It refuses a call with both, and reads one as the other.
            let has_text = message.content.as_ref().is_some_and(|text| !text.is_empty());
            if self.knows_thinking && !has_text {
                value["thinking"] = json!(reasoning);
            }
        }
        if let Some(name) = &message.name {
            value["name"] = json!(name);
        }
        if let Some(id) = &message.tool_call_id {
            value["tool_call_id"] = json!(id);
        }
        if !message.tool_calls.is_empty() {
            let call = |call: &ToolCall| {
                let arguments = match write_json(&call.arguments, PythonFormatter) {
                    Ok(text) if self.text_arguments => Value::String(text),
                    Ok(_) | Err(_) => call.arguments.clone(),
                };
                let function = json!({ "name": call.name, "arguments": arguments });
                json!({ "id": call.id, "type": "function", "function": function })
            };
            value["tool_calls"] = message.tool_calls.iter().map(call).collect();
        }
        value
    }
}

/// The conversation without its system message, which stands before the first user's instead.
fn merged_system(messages: &[Message]) -> Option<Vec<Message>> {
    let (first, rest) = messages.split_first()?;
    let system = first.content.as_deref().filter(|_| is_system(first))?;
    let mut rest = rest.to_vec();
    let user = rest.iter_mut().find(|message| message.role == Role::User)?;
    put_before(system, user);
    Some(rest)
}

/// The conversation in which the user says what the system says behind other messages: at the end of the
/// user's turn that it follows, or else at the beginning of the next one, since some templates want turns to
/// alternate. Nothing before it changes, so that prefixes stay what they are.
fn late_system_said_by_user(messages: &[Message]) -> Vec<Message> {
    let mut said: Vec<Message> = Vec::with_capacity(messages.len());
    // The last of them is the system's word and waits for the user's turn.
    let mut waits = false;
    for (index, message) in messages.iter().enumerate() {
        let is_late = index > 0 && is_system(message);
        match said.last_mut().filter(|last| last.role == Role::User) {
            Some(user) if is_late => {
                let text = message.content.as_deref().unwrap_or_default();
                user.content =
                    Some(format!("{}\n\n{text}", user.content.as_deref().unwrap_or_default()));
                user.media.extend(message.media.iter().cloned());
            }
            Some(word) if waits && message.role == Role::User => {
                let mut user = message.clone();
                put_before(word.content.as_deref().unwrap_or_default(), &mut user);
                user.media.splice(..0, word.media.drain(..));
                *word = user;
                waits = false;
            }
            Some(_) | None => {
                let role = if is_late { Role::User } else { message.role };
                said.push(Message { role, ..message.clone() });
                waits = is_late;
            }
        }
    }
    said
}

fn is_system(message: &Message) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}

fn put_before(text: &str, message: &mut Message) {
    let asked = message.content.take().unwrap_or_default();
    message.content = Some(format!("{text}\n\n{asked}"));
}

/// The settings of Hugging Face's renderer.
fn blocks_trimmed() -> Result<SyntaxConfig, TemplateError> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(|error| TemplateError::Broken(report(&error)))
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> Result<String, Error> {
    jiff::fmt::strtime::format(&format, &jiff::Zoned::now())
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Python cannot loop over None, and templates ask `tools is iterable` to learn whether there are
/// any; minijinja would loop over it zero times.
fn is_iterable(value: &Jinja) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it. `Jinja::from_safe_string`,
/// because minijinja would escape it otherwise if a template turned escaping on.
fn to_json(value: &Jinja, options: Kwargs) -> Result<Jinja, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Accepted because templates written for Python pass them; ours are the values they pass.
    for known in ["ensure_ascii", "sort_keys", "separators"] {
        let _: Option<Jinja> = options.get(known)?;
    }
    options.assert_all_used()?;
    let text = match indent {
        Some(width) => {
            write_json(value, PrettyFormatter::with_indent(" ".repeat(width).as_bytes()))
        }
        None => write_json(value, PythonFormatter),
    };
    let text = text.map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "cannot write as JSON").with_source(error)
    })?;
    Ok(Jinja::from_safe_string(text))
}

fn write_json(
    value: &impl Serialize,
    formatter: impl Formatter,
) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Python puts a space after each comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W>(&mut self, writer: &mut W) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        writer.write_all(b": ")
    }
}

/// The template's own message where it raised one, else what Jinja says and where.
fn report(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (ErrorKind::OutOfFuel, _) => "it runs for too long".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn render(source: &str, chat: &Chat) -> Result<String, TemplateError> {
        Template::new(source, "<s>".to_owned(), "</s>".to_owned()).unwrap().render(chat)
    }

    fn chat(messages: &[(Role, &str)]) -> Chat {
        let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        Chat { messages, ..Chat::default() }
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let mut chat = chat(&[]);
        chat.tools = vec![json!({"type": "function", "b": [1, 2.0, "<é>"], "a": null})];
        let text = render("{{ tools[0] | tojson }}", &chat).unwrap();
        assert_eq!(text, r#"{"type": "function", "b": [1, 2.0, "<é>"], "a": null}"#);
        let text = render("{{ tools[0].b | tojson(indent=2) }}", &chat).unwrap();
        assert_eq!(text, "[\n  1,\n  2.0,\n  \"<é>\"\n]");
    }

    #[test]
    fn a_template_that_raises_says_so_in_its_own_words() {
        let error =
            render("{{ raise_exception('roles must alternate') }}", &chat(&[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model's chat template refuses this conversation: roles must alternate"
        );
    }

    #[test]
    fn an_endless_template_ends() {
        let source =
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        let error = render(source, &chat(&[])).unwrap_err();
        assert!(matches!(error, TemplateError::Refused(_)), "{error}");
    }

    #[test]
    fn a_model_without_a_system_role_reads_it_in_the_first_question() {
        let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}\
                      {% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let text =
            render(source, &chat(&[(Role::System, "Be kind."), (Role::User, "Hi")])).unwrap();
        assert_eq!(text, "[user]Be kind.\n\nHi");
    }

    /// What Qwen 3.5's template does, and GPT-OSS's.
    #[test]
    fn what_the_system_says_late_is_the_users_where_the_template_does_not_write_it() {
        let conversation = [
            (Role::System, "Be kind."),
            (Role::User, "Hi"),
            (Role::System, "Be quick."),
            (Role::Assistant, "Hello"),
            (Role::System, "Be brief."),
            (Role::System, "Be exact."),
            (Role::User, "Bye"),
        ];
        let first = "[system]Be kind.[user]Hi";
        let writes = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let refuses = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}\
                       {{ raise_exception('late') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let leaves_out = "{% for m in messages %}{% if m.role != 'system' or loop.first %}\
                          [{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}";
        let late = "[system]Be quick.[assistant]Hello[system]Be brief.[system]Be exact.[user]Bye";
        assert_eq!(render(writes, &chat(&conversation)).unwrap(), format!("{first}{late}"));
        let said = "\n\nBe quick.[assistant]Hello[user]Be brief.\n\nBe exact.\n\nBye";
        for source in [refuses, leaves_out] {
            assert_eq!(render(source, &chat(&conversation)).unwrap(), format!("{first}{said}"));
        }
    }

    #[test]
    fn python_methods_and_the_date_work() {
        let source =
            "{{ messages[0].content.strip().split(' ')[1] }} {{ strftime_now('%Y') | length }}";
        let text = render(source, &chat(&[(Role::User, "  one two ")])).unwrap();
        assert_eq!(text, "two 4");
    }

    #[test]
    fn a_missing_text_is_none_unless_it_would_be_printed() {
        let mut call = chat(&[(Role::Assistant, "")]);
        call.messages[0].content = None;
        let printed = "{% for m in messages %}[{{ m.content }}]{% endfor %}";
        assert_eq!(render(printed, &call).unwrap(), "[]");
        let asked = "{% for m in messages %}{{ m.content is none }}{% endfor %}";
        assert_eq!(render(asked, &call).unwrap().to_lowercase(), "true");
    }

    #[test]
    fn a_template_gets_calls_as_it_can_take_them() {
        let mut call = chat(&[(Role::Assistant, "")]);
        call.messages[0].content = None;
        let arguments = json!({"a": [1, "b"]});
        let (id, name) = ("call00001".to_owned(), "f".to_owned());
        call.messages[0].tool_calls.push(ToolCall { id, name, arguments });
        let loops = "{% for m in messages %}{% for c in m.tool_calls %}";
        let end = "{% endfor %}{% endfor %}";
        let adds = format!("{loops}{{{{ '>>>' + c.function.arguments }}}}{end}");
        assert_eq!(render(&adds, &call).unwrap(), r#">>>{"a": [1, "b"]}"#);
        let reads = format!("{loops}{{{{ c.function.arguments.a[1] }}}}{end}");
        assert_eq!(render(&reads, &call).unwrap(), "b");
        let looks = "{% for m in messages %}{{ '<think>' in m.content }}{% endfor %}";
        assert_eq!(render(looks, &call).unwrap().to_lowercase(), "false");
    }

    #[test]
    fn a_template_that_knows_only_parts_gets_them() {
        let smol = "{% for m in messages %}{{ m['role'] | capitalize }}{% if m['content'][0]['type'] == 'image' \
                    %}:{% else %}: {% endif %}{% for line in m['content'] %}{% if line['type'] == 'text' %}\
                    {{ line['text'] }}{% elif line['type'] == 'image' %}<image>{% endif %}{% endfor %};{% endfor %}";
        let asked = chat(&[(Role::System, "Be kind."), (Role::User, "Hi")]);
        assert_eq!(render(smol, &asked).unwrap(), "System: Be kind.;User: Hi;");
        let llava = "{% for m in messages %}{% for part in m['content'] | selectattr('type', 'equalto', 'text') \
                     %}{{ part['text'] }}{% endfor %}{% endfor %}";
        assert_eq!(render(llava, &asked).unwrap(), "Be kind.Hi");
        let both = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}\
                    {% for part in m.content %}[{{ part.text }}]{% endfor %}{% endif %}{% endfor %}";
        assert_eq!(render(both, &asked).unwrap(), "Be kind.Hi", "as a text, where it may be one");
        let silent = "{{ raise_exception('no') }}";
        assert!(render(silent, &asked).is_err());
    }

    #[test]
    fn nothing_is_not_iterable() {
        let source = "{{ tools is iterable }} {{ messages is iterable }} {{ 'text' is iterable }}";
        assert_eq!(render(source, &chat(&[])).unwrap().to_lowercase(), "false true true");
    }

    /// A template that opens reasoning unless it is told not to.
    const THINKING: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]\
        {% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n\
        {% elif always %}<think>\n{% endif %}";

    fn begun(reasoning: Option<&str>, always: bool) -> Rendered {
        let mut chat = chat(&[(Role::User, "Hi"), (Role::Assistant, "Well, ")]);
        chat.messages[1].reasoning = reasoning.map(str::to_owned);
        chat.continues = true;
        if always {
            chat.variables.insert("always".to_owned(), json!(true));
        }
        let template = Template::new(THINKING, String::new(), String::new()).unwrap();
        template.render_for_answer(&chat).unwrap()
    }

    #[test]
    fn an_answer_goes_on_from_its_beginning_in_an_open_turn() {
        let rendered = begun(None, false);
        assert_eq!(rendered.text, "[user]Hi[assistant]<think>\n\n</think>\n\nWell, ");
        let rendered = begun(Some("hm"), true);
        assert_eq!(rendered.text, "[user]Hi[assistant]<think>\nhm\n</think>\n\nWell, ");
        let rendered = begun(Some("hm"), false);
        assert_eq!(rendered.text, "[user]Hi[assistant]<think>\nhm\n</think>\n\nWell, ");
        let mut text = crate::text::Text::new(Vec::new(), rendered.markup);
        assert!(!text.is_reasoning(), "what follows is its answer");
        let mut events = Vec::new();
        text.push(b" yes", false, None, &mut events);
        let worker_protocol::Event::Text(piece) = &events[0] else { panic!("{events:?}") };
        assert_eq!(piece.text, " yes", "with the blank that it begins with");
    }

    #[test]
    fn a_template_without_tools_has_them_in_its_instructions_where_one_must_be_called() {
        let mut chat = chat(&[(Role::User, "Hi")]);
        chat.tools = vec![json!({"function": {"name": "now"}})];
        let template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
        let template = Template::new(template, String::new(), String::new()).unwrap();
        assert_eq!(template.render_for_answer(&chat).unwrap().text, "[user]Hi");
        chat.tool_choice = ToolChoice::Required(Vec::new());
        let text = template.render_for_answer(&chat).unwrap().text;
        assert!(text.contains("\"name\": \"now\"") && text.ends_with("[user]Hi"), "{text}");
    }

    #[test]
    fn variables_of_the_request_reach_the_template() {
        let mut chat = chat(&[]);
        chat.variables.insert("enable_thinking".to_owned(), json!(false));
        assert_eq!(render("{{ enable_thinking is false }}", &chat).unwrap().to_lowercase(), "true");
    }

    #[test]
    fn a_broken_template_is_an_error_that_says_where() {
        let error = Template::new("{% if %}", String::new(), String::new()).unwrap_err();
        assert!(matches!(error, TemplateError::Broken(_)), "{error}");
    }
}
