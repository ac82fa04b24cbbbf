//! The guard: a small process between the hub and a foreign program, which ends the whole tree of
//! that program when the hub is gone, however the hub went.
//!
//! Its standard input is a pipe from the hub. A letter in it passes a signal on; its end, which is
//! what the death of the hub looks like on every system, kills everything that the program started.
//! The same happens when the program itself ends and leaves something behind. Our own worker needs
//! no guard, since it leaves at the end of its input by itself.
//!
//! Not here: the hub's end of it (`guarded`).

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Command, Stdio},
};

#[cfg(not(unix))]
use other as system;
#[cfg(unix)]
use unix as system;

/// Where the file comes from that becomes the program's standard input.
pub(crate) const INPUT_FLAG: &str = "--input";

/// A folder that is removed with all in it when the program was ended because the hub is gone.
pub(crate) const FOLDER_FLAG: &str = "--folder";

/// The letter that asks for SIGTERM.
pub(crate) const TERMINATE: u8 = b'T';

/// The letter that asks for SIGINT.
pub(crate) const INTERRUPT: u8 = b'I';

/// As shells have it for a program that cannot be started.
const CANNOT_START: u8 = 127;

#[cfg(unix)]
/// As shells have it for a program that a signal ended: this and the signal's number.
pub(crate) const SIGNAL_BASE: u8 = 128;

/// What a guard is asked to start.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    /// The program's standard input; nothing without it.
    input: Option<PathBuf>,
    /// What is the hub's to remove, unless the hub is gone.
    folder: Option<PathBuf>,
    program: OsString,
    arguments: Vec<OsString>,
}

/// How a guarded program ended.
struct End {
    /// Its exit code, or 128 and the number of the signal that ended it.
    code: u8,
    /// Whether it was ended because the hub is gone, or wants it gone at once.
    hub_is_gone: bool,
}

/// Runs as a guard: `[--input FILE] [--folder FOLDER] -- PROGRAM ARGUMENTS`. Returns when nothing is left of the
/// program, with its exit code, or 128 and the signal's number, or 127 when it cannot be started
/// and the reason is on standard error.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let done = Order::parse(arguments).and_then(|order| {
        let command = order.command()?;
        let end = system::run(command)
            .map_err(|error| format!("{}: {error}", order.program.display()))?;
        if let (Some(folder), true) = (&order.folder, end.hub_is_gone) {
            // A hub that is there after all may have been faster.
            fs::remove_dir_all(folder).ok();
        }
        Ok(end.code)
    });
    done.unwrap_or_else(|message| {
        complain(&message);
        CANNOT_START
    })
}

impl Order {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut input = None;
        let mut folder = None;
        loop {
            match arguments.next() {
                Some(flag) if flag == INPUT_FLAG => input = arguments.next().map(PathBuf::from),
                Some(flag) if flag == FOLDER_FLAG => folder = arguments.next().map(PathBuf::from),
                Some(end) if end == "--" => break,
                Some(other) => {
                    return Err(format!("guard: '{}' is not an option", other.display()));
                }
                None => break,
            }
        }
        let program = arguments.next().ok_or("guard: no program was given after --")?;
        Ok(Self { input, folder, program, arguments: arguments.collect() })
    }

    fn command(&self) -> Result<Command, String> {
        let stdin = match &self.input {
            Some(path) => File::open(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?
                .into(),
            None => Stdio::null(),
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(stdin);
        Ok(command)
    }
}

/// The hub keeps the last line as the reason.
fn complain(message: &str) {
    // A hub that does not read this any more is going away.
    io::Write::write_all(&mut io::stderr(), format!("{message}\n").as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Order, String> {
        Order::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn all_after_the_dashes_belongs_to_the_program() {
        let arguments = ["--folder", "f", "--input", "a", "--", "cat", "--input", "--", "x"];
        let order = parse(&arguments).unwrap();
        assert_eq!(order.folder.as_deref(), Some("f".as_ref()));
        assert_eq!(order.input.as_deref(), Some("a".as_ref()));
        assert_eq!((&*order.program, order.arguments.len()), ("cat".as_ref(), 3));
    }

    #[test]
    fn a_wrong_order_is_refused() {
        for (arguments, word) in
            [(&[][..], "no program"), (&["--"], "no program"), (&["cat"], "'cat'")]
        {
            let message = parse(arguments).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
