//! What the quantizer says while it works: one line for each tensor, and whatever is wrong. The rest of
//! llama.cpp's log is dropped.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

use llama_cpp_sys_2 as sys;

use crate::log;

/// The last line about something that is wrong.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

/// Sends llama.cpp's log through here from now on.
pub(super) fn follow() {
    // SAFETY: the callback lives as long as the process and takes no user data.
    unsafe { sys::llama_log_set(Some(receive), std::ptr::null_mut()) };
}

/// Why the quantizer gave up.
pub(super) fn last_complaint() -> String {
    let complaint = COMPLAINT.lock().map(|complaint| complaint.clone()).unwrap_or_default();
    if complaint.is_empty() { "llama.cpp does not say why".to_owned() } else { complaint }
}

unsafe extern "C" fn receive(level: sys::ggml_log_level, text: *const c_char, _data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends with NUL and outlives this call.
    let said = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    if let Some(line) = turn(&said) {
        log::complain(&line);
    }
    if level == sys::GGML_LOG_LEVEL_ERROR
        && let Some(line) = said.lines().rev().find(|line| line.contains(char::is_alphanumeric))
        && let Ok(mut complaint) = COMPLAINT.lock()
    {
        // It begins with the name of a function of C++.
        let line = line.split_once(": ").map_or(line, |(_, rest)| rest).trim();
        line.clone_into(&mut complaint);
        log::complain(line);
    }
}

/// `[12/310] blk.0.ffn_down.weight` of `[  12/ 310] blk.0.ffn_down.weight          - [ 4096, ...`.
fn turn(said: &str) -> Option<String> {
    let (numbers, rest) = said.strip_prefix('[')?.split_once("] ")?;
    let (number, count) = numbers.split_once('/')?;
    let number: u32 = number.trim().parse().ok()?;
    let count: u32 = count.trim().parse().ok()?;
    let name = rest.split_whitespace().next()?;
    Some(format!("[{number}/{count}] {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensors_line_is_told_from_others() {
        for (said, line) in [
            (
                "[  12/ 310] blk.0.ffn_down.weight                - [ 14336,   4096], type =    f16, ",
                Some("[12/310] blk.0.ffn_down.weight"),
            ),
            ("converting to q4_K .. ", None),
            ("size =    20.39 MiB ->     5.74 MiB\n", None),
            ("[x/y] z", None),
        ] {
            assert_eq!(turn(said).as_deref(), line);
        }
    }
}
