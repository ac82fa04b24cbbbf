//! Where a quantized file goes: beside its source, under the source's name with the new type in it; of a model of the
//! library into the models folder.

use std::path::{Path, PathBuf};

use planner::{gguf::split, recipe::Recipe};

use crate::exit::{self, Code};

/// The file that `recipe` makes of `source`, unless the person named one; a folder that was named gets it
/// under its usual name.
///
/// # Errors
/// With [`Code::Usage`] when a name was given that no hub would find.
pub(crate) fn target(source: &Path, recipe: Recipe, out: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = source.file_name().unwrap_or_default().to_string_lossy();
    let usual = usual(&file, recipe);
    let target = match out {
        None => source.with_file_name(usual),
        Some(folder) if folder.is_dir() => folder.join(usual),
        Some(file) => checked(file)?,
    };
    Ok(std::path::absolute(target)?)
}

/// Where a model of the library would lie if it were a plain file of the models folder: what is made of it is one, and
/// what lies in the library is no file of the person's.
pub(crate) fn in_folder(model: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{}.gguf", model.replace(['/', ':'], "-")))
}

/// A file of the person's choice.
///
/// # Errors
/// With [`Code::Usage`] when it is not named as a model.
pub(crate) fn checked(file: &Path) -> anyhow::Result<PathBuf> {
    let is_model = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    if is_model {
        return Ok(file.to_owned());
    }
    let message = format!("--out {} does not end in .gguf, as models' files do", file.display());
    Err(exit::error(Code::Usage, message))
}

/// `qwen3-8b-q4_k_m.gguf` of `qwen3-8b-f16.gguf`, in the case that the name has.
fn usual(file: &str, recipe: Recipe) -> String {
    let whole = split::Part::of(file).map(|part| part.stem);
    let stem = whole.or_else(|| file.strip_suffix(".gguf")).unwrap_or(file);
    let ending = ['-', '.'].into_iter().find_map(|mark| {
        let (front, kind) = stem.rsplit_once(mark)?;
        Recipe::from_name(kind).is_some().then_some((front, mark, kind))
    });
    let (front, mark, kind) = ending.unwrap_or((stem, '-', ""));
    let has_capitals = kind.chars().any(|letter| letter.is_ascii_uppercase());
    let name = recipe.name();
    let name = if has_capitals { name.to_owned() } else { name.to_lowercase() };
    format!("{front}{mark}{name}.gguf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_in_the_name_is_the_new_one() {
        for (file, expected) in [
            ("qwen3-8b.gguf", "qwen3-8b-q4_k_m.gguf"),
            ("qwen3-8b-f16.gguf", "qwen3-8b-q4_k_m.gguf"),
            ("Qwen3-8B-BF16.gguf", "Qwen3-8B-Q4_K_M.gguf"),
            ("gemma-3-4b-it.Q8_0.gguf", "gemma-3-4b-it.Q4_K_M.gguf"),
            ("m-f16-00001-of-00003.gguf", "m-q4_k_m.gguf"),
            ("llama-3.2.gguf", "llama-3.2-q4_k_m.gguf"),
            ("odd", "odd-q4_k_m.gguf"),
        ] {
            assert_eq!(usual(file, Recipe::Q4_K_M), expected);
        }
    }

    #[test]
    fn what_is_made_of_a_model_of_the_library_is_a_file_of_the_models_folder() {
        for (model, expected) in [
            ("qwen3-8b", "qwen3-8b-q4_k_m.gguf"),
            ("m:q8_0", "m-q4_k_m.gguf"),
            ("hf.co/Qwen/Qwen3-8B-GGUF:F16", "hf.co-Qwen-Qwen3-8B-GGUF-Q4_K_M.gguf"),
        ] {
            let place = in_folder(model, Path::new("/models"));
            let target = target(&place, Recipe::Q4_K_M, None).unwrap();
            assert_eq!(target, std::path::absolute(Path::new("/models").join(expected)).unwrap());
        }
    }

    #[test]
    fn a_named_file_a_folder_or_beside_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("x-f16.gguf");
        let target = |out| target(&source, Recipe::Q8_0, out).unwrap();
        assert_eq!(target(None), folder.path().join("x-q8_0.gguf"));
        assert_eq!(target(Some(folder.path())), folder.path().join("x-q8_0.gguf"));
        let named = folder.path().join("y.GGUF");
        assert_eq!(target(Some(&named)), named);
        let message = checked(Path::new("y.bin")).unwrap_err().to_string();
        assert!(message.contains("--out y.bin does not end in .gguf"), "{message}");
    }
}
