//! Which file of a model to take: the best that fits, told in a sentence.

use planner::{
    fit::{self, Candidate, Verdict, Wanted},
    footprint,
    machine::Budget,
};

use super::{
    row::{Question, Row},
    subject::{Subject, What},
};

/// More bits than this are for training and for making other files from: nobody can tell the
/// difference, and they take twice the memory and the time.
const BITS_CLASS_MAX: u32 = 8;

/// The file of `subject` that a person should take when `budget` is to be had: the best that fits
/// with some room, else the best that fits at all.
pub(crate) fn recommend(question: &Question, subject: &Subject, budget: &Budget) -> Option<usize> {
    let (places, candidates) = candidates(subject);
    let Some(first) = candidates.first() else { return runtime(question, subject) };
    let layout = question.layout(first.header, subject);
    let loads = |candidate: &Candidate<'_>| footprint::check(candidate.header, &layout).is_ok();
    if !candidates.iter().all(loads) {
        return None;
    }
    let wanted = Wanted { layout, companions: subject.companions() };
    [Verdict::Fits, Verdict::Tight].into_iter().find_map(|least| {
        let choice = fit::choose(&candidates, &wanted, budget, least)?;
        places.get(choice.index).copied()
    })
}

/// Files with headers that are worth taking, and their places.
fn candidates(subject: &Subject) -> (Vec<usize>, Vec<Candidate<'_>>) {
    let all = subject.files.iter().enumerate().filter_map(|(place, file)| match &file.what {
        What::Header(header) => {
            Some((place, Candidate { quantization: &file.quantization, header }))
        }
        What::Runtime { .. } => None,
    });
    let all: Vec<(usize, Candidate<'_>)> = all.collect();
    let is_worth_it = |candidate: &Candidate<'_>| candidate.quality().bits_class <= BITS_CLASS_MAX;
    let some_are = all.iter().any(|(_, candidate)| is_worth_it(candidate));
    all.into_iter().filter(|(_, candidate)| !some_are || is_worth_it(candidate)).unzip()
}

/// The best file of a model that another engine runs.
fn runtime(question: &Question, subject: &Subject) -> Option<usize> {
    let files = subject.files.iter().enumerate();
    let fitting =
        files.filter(|(_, file)| question.row(subject, file).judged != Verdict::DoesNotFit);
    fitting
        .min_by(|(_, one), (_, other)| one.quality().compare(&other.quality()))
        .map(|(place, _)| place)
}

/// Why `taken` of `rows` is the one to take.
pub(crate) fn reason(rows: &[Row], taken: usize) -> String {
    let row = &rows[taken];
    let how = match row.judged {
        Verdict::Comfortable => "fits comfortably",
        Verdict::Fits => "fits",
        Verdict::Tight => "just fits",
        Verdict::DoesNotFit => "does not fit",
    };
    if rows.len() == 1 {
        return format!("{} {how}, and is {}", row.quantization, row.quality);
    }
    // The next better one is the worst of those with more quality.
    let better = rows
        .iter()
        .filter(|other| other.bits_class <= BITS_CLASS_MAX)
        .filter(|other| other.rank() < row.rank())
        .max_by_key(|other| other.rank());
    match better {
        None => format!("{} {how}, and no other is better: {}", row.quantization, row.quality),
        Some(better) => {
            format!(
                "{} {how} and is {}; {} is better but {}: {}",
                row.quantization, row.quality, better.quantization, better.verdict, better.why
            )
        }
    }
}
