//! Importance matrices, which quantizers are given.

use planner::importance::Matrix;

/// A matrix never panics, takes no more memory than its file, and holds numbers that llama.cpp takes.
pub fn importance(bytes: &[u8]) {
    let Ok(matrix) = Matrix::read(bytes) else { return };
    let values: usize = matrix.entries.values().map(Vec::len).sum();
    assert!(values * size_of::<f32>() <= bytes.len(), "{values} values of {} bytes", bytes.len());
    let usable = |value: &f32| value.is_finite() && *value >= 0.0;
    assert!(matrix.entries.values().flatten().all(usable), "a value that is no importance");
}
