//! Rewrites a model with another type of weights, by llama.cpp's own quantizer.

use std::ffi::CString;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use crate::log;

/// Types by the names people use.
const TYPES: &[(&str, sys::llama_ftype)] = &[
    ("f32", sys::LLAMA_FTYPE_ALL_F32),
    ("f16", sys::LLAMA_FTYPE_MOSTLY_F16),
    ("bf16", sys::LLAMA_FTYPE_MOSTLY_BF16),
    ("q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
    ("q6_k", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
    ("q5_k_m", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
    ("q5_k_s", sys::LLAMA_FTYPE_MOSTLY_Q5_K_S),
    ("q5_1", sys::LLAMA_FTYPE_MOSTLY_Q5_1),
    ("q5_0", sys::LLAMA_FTYPE_MOSTLY_Q5_0),
    ("q4_k_m", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
    ("q4_k_s", sys::LLAMA_FTYPE_MOSTLY_Q4_K_S),
    ("q4_1", sys::LLAMA_FTYPE_MOSTLY_Q4_1),
    ("q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
    ("iq4_xs", sys::LLAMA_FTYPE_MOSTLY_IQ4_XS),
    ("iq4_nl", sys::LLAMA_FTYPE_MOSTLY_IQ4_NL),
    ("q3_k_l", sys::LLAMA_FTYPE_MOSTLY_Q3_K_L),
    ("q3_k_m", sys::LLAMA_FTYPE_MOSTLY_Q3_K_M),
    ("q3_k_s", sys::LLAMA_FTYPE_MOSTLY_Q3_K_S),
    ("q2_k", sys::LLAMA_FTYPE_MOSTLY_Q2_K),
];

/// Writes `source` as `target` with weights of type `kind`.
pub(crate) fn run(source: &str, target: &str, kind: &str) -> Result<(), String> {
    log::install();
    let lower = kind.to_lowercase();
    let Some((_, ftype)) = TYPES.iter().find(|(name, _)| *name == lower) else {
        let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        return Err(format!("unknown type {kind}; known are {}", known.join(", ")));
    };
    if !Path::new(source).is_file() {
        return Err(format!("{source} is not a file"));
    }
    let source_c = CString::new(source).map_err(|_| "a path holds a NUL byte".to_owned())?;
    let target_c = CString::new(target).map_err(|_| "a path holds a NUL byte".to_owned())?;
    // SAFETY: no arguments.
    unsafe { sys::llama_backend_init() };
    // SAFETY: plain values.
    let mut parameters = unsafe { sys::llama_model_quantize_default_params() };
    parameters.ftype = *ftype;
    // SAFETY: the strings end with NUL and outlive the call.
    let code = unsafe {
        sys::llama_model_quantize(source_c.as_ptr(), target_c.as_ptr(), &raw const parameters)
    };
    if code == 0 { Ok(()) } else { Err(format!("cannot quantize {source}; see the lines above")) }
}
