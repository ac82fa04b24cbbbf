//! Globs of a source, as a person writes them in `.gitignore`: without a slash they mean names at any depth, with one
//! paths below the folder; a slash at the end means folders.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Error;

/// What is left out and what is not.
#[derive(Debug, Clone)]
pub(super) struct Globs {
    include: Option<GlobSet>,
    exclude: GlobSet,
    exclude_folders: GlobSet,
}

impl Globs {
    pub(super) fn parse(include: &[String], exclude: &[String]) -> Result<Globs, Error> {
        let (folders, any): (Vec<&String>, Vec<&String>) =
            exclude.iter().partition(|glob| glob.ends_with('/'));
        Ok(Globs {
            include: if include.is_empty() {
                None
            } else {
                Some(set(include.iter().map(String::as_str))?)
            },
            exclude: set(any.into_iter().map(String::as_str))?,
            exclude_folders: set(folders.into_iter().map(|glob| glob.trim_end_matches('/')))?,
        })
    }

    /// Whether a file may be in.
    pub(super) fn includes(&self, root: &Path, file: &Path) -> bool {
        let inside = file.strip_prefix(root).unwrap_or(file);
        // A folder that matches has all that is in it.
        let matches = |set: &GlobSet| {
            inside
                .ancestors()
                .take_while(|path| !path.as_os_str().is_empty())
                .any(|path| set.is_match(path))
        };
        self.include.as_ref().is_none_or(matches)
    }

    /// Whether a file or a folder with all that is in it is left out.
    pub(super) fn excludes(&self, root: &Path, path: &Path, is_folder: bool) -> bool {
        let inside = path.strip_prefix(root).unwrap_or(path);
        self.exclude.is_match(inside) || (is_folder && self.exclude_folders.is_match(inside))
    }
}

fn set<'a>(globs: impl Iterator<Item = &'a str>) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let told = |error: globset::Error| Error::Glob {
            glob: glob.to_owned(),
            why: error.kind().to_string(),
        };
        let whole = match glob.trim_end_matches('/').strip_prefix('/') {
            Some(rooted) => rooted.to_owned(),
            None if glob.trim_end_matches('/').contains('/') => {
                glob.trim_end_matches('/').to_owned()
            }
            None => format!("**/{}", glob.trim_end_matches('/')),
        };
        set.add(GlobBuilder::new(&whole).literal_separator(true).build().map_err(told)?);
    }
    set.build().map_err(|error| Error::Glob {
        glob: error.glob().unwrap_or_default().to_owned(),
        why: error.kind().to_string(),
    })
}
