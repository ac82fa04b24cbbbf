//! Refuses descriptions that no machine can have, so that no plan is built on a slip of the keyboard.

use super::{Error, Gpu, Machine, Reserve, text};

/// Whether `machine` and `reserve` can be true together.
///
/// # Errors
/// The first figure that cannot be, with its value and the way out.
pub fn check(machine: &Machine, reserve: &Reserve) -> Result<(), Error> {
    let refuse = |field, value, way_out: String| {
        Err(Error::Contradiction { machine: machine.name.clone(), field, value, way_out })
    };
    if machine.memory_bytes == 0 {
        return refuse("RAM", "0 bytes".to_owned(), "say how much it has, as in 16GB".to_owned());
    }
    speed(machine, "memory bandwidth", machine.bandwidth_bytes_per_s)?;
    speed(machine, "computing speed", machine.compute_flops_per_s)?;
    reserve_fits(machine, reserve)?;
    gpu(machine)?;
    match &machine.calibration {
        Some(calibration) if !calibration.is_plausible() => refuse(
            "calibration",
            format!("{} and {}", calibration.decode_ratio, calibration.prefill_ratio),
            "measure it again with `resident bench`".to_owned(),
        ),
        Some(_) | None => Ok(()),
    }
}

fn reserve_fits(machine: &Machine, reserve: &Reserve) -> Result<(), Error> {
    let value = match reserve {
        Reserve::Share(share) if (0.0..1.0).contains(share) => return Ok(()),
        Reserve::Bytes(bytes) if *bytes < machine.memory_bytes => return Ok(()),
        Reserve::Share(share) => format!("{} % of RAM", share * 100.0),
        Reserve::Bytes(bytes) => text(*bytes),
    };
    Err(Error::Contradiction {
        machine: machine.name.clone(),
        field: "reserve",
        value,
        way_out: format!(
            "keep less than the {} of RAM there are, for example 25 %",
            text(machine.memory_bytes)
        ),
    })
}

fn gpu(machine: &Machine) -> Result<(), Error> {
    let refuse = |field, value, way_out: String| {
        Err(Error::Contradiction { machine: machine.name.clone(), field, value, way_out })
    };
    match &machine.gpu {
        Gpu::None => Ok(()),
        Gpu::Shared { working_set_bytes: 0 } => refuse(
            "GPU working set",
            "0 bytes".to_owned(),
            "leave it out to get the system's default".to_owned(),
        ),
        Gpu::Shared { working_set_bytes } if *working_set_bytes > machine.memory_bytes => refuse(
            "GPU working set",
            text(*working_set_bytes),
            format!(
                "it lies in RAM, so at most {} are possible; check iogpu.wired_limit_mb",
                text(machine.memory_bytes)
            ),
        ),
        Gpu::Shared { .. } => Ok(()),
        Gpu::Discrete { memory_bytes: 0, .. } => refuse(
            "GPU memory",
            "0 bytes".to_owned(),
            "say how much it has, or that there is no GPU".to_owned(),
        ),
        Gpu::Discrete { bandwidth_bytes_per_s, compute_flops_per_s, .. } => {
            speed(machine, "GPU memory bandwidth", *bandwidth_bytes_per_s)?;
            speed(machine, "GPU computing speed", *compute_flops_per_s)
        }
    }
}

fn speed(machine: &Machine, field: &'static str, per_s: f64) -> Result<(), Error> {
    if per_s.is_finite() && per_s > 0.0 {
        return Ok(());
    }
    Err(Error::Contradiction {
        machine: machine.name.clone(),
        field,
        value: per_s.to_string(),
        way_out: "give a figure above zero, or name a known machine that is like it".to_owned(),
    })
}
