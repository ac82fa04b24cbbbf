//! A shortage of memory that somebody tells the hub in place of the machine, so that a test can bring
//! one about on a machine that has enough.
//!
//! Not here: what a shortage is on the machine itself (`supervisor`), and what is done about it
//! (`planner::fleet`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use planner::fleet::Pressure;
use tokio::{sync::watch, time::sleep};

use crate::limits::PRESSURE_FILE_LOOK_INTERVAL;

/// Names a file that says `calm`, `some` or `full`. It counts in place of what the machine says.
const FILE_VARIABLE: &str = "RESIDENT_PRESSURE_FILE";

/// The levels that the file tells from now on; `None` where nobody named one.
pub(super) fn told() -> Option<watch::Receiver<Pressure>> {
    let file = PathBuf::from(std::env::var_os(FILE_VARIABLE)?);
    let (tell, told) = watch::channel(Pressure::Calm);
    tokio::spawn(async move {
        loop {
            // A file that is being written says nothing, and the last level stays.
            if let Some(level) = read(&file) {
                tell.send_if_modified(|last| std::mem::replace(last, level) != level);
            }
            tokio::select! {
                () = sleep(PRESSURE_FILE_LOOK_INTERVAL) => {}
                () = tell.closed() => return,
            }
        }
    });
    Some(told)
}

fn read(file: &Path) -> Option<Pressure> {
    match fs::read_to_string(file).ok()?.trim() {
        "calm" => Some(Pressure::Calm),
        "some" => Some(Pressure::Some),
        "full" => Some(Pressure::Full),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_one_of_three_words_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("level");
        assert_eq!(read(&file), None);
        for (text, level) in [
            ("calm\n", Some(Pressure::Calm)),
            ("some", Some(Pressure::Some)),
            (" full \n", Some(Pressure::Full)),
            ("", None),
            ("ful", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(read(&file), level, "{text:?}");
        }
    }
}
