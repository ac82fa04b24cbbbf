//! Models of several architectures, quantized by llama.cpp and held against what was foretold.

use std::collections::BTreeMap;

use planner::gguf::{Header, Value, write};

use super::*;
use crate::exact::models;

/// Full attention and mixed experts, of which all types are tried.
const ARCHITECTURES: [&str; 2] = ["llama", "qwen3moe"];

/// Sliding windows with a tied output, delta nets, state spaces: types with many rules are enough.
const OTHER_ARCHITECTURES: [&str; 3] = ["gemma3", "qwen35", "granitehybrid"];
const RULED: [Recipe; 4] = [Recipe::Q4_K_M, Recipe::Q4_0, Recipe::IQ3_XXS, Recipe::Q2_K];

fn job<'a>(source: &'a Path, target: &'a Path, kind: &'a str, matrix: Option<&'a Path>) -> Job<'a> {
    Job { source, target, kind, matrix, may_requantize: false }
}

/// A matrix in the older form, with values that differ from column to column.
fn matrix_of(header: &Header) -> Vec<u8> {
    let matrices = header.tensors.iter().filter(|tensor| {
        tensor.dimensions[1] > 1
            && tensor.name.ends_with(".weight")
            && !recipe::embeds(&tensor.name)
    });
    let mut entries = Vec::new();
    for tensor in matrices.clone() {
        entries.extend((tensor.name.len() as u32).to_le_bytes());
        entries.extend(tensor.name.as_bytes());
        let columns = (tensor.dimensions[0] * tensor.dimensions[2]) as u32;
        entries.extend(1_u32.to_le_bytes());
        entries.extend(columns.to_le_bytes());
        let values = (0..columns).map(|column| 0.5 + f32::from((column * 37 % 101) as u16));
        entries.extend(values.flat_map(f32::to_le_bytes));
    }
    [(matrices.count() as u32).to_le_bytes().to_vec(), entries].concat()
}

/// The same matrix as GGUF, its sums over four pieces of text.
fn as_gguf(older: &Matrix) -> Vec<u8> {
    let (mut tensors, mut data) = (Vec::new(), Vec::new());
    for (name, values) in &older.entries {
        for (ending, numbers) in [
            (".counts", vec![4.0]),
            (".in_sum2", values.iter().map(|value| value * 4.0).collect::<Vec<f32>>()),
        ] {
            let length = numbers.len() as u64;
            tensors.push(Tensor {
                name: format!("{name}{ending}"),
                dimensions: [length, 1, 1, 1],
                kind: planner::gguf::TensorType::F32,
                offset: data.len() as u64,
                bytes: length * 4,
            });
            data.extend(numbers.into_iter().flat_map(f32::to_le_bytes));
            data.resize(data.len().next_multiple_of(32), 0);
        }
    }
    let keys = [
        ("general.type", Value::String("imatrix".to_owned())),
        ("imatrix.chunk_count", Value::Unsigned(4)),
    ];
    let keys = keys.iter().map(|(key, value)| (*key, value));
    [write::ordered(3, keys, &tensors, 32).unwrap(), data].concat()
}

/// What is in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Why the job is refused, after which its folder is as it was.
#[track_caller]
fn refused(job: &Job<'_>, parts: &[&str]) {
    let folder = folder_of(job.target);
    let before = names(&folder);
    let message = run(job).unwrap_err();
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    assert_eq!(names(&folder), before, "{message}");
}

#[test]
fn every_type_of_every_architecture_is_what_was_foretold_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let all = ARCHITECTURES.map(|architecture| (architecture, Recipe::all().collect::<Vec<_>>()));
    let some = OTHER_ARCHITECTURES.map(|architecture| (architecture, RULED.to_vec()));
    for (architecture, recipes) in all.into_iter().chain(some) {
        let source = models::made(architecture, "f32", folder.path());
        let whole = header::read_whole(&source).unwrap();
        let matrix = folder.path().join("matrix.dat");
        fs::write(&matrix, matrix_of(&whole.header)).unwrap();
        for recipe in recipes {
            for measured in [false, true] {
                let wish = Wish { recipe, measured, may_requantize: false };
                let target = folder.path().join("made.gguf");
                let matrix = measured.then_some(matrix.as_path());
                let job = job(&source, &target, recipe.name(), matrix);
                let made = match recipe::rewrite(&whole.header, wish) {
                    Ok(made) => made,
                    Err(refusal) => {
                        refused(&job, &[&refusal.to_string(), "--imatrix"]);
                        continue;
                    }
                };
                run(&job).unwrap_or_else(|why| panic!("{architecture} {}: {why}", recipe.name()));
                let found = header::read_whole(&target).unwrap();
                assert_eq!(
                    found.header.tensors,
                    made,
                    "{architecture} {} {measured}",
                    recipe.name()
                );
                let file_type = found.header.u64("general.file_type");
                assert_eq!(file_type, Some(recipe.file_type().into()), "{}", recipe.name());
                let foretold = recipe::file_bytes(&whole.header, whole.file_bytes, &made);
                let difference = found.file_bytes.abs_diff(foretold);
                assert!(difference < 512, "{architecture} {}: {difference}", recipe.name());
            }
        }
    }
}

#[test]
fn a_matrix_changes_what_is_written_and_its_form_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = models::made("qwen3moe", "f16", folder.path());
    let older = matrix_of(&header::read_whole(&source).unwrap().header);
    fs::write(path("older.dat"), &older).unwrap();
    fs::write(path("newer.gguf"), as_gguf(&Matrix::read(&older).unwrap())).unwrap();
    let data = |matrix: Option<&str>| {
        let (matrix, target) = (matrix.map(path), path("made.gguf"));
        run(&job(&source, &target, "q4_k_m", matrix.as_deref())).unwrap();
        let made = header::read_whole(&target).unwrap();
        let begin = usize::try_from(made.header.data_offset).unwrap();
        (fs::read(&target).unwrap()[begin..].to_vec(), made.header)
    };
    let (plain, plain_header) = data(None);
    let (measured, header) = data(Some("older.dat"));
    let (newer, newer_header) = data(Some("newer.gguf"));
    assert_ne!(plain, measured);
    assert!(measured == newer, "the same matrix in another form");
    assert_eq!(plain_header.tensors, header.tensors);
    assert_eq!(header.str("quantize.imatrix.file"), Some("older.dat"));
    assert_eq!(newer_header.u64("quantize.imatrix.chunks_count"), Some(4));
    assert_eq!(plain_header.str("quantize.imatrix.file"), None);
    // What was written can be loaded.
    models::load(&path("made.gguf"), "f16", 1);
}

#[test]
fn a_matrix_of_another_model_or_of_none_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = models::made("llama", "f16", folder.path());
    let other = models::made("gemma3", "f16", folder.path());
    let own = matrix_of(&header::read_whole(&source).unwrap().header);
    let foreign = matrix_of(&header::read_whole(&other).unwrap().header);
    let mut some = Matrix::read(&own).unwrap();
    some.entries.remove("blk.1.ffn_up.weight");
    for (name, bytes) in [
        ("foreign.dat", foreign),
        ("cut.dat", own[..own.len() / 2].to_vec()),
        ("some.gguf", as_gguf(&some)),
        ("page.html", b"<html>Not found</html>".to_vec()),
    ] {
        fs::write(path(name), bytes).unwrap();
    }
    let target = path("made.gguf");
    for (matrix, kind, parts) in [
        ("foreign.dat", "q4_k_m", ["foreign.dat is the matrix of another model", "`blk."]),
        ("cut.dat", "q4_k_m", ["cut.dat is damaged", "it ends within entry"]),
        ("some.gguf", "iq2_xs", ["nothing of `blk.1.ffn_up.weight`", "IQ2_XS"]),
        ("page.html", "q4_k_m", ["page.html is no importance matrix", "llama-imatrix"]),
        ("gone.dat", "q4_k_m", ["gone.dat cannot be read", ""]),
    ] {
        refused(&job(&source, &target, kind, Some(&path(matrix))), &parts);
    }
    refused(&job(&source, &target, "q4_k_m", Some(&source)), &["is no importance matrix"]);
    refused(&job(&source, &target, "q4_k_m", Some(folder.path())), &["is not a file"]);
    // Without the one tensor the others still gain.
    run(&job(&source, &target, "q4_k_m", Some(&path("some.gguf")))).unwrap();
}

#[test]
fn what_cannot_be_quantized_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = models::made("llama", "f16", folder.path());
    let target = path("made.gguf");
    refused(&job(&source, &target, "q9", None), &["unknown type q9", "q4_k_m, q4_k_s"]);
    refused(&job(&source, &source, "q8_0", None), &["is the model itself"]);
    refused(&job(&path("gone.gguf"), &target, "q8_0", None), &["gone.gguf cannot be read"]);
    refused(&job(folder.path(), &target, "q8_0", None), &["is not a file"]);
    run(&job(&source, &target, "q8_0", None)).unwrap();
    let again = job(&target, &path("again.gguf"), "q4_0", None).target.to_owned();
    refused(&job(&target, &again, "q4_0", None), &["made.gguf has weights", "--allow-requantize"]);
    run(&Job { may_requantize: true, ..job(&target, &again, "q4_0", None) }).unwrap();
    // A model whose numbers are none: llama.cpp refuses it with a part of the file written.
    let whole = header::read_whole(&source).unwrap().header;
    let bad = whole.tensors.iter().rev().find(|tensor| tensor.name.ends_with("ffn_up.weight"));
    let place = usize::try_from(whole.data_offset + bad.unwrap().offset).unwrap();
    let mut bytes = fs::read(&source).unwrap();
    bytes[place..place + 256].fill(0xff);
    fs::write(path("bad.gguf"), bytes).unwrap();
    let bad = path("bad.gguf");
    refused(&job(&bad, &path("worse.gguf"), "q4_k_m", None), &["cannot quantize", "bad.gguf"]);
}

#[test]
fn a_target_that_exists_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let source = models::made("llama", "f16", folder.path());
    let target = folder.path().join("made.gguf");
    fs::write(&target, "what was there").unwrap();
    run(&job(&source, &target, "q8_0", None)).unwrap();
    assert_eq!(header::read_whole(&target).unwrap().header.quantization(), "Q8_0");
    assert_eq!(names(folder.path()).len(), 2, "{:?}", names(folder.path()));
}

#[test]
fn a_model_in_parts_becomes_what_the_whole_one_becomes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = models::made("llama", "f16", folder.path());
    let mut whole = header::read_whole(&source).unwrap().header;
    let bytes = fs::read(&source).unwrap();
    let data = &bytes[usize::try_from(whole.data_offset).unwrap()..];
    // The vocabulary is of no matter here, and its content was not kept.
    whole.metadata.retain(|key, _| !key.starts_with("tokenizer."));
    let write_part = |name: &str, metadata: BTreeMap<String, Value>, tensors: &[Tensor]| {
        let first = tensors.first().unwrap().offset;
        let last = tensors.last().unwrap();
        let tensors =
            tensors.iter().map(|one| Tensor { offset: one.offset - first, ..one.clone() });
        let part = Header { metadata, tensors: tensors.collect(), ..whole.clone() };
        let mut bytes = write::write(&part).unwrap();
        let range =
            usize::try_from(first).unwrap()..usize::try_from(last.offset + last.bytes).unwrap();
        bytes.extend(&data[range]);
        fs::write(path(name), bytes).unwrap();
    };
    write_part("whole.gguf", whole.metadata.clone(), &whole.tensors);
    let (front, back) = whole.tensors.split_at(whole.tensors.len() / 2);
    for (index, tensors) in [front, back].into_iter().enumerate() {
        let mut metadata = if index == 0 { whole.metadata.clone() } else { BTreeMap::new() };
        metadata.insert("split.no".to_owned(), Value::Unsigned(index as u64));
        metadata.insert("split.count".to_owned(), Value::Unsigned(2));
        let all = i64::try_from(whole.tensors.len()).unwrap();
        metadata.insert("split.tensors.count".to_owned(), Value::Signed(all));
        write_part(&format!("m-{:05}-of-00002.gguf", index + 1), metadata, tensors);
    }
    let made = |source: &str| {
        let target = path("made.gguf");
        run(&job(&path(source), &target, "q4_k_m", None)).unwrap();
        fs::read(target).unwrap()
    };
    let expected = made("whole.gguf");
    assert!(made("m-00001-of-00002.gguf") == expected);
    assert!(made("m-00002-of-00002.gguf") == expected, "whichever part is named");
    fs::remove_file(path("m-00002-of-00002.gguf")).unwrap();
    let first = path("m-00001-of-00002.gguf");
    refused(&job(&first, &path("x.gguf"), "q4_k_m", None), &["m-00002-of-00002.gguf cannot be"]);
}

#[test]
fn the_real_model_is_quantized_too() {
    let Some(source) = models::real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("made.gguf");
    for kind in ["q8_0", "q4_k_m"] {
        run(&job(&source, &target, kind, None)).unwrap();
        models::load(&target, "f16", 1);
    }
}

#[test]
fn words_are_a_job_or_are_not() {
    let parse = |words: &[&'static str]| Job::parse(words);
    let plain = job(Path::new("a"), Path::new("b"), "q4_0", None);
    assert_eq!(parse(&["a", "b", "q4_0"]), Some(plain));
    let all = Job {
        matrix: Some(Path::new("m")),
        may_requantize: true,
        ..job("a".as_ref(), "b".as_ref(), "q4_0", None)
    };
    assert_eq!(parse(&["--imatrix", "m", "a", "b", "--allow-requantize", "q4_0"]), Some(all));
    for words in [
        &["a", "b"][..],
        &["a", "b", "c", "d"],
        &["a", "b", "c", "--imatrix"],
        &["--x", "a", "b", "c"],
    ] {
        assert_eq!(parse(words), None, "{words:?}");
    }
}
