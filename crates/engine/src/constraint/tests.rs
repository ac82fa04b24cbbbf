//! What is refused, what hostile constraints cost, and that masks allow what they must and nothing else.

use serde_json::json;

use super::*;
use crate::limits::{
    ALTERNATIVES_MAX, LARK_BYTES_MAX, MULTIPLE_MAX, PATTERN_BYTES_MAX, PATTERN_DEPTH_MAX,
    ROW_ITEMS_MAX, SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_VALUES_MAX, STEP_FUEL,
    STEP_ITEMS_MAX,
};

/// Tokens 0 to 255 are bytes, then come the end, a control token, and three words.
const END: u32 = 256;
const CONTROL: u32 = 257;
const WORDS: [&str; 3] = ["{\"", "\":", " \n"];

fn vocabulary_without(missing: &[u8]) -> Arc<Vocabulary> {
    let bytes = |token: u32| match u8::try_from(token) {
        Ok(byte) if missing.contains(&byte) => Vec::new(),
        Ok(byte) => vec![byte],
        Err(_) if token <= CONTROL => Vec::new(),
        Err(_) => WORDS[(token - CONTROL - 1) as usize].into(),
    };
    Arc::new(Vocabulary::new(CONTROL + 4, bytes, |token| token == END).unwrap())
}

fn guard(constraint: &Constraint) -> Result<Guard, Failure> {
    Guard::new(vocabulary_without(&[]), constraint)
}

fn lark(grammar: &str) -> Constraint {
    Constraint::Lark(grammar.to_owned())
}

/// The tokens that are allowed next.
fn allowed(guard: &mut Guard) -> Vec<u32> {
    let mut masked = Vec::new();
    guard.mask(&vec![0.0; CONTROL as usize + 4], &mut masked).unwrap();
    (0..).zip(masked).filter(|(_, logit)| *logit == 0.0).map(|(token, _)| token).collect()
}

/// Takes all bytes of the text, each as a token.
#[track_caller]
fn say(guard: &mut Guard, text: &str) {
    for byte in text.bytes() {
        assert!(allowed(guard).contains(&u32::from(byte)), "{text:?} at {:?}", byte as char);
        guard.accept(u32::from(byte)).unwrap();
    }
}

#[track_caller]
fn refused(constraint: &Constraint, word: &str) {
    let failure = guard(constraint).map(|_| ()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Constraint);
    assert!(failure.message.contains(word), "no {word:?} in: {failure}");
    assert!(failure.message.len() < 1000, "{failure}");
}

#[test]
fn a_mask_allows_what_goes_on_and_nothing_else() {
    let schema = json!({ "type": "object", "properties": { "a": { "const": 5 } }, "required": ["a"],
        "additionalProperties": false });
    let mut guard = guard(&Constraint::JsonSchema(schema)).unwrap();
    let word = |at: u32| CONTROL + 1 + at;
    assert_eq!(allowed(&mut guard), [u32::from(b'{'), word(0)], "and no blank before it");
    guard.accept(word(0)).unwrap();
    assert_eq!(allowed(&mut guard), [u32::from(b'a')]);
    say(&mut guard, "a");
    assert_eq!(allowed(&mut guard), [u32::from(b'"'), word(1)]);
    guard.accept(word(1)).unwrap();
    say(&mut guard, " 5");
    assert!(!guard.is_complete());
    say(&mut guard, "\n}");
    assert!(guard.is_complete());
}

#[test]
fn a_number_may_go_on_and_an_object_may_not() {
    let mut number = guard(&Constraint::JsonSchema(json!({ "type": "integer" }))).unwrap();
    say(&mut number, "12");
    assert!(!number.is_complete(), "more digits may follow");
    assert!(allowed(&mut number).contains(&END));
    number.accept(END).unwrap();
    let mut object = guard(&Constraint::Json).unwrap();
    say(&mut object, "{}");
    assert!(object.is_complete());
}

#[test]
fn a_token_that_is_not_allowed_is_an_error() {
    let mut guard = guard(&Constraint::Json).unwrap();
    for token in [u32::from(b'['), END, CONTROL, 100_000] {
        assert_eq!(guard.accept(token).unwrap_err().kind, FailureKind::Constraint, "{token}");
    }
    say(&mut guard, "{");
}

#[test]
fn a_vocabulary_that_cannot_go_on_is_an_error_and_no_endless_search() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } },
        "required": ["a"] });
    let vocabulary = vocabulary_without(b"-0123456789");
    let mut guard = Guard::new(vocabulary, &Constraint::JsonSchema(schema)).unwrap();
    for byte in b"{\"a\":" {
        guard.prepare_mask().unwrap();
        guard.accept(u32::from(*byte)).unwrap();
    }
    // White space is left, up to its bound.
    let mut masked = Vec::new();
    let failure = loop {
        let blank = u32::from(b' ');
        match guard.mask(&vec![0.0; CONTROL as usize + 4], &mut masked) {
            Ok(()) => assert!(guard.accept(blank).unwrap()),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure.kind, FailureKind::Constraint);
    assert!(failure.message.contains("no text can go on"), "{failure}");
}

#[test]
fn control_tokens_are_never_allowed_whatever_a_grammar_names() {
    let mut numbers = guard(&lark("start: \"a\" <[97,256-258]>*")).unwrap();
    say(&mut numbers, "a");
    let allowed = allowed(&mut numbers);
    assert!(allowed.contains(&END) && !allowed.contains(&CONTROL), "{allowed:?}");
    refused(&lark("start: <[257]>"), "no text can go on");
}

#[test]
fn an_answer_may_begin_in_the_middle_of_a_token() {
    let mut guard = guard(&Constraint::Json).unwrap();
    assert!(!guard.begin("Sure"));
    assert!(!guard.has_begun());
    assert!(guard.begin("{\"a\": [1"));
    say(&mut guard, "]}");
    assert!(guard.is_complete());
}

#[test]
fn white_space_is_free_behind_reasoning_but_not_for_ever() {
    let mut guard = guard(&Constraint::Json).unwrap().after_reasoning(true);
    for _ in 0..LEADING_BLANKS_MAX {
        assert!(allowed(&mut guard).contains(&u32::from(b'\n')));
        guard.accept(u32::from(b'\n')).unwrap();
        assert!(!guard.has_begun());
    }
    assert!(!allowed(&mut guard).contains(&u32::from(b'\n')));
    say(&mut guard, "{}");
}

#[test]
fn the_requests_own_options_for_llguidance_are_replaced() {
    let schema = json!({ "type": "array", "x-guidance": { "lenient": true }, "uniqueItems": true });
    refused(&Constraint::JsonSchema(schema), "uniqueItems");
}

#[test]
fn schemas_that_cannot_be_enforced_are_refused_with_the_reason() {
    let cases = [
        (json!({ "type": "string", "not": { "const": "a" } }), "not"),
        (json!({ "if": {}, "then": false }), "then"),
        (json!({ "oneOf": [{ "minLength": 1 }, { "maxLength": 9 }] }), "oneOf"),
        (
            json!({ "type": "object", "properties": { "a": false }, "required": ["a"] }),
            "nsatisfiable",
        ),
        (json!({ "type": "integer", "minimum": 5, "maximum": 4 }), "5"),
        (json!({ "type": "string", "pattern": "(?=a)b" }), "look-around"),
        (json!({ "type": "string", "pattern": "(" }), "unclosed"),
        (json!({ "type": "string", "format": "colour" }), "colour"),
        (json!({ "type": "colour" }), "colour"),
        (json!({ "$ref": "#/$defs/none" }), "none"),
        (json!({ "$ref": "other.json" }), "other.json"),
        (json!({ "properties": { "a": { "$ref": "http://x/y" } } }), "http://x/y"),
        (
            json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } },
            "$ref": "#/$defs/a" }),
            "no text can go on",
        ),
        // llguidance's own message of this value is a panic.
        (json!({ "type": "array", "minItems": "ä".repeat(200) }), "char boundary"),
        (json!(true), "object"),
    ];
    for (schema, word) in cases {
        refused(&Constraint::JsonSchema(schema), word);
    }
}

#[test]
fn a_schema_may_refer_to_itself() {
    let schema = json!({ "$defs": { "tree": { "type": "object", "properties": { "of": {
        "type": "array", "items": { "$ref": "#/$defs/tree" } } }, "additionalProperties": false } },
        "$ref": "#/$defs/tree" });
    let mut guard = guard(&Constraint::JsonSchema(schema)).unwrap();
    say(&mut guard, "{\"of\": [{\"of\": []}, {}]}");
    assert!(guard.is_complete());
}

/// A value in so many others.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ "items": inner }))
}

#[test]
fn what_is_too_large_or_too_deep_is_refused_with_the_bound() {
    let one_of_many = |count| (0..count).map(|i| json!({ "const": i })).collect::<Vec<_>>();
    let fields = |count| (0..count).map(|i| (format!("p{i}"), json!({}))).collect::<Map<_, _>>();
    let cases = [
        (nested(SCHEMA_DEPTH_MAX + 1), SCHEMA_DEPTH_MAX.to_string()),
        (json!({ "const": "x".repeat(SCHEMA_BYTES_MAX) }), SCHEMA_BYTES_MAX.to_string()),
        (json!({ "enum": vec![0; SCHEMA_VALUES_MAX] }), SCHEMA_VALUES_MAX.to_string()),
        (json!({ "anyOf": one_of_many(ALTERNATIVES_MAX + 1) }), ALTERNATIVES_MAX.to_string()),
        (json!({ "properties": fields(ALTERNATIVES_MAX + 1) }), ALTERNATIVES_MAX.to_string()),
        (json!({ "pattern": "a".repeat(PATTERN_BYTES_MAX + 1) }), PATTERN_BYTES_MAX.to_string()),
        (
            json!({ "patternProperties": { "(".repeat(PATTERN_DEPTH_MAX + 1): {} } }),
            PATTERN_DEPTH_MAX.to_string(),
        ),
        (json!({ "multipleOf": 9_999_991 }), MULTIPLE_MAX.to_string()),
        (json!({ "multipleOf": 1e-12 }), MULTIPLE_MAX.to_string()),
        (
            json!({ "allOf": [{ "multipleOf": 997 }, { "multipleOf": 0.01 }] }),
            MULTIPLE_MAX.to_string(),
        ),
        (
            json!({ "allOf": [{ "multipleOf": 997 }, { "multipleOf": 991 }] }),
            MULTIPLE_MAX.to_string(),
        ),
        (json!({ "type": ["array", "array"], "items": {} }), "twice".to_owned()),
    ];
    for (schema, word) in cases {
        refused(&Constraint::JsonSchema(schema), &word);
    }
    refused(&lark(&"#".repeat(LARK_BYTES_MAX + 1)), &LARK_BYTES_MAX.to_string());
    let groups = 60_000;
    refused(&lark(&format!("start: {}\"a\"{}", "(".repeat(groups), ")".repeat(groups))), "most");
    let groups = 30_000;
    refused(&lark(&format!("start: {}\"a\"{}", "(".repeat(groups), ")".repeat(groups))), "levels");
    refused(&lark("root ::= \"a\""), "GBNF");
    refused(&lark("start: %json { \"multipleOf\": 9999991 }"), "%json");
}

/// Either refused or a mask, without a panic or a crash; then a walk through it, of whose steps none does
/// more than it may. How long that takes is measured by `benches/constraint.rs`.
#[track_caller]
fn bounded(name: &str, constraint: &Constraint) {
    let Ok(mut guard) = guard(constraint) else { return };
    let mut masked = Vec::new();
    let mut state = 7_u64;
    for _ in 0..200 {
        if guard.is_complete() || guard.mask(&[0.0; 261], &mut masked).is_err() {
            return;
        }
        let tokens: Vec<u32> =
            (0..).zip(&masked).filter(|(_, l)| **l == 0.0).map(|(t, _)| t).collect();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let token = tokens[(state >> 33) as usize % tokens.len()];
        let goes_on = guard.accept(token).is_ok();
        let Ok(stats) = guard.matcher.last_step_stats() else { return };
        let (items, fuel) = (stats.all_items, stats.lexer_cost);
        assert!(items <= STEP_ITEMS_MAX + ROW_ITEMS_MAX, "{name}: {items} items in a step");
        assert!(fuel <= 2 * STEP_FUEL, "{name}: {fuel} units of fuel in a step");
        if token == END || !goes_on {
            return;
        }
    }
}

#[test]
fn hostile_schemas_are_refused_or_cost_little() {
    let chain = |wraps: fn(Value) -> Value, links: usize| {
        let link =
            |i: usize| (format!("d{i}"), wraps(json!({ "$ref": format!("#/$defs/d{}", i + 1) })));
        let mut defs: Map<_, _> = (0..links).map(link).collect();
        defs.insert(format!("d{links}"), json!({ "type": "integer" }));
        json!({ "$defs": defs, "$ref": "#/$defs/d0" })
    };
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let nested = (0..9).fold(
        json!({ "type": "integer" }),
        |inner, _| json!({ "anyOf": [inner.clone(), { "type": "array", "items": inner }] }),
    );
    let either = |i: i32| {
        json!({ "anyOf": [{ "properties": { format!("a{i}"): { "type": "string" } } },
                          { "properties": { format!("b{i}"): { "type": "integer" } } }] })
    };
    let both = |i: i32| pattern(&format!("^(.*a.{{{i}}}.*)$"));
    let words: Vec<String> = (0..8_000).map(|i| format!("value number {i} of many")).collect();
    let cases = [
        ("references", chain(|inner| inner, 7_000)),
        (
            "objects in references",
            chain(|inner| json!({ "properties": { "a": inner }, "required": ["a"] }), 2_500),
        ),
        ("words", json!({ "enum": words })),
        (
            "items",
            json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1_000_000_000 }),
        ),
        ("few items", json!({ "type": "array", "items": nested.clone(), "maxItems": 10_000 })),
        ("characters", json!({ "type": "string", "minLength": 1_000_000_000 })),
        ("properties", json!({ "type": "object", "minProperties": 1_000_000 })),
        (
            "optional",
            json!({ "type": "object", "properties":
            (0..1000).map(|i| (format!("p{i}"), json!({}))).collect::<Map<_, _>>() }),
        ),
        ("a{0,100000}", pattern("^a{0,100000}$")),
        ("a in a in a", pattern("^((a{0,1000}b?){0,1000}c?){1000}$")),
        ("a behind a", pattern("^.*a.{900}$")),
        ("and", json!({ "allOf": (3..14).map(both).collect::<Vec<_>>() })),
        (
            "unions in products",
            json!({ "type": "object", "allOf": (0..14).map(either).collect::<Vec<_>>() }),
        ),
        ("nested unions", nested),
        ("multiples", json!({ "type": "integer", "multipleOf": 19_997 })),
        (
            "ranges",
            json!({ "anyOf": (0..1000).map(|i| {
            json!({ "type": "integer", "minimum": i * 1000 + 7, "maximum": i * 1000 + 12_345 })
        }).collect::<Vec<_>>() }),
        ),
        (
            "endless",
            json!({ "$defs": { "n": { "properties": { "n": { "$ref": "#/$defs/n" } },
            "required": ["n"] } }, "$ref": "#/$defs/n" }),
        ),
    ];
    for (name, schema) in cases {
        bounded(name, &Constraint::JsonSchema(schema));
    }
}

/// Each of these comes to gigabytes, or to minutes, once it is compiled.
#[test]
fn a_small_schema_that_grows_where_its_parts_meet_is_refused() {
    let doubling = |link: fn(&Value) -> Value| {
        let reference = |i: usize| json!({ "$ref": format!("#/$defs/d{i}"), "type": "array" });
        let mut defs = Map::new();
        defs.insert("d0".to_owned(), json!({ "type": "array" }));
        for i in 0..22 {
            defs.insert(format!("d{}", i + 1), link(&reference(i)));
        }
        json!({ "$defs": defs, "$ref": "#/$defs/d22", "type": "array" })
    };
    let words: Vec<String> = (0..9_000).map(|i| format!("w{i}")).collect();
    let arrays =
        |count: usize| json!({ "anyOf": vec![json!({ "type": "array", "minItems": 1 }); count] });
    let cases = [
        doubling(|inner| json!({ "type": "array", "prefixItems": [inner, inner] })),
        // Names of properties are no keywords.
        doubling(|inner| {
            json!({ "type": "array", "items": {
            "properties": { "default": inner, "anyOf": inner } } })
        }),
        json!({ "allOf": [{ "type": "array", "items": { "enum": words } }, arrays(150), arrays(150)] }),
        json!({ "type": "array", "items": { "enum": words }, "anyOf": [{}, arrays(100)] }),
        json!({ "allOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/b" }], "$defs": {
            "a": { "properties": { "x": { "$ref": "#/$defs/a" } } },
            "b": { "properties": { "x": { "$ref": "#/$defs/b" } } } } }),
        // Each place is small, and there are many.
        json!({ "type": "array", "prefixItems": vec![json!({ "$ref": "#/$defs/b", "type": "array" }); 1000],
            "$defs": { "b": { "type": "array", "items": { "enum": words[..4400] } } } }),
        // Each value of an enum meets all that is said beside it.
        json!({ "type": "array", "items": { "enum": words[..4400] },
            "enum": (0..4400).map(|i| json!([i])).collect::<Vec<_>>() }),
        // What one part says of any name is copied for each name of another.
        json!({ "allOf": [{ "properties": (0..900).map(|i| (format!("p{i}"), json!({})))
            .collect::<Map<_, _>>() }, { "additionalProperties": { "enum": words } }] }),
        json!({ "allOf": [{ "prefixItems": vec![true; 4400] }, { "items": { "enum": words } }] }),
        json!({ "enum": [(0..900).map(|i| (format!("p{i}"), json!(1))).collect::<Map<_, _>>(), 1],
            "additionalProperties": { "enum": words } }),
        json!({ "allOf": [
            { "properties": (0..90).map(|i| (format!("a{i}"), json!({}))).collect::<Map<_, _>>() },
            { "additionalProperties": { "properties": (0..90).map(|i| (format!("b{i}"), json!({})))
                .collect::<Map<_, _>>() } },
            { "additionalProperties": { "additionalProperties": { "enum": words[..90] } } }] }),
        // What meets no alternative has met the others before.
        json!({ "allOf": [{ "type": "array", "items": { "enum": words } }, arrays(150), { "anyOf": [] }] }),
        // Names stand in a reference as they are.
        json!({ "$ref": "#/$defs/a~1b", "type": "array", "$defs": { "a/b": {}, "a~1b": {
            "allOf": [{ "type": "array", "items": { "enum": words } }, arrays(150)] } } }),
    ];
    for schema in cases {
        refused(&Constraint::JsonSchema(schema), "parts");
    }
    let chain: Map<String, Value> = (0..100)
        .map(|i| (format!("d{i}"), json!({ "items": { "$ref": format!("#/$defs/d{}", i + 1) } })))
        .chain([("d100".to_owned(), json!({}))])
        .collect();
    let schema = json!({ "$defs": chain, "$ref": "#/$defs/d0", "type": "array" });
    refused(&Constraint::JsonSchema(schema), "one to the next");
    let patterns: Map<String, Value> =
        (0..100).map(|i| (format!("^a{i:04}x"), json!({}))).collect();
    let schema = json!({ "properties": { "default": { "patternProperties": patterns } } });
    refused(&Constraint::JsonSchema(schema), "pairs");
}

/// What generators of schemas write.
#[test]
fn honest_schemas_whose_parts_meet_are_taken() {
    let person = json!({ "type": "object", "properties": {
        "name": { "type": "string", "title": "Name" },
        "next": { "anyOf": [{ "$ref": "#/$defs/person" }, { "type": "null" }], "default": null } },
        "required": ["name", "next"], "additionalProperties": false });
    // Thirty kinds of a thing, each all that the thing is and some more.
    let list = json!({ "type": "array", "items": { "type": "object", "properties": {
        "key": { "type": "string" }, "value": { "enum": ["a", "b", "c"] } } } });
    let fields =
        |of: &str| (0..12).map(|i| (format!("{of}{i}"), list.clone())).collect::<Map<_, _>>();
    let base = json!({ "type": "object", "properties": fields("base") });
    let derived = |i| {
        let own = fields(&format!("own{i}_"));
        (
            format!("kind{i}"),
            json!({ "allOf": [{ "$ref": "#/$defs/base" }, { "properties": own }] }),
        )
    };
    for schema in [
        json!({ "$defs": { "person": person }, "$ref": "#/$defs/person", "title": "A person" }),
        json!({ "$defs": { "person": person }, "type": "object", "properties": {
            "who": { "allOf": [{ "$ref": "#/$defs/person" }], "description": "somebody" } },
            "required": ["who"], "additionalProperties": false }),
        json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "anyOf": [
            { "required": ["a"] }, { "properties": { "b": { "type": "string" } }, "required": ["b"] }] }),
        json!({ "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
        json!({ "type": "array", "prefixItems": vec![json!({ "$ref": "#/$defs/b", "type": "string" }); 50],
            "$defs": { "b": { "enum": (0..500).map(|i| format!("w{i}")).collect::<Vec<_>>() } } }),
        json!({ "type": "object", "properties": (0..30).map(derived).collect::<Map<_, _>>(),
            "$defs": { "base": base } }),
    ] {
        guard(&Constraint::JsonSchema(schema)).unwrap();
    }
}

#[test]
fn hostile_grammars_are_refused_or_cost_little() {
    let hidden = "(\")\"".repeat(12_000);
    let rules: String = (0..2_000).map(|i| format!("r{i}: \"a\" r{}\n", i + 1)).collect();
    let cases = [
        ("ambiguous", "start: e\ne: e e | e e e | \"a\" |".to_owned()),
        ("counts", "start: a{1000}\na: b{1000}\nb: c{1000}\nc: \"x\"".to_owned()),
        ("a large count", "start: (\"a\" | \"b\"){1000000000}".to_owned()),
        ("hidden brackets", format!("start: {hidden}")),
        ("rules", format!("start: r0\n{rules}r2000: \"b\"\n")),
        ("regex", "start: /((a{1,1000}b?){1,1000}c?){1000}/".to_owned()),
        ("both ways", "start: /.*/ & /.*a.{500}/ & ~/.*b.{500}/".to_owned()),
        ("empty", String::new()),
        ("no rule", "%ignore / /".to_owned()),
        ("odd", "start: \"\\ud800\" <|nothing|> @other".to_owned()),
    ];
    for (name, grammar) in cases {
        bounded(name, &lark(&grammar));
    }
}
