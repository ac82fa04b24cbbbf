//! Pictures and sounds of a conversation: where they stand in its prompt, as what, and what their rows are
//! computed from.
//!
//! A message's files get marks in its text before the chat template sees it; where the marks come out,
//! the rendered text is divided, and each file stands there as the model lays it out. Its rows are tokens
//! above every vocabulary that follow from the file's content, so that whatever compares tokens compares
//! pictures. Vectors are computed when a request can go on only with them, once as long as they are kept.
//!
//! Not here: reading files and computing vectors (`llama-worker`), when that is done (`planner::batch`).

mod held;
mod recent;

use std::rc::Rc;

use planner::batch::{MEDIA_TOKEN_MIN, Run};
use worker_protocol::limits::{MEDIA_FILES_BYTES, MEDIA_VECTORS_BYTES};
use worker_protocol::{Chat, Failure, FailureKind, Media as File, MediaKind, Prompt};

use crate::generation::invalid;
use crate::limits::{MEDIA_FILES_MAX, MEDIA_LAYOUTS_BYTES_MAX};
use crate::model::{MediaFile, MediaPart, Model};
use held::Held;
use recent::Recent;

/// What is known of files that were seen lately.
pub(crate) struct Media {
    layouts: Recent<Rc<[MediaPart]>>,
    vectors: Recent<Rc<Vec<f32>>>,
    files: Held,
}

/// The files of one request.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What each mark in the text begins with.
    mark: String,
    files: Vec<SeenFile>,
}

#[derive(Debug)]
struct SeenFile {
    file: Rc<MediaFile>,
    parts: Rc<[MediaPart]>,
    /// Its rows, part by part.
    rows: Vec<Vec<u32>>,
}

/// A prompt: its tokens, the runs among them, and what each run is computed from.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) tokens: Vec<u32>,
    pub(crate) runs: Vec<Run>,
    pub(crate) sources: Vec<Source>,
}

/// Where the vectors of a run come from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    file: Rc<MediaFile>,
    /// Its number in the request, from one on.
    number: usize,
    part: usize,
    pub(crate) run: Run,
}

impl Placed {
    pub(crate) fn of_tokens(tokens: Vec<u32>) -> Self {
        Self { tokens, ..Self::default() }
    }
}

impl Media {
    pub(crate) fn new() -> Self {
        let vectors_bytes = usize::try_from(MEDIA_VECTORS_BYTES).unwrap_or(usize::MAX);
        Self {
            layouts: Recent::new(MEDIA_LAYOUTS_BYTES_MAX),
            vectors: Recent::new(vectors_bytes),
            files: Held::default(),
        }
    }

    /// Takes the files out of a prompt and leaves marks in their places.
    ///
    /// # Errors
    /// What the model cannot take, what is wrong with a file as far as its head says, and that the files of
    /// open requests are too many.
    pub(crate) fn take<M: Model>(
        &mut self,
        model: &mut M,
        prompt: &mut Prompt,
    ) -> Result<Seen, Failure> {
        let Prompt::Chat(chat) = prompt else { return Ok(Seen::default()) };
        let count: usize = chat.messages.iter().map(|message| message.media.len()).sum();
        if count == 0 {
            return Ok(Seen::default());
        }
        if count > MEDIA_FILES_MAX {
            return Err(invalid(format!(
                "{count} pictures and sounds in one conversation; at most {MEDIA_FILES_MAX}"
            )));
        }
        let (mark, files) = mark_files(chat)?;
        let bytes_max = usize::try_from(MEDIA_FILES_BYTES).unwrap_or(usize::MAX);
        let files = self.files.hold(files, bytes_max).ok_or_else(crowded)?;
        let mut seen = Seen { mark, files: Vec::new() };
        for (number, file) in (1..).zip(files) {
            let parts = self.lay_out(model, number, &file)?;
            let rows = rows_of(&model.projector_digest(), &file, &parts);
            seen.files.push(SeenFile { file, parts, rows });
        }
        Ok(seen)
    }

    fn lay_out<M: Model>(
        &mut self,
        model: &mut M,
        number: usize,
        file: &MediaFile,
    ) -> Result<Rc<[MediaPart]>, Failure> {
        let facts = model.facts();
        let (takes, what) = match file.kind() {
            MediaKind::Image => (facts.sees, "sees no pictures"),
            MediaKind::Audio => (facts.hears, "hears no sounds"),
        };
        if !takes {
            return Err(invalid(format!(
                "this model {what}: it has no projector for them; leave them out or choose a model \
                 that has one"
            )));
        }
        let key = (*file.digest(), 0);
        if let Some(parts) = self.layouts.get(&key) {
            return Ok(parts);
        }
        let parts = model.lay_out(file).map_err(|why| wrong(file, number, &why))?;
        let is_nothing = |part: &MediaPart| matches!(part, MediaPart::Rows { rows: 0, .. });
        if parts.iter().any(is_nothing) {
            return Err(wrong(file, number, "the model makes nothing of it"));
        }
        let parts: Rc<[MediaPart]> = parts.into();
        self.layouts.put(key, Rc::clone(&parts), layout_bytes(&parts));
        Ok(parts)
    }

    /// The vectors of a run, computed now if they are not kept.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn vectors<M: Model>(
        &mut self,
        model: &mut M,
        source: &Source,
    ) -> Result<Rc<Vec<f32>>, Failure> {
        let Source { file, part, number, .. } = source;
        let key = (*file.digest(), *part);
        if let Some(vectors) = self.vectors.get(&key) {
            return Ok(vectors);
        }
        let vectors = model.encode(file, *part).map_err(|why| wrong(file, *number, &why))?;
        let vectors = Rc::new(vectors);
        self.vectors.put(key, Rc::clone(&vectors), size_of_val(vectors.as_slice()));
        Ok(vectors)
    }

    /// The machine is short of memory.
    pub(crate) fn give_back(&mut self) {
        self.vectors.clear();
    }
}

impl Seen {
    /// Tokens of a rendered conversation with its files in their places. `specials` adds the model's own
    /// begin and end tokens.
    ///
    /// # Errors
    /// When the chat template left a file out.
    pub(crate) fn place<M: Model>(
        &self,
        model: &M,
        text: &str,
        specials: bool,
    ) -> Result<Placed, Failure> {
        if self.files.is_empty() {
            return Ok(Placed::of_tokens(model.tokenize(text, specials, true)));
        }
        let mut pieces = text.split(self.mark.as_str());
        let first = pieces.next().unwrap_or_default();
        let mut placed = Placed::of_tokens(model.tokenize(first, specials, true));
        let mut is_placed = vec![false; self.files.len()];
        for piece in pieces {
            let (index, rest) = self.marked(piece).ok_or_else(|| broken_mark(piece))?;
            is_placed[index] = true;
            self.files[index].append(index + 1, &mut placed);
            if !rest.is_empty() {
                placed.tokens.extend(model.tokenize(rest, false, true));
            }
        }
        match is_placed.iter().position(|is_placed| !is_placed) {
            None => Ok(placed),
            Some(index) => Err(wrong(
                &self.files[index].file,
                index + 1,
                "the model's chat template leaves it out; put it into a message of the user",
            )),
        }
    }

    /// Whether there are no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file that a mark names, and the text behind the mark.
    fn marked<'a>(&self, piece: &'a str) -> Option<(usize, &'a str)> {
        let (number, rest) = piece.split_once(MARK_END)?;
        let index = number.parse().ok().filter(|index| *index < self.files.len())?;
        Some((index, rest))
    }
}

impl SeenFile {
    fn append(&self, number: usize, placed: &mut Placed) {
        for (part, (layout, rows)) in self.parts.iter().zip(&self.rows).enumerate() {
            match layout {
                MediaPart::Tokens(tokens) => placed.tokens.extend(tokens),
                MediaPart::Rows { rows: count, cut } => {
                    let start = u32::try_from(placed.tokens.len()).unwrap_or(u32::MAX);
                    let run = Run { start, rows: *count, cut: *cut };
                    placed.tokens.extend(rows);
                    placed.runs.push(run);
                    let file = Rc::clone(&self.file);
                    placed.sources.push(Source { file, number, part, run });
                }
            }
        }
    }
}

/// What ends a mark, behind the number of its file.
const MARK_END: &str = ".";

/// Takes the files out of the messages, and puts marks into their texts. A mark is of plain letters, which
/// templates pass on as they are, and what it begins with is in no text of the request.
fn mark_files(chat: &mut Chat) -> Result<(String, Vec<MediaFile>), Failure> {
    let taken: Vec<Vec<File>> =
        chat.messages.iter_mut().map(|message| std::mem::take(&mut message.media)).collect();
    let texts = serde_json::to_string(chat)
        .map_err(|error| invalid(format!("the conversation cannot be written: {error}")))?;
    // No text holds its own hash, so that there is nothing to look for.
    let mark = format!("residentmedia{}x", blake3::hash(texts.as_bytes()).to_hex());
    let mut files = Vec::new();
    for (message, taken) in chat.messages.iter_mut().zip(taken) {
        if taken.is_empty() {
            continue;
        }
        let content = message.content.take().unwrap_or_default();
        let mut marked = String::with_capacity(content.len());
        let mut end = 0;
        for file in taken {
            let at = file.at as usize;
            let before = content.get(end..at).ok_or_else(|| {
                invalid(format!(
                    "a picture or sound stands at byte {at} of a message, which is no place between \
                     two characters of its {} bytes behind the one before",
                    content.len()
                ))
            })?;
            let number = files.len().to_string();
            marked.extend([before, &mark, &number, MARK_END]);
            end = at;
            files.push(MediaFile::new(file.kind, file.bytes));
        }
        marked.push_str(content.get(end..).unwrap_or_default());
        message.content = Some(marked);
    }
    Ok((mark, files))
}

/// The tokens that stand for the rows of each part.
fn rows_of(projector: &[u8; 32], file: &MediaFile, parts: &[MediaPart]) -> Vec<Vec<u32>> {
    let kind = match file.kind() {
        MediaKind::Image => 0_u8,
        MediaKind::Audio => 1,
    };
    let rows = |(part, layout): (usize, &MediaPart)| match layout {
        MediaPart::Tokens(_) => Vec::new(),
        MediaPart::Rows { rows, .. } => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(projector).update(&[kind]).update(file.digest());
            hasher.update(&(part as u64).to_le_bytes());
            let mut bytes = vec![0; *rows as usize * size_of::<u32>()];
            hasher.finalize_xof().fill(&mut bytes);
            let (numbers, _) = bytes.as_chunks();
            numbers.iter().map(|number| u32::from_le_bytes(*number) | MEDIA_TOKEN_MIN).collect()
        }
    };
    parts.iter().enumerate().map(rows).collect()
}

fn layout_bytes(parts: &[MediaPart]) -> usize {
    let tokens = |part: &MediaPart| match part {
        MediaPart::Tokens(tokens) => tokens.len(),
        MediaPart::Rows { .. } => 0,
    };
    let tokens: usize = parts.iter().map(tokens).sum();
    size_of_val(parts) + tokens * size_of::<u32>()
}

fn crowded() -> Failure {
    let message = format!(
        "pictures and sounds of open requests would take more than {} MiB; try again when some have ended",
        MEDIA_FILES_BYTES >> 20
    );
    Failure { kind: FailureKind::Overloaded, message }
}

fn wrong(file: &MediaFile, number: usize, why: &str) -> Failure {
    let what = match file.kind() {
        MediaKind::Image => "picture",
        MediaKind::Audio => "sound",
    };
    invalid(format!(
        "file {number} of the conversation is no {what} that this model can take: {why}"
    ))
}

/// A template that changes the marks, which are plain letters.
fn broken_mark(piece: &str) -> Failure {
    let begin: String = piece.chars().take(20).collect();
    let message = format!(
        "the model's chat template changes where a picture or sound stands (\"{begin}\"); it can be used \
         for text only"
    );
    Failure { kind: FailureKind::Invalid, message }
}

#[cfg(test)]
mod tests;
