//! Rules of recipes that the totals of real models do not show.

use super::*;
use crate::{catalogue::builtin, tensors::Shape};

fn shape(name: &str, dimensions: &[u64]) -> Shape {
    Shape { name: name.to_owned(), dimensions: dimensions.to_vec() }
}

fn types_of(name: &str, recipe: Recipe, measured: bool) -> BTreeMap<String, TensorType> {
    let header = builtin().find(name).unwrap().header(recipe.name()).unwrap();
    let shapes = builtin().find(name).unwrap().shapes().unwrap();
    let conditions = Conditions { measured, older: false };
    let types = types(&header.metadata, &shapes, recipe, conditions);
    shapes.into_iter().map(|shape| shape.name).zip(types).collect()
}

#[test]
fn rows_are_in_the_order_of_the_variants_and_names_lead_back() {
    for recipe in Recipe::all() {
        assert_eq!(recipe.row().0, recipe);
        assert_eq!(Recipe::from_name(&recipe.name().to_lowercase()), Some(recipe));
    }
    assert_eq!(Recipe::from_name("mxfp4"), Some(Recipe::MXFP4_MOE));
    assert_eq!(Recipe::from_name("UD-Q4_K_XL"), None);
}

#[test]
fn a_file_calls_itself_by_the_name_of_its_recipe() {
    let entry = builtin().find("qwen3-8b").unwrap();
    for recipe in Recipe::all().filter(|recipe| *recipe != Recipe::MXFP4_MOE) {
        assert_eq!(entry.header(recipe.name()).unwrap().quantization(), recipe.name());
    }
}

#[test]
fn q4_k_m_of_qwen3_6_27b_raises_the_layers_of_llama_cpps_own_snapshot() {
    // Source: tests/snapshots/qwen3.6-27b.schema of ggml-org/llama.cpp, which counts 65 layers.
    let types = types_of("qwen3.6-27b-mtp", Recipe::Q4_K_M, false);
    let raised = |part: &str| {
        let layers = (0..65).filter(|layer| {
            types.get(&format!("blk.{layer}.{part}.weight")) == Some(&TensorType::Q6_K)
        });
        layers.collect::<Vec<u32>>()
    };
    let downs = [
        0, 1, 2, 3, 4, 5, 6, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 43, 46, 49, 52, 55, 56,
        57, 58, 59, 60, 61, 62, 63, 64,
    ];
    assert_eq!(raised("ffn_down"), downs);
    assert_eq!(raised("attn_v"), [3, 7, 19, 31, 43, 55, 59, 63, 64]);
    assert_eq!(types["output.weight"], TensorType::Q6_K);
    assert_eq!(types["token_embd.weight"], TensorType::Q4_K);
    assert_eq!(types["blk.0.ssm_conv1d.weight"], TensorType::F32);
    assert_eq!(types["blk.0.ssm_alpha.weight"], TensorType::Q4_K);
}

#[test]
fn an_importance_matrix_changes_early_layers_of_q4_0() {
    let plain = types_of("qwen3-8b", Recipe::Q4_0, false);
    let measured = types_of("qwen3-8b", Recipe::Q4_0, true);
    assert_eq!(plain["blk.3.ffn_down.weight"], TensorType::Q4_0);
    assert_eq!(measured["blk.3.ffn_down.weight"], TensorType::Q4_1);
    assert_eq!(measured["blk.4.ffn_down.weight"], TensorType::Q4_0);
}

#[test]
fn values_of_a_70b_model_keep_five_bits() {
    let types = types_of("llama-3.3-70b", Recipe::Q3_K_M, false);
    assert_eq!(types["blk.40.attn_v.weight"], TensorType::Q5_K);
    let types = types_of("llama-3.1-8b", Recipe::Q3_K_M, false);
    assert_eq!(types["blk.16.attn_v.weight"], TensorType::Q4_K);
}

#[test]
fn mxfp4_is_for_experts_only() {
    let types = types_of("gpt-oss-20b", Recipe::MXFP4_MOE, false);
    assert_eq!(types["blk.0.ffn_up_exps.weight"], TensorType::MXFP4);
    assert_eq!(types["blk.0.attn_q.weight"], TensorType::Q8_0);
    assert_eq!(types["token_embd.weight"], TensorType::Q8_0);
    assert_eq!(types["blk.0.ffn_gate_inp.weight"], TensorType::F32);
    assert_eq!(types["blk.0.ffn_up_exps.bias"], TensorType::F32);
}

#[test]
fn rows_that_are_not_whole_blocks_get_smaller_ones() {
    let metadata = BTreeMap::from([
        ("general.architecture".to_owned(), Value::String("llama".to_owned())),
        ("llama.block_count".to_owned(), Value::Unsigned(8)),
    ]);
    let shapes = [
        shape("output.weight", &[2880, 8]),
        shape("blk.0.attn_q.weight", &[2880, 8]),
        shape("blk.0.attn_k.weight", &[44, 8]),
    ];
    let chosen = |recipe| types(&metadata, &shapes, recipe, Conditions::default());
    let names = |recipe| chosen(recipe).into_iter().map(TensorType::name).collect::<Vec<_>>();
    assert_eq!(names(Recipe::Q4_K_S), ["Q8_0", "Q5_0", "F16"]);
    assert_eq!(names(Recipe::Q5_K_S), ["Q8_0", "Q5_1", "F16"]);
    assert_eq!(names(Recipe::Q2_K), ["Q8_0", "Q4_0", "F16"]);
    assert_eq!(names(Recipe::IQ4_XS), ["Q8_0", "IQ4_NL", "F16"]);
    assert_eq!(names(Recipe::Q8_0), ["Q8_0", "Q8_0", "F16"]);
    assert_eq!(names(Recipe::F32), ["F32", "F32", "F32"]);
}

#[test]
fn tensors_follow_each_other_at_multiples_of_the_alignment() {
    let shapes = [shape("a", &[8]), shape("b", &[32, 3]), shape("c", &[1])];
    let placed = place(&shapes, &[TensorType::F32, TensorType::Q8_0, TensorType::F32]);
    let offsets: Vec<u64> = placed.iter().map(|tensor| tensor.offset).collect();
    assert_eq!(offsets, [0, 32, 160]);
    assert_eq!(placed[1].dimensions, [32, 3, 1, 1]);
}

/// A file of `name` in the catalogue as `recipe` makes it, and what `wish` makes of that.
fn rewritten(name: &str, from: Recipe, wish: Wish) -> Result<Vec<Tensor>, Refusal> {
    rewrite(&builtin().find(name).unwrap().header(from.name()).unwrap(), wish)
}

fn wish(recipe: Recipe) -> Wish {
    Wish { recipe, measured: false, may_requantize: false }
}

#[test]
fn a_file_is_rewritten_to_what_the_catalogue_says_of_the_published_one() {
    for name in ["qwen3-8b", "qwen3-30b-a3b", "gemma-3-12b"] {
        for recipe in [Recipe::Q4_K_M, Recipe::Q6_K, Recipe::IQ4_XS, Recipe::F16] {
            let made = rewritten(name, Recipe::F16, wish(recipe)).unwrap();
            let entry = builtin().find(name).unwrap();
            let shapes = entry.shapes().unwrap();
            let header = entry.header("F16").unwrap();
            let published = tensors(&header.metadata, &shapes, recipe, Conditions::default());
            let kinds = |tensors: &[Tensor]| -> BTreeMap<String, TensorType> {
                tensors.iter().map(|tensor| (tensor.name.clone(), tensor.kind)).collect()
            };
            assert_eq!(kinds(&made), kinds(&published), "{name} {}", recipe.name());
            let places = made.iter().map(|tensor| tensor.place_in_layers().map(|place| place.0));
            assert!(places.is_sorted(), "{name}: as llama.cpp writes them");
        }
    }
}

#[test]
fn what_is_quantized_is_quantized_again_only_on_demand() {
    let again = |wish| rewritten("qwen3-8b", Recipe::Q8_0, wish).map(drop);
    let refused = again(wish(Recipe::Q4_K_M)).unwrap_err();
    let message = refused.to_string();
    assert!(matches!(refused, Refusal::Requantizes { kind: "Q8_0", .. }), "{message}");
    assert!(message.contains("--allow-requantize"), "{message}");
    assert_eq!(again(Wish { may_requantize: true, ..wish(Recipe::Q4_K_M) }), Ok(()));
    assert_eq!(again(wish(Recipe::Q8_0)), Ok(()), "nothing changes");
}

#[test]
fn types_that_need_a_matrix_are_refused_without_one() {
    let refused: Vec<&str> = Recipe::all()
        .filter(|recipe| {
            let made = rewritten("qwen3-8b", Recipe::BF16, wish(*recipe));
            matches!(made, Err(Refusal::NeedsMatrix { .. }))
        })
        .map(Recipe::name)
        .collect();
    assert_eq!(
        refused,
        ["IQ3_XS", "IQ3_XXS", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"]
    );
    for recipe in Recipe::all() {
        let with = Wish { measured: true, ..wish(recipe) };
        assert!(rewritten("qwen3-8b", Recipe::BF16, with).is_ok(), "{}", recipe.name());
    }
}

#[test]
fn only_models_are_rewritten() {
    let mut header = builtin().find("qwen3-8b").unwrap().header("F16").unwrap();
    let kind = Value::String("mmproj\u{1b}[2J".to_owned());
    header.metadata.insert("general.type".to_owned(), kind);
    assert!(rewrite(&header, wish(Recipe::Q4_K_M)).is_ok(), "an unknown kind is a model");
    let kind = Value::String("adapter".to_owned());
    header.metadata.insert("general.type".to_owned(), kind);
    let message = rewrite(&header, wish(Recipe::Q4_K_M)).unwrap_err().to_string();
    assert!(message.starts_with("is no model of its own but calls itself 'adapter'"), "{message}");
}
