//! The program itself as the guard of a foreign one. What a guard does in each case is tested where
//! it is made, in `supervisor`.

use std::process::{Command, Stdio};

#[test]
fn the_hub_s_program_is_a_guard_too() {
    let guard = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resident"));
        command.arg("guard").stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    // Options of the program are not the guard's.
    let mut child = guard().args(["--", "sh", "-c", "echo $0 $1; exit 7", "--help", "-h"]).spawn();
    let child = child.as_mut().unwrap();
    let _hub = child.stdin.take();
    let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert_eq!((&*said, child.wait().unwrap().code()), ("--help -h\n", Some(7)));

    let mut child = guard().args(["--", "sleep", "1000"]).spawn().unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
}

#[test]
fn nobody_is_told_of_it() {
    let help = Command::new(env!("CARGO_BIN_EXE_resident")).arg("help").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("guard"));
}
