//! The threads that compute on CPUs. They stay: llama.cpp by itself starts new ones for each step, which
//! some kernels put on the core of the thread that started them, where two spin for each other with
//! another core idle.

use std::rc::Rc;

use llama_cpp_sys_2 as sys;

use super::{Context, threads_of};

/// How long a thread without work spins before it sleeps, in ggml's measure: a few milliseconds, so that it
/// is awake from one step to the next. ggml's own choice is fifty times as long.
const SPINS: u32 = 1;

/// Threads for the steps of contexts that compute in turns. No more than are in use: one that is left out
/// of a step would spin beside it.
pub(crate) struct Threads {
    /// Null where there was no memory for them: llama.cpp then starts some for each step.
    pool: *mut sys::ggml_threadpool,
    count: u32,
}

impl Threads {
    /// So many, the one that calls included.
    pub(crate) fn start(count: u32) -> Rc<Self> {
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::ggml_threadpool_params_default(threads_of(count)) };
        parameters.poll = SPINS;
        // SAFETY: the parameters are read during the call only.
        let pool = unsafe { sys::ggml_threadpool_new(&raw mut parameters) };
        Rc::new(Self { pool, count })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: owned and freed once, or null. Each context that computes with it holds it.
        unsafe { sys::ggml_threadpool_free(self.pool) };
    }
}

impl Context {
    /// Tells llama.cpp which threads are its own.
    pub(super) fn use_threads(&mut self) {
        let Threads { pool, count } = *self.threads;
        let count = threads_of(count);
        // SAFETY: both are valid, between steps; the context holds the threads until it is freed.
        unsafe {
            sys::llama_set_n_threads(self.context.as_ptr(), count, count);
            sys::llama_attach_threadpool(self.context.as_ptr(), pool, pool);
        }
    }
}
