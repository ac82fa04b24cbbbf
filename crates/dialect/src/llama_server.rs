//! llama-server's own dialect, as far as editors' completion plugins speak it: `POST /infill`.

pub mod infill;
