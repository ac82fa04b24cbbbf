//! Groups and pins.

use super::*;
use crate::config::resolved::group::{Pin, check_pins};

#[test]
fn large_text_models_take_turns_unless_the_file_says_otherwise() {
    let text = "budget = \"12GB\"\n[groups.spare]\nexclusive = false\n\
                [models.large]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"4.1GB\"\n\
                [models.small]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"4GB\"\n\
                [models.out]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"5GB\"\ngroup = \"none\"\n\
                [models.in]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"1GB\"\ngroup = \"spare\"\n\
                [models.ear]\nengine = \"whisper-server\"\nmodel = \"x\"\nmemory = \"5GB\"";
    let served = from_text(text).served;
    let group = |name: &str| {
        let command = &served.commands[name];
        served.group_of_command(name, command, 12_000_000_000)
    };
    assert_eq!(group("large").as_deref(), Some("main"));
    assert_eq!(group("small"), None, "it needs no more than a third");
    assert_eq!(group("out"), None);
    assert_eq!(group("in").as_deref(), Some("spare"));
    assert_eq!(group("ear"), None, "it does not speak");
    assert_eq!(served.groups.exclusive().into_iter().collect::<Vec<_>>(), ["main"]);
    assert_eq!(
        refused("[groups.none]\nexclusive = true"),
        "[groups.none] 'none' is what keeps a model out of every group; name it otherwise"
    );
}

#[test]
fn pins_that_cannot_be_kept_are_refused_with_the_sum() {
    let vllm = |name: &str, memory: &str| {
        format!(
            "[models.{name}]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"{memory}\"\npin = true\n\
             group = \"none\"\n"
        )
    };
    let text = format!("budget = \"4GiB\"\n{}{}", vllm("a", "3GiB"), vllm("b", "1.5GiB"));
    assert_eq!(
        refused(&text),
        "the pinned models do not fit: a 3.0 GiB + b 1.5 GiB = 4.5 GiB, and the budget is 4.0 GiB; \
         unpin one, choose a smaller one, or raise the budget"
    );
    let groups = from_text("").served.groups;
    let pin = |name: &str, bytes| Pin { name: name.into(), bytes, group: Some("main".into()) };
    assert_eq!(
        check_pins(&[pin("a", 1), pin("b", 1)], &groups, 9).unwrap_err(),
        "a and b are both pinned and both in group main, of which one is in memory at a time; \
         unpin one, or write group = \"none\" for it"
    );
    assert_eq!(check_pins(&[pin("a", 9)], &groups, 9), Ok(()));
    let huge = [Pin { group: None, ..pin("a", u64::MAX) }, Pin { group: None, ..pin("b", 2) }];
    assert!(check_pins(&huge, &groups, u64::MAX - 1).is_err(), "sums do not run over");
}

#[test]
fn what_can_never_fit_is_noted() {
    let text = "budget = \"1GiB\"\n[models.a]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"2GiB\"";
    assert_eq!(
        from_text(text).served.notes,
        ["a takes 2.0 GiB, more than the budget of 1.0 GiB, and will be refused"]
    );
}
