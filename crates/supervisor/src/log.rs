//! What an engine says beside its answers: into a file of bounded size, and its last lines into
//! memory. A full or slow disk costs lines of the log and nothing else.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use crate::limits::{
    DRAIN_WAIT_MAX, LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_KEPT, LOG_LINES_WAITING_MAX,
};

/// The file for a model's log; whatever a name holds, it is a plain file of that folder.
pub(crate) fn path(logs_dir: &Path, model: &str) -> PathBuf {
    let plain = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
    let letters = model.chars().map(|letter| if plain(letter) { letter } else { '_' });
    let name: String = letters.take(100).collect();
    logs_dir.join(format!("{}.log", name.trim_start_matches('.')))
}

/// A pipe that an engine writes lines to.
pub(crate) type Pipe = Box<dyn AsyncRead + Send + Unpin>;

/// Follows what one engine says. Dropping it stops that.
pub(crate) struct Log {
    path: PathBuf,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    reading: JoinSet<()>,
}

impl Log {
    pub(crate) fn follow(pipes: impl IntoIterator<Item = Pipe>, path: PathBuf) -> Self {
        let last_lines = Arc::new(Mutex::new(VecDeque::new()));
        let (lines, lines_waiting) = mpsc::channel(LOG_LINES_WAITING_MAX);
        let sink = Sink { path: path.clone(), open: None };
        tokio::task::spawn_blocking(move || sink.write_all(lines_waiting));
        let mut reading = JoinSet::new();
        for pipe in pipes {
            reading.spawn(read(pipe, Arc::clone(&last_lines), lines.clone()));
        }
        Self { path, last_lines, reading }
    }

    /// The last line and where the others are, once everything was read.
    pub(crate) async fn last_words(&mut self) -> String {
        // Whoever inherited the pipe may keep it open; then what came so far has to do.
        let read_all = async { while self.reading.join_next().await.is_some() {} };
        timeout(DRAIN_WAIT_MAX, read_all).await.ok();
        let last_lines = self.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        match last_lines.iter().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("its last words: {line} (more in {})", self.path.display()),
            None => "it left no last words".to_owned(),
        }
    }
}

async fn read(pipe: Pipe, last_lines: Arc<Mutex<VecDeque<String>>>, lines: mpsc::Sender<Line>) {
    let mut pipe = BufReader::new(pipe);
    let mut lost = 0;
    while let Some(text) = next_line(&mut pipe, LineEnds::Feed).await {
        {
            let mut kept = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LOG_LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(text.clone());
        }
        match lines.try_send(Line { text, lost_before: lost }) {
            Ok(()) => lost = 0,
            Err(_) => lost += 1,
        }
    }
}

/// A line for the file, and how many before it found no place.
struct Line {
    text: String,
    lost_before: u64,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnds {
    /// A line feed.
    Feed,
    /// A carriage return as well, by which programs overwrite what they showed.
    OrReturn,
}

/// The next line without its end, cut to the limit; `None` at the end of the pipe.
pub(crate) async fn next_line(pipe: &mut BufReader<Pipe>, ends: LineEnds) -> Option<String> {
    let ends_line = |byte: &u8| match ends {
        LineEnds::Feed => *byte == b'\n',
        LineEnds::OrReturn => matches!(byte, b'\n' | b'\r'),
    };
    let mut line = Vec::new();
    let mut some = false;
    loop {
        let chunk = pipe.fill_buf().await.ok()?;
        if chunk.is_empty() {
            return some.then(|| readable(&line));
        }
        some = true;
        let end = chunk.iter().position(ends_line);
        let text = &chunk[..end.unwrap_or(chunk.len())];
        let room = LOG_LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&text[..text.len().min(room)]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            return Some(readable(&line));
        }
    }
}

/// What a C++ library prints may hold any byte; a terminal that shows it must not obey it.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The file. Every failure drops the line and tries anew with the next.
struct Sink {
    path: PathBuf,
    open: Option<(File, u64)>,
}

impl Sink {
    fn write_all(mut self, mut lines: mpsc::Receiver<Line>) {
        let mut lost: u64 = 0;
        while let Some(line) = lines.blocking_recv() {
            lost += line.lost_before;
            let text = match lost {
                0 => format!("{}\n", line.text),
                _ => format!("({lost} lines lost)\n{}\n", line.text),
            };
            match self.write(text.as_bytes()) {
                Ok(()) => lost = 0,
                Err(_) => {
                    lost += 1;
                    self.open = None;
                }
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        let bytes = text.len() as u64;
        if self.open.as_ref().is_some_and(|(_, written)| written + bytes > LOG_BYTES_MAX) {
            self.open = None;
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
        }
        let (file, written) = match &mut self.open {
            Some(open) => open,
            none => none.insert(open(&self.path)?),
        };
        file.write_all(text)?;
        *written += bytes;
        Ok(())
    }
}

/// The file and how much it holds already.
fn open(path: &Path) -> std::io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stays_in_its_folder_whatever_the_name() {
        let path = path(Path::new("logs"), "../../etc/passwd: x\n");
        assert_eq!(path, Path::new("logs/_.._etc_passwd__x_.log"));
    }

    #[test]
    fn a_full_log_becomes_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.log");
        let mut sink = Sink { path: path.clone(), open: None };
        let chunk = vec![b'x'; LOG_LINE_BYTES_MAX];
        let chunks = 2 * LOG_BYTES_MAX / chunk.len() as u64 + 1;
        for _ in 0..chunks {
            sink.write(&chunk).unwrap();
        }
        let bytes = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!(bytes(&path), chunk.len() as u64);
        assert_eq!(bytes(&path.with_extension("log.old")), LOG_BYTES_MAX);
    }

    #[test]
    fn what_is_not_text_cannot_command_a_terminal() {
        assert_eq!(readable(b"a\x1b[31mred\xff"), "a [31mred\u{fffd}");
    }
}
