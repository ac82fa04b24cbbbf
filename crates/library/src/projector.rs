//! Which projector belongs to a model's file: what turns pictures and sounds into the vectors of a model
//! lies in a file of its own beside it, with `mmproj` in its name.
//!
//! `mmproj-gemma-3-4b-it-f16.gguf` belongs to every quantization of `gemma-3-4b-it`, and `mmproj-F16.gguf` to
//! the one model in its folder. Where that is not clear, nothing is taken: the user names it. Not here:
//! what is inside (`supervisor`).

use std::path::{Path, PathBuf};

/// The ending of a model's file.
const ENDING: &str = "gguf";

/// What a projector's name has somewhere.
const MARK: &str = "mmproj";

/// Words that say nothing of which model is meant.
const EMPTY_WORDS: [&str; 6] = [MARK, "model", "projector", "ud", "i1", "imat"];

/// Words that follow a quantization's first one.
const QUANTIZATION_ENDS: [&str; 10] = ["k", "m", "s", "l", "xl", "xs", "xxs", "nl", "0", "1"];

/// Which encoding is taken of several: half the size of the original without a loss that shows, and every
/// processor computes with it.
const PREFERRED: [&str; 4] = ["f16", "bf16", "q8", "f32"];

/// Whether a file is a projector by its name.
#[must_use]
pub fn is_projector(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    has_ending(path) && stem.to_lowercase().contains(MARK)
}

/// The projector that lies beside a model's file and is clearly its own.
#[must_use]
pub fn beside(model: &Path) -> Option<PathBuf> {
    let folder = model.parent()?;
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| has_ending(path)).collect();
    files.sort();
    let (projectors, models): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|path| is_projector(path));
    let own = words(&stem(model)).0;
    let others: Vec<Vec<String>> = models.iter().map(|other| words(&stem(other)).0).collect();
    let is_alone = others.iter().all(|other| *other == own);
    let fit = |path: &PathBuf| {
        let (named, quantization) = words(&stem(path));
        let fits = if named.is_empty() { is_alone } else { own.starts_with(&named) };
        let rank = PREFERRED.iter().position(|one| quantization.as_deref() == Some(one));
        // The longest name says most about which model is meant.
        fits.then_some((std::cmp::Reverse(named.len()), rank.unwrap_or(PREFERRED.len())))
    };
    let fitting = projectors.into_iter().filter_map(|path| Some((fit(&path)?, path)));
    fitting.min().map(|(_, path)| path)
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The words that say which model a file is of, and its quantization.
fn words(stem: &str) -> (Vec<String>, Option<String>) {
    let (mut words, mut quantization) = (Vec::new(), None);
    let mut is_behind = false;
    for word in stem.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if is_quantization(word) {
            quantization = Some(word.to_owned());
            is_behind = true;
        } else if !(EMPTY_WORDS.contains(&word) || is_behind && QUANTIZATION_ENDS.contains(&word)) {
            words.push(word.to_owned());
            is_behind = false;
        }
    }
    (words, quantization)
}

/// `q4`, `iq3`, `tq1`, `f16`, `bf16`, `mxfp4`
fn is_quantization(word: &str) -> bool {
    let digits = ["bf", "fp", "f", "iq", "tq", "q", "mxfp"].into_iter().find_map(|begin| {
        word.strip_prefix(begin).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    digits.is_some_and(|digits| digits.len() <= 2 && digits.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The projector of the first file among all of them.
    #[track_caller]
    fn check(files: &[&str], expected: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let found = beside(&folder.path().join(files[0]));
        let name = found.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        assert_eq!(name, expected, "{files:?}");
    }

    #[test]
    fn a_projector_belongs_to_every_quantization_of_the_model_it_names() {
        for model in
            ["gemma-3-4b-it-Q4_K_M.gguf", "gemma-3-4b-it-UD-IQ2_XXS.gguf", "gemma-3-4b-it.gguf"]
        {
            check(
                &[model, "mmproj-gemma-3-4b-it-f16.gguf", "other.gguf"],
                Some("mmproj-gemma-3-4b-it-f16.gguf"),
            );
        }
        check(
            &[
                "Qwen2.5-VL-3B-Instruct-Q8_0.gguf",
                "a.gguf",
                "Qwen2.5-VL-3B-Instruct-mmproj-f16.gguf",
            ],
            Some("Qwen2.5-VL-3B-Instruct-mmproj-f16.gguf"),
        );
        check(&["gemma-3-12b-it-Q4_K_M.gguf", "mmproj-gemma-3-4b-it-f16.gguf"], None);
        check(&["text.gguf", "mmproj-gemma-3-4b-it-f16.gguf"], None);
    }

    #[test]
    fn one_without_a_models_name_belongs_to_the_only_model_beside_it() {
        let sizes = ["gemma-Q4_K_M.gguf", "gemma-Q8_0.gguf", "mmproj-F16.gguf"];
        check(&sizes, Some("mmproj-F16.gguf"));
        check(&["gemma-Q4_K_M.gguf", "mmproj-model-f16.gguf"], Some("mmproj-model-f16.gguf"));
        check(&["gemma-Q4_K_M.gguf", "qwen-Q4_K_M.gguf", "mmproj-F16.gguf"], None);
    }

    #[test]
    fn of_several_the_most_exact_and_then_the_most_usual_is_taken() {
        check(
            &["m-Q4_0.gguf", "mmproj-BF16.gguf", "mmproj-F32.gguf", "mmproj-F16.gguf"],
            Some("mmproj-F16.gguf"),
        );
        check(
            &["m-vl-Q4_0.gguf", "mmproj-m-f16.gguf", "mmproj-m-vl-Q8_0.gguf", "mmproj-F16.gguf"],
            Some("mmproj-m-vl-Q8_0.gguf"),
        );
        check(&["m.gguf"], None);
        assert_eq!(beside(Path::new("/nowhere/at/all/m.gguf")), None);
    }

    #[test]
    fn a_projector_is_known_by_its_name() {
        for (name, expected) in [
            ("mmproj-a.gguf", true),
            ("a.MMPROJ-f16.GGUF", true),
            ("a-mmproj.gguf", true),
            ("mmproj.txt", false),
            ("a.gguf", false),
        ] {
            assert_eq!(is_projector(Path::new(name)), expected, "{name}");
        }
    }
}
