//! A thousand documents that are added, changed, moved and deleted: disk, store and index agree after each.

use std::{collections::BTreeSet, fmt::Write, fs, path::PathBuf};

use crate::ingest::{Place, files_below};

/// Numbers that look random and are the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const ENGLISH: [&str; 16] = [
    "the invoice",
    "our machine",
    "a pressure",
    "nine bars",
    "was paid",
    "in March",
    "by the office",
    "shows",
    "needs service",
    "every year",
    "and",
    "before",
    "the water tank",
    "is cleaned",
    "again",
    "without delay",
];
const CHINESE: [&str; 12] = [
    "这台机器",
    "需要",
    "每年",
    "保养",
    "发票",
    "已经付款",
    "办公室",
    "水箱",
    "压力",
    "九巴",
    "请先",
    "断开电源",
];

pub(crate) fn sentence(random: &mut Random) -> String {
    let (words, space, end) =
        if random.below(3) == 0 { (&CHINESE[..], "", "。") } else { (&ENGLISH[..], " ", ". ") };
    let chosen: Vec<&str> = (0..4 + random.below(8)).map(|_| random.of(words)).collect();
    format!("{}{}{end}", chosen.join(space), random.below(100_000))
}

fn paragraph(random: &mut Random) -> String {
    (0..1 + random.below(12)).map(|_| sentence(random)).collect()
}

/// A document as people have them, of the kind that its name says.
pub(crate) fn document(random: &mut Random, kind: &str) -> String {
    let mut text = String::new();
    for block in 0..1 + random.below(8) {
        let _written = match kind {
            "md" => write!(
                text,
                "{} Part {block}\n\n{}\n\n",
                "#".repeat(1 + (block % 3) as usize),
                paragraph(random)
            ),
            "csv" => {
                writeln!(text, "bolt {block},{},{}", random.below(10_000), sentence(random).trim())
            }
            "html" => write!(text, "<h2>Part {block}</h2>\n\n<p>{}</p>\n\n", paragraph(random)),
            "rs" | "py" => {
                write!(
                    text,
                    "fn part_{block}() {{\n    // {}\n    call({block});\n}}\n\n",
                    sentence(random)
                )
            }
            _ => write!(text, "{}\n\n", paragraph(random)),
        };
    }
    text
}

const KINDS: [&str; 7] = ["md", "txt", "csv", "html", "rs", "py", "srt"];
const FOLDERS: [&str; 8] = [
    "",
    "notes",
    "notes/2024",
    "会议记录",
    "work/coffee machine",
    "work/code/src",
    "a/b/c/d/e",
    "résumés",
];

fn write_new(place: &Place, random: &mut Random, number: usize) {
    let kind = random.of(&KINDS);
    let folder = random.of(&FOLDERS);
    let text = document(random, kind);
    place.write(format!("{folder}/document {number}.{kind}").trim_start_matches('/'), &text);
}

fn some(place: &Place, random: &mut Random, count: usize) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = files_below(&place.folder).into_iter().collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(files[random.below(files.len() as u64) as usize].clone());
    }
    chosen.into_iter().collect()
}

#[test]
fn a_thousand_documents_stay_in_step() {
    let place = Place::new();
    let random = &mut Random(7);
    for number in 0..960 {
        write_new(&place, random, number);
    }
    // Some hold the same, some hold nothing that can be read.
    for (number, path) in some(&place, random, 30).into_iter().enumerate() {
        let copy = place
            .folder
            .join(format!("notes/copy {number}.{}", path.extension().unwrap().display()));
        fs::copy(&path, copy).unwrap();
    }
    for number in 0..10 {
        fs::write(place.folder.join(format!("notes/photo {number}.jpg")), [0xff, 0xd8, number])
            .unwrap();
    }
    let (outcome, _) = place.run();
    assert!(outcome.is_done);
    assert_eq!(
        (outcome.progress.files, outcome.progress.files_done, outcome.progress.skipped),
        (1000, 1000, 10)
    );
    assert_eq!(outcome.progress.bytes, outcome.progress.bytes_done);
    place.agree();
    place.done("");

    for path in some(&place, random, 120) {
        let kind = path.extension().unwrap().to_str().unwrap().to_owned();
        fs::write(&path, document(random, &kind)).unwrap();
    }
    let (outcome, _) = place.run();
    assert_eq!(outcome.progress.files, 120);
    place.agree();
    assert_eq!(place.done("extract"), 120);
    place.done("");

    // A folder by another name, and single files in other folders by other names.
    fs::rename(place.folder.join("notes"), place.folder.join("old notes")).unwrap();
    for (number, path) in some(&place, random, 80).into_iter().enumerate() {
        let to =
            place.folder.join(format!("moved/{number}.{}", path.extension().unwrap().display()));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(path, to).unwrap();
    }
    let (outcome, events) = place.run();
    let moved = events.iter().filter(|event| event.starts_with("moved")).count() as u64;
    assert!(moved > 150, "{moved}");
    assert_eq!(place.done("embed"), 0, "what moved has its vectors");
    assert_eq!(outcome.progress.unchanged, moved);
    place.agree();

    for path in some(&place, random, 200) {
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir_all(place.folder.join("work")).unwrap();
    place.run();
    place.agree();

    // All at once.
    for number in 1000..1100 {
        write_new(&place, random, number);
    }
    for (number, path) in some(&place, random, 90).into_iter().enumerate() {
        let kind = path.extension().unwrap().to_str().unwrap().to_owned();
        match number % 3 {
            0 => fs::write(&path, document(random, &kind)).unwrap(),
            1 => fs::remove_file(&path).unwrap(),
            _ => fs::rename(&path, place.folder.join(format!("again {number}.{kind}"))).unwrap(),
        }
    }
    place.run();
    place.agree();
}
