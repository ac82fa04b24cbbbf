//! LM Studio's folder: `OWNER/REPOSITORY/FILE.gguf`, with the projector beside. It changes files in place when it
//! resumes a download, so they are not linked.

use std::path::{Path, PathBuf};

use super::{Error, Offers, folder};
use crate::store::{error::io, garbage::entries};

/// Where it may be, best first.
pub(super) fn usual(home: Option<&Path>) -> Vec<PathBuf> {
    let below = |place| home.map(|home| home.join(place));
    [".lmstudio/models", ".cache/lm-studio/models"].into_iter().filter_map(below).collect()
}

pub(super) fn offers(top: &Path) -> Result<Offers, Error> {
    std::fs::read_dir(top).map_err(io("read", top))?;
    let mut offers = Offers::default();
    for (owner, owners) in entries(top) {
        for (repository, path) in entries(&owners) {
            let shown = format!("{owner}/{repository}");
            let groups = folder::groups(&path);
            offers.skipped.extend(groups.skipped);
            if groups.has_safetensors && groups.models.is_empty() {
                offers.skipped.push(format!("lmstudio:{shown} is left out: it has no GGUF, only safetensors; `resident convert` makes one of it"));
            }
            for group in groups.models {
                let source = format!("lmstudio:{shown}/{}", group.files[0].name);
                let offer = folder::offer(group, source, None, &mut offers.skipped);
                offers.models.extend(offer);
            }
        }
    }
    Ok(offers)
}
