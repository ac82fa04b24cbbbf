//! tests of sources
