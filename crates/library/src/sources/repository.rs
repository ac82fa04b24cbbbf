//! From the files of a repository to its models: parts that belong together, what each is called,
//! which one somebody means, and which projector belongs to it.
//!
//! Not here: asking a server for the list.

use std::{cmp::Reverse, collections::BTreeMap};

use planner::gguf::split::Part;

use super::Error;
use crate::{digest::Sha256, limits::PARTS_MAX, source::Repository};

const ENDING: &str = ".gguf";

/// Encodings of projectors, best first: what is encoded smaller sees worse, and saves little.
const PROJECTORS: [&str; 4] = ["F16", "BF16", "F32", "Q8_0"];

/// A model in a repository, in one file or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its path without ending and part number, for example `Q8_0/qwen3-8b-Q8_0`.
    pub name: String,
    /// How its weights are encoded, as its name says, for example `UD-Q4_K_XL`.
    pub quantization: Option<String>,
    /// What the file is by its name.
    pub kind: Kind,
    /// Its files, in the order of the parts.
    pub files: Vec<File>,
    /// How many parts it should have.
    pub parts: u64,
    /// The first part that the repository does not have, from 1.
    pub missing_part: Option<u64>,
}

/// What a GGUF file is for, as far as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// What turns images or sound into something a model reads (`mmproj`).
    Projector,
    /// Made while quantizing, and of no use to run anything (`imatrix`).
    Leftover,
}

/// A file in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the repository.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Hash of its content, if the list says that.
    pub digest: Option<Sha256>,
}

impl Model {
    /// Length of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes))
    }

    /// Its path without what tells encodings of one model apart, for example `qwen3-8b` for
    /// `UD-Q4_K_XL/qwen3-8b-UD-Q4_K_XL`: files of one family are one model.
    #[must_use]
    pub fn family(&self) -> String {
        let mut steps: Vec<String> = self.name.split('/').map(without_encoding).collect();
        let own = steps.pop().unwrap_or_default();
        // Parts often lie in a folder that is called as they are.
        steps.retain(|step| !step.is_empty() && *step != own);
        steps.push(own);
        steps.join("/")
    }

    /// What people call it among the models of its repository.
    #[must_use]
    pub fn label(&self) -> &str {
        self.quantization.as_deref().unwrap_or(&self.name)
    }
}

/// The models among `files`, by name.
pub(super) fn models(files: Vec<File>) -> Vec<Model> {
    let mut groups: BTreeMap<(String, u64), BTreeMap<u64, File>> = BTreeMap::new();
    for file in files {
        if !is_model_path(&file.path) {
            continue;
        }
        // Numbers that cannot be true make a file of its own.
        let part = Part::of(&file.path).filter(|part| is_sound(part, &file.path));
        let (name, number, count) = match part {
            Some(part) => (part.stem.to_owned(), part.number, part.count),
            None => (file.path[..file.path.len() - ENDING.len()].to_owned(), 1, 1),
        };
        groups.entry((name, count)).or_default().insert(number, file);
    }
    groups.into_iter().map(|((name, count), files)| model(name, count, files)).collect()
}

/// Whether `split::names` would take `path`, of which this is read, without making the names of all its parts: a list may
/// have ten thousand such paths.
fn is_sound(part: &Part<'_>, path: &str) -> bool {
    (1..=part.count).contains(&part.number)
        && part.count <= PARTS_MAX
        && part.name(part.number) == path
}

/// Whether `path` is that of a GGUF file. Paths are printed, so nothing in them may move a cursor, and made into
/// addresses, so they lead nowhere but down.
fn is_model_path(path: &str) -> bool {
    let is_step = |step: &str| !["", ".", ".."].contains(&step);
    path.to_ascii_lowercase().ends_with(ENDING)
        && path.split('/').all(is_step)
        && !path.contains(|c: char| c.is_control() || c == '\\')
}

fn model(name: String, count: u64, files: BTreeMap<u64, File>) -> Model {
    let file_name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let kind = if file_name.contains("mmproj") {
        Kind::Projector
    } else if file_name.contains("imatrix") {
        Kind::Leftover
    } else {
        Kind::Model
    };
    Model {
        quantization: quantization(&name),
        parts: count,
        missing_part: (1..=count).find(|number| !files.contains_key(number)),
        files: files.into_values().collect(),
        kind,
        name,
    }
}

/// Pieces of a name that an encoding never crosses.
fn pieces(name: &str) -> Vec<&str> {
    name.split(['-', '.', '/']).filter(|piece| !piece.is_empty()).collect()
}

/// The encoding in a name like `qwen3-8b-UD-Q4_K_XL`: its last piece that looks like one.
pub(super) fn quantization(name: &str) -> Option<String> {
    let pieces = pieces(name);
    let at = pieces.iter().rposition(|piece| is_encoding(piece))?;
    let encoding = pieces[at].to_ascii_uppercase();
    let is_dynamic = at > 0 && pieces[at - 1].eq_ignore_ascii_case("UD");
    Some(if is_dynamic { format!("UD-{encoding}") } else { encoding })
}

/// One step of a path without the encodings in it.
fn without_encoding(step: &str) -> String {
    // Each piece with the sign behind it.
    let pieces: Vec<&str> = step.split_inclusive(['-', '.']).collect();
    let plain = |piece: &str| piece.trim_end_matches(['-', '.']).to_owned();
    let is_encoding_at = |at: usize| pieces.get(at).is_some_and(|next| is_encoding(&plain(next)));
    let is_kept = |at: usize| {
        let is_dynamic = plain(pieces[at]).eq_ignore_ascii_case("UD") && is_encoding_at(at + 1);
        !is_encoding_at(at) && !is_dynamic
    };
    let kept: String = (0..pieces.len()).filter(|at| is_kept(*at)).map(|at| pieces[at]).collect();
    plain(&kept)
}

/// Whether this is what encodings are called: `Q4_K_M`, `IQ2_XXS`, `TQ1_0`, `MXFP4`, `BF16`.
fn is_encoding(piece: &str) -> bool {
    let piece = piece.to_ascii_uppercase();
    if ["F16", "F32", "BF16", "FP16", "FP32"].contains(&piece.as_str()) {
        return true;
    }
    if piece.starts_with("MXFP4") || piece.starts_with("NVFP4") {
        return true;
    }
    let after = ["IQ", "TQ", "Q"].iter().find_map(|letters| piece.strip_prefix(letters));
    after.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.as_bytes().get(1) == Some(&b'_')
    })
}

/// The model that `wanted` means: a path or the name of a file, any part of a split one, or an
/// encoding. Without it, the only one.
pub(super) fn pick<'a>(
    repository: &Repository,
    models: &'a [Model],
    wanted: Option<&str>,
) -> Result<&'a Model, Error> {
    let meant = |model: &&Model| match wanted {
        Some(wanted) if wanted.to_ascii_lowercase().ends_with(ENDING) => has_file(model, wanted),
        Some(wanted) => model.kind == Kind::Model && is_named(model, wanted),
        None => model.kind == Kind::Model,
    };
    let mut found: Vec<&Model> = models.iter().filter(meant).collect();
    // `Q4_K_XL` stands in `UD-Q4_K_XL` too, which is meant only when there is no plain one.
    let exact = |model: &&Model| {
        model.quantization.as_deref().zip(wanted).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    if found.iter().filter(|model| exact(model)).count() == 1 {
        found.retain(exact);
    }
    match (found.as_slice(), wanted) {
        ([one], _) => Ok(one),
        ([], Some(wanted)) if !models.is_empty() => Err(Error::NotThere {
            repository: repository.to_string(),
            wanted: wanted.to_owned(),
            found: models.iter().map(|model| model.label().to_owned()).collect(),
        }),
        ([], _) => Err(Error::NoModel { repository: repository.to_string() }),
        (several, _) => {
            Err(Error::Several { repository: repository.to_string(), found: choices(several) })
        }
    }
}

/// The projector beside `model` among `models` that fits it best: one whose name has most in common with the
/// model's, in the same folder rather than another, in the best encoding.
pub(super) fn projector_for<'a>(model: &Model, models: &'a [Model]) -> Option<&'a Model> {
    let folder = |model: &Model| model.name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let own = model.family().to_ascii_lowercase();
    let own: Vec<&str> = pieces(&own);
    let rank = |projector: &&Model| {
        let family = projector.family().to_ascii_lowercase();
        let shared = pieces(&family).iter().filter(|piece| own.contains(piece)).count();
        let is_elsewhere = folder(projector) != folder(model);
        let encoding = projector.quantization.as_deref();
        let place = PROJECTORS.iter().position(|known| encoding == Some(known));
        (Reverse(shared), is_elsewhere, place.unwrap_or(PROJECTORS.len()), projector.name.clone())
    };
    let is_whole = |model: &&Model| model.kind == Kind::Projector && model.missing_part.is_none();
    models.iter().filter(is_whole).min_by_key(rank)
}

/// What to write for each of `several`: its encoding where that tells it from the others, else the
/// path of its first file.
fn choices(several: &[&Model]) -> Vec<String> {
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    for model in several {
        *labels.entry(model.label()).or_default() += 1;
    }
    let is_alone =
        |model: &Model| model.quantization.is_some() && labels.get(model.label()) == Some(&1);
    let path = |model: &Model| model.files.first().map(|file| file.path.clone());
    several
        .iter()
        .filter_map(
            |model| {
                if is_alone(model) { Some(model.label().to_owned()) } else { path(model) }
            },
        )
        .collect()
}

fn has_file(model: &Model, wanted: &str) -> bool {
    model.files.iter().any(|file| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        file.path == wanted || name == wanted
    })
}

/// Whether the pieces of `wanted` stand side by side in the model's name.
fn is_named(model: &Model, wanted: &str) -> bool {
    let (name, wanted) = (pieces(&model.name), pieces(wanted));
    !wanted.is_empty()
        && name
            .windows(wanted.len())
            .any(|window| window.iter().zip(&wanted).all(|(a, b)| a.eq_ignore_ascii_case(b)))
}

#[cfg(test)]
mod tests {
    use planner::gguf::split;

    use super::*;
    use crate::source::Source;

    fn entries(paths: &[&str]) -> Vec<File> {
        let file = |path: &&str| File { path: (*path).to_owned(), bytes: 1_000, digest: None };
        paths.iter().map(file).collect()
    }

    fn repository() -> Repository {
        match Source::parse("hf:o/r") {
            Some(Ok(Source::Repository { repository, .. })) => repository,
            other => panic!("{other:?}"),
        }
    }

    /// Files as large repositories of quantizations have them.
    const MANY: [&str; 10] = [
        "README.md",
        "m-8b-Q4_K_M.gguf",
        "m-8b-q8_0.gguf",
        "m-8b-Q4_K_XL.gguf",
        "m-8b-UD-Q4_K_XL.gguf",
        "m-8b-UD-IQ2_XXS.GGUF",
        "BF16/m-8b-BF16-00002-of-00002.gguf",
        "BF16/m-8b-BF16-00001-of-00002.gguf",
        "mmproj-F16.gguf",
        "m-8b.imatrix.gguf",
    ];

    #[test]
    fn files_become_models() {
        let models = models(entries(&MANY));
        let found: Vec<_> = models
            .iter()
            .map(|model| (model.label(), model.kind, model.files.len(), model.bytes()))
            .collect();
        assert_eq!(
            found,
            [
                ("BF16", Kind::Model, 2, 2_000),
                ("Q4_K_M", Kind::Model, 1, 1_000),
                ("Q4_K_XL", Kind::Model, 1, 1_000),
                ("UD-IQ2_XXS", Kind::Model, 1, 1_000),
                ("UD-Q4_K_XL", Kind::Model, 1, 1_000),
                ("Q8_0", Kind::Model, 1, 1_000),
                ("m-8b.imatrix", Kind::Leftover, 1, 1_000),
                ("F16", Kind::Projector, 1, 1_000),
            ]
        );
        assert_eq!(models[0].files[0].path, "BF16/m-8b-BF16-00001-of-00002.gguf");
    }

    #[test]
    fn parts_are_what_the_reader_of_headers_takes_for_parts() {
        for path in [
            "m-00001-of-00002.gguf",
            "d/m-00002-of-00002.gguf",
            "m-00003-of-00002.gguf",
            "m-00000-of-00002.gguf",
            "m-000001-of-000002.gguf",
            "m-01024-of-01024.gguf",
            "m-00001-of-01025.gguf",
        ] {
            let is_part = Part::of(path).is_some_and(|part| is_sound(&part, path));
            assert_eq!(is_part, split::names(path).is_ok(), "{path}");
        }
        let path = |at: usize| format!("{at}{}-00007-of-01024.gguf", "x".repeat(300));
        let paths: Vec<String> = (0..10_000).map(path).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let found = models(entries(&paths));
        assert!(found.len() == 10_000 && found.iter().all(|one| one.missing_part == Some(1)));
    }

    #[test]
    fn encodings_of_one_model_are_one_family() {
        for (path, expected) in [
            ("m-8b-Q4_K_M.gguf", "m-8b"),
            ("m-8b-UD-IQ2_XXS.GGUF", "m-8b"),
            ("BF16/m-8b-BF16-00001-of-00002.gguf", "m-8b"),
            ("UD-Q4_K_XL/m-8b-UD-Q4_K_XL-00001-of-00002.gguf", "m-8b"),
            ("m-8b-Q6_K/m-8b-Q6_K-00001-of-00002.gguf", "m-8b"),
            ("m-2.5-7b.Q8_0.gguf", "m-2.5-7b"),
            ("m-8b.gguf", "m-8b"),
            ("UD-m-Q8_0.gguf", "UD-m"),
            ("small/model-q4_0.gguf", "small/model"),
            ("Q4_K_M.gguf", ""),
        ] {
            assert_eq!(models(entries(&[path]))[0].family(), expected, "{path}");
        }
    }

    #[test]
    fn a_hole_in_the_parts_is_seen() {
        let models = models(entries(&["a-00001-of-00003.gguf", "a-00003-of-00003.gguf"]));
        assert_eq!(models[0].missing_part, Some(2));
        assert_eq!(models[0].name, "a");
    }

    #[test]
    fn names_that_lead_elsewhere_or_move_a_cursor_and_numbers_that_lie() {
        let models = models(entries(&[
            "a\u{1b}[2J.gguf",
            "b-00009-of-00002.gguf",
            "../c.gguf",
            "/etc/d.gguf",
            "x//e.gguf",
            "x/./f.gguf",
            "..\\g.gguf",
            "h\0.gguf",
        ]));
        assert_eq!(models.len(), 1);
        assert_eq!((models[0].name.as_str(), models[0].missing_part), ("b-00009-of-00002", None));
    }

    #[test]
    fn what_is_asked_for_is_found() {
        let models = models(entries(&MANY));
        for (wanted, name) in [
            ("Q4_K_M", "m-8b-Q4_K_M"),
            ("q4_k_m", "m-8b-Q4_K_M"),
            ("Q8_0", "m-8b-q8_0"),
            ("Q4_K_XL", "m-8b-Q4_K_XL"),
            ("UD-Q4_K_XL", "m-8b-UD-Q4_K_XL"),
            ("IQ2_XXS", "m-8b-UD-IQ2_XXS"),
            ("m-8b-q8_0.gguf", "m-8b-q8_0"),
            ("BF16", "BF16/m-8b-BF16"),
            ("m-8b-BF16-00002-of-00002.gguf", "BF16/m-8b-BF16"),
            ("BF16/m-8b-BF16-00001-of-00002.gguf", "BF16/m-8b-BF16"),
            ("mmproj-F16.gguf", "mmproj-F16"),
        ] {
            let found = pick(&repository(), &models, Some(wanted));
            assert_eq!(found.unwrap().name, name, "{wanted}");
        }
    }

    #[test]
    fn what_is_not_there_or_not_clear_lists_what_is() {
        let models = models(entries(&MANY));
        for (models, wanted, expected) in [
            (&models[..], Some("Q4_K"), "no model 'Q4_K'; it has BF16, Q4_K_M, "),
            (&models[..], Some("F16"), "no model 'F16'"),
            (&models[..], None, "as in hf:o/r:BF16; there are BF16, Q4_K_M, "),
            (&models[..], Some("m"), "several models"),
            (&[], None, "has no GGUF files"),
            (&[], Some("Q8_0"), "has no GGUF files"),
        ] {
            let message = pick(&repository(), models, wanted).unwrap_err().to_string();
            assert!(message.contains(expected), "{expected}: {message}");
        }
        let twins = super::models(entries(&["a-Q8_0.gguf", "b-Q8_0.gguf"]));
        let message = pick(&repository(), &twins, Some("Q8_0")).unwrap_err().to_string();
        assert!(message.contains("a-Q8_0.gguf, b-Q8_0.gguf"), "{message}");
    }

    #[test]
    fn the_projector_that_fits_best() {
        for (paths, model, expected) in [
            (
                &["m-Q8_0.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-Q8_0.gguf"][..],
                0,
                "mmproj-F16",
            ),
            (&["m-Q8_0.gguf", "mmproj-m-Q8_0.gguf", "mmproj-m-f32.gguf"], 0, "mmproj-m-f32"),
            (
                &[
                    "a-4b-Q8_0.gguf",
                    "b-7b-Q8_0.gguf",
                    "mmproj-a-4b-f16.gguf",
                    "mmproj-b-7b-Q8_0.gguf",
                ],
                1,
                "mmproj-b-7b-Q8_0",
            ),
            (&["x/m.gguf", "y/mmproj-f16.gguf", "x/mmproj-q8_0.gguf"], 0, "x/mmproj-q8_0"),
            (&["m.gguf", "mmproj-f16-00001-of-00002.gguf"], 0, ""),
            (&["m.gguf"], 0, ""),
        ] {
            let models = models(entries(paths));
            let models_only: Vec<&Model> =
                models.iter().filter(|model| model.kind == Kind::Model).collect();
            let found = projector_for(models_only[model], &models);
            assert_eq!(found.map_or("", |found| &found.name), expected, "{paths:?}");
        }
    }
}
