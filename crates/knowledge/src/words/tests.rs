//! What is found by what.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{passage, query, term_id, terms};

/// Whether every term of the question is among those of the text, so that nothing keeps the text from being found.
fn finds(question: &str, text: &str) -> bool {
    let text: HashSet<String> = terms(text).into_iter().collect();
    let question = terms(question);
    !question.is_empty() && question.iter().all(|term| text.contains(term))
}

#[test]
fn characters_and_their_pairs_of_scripts_without_spaces() {
    assert_eq!(terms("机器学习"), ["机", "机器", "器", "器学", "学", "学习", "习"]);
    assert_eq!(terms("東京へ"), ["東", "東京", "京", "京へ", "へ"]);
    assert_eq!(terms("한국어"), ["한", "한국", "국", "국어", "어"]);
    assert_eq!(terms("龍。虎"), ["龍", "虎"], "a pair does not reach over a full stop");
}

#[test]
fn words_without_case_endings_and_accents() {
    assert_eq!(terms("The Running of Horses"), ["run", "hors"]);
    assert!(finds("cafe", "Café"));
    assert!(finds("Straße", "STRASSE"));
    assert!(finds("naïve", "naive"));
    assert_eq!(terms("й"), ["й"], "a mark that makes another letter stays");
    assert!(finds("ＡＢＣ１２３", "ABC123"), "full width is width");
    assert!(finds("ｶﾀｶﾅ", "カタカナ"), "half width is width");
    assert!(finds("patient", "the patient's file"));
    assert!(finds("don't", "Don’t"));
}

#[test]
fn numbers_are_whole() {
    assert_eq!(terms("1,280"), ["1280"]);
    assert_eq!(terms("1,000,000.50"), ["1000000.50"]);
    assert_eq!(terms("3.14"), ["3.14"]);
    assert_eq!(terms("20240315"), ["20240315"]);
    assert!(finds("1280", "共1,280元"));
    assert_eq!(terms("1,2"), ["1", "2"], "a list is not a number");
}

#[test]
fn a_day_is_found_however_it_is_written() {
    let ways = ["2024-03-15", "2024/3/15", "2024.03.15", "15.03.2024", "2024年3月15日", "20240315"];
    for text in ways {
        assert!(finds("20240315", text), "{text}: {:?}", terms(text));
    }
    assert!(finds("2024", "2024-03-15"));
    assert_eq!(terms("2024-13-15"), ["2024-13-15", "2024", "13", "15"], "there is no month 13");
}

#[test]
fn identifiers_are_found_as_wholes_and_in_parts() {
    for (text, whole, part) in [
        ("INV-20240315", "inv-20240315", "20240315"),
        ("INV20240315", "inv20240315", "20240315"),
        ("parseHttpHeader", "parsehttpheader", "header"),
        ("HTTPServer", "httpserver", "server"),
        ("foo_bar", "foo_bar", "bar"),
        ("crates/knowledge/src/main.rs", "crates/knowledge/src/main.rs", "main.rs"),
        ("C:\\Users\\zhang\\a.txt", "c:\\users\\zhang\\a.txt", "zhang"),
        ("zhang.san@example.com", "zhang.san@example.com", "example.com"),
        ("v1.2.3", "v1.2.3", "1.2.3"),
        ("192.168.0.1", "192.168.0.1", "192.168.0.1"),
        ("IL-6", "il-6", "6"),
        ("C++", "c++", "c"),
        ("F#", "F#", "f"),
        ("R&D", "r&d", "d"),
    ] {
        for question in [whole, part] {
            assert!(finds(question, text), "{question} in {text}: {:?}", terms(text));
            assert!(
                finds(question, &format!("编号{text}的文件")),
                "{question} among Chinese in {text}"
            );
            assert!(
                finds(question, &format!("See ({text}), please.")),
                "{question} in a sentence with {text}"
            );
        }
    }
    assert!(!finds("inv-20240316", "INV-20240315"));
    assert!(!finds("1.2.4", "v1.2.3"));
}

#[test]
fn names_of_letters_and_few_digits_stay_together() {
    assert_eq!(terms("p53 H5N1 mRNA"), ["p53", "h5n1", "mrna"]);
    assert_eq!(terms("siRNA TNFalpha"), ["sirna", "tnfalpha"]);
    assert_eq!(terms("microRNA"), ["microrna", "micro", "rna"]);
    assert!(finds("GPU", "GPUs"));
}

#[test]
fn what_is_too_long_to_be_a_word_is_none() {
    let digest = "a1".repeat(64);
    assert_eq!(terms(&digest), [digest.as_str()], "a SHA-512");
    assert!(terms(&"a".repeat(129)).is_empty());
    assert!(terms(&"aBcD1234".repeat(40)).is_empty(), "nor are its parts");
}

#[test]
fn a_term_keeps_its_number_for_ever() {
    // An index holds these numbers: another result means that `WORDS_VERSION` must rise.
    assert_eq!(term_id("resident"), 3_193_822_341);
    assert_eq!(term_id("常驻"), 3_221_738_573);
}

#[test]
fn what_repeats_counts_less_each_time_and_length_counts_against() {
    let weight =
        |text: &str| passage(text).terms.iter().find(|term| term.0 == term_id("zinc")).unwrap().1;
    let (once, twice, thrice) =
        (weight("zinc iron"), weight("zinc zinc"), weight("zinc zinc zinc"));
    assert!(once < twice && twice < thrice && thrice - twice < twice - once);
    assert!(weight(&format!("zinc {}", "iron ".repeat(500))) < once / 2.0);
    assert_eq!(query("zinc zinc").terms, [(term_id("zinc"), 2.0)]);
}

proptest! {
    #[test]
    fn any_text_gives_sorted_terms_of_finite_weight(text in ".{0,300}") {
        let sparse = passage(&text);
        prop_assert!(sparse.terms.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert!(sparse.terms.iter().all(|&(_, weight)| weight.is_finite() && weight > 0.0));
        prop_assert!(terms(&text).iter().all(|term| !term.is_empty()));
    }

    #[test]
    fn a_text_finds_itself(text in "[a-zA-Z0-9\u{4e00}-\u{4e40}_./:@ -]{1,40}") {
        let own = terms(&text);
        prop_assert!(own.is_empty() || finds(&text, &text));
        let around = format!("（{text}）");
        // What stands around a text does not change what it is found by.
        prop_assert!(own.is_empty() || finds(&text, &around));
    }
}
