//! llama.cpp's log: to standard error, and the sizes of its buffers into our books.
//!
//! llama.cpp tells what it allocated only as log lines ("... KV buffer size = 448.00 MiB").

use std::ffi::{CStr, c_char, c_void};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use llama_cpp_sys_2 as sys;
use worker_protocol::Buffer;

/// Buffers that were reported since the process began.
static BUFFERS: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

/// Sizes of whole caches that were reported since the process began.
static CACHE_TOTALS: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

/// Whether a model was loaded.
static IS_LOADED: AtomicBool = AtomicBool::new(false);

/// Sends llama.cpp's log through here. Before any other call into it.
pub(crate) fn install() {
    // SAFETY: the callback lives as long as the process and takes no user data.
    unsafe {
        sys::llama_log_set(Some(receive), std::ptr::null_mut());
        sys::mtmd_helper_log_set(Some(receive), std::ptr::null_mut());
    }
}

/// Drops llama.cpp's log: tests load models by the thousand.
#[cfg(test)]
pub(crate) fn silence() {
    // SAFETY: the callback lives as long as the process and takes no user data.
    unsafe {
        sys::llama_log_set(Some(drop_line), std::ptr::null_mut());
        sys::mtmd_helper_log_set(Some(drop_line), std::ptr::null_mut());
    }
}

#[cfg(test)]
unsafe extern "C" fn drop_line(_: sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}

/// What llama.cpp allocated for a model, which is loaded now.
pub(crate) fn loaded_buffers() -> Vec<Buffer> {
    IS_LOADED.store(true, Ordering::Relaxed);
    BUFFERS.lock().map(|buffers| buffers.clone()).unwrap_or_default()
}

/// What the caches laid out since the last call came to. Without allocation the lines about their
/// buffers say zero, and these say it.
pub(crate) fn take_cache_totals() -> Vec<Buffer> {
    CACHE_TOTALS.lock().map(|mut totals| std::mem::take(&mut *totals)).unwrap_or_default()
}

/// The buffers reported since the last call, and forgets them.
pub(crate) fn take_buffers() -> Vec<Buffer> {
    BUFFERS.lock().map(|mut buffers| std::mem::take(&mut *buffers)).unwrap_or_default()
}

/// A line for the person on standard output.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error, which the hub keeps as the worker's log. A full disk costs the line. Tests
/// quantize by the hundred, and would bury what they say.
pub(crate) fn complain(line: &str) {
    if !cfg!(test) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

unsafe extern "C" fn receive(level: sys::ggml_log_level, text: *const c_char, _data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends with NUL and outlives this call.
    let line = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    if IS_LOADED.load(Ordering::Relaxed) && is_of_layout(&line) {
        return;
    }
    if let Some(buffer) = read_buffer(&line)
        && let Ok(mut buffers) = BUFFERS.lock()
    {
        buffers.push(buffer);
    }
    if let Some(total) = read_cache_total(&line)
        && let Ok(mut totals) = CACHE_TOTALS.lock()
    {
        totals.push(total);
    }
    if level != sys::GGML_LOG_LEVEL_DEBUG {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// What llama.cpp says each time it lays out its graph anew. A loaded model does that whenever other adapters act,
/// perhaps for each token: it would fill the log and our books, and is never more than the plan said.
fn is_of_layout(line: &str) -> bool {
    ["sched_reserve:", "resolve_fused_ops:"].iter().any(|prefix| line.starts_with(prefix))
}

/// Lines that quote what the model file says of itself.
const QUOTING: [&str; 2] = ["llama_model_loader:", "print_info:"];

/// Reads `llama_kv_cache:        CPU KV buffer size =   448.00 MiB`.
fn read_buffer(line: &str) -> Option<Buffer> {
    if QUOTING.iter().any(|prefix| line.starts_with(prefix)) {
        return None;
    }
    let (subject, size) = line.split_once(" buffer size = ")?;
    let mut words = subject.split_whitespace().rev();
    let purpose = words.next()?.to_owned();
    let device = words.next()?.to_owned();
    Some(Buffer { device, purpose, bytes: read_mebibytes(size)? })
}

/// Reads `llama_kv_cache: size = 1152.00 MiB (  8192 cells,  36 layers, ...`.
fn read_cache_total(line: &str) -> Option<Buffer> {
    let (subject, rest) = line.split_once(": size = ")?;
    let purpose = match subject.trim() {
        "llama_kv_cache" => "KV",
        "llama_memory_recurrent" => "RS",
        _ => return None,
    };
    let (size, _) = rest.split_once(" (")?;
    Some(Buffer {
        device: "CPU".to_owned(),
        purpose: purpose.to_owned(),
        bytes: read_mebibytes(size)?,
    })
}

fn read_mebibytes(size: &str) -> Option<u64> {
    let mebibytes: f64 = size.trim().strip_suffix("MiB")?.trim().parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "llama.cpp prints sizes to a hundredth of a MiB; `as` saturates"
    )]
    let bytes = (mebibytes * 1_048_576.0) as u64;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, &str, u64)>) {
        let seen = read_buffer(line);
        let seen = seen.as_ref().map(|b| (b.device.as_str(), b.purpose.as_str(), b.bytes));
        assert_eq!(seen, expected);
    }

    #[test]
    fn buffers_are_read_from_log_lines() {
        check(
            "llama_kv_cache:        CPU KV buffer size =   448.00 MiB\n",
            Some(("CPU", "KV", 448 << 20)),
        );
        check(
            "load_tensors:   CPU_Mapped model buffer size =   604.15 MiB\n",
            Some(("CPU_Mapped", "model", 633_497_190)),
        );
        check(
            "output_reserve:  CPU  output buffer size =     0.50 MiB\n",
            Some(("CPU", "output", 1 << 19)),
        );
        check("x: CPU compute buffer size is 1.0 MiB, matches expectation of 1.0 MiB\n", None);
        check("print_info: general.name = x compute buffer size = 9.00 MiB\n", None);
        check("nothing\n", None);
    }

    #[test]
    fn layouts_of_a_loaded_model_are_told_from_other_lines() {
        assert!(is_of_layout("sched_reserve:        CPU compute buffer size =   301.75 MiB\n"));
        assert!(!is_of_layout("llama_kv_cache:        CPU KV buffer size =   448.00 MiB\n"));
    }

    #[test]
    fn totals_of_caches_are_read_from_log_lines() {
        let total = |line: &str| read_cache_total(line).map(|total| (total.purpose, total.bytes));
        let line = "llama_kv_cache: size = 1152.00 MiB (  8192 cells,  36 layers,  5/1 seqs), K";
        assert_eq!(total(line), Some(("KV".to_owned(), 1152 << 20)));
        let line = "llama_memory_recurrent: size =   50.25 MiB (     1 cells,  32 layers";
        assert_eq!(total(line), Some(("RS".to_owned(), 50 * (1 << 20) + (1 << 18))));
        assert_eq!(total("load: special tokens cache size = 3"), None);
    }
}
