//! The child's side: the process that reads one file and says what is in it.
//!
//! It gets the file as its standard input, already open, so that nobody can put another in its place; what is wanted of
//! it as a variable of its environment, which others cannot see in a list of processes; and answers on its standard
//! output. It bounds itself before it reads the first byte, since only a process itself can without `unsafe`.

use std::{
    fs::File,
    io::{self, Write},
    panic::AssertUnwindSafe,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use super::{Error, Limits, Located, locate::Sought, read};
use crate::{
    document::{Document, Place},
    limits,
};

/// The variable that carries a [`Request`] as JSON.
pub(crate) const VARIABLE: &str = "RESIDENT_EXTRACT";

/// What the parent wants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The file's extension; all that is told of its name.
    pub(crate) extension: String,
    pub(crate) limits: Limits,
    /// A quote to be found instead of a document.
    pub(crate) sought: Option<(Place, String)>,
}

/// What the child says, as MessagePack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) found: Result<Found, Error>,
    /// The most memory that it held, where the system says so.
    pub(crate) peak_bytes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Found {
    Document(Document),
    Located(Located),
}

/// Reads the file that is this process's standard input and writes its answer to standard output: the whole of what a
/// process does that [`super::Extractor`] started.
#[must_use]
pub fn child() -> ExitCode {
    let request = std::env::var(VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok());
    let Some(request): Option<Request> = request else {
        // For a person who starts it by hand; there is no other way to tell them.
        let _ = writeln!(io::stderr(), "this is started by the program itself, with {VARIABLE}");
        return ExitCode::FAILURE;
    };
    let found = set_limits(&request.limits)
        .map_err(|error| Error::system("bound the reading process", &error))
        .and_then(|()| standard_input().map_err(|error| Error::system("take the file", &error)))
        .and_then(|file| in_a_thread(file, request));
    let answer = Answer { found, peak_bytes: peak_bytes() };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let written = rmp_serde::encode::write_named(&mut output, &answer).is_ok();
    if written && output.flush().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bounds this process: processor time, address space, open files, no file written and no memory dumped.
fn set_limits(limits: &Limits) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let bound = |resource, value: u64, and_then: u64| {
            // What was bounded more tightly before stays so.
            let maximum = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let both = (value.min(maximum), and_then.min(maximum));
            setrlimit(resource, Rlimit { current: Some(both.0), maximum: Some(both.1) })
        };
        bound(Resource::Cpu, limits.cpu_seconds, limits.cpu_seconds + 1)?;
        bound(Resource::Nofile, limits::CHILD_FILES_MAX, limits::CHILD_FILES_MAX)?;
        bound(Resource::Fsize, 0, 0)?;
        bound(Resource::Core, 0, 0)?;
        // Elsewhere the parent looks at what is resident.
        #[cfg(target_os = "linux")]
        bound(Resource::As, limits.memory_bytes, limits.memory_bytes)?;
    }
    #[cfg(not(unix))]
    let _ = limits;
    Ok(())
}

#[cfg(unix)]
fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

#[cfg(windows)]
fn standard_input() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(File::from(io::stdin().as_handle().try_clone_to_owned()?))
}

/// On a stack of known size, and with panics as errors.
fn in_a_thread(file: File, request: Request) -> Result<Found, Error> {
    let read = move || {
        // What a panic says goes into the answer.
        std::panic::set_hook(Box::new(|_| {}));
        std::panic::catch_unwind(AssertUnwindSafe(|| answer(file, request)))
            .unwrap_or_else(|panic| Err(Error::Crashed(words(panic.as_ref()))))
    };
    let thread = std::thread::Builder::new().stack_size(limits::CHILD_STACK_BYTES).spawn(read);
    let thread = thread.map_err(|error| Error::system("start a thread", &error))?;
    thread.join().unwrap_or_else(|panic| Err(Error::Crashed(words(panic.as_ref()))))
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    text.chars().take(200).collect()
}

fn answer(file: File, request: Request) -> Result<Found, Error> {
    let sought = request.sought.map(|(place, quote)| Sought::new(place, quote)).transpose()?;
    let (document, sought) = read::read(file, &request.extension, &request.limits, sought)?;
    match sought {
        Some(sought) => sought.finish().map(Found::Located),
        None => Ok(Found::Document(document)),
    }
}

/// The most memory that this process had resident.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
