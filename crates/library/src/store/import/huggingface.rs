//! Hugging Face's cache: `models--OWNER--REPOSITORY/snapshots/COMMIT/FILE`, each a link to a blob that is called by its
//! content's SHA-256. Blobs are renamed when they are whole, and never changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Error, Offers, folder};
use crate::{
    digest::Sha256,
    store::{error::io, garbage::entries, manifests::read_plain, take::Coming},
};

/// What a repository's folder begins with.
const MODELS: &str = "models--";
/// What stands in it for a slash.
const SLASH: &str = "--";
/// Bytes of a file that says which commit a branch is.
const REFERENCE_BYTES_MAX: u64 = 256;

/// Where it may be, best first.
pub(super) fn usual(
    variable: &dyn Fn(&'static str) -> Option<PathBuf>,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    let own = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    let below_own = variable("HF_HOME").map(|folder| folder.join("hub"));
    let cache = variable("XDG_CACHE_HOME").map(|folder| folder.join("huggingface/hub"));
    let usual = home.map(|home| home.join(".cache/huggingface/hub"));
    // What the user says is where it is, and nowhere else.
    match own.or(below_own) {
        Some(place) => vec![place],
        None => cache.into_iter().chain(usual).collect(),
    }
}

pub(super) fn offers(top: &Path) -> Result<Offers, Error> {
    fs::read_dir(top).map_err(io("read", top))?;
    let mut offers = Offers::default();
    for (name, path) in entries(top) {
        let Some(repository) = name.strip_prefix(MODELS) else { continue };
        let repository = repository.replace(SLASH, "/");
        let Some((commit, snapshot)) = snapshot(&path) else { continue };
        let (mut has_models, mut has_safetensors) = (false, false);
        for below in folder::folders(&snapshot) {
            let groups = folder::groups(&below);
            has_safetensors |= groups.has_safetensors;
            offers.skipped.extend(groups.skipped);
            for mut group in groups.models {
                has_models = true;
                let first = &group.files[0].path;
                let file = first.strip_prefix(&snapshot).unwrap_or(first).display();
                let source = format!("hf:{repository}:{file}").replace('\\', "/");
                group.files.iter_mut().for_each(|file| know(file, &path));
                let revision = Some(commit.clone());
                let offer = folder::offer(group, source, revision, &mut offers.skipped);
                offers.models.extend(offer);
            }
        }
        if has_safetensors && !has_models {
            offers.skipped.push(format!("hf:{repository} is left out: it has no GGUF, only safetensors; `resident convert` makes one of it"));
        }
    }
    Ok(offers)
}

/// The commit that the main branch is, or else the newest that is there, and its folder.
fn snapshot(repository: &Path) -> Option<(String, PathBuf)> {
    let folder = repository.join("snapshots");
    let named = read_plain(&repository.join("refs/main"), REFERENCE_BYTES_MAX).ok();
    let named = named.and_then(|bytes| Some(String::from_utf8(bytes).ok()?.trim().to_owned()));
    let all = entries(&folder).into_iter().filter(|(_, path)| path.is_dir());
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    all.max_by_key(|(name, path)| (Some(name) == named.as_ref(), modified(path)))
}

/// Takes the digest of a file from what its link leads to. On systems without links the file itself lies there.
fn know(file: &mut Coming, repository: &Path) {
    let blobs = fs::canonicalize(repository.join("blobs"));
    let blob = fs::canonicalize(&file.path);
    let (Ok(blobs), Ok(blob)) = (blobs, blob) else { return };
    if blob.parent() == Some(&blobs) {
        let name = blob.file_name().and_then(|name| name.to_str());
        file.digest = name.and_then(|name| name.parse::<Sha256>().ok());
        file.is_final = true;
    }
}
