//! What is loaded beside a model.

use super::*;

#[test]
fn companions_are_items_of_their_own() {
    let mut projector = header(
        "clip",
        0,
        &[
            ("vision.embedding_length", 1152),
            ("vision.image_size", 896),
            ("vision.patch_size", 14),
            ("vision.feed_forward_length", 4304),
            ("vision.attention.head_count", 16),
        ],
    );
    projector.tensors[0].bytes = 800 * MIB;
    let draft = decoder("qwen3", 151_936, [28, 1024, 16, 8, 128, 3072], &[]);
    let companions = Companions {
        projector: Some(&projector),
        draft: Some(&draft),
        adapters_bytes: 100 * MIB,
        adapters_step_bytes: MIB,
        prompt_cache_bytes: 2048 * MIB,
    };
    let alone = predict(&qwen3_8b(), &layout(8192));
    let together = predict_with(&qwen3_8b(), &layout(8192), &companions);
    assert_eq!(together.bytes_of(ADAPTERS), 101 * MIB);
    assert_eq!(together.bytes_of(PROMPT_CACHE), 2048 * MIB);
    // 64 × 64 patches.
    let projector = together.bytes_of(PROJECTOR);
    assert!((1100 * MIB..1800 * MIB).contains(&projector), "{projector}");
    // The draft is a model like any other, in the same process.
    let own = predict(&draft, &layout(8192));
    let expected = own.total_bytes() - own.bytes_of(PROCESS) - own.bytes_of(CONSTRAINED);
    assert_eq!(together.bytes_of(DRAFT), expected);
    let added = projector + expected + 2149 * MIB;
    assert_eq!(together.total_bytes(), alone.total_bytes() + added);
}
