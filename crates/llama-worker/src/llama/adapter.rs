//! LoRA adapters: changes of some weights, computed beside them in each step.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{Context, Weights};

/// An adapter of a model. The model frees it, which outlives the contexts that use it.
#[derive(Clone, Copy)]
pub(crate) struct Adapter {
    adapter: NonNull<sys::llama_adapter_lora>,
    scale: f32,
}

impl Weights {
    /// Loads an adapter that is used with this scale. `None` when llama.cpp cannot: its log says why.
    pub(crate) fn adapter(&self, path: &Path, scale: f32) -> Option<Adapter> {
        let path = CString::new(path.to_str()?).ok()?;
        // SAFETY: the model is loaded, and the path ends with NUL.
        let adapter = unsafe { sys::llama_adapter_lora_init(self.model.as_ptr(), path.as_ptr()) };
        NonNull::new(adapter).map(|adapter| Adapter { adapter, scale })
    }
}

impl Context {
    /// Computes with these adapters of its own weights from now on; `false` when llama.cpp refuses.
    pub(crate) fn set_adapters(&mut self, adapters: &[Adapter]) -> bool {
        let mut pointers: Vec<_> = adapters.iter().map(|one| one.adapter.as_ptr()).collect();
        let mut scales: Vec<f32> = adapters.iter().map(|one| one.scale).collect();
        let (context, count) = (self.context.as_ptr(), adapters.len());
        // SAFETY: both lists have so many entries, and the adapters live as long as the weights, which the
        // context keeps.
        let code = unsafe {
            sys::llama_set_adapters_lora(context, pointers.as_mut_ptr(), count, scales.as_mut_ptr())
        };
        code == 0
    }
}
