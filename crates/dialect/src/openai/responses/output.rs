//! Tells from the events of an answer which items begin, grow and end. Items are numbered from zero, one is
//! open at a time, and each ends before the next begins.

use std::sync::Arc;

use serde_json::Value;
use worker_protocol::{Event, FinishReason, Piece, ToolCallPiece};

use super::{
    Told,
    change::{Change, Teller},
    item::{Item, Part, Status},
    tools::{INPUT, Tool},
};
use crate::write::{Token, tool_call_id};

/// The items of an answer.
#[derive(Debug)]
pub(super) struct Output {
    /// The answer's id without what all ids of answers begin with; ids of items derive from it.
    answer: String,
    told: Arc<Told>,
    items: Vec<Item>,
    /// Whether the last item still grows.
    is_open: bool,
    calls_begun: u32,
    /// The last call that began, as the worker numbers it.
    last_call: Option<u32>,
    /// What was written so far of the arguments in which a tool of free text gets it.
    wrapped: String,
}

impl Output {
    pub(super) fn new(answer: &str, told: Arc<Told>) -> Self {
        Self {
            answer: answer.to_owned(),
            told,
            items: Vec::new(),
            is_open: false,
            calls_begun: 0,
            last_call: None,
            wrapped: String::new(),
        }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Takes in what an event says of the answer.
    pub(super) fn event(&mut self, event: &Event, teller: &mut Teller, out: &mut Vec<String>) {
        match event {
            Event::Text(piece) => self.text(piece, teller, out),
            Event::Reasoning(piece) => self.thought(piece, teller, out),
            Event::ToolCall(piece) => self.call(piece, teller, out),
            Event::Finished(finished) => {
                let how = match finished.reason {
                    FinishReason::Length => Status::Incomplete,
                    FinishReason::End
                    | FinishReason::StopString(_)
                    | FinishReason::ToolCalls
                    | FinishReason::Cancelled => Status::Completed,
                };
                self.end(how, teller, out);
            }
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::Failed(_) => {}
        }
    }

    fn text(&mut self, piece: &Piece, teller: &mut Teller, out: &mut Vec<String>) {
        if piece.text.is_empty() && piece.logprobs.is_empty() {
            return;
        }
        if !matches!(self.open(), Some(Item::Message { .. })) {
            let part = Part::Output { text: String::new(), annotations: [], logprobs: Vec::new() };
            let item = Item::Message {
                id: self.item_id("msg"),
                status: Status::InProgress,
                role: "assistant",
                content: Vec::new(),
            };
            self.begin(item, teller, out);
            self.begin_part(part, teller, out);
        }
        let output_index = self.last();
        let Some(Item::Message { id, content, .. }) = self.items.last_mut() else { return };
        let content_index = content.len().saturating_sub(1);
        let Some(Part::Output { text, logprobs, .. }) = content.last_mut() else { return };
        let known = logprobs.len();
        logprobs.extend(piece.logprobs.iter().map(Token::chosen));
        text.push_str(&piece.text);
        let (delta, logprobs) = (&*piece.text, logprobs.get(known..).unwrap_or_default());
        let change = Change::Text { item_id: id, output_index, content_index, delta, logprobs };
        teller.tell(&change, out);
    }

    fn thought(&mut self, piece: &Piece, teller: &mut Teller, out: &mut Vec<String>) {
        if piece.text.is_empty() {
            return;
        }
        if !matches!(self.open(), Some(Item::Reasoning { .. })) {
            let item = Item::Reasoning {
                id: self.item_id("rs"),
                status: Status::InProgress,
                summary: Vec::new(),
                content: Vec::new(),
                encrypted_content: None,
            };
            self.begin(item, teller, out);
            let text = String::new();
            let part = match self.told.thoughts.summarizes {
                true => Part::Summary { text },
                false => Part::Reasoning { text },
            };
            self.begin_part(part, teller, out);
        }
        let output_index = self.last();
        let Some(Item::Reasoning { id: item_id, summary, content, .. }) = self.items.last_mut()
        else {
            return;
        };
        let delta = &*piece.text;
        match (summary.last_mut(), content.last_mut()) {
            (Some(Part::Summary { text }), _) => {
                text.push_str(delta);
                let change = Change::Summary { item_id, output_index, summary_index: 0, delta };
                teller.tell(&change, out);
            }
            (_, Some(Part::Reasoning { text })) => {
                text.push_str(delta);
                let change = Change::Thought { item_id, output_index, content_index: 0, delta };
                teller.tell(&change, out);
            }
            _ => {}
        }
    }

    /// Parts of a call come one after the other. A part of one that has ended already would be the worker's
    /// mistake, and has no item any more.
    fn call(&mut self, piece: &ToolCallPiece, teller: &mut Teller, out: &mut Vec<String>) {
        let is_call =
            matches!(self.open(), Some(Item::FunctionCall { .. } | Item::CustomToolCall { .. }));
        if !is_call || self.last_call != Some(piece.index) {
            if self.last_call.is_some_and(|last| piece.index <= last) {
                return;
            }
            let item = self.begun_call(piece.name.as_deref().unwrap_or_default());
            self.begin(item, teller, out);
            self.calls_begun += 1;
            self.last_call = Some(piece.index);
        }
        let output_index = self.last();
        match self.items.last_mut() {
            Some(Item::FunctionCall { id: item_id, arguments, .. })
                if !piece.arguments.is_empty() =>
            {
                arguments.push_str(&piece.arguments);
                let delta = &*piece.arguments;
                teller.tell(&Change::Arguments { item_id, output_index, delta }, out);
            }
            // What is wrapped is known when all of it is there.
            Some(Item::CustomToolCall { .. }) => self.wrapped.push_str(&piece.arguments),
            Some(_) | None => {}
        }
    }

    fn begun_call(&self, name: &str) -> Item {
        let Tool { name, namespace, is_custom } = self.told.tools.called(name);
        let call_id = tool_call_id(&self.answer, 0, self.calls_begun);
        let status = Status::InProgress;
        if is_custom {
            let (id, input) = (self.item_id("ctc"), String::new());
            Item::CustomToolCall { id, status, call_id, namespace, name, input }
        } else {
            let (id, arguments) = (self.item_id("fc"), String::new());
            Item::FunctionCall { id, status, call_id, namespace, name, arguments }
        }
    }

    fn begin(&mut self, item: Item, teller: &mut Teller, out: &mut Vec<String>) {
        self.end(Status::Completed, teller, out);
        teller.tell(&Change::ItemAdded { output_index: self.items.len(), item: &item }, out);
        self.items.push(item);
        self.is_open = true;
    }

    fn begin_part(&mut self, part: Part, teller: &mut Teller, out: &mut Vec<String>) {
        let output_index = self.last();
        let (item_id, parts) = match self.items.last_mut() {
            Some(Item::Message { id, content, .. }) => (id, content),
            Some(Item::Reasoning { id, summary, content, .. }) => match part {
                Part::Summary { .. } => (id, summary),
                Part::Output { .. } | Part::Reasoning { .. } => (id, content),
            },
            Some(Item::FunctionCall { .. } | Item::CustomToolCall { .. }) | None => return,
        };
        let index = parts.len();
        let change = match &part {
            part @ Part::Summary { .. } => {
                Change::SummaryAdded { item_id, output_index, summary_index: index, part }
            }
            part @ (Part::Output { .. } | Part::Reasoning { .. }) => {
                Change::PartAdded { item_id, output_index, content_index: index, part }
            }
        };
        teller.tell(&change, out);
        parts.push(part);
    }

    /// Ends the item that is open, if one is.
    fn end(&mut self, how: Status, teller: &mut Teller, out: &mut Vec<String>) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        let output_index = self.last();
        let wrapped = std::mem::take(&mut self.wrapped);
        let Some(item) = self.items.last_mut() else { return };
        if let Item::CustomToolCall { id: item_id, input, .. } = item {
            *input = unwrapped(wrapped);
            if !input.is_empty() {
                teller.tell(&Change::Input { item_id, output_index, delta: input }, out);
            }
        }
        item.end(how, self.told.thoughts.seals);
        end_parts(item, output_index, teller, out);
        teller.tell(&Change::ItemDone { output_index, item }, out);
    }

    /// What is open goes no further, and nobody is told of its end.
    pub(super) fn cut(&mut self) {
        if std::mem::replace(&mut self.is_open, false)
            && let Some(item) = self.items.last_mut()
        {
            item.end(Status::Incomplete, false);
        }
    }

    fn open(&self) -> Option<&Item> {
        self.items.last().filter(|_| self.is_open)
    }

    /// The item that began last.
    fn last(&self) -> usize {
        self.items.len().saturating_sub(1)
    }

    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}o{}", self.answer, self.items.len())
    }
}

/// Tells the end of what an item consists of.
fn end_parts(item: &Item, output_index: usize, teller: &mut Teller, out: &mut Vec<String>) {
    match item {
        Item::Message { id: item_id, content, .. } => {
            for (content_index, part) in content.iter().enumerate() {
                if let Part::Output { text, logprobs, .. } = part {
                    let change =
                        Change::TextDone { item_id, output_index, content_index, text, logprobs };
                    teller.tell(&change, out);
                }
                teller.tell(&Change::PartDone { item_id, output_index, content_index, part }, out);
            }
        }
        Item::Reasoning { id: item_id, summary, content, .. } => {
            for (content_index, part) in content.iter().enumerate() {
                let text = part.text();
                let done = Change::ThoughtDone { item_id, output_index, content_index, text };
                teller.tell(&done, out);
                teller.tell(&Change::PartDone { item_id, output_index, content_index, part }, out);
            }
            for (summary_index, part) in summary.iter().enumerate() {
                let text = part.text();
                let done = Change::SummaryDone { item_id, output_index, summary_index, text };
                teller.tell(&done, out);
                let done = Change::SummaryPartDone { item_id, output_index, summary_index, part };
                teller.tell(&done, out);
            }
        }
        Item::FunctionCall { id: item_id, name, arguments, .. } => {
            teller.tell(&Change::ArgumentsDone { item_id, output_index, name, arguments }, out);
        }
        Item::CustomToolCall { id: item_id, input, .. } => {
            teller.tell(&Change::InputDone { item_id, output_index, input }, out);
        }
    }
}

/// The text that a tool of free text gets, out of the arguments in which the model wrote it. What the model
/// wrote otherwise goes to the tool as it is, whose complaint the model can read.
fn unwrapped(arguments: String) -> String {
    match serde_json::from_str(&arguments) {
        Ok(Value::Object(mut fields)) => match fields.swap_remove(INPUT) {
            Some(Value::String(input)) => input,
            Some(_) | None => arguments,
        },
        Ok(Value::String(input)) => input,
        Ok(_) | Err(_) => arguments,
    }
}
