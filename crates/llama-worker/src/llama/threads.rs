//! The threads that compute on CPUs. They stay: llama.cpp by itself starts new ones for each step, which
//! some kernels put on the core of the thread that started them, where two spin for each other with
//! another core idle.

use std::ptr::NonNull;
use std::rc::Rc;

use llama_cpp_sys_2 as sys;

use super::{Context, threads_of};

/// How long a thread without work spins before it sleeps: not at all. Each step wakes all of them, also
/// those that it does not need, and these must not take a core from anybody.
const SPINS: u32 = 0;

/// Threads for the steps of contexts that compute in turns.
pub(crate) struct Threads {
    pool: NonNull<sys::ggml_threadpool>,
    count: u32,
}

impl Threads {
    /// So many, the one that calls included. A step may do with fewer; the others sleep.
    pub(crate) fn start(count: u32) -> Rc<Self> {
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::ggml_threadpool_params_default(threads_of(count)) };
        parameters.poll = SPINS;
        // SAFETY: the parameters are read during the call only.
        let pool = unsafe { sys::ggml_threadpool_new(&raw mut parameters) };
        let pool = NonNull::new(pool);
        let pool = pool.expect("ggml ends the process where it cannot start threads");
        Rc::new(Self { pool, count })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // SAFETY: owned and freed once, behind all contexts that were made with it.
        unsafe { sys::ggml_threadpool_free(self.pool.as_ptr()) };
    }
}

impl Context {
    /// Has all steps of this context use its threads. Once: llama.cpp looks at those of the step before
    /// in the next one, so that they cannot be exchanged for others and go.
    pub(super) fn attach_threads(&mut self) {
        let pool = self.threads.pool.as_ptr();
        // SAFETY: both are valid, and the context holds the threads until it is freed.
        unsafe { sys::llama_attach_threadpool(self.context.as_ptr(), pool, pool) };
        self.use_threads(self.threads.count);
    }

    /// How many of its threads the next steps use.
    pub(crate) fn use_threads(&mut self, count: u32) {
        let count = threads_of(count);
        // SAFETY: plain values, between steps.
        unsafe { sys::llama_set_n_threads(self.context.as_ptr(), count, count) };
    }
}
