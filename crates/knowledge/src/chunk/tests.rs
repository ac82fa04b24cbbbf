//! What passages are, whatever the document: all of its text, in order, in places that are right, within the cap.

use proptest::prelude::*;

use super::*;
use crate::document::Inside;

/// Counts as models do, roughly: Chinese characters one by one, Latin letters in fours, and two of its own.
struct Count;

impl Tokens for Count {
    fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed> {
        Ok(texts.iter().map(|text| tokens_of(text)).collect())
    }
}

fn tokens_of(text: &str) -> u32 {
    let quarters: usize = text.chars().map(|letter| if letter.is_ascii() { 1 } else { 4 }).sum();
    2 + quarters.div_ceil(4) as u32
}

/// Counts as no model does: some letters weigh much, the sum of two texts is not that of both.
struct Odd;

impl Tokens for Odd {
    fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed> {
        let odd = |text: &&str| {
            text.chars().map(|letter| letter as u32 % 7).sum::<u32>() + text.len() as u32 % 3
        };
        Ok(texts.iter().map(odd).collect())
    }
}

/// Parts that stand in a file one after the other, with an empty line between; every third is not stored as it reads.
fn stands(parts: Vec<(Role, String)>, title: Option<String>) -> Document {
    let mut at = 0;
    let parts = (0..).zip(parts).map(|(number, (role, text))| {
        let bytes = at..at + text.len() as u64;
        at = bytes.end + 2;
        let place = match number % 3 {
            0 | 1 => Place { inside: Inside::Whole, bytes: Some(bytes) },
            _ => Place { inside: Inside::Page(number), bytes: None },
        };
        Part { text, role, place }
    });
    Document { title, parts: parts.collect(), gaps: Vec::new() }
}

fn file_of(document: &Document) -> String {
    document.parts.iter().map(|part| format!("{}\n\n", part.text)).collect()
}

fn check(document: &Document, sizes: Sizes, tokens: &dyn Tokens) -> Vec<Passage> {
    let passages = passages(document, sizes, tokens).unwrap();
    let file = file_of(document);
    for passage in &passages {
        assert!(
            passage.tokens <= sizes.cap || passage.text.chars().count() == 1,
            "{} of {} tokens: {:?}",
            passage.tokens,
            sizes.cap,
            passage.text
        );
        let counted = tokens.count(&[&passage.embedded()]).unwrap();
        assert_eq!(counted, [passage.tokens]);
        let mut end = 0;
        for piece in &passage.pieces {
            assert!(piece.text.start >= end && piece.text.end > piece.text.start);
            let between = &passage.text[end as usize..piece.text.start as usize];
            assert!(["", "\n", "\n\n"].contains(&between), "{between:?}");
            end = piece.text.end;
            let words = &passage.text[piece.text.start as usize..piece.text.end as usize];
            let part = &document.parts[piece.part as usize];
            assert_eq!(words, &part.text[piece.at as usize..][..words.len()]);
            if let Some(bytes) = &piece.place.bytes {
                assert_eq!(words, &file[bytes.start as usize..bytes.end as usize]);
            }
            assert_eq!((piece.role, &piece.place.inside), (part.role, &part.place.inside));
        }
        assert_eq!(end as usize, passage.text.len());
    }
    let pieces = passages.iter().map(|passage| (passage.text.as_str(), passage.pieces.as_slice()));
    let mut expected = document.clone();
    expected.parts.retain(|part| !part.text.trim().is_empty());
    assert_eq!(super::document(document.title.clone(), pieces), expected, "nothing is lost");
    passages
}

fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z]{1,12} ",
        4 => "[一-鿿]{1,20}",
        2 => "[。！？，]",
        2 => "[.!?;] ",
        1 => "\n{1,3}",
        1 => "[a-zA-Z0-9]{40,300}",
        1 => "\\PC{0,6}",
        1 => "[\u{1F468}\u{200D}\u{1F469}\u{301}]{1,9}",
    ];
    proptest::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        2 => (1_u8..=6).prop_map(Role::Heading),
        5 => Just(Role::Paragraph),
        2 => Just(Role::Item),
        3 => Just(Role::Row),
        1 => Just(Role::Code),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn nothing_is_lost_or_out_of_place_or_too_long(
        parts in proptest::collection::vec((role(), words()), 0..20),
        title in proptest::option::of("[a-z ]{0,300}"),
        window in prop_oneof![Just(512_u32), Just(64), Just(8192), 8_u32..200],
        span in (0.0_f64..1.0, 0.0_f64..1.0),
    ) {
        let document = stands(parts, title);
        let file = file_of(&document);
        for passage in check(&document, Sizes::for_window(window), &Count) {
            // Any span of a passage is found in the file, to the byte where the file holds the text.
            let at = |share: f64| passage.text.floor_char_boundary((passage.text.len() as f64 * share) as usize);
            let (from, to) = (at(span.0.min(span.1)), at(span.0.max(span.1)));
            for place in passage.places(from..to) {
                if let Some(bytes) = place.bytes {
                    prop_assert!(passage.text[from..to].contains(&file[bytes.start as usize..bytes.end as usize]));
                }
            }
        }
    }

    #[test]
    fn a_counter_that_is_odd_is_still_obeyed(
        parts in proptest::collection::vec((role(), words()), 0..8),
        cap in 7_u32..300,
    ) {
        check(&stands(parts, None), Sizes { target: (cap / 2).max(1), cap }, &Odd);
    }
}

fn paragraph(words: &str) -> (Role, String) {
    (Role::Paragraph, words.to_owned())
}

#[test]
fn sections_begin_passages_and_headings_stay_with_what_they_name() {
    let long = "Steam comes at a pressure of nine bars. ".repeat(20);
    let document = stands(
        vec![
            (Role::Heading(1), "Machine".into()),
            paragraph(&long),
            (Role::Heading(2), "Cleaning".into()),
            paragraph(&long),
            (Role::Heading(2), "Service".into()),
            paragraph("Every year."),
        ],
        Some("Manual".into()),
    );
    let passages = check(&document, Sizes { target: 220, cap: 480 }, &Count);
    let shown: Vec<(&str, Vec<&str>, &str)> = passages
        .iter()
        .map(|passage| {
            let headings = passage.headings.iter().map(String::as_str).collect();
            (passage.context.as_str(), headings, passage.text.split('\n').next().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("Manual", vec!["Machine"], "Machine"),
            ("Manual > Machine", vec!["Machine", "Cleaning"], "Cleaning"),
            ("Manual > Machine", vec!["Machine", "Service"], "Service"),
        ]
    );
    assert!(passages[0].embedded().starts_with("Manual\n\nMachine\nSteam"));
}

#[test]
fn small_sections_share_a_passage() {
    let parts = (0..6)
        .flat_map(|number| [(Role::Heading(2), format!("Question {number}")), paragraph("Yes.")]);
    let passages = check(&stands(parts.collect(), None), Sizes::for_window(512), &Count);
    assert_eq!(passages.len(), 1);
}

#[test]
fn chinese_and_english_end_at_sentences() {
    let chinese =
        "这台咖啡机的压力为九巴。清洗时请先断开电源！您准备好了吗？然后打开水箱，倒掉剩余的水。"
            .repeat(40);
    let english = "The machine has a pressure of 9 bars. Unplug it before cleaning! Are you ready? Then open it. ".repeat(60);
    for (text, ends) in [(chinese, "。！？"), (english, ".!?")] {
        let passages = check(&stands(vec![paragraph(&text)], None), Sizes::for_window(512), &Count);
        assert!(passages.len() > 2);
        let at_end = passages
            .iter()
            .filter(|passage| passage.text.trim_end().ends_with(|end| ends.contains(end)));
        assert_eq!(at_end.count(), passages.len());
        let longer = passages.iter().filter(|passage| passage.tokens > 250).count();
        assert!(longer >= passages.len() - 1, "they are of the length that was aimed at");
        let bytes: usize = passages.iter().map(|passage| passage.text.len()).sum();
        let most = text.len() + text.len() / 8;
        assert!(
            bytes > text.len() && bytes <= most,
            "{bytes} of {}: about a tenth overlaps",
            text.len()
        );
    }
}

#[test]
fn tables_and_code_are_whole_where_they_fit() {
    let row = |number: usize| {
        (Role::Row, format!("part: bolt {number}; price: {number}00 euro; weight: 12 g"))
    };
    let code = "    let x = compute(1, 2);\n".repeat(60);
    let mut parts = vec![paragraph(&"Prices follow below. ".repeat(50))];
    parts.extend((0..20).map(row));
    parts.push((Role::Code, code.clone()));
    let sizes = Sizes::for_window(2048);
    let passages = check(&stands(parts, None), sizes, &Count);
    assert_eq!(passages.iter().filter(|passage| passage.text.contains("bolt")).count(), 1);
    assert_eq!(passages.iter().filter(|passage| passage.text.contains("compute")).count(), 1);
    assert!(tokens_of(&code) > sizes.target);

    let rows = check(&stands((0..500).map(row).collect(), None), sizes, &Count);
    assert!(
        rows.iter().all(|passage| passage.pieces.iter().all(|piece| piece.at == 0)),
        "rows stay whole"
    );
}

#[test]
fn a_megabyte_without_a_place_to_pause_takes_few_calls() {
    struct Counted(std::cell::Cell<usize>);
    impl Tokens for Counted {
        fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed> {
            self.0.set(self.0.get() + 1);
            Count.count(texts)
        }
    }
    let counted = Counted(std::cell::Cell::new(0));
    let text = "a".repeat(1 << 20);
    let passages = check(&stands(vec![paragraph(&text)], None), Sizes::for_window(512), &counted);
    assert!(passages.len() > 600);
    // One call of this test's own for each passage.
    let calls = counted.0.get() - passages.len();
    assert!(calls < 40, "{calls} calls");
}

#[test]
fn a_counter_that_fails_is_told() {
    struct Fails;
    impl Tokens for Fails {
        fn count(&self, _texts: &[&str]) -> Result<Vec<u32>, Failed> {
            Err(Failed("the model left".to_owned()))
        }
    }
    struct Forgets;
    impl Tokens for Forgets {
        fn count(&self, _texts: &[&str]) -> Result<Vec<u32>, Failed> {
            Ok(Vec::new())
        }
    }
    let document = stands(vec![paragraph("words")], None);
    let told = passages(&document, Sizes::for_window(512), &Fails).unwrap_err().to_string();
    assert!(told.contains("the model left"), "{told}");
    let error = passages(&document, Sizes::for_window(512), &Forgets).unwrap_err();
    assert!(matches!(error, Error::Miscounted { asked: 1, answered: 0 }));
}
