//! What models guess ahead from, from defaults to refusals.

use super::*;
use crate::config::raw::Speculation;
use crate::config::resolved::group::{Draft, Guesses};

/// What the model `tiny` is told, and how many tokens.
fn of_tiny(table: &str) -> (Option<Guesses>, Option<u32>) {
    let settings = from_text(&format!("[models.tiny]\n{table}"));
    let treatment = &settings.served.treatments["tiny"];
    (treatment.guesses.clone(), treatment.draft_tokens)
}

#[test]
fn the_text_is_looked_up_unless_somebody_says_otherwise() {
    assert_eq!(from_text("").guesses, Guesses::Lookup);
    assert_eq!(from_text("speculation = \"auto\"").guesses, Guesses::Lookup);
    assert_eq!(from_text("speculation = \"off\"").guesses, Guesses::Off);
    let serving = Serving { speculation: Some(Speculation::Lookup), ..Serving::default() };
    let flagged = resolve_text(&Place::default(), &serving, "speculation = \"off\"").unwrap();
    assert_eq!(flagged.guesses, Guesses::Lookup);
    assert_eq!(of_tiny(""), (None, None), "the general setting counts");
    assert_eq!(of_tiny("speculation = \"off\""), (Some(Guesses::Off), None));
}

#[test]
fn a_draft_is_a_name_or_a_file() {
    let file = Guesses::Draft(Draft::File("/home/me/small.gguf".into()));
    assert_eq!(of_tiny("draft = \"~/small.gguf\"\ndraft_tokens = 4"), (Some(file), Some(4)));
    let beside = Guesses::Draft(Draft::File("/etc/r/small.gguf".into()));
    assert_eq!(of_tiny("draft = \"small.gguf\"").0, Some(beside));
    let named = Guesses::Draft(Draft::Model("qwen3-0.6b".into()));
    assert_eq!(of_tiny("draft = \"qwen3-0.6b\"\nspeculation = \"auto\"").0, Some(named));
}

#[test]
fn a_model_guesses_for_itself_where_its_table_says_so() {
    assert_eq!(of_tiny("speculation = \"mtp\"\ndraft_tokens = 2"), (Some(Guesses::Head), Some(2)));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_key() {
    for (text, message) in [
        (
            "speculation = \"draft\"",
            "speculation: each model has a draft of its own; write [models.NAME] draft = \
             \"FILE.gguf\"",
        ),
        (
            "speculation = \"mtp\"",
            "speculation: only some files have layers that guess ahead; write [models.NAME] \
             speculation = \"mtp\"",
        ),
        (
            "[models.tiny]\nspeculation = \"mtp\"\ndraft = \"a\"",
            "[models.tiny] draft names a model that guesses, but speculation says otherwise; keep \
             one",
        ),
        (
            "[models.tiny]\nspeculation = \"draft\"",
            "[models.tiny] speculation = \"draft\" needs a model that guesses: write draft = \
             \"NAME\" or draft = \"FILE.gguf\"",
        ),
        (
            "[models.tiny]\nspeculation = \"off\"\ndraft = \"a\"",
            "[models.tiny] draft names a model that guesses, but speculation says otherwise; keep \
             one",
        ),
        (
            "[models.tiny]\ndraft_tokens = 0",
            "[models.tiny] draft_tokens is 0; write speculation = \"off\"",
        ),
        (
            "[models.tiny]\ndraft_tokens = 17",
            "[models.tiny] draft_tokens is 17; at most 16 are guessed at a time",
        ),
        (
            "[models.a]\nengine = \"apfel\"\ndraft = \"b\"",
            "[models.a] draft is for the hub's own worker; a program that is started guesses ahead \
             as its arguments say",
        ),
    ] {
        let refused = resolve_text(&Place::default(), &Serving::default(), text).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}
