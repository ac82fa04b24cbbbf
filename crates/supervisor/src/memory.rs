//! How much memory a process really holds. One file per kind of system, with one interface.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub(crate) use linux::process_bytes;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::process_bytes;
