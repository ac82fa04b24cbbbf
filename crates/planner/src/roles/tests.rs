//! Stories of a person's roles, and random roles against rules that share no code with them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::limits::{ANSWER_TOKENS_MIN, CANDIDATES_MAX, LONG_PROMPT_TOKENS, ROLES_MAX};
use super::*;

fn state(standing: Standing, size_bytes: u64) -> State {
    State {
        kinds: vec![Kind::Generate],
        context_tokens: Some(32_768),
        tools: true,
        images: false,
        sounds: false,
        json_schema: true,
        size_bytes: Some(size_bytes),
        standing,
    }
}

/// A person with a large model, a small one, Apple's, and one for embeddings.
fn states() -> BTreeMap<String, State> {
    let apple =
        State { context_tokens: Some(4096), size_bytes: None, ..state(Standing::Resident, 0) };
    let embedding = State { kinds: vec![Kind::Embed], ..state(Standing::Loadable, 100 << 20) };
    let sees = State { images: true, ..state(Standing::Loadable, 6 << 30) };
    [
        ("large", state(Standing::Loadable, 20 << 30)),
        ("small", state(Standing::Loadable, 1 << 30)),
        ("apple", apple),
        ("vectors", embedding),
        ("sees", sees),
    ]
    .map(|(name, state)| (name.to_owned(), state))
    .into()
}

fn roles(list: &[(&str, &[&str])]) -> BTreeMap<String, Role> {
    let role = |names: &[&str]| Role {
        candidates: names.iter().map(|name| Candidate::new(*name)).collect(),
        prefer_resident: None,
    };
    list.iter().map(|(name, names)| ((*name).to_owned(), role(names))).collect()
}

fn checked(list: &[(&str, &[&str])]) -> Roles {
    let states = states();
    let models: Vec<&str> = states.keys().map(String::as_str).collect();
    check(roles(list), &models).unwrap()
}

fn ask(tokens: u64) -> Ask {
    Ask::generate(Tokens::exactly(tokens))
}

fn tried(choice: &Choice) -> Vec<(&str, String)> {
    choice.tries.iter().map(|tried| (tried.model.as_str(), tried.why.to_string())).collect()
}

fn left_out(choice: &Choice) -> Vec<(&str, String)> {
    choice.left_out.iter().map(|left| (left.model.as_str(), left.reason.to_string())).collect()
}

const FIRST: &str = "first that can take the request";
const NEXT: &str = "next in the role";

#[test]
fn a_request_falls_to_the_next_that_can_take_it() {
    let roles = checked(&[("daily", &["apple", "small", "large"])]);
    let choice = roles.choose("daily", &ask(1000), &states(), false).unwrap();
    assert_eq!(
        tried(&choice),
        [("apple", FIRST.into()), ("small", NEXT.into()), ("large", NEXT.into())]
    );
    let choice = roles.choose("daily", &ask(5000), &states(), false).unwrap();
    assert_eq!(tried(&choice), [("small", FIRST.into()), ("large", NEXT.into())]);
    assert_eq!(
        left_out(&choice),
        [("apple", "the prompt has at least 5000 tokens and it takes 4096 with the answer".into())]
    );
    assert_eq!(roles.choose("nobody", &ask(1), &states(), false), None);
}

#[test]
fn a_guess_moves_a_model_back_but_never_leaves_it_out() {
    let roles = checked(&[("daily", &["apple", "small"])]);
    let guess = Ask::generate(Tokens { at_least: 900, at_most: 4000 });
    let choice = roles.choose("daily", &guess, &states(), false).unwrap();
    assert_eq!(
        tried(&choice),
        [
            ("small", FIRST.into()),
            ("apple", "tried last: the prompt may have up to 4000 tokens and it takes 4096".into()),
        ],
        "4000 tokens would leave too little for the answer"
    );
    let short = Ask { answer_tokens_max: Some(8), ..guess };
    let choice = roles.choose("daily", &short, &states(), false).unwrap();
    assert_eq!(tried(&choice)[0].0, "apple", "the answer needs no more than it may have");
}

#[test]
fn of_those_that_perhaps_take_it_the_longest_context_comes_first() {
    let roles = checked(&[("daily", &["apple", "small"])]);
    let guess = Ask::generate(Tokens { at_least: 900, at_most: 40_000 });
    let choice = roles.choose("daily", &guess, &states(), false).unwrap();
    let names: Vec<&str> = tried(&choice).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["small", "apple"], "what is too long for one is not tried on a shorter one");
}

#[test]
fn limits_of_a_candidate_and_of_the_role_on_the_way_hold_together() {
    let mut list = roles(&[("light", &["small"]), ("daily", &["light", "large"])]);
    list.get_mut("light").unwrap().candidates[0].context_tokens_max = Some(2000);
    list.get_mut("daily").unwrap().candidates[0].tools = false;
    let states = states();
    let roles = check(list, &["small", "large"]).unwrap();
    let with_tools = Ask { tools: true, ..ask(100) };
    let choice = roles.choose("daily", &with_tools, &states, false).unwrap();
    assert_eq!(left_out(&choice), [("small", "takes no tools".into())]);
    assert_eq!(choice.left_out[0].by, ["daily", "light"]);
    let choice = roles.choose("light", &with_tools, &states, false).unwrap();
    assert_eq!(tried(&choice), [("small", FIRST.into())], "alone the role takes tools");
    let choice = roles.choose("daily", &ask(3000), &states, false).unwrap();
    assert_eq!(tried(&choice), [("large", FIRST.into())]);
}

#[test]
fn what_cannot_serve_says_why() {
    let mut states = states();
    let retry_in = Duration::from_millis(29_400);
    states.get_mut("large").unwrap().standing = Standing::CoolingOff { retry_in };
    states.get_mut("small").unwrap().standing =
        Standing::Unusable { why: "its file is gone".into() };
    let roles = check(
        roles(&[("daily", &["gone", "large", "small", "vectors", "apple", "sees"])]),
        &["gone", "large", "small", "vectors", "apple", "sees"],
    )
    .unwrap();
    states.get_mut("sees").unwrap().json_schema = false;
    let images = Ask { images: true, json_schema: true, ..ask(10) };
    let choice = roles.choose("daily", &images, &states, false).unwrap();
    assert_eq!(choice.tries, []);
    assert_eq!(
        left_out(&choice),
        [
            ("gone", "not installed".into()),
            ("large", "kept failing and is left alone for 30 s more".into()),
            ("small", "cannot be used: its file is gone".into()),
            ("vectors", "does not generate text".into()),
            ("apple", "takes no images".into()),
            ("sees", "cannot be held to a JSON schema".into()),
        ]
    );
    assert_eq!(choice.retry_in(), Some(retry_in));
}

#[test]
fn a_resident_model_stands_in_only_for_a_smaller_one() {
    let mut states = states();
    states.get_mut("large").unwrap().standing = Standing::Resident;
    let up = checked(&[("light", &["small", "apple", "large"])]);
    let choice = up.choose("light", &ask(100), &states, true).unwrap();
    assert_eq!(
        tried(&choice),
        [
            (
                "large",
                "in memory already and no smaller than small (20.0 GiB against 1.0 GiB)".into()
            ),
            ("small", NEXT.into()),
            ("apple", NEXT.into()),
        ],
        "nobody knows how good the one without a size is"
    );
    let choice = up.choose("light", &ask(100), &states, false).unwrap();
    assert_eq!(tried(&choice)[0].0, "small");

    states.get_mut("large").unwrap().standing = Standing::Loadable;
    states.get_mut("small").unwrap().standing = Standing::Resident;
    let down = checked(&[("deep", &["large", "small"])]);
    let choice = down.choose("deep", &ask(100), &states, true).unwrap();
    assert_eq!(tried(&choice)[0], ("large", FIRST.into()), "a smaller one is no better");
}

#[test]
fn a_role_may_differ_from_the_general_setting() {
    let mut states = states();
    states.get_mut("large").unwrap().standing = Standing::Resident;
    let mut list = roles(&[("light", &["small", "large"])]);
    list.get_mut("light").unwrap().prefer_resident = Some(false);
    let roles = check(list, &["small", "large"]).unwrap();
    let choice = roles.choose("light", &ask(100), &states, true).unwrap();
    assert_eq!(tried(&choice)[0].0, "small");
}

#[test]
fn auto_picks_by_length_images_and_tools() {
    let roles = checked(&[
        ("daily", &["apple", "small"]),
        ("code", &["small", "large"]),
        ("deep", &["large"]),
        ("vision", &["sees"]),
        ("embed", &["vectors"]),
    ]);
    let first = |ask: Ask| {
        let choice = roles.choose(AUTO, &ask, &states(), false).unwrap();
        (choice.tries[0].model.clone(), choice.tries[0].by.join(" "))
    };
    let long = ask(u64::from(LONG_PROMPT_TOKENS));
    for (ask, expected) in [
        (ask(100), ("apple", "auto daily")),
        (ask(8000), ("small", "auto daily")),
        (Ask { tools: true, ..ask(100) }, ("small", "auto code")),
        (long, ("large", "auto deep")),
        (Ask { images: true, ..ask(100) }, ("sees", "auto vision")),
        (Ask { kind: Kind::Embed, ..ask(100) }, ("vectors", "auto embed")),
    ] {
        let (model, by) = first(ask.clone());
        assert_eq!((model.as_str(), by.as_str()), expected, "{ask:?}");
    }
}

#[test]
fn whoever_cannot_hear_is_left_out_of_requests_with_sounds() {
    let roles = checked(&[("daily", &["small", "sees"])]);
    let mut states = states();
    let sounds = Ask { sounds: true, ..Ask::generate(Tokens::exactly(9).with_sounds(1)) };
    let choice = roles.choose("daily", &sounds, &states, false).unwrap();
    assert_eq!(
        left_out(&choice),
        [("small", "takes no sounds".into()), ("sees", "takes no sounds".into())]
    );
    states.get_mut("sees").unwrap().sounds = true;
    let choice = roles.choose("daily", &sounds, &states, false).unwrap();
    assert_eq!(tried(&choice), [("sees", FIRST.into())]);
}

#[test]
fn auto_works_without_any_role() {
    let mut states = states();
    states.get_mut("small").unwrap().standing = Standing::Resident;
    states.remove("apple");
    let choice = Roles::default().choose(AUTO, &ask(100), &states, false).unwrap();
    let names: Vec<&str> = choice.tries.iter().map(|tried| tried.model.as_str()).collect();
    assert_eq!(names, ["small", "large", "sees"], "resident ones first, then by name");
    assert_eq!(choice.left_out, [], "those of another kind were never candidates");
}

#[test]
fn what_does_not_hold_together_is_refused_with_the_chain() {
    let check = |list: &[(&str, &[&str])]| {
        check(roles(list), &["qwen3-8b", "apple"]).unwrap_err().to_string()
    };
    for (list, message) in [
        (
            &[("daily", &["qwen3-8b", "code"] as &[&str]), ("code", &["deep"]), ("deep", &["code"])]
                as &[(&str, &[&str])],
            "roles go in a circle: code -> deep -> code; take one of them out",
        ),
        (&[("daily", &["daily"])], "roles go in a circle: daily -> daily; take one of them out"),
        (
            &[("daily", &["auto"])],
            "roles go in a circle: auto -> daily -> auto; take one of them out",
        ),
        (
            &[("daily", &["qwen3-8"])],
            "the role 'daily' names 'qwen3-8', which is neither a model nor a role; did you mean \
             'qwen3-8b'?",
        ),
        (
            &[("daily", &["light"])],
            "the role 'daily' names 'light', which is neither a model nor a role; 'light' is a \
             usual name of a role, but no role of that name is configured",
        ),
        (
            &[("daily", &["zzz"])],
            "the role 'daily' names 'zzz', which is neither a model nor a role; add it to \
             [models], [upstreams] or [tools], or put its file into the models folder",
        ),
        (&[("daily", &[])], "the role 'daily' names nobody; list at least one model"),
        (
            &[("apple", &["qwen3-8b"])],
            "'apple' is the name of a model and of a role; rename the role",
        ),
    ] {
        assert_eq!(check(list), message);
    }
}

#[test]
fn roles_that_multiply_are_refused_without_counting_to_the_end() {
    let names: Vec<String> = (0..40).map(|number| format!("r{number:02}")).collect();
    let mut list = BTreeMap::new();
    for (place, name) in names.iter().enumerate() {
        let next = names.get(place + 1).map_or("m", String::as_str);
        let candidates = vec![Candidate::new(next), Candidate::new(next)];
        list.insert(name.clone(), Role { candidates, prefer_resident: None });
    }
    let error = check(list, &["m"]).unwrap_err();
    let count = 1_usize << 40;
    assert_eq!(error, Wrong::TooMany { role: "r00".into(), count });
    let line: BTreeMap<String, Role> =
        (0..=ROLES_MAX).map(|number| (format!("r{number}"), Role::default())).collect();
    assert_eq!(check(line, &[]), Err(Wrong::TooManyRoles { count: ROLES_MAX + 1 }));
}

#[test]
fn estimates_hold_for_texts_whose_tokens_are_known() {
    // Counted by Apple's tokenizer (docs/apfel-vs-fm.md of Arthur-Ficial/apfel at 01bcd1dd).
    for (text, tokens) in [
        ("Summarize this short sentence.", 7),
        ("The quick brown fox jumps over the lazy dog.", 11),
        ("Erkläre mir bitte kurz, was ein Compiler macht.", 13),
        ("{\"a\":1,\"b\":[1,2,3]}", 14),
    ] {
        let guess = Tokens::of_text(text);
        assert!(guess.at_least <= tokens && tokens <= guess.at_most, "{text}: {guess:?}");
    }
    let whole = Tokens::of_text("hello").in_messages(2).with_images(1);
    assert_eq!(whole, Tokens { at_least: 0, at_most: 2 + 20 + 768 });
}

/// Roles `r0` to `r5` over models `m0` to `m4`, which may name each other at will.
fn any_roles() -> impl Strategy<Value = BTreeMap<String, Role>> {
    let candidate = (0..11_u8, proptest::option::of(1_u32..40_000), any::<bool>(), any::<bool>())
        .prop_map(|(number, context_tokens_max, tools, images)| Candidate {
            name: if number < 5 { format!("m{number}") } else { format!("r{}", number - 5) },
            context_tokens_max,
            tools,
            images,
        });
    let role = proptest::collection::vec(candidate, 1..4)
        .prop_map(|candidates| Role { candidates, prefer_resident: None });
    proptest::collection::vec(role, 6).prop_map(|roles| {
        roles.into_iter().enumerate().map(|(place, role)| (format!("r{place}"), role)).collect()
    })
}

/// The same without circles: a role names only roles of higher numbers.
fn sound_roles() -> impl Strategy<Value = BTreeMap<String, Role>> {
    any_roles().prop_map(|mut roles| {
        for (name, role) in &mut roles {
            for candidate in &mut role.candidates {
                if candidate.name.starts_with('r') && candidate.name <= *name {
                    candidate.name = "m0".to_owned();
                }
            }
        }
        roles
    })
}

fn any_states() -> impl Strategy<Value = BTreeMap<String, State>> {
    let standing = prop_oneof![
        3 => Just(Standing::Resident),
        3 => Just(Standing::Loadable),
        1 => Just(Standing::CoolingOff { retry_in: Duration::from_secs(1) }),
        1 => Just(Standing::Unusable { why: "broken".to_owned() }),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<(bool, bool)>(), any::<bool>());
    let context = proptest::option::of(100_u32..50_000);
    let size = proptest::option::of(1_u64..5);
    let state = (standing, flags, context, size).prop_map(
        |(standing, (embeds, tools, (images, sounds), json_schema), context_tokens, size_bytes)| {
            State {
                kinds: vec![if embeds { Kind::Embed } else { Kind::Generate }],
                context_tokens,
                tools,
                images,
                sounds,
                json_schema,
                size_bytes,
                standing,
            }
        },
    );
    proptest::collection::btree_map("m[0-4]", state, 0..6)
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let kind = prop_oneof![4 => Just(Kind::Generate), 1 => Just(Kind::Embed)];
    let rarely = || prop_oneof![4 => Just(false), 1 => Just(true)];
    let tokens = (0_u64..30_000, 0_u64..30_000);
    let senses = (rarely(), rarely());
    (kind, tokens, proptest::option::of(0_u32..9000), senses, rarely(), rarely()).prop_map(
        |(kind, (at_least, more), answer_tokens_max, (images, sounds), tools, json_schema)| Ask {
            kind,
            prompt_tokens: Tokens { at_least, at_most: at_least + more },
            answer_tokens_max,
            images,
            sounds,
            tools,
            json_schema,
        },
    )
}

/// Every way from `role` to a model, with the candidates on it. Written without the code under test.
fn ways<'a>(roles: &'a BTreeMap<String, Role>, role: &str) -> Vec<Vec<&'a Candidate>> {
    let mut ways = Vec::new();
    for candidate in &roles[role].candidates {
        if roles.contains_key(&candidate.name) {
            for mut rest in self::ways(roles, &candidate.name) {
                rest.insert(0, candidate);
                ways.push(rest);
            }
        } else {
            ways.push(vec![candidate]);
        }
    }
    ways
}

/// Tokens that a model takes on this way, as far as that is known.
fn limit(state: &State, way: &[&Candidate]) -> Option<u64> {
    let limits = way.iter().map(|candidate| candidate.context_tokens_max);
    limits.chain([state.context_tokens]).flatten().min().map(u64::from)
}

/// Whether a model may be tried on this way, and whether that is sure.
fn may(ask: &Ask, state: Option<&State>, way: &[&Candidate]) -> Option<bool> {
    let state = state?;
    let usable = matches!(state.standing, Standing::Resident | Standing::Loadable);
    let able = state.kinds.contains(&ask.kind)
        && (!ask.images || state.images && way.iter().all(|candidate| candidate.images))
        && (!ask.sounds || state.sounds)
        && (!ask.tools || state.tools && way.iter().all(|candidate| candidate.tools))
        && (!ask.json_schema || state.json_schema);
    let limit = limit(state, way);
    let answer = if ask.kind == Kind::Generate {
        u64::from(ask.answer_tokens_max.unwrap_or(9999).min(ANSWER_TOKENS_MIN))
    } else {
        0
    };
    let (least, most) = (ask.prompt_tokens.at_least, ask.prompt_tokens.at_most);
    let possible = usable && able && limit.is_none_or(|limit| least <= limit);
    possible.then(|| limit.is_none_or(|limit| most + answer <= limit))
}

proptest! {
    #[test]
    fn everybody_is_tried_who_can_be_and_nobody_else(
        list in sound_roles(), states in any_states(), ask in any_ask(), prefer: bool,
    ) {
        let models: Vec<String> = (0..5).map(|number| format!("m{number}")).collect();
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        let Ok(roles) = check(list.clone(), &models) else {
            let most = ways(&list, "r0").len();
            prop_assert!(list.keys().any(|role| ways(&list, role).len() > CANDIDATES_MAX), "{most}");
            return Ok(());
        };
        for role in list.keys() {
            let ways = ways(&list, role);
            let model = |way: &[&Candidate]| way[way.len() - 1].name.clone();
            let choice = roles.choose(role, &ask, &states, prefer).unwrap();
            let named: BTreeSet<String> = ways.iter().map(|way| model(way)).collect();
            let mut answered: Vec<String> =
                choice.tries.iter().map(|tried| tried.model.clone()).collect();
            answered.extend(choice.left_out.iter().map(|left| left.model.clone()));
            prop_assert_eq!(answered.len(), named.len(), "each once");
            prop_assert_eq!(&answered.iter().cloned().collect::<BTreeSet<_>>(), &named);

            // In order: those that surely take it, then those that perhaps do, the longest
            // context first.
            let mut expected: Vec<String> = Vec::new();
            for sure in [true, false] {
                let of_state = |way: &&Vec<&Candidate>| states.get(&model(way));
                let mut able: Vec<&Vec<&Candidate>> =
                    ways.iter().filter(|way| may(&ask, of_state(way), way) == Some(sure)).collect();
                if !sure {
                    able.sort_by_key(|way| Reverse(of_state(way).and_then(|state| limit(state, way))));
                }
                for name in able.into_iter().map(|way| model(way)) {
                    if !expected.contains(&name) {
                        expected.push(name);
                    }
                }
            }
            let mut got: Vec<String> =
                choice.tries.iter().map(|tried| tried.model.clone()).collect();
            if let Some(Try { why: Why::Resident { instead_of, .. }, .. }) = choice.tries.first() {
                let (resident, other) = (&states[&got[0]], &states[instead_of]);
                prop_assert!(prefer);
                prop_assert_eq!(&resident.standing, &Standing::Resident);
                prop_assert_eq!(&other.standing, &Standing::Loadable);
                prop_assert!(resident.size_bytes.unwrap() >= other.size_bytes.unwrap());
                prop_assert_eq!(instead_of, &expected[0]);
                let moved = got.remove(0);
                expected.retain(|name| *name != moved);
            }
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn circles_are_found_and_nothing_else(list in any_roles()) {
        // Take away roles that name no role any more, until none is left to take.
        let mut left: BTreeSet<&String> = list.keys().collect();
        let names_left = |role: &String, left: &BTreeSet<&String>| {
            list[role].candidates.iter().any(|candidate| left.contains(&candidate.name))
        };
        while let Some(role) = left.iter().copied().find(|role| !names_left(role, &left)) {
            left.remove(role);
        }
        match check(list.clone(), &["m0", "m1", "m2", "m3", "m4"]) {
            Err(Wrong::Circle { chain }) => {
                prop_assert!(!left.is_empty());
                prop_assert_eq!(chain.first(), chain.last());
                for pair in chain.windows(2) {
                    let names = |candidate: &Candidate| candidate.name == pair[1];
                    prop_assert!(list[&pair[0]].candidates.iter().any(names));
                }
            }
            _ => prop_assert!(left.is_empty()),
        }
    }

    #[test]
    fn estimates_are_in_order_and_grow(one: String, other: String) {
        let (first, both) = (Tokens::of_text(&one), Tokens::of_text(&format!("{one}{other}")));
        prop_assert!(first.at_least <= first.at_most);
        prop_assert!(first.at_most <= both.at_most && first.at_least <= both.at_least);
        prop_assert!(first.at_most <= one.len() as u64, "a token has at least one byte");
    }
}
