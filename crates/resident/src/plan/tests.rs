//! Plans on fixed machines, as people read them.

use expect_test::{Expect, expect};
use planner::{catalogue, footprint::CacheType};

use super::{
    choice, form::Answer as _, host, one, row::Question, subject::Subject, table, together,
};
use crate::terminal::Paint;

fn question(machine: &str, context_tokens: Option<u32>) -> Question {
    Question {
        host: host::known(machine),
        context_tokens,
        cache: None,
        hub_cache: CacheType::F16,
        parallel: 8,
    }
}

fn subject(name: &str, quantization: Option<&str>) -> Subject {
    Subject::of_entry(catalogue::builtin().find(name).unwrap(), quantization).unwrap()
}

#[track_caller]
fn check(lines: &[String], expected: &Expect) {
    expected.assert_eq(&format!("{}\n", lines.join("\n")));
}

#[test]
fn one_model_in_one_quantization() {
    let question = question("m4-16gb", Some(8192));
    let document = one::Document::of(&question, &subject("qwen3-8b", Some("Q4_K_M")));
    check(
        &document.lines(&question, false, Paint::plain()),
        &expect![[r#"
            Qwen3 8B (qwen3-8b): qwen3, 8.1B parameters, reasoning
            on m4-16gb: 12.0 GiB for models
            context of 8192 tokens for 8 at once, kept as f16

                QUANTIZATION      FILE    MEMORY      LEFT   VERDICT       WRITES     READS   QUALITY
            *   Q4_K_M         4.7 GiB   6.1 GiB   5.9 GiB   comfortable   20 t/s   197 t/s   slightly worse than the original

            Take it: Q4_K_M fits comfortably, and is slightly worse than the original.
            With Q4_K_M the context can have up to 40960 tokens.

            MEMORY                        SIZE
            weights (GPU)              4.4 GiB
            weights                  333.8 MiB
            key-value cache (GPU)      1.1 GiB
            compute buffers (GPU)     96.2 MiB
            compute buffers           48.1 MiB
            output buffer             14.5 MiB
            constrained answers       72.4 MiB
            process and vocabulary    59.5 MiB
            Q4_K_M in all              6.1 GiB
        "#]],
    );
}

#[test]
fn one_model_that_does_not_fit_is_offered_with_less() {
    let question = question("m4-16gb", Some(65_536));
    let document = one::Document::of(&question, &subject("qwen3-8b", Some("Q6_K")));
    check(
        &document.lines(&question, false, Paint::plain()),
        &expect![[r#"
            Qwen3 8B (qwen3-8b): qwen3, 8.1B parameters, reasoning
            on m4-16gb: 12.0 GiB for models
            context of 65536 tokens for 8 at once, kept as f16

               QUANTIZATION      FILE     MEMORY       LEFT   VERDICT        WRITES     READS   QUALITY
               Q6_K           6.3 GiB   15.9 GiB   -3.9 GiB   does not fit   16 t/s   197 t/s   as good as the original

            Nothing of it fits.
            The smallest is Q6_K: needs 15.9 GiB of RAM, but may have 12.0 GiB: 3.9 GiB too few.
              with --kv q8_0: tight (needs 11.6 GiB of the 12.0 GiB of RAM, 359.7 MiB (2.9 %) are left)
              with --kv q4_0: comfortable (needs 9.4 GiB of the 12.0 GiB of RAM, 2.6 GiB (21.7 %) are left)
              with --context 38400: tight (needs 12.0 GiB of the 12.0 GiB of RAM, 24.3 MiB (0.2 %) are left)
            With Q6_K the context can have up to 34304 tokens.

            MEMORY                        SIZE
            weights (GPU)              5.8 GiB
            weights                  486.9 MiB
            key-value cache (GPU)      9.0 GiB
            compute buffers (GPU)    363.6 MiB
            compute buffers          104.2 MiB
            output buffer             14.5 MiB
            constrained answers       72.4 MiB
            process and vocabulary    59.5 MiB
            Q6_K in all               15.9 GiB
        "#]],
    );
}

#[test]
fn a_model_larger_than_the_card_is_divided() {
    let question = question("rtx-3060-12gb", Some(8192));
    let document = one::Document::of(&question, &subject("qwen3-32b", Some("Q4_K_M")));
    let lines = document.lines(&question, false, Paint::plain());
    let split: Vec<String> = lines
        .iter()
        .filter(|line| line.contains("gpu-layers"))
        .map(|line| line.trim().into())
        .collect();
    check(
        &split,
        &expect![[r#"
          with llama.cpp's --n-gpu-layers 31: fits, writes 4.5 t/s (an estimate: the output and 30 of 64 layers on the card, 10.2 GiB; the first 34 in RAM, 11.0 GiB)
    "#]],
    );
}

#[test]
fn every_figure_says_where_it_comes_from() {
    let question = question("m1-max-64gb", Some(4096));
    let document = one::Document::of(&question, &subject("qwen3-0.6b", Some("Q4_0")));
    check(
        &document.lines(&question, true, Paint::plain()),
        &expect![[r#"
            Qwen3 0.6B (qwen3-0.6b): qwen3, 596.0M parameters, reasoning
            on m1-max-64gb: 48.0 GiB for models
            context of 4096 tokens for 8 at once, kept as f16

                QUANTIZATION        FILE       MEMORY       LEFT   VERDICT        WRITES      READS   QUALITY
            *   Q4_0           364.5 MiB   1017.5 MiB   47.0 GiB   comfortable   202 t/s   7267 t/s   noticeably worse than the original

            Take it: Q4_0 fits comfortably, and is noticeably worse than the original.
            With Q4_0 the context can have up to 40960 tokens.

            MEMORY                         SIZE   WHY
            weights (GPU)             358.8 MiB   310 tensors as they are in the file (Q4_0 242,417,664 + Q6_K 127,626,240 + Q4_1 5,898,240 + F32 262,144): layers 248,578,048 bytes + 127,626,240 bytes of output, which are the input layer's own pages of the file and count once
            key-value cache (GPU)     448.0 MiB   28 layers × 8 heads × (128 + 128) × 2 bytes (f16) × 4,096 cells
            compute buffers (GPU)      50.2 MiB   layers and logits, 512 tokens a step: at its widest 2 × (128 × 16 × 513 × 4) + 27,463,872 of scratch + 4,096 × 513 × 2 + 1,024 × 513 × 4 + 2 × (513 × 8) + 513 × 4 + 64 × 4 + 10,506,316 in smaller ones and gaps bytes
            compute buffers            14.0 MiB   the input layer, 512 tokens a step: at its widest 5 × (1,024 × 513 × 4) + 4,096 × 513 × 2 + 3 × (513 × 8) + 513 × 4 + 64 × 4 + 4,260 in smaller ones and gaps bytes
            output buffer              14.5 MiB   25 rows × 151,936 numbers × 4 bytes
            constrained answers        72.4 MiB   151,936 tokens × 500 bytes of trees, measured, from the first answer that is held to a schema
            process and vocabulary     59.5 MiB   16,777,216 bytes for the process + 151,936 tokens × 300 bytes, both measured
            Q4_0 in all              1017.5 MiB

            model      the catalogue (config.json of Qwen/Qwen3-0.6B (Hugging Face); total of weights)
            machine    bandwidth: Apple's technical specifications; computing speed: prompt speeds in ggml-org/llama.cpp discussion 4167; working set: logs of current macOS
            budget     64.0 GiB of RAM less 16.0 GiB (25 %) for the system is 48.0 GiB; the GPU takes at most 51.8 GiB of RAM
            verdict    needs 1017.5 MiB of the 48.0 GiB of RAM, 47.0 GiB (97.9 %) are left
            quality    llama.cpp tools/perplexity/README.md, LLaMA 3 8b Scoreboard
            speed      writing: 358.8 MiB of weights and 0 B of cache a token at 360 GB/s (90 % of 400), and 3.8 ms for 28 layers; reading: 0.94 GFLOP a token at 7.21 TFLOP/s; not measured on this machine
                       with a full context it writes 161 t/s
            popular    "cache = layers × context × width × 2 bytes" says 224.0 MiB; right is 448.0 MiB: keys and values are both kept, and count by cached heads, not by the model's width
            popular    "4-bit files take 1.2 times their size in memory" says 437.3 MiB; right is 358.8 MiB: weights stay as they are in the file; what comes on top does not depend on their bits
        "#]],
    );
}

#[test]
fn models_together() {
    let question = question("m4-16gb", Some(8192));
    let subjects =
        [("qwen3-8b", "Q4_K_M"), ("bge-m3", "Q8_0"), ("gemma-3-4b", "Q8_0"), ("qwen3-14b", "Q8_0")];
    let rows = subjects.map(|(name, quantization)| {
        let subject = subject(name, Some(quantization));
        question.row(&subject, &subject.files[0])
    });
    let document = together::Document::of(&question, rows.into(), Vec::new());
    check(
        &document.lines(&question, false, Paint::plain()),
        &expect![[r#"
            On m4-16gb: 12.0 GiB for models
            16.0 GiB of RAM less 4.0 GiB (25 %) for the system is 12.0 GiB; the GPU takes at most 11.8 GiB of RAM

            MODEL        QUANTIZATION        FILE     MEMORY       LEFT   VERDICT         WRITES      READS   CONTEXT
            qwen3-8b     Q4_K_M           4.7 GiB    6.1 GiB    5.9 GiB   comfortable     20 t/s    197 t/s      8192
            bge-m3       Q8_0           605.2 MiB    1.3 GiB   10.7 GiB   comfortable          -   4467 t/s      8192
            gemma-3-4b   Q8_0             3.8 GiB    5.3 GiB    6.7 GiB   comfortable     23 t/s    427 t/s      8192
            qwen3-14b    Q8_0            14.6 GiB   16.2 GiB   -4.2 GiB   does not fit   7.0 t/s    104 t/s      8192

            Together they would need 28.9 GiB, and there are 12.0 GiB.
              together   qwen3-8b, bge-m3
              together   qwen3-8b, gemma-3-4b
              together   bge-m3, gemma-3-4b
              never      qwen3-14b: not even alone: needs 16.2 GiB of RAM, but may have 12.0 GiB: 4.2 GiB too few; choose a smaller one
        "#]],
    );
}

/// The order is that of the sentence at the top of `table`: well-fitting before tight and slow,
/// large before small, and what only works beside them last.
#[test]
fn a_catalogue() {
    let all = catalogue::builtin();
    let wanted = ["qwen3-0.6b", "qwen3-8b", "bge-small-en", "qwen3-32b", "llama-3.3-70b"];
    let few = all.entries().iter().filter(|entry| wanted.contains(&entry.name.as_str()));
    let question = question("m4-pro-48gb", Some(8192));
    let document = table::Document::of(&question, few).unwrap();
    check(
        &document.lines(&question, false, Paint::plain()),
        &expect![[r#"
            On m4-pro-48gb: 36.0 GiB for models
            48.0 GiB of RAM less 12.0 GiB (25 %) for the system is 36.0 GiB; the GPU takes at most 37.4 GiB of RAM

            To talk to and to write with, best choice first:
            MODEL           FOR         PARAMETERS   QUANTIZATION        FILE     MEMORY       LEFT   VERDICT        WRITES      READS
            qwen3-32b       reasoning        32.7B   UD-Q6_K_XL      27.0 GiB   29.3 GiB    6.7 GiB   fits          7.9 t/s     88 t/s
            qwen3-8b        reasoning         8.1B   Q8_0             8.1 GiB    9.5 GiB   26.5 GiB   comfortable    27 t/s    394 t/s
            qwen3-0.6b      reasoning       596.0M   UD-Q8_K_XL     805.2 MiB    1.9 GiB   34.1 GiB   comfortable   140 t/s   5731 t/s
            llama-3.3-70b   chat             70.5B   IQ3_M           29.7 GiB   32.6 GiB    3.4 GiB   fits          5.4 t/s     40 t/s

            To work beside them:
            MODEL          FOR         PARAMETERS   QUANTIZATION       FILE     MEMORY       LEFT   VERDICT       WRITES       READS
            bge-small-en   embedding        33.3M   Q8_0           35.1 MiB   72.3 MiB   35.9 GiB   comfortable        -   92566 t/s

            resident plan MODEL says more of one.
        "#]],
    );
}

/// A person is never told to take a file that nobody can tell from one of half its size.
#[test]
fn unquantized_files_are_not_recommended() {
    let question = question("m3-ultra-512gb", None);
    let subject = subject("qwen3-8b", None);
    let taken = choice::recommend(&question, &subject, &question.host.budget).unwrap();
    assert_eq!(subject.files[taken].quantization, "Q8_0");
}

#[test]
fn more_models_than_can_be_tried_together_are_planned_each_alone() {
    let question = question("m4-16gb", Some(8192));
    let subject = subject("gemma-3-4b", Some("Q8_0"));
    let rows = vec![question.row(&subject, &subject.files[0]); planner::fit::MEMBERS_MAX + 1];
    let document = together::Document::of(&question, rows, Vec::new());
    let lines = document.lines(&question, true, Paint::plain());
    assert!(lines.iter().filter(|line| line.contains("alone: ")).count() > 16, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("Together they would need")), "{lines:?}");
    let notes = document.notes();
    assert!(notes[0].contains("they are 17, and at most 16 are tried"), "{notes:?}");
}

/// Its engine has no context, and nothing is said of one.
#[test]
fn a_model_of_another_engine_has_no_context() {
    let question = question("m4-16gb", Some(8192));
    let subject = subject("whisper-large-v3", None);
    let document = one::Document::of(&question, &subject);
    let lines = document.lines(&question, false, Paint::plain());
    assert!(!lines.iter().any(|line| line.contains("context")), "{lines:?}");
    let rows = vec![question.row(&subject, &subject.files[0])];
    let document = together::Document::of(&question, rows, Vec::new());
    let table = document.table(false).lines(Paint::plain());
    assert!(table[1].ends_with(" -"), "{table:?}");
}

/// Whoever plans otherwise than the hub is set must know how to set it so.
#[test]
fn a_cache_that_is_kept_otherwise_than_the_hub_does_comes_with_the_setting() {
    let f16 = question("m4-16gb", Some(8192));
    let q8_0 = Question { cache: Some(CacheType::Q8_0), ..f16.clone() };
    let subject = subject("qwen3-8b", Some("Q4_K_M"));
    let rows = || vec![q8_0.row(&subject, &subject.files[0])];
    let says = |notes: &[String]| notes.iter().any(|note| note.contains("[kv] type = \"q8_0\""));
    assert!(says(one::Document::of(&q8_0, &subject).notes()));
    assert!(says(together::Document::of(&q8_0, rows(), Vec::new()).notes()));
    assert!(!says(one::Document::of(&f16, &subject).notes()));
    let of_hub = Question { hub_cache: CacheType::Q8_0, ..q8_0.clone() };
    assert!(!says(one::Document::of(&of_hub, &subject).notes()), "it keeps them so");
    let own = Subject { kv_type: Some(CacheType::Q4_0), ..subject.clone() };
    for (question, subject, expected) in
        [(&f16, &subject, "f16"), (&of_hub, &own, "q8_0"), (&f16, &own, "q4_0")]
    {
        assert_eq!(question.row(subject, &subject.files[0]).kv_type, expected);
    }
}
