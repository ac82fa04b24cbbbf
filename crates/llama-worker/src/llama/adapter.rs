//! LoRA adapters: changes of some weights, computed beside them in each step.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{Context, Weights};

/// An adapter of a model. The model frees it, which outlives the contexts that use it.
#[derive(Clone, Copy)]
pub(crate) struct Adapter(NonNull<sys::llama_adapter_lora>);

impl Weights {
    /// Loads an adapter. `None` when llama.cpp cannot: its log says why.
    pub(crate) fn adapter(&self, path: &Path) -> Option<Adapter> {
        let path = CString::new(path.to_str()?).ok()?;
        // SAFETY: the model is loaded, and the path ends with NUL.
        let adapter = unsafe { sys::llama_adapter_lora_init(self.model.as_ptr(), path.as_ptr()) };
        NonNull::new(adapter).map(Adapter)
    }
}

impl Context {
    /// Computes with these adapters of its own weights, each at its scale, from now on; `false` when
    /// llama.cpp refuses. Other ones than before make it lay out its graph anew in the next step.
    pub(crate) fn set_adapters(&mut self, adapters: &[(Adapter, f32)]) -> bool {
        let mut pointers: Vec<_> = adapters.iter().map(|(one, _)| one.0.as_ptr()).collect();
        let mut scales: Vec<f32> = adapters.iter().map(|(_, scale)| *scale).collect();
        let (context, count) = (self.context.as_ptr(), adapters.len());
        // SAFETY: both lists have so many entries, and the adapters live as long as the weights, which the
        // context keeps.
        let code = unsafe {
            sys::llama_set_adapters_lora(context, pointers.as_mut_ptr(), count, scales.as_mut_ptr())
        };
        code == 0
    }
}
