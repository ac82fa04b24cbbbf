//! What changes a model's weights, from its table to refusals.

use worker_protocol::{Adapter, Scale};

use super::*;

#[test]
fn adapters_are_files_with_a_scale_and_a_name() {
    let settings = from_text(
        "[models.tiny]\nadapters = [{ path = \"law.gguf\", scale = 0.5 }, { path = \"~/b.gguf\", \
         name = \"style\" }]",
    );
    let adapter = |name: &str, path: &str, scale| Adapter {
        name: name.to_owned(),
        path: path.into(),
        scale: Scale(scale),
    };
    assert_eq!(
        settings.served.treatments["tiny"].adapters,
        [adapter("law", "/etc/r/law.gguf", 0.5), adapter("style", "/home/me/b.gguf", 1.0)]
    );
    let whole = from_text("[models.tiny]\nadapters = [{ path = \"a.gguf\", scale = -1 }]");
    assert_eq!(whole.served.treatments["tiny"].adapters[0].scale, Scale(-1.0));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_way_out() {
    let nine = ["{ path = \"a.gguf\" }"; 9].join(", ");
    for (adapters, words) in [
        ("{ path = \"a.gguf\", scale = 1000 }", ["'a' is 1000", "from -100 to 100"]),
        ("{ path = \"a.gguf\", scale = nan }", ["'a' is NaN", "from -100 to 100"]),
        ("{ path = \"a.gguf\" }, { path = \"b/a.gguf\" }", ["called 'a'", "another name"]),
        (&*nine, ["9 entries", "merge some"]),
    ] {
        let text = format!("[models.tiny]\nadapters = [{adapters}]");
        let resolved = resolve_text(&Place::default(), &Serving::default(), &text);
        let error = resolved.unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no {word} in: {error}");
        }
    }
    let program = "[models.m]\nengine = \"apfel\"\nadapters = [{ path = \"a.gguf\" }]";
    let error = resolve_text(&Place::default(), &Serving::default(), program).unwrap_err();
    assert!(error.to_string().contains("adapters is for the hub's own worker"), "{error}");
}
