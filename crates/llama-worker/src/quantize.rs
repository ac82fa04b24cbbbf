//! Rewrites a model with another type of weights, by llama.cpp's own quantizer.
//!
//! All that can be known before is looked at before: what each tensor will be, whether the importance
//! matrix is of this model, whether the disk has room. The file is written under a name of its own
//! beside its place and gets its name when it is whole and on the disk. Not here: which tensor gets
//! which type (`planner::recipe`), how a matrix is read (`planner::importance`).

mod call;
mod progress;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use planner::gguf::Tensor;
use planner::importance::Matrix;
use planner::machine::text as size;
use planner::recipe::{self, Recipe, Wish};
use tempfile::NamedTempFile;

use crate::header::{self, Whole};
use crate::limits::MATRIX_BYTES_MAX;
use crate::log;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job<'a> {
    source: &'a Path,
    target: &'a Path,
    kind: &'a str,
    matrix: Option<&'a Path>,
    may_requantize: bool,
}

impl<'a> Job<'a> {
    /// What the words behind `quantize` ask for; `None` when they make no sense.
    pub(crate) fn parse(words: &[&'a str]) -> Option<Self> {
        let (mut matrix, mut may_requantize) = (None, false);
        let mut places = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--imatrix" => matrix = Some(Path::new(*words.next()?)),
                "--allow-requantize" => may_requantize = true,
                flag if flag.starts_with("--") => return None,
                place => places.push(place),
            }
        }
        let [source, target, kind] = places[..] else { return None };
        let (source, target) = (Path::new(source), Path::new(target));
        Some(Self { source, target, kind, matrix, may_requantize })
    }
}

/// Writes the job's source as its target with weights of its type. Each tensor is a line on standard
/// error when its turn comes.
///
/// # Errors
/// What cannot be done, with the file and the way out. Nothing is left of a target that is not whole.
pub(crate) fn run(job: &Job<'_>) -> Result<(), String> {
    let recipe = Recipe::from_name(job.kind).ok_or_else(|| {
        let known: Vec<String> = Recipe::all().map(|one| one.name().to_lowercase()).collect();
        format!("unknown type {}; known are {}", job.kind, known.join(", "))
    })?;
    let source = header::read_whole(job.source)?;
    let may_requantize = job.may_requantize;
    let wish = Wish { recipe, measured: job.matrix.is_some(), may_requantize };
    let made = recipe::rewrite(&source.header, wish)
        .map_err(|refusal| format!("{} {refusal}", job.source.display()))?;
    let matrix = job.matrix.map(|path| read_matrix(path, &made, recipe)).transpose()?;
    refuse_own_source(job, &source)?;
    let bytes = recipe::file_bytes(&source.header, source.file_bytes, &made);
    refuse_full_disk(&folder_of(job.target), bytes)?;
    let partial = partial(job.target)?;
    let call = call::Call {
        source: &source.first,
        target: partial.path(),
        recipe,
        matrix: matrix.as_ref().zip(job.matrix),
        may_requantize,
    };
    call.run().map_err(|error| format!("cannot quantize {}: {error}", job.source.display()))?;
    check_made(partial.path(), &made)?;
    keep(partial, job.target)
}

/// The matrix in this file, which must be one of the model whose tensors are `made`.
fn read_matrix(path: &Path, made: &[Tensor], recipe: Recipe) -> Result<Matrix, String> {
    let shown = path.display();
    let unreadable = |error| format!("the importance matrix {shown} cannot be read: {error}");
    // Before it is opened: to open a named pipe is to wait for whoever writes to it.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(format!("the importance matrix {shown} is not a file"));
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?.take(MATRIX_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MATRIX_BYTES_MAX {
        let most = size(MATRIX_BYTES_MAX);
        return Err(format!("{shown} is longer than any importance matrix ({most})"));
    }
    let matrix = Matrix::read(&bytes).map_err(|error| format!("{shown} {error}"))?;
    let silent = matrix.check(made, recipe).map_err(|misfit| format!("{shown} {misfit}"))?;
    if silent > 0 {
        log::complain(&format!(
            "note: {shown} says nothing of {silent} tensors, which are quantized without it"
        ));
    }
    Ok(matrix)
}

/// Whoever quantizes a file into itself has nothing left to quantize anew.
fn refuse_own_source(job: &Job<'_>, source: &Whole) -> Result<(), String> {
    let same = |one: &Path, other: &Path| {
        let (one, other) = (fs::canonicalize(one), fs::canonicalize(other));
        matches!((one, other), (Ok(one), Ok(other)) if one == other)
    };
    if same(job.source, job.target) || same(&source.first, job.target) {
        let target = job.target.display();
        return Err(format!("{target} is the model itself; name another file for the result"));
    }
    Ok(())
}

/// A disk that is full after an hour is a disk that could have been asked before.
fn refuse_full_disk(folder: &Path, bytes: u64) -> Result<(), String> {
    let shown = folder.display();
    let free_bytes = kv_store::free_bytes(folder)
        .map_err(|error| format!("cannot write into the folder {shown}: {error}"))?;
    if free_bytes < bytes {
        let (needed, free) = (size(bytes), size(free_bytes));
        return Err(format!(
            "the result takes {needed}, and the disk of {shown} has {free} left; make room, choose \
             another folder, or a type of fewer bits"
        ));
    }
    Ok(())
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// An empty file beside the target, gone when this is dropped.
fn partial(target: &Path) -> Result<NamedTempFile, String> {
    let folder = folder_of(target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    // Temporary files are private; a model is as others' files are.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let cannot = |error| format!("cannot write into the folder {}: {error}", folder.display());
    builder.tempfile_in(&folder).map_err(cannot)
}

/// Holds what was written against what was to be, since nobody looks at it before it is loaded.
fn check_made(path: &Path, made: &[Tensor]) -> Result<(), String> {
    let whole =
        header::read_whole(path).map_err(|error| format!("what was written is broken: {error}"))?;
    let found = &whole.header.tensors;
    let same = |(one, other): (&Tensor, &Tensor)| {
        (&one.name, one.dimensions) == (&other.name, other.dimensions)
    };
    if found.len() == made.len() && found.iter().zip(made).all(same) {
        return Ok(());
    }
    Err("what was written has other tensors than the model; please report this".to_owned())
}

/// Gives the file its name, once all of it is on the disk.
fn keep(partial: NamedTempFile, target: &Path) -> Result<(), String> {
    let cannot =
        |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", target.display());
    partial.as_file().sync_all().map_err(|error| cannot(&error))?;
    partial.persist(target).map_err(|error| cannot(&error))?;
    // The name is on the disk when its folder is. Only Unix has folders that can be opened.
    #[cfg(unix)]
    File::open(folder_of(target))
        .and_then(|folder| folder.sync_all())
        .map_err(|error| cannot(&error))?;
    Ok(())
}
