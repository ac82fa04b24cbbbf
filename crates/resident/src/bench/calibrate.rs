//! From a measurement to what `resident plan` expects of this machine from then on.

use std::path::Path;

use anyhow::Context as _;
use planner::{
    footprint::Layout,
    machine::Machine,
    speed::{Calibration, Measured},
};
use worker_protocol::limits::INTERNAL_SEQUENCES;

use super::{
    limits::CALIBRATION_WEIGHTS_BYTES_MIN,
    speed::{Pair, Plan},
    statistic::best,
    subject::Subject,
};
use crate::{calibration, config, hardware, size};

/// Stores what one stream of `pairs` says about this machine, and gives the sentence that tells so.
///
/// # Errors
/// When it says nothing, with the reason, or cannot be stored.
pub(super) fn store(
    data_dir: &Path,
    subject: &Subject,
    plan: &Plan,
    pairs: &[Pair],
) -> anyhow::Result<String> {
    let memory_bytes = config::memory_bytes().context("the system does not say its memory")?;
    let calibration = calibrate(&hardware::this(memory_bytes), subject, plan, pairs)?;
    calibration::store(data_dir, &calibration)?;
    Ok(format!(
        "`resident plan` goes by this from now on: {:.2} times the expected speed of writing, {:.2} \
         times that of reading",
        calibration.decode_ratio, calibration.prefill_ratio
    ))
}

fn calibrate(
    machine: &Machine,
    subject: &Subject,
    plan: &Plan,
    pairs: &[Pair],
) -> anyhow::Result<Calibration> {
    let one: Vec<&Pair> = pairs.iter().filter(|pair| pair.streams == 1).collect();
    let of =
        |figure: fn(&Pair) -> f64| best(&one.iter().map(|pair| figure(pair)).collect::<Vec<_>>());
    let decode = of(|pair| pair.hub.decode_tokens_per_s);
    let prefill = of(|pair| pair.hub.prefill_tokens_per_s);
    let (decode_tokens_per_s, prefill_tokens_per_s) =
        decode.zip(prefill).context("one stream was not among those measured")?;
    let header = supervisor::read_header(&subject.path).map_err(anyhow::Error::msg)?;
    anyhow::ensure!(
        header.tensor_bytes() >= CALIBRATION_WEIGHTS_BYTES_MIN,
        "a model of {} says little about larger ones; measure with one of at least {}",
        size::format(header.tensor_bytes()),
        size::format(CALIBRATION_WEIGHTS_BYTES_MIN)
    );
    let sequences_max = plan.streams_max().saturating_add(INTERNAL_SEQUENCES);
    let layout = Layout { place: machine.place(), ..Layout::new(plan.cells(), sequences_max) };
    let measured = Measured {
        model: &format!("{} {}", subject.name, subject.quantization),
        decode_tokens_per_s,
        prefill_tokens_per_s,
        // While it writes, its context grows from the prompt by the answer: half of it on average.
        filled_tokens: u64::from(plan.prompt_tokens_each(1)) + u64::from(plan.tokens) / 2,
    };
    Ok(Calibration::from_measurement(&header, machine, &layout, &measured)?)
}

#[cfg(test)]
mod tests {
    use planner::machine;

    use super::*;
    use crate::bench::speed::{Cache, Turn};

    fn pair(streams: u32, rate: f64) -> Pair {
        let turn = Turn {
            prefill_tokens_per_s: 10.0 * rate,
            decode_tokens_per_s: rate,
            first_token_seconds: 1.0,
        };
        Pair {
            streams,
            cache: Cache::Unified,
            plain: turn,
            hub: turn,
            worker_decode_tokens_per_s: rate,
            was_cached: true,
        }
    }

    fn plan(path: &Path) -> Plan {
        Plan {
            model: path.to_owned(),
            worker: "worker".into(),
            streams: vec![1],
            prompt_tokens: 512,
            tokens: 128,
            rounds: 1,
            threads: 1,
        }
    }

    fn subject(path: &Path) -> Subject {
        Subject {
            name: "m".to_owned(),
            path: path.to_owned(),
            file_bytes: 1,
            architecture: "llama".to_owned(),
            parameters: 1,
            quantization: "Q8_0".to_owned(),
            vocabulary_tokens: 3,
            has_head: false,
        }
    }

    /// A file that has a real model's header and nothing behind it but a hole.
    fn file(folder: &Path, name: &str) -> std::path::PathBuf {
        let entry = planner::catalogue::builtin().find(name).unwrap();
        let header = entry.header("Q8_0").unwrap();
        let bytes = planner::gguf::write::write(&header).unwrap();
        let path = folder.join(format!("{name}.gguf"));
        std::fs::write(&path, &bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(bytes.len() as u64 + header.tensor_bytes()).unwrap();
        path
    }

    #[test]
    fn the_fastest_turn_of_one_stream_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "qwen3-8b");
        let machine = machine::processor("this", 16 << 30);
        let ratio = |pairs: &[Pair]| {
            calibrate(&machine, &subject(&path), &plan(&path), pairs)
                .map(|found| found.decode_ratio)
        };
        let slow = ratio(&[pair(1, 3.0), pair(8, 20.0)]).unwrap();
        let fast = ratio(&[pair(1, 3.0), pair(1, 6.0), pair(8, 20.0)]).unwrap();
        assert!((fast / slow - 2.0).abs() < 1e-9, "{fast} {slow}");
        let message = ratio(&[pair(8, 20.0)]).unwrap_err().to_string();
        assert!(message.contains("one stream"), "{message}");
        let message = ratio(&[pair(1, 1e6)]).unwrap_err().to_string();
        assert!(message.contains("measure again"), "{message}");
    }

    #[test]
    fn a_small_model_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "minilm-l6");
        let machine = machine::processor("this", 16 << 30);
        let found = calibrate(&machine, &subject(&path), &plan(&path), &[pair(1, 3.0)]);
        let message = found.unwrap_err().to_string();
        assert!(message.contains("says little about larger ones"), "{message}");
    }
}
