//! The walls and the shape of the code, checked by a machine.
//!
//! Each finding names the file, the line, the rule and the way out. Not here: what clippy checks
//! (functions over 70 lines, banned calls in `planner`, `unsafe` outside `llama-worker`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of production code a file may have.
const FILE_LINES_MAX: usize = 800;

/// Words that only `dialect` may use: field names of vendors that mean nothing to the rest.
const VENDOR_WORDS: &[&str] =
    &["\"finish_reason\"", "\"choices\"", "\"stream_options\"", "\"top_logprobs\""];

/// Who knows them nevertheless: the dialects, their fuzzer, and the commands that are clients of a
/// running hub like any other program.
const VENDOR_SPEAKERS: &[&str] =
    &["crates/dialect/", "crates/resident/src/bench", "crates/resident/src/run", "fuzz/"];

/// What differs from each vendor's API, and how many differences each may have.
const DIFFERENCES: &str = "docs/compatibility.md";
const DIFFERENCES_MAX: usize = 10;

/// Marks of unfinished work, and of functions that were left too long.
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "#[ignore", "clippy::too_many_lines"];

/// How `unsafe` looks in code, rather than in a sentence.
const UNSAFE: &[&str] = &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("];

/// Dependencies that only some crates may have, with the reason.
const FENCED: &[(&str, &[&str], &str)] = &[
    ("axum", &["gateway"], "only `gateway` speaks HTTP to clients"),
    ("reqwest", &["library"], "only `library` reaches the internet"),
    ("ureq", &["library"], "only `library` reaches the internet"),
    ("hf-hub", &["library"], "only `library` reaches the internet"),
    ("tokio-rustls", &["supervisor"], "only servers that the user named are spoken to over TLS"),
    ("llama-cpp-sys-2", &["llama-worker"], "only `llama-worker` calls llama.cpp"),
];

/// Crates that must not depend on an asynchronous runtime, directly or through others.
const PURE: &[&str] = &["planner", "worker-protocol", "dialect"];

/// Which of our crates each may use: the arrows between the walls. A crate that is not listed uses
/// none. Tests and benches may use more.
const ARROWS: &[(&str, &[&str])] = &[
    ("dialect", &["worker-protocol"]),
    ("engine", &["kv-store", "planner", "worker-protocol"]),
    ("fuzz", &["dialect", "engine", "kv-store", "library", "planner", "worker-protocol"]),
    ("gateway", &["dialect", "supervisor", "worker-protocol"]),
    ("library", &["planner"]),
    ("llama-worker", &["engine", "kv-store", "planner", "worker-protocol"]),
    (
        "resident",
        &[
            "dialect",
            "gateway",
            "knowledge",
            "kv-store",
            "library",
            "planner",
            "supervisor",
            "worker-protocol",
        ],
    ),
    ("supervisor", &["dialect", "planner", "worker-protocol"]),
    ("xtask", &["planner"]),
];

/// Checks this project.
///
/// # Errors
/// The findings, when there are any.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let findings = findings(&root);
    anyhow::ensure!(findings.is_empty(), "{} findings\n{}", findings.len(), report(&findings));
    Ok(())
}

/// Everything that is wrong below `root`, one line each.
fn findings(root: &Path) -> Vec<String> {
    let mut findings = Vec::new();
    let crates = crates(root);
    let names: Vec<String> = crates.iter().map(|krate| file_name(krate)).collect();
    for krate in crates {
        check_manifest(&krate, &mut findings);
        check_arrows(&krate, &names, &mut findings);
        check_clippy_settings(root, &krate, &mut findings);
        for file in rust_files(&krate) {
            check_file(root, &krate, &file, &mut findings);
        }
    }
    for krate in PURE {
        check_pure(root, krate, &mut findings);
    }
    match std::fs::read_to_string(root.join(DIFFERENCES)) {
        Ok(text) => check_differences(&text, &mut findings),
        Err(_) => findings.push(format!("{DIFFERENCES}: cannot be read")),
    }
    findings
}

/// Differences stand in tables of what, here and why, one below each vendor's heading.
fn check_differences(text: &str, findings: &mut Vec<String>) {
    let mut tables = 0;
    for section in text.split("\n## ").skip(1) {
        let vendor = section.lines().next().unwrap_or_default();
        let mut rows = section.lines().filter(|line| line.starts_with('|'));
        if rows.next() != Some("| what | here | why |") {
            continue;
        }
        tables += 1;
        let rows: Vec<&str> = rows.skip(1).collect();
        if rows.len() > DIFFERENCES_MAX {
            findings.push(format!(
                "{DIFFERENCES}: {} differences from {vendor}, at most {DIFFERENCES_MAX}; make one of them work",
                rows.len()
            ));
        }
        for row in rows {
            // A pipe in a cell is escaped.
            let cells = row.replace("\\|", "");
            let cells = cells.trim_matches('|').split('|').filter(|cell| !cell.trim().is_empty());
            if cells.count() != 3 {
                findings.push(format!("{DIFFERENCES}: {row} must say what, here and why"));
            }
        }
    }
    if tables == 0 {
        findings.push(format!("{DIFFERENCES}: has no table of what, here and why"));
    }
}

/// The findings as a report for a person.
fn report(findings: &[String]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{finding}");
    }
    text
}

/// Folders of all workspace members.
fn crates(root: &Path) -> Vec<PathBuf> {
    let mut crates = vec![root.join("fuzz"), root.join("xtask")];
    crates.extend(entries(&root.join("crates")));
    crates.retain(|krate| krate.join("Cargo.toml").is_file());
    crates.sort();
    crates
}

fn check_manifest(krate: &Path, findings: &mut Vec<String>) {
    let path = krate.join("Cargo.toml");
    let name = file_name(krate);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return findings.push(format!("{}: cannot be read", path.display()));
    };
    if !text.contains(&format!("name = \"{name}\"")) {
        findings.push(format!(
            "{}: the package must be named like its folder, \"{name}\"",
            path.display()
        ));
    }
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(format!(
            "{}: the workspace's lints are missing; add `[lints]` with `workspace = true`",
            path.display()
        ));
    }
    for (line, content) in (1..).zip(text.lines()) {
        for (dependency, allowed, why) in FENCED {
            let named = content.starts_with(&format!("{dependency} "))
                || content.starts_with(&format!("{dependency}."));
            if named && !allowed.contains(&name.as_str()) {
                findings.push(format!("{}:{line}: {dependency} here, but {why}", path.display()));
            }
        }
    }
}

/// What the manifest says under `[dependencies]` and its variants for one system.
fn check_arrows(krate: &Path, names: &[String], findings: &mut Vec<String>) {
    let path = krate.join("Cargo.toml");
    let name = file_name(krate);
    let arrows = ARROWS.iter().find(|(from, _)| *from == name).map_or(&[][..], |(_, to)| to);
    let mut section = String::new();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, content) in (1..).zip(text.lines()) {
        if content.starts_with('[') {
            content.clone_into(&mut section);
        }
        let dependency = content.split(['.', ' ', '=']).next().unwrap_or_default();
        let ships = section.ends_with("dependencies]") && !section.contains("dev-");
        let is_ours = names.iter().any(|ours| ours == dependency);
        if ships && is_ours && !arrows.contains(&dependency) {
            findings.push(format!(
                "{}:{line}: {name} may not use {dependency}; move the code, or the wall (ARROWS in \
                 xtask/src/tidy.rs and the picture in ARCHITECTURE.md)",
                path.display()
            ));
        }
    }
}

/// The nearest clippy.toml replaces the one at the root, so a crate's own must repeat it.
fn check_clippy_settings(root: &Path, krate: &Path, findings: &mut Vec<String>) {
    let path = krate.join("clippy.toml");
    let Ok(own) = std::fs::read_to_string(&path) else { return };
    let shared = std::fs::read_to_string(root.join("clippy.toml")).unwrap_or_default();
    for setting in shared.lines().filter(|line| line.contains(" = ")) {
        if !own.lines().any(|line| line == setting) {
            findings.push(format!(
                "{}: lacks `{setting}` of the root's clippy.toml, which it replaces; repeat it",
                path.display()
            ));
        }
    }
}

fn check_file(root: &Path, krate: &Path, file: &Path, findings: &mut Vec<String>) {
    // With forward slashes on every system, so that folders can be compared below.
    let shown = file.strip_prefix(root).unwrap_or(file).display().to_string().replace('\\', "/");
    let Ok(text) = std::fs::read_to_string(file) else {
        return findings.push(format!("{shown}: cannot be read"));
    };
    if !text.starts_with("//!") {
        findings.push(format!("{shown}:1: must open with `//!`, saying what it is for"));
    }
    let is_test = is_test_file(krate, file);
    let production = production_lines(&text);
    if !is_test && production > FILE_LINES_MAX {
        findings.push(format!(
            "{shown}: {production} lines of production code, at most {FILE_LINES_MAX}; split it"
        ));
    }
    for (line, content) in (1..).zip(text.lines()) {
        check_line(&shown, line, content, krate, is_test || line > production, findings);
    }
    if file_name(file) == "limits.rs" {
        check_limits(&shown, &text, findings);
    }
}

fn check_line(
    shown: &str,
    line: usize,
    content: &str,
    krate: &Path,
    is_test: bool,
    findings: &mut Vec<String>,
) {
    let name = file_name(krate);
    // This file names what it looks for.
    if name == "xtask" && shown.ends_with("tidy.rs") {
        return;
    }
    for mark in UNFINISHED {
        if content.contains(mark) {
            findings.push(format!("{shown}:{line}: `{mark}` is unfinished work; finish it"));
        }
    }
    let code = content.split("//").next().unwrap_or_default();
    if name != "llama-worker" && UNSAFE.iter().any(|form| code.contains(form)) {
        findings.push(format!("{shown}:{line}: `unsafe` belongs to `llama-worker` alone"));
    }
    let speaks_vendor = VENDOR_SPEAKERS.iter().any(|folder| shown.starts_with(folder)) || is_test;
    for word in VENDOR_WORDS {
        if !speaks_vendor && content.contains(word) {
            findings.push(format!(
                "{shown}:{line}: {word} is a vendor's word; only `dialect` may know it"
            ));
        }
    }
}

/// Every bound has its reason: a doc comment above each constant.
fn check_limits(shown: &str, text: &str, findings: &mut Vec<String>) {
    let mut before = "";
    for (line, content) in (1..).zip(text.lines()) {
        if content.contains("const ") && content.contains(": ") && !before.starts_with("///") {
            findings.push(format!("{shown}:{line}: a bound without its reason; add a `///` line"));
        }
        before = content.trim_start();
    }
}

/// `cargo tree -i tokio` fails when the crate does not depend on it, and that is what we want.
fn check_pure(root: &Path, krate: &str, findings: &mut Vec<String>) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "--quiet", "-p", krate, "-e", "normal", "-i", "tokio"];
    match Command::new(cargo).args(arguments).current_dir(root).output() {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => findings.push(
            format!("crates/{krate}: depends on tokio, but it is pure; move the IO to its caller"),
        ),
        Ok(_) => {}
        Err(error) => findings.push(format!("cannot run cargo tree for {krate}: {error}")),
    }
}

/// Lines before the tests at the end of the file.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod ")
    });
    tests.unwrap_or(lines.len())
}

fn is_test_file(krate: &Path, file: &Path) -> bool {
    let inside = file.strip_prefix(krate).unwrap_or(file);
    let in_test_folder = inside.starts_with("tests") || inside.starts_with("benches");
    let test_name = ["tests.rs", "fake.rs"].contains(&file_name(file).as_str());
    in_test_folder || test_name || inside.components().any(|part| part.as_os_str() == "tests")
}

/// All `.rs` files of a crate.
fn rust_files(krate: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![krate.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                if file_name(&path) != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten();
    read.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    #[test]
    fn the_tree_is_tidy() {
        let findings = findings(&root());
        assert!(findings.is_empty(), "\n{}", report(&findings));
    }

    /// A crate with every fault, to see that each is found.
    #[test]
    fn faults_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let krate = folder.path().join("crates/engine");
        std::fs::create_dir_all(krate.join("src")).unwrap();
        let manifest = "name = \"motor\"\n[dependencies]\naxum = \"1\"\nengine.workspace = true\n\
                        [dev-dependencies]\nxtask.workspace = true\n";
        std::fs::write(krate.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(krate.join("clippy.toml"), "disallowed-methods = []\n").unwrap();
        std::fs::write(folder.path().join("clippy.toml"), "allow-unwrap-in-tests = true\n")
            .unwrap();
        let long = "fn f() {}\n".repeat(FILE_LINES_MAX + 1);
        let bad = format!("{long}    unsafe {{ }}\n    todo!()\n    \"choices\"\n");
        std::fs::write(krate.join("src/lib.rs"), bad).unwrap();
        std::fs::write(krate.join("src/limits.rs"), "//! x\npub const N: u8 = 1;\n").unwrap();
        std::fs::create_dir_all(folder.path().join("docs")).unwrap();
        let row = "| a | b \\| c | d |\n".repeat(DIFFERENCES_MAX + 1);
        let table =
            format!("# x\n\n## Somebody\n\n| what | here | why |\n|---|---|---|\n{row}| a | b |\n");
        std::fs::write(folder.path().join(DIFFERENCES), table).unwrap();
        let found = report(&findings(folder.path()));
        for expected in [
            "must be named like its folder",
            "the workspace's lints are missing",
            "only `gateway` speaks HTTP",
            "Cargo.toml:4: engine may not use engine",
            "lacks `allow-unwrap-in-tests = true`",
            "must open with `//!`",
            "lines of production code",
            "`unsafe` belongs to `llama-worker`",
            "unfinished work",
            "a vendor's word",
            "a bound without its reason",
            "12 differences from Somebody, at most 10",
            "| a | b | must say what, here and why",
        ] {
            assert!(found.contains(expected), "not found: {expected}\n{found}");
        }
        assert!(!found.contains("may not use xtask"), "tests may use more\n{found}");
        assert_eq!(
            found.matches("must say what").count(),
            1,
            "an escaped pipe divides nothing\n{found}"
        );
    }
}
