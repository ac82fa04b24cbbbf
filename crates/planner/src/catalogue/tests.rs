//! The built-in catalogue against published figures.

use super::*;
use crate::{
    gguf,
    recipe::{Conditions, Recipe},
    tensors,
};

/// Data of a file by recipe, in the order of [`RECIPES`]. Source: llama.cpp's
/// `llama_quant_compute_types`, run over the shapes of the models.
///
/// Quantizing leaves `altup_router` of Gemma 3n as the file had it before. The run had it in 32 bits,
/// which made its figures larger by 35 layers x 2048 x 4 x 2 bytes than these; published files have it
/// in 16, as `headers_of_two_gemma_3n_differ_by_their_tables` shows.
const DATA_BYTES: [(&str, [u64; 6]); 10] = [
    (
        "qwen3-30b-a3b",
        [
            11_252_639_744,
            17_298_520_064,
            18_550_716_416,
            21_719_611_392,
            25_086_562_304,
            32_477_962_240,
        ],
    ),
    (
        "qwen3-coder-30b-a3b",
        [
            11_252_639_744,
            17_298_520_064,
            18_550_716_416,
            21_719_611_392,
            25_086_562_304,
            32_477_962_240,
        ],
    ),
    (
        "qwen3-32b",
        [
            12_338_676_736,
            18_631_576_576,
            19_756_174_336,
            23_208_856_576,
            26_877_331_456,
            34_811_744_256,
        ],
    ),
    (
        "qwen3.6-27b",
        [
            10_700_670_976,
            15_465_875_456,
            16_536_406_016,
            19_220_105_216,
            22_071_535_616,
            28_584_769_536,
        ],
    ),
    (
        "qwen3.6-35b-a3b",
        [
            12_928_604_672,
            19_704_064_512,
            21_155_768_832,
            24_718_141_952,
            28_503_163_392,
            36_892_150_272,
        ],
    ),
    (
        "deepseek-r1-0528-qwen3-8b",
        [3_275_776_000, 4_768_792_576, 5_021_827_072, 5_845_155_840, 6_719_942_656, 8_703_561_728],
    ),
    (
        "gemma-3n-e4b",
        [3_906_807_744, 4_684_392_384, 4_836_050_880, 5_253_384_128, 5_696_800_704, 7_346_726_848],
    ),
    (
        "deepseek-coder-1.3b",
        [558_546_944, 774_766_592, 872_284_160, 1_000_669_184, 1_170_366_464, 1_430_921_216],
    ),
    (
        "mistral-7b-v0.3",
        [2_722_119_680, 4_112_531_456, 4_372_054_016, 5_135_417_344, 5_946_490_880, 7_701_807_104],
    ),
    (
        "qwen1.5-7b",
        [3_097_874_432, 4_505_956_352, 4_761_153_536, 5_524_713_472, 6_335_995_904, 8_205_844_480],
    ),
];

const RECIPES: [Recipe; 6] =
    [Recipe::Q2_K, Recipe::Q4_0, Recipe::Q4_K_M, Recipe::Q5_K_M, Recipe::Q6_K, Recipe::Q8_0];

/// Data without an importance matrix, which is how the table was made.
fn data_bytes(entry: &Entry, recipe: Recipe) -> u64 {
    let shapes = entry.shapes().unwrap();
    let tensors = crate::recipe::tensors(&entry.metadata, &shapes, recipe, Conditions::default());
    tensors.iter().map(|tensor| tensor.bytes.next_multiple_of(32)).sum()
}

#[test]
fn data_of_every_recipe_has_the_bytes_that_llama_cpp_gives_it() {
    for (name, expected) in DATA_BYTES {
        let entry = builtin().find(name).unwrap();
        let found = RECIPES.map(|recipe| data_bytes(entry, recipe));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn weights_are_as_many_as_published() {
    let mut wrong = Vec::new();
    for entry in builtin().entries() {
        let Ok(shapes) = entry.shapes() else { continue };
        let found: u64 = shapes.iter().map(tensors::Shape::elements).sum();
        let expected = entry.parameters.checked_add_signed(entry.parameters_difference).unwrap();
        if found != expected {
            wrong.push(format!("{}: {found}, published {expected}", entry.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lengths in repositories other than those of the catalogue: file listings of Qwen/Qwen3-4B-GGUF at
/// bc640142, Qwen/Qwen3-8B-GGUF at 7c41481f, Qwen/Qwen3-14B-GGUF at 530227a7 (Hugging Face).
const OTHER_FILES: [(&str, Recipe, u64); 15] = [
    ("qwen3-4b", Recipe::Q8_0, 4_280_404_704),
    ("qwen3-4b", Recipe::Q6_K, 3_306_260_704),
    ("qwen3-4b", Recipe::Q5_K_M, 2_889_513_184),
    ("qwen3-4b", Recipe::Q5_0, 2_823_710_976),
    ("qwen3-4b", Recipe::Q4_K_M, 2_497_280_256),
    ("qwen3-8b", Recipe::Q8_0, 8_709_518_112),
    ("qwen3-8b", Recipe::Q6_K, 6_725_899_040),
    ("qwen3-8b", Recipe::Q5_K_M, 5_851_112_224),
    ("qwen3-8b", Recipe::Q5_0, 5_720_761_152),
    ("qwen3-8b", Recipe::Q4_K_M, 5_027_783_488),
    ("qwen3-14b", Recipe::Q8_0, 15_698_533_728),
    ("qwen3-14b", Recipe::Q6_K, 12_121_937_248),
    ("qwen3-14b", Recipe::Q5_K_M, 10_514_569_568),
    ("qwen3-14b", Recipe::Q5_0, 10_263_894_400),
    ("qwen3-14b", Recipe::Q4_K_M, 9_001_752_960),
];

#[test]
fn files_that_qwen_published_have_the_same_header_in_every_recipe() {
    for (name, recipe, file_bytes) in OTHER_FILES {
        let rest = file_bytes - data_bytes(builtin().find(name).unwrap(), recipe);
        // The vocabulary and the table of tensors: the same in all.
        assert!((5_955_000..5_962_000).contains(&rest), "{name} {}: {rest}", recipe.name());
    }
}

#[test]
fn published_files_are_as_long_as_their_data_and_a_header() {
    // The vocabulary makes the header: 30,000 word pieces at least, 262,144 tokens at most.
    const HEADER_BYTES_MIN: u64 = 300_000;
    const HEADER_BYTES_MAX: u64 = 15_000_000;
    // In one repository only names and what the quantizer says of itself differ.
    const DIFFERENCE_BYTES_MAX: u64 = 1000;
    let mut wrong = Vec::new();
    let mut compared = 0;
    for entry in builtin().entries() {
        let mut header_bytes = None;
        for quantization in &entry.quantizations {
            let (Some(file_bytes), Some(_)) = (quantization.file_bytes, quantization.recipe) else {
                continue;
            };
            let data = entry.header(&quantization.name).unwrap().tensor_bytes();
            let rest = file_bytes.saturating_sub(data);
            let first = *header_bytes.get_or_insert(rest);
            let differs = rest.abs_diff(first) > DIFFERENCE_BYTES_MAX;
            if differs || !(HEADER_BYTES_MIN..HEADER_BYTES_MAX).contains(&rest) {
                let (model, name) = (&entry.name, &quantization.name);
                wrong.push(format!("{model} {name}: {data} of {file_bytes}"));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared >= 270, "{compared}");
}

/// Between the published lengths of E4B and E2B lies the difference of their data and of their tables
/// of tensors, and nothing of the vocabulary, which is the same. Were one tensor of each layer kept in
/// another type than here, the rest would not fit.
#[test]
fn headers_of_two_gemma_3n_differ_by_their_tables() {
    let rest = |name: &str| {
        let entry = builtin().find(name).unwrap();
        let header = entry.header("Q8_0").unwrap();
        let file_bytes = entry.quantization("Q8_0").unwrap().file_bytes.unwrap();
        file_bytes - header.tensor_bytes() - header.data_offset
    };
    // Some keys have one number for each layer: five layers, a few bytes each, and the alignment.
    assert!(rest("gemma-3n-e4b").abs_diff(rest("gemma-3n-e2b")) <= 64);
}

#[test]
fn a_publishers_mix_has_about_the_bytes_of_its_file() {
    let mut compared = 0;
    for entry in builtin().entries().iter().filter(|entry| entry.architecture != "whisper") {
        for quantization in entry.quantizations.iter().filter(|one| one.recipe.is_none()) {
            let header = entry.header(&quantization.name).unwrap();
            let file_bytes = quantization.file_bytes.unwrap();
            let header_bytes = entry.published_header_bytes(&entry.shapes().unwrap());
            let wanted = file_bytes - header_bytes.unwrap_or(0);
            let missing = wanted.abs_diff(header.tensor_bytes());
            let (model, name) = (&entry.name, &quantization.name);
            // A small model has few tensors to choose from, but a megabyte changes no plan.
            let allowed_bytes = (file_bytes / 1000).max(1 << 20);
            assert!(missing <= allowed_bytes, "{model} {name}: {missing}");
            compared += 1;
        }
    }
    assert!(compared >= 90, "{compared}");
}

#[test]
fn every_header_is_read_back_as_it_is() {
    for entry in builtin().entries() {
        // One recipe and the mixes: other recipes differ in types alone.
        let mixes = entry.quantizations.iter().filter(|one| one.recipe.is_none());
        for quantization in entry.quantizations.iter().take(1).chain(mixes) {
            let Ok(header) = entry.header(&quantization.name) else {
                assert_eq!(entry.architecture, "whisper");
                continue;
            };
            let bytes = gguf::write::write(&header).unwrap();
            let file_bytes = header.data_offset + header.tensor_bytes();
            let read = gguf::parse(&bytes, file_bytes).unwrap_or_else(|error| {
                panic!("{} {}: {error}", entry.name, quantization.name);
            });
            assert_eq!(read.tensors, header.tensors);
            assert_eq!(read.data_offset, header.data_offset);
            assert_eq!(read.architecture(), entry.architecture);
            assert!(read.context_trained_tokens().is_some());
            assert!(read.vocabulary_tokens() > 1000);
            let generates = !matches!(entry.kind, Kind::Embedding | Kind::Rerank | Kind::Speech);
            assert_eq!(read.generates(), generates, "{}", entry.name);
            assert_eq!(read.ranks(), entry.kind == Kind::Rerank, "{}", entry.name);
        }
    }
}

#[test]
fn recipes_and_mixes_are_listed_from_most_bits_to_fewest() {
    for entry in builtin().entries() {
        let recipes: Vec<Recipe> =
            entry.quantizations.iter().filter_map(|one| one.recipe).collect();
        assert!(recipes.is_sorted(), "{}: {recipes:?}", entry.name);
        let mixes = entry.quantizations.iter().skip(recipes.len());
        let bytes: Vec<u64> = mixes.filter_map(|mix| mix.file_bytes).collect();
        assert_eq!(recipes.len() + bytes.len(), entry.quantizations.len(), "{}", entry.name);
        assert!(bytes.is_sorted_by(|one, next| one >= next), "{}: {bytes:?}", entry.name);
    }
}

#[test]
fn what_must_be_there_is_there() {
    for name in [
        "qwen3-0.6b",
        "qwen3-1.7b",
        "qwen3-4b",
        "qwen3-8b",
        "qwen3-14b",
        "qwen3-32b",
        "qwen3-30b-a3b",
        "qwen3-coder-30b-a3b",
        "qwen3.6-27b",
        "qwen3.6-35b-a3b",
        "deepseek-r1-0528-qwen3-8b",
        "gemma-3-270m",
        "gemma-3-1b",
        "gemma-3-4b",
        "gemma-3-12b",
        "gemma-3-27b",
        "gemma-3n-e2b",
        "gemma-3n-e4b",
        "deepseek-coder-1.3b",
        "mistral-7b-v0.3",
        "mistral-small-24b",
        "qwen1.5-7b",
        "qwen2.5-7b",
        "qwen2.5-coder-7b",
        "qwen2.5-14b",
        "qwen2.5-32b",
        "phi-3-mini",
        "phi-4",
        "phi-4-mini",
        "llama-3.1-8b",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "llama-3.3-70b",
        "gpt-oss-20b",
        "gpt-oss-120b",
        "bge-m3",
        "bge-small-en",
        "bge-small-zh",
        "bge-large-en",
        "bge-large-zh",
        "minilm-l6",
        "qwen3-embedding-0.6b",
        "qwen3-reranker-0.6b",
        "bge-reranker-v2-m3",
        "whisper-large-v3",
        "whisper-large-v3-turbo",
    ] {
        assert_eq!(builtin().find(name).unwrap().name, name);
    }
}

#[test]
fn names_are_found_in_any_case_and_with_a_colon() {
    assert_eq!(builtin().find("Qwen3:8B").unwrap().name, "qwen3-8b");
    let message = builtin().find("qwen3-8").unwrap_err().to_string();
    assert!(message.contains("did you mean `qwen3-8b`"), "{message}");
    let message = builtin().find("zzzz").unwrap_err().to_string();
    assert!(message.contains("no model `zzzz`"), "{message}");
}

#[test]
fn a_quantization_that_is_not_there_is_answered_with_those_that_are() {
    let entry = builtin().find("gpt-oss-20b").unwrap();
    let message = entry.header("UD-Q4_K_XL").unwrap_err().to_string();
    assert_eq!(message, "`gpt-oss-20b` has no quantization `UD-Q4_K_XL`; there are: MXFP4_MOE");
    // Any recipe can be made from the shapes, published or not.
    assert!(entry.header("q8_0").is_ok());
}

#[test]
fn whisper_has_lengths_and_no_header() {
    let entry = builtin().find("whisper-large-v3").unwrap();
    let message = entry.header("F16").unwrap_err().to_string();
    assert!(message.contains("not a GGUF model: a file of whisper.cpp"), "{message}");
    assert_eq!(entry.quantization("F16").unwrap().file_bytes, Some(3_095_033_483));
    assert_eq!(entry.runtime_bytes, Some(3_900_000_000));
}

#[test]
fn wrong_catalogues_are_refused_with_the_place() {
    let head = "[[model]]\nname = \"a\"\ntitle = \"A\"\nkind = \"chat\"\nparameters = 1\n\
                licence = \"x\"\nrepository = \"o/r\"\nsources = \"s\"\n";
    for (text, expected) in [
        (format!("{head}colour = 1\n"), "unknown field `colour`"),
        (format!("{head}like = \"b\"\n"), "there is no model `b` before it"),
        (head.to_owned(), "it has no architecture"),
        (format!("{head}architecture = \"llama\"\n"), "published in no quantization"),
        (format!("{head}architecture = \"llama\"\nrecipes = [\"Q9\"]\n"), "`Q9` is no recipe"),
    ] {
        let message = Catalogue::parse(&text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn iq4_xs_with_an_importance_matrix_has_the_bytes_that_others_measured() {
    // 14.036 GiB of tensors in mradermacher/Qwen3.6-27B-i1-GGUF, by the model card of
    // sokann/Qwen3.6-27B-GGUF-4.256bpw (Hugging Face).
    let entry = builtin().find("qwen3.6-27b").unwrap();
    let shapes = entry.shapes().unwrap();
    let measured = Conditions { measured: true, older: false };
    let tensors = crate::recipe::tensors(&entry.metadata, &shapes, Recipe::IQ4_XS, measured);
    let bytes: u64 = tensors.iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(bytes * 1000 / (1 << 30), 14_036);
}
