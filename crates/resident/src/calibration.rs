//! What this machine measured of its own speed: written by `resident bench`, read by
//! `resident plan`, kept in the data folder as JSON.
//!
//! Not here: what the figures mean (`planner::speed`), and how they are measured (`bench`).

use std::{fs, io, path::Path};

use anyhow::Context as _;
use planner::speed::Calibration;
use serde::{Deserialize, Serialize};

/// Name of the file in the data folder.
const FILE_NAME: &str = "calibration.json";

/// Version of its form. A file of another version is as good as none.
const VERSION: u32 = 1;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    calibration: Calibration,
}

/// What was measured last; `None` when nothing was, or nothing that this version understands.
///
/// # Errors
/// When there is a file that cannot be read.
pub(crate) fn load(data_dir: &Path) -> anyhow::Result<Option<Calibration>> {
    let path = data_dir.join(FILE_NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("cannot read {}; delete it, and measure again", path.display())
            });
        }
    };
    // It can be measured again at any time, so whatever is wrong with it is no error.
    let document = serde_json::from_str::<Document>(&text).ok();
    Ok(document.filter(|document| document.version == VERSION).map(|document| document.calibration))
}

/// Keeps `calibration` in place of what was there.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn store(data_dir: &Path, calibration: &Calibration) -> anyhow::Result<()> {
    let path = data_dir.join(FILE_NAME);
    let document = Document { version: VERSION, calibration: calibration.clone() };
    let text = serde_json::to_string_pretty(&document)?;
    let cannot = || format!("cannot write {}", path.display());
    fs::create_dir_all(data_dir).with_context(cannot)?;
    // Beside it first, so that a reader never sees half of it.
    let mut file = tempfile::NamedTempFile::new_in(data_dir).with_context(cannot)?;
    io::Write::write_all(&mut file, text.as_bytes()).with_context(cannot)?;
    file.persist(&path).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back_and_the_last_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        assert_eq!(load(&data_dir).unwrap(), None);
        for ratio in [0.5, 0.75] {
            let calibration =
                Calibration { decode_ratio: ratio, ..Calibration::none("here", "a model") };
            store(&data_dir, &calibration).unwrap();
            assert_eq!(load(&data_dir).unwrap(), Some(calibration));
        }
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_damaged_or_from_another_version_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"version\":1}", "{\"version\":2,\"calibration\":{}}"] {
            fs::write(folder.path().join(FILE_NAME), text).unwrap();
            assert_eq!(load(folder.path()).unwrap(), None, "{text}");
        }
    }
}
