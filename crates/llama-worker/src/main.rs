//! `resident-llama`: a worker process that runs one model with llama.cpp.
//!
//! Without arguments it speaks `worker-protocol` on its standard input and output, as the hub wants
//! it. Further uses share the engine that is built in: `quantize`; `plain` and `scores`, bare loops over
//! llama.cpp's API that tests and benches compare the worker with; and `measure`, which lays models out
//! without loading them.
//!
//! This crate is the only one with `unsafe`, and everything `unsafe` is a call of C or a pointer
//! that C gave us. Not here: what to compute next (`planner::batch`), text (`engine`).
#![expect(unsafe_code, reason = "the wall to llama.cpp's C API")]

mod adapters;
mod cpu;
mod draft;
#[cfg(test)]
mod exact;
mod guesser;
mod head;
mod header;
mod kept;
mod limits;
mod llama;
mod log;
mod measure;
mod model;
mod pages;
mod picture;
mod pipe;
mod places;
mod plain;
mod projector;
mod quantize;
mod rank;
mod sampler;
mod scores;
mod serve;
mod sound;
mod tiers;

use std::process::ExitCode;

/// Exit code when the work itself failed.
const FAILED: u8 = 1;
/// Exit code when the arguments or the frames make no sense.
const MISUSED: u8 = 2;

const USAGE: &str = "\
resident-llama runs one model for the resident hub, which starts it.

  resident-llama                        speak the worker protocol on standard input and output
  resident-llama quantize SRC DST TYPE  write SRC as another type (q4_k_m, q8_0, ...); --imatrix FILE
                                        says what matters, --allow-requantize takes what is quantized
  resident-llama plain                  run the job in the JSON on standard input, print JSON
  resident-llama scores                 rank as the JSON on standard input says, print JSON
  resident-llama measure                lay a model out as the JSON on standard input says, print JSON
  resident-llama --version              print the version of the engine
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [] => return serve::run(),
        ["quantize", ref job @ ..] => match quantize::Job::parse(job) {
            Some(job) => quantize::run(&job),
            None => return misused(),
        },
        ["plain"] => plain::run(std::io::stdin().lock(), std::io::stdout().lock()),
        ["scores"] => scores::run(std::io::stdin().lock(), std::io::stdout().lock()),
        ["measure"] => measure::run(std::io::stdin().lock(), std::io::stdout().lock()),
        ["--version"] => {
            log::say(&format!("resident-llama, llama.cpp {}", llama::version()));
            Ok(())
        }
        _ => return misused(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::complain(&format!("error: {message}"));
            ExitCode::from(FAILED)
        }
    }
}

fn misused() -> ExitCode {
    log::complain(USAGE.trim_end());
    ExitCode::from(MISUSED)
}
