//! Engines that are not our worker: servers of OpenAI's API, spoken to over HTTP.
//!
//! A conversation takes the same frames that a worker takes and gives the same events, so that
//! leases, answers, credit and cancelling know no difference.
//!
//! Not here: the fields of that API (`dialect`).

pub(crate) mod conversation;
mod http;
mod pool;
mod port;
pub(crate) mod process;
mod tls;
pub(crate) mod upstream;

use crate::limits::UNGUESSABLE_BYTES;

pub(crate) use conversation::Errands;
pub(crate) use conversation::served_models;
pub use conversation::{Delivered, Errand};

/// A word that nobody can foresee: the key of one start of a program, what ends the parts of a form.
fn unguessable() -> Result<String, String> {
    let mut random = [0_u8; UNGUESSABLE_BYTES];
    getrandom::fill(&mut random)
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let words = [unguessable().unwrap(), unguessable().unwrap()];
        assert!(words[0] != words[1] && words[0].len() == 2 * UNGUESSABLE_BYTES, "{words:?}");
    }
}
