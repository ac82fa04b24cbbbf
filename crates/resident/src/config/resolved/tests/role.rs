//! `[roles]` and `warm`.

use super::*;
use crate::config::resolved::group::Treatment;

#[test]
fn roles_name_models_of_every_kind() {
    let text = "warm = \"daily\"\nprefer_resident = false\n\
                [models.apple]\nengine = \"apfel\"\n\
                [upstreams.lab]\nservers = [\"http://lab:1\"]\nmodels = [\"big\"]\n\
                [upstreams.open]\nservers = [\"http://open:1\"]\n\
                [tools.voice]\npreset = \"espeak-ng\"\n\
                [roles]\n\
                daily = [\"qwen3-8b\", { model = \"apple\", context_max = 4096, tools = false }]\n\
                deep = { models = [\"lab/big\", \"open/any/thing\", \"daily\"], prefer_resident = true }\n\
                speak = [\"voice\"]";
    let served = from_text(text).served;
    assert_eq!(served.roles.models("deep"), ["lab/big", "open/any/thing", "qwen3-8b", "apple"]);
    let roles: BTreeMap<_, _> = served.roles.iter().collect();
    assert_eq!(roles["deep"].prefer_resident, Some(true));
    let apple = &roles["daily"].candidates[1];
    assert_eq!((apple.context_tokens_max, apple.tools, apple.images), (Some(4096), false, true));
    assert_eq!((served.warm.as_deref(), served.prefer_resident), (Some("daily"), false));
}

#[test]
fn roles_that_do_not_hold_together_are_refused() {
    for (text, message) in [
        (
            "[roles]\na = [\"b\"]\nb = [\"a\"]",
            "[roles] roles go in a circle: a -> b -> a; take one of them out",
        ),
        (
            "[roles]\ndaily = [\"qwen3-8\"]",
            "[roles] the role 'daily' names 'qwen3-8', which is neither a model nor a role; did \
             you mean 'qwen3-8b'?",
        ),
        (
            "[roles]\ntiny = [\"qwen3-8b\"]",
            "[roles] 'tiny' is the name of a model and of a role; rename the role",
        ),
        (
            "[roles]\ndaily = [{ model = \"tiny\", context_max = 0 }]",
            "[roles] the role 'daily' limits tiny to a context of 0; it must be 1 or more, or left \
             out",
        ),
        (
            "warm = \"dayli\"\n[roles]\ndaily = [\"tiny\"]",
            "warm: 'dayli' is neither a role nor a model; did you mean 'daily'?",
        ),
    ] {
        assert_eq!(refused(text), message);
    }
}

#[test]
fn defaults_of_what_is_new() {
    let served = from_text("").served;
    assert!(served.commands.is_empty() && served.pools.is_empty() && served.tools.is_empty());
    assert_eq!((served.warm, served.prefer_resident), (None, true));
    assert_eq!(served.treatments.get("x").cloned().unwrap_or_default(), Treatment::default());
}
