//! `resident convert` from outside, with converters that do well, fail, write rubbish or never end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::hub::stories;
use crate::process::Process;
use crate::quantize::{Desk, text};

/// A desk with a folder that looks like a model.
fn desk() -> (Desk, PathBuf) {
    let desk = Desk::new();
    let folder = desk.path("Tiny-1B");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    fs::write(folder.join("model.safetensors"), "weights").unwrap();
    (desk, folder)
}

/// `resident convert` of the folder, with a converter of this text in Python.
fn command(desk: &Desk, folder: &Path, python: &str) -> Command {
    let converter = desk.program("convert.py", python);
    let mut command = desk.command(&["convert"]);
    command.arg(folder).arg("--converter").arg(converter);
    command
}

fn run(desk: &Desk, folder: &Path, python: &str) -> Output {
    command(desk, folder, python).output().unwrap()
}

/// Takes its arguments apart as llama.cpp's does, and stops where its surroundings are not as promised.
fn well(source: &Path) -> String {
    format!(
        "import argparse, os, shutil\n\
         parser = argparse.ArgumentParser()\n\
         parser.add_argument('--outfile')\n\
         parser.add_argument('--outtype', choices=['f32', 'f16', 'bf16', 'q8_0', 'auto'])\n\
         parser.add_argument('model')\n\
         arguments = parser.parse_args()\n\
         assert os.path.isfile(os.path.join(arguments.model, 'config.json'))\n\
         assert os.environ['HF_HUB_OFFLINE'] == '1'\n\
         assert 'RESIDENT_KEY' not in os.environ and 'HF_TOKEN' not in os.environ\n\
         print('Writing: 50%', end='\\r')\n\
         shutil.copyfile({:?}, arguments.outfile)\n",
        source.to_str().unwrap()
    )
}

#[test]
fn a_folder_becomes_a_file_beside_it() {
    let Some(stories) = stories() else { return };
    let (desk, folder) = desk();
    let mut command = command(&desk, &folder, &well(&stories));
    let output = command.env("HF_TOKEN", "secret").env("RESIDENT_KEY", "secret").output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let made = desk.path("Tiny-1B-f16.gguf");
    assert_eq!(text(&output.stdout).trim(), made.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(fs::read(&made).unwrap(), fs::read(&stories).unwrap());
    assert_eq!(desk.names(), ["Tiny-1B", "Tiny-1B-f16.gguf"]);
    for part in ["Converting", "with     ", "resident show ", "resident quantize "] {
        assert!(said.contains(part), "'{part}' is missing in: {said}");
    }
    let output = run(&desk, &folder, &well(&stories));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("exists already"), "{}", text(&output.stderr));
}

#[test]
fn the_converter_on_path_is_found() {
    let Some(stories) = stories() else { return };
    let (desk, folder) = desk();
    let converter = desk.program("convert_hf_to_gguf.py", &well(&stories));
    let mut folders = vec![converter.parent().unwrap().to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let path = std::env::join_paths(folders).unwrap();
    let out = desk.path("mine.gguf");
    let mut command = desk.command(&["convert", "--to", "auto", "--out"]);
    let output = command.arg(&out).arg(&folder).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.is_file());
}

#[test]
fn a_converter_that_fails_is_told_of_and_leaves_nothing() {
    let (desk, folder) = desk();
    let outfile = "import sys\nout = open(sys.argv[sys.argv.index('--outfile') + 1], 'wb')\n";
    for (python, parts) in [
        (
            "import no_such_module_here",
            &["No module named 'no_such_module_here'", "pip install"][..],
        ),
        (
            &format!("{outfile}out.write(b'half')\nsys.exit('Model X is not supported')"),
            &["Model X"],
        ),
        (&format!("{outfile}out.write(b'rubbish' * 1000)"), &["is no model", "not a GGUF file"]),
        (&format!("{outfile}out.write(b'GGUF' + bytes(1000))"), &["is no model"]),
        ("print('done')", &["wrote no file"]),
        ("import os\nos.kill(os.getpid(), 9)", &["SIGKILL"]),
    ] {
        let output = run(&desk, &folder, python);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "'{part}' is missing in: {said}");
        }
        desk.nothing_left(&["Tiny-1B"]);
    }
}

#[test]
fn an_interrupt_or_a_kill_ends_the_converter_and_leaves_nothing() {
    for interrupt in [true, false] {
        let (desk, folder) = desk();
        let begun = desk.says_begun();
        let python = format!(
            "import subprocess, sys, time\n\
             open(sys.argv[sys.argv.index('--outfile') + 1], 'wb').write(b'half')\n\
             sleeper = subprocess.Popen(['sleep', '600'])\n\
             subprocess.run(['sh', '-c', {begun:?}])\n\
             sleeper.wait()\n"
        );
        let mut child = desk.begun(command(&desk, &folder, &python));
        if interrupt {
            Process::of(child.id()).unwrap().interrupt();
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        desk.nothing_left(&["Tiny-1B"]);
    }
}

#[test]
fn what_cannot_be_converted_is_refused_by_name() {
    let (desk, folder) = desk();
    let refused = |arguments: &[&str], code, parts: &[&str]| {
        desk.refused(&[&["convert", folder.to_str().unwrap()], arguments].concat(), code, parts);
    };
    refused(
        &["--converter", "/no/convert.py"],
        2,
        &["not installed", "/no/convert.py", "git clone"],
    );
    refused(&["--to", "q4_k_m"], 2, &["resident quantize FILE --to q4_k_m"]);
    fs::write(folder.join("tokenization.py"), "").unwrap();
    refused(&[], 2, &["tokenization.py", "--allow-code"]);
    fs::remove_file(folder.join("config.json")).unwrap();
    refused(&[], 4, &["it has no config.json"]);
    desk.refused(&["convert", "/no/such/folder"], 4, &["cannot read the folder /no/such/folder"]);
    let (desk, folder) = self::desk();
    let mut command = desk.command(&["convert"]);
    let output = command.arg(&folder).env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("convert_hf_to_gguf.py is not on PATH"), "{said}");
    desk.nothing_left(&["Tiny-1B"]);
}
