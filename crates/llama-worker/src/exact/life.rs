//! One life of an engine: it is started with what the tiers have, answers, and ends.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};

use engine::{Inbox, Keeps, Model, Outbox};
use kv_store::{Identity, Mode, Need, Settings, Tiers};
use worker_protocol::limits::EVENT_CREDIT_BATCH;
use worker_protocol::{
    Command, Event, Finished, Generate, Prompt, Report, RequestId, Sampling, Speculation, frame,
};

use super::lineage::Lineage;
use super::watched::Watched;
use crate::model::LlamaModel;
use crate::tiers;

/// Bytes of files and of memory: more than any of these tests keeps, so that nothing has to leave.
const ROOM_BYTES: u64 = 4 << 30;

/// Tokens of each answer.
pub(super) const ANSWER_TOKENS: u32 = 8;

/// Where prefixes of a model are kept in these tests.
pub(super) fn settings(folder: &Path) -> Settings {
    Settings {
        mode: Mode::Ssd,
        folder: folder.to_owned(),
        ram_bytes: ROOM_BYTES,
        ssd_bytes: ROOM_BYTES,
        model_ssd_bytes: None,
        free_floor_bytes: 0,
        day_write_bytes: u64::MAX,
        compress: false,
        encryption_key: None,
    }
}

/// The tiers of a model, under the key that a worker gives them; `file` stands for the digest.
pub(super) fn open(model: &LlamaModel, file: &str, folder: &Path) -> Tiers {
    let need = match model.keeps() {
        Keeps::Cells => Need::Cells,
        Keeps::CellsAndState => Need::CellsAndState,
        Keeps::State => Need::State,
        Keeps::Nothing => panic!("nothing of this model is kept"),
    };
    let identity = Identity {
        root: tiers::fingerprint(model.cache_facts()).with("file", file).root(),
        model: "made".to_owned(),
        path: folder.to_owned(),
        need,
    };
    Tiers::open(settings(folder), identity)
}

/// Asks an engine for all of these in order, and reports to `lineage` what it did. With `at_once` all
/// are asked before the first is answered. Gives how each ended.
pub(super) fn live(
    model: LlamaModel,
    tiers: Tiers,
    lineage: &Rc<RefCell<Lineage>>,
    prompts: &[Vec<u32>],
    at_once: bool,
    speculation: &Speculation,
) -> Vec<Finished> {
    let (commands, inbox) = channel();
    let (give, tiers_later) = channel();
    give.send(tiers).unwrap();
    let finished = Rc::default();
    let mut reader = Reader {
        decoder: frame::Decoder::default(),
        commands: Some(commands),
        waiting: prompts.iter().cloned().enumerate().collect(),
        finished: Rc::clone(&finished),
        left: prompts.len(),
    };
    reader.waiting.reverse();
    for _ in 0..if at_once { prompts.len() } else { 1 } {
        reader.ask();
    }
    let watched = Watched::new(model, Rc::clone(lineage));
    let (inbox, outbox) = (Inbox::new(inbox), Outbox::new(reader));
    engine::run(watched, &inbox, outbox, Some(tiers_later), speculation).unwrap();
    lineage.borrow_mut().end_life();
    let mut finished: Vec<(usize, Finished)> = finished.take();
    finished.sort_unstable_by_key(|(request, _)| *request);
    assert_eq!(finished.len(), prompts.len(), "each request is answered once");
    finished.into_iter().map(|(_, finished)| finished).collect()
}

/// The hub's end: it reads what the engine reports, asks the next when one is answered, and leaves
/// after the last.
struct Reader {
    decoder: frame::Decoder,
    commands: Option<Sender<Command>>,
    /// The next one last.
    waiting: Vec<(usize, Vec<u32>)>,
    finished: Rc<RefCell<Vec<(usize, Finished)>>>,
    left: usize,
}

impl Reader {
    fn ask(&mut self) {
        let Some((request, tokens)) = self.waiting.pop() else { return };
        let generate = Generate {
            sampling: Sampling::greedy(),
            tokens_max: Some(ANSWER_TOKENS),
            ignore_end: true,
            ..Generate::new(Prompt::Tokens(tokens))
        };
        self.send(Command::Generate { request: RequestId(request as u64), generate });
    }

    fn send(&self, command: Command) {
        self.commands.as_ref().unwrap().send(command).unwrap();
    }

    fn take(&mut self, request: RequestId, event: Event) {
        match event {
            Event::Finished(finished) => {
                self.finished.borrow_mut().push((usize::try_from(request.0).unwrap(), finished));
                self.left -= 1;
                self.ask();
                if self.left == 0 {
                    self.commands = None;
                }
            }
            Event::Failed(failure) => panic!("{failure}"),
            Event::Progress { .. } | Event::Text(_) | Event::Reasoning(_) | Event::ToolCall(_) => {
                self.send(Command::Credit { request, events: EVENT_CREDIT_BATCH });
            }
            Event::Embedded { .. } | Event::Ranked { .. } => panic!("nobody asked for that"),
        }
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.decoder.push(bytes);
        while let Some(report) = self.decoder.take::<Report>().unwrap() {
            if let Report::Event { request, event } = report {
                self.take(request, event);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
