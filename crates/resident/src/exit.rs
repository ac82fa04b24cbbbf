//! Exit codes and the errors that carry one.
//!
//! Scripts branch on the code, people read the message. An error without a code of its own leaves
//! with [`Code::Failure`]. Not here: what the messages say; that stands where the error arises.

use std::process::ExitCode;

/// What the program's exit code means. The numbers are promises to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something failed that has no code of its own.
    Failure = 1,
    /// The command line, an environment variable or the configuration file is wrong. Clap uses the
    /// same number.
    Usage = 2,
    /// No hub answers where one is needed.
    NoHub = 3,
    /// There is no such model, its file cannot be used, or it does not fit.
    Model = 4,
    /// The address to listen on is taken.
    AddressTaken = 5,
    /// A server elsewhere cannot be reached, refuses, or must not be asked.
    Elsewhere = 6,
    /// Ended by Ctrl-C; 128 + SIGINT, as shells count.
    Interrupted = 130,
}

/// The table that `resident help` prints.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    something failed; the message says what
  2    the command line, the environment or the configuration file is wrong
  3    no hub answers at the address
  4    there is no such model, its file cannot be used, or it does not fit this machine
  5    the address to listen on is taken
  6    a server elsewhere cannot be reached, refuses, or must not be asked (offline)
  130  ended by Ctrl-C";

/// An error that was expected, with its code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Expected {
    code: Code,
    message: String,
}

/// An error that ends the program with `code`.
pub(crate) fn error(code: Code, message: impl Into<String>) -> anyhow::Error {
    Expected { code, message: message.into() }.into()
}

/// The code to leave with after `error`.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Expected>())
        .map_or(Code::Failure, |expected| expected.code);
    ExitCode::from(code as u8)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_code_is_found_under_added_context() {
        let error = Err::<(), _>(error(Code::NoHub, "no hub")).context("asking it").unwrap_err();
        assert_eq!(format!("{:?}", code_of(&error)), format!("{:?}", ExitCode::from(3)));
        let plain = anyhow::anyhow!("other");
        assert_eq!(format!("{:?}", code_of(&plain)), format!("{:?}", ExitCode::from(1)));
    }

    #[test]
    fn the_help_names_every_code() {
        let codes = [
            Code::Failure,
            Code::Usage,
            Code::NoHub,
            Code::Model,
            Code::AddressTaken,
            Code::Elsewhere,
            Code::Interrupted,
        ];
        for code in codes {
            let number = (code as u8).to_string();
            let named = |line: &str| line.split_whitespace().next() == Some(number.as_str());
            assert!(HELP.lines().any(named), "{code:?} is not in the help");
        }
    }
}
