//! Several models on one machine: which can be in memory together, which must take turns, and
//! whether a configuration can keep its promises.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    fit::{self, MEMBERS_MAX, Member, Need, Promise, Together, Verdict},
    machine::{Budget, GpuBudget},
};
use serde::Serialize;

use super::{
    choice,
    command::Plan,
    form::{self, Answer},
    host,
    row::{Question, Row},
    subject::Subject,
};
use crate::{
    config::{Settings, resolved::Served},
    exit::{self, Code},
    size,
    table::{Align, Table},
    terminal::Paint,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    machine: host::Document,
    /// Everything of all models together.
    total_bytes: u64,
    budget_bytes: u64,
    all_at_once: bool,
    /// Names of those that can be in memory together, largest sets first.
    sets: Vec<Vec<String>>,
    /// Names of those that never are.
    turns: Vec<[String; 2]>,
    models: Vec<Planned>,
    /// Programs that the configuration starts for models, with the memory that it declares.
    programs: Vec<Program>,
    notes: Vec<String>,
}

/// One model among others.
#[derive(Debug, Serialize)]
struct Planned {
    #[serde(flatten)]
    row: Row,
    /// Whether it can be had when it is asked for.
    is_kept: bool,
    promise: String,
}

/// A program that serves a model.
#[derive(Debug, Serialize)]
struct Program {
    model: String,
    memory_bytes: u64,
    /// Whether it can be had when it is asked for.
    is_kept: bool,
    promise: String,
}

/// What the configuration says of models beside their files.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    /// Models that a program is started for, and the bytes that are declared for each.
    programs: Vec<(String, u64)>,
    /// Models that are promised to stay.
    pinned: BTreeSet<String>,
    /// The group of each model that is in one of which only one is in memory at a time.
    groups: BTreeMap<String, String>,
}

/// Plans `subject` beside others. They come first, because they are small and meant to stay; it
/// takes the best quantization that fits beside them, else the best that fits alone.
///
/// # Errors
/// When the answer has no JSON form.
pub(crate) fn of_models(
    arguments: &Plan,
    question: &Question,
    subject: &Subject,
    beside: &[Subject],
) -> anyhow::Result<()> {
    let others: Vec<Row> =
        beside.iter().map(|other| take(question, other, &question.host.budget)).collect();
    let taken = others.iter().fold(Need::default(), |sum, row| sum.and(row.need));
    let left = less(&question.host.budget, taken);
    let mut rows = vec![take(question, subject, &left)];
    rows.extend(others);
    form::print(&Document::of(question, rows, Vec::new()), arguments, question)
}

/// Plans everything that the configuration names, or that lies in its folder of models.
///
/// # Errors
/// With [`Code::Failure`] when it promises a model that can never be loaded, [`Code::Model`] when
/// there is none.
pub(crate) fn of_configuration(
    arguments: &Plan,
    settings: &Settings,
    question: &Question,
) -> anyhow::Result<()> {
    let scan = settings.catalog.scan();
    let mut all_are_read = scan.problems.iter().all(|problem| !problem.is_unreadable);
    let mut notes: Vec<String> =
        scan.problems.into_iter().map(|problem| problem.sentence).collect();
    let mut subjects = Vec::new();
    for found in &scan.models {
        if settings.served.commands.contains_key(&found.name) {
            notes.push(format!("{} is hidden by the program of that name", found.path.display()));
            continue;
        }
        // What lies in the folder beside its model promises nothing. A name of the configuration does.
        let is_promised = settings.catalog.named.contains_key(&found.name);
        match Subject::of_found(found, settings) {
            Ok(subject) => match subject.refuse_companion() {
                Ok(()) => subjects.push(subject),
                Err(error) => {
                    all_are_read &= !is_promised;
                    notes.push(format!("{error:#}"));
                }
            },
            Err(error) => {
                all_are_read = false;
                notes.push(format!("{error:#}"));
            }
        }
    }
    if subjects.is_empty() && settings.served.commands.is_empty() {
        form::print_notes(&notes);
        if all_are_read {
            return Err(exit::error(Code::Model, crate::ls::no_models(&settings.catalog)));
        }
        return kept(&[], all_are_read);
    }
    // A model of the configuration is one file, so there is nothing to choose.
    let rows = subjects
        .iter()
        .filter_map(|subject| subject.files.first().map(|file| question.row(subject, file)));
    let rows: Vec<Row> = rows.collect();
    notes.extend(elsewhere(&settings.served));
    let configured = Configured::of(&settings.served, &rows, question.host.budget.bytes);
    let document = Document::configured(question, rows, configured, notes);
    form::print(&document, arguments, question)?;
    let models = document.models.iter().filter(|model| !model.is_kept);
    let programs = document.programs.iter().filter(|program| !program.is_kept);
    let broken: Vec<&str> = models
        .map(|model| model.row.model.as_str())
        .chain(programs.map(|program| program.model.as_str()))
        .collect();
    kept(&broken, all_are_read)
}

/// What takes no memory, or not for long.
fn elsewhere(served: &Served) -> Vec<String> {
    let pools = served.pools.keys().map(|pool| {
        format!("models of {pool}/ are served by servers that run already, and count for nothing")
    });
    let tools = served.tools.iter().map(|(name, tool)| {
        let bytes = size::format(tool.memory_bytes);
        format!("the tool {name} takes {bytes} while it runs; idle models leave for it then")
    });
    pools.chain(tools).collect()
}

impl Configured {
    fn of(served: &Served, rows: &[Row], budget_bytes: u64) -> Self {
        let pinned = served.treatments.iter().filter(|(_, treatment)| treatment.pinned);
        let files = rows.iter().filter_map(|row| {
            let treatment = served.treatments.get(&row.model).cloned().unwrap_or_default();
            let is_text = row.decode_tokens_per_s.is_some();
            let (membership, bytes) = (&treatment.membership, row.total_bytes);
            Some((row.model.clone(), served.groups.of(membership, is_text, bytes, budget_bytes)?))
        });
        let programs = served.commands.iter().filter_map(|(name, command)| {
            Some((name.clone(), served.group_of_command(name, command, budget_bytes)?))
        });
        let exclusive = served.groups.exclusive();
        let groups = files.chain(programs);
        let commands = served.commands.iter();
        Self {
            programs: commands.map(|(name, it)| (name.clone(), it.memory_bytes)).collect(),
            pinned: pinned.map(|(name, _)| name.clone()).collect(),
            groups: groups.filter(|(_, group)| exclusive.contains(group.as_str())).collect(),
        }
    }

    fn member<'a>(&'a self, name: &'a str, need: Need) -> Member<'a> {
        let group = self.groups.get(name).map(String::as_str);
        Member { name, need, pinned: self.pinned.contains(name), group }
    }
}

/// Whether the configuration keeps its promises, when there is no room for the models in `broken`.
fn kept(broken: &[&str], all_are_read: bool) -> anyhow::Result<()> {
    let why = match (broken, all_are_read) {
        ([], true) => return Ok(()),
        ([], false) => "not every model can be read".to_owned(),
        (broken, _) => format!("there is no room for {}", broken.join(", ")),
    };
    Err(exit::error(Code::Failure, format!("the configuration cannot keep its promises: {why}")))
}

/// The row of the best file within `budget`, else within the whole budget, else of the smallest.
fn take(question: &Question, subject: &Subject, budget: &Budget) -> Row {
    let place = choice::recommend(question, subject, budget)
        .or_else(|| choice::recommend(question, subject, &question.host.budget));
    match place.and_then(|place| subject.files.get(place)) {
        Some(file) => question.row(subject, file),
        None => {
            let rows = subject.files.iter().map(|file| question.row(subject, file));
            // A subject has at least one file.
            rows.min_by_key(|row| row.total_bytes).expect("a file")
        }
    }
}

/// What is left of `budget` beside `taken`.
fn less(budget: &Budget, taken: Need) -> Budget {
    let all = taken.ram_bytes.saturating_add(taken.gpu_bytes);
    let (ram_bytes, gpu) = match budget.gpu {
        GpuBudget::None => (all, GpuBudget::None),
        GpuBudget::Within { bytes } => {
            (all, GpuBudget::Within { bytes: bytes.saturating_sub(taken.gpu_bytes) })
        }
        GpuBudget::Separate { bytes } => {
            (taken.ram_bytes, GpuBudget::Separate { bytes: bytes.saturating_sub(taken.gpu_bytes) })
        }
    };
    Budget { bytes: budget.bytes.saturating_sub(ram_bytes), gpu, why: budget.why.clone() }
}

/// What is possible with `members`; where they are too many to try all sets, what is with each alone.
fn possible(members: &[Member<'_>], budget: &Budget) -> Together {
    fit::together(members, budget).unwrap_or_else(|_too_many| {
        let need = members.iter().fold(Need::default(), |sum, member| sum.and(member.need));
        let alone = |member| fit::together(std::slice::from_ref(member), budget);
        let promises = members.iter().filter_map(|member| alone(member).ok());
        Together {
            all_at_once: need.fits(budget),
            sets: Vec::new(),
            turns: Vec::new(),
            promises: promises.flat_map(|together| together.promises).collect(),
        }
    })
}

impl Document {
    /// What is possible with the models of `rows`.
    pub(crate) fn of(question: &Question, rows: Vec<Row>, notes: Vec<String>) -> Self {
        Self::configured(question, rows, Configured::default(), notes)
    }

    /// What is possible with the models of `rows` under this configuration.
    pub(crate) fn configured(
        question: &Question,
        rows: Vec<Row>,
        configured: Configured,
        mut notes: Vec<String>,
    ) -> Self {
        let count = rows.len() + configured.programs.len();
        if count > MEMBERS_MAX {
            notes.push(format!(
                "which of them can be in memory together was not tried: they are {}, and at most \
                 {MEMBERS_MAX} are tried; plan those that are used at the same time with --with",
                count
            ));
        }
        notes.extend(question.notes());
        let files = rows.iter().map(|row| configured.member(&row.model, row.need));
        let programs = configured.programs.iter().map(|(name, bytes)| {
            // Where it puts its memory only it knows, and its word is one figure.
            configured.member(name, Need { ram_bytes: *bytes, gpu_bytes: 0 })
        });
        let members: Vec<Member<'_>> = files.chain(programs).collect();
        let Together { all_at_once, sets, turns, promises } =
            possible(&members, &question.host.budget);
        let name = |place: &usize| members[*place].name.to_owned();
        let sets = sets.iter().map(|set| set.iter().map(name).collect()).collect();
        // Two of which one never fits do not take turns: the one is always there.
        let can_be = |place: &usize| promises[*place].kept;
        let turns = turns.iter().filter(|(one, other)| can_be(one) && can_be(other));
        let turns = turns.map(|(one, other)| [name(one), name(other)]).collect();
        let bytes = rows.iter().map(|row| row.total_bytes);
        let bytes = bytes.chain(configured.programs.iter().map(|(_, bytes)| *bytes));
        let total_bytes = bytes.fold(0, u64::saturating_add);
        let mut promises = promises.into_iter();
        let of_files: Vec<Promise> = promises.by_ref().take(rows.len()).collect();
        let programs = configured.programs.iter().zip(promises).map(|((name, bytes), promise)| {
            let (model, memory_bytes) = (name.clone(), *bytes);
            Program { model, memory_bytes, is_kept: promise.kept, promise: promise.why }
        });
        let programs = programs.collect();
        let models = rows.into_iter().zip(of_files).map(|(row, promise)| Planned {
            is_kept: promise.kept && row.judged != Verdict::DoesNotFit,
            promise: promise.why,
            row,
        });
        Self {
            machine: question.host.document(),
            total_bytes,
            budget_bytes: question.host.budget.bytes,
            all_at_once,
            sets,
            turns,
            models: models.collect(),
            programs,
            notes,
        }
    }
}

impl Answer for Document {
    fn rows(&self) -> Vec<&Row> {
        self.models.iter().map(|model| &model.row).collect()
    }

    fn table(&self, explain: bool) -> Table {
        let mut columns = vec![("MODEL", Align::Left)];
        columns.extend(form::COLUMNS);
        columns.push(("CONTEXT", Align::Right));
        if explain {
            columns.push(("WHY", Align::Left));
        }
        let mut table = Table::new(&columns);
        for Planned { row, promise, .. } in &self.models {
            let mut cells = vec![row.model.clone()];
            cells.extend(form::cells(row));
            cells.push(match row.context_tokens {
                0 => "-".to_owned(),
                tokens => tokens.to_string(),
            });
            if explain {
                cells.push(promise.clone());
            }
            table.row(cells);
        }
        table
    }

    fn lines(&self, question: &Question, explain: bool, paint: Paint) -> Vec<String> {
        let mut lines = vec![format!("On {}", question.host.line())];
        lines.push(question.host.budget.why.clone());
        lines.push(String::new());
        if !self.models.is_empty() {
            lines.extend(self.table(explain).lines(paint));
            lines.push(String::new());
        }
        for Program { model, memory_bytes, .. } in &self.programs {
            let declared = size::format(*memory_bytes);
            lines.push(format!("  program    {model}: {declared}, as the configuration declares"));
        }
        if !self.programs.is_empty() {
            lines.push(String::new());
        }
        let (total, budget) = (size::format(self.total_bytes), size::format(self.budget_bytes));
        if self.all_at_once {
            lines.push(format!("All of them can be in memory together: {total} of {budget}."));
            return lines;
        }
        let one_of_a_group = match self.total_bytes <= self.budget_bytes {
            true => "; but of a group one is in memory at a time",
            false => "",
        };
        lines.push(format!(
            "Together they would need {total}, and there are {budget}{one_of_a_group}."
        ));
        for set in self.sets.iter().filter(|set| set.len() > 1) {
            lines.push(format!("  together   {}", set.join(", ")));
        }
        for [one, other] in &self.turns {
            lines.push(format!("  in turns   {one} and {other}"));
        }
        for Planned { row, promise, .. } in self.models.iter().filter(|model| !model.is_kept) {
            lines.push(format!("  never      {}: {promise}", row.model));
        }
        for program in self.programs.iter().filter(|program| !program.is_kept) {
            lines.push(format!("  never      {}: {}", program.model, program.promise));
        }
        lines
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
