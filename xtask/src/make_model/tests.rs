//! Made models, read back with the planner's reader.

use clap::ValueEnum;
use planner::gguf;

use super::*;

fn arguments(folder: &Path, arch: Architecture, like: &str, quant: &str) -> Arguments {
    Arguments {
        arch: Some(arch),
        like: like.to_owned(),
        layers: None,
        quant: quant.to_owned(),
        seed: 1,
        infill: false,
        projector: None,
        adapter: None,
        header_only: false,
        out: folder.join("model.gguf"),
    }
}

fn make(arguments: &Arguments) -> Vec<u8> {
    run(arguments).unwrap();
    fs::read(&arguments.out).unwrap()
}

#[test]
fn every_tiny_model_in_every_encoding_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, generates) in [
        (Architecture::Llama, true),
        (Architecture::Qwen3, true),
        (Architecture::Qwen3vl, true),
        (Architecture::Qwen3moe, true),
        (Architecture::Gemma3, true),
        (Architecture::Qwen35, true),
        (Architecture::Lfm2, true),
        (Architecture::Granitehybrid, true),
        (Architecture::Mamba, true),
        (Architecture::Mamba2, true),
        (Architecture::Bert, false),
    ] {
        for quant in ["f32", "f16", "q8_0", "Q4_0"] {
            let bytes = make(&arguments(folder.path(), arch, "tiny", quant));
            let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
            assert_eq!(header.architecture(), arch.name());
            assert_eq!(header.quantization(), quant.to_ascii_uppercase());
            assert_eq!(header.generates(), generates);
            assert_eq!(header.data_offset + header.tensor_bytes(), bytes.len() as u64);
            assert_eq!(header.vocabulary_tokens(), 1024);
            assert_eq!(header.chat_template().is_some(), generates);
            if quant != "f32" {
                let mib = bytes.len() >> 20;
                assert!(mib < 6, "{} {quant} has {mib} MiB", arch.name());
            }
        }
    }
}

#[test]
fn a_reranker_has_a_head_and_no_other_model_has_one() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, head) in [
        (
            Architecture::Bert,
            &["cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"][..],
        ),
        (Architecture::Qwen3, &["cls.output.weight"]),
    ] {
        for (like, expected) in [("tiny", &[][..]), ("tiny-reranker", head)] {
            let bytes = make(&arguments(folder.path(), arch, like, "q8_0"));
            let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
            let names = header.tensors.iter().map(|tensor| tensor.name.as_str());
            let found: Vec<&str> = names.filter(|name| name.starts_with("cls")).collect();
            assert_eq!((found.as_slice(), header.ranks()), (expected, like == "tiny-reranker"));
        }
    }
}

#[test]
fn an_adapter_belongs_to_its_model_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let header = |arch, like: &str, adapter| {
        let bytes = make(&Arguments { adapter, ..arguments(folder.path(), arch, like, "f32") });
        gguf::parse(&bytes, bytes.len() as u64).unwrap()
    };
    let made = header(Architecture::Qwen3, "tiny", Some(4));
    assert!(!made.is_model());
    assert_eq!(made.tensors.len(), 2 * 7 * 2, "two factors of seven matrices of two layers");
    planner::adapter::check(&header(Architecture::Qwen3, "tiny", None), &made).unwrap();
    for (arch, like) in [(Architecture::Llama, "tiny"), (Architecture::Qwen3, "small")] {
        planner::adapter::check(&header(arch, like, None), &made).unwrap_err();
    }
}

#[test]
fn the_same_arguments_give_the_same_bytes_and_another_seed_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let one = arguments(folder.path(), Architecture::Qwen3, "tiny", "q8_0");
    let first = make(&one);
    assert!(first == make(&one), "the bytes differ between two runs");
    // Whoever changes this figure changes every number that was measured on such a model.
    assert_eq!(fingerprint(&first), 3_857_673_076_480_068_929);
    assert!(first != make(&Arguments { seed: 2, ..one }), "the seed has no effect");
}

fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn header_only_has_the_full_length_and_the_same_header() {
    let folder = tempfile::tempdir().unwrap();
    let whole = arguments(folder.path(), Architecture::Qwen3, "tiny", "q8_0");
    let expected = make(&whole);
    let found = make(&Arguments { header_only: true, ..whole });
    let parsed = gguf::parse(&expected, expected.len() as u64).unwrap();
    let data = usize::try_from(parsed.data_offset).unwrap();
    assert_eq!(found.len(), expected.len());
    assert!(found[..data] == expected[..data], "the headers differ");
}

#[test]
fn a_model_of_any_size_has_a_header_that_takes_little_room() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = Arguments {
        header_only: true,
        ..arguments(folder.path(), Architecture::Qwen3moe, "qwen3-30b-a3b", "q8_0")
    };
    run(&arguments).unwrap();
    let file_bytes = fs::metadata(&arguments.out).unwrap().len();
    assert!(file_bytes > 32_000_000_000);
    let mut prefix = vec![0; 16 << 20];
    std::io::Read::read_exact(&mut fs::File::open(&arguments.out).unwrap(), &mut prefix).unwrap();
    let header = gguf::parse(&prefix, file_bytes).unwrap();
    assert_eq!(header.parameters(), 30_532_122_624);
    assert_eq!(header.tensor_bytes(), 32_477_962_240);
}

#[test]
fn layers_can_be_fewer_than_the_real_ones() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = Arguments {
        layers: Some(1),
        ..arguments(folder.path(), Architecture::Llama, "tiny", "f16")
    };
    let bytes = make(&arguments);
    assert_eq!(gguf::parse(&bytes, bytes.len() as u64).unwrap().layers(), 1);
}

#[test]
fn a_failure_leaves_the_old_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = arguments(folder.path(), Architecture::Qwen3, "tiny", "ud-q4_k_xl");
    arguments.header_only = true;
    fs::write(&arguments.out, "old").unwrap();
    let message = run(&arguments).unwrap_err().to_string();
    assert!(message.contains("--header-only knows no quantization `ud-q4_k_xl`"), "{message}");
    assert_eq!(fs::read(&arguments.out).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn headers_know_every_recipe_and_every_model_of_the_catalogue() {
    let folder = tempfile::tempdir().unwrap();
    let header = |like: &str, arch: Option<Architecture>, quant: &str| {
        let arguments = Arguments {
            arch,
            header_only: true,
            ..arguments(folder.path(), Architecture::Qwen3, like, quant)
        };
        run(&arguments).unwrap();
        let file_bytes = fs::metadata(&arguments.out).unwrap().len();
        let mut prefix = Vec::new();
        let file = fs::File::open(&arguments.out).unwrap();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, 16 << 20), &mut prefix).unwrap();
        let header = gguf::parse(&prefix, file_bytes).unwrap();
        assert_eq!(file_bytes, header.data_offset + header.tensor_bytes());
        header
    };
    // Our own shape keeps its vocabulary, whatever the recipe.
    let own = header("qwen3-8b", Some(Architecture::Qwen3), "q4_k_m");
    assert_eq!(own.tensor_bytes(), 5_021_827_072);
    assert_eq!(own.quantization(), "Q4_K_M");
    assert!(own.chat_template().is_some());
    // A model of the catalogue has none, and says so to llama.cpp.
    let known = header("qwen3.6-27b", None, "q6_k");
    assert_eq!(known.tensor_bytes(), 22_071_535_616);
    assert_eq!(known.str("tokenizer.ggml.model"), Some("no_vocab"));
    assert_eq!(known.arch_u64("vocab_size"), Some(248_320));
    assert_eq!(header("phi-4-mini", None, "iq4_xs").architecture(), "phi3");
    // The architecture may be given for both.
    assert_eq!(header("phi-4-mini", None, "q8_0").layers(), 32);
    let known = header("mistral-small-24b", Some(Architecture::Llama), "q4_k_m");
    assert_eq!(known.parameters(), 23_572_403_200);
}

#[test]
fn what_cannot_be_made_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arch, like: &str, layers, header_only| {
        let base = arguments(folder.path(), Architecture::Qwen3, like, "q8_0");
        let arguments = Arguments { arch, layers, header_only, ..base };
        run(&arguments).unwrap_err().to_string()
    };
    let message = refused(None, "tiny", None, true);
    assert!(message.contains("give --arch"), "{message}");
    let message = refused(None, "gpt-oss-20b", None, false);
    assert!(message.contains("only a header can be made"), "{message}");
    let message = refused(None, "gpt-oss-20b", Some(2), true);
    assert!(message.contains("leave --layers out"), "{message}");
    let message = refused(None, "qwen3-9b", None, true);
    assert!(message.contains("did you mean"), "{message}");
    let message = refused(Some(Architecture::Llama), "qwen3-8b", None, true);
    assert!(message.contains("--arch qwen3)"), "{message}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_projector_is_for_the_model_of_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for kind in projector::Kind::value_variants() {
        let kind = *kind;
        let model = arguments(folder.path(), Architecture::Gemma3, "tiny", "f16");
        let bytes = make(&Arguments { projector: Some(kind), ..model });
        let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
        assert_eq!(header.architecture(), "clip");
        assert!(!header.is_model(), "nobody offers it as one");
        let sense = if kind == projector::Kind::Ultravox { "audio" } else { "vision" };
        assert_eq!(header.u64(&format!("clip.{sense}.projection_dim")), Some(256));
        assert_eq!(header.bool(&format!("clip.has_{sense}_encoder")), Some(true));
        assert_eq!(header.data_offset + header.tensor_bytes(), bytes.len() as u64);
        let widths = header.tensors.iter().filter(|tensor| tensor.name.starts_with("mm."));
        assert!(widths.flat_map(|tensor| tensor.dimensions).any(|width| width == 256));
    }
}
