//! One model in one quantization on one machine: what it needs, whether that fits, how fast it is.

use planner::{
    fit::{self, Judgement, Need, Verdict},
    footprint::{self, CacheType, Device, Footprint, Item, Layout},
    gguf::Header,
    machine::GpuBudget,
    quality::{self, Quality},
    speed,
};
use serde::Serialize;
use worker_protocol::limits::INTERNAL_SEQUENCES;

use super::{
    host::Host,
    subject::{File, Subject, What},
};

/// How models are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) host: Host,
    /// Tokens of the context; without it what the hub would take.
    pub(crate) context_tokens: Option<u32>,
    /// How caches are kept; without it as the hub would.
    pub(crate) cache: Option<CacheType>,
    /// How the hub keeps those of models that have no setting of their own.
    pub(crate) hub_cache: CacheType,
    /// Requests at once.
    pub(crate) parallel: u32,
}

/// The answer for one file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) model: String,
    pub(crate) title: String,
    pub(crate) purpose: &'static str,
    pub(crate) architecture: String,
    pub(crate) parameters: u64,
    /// Weights that take part in one token: of experts, those that are used.
    pub(crate) active_parameters: u64,
    pub(crate) quantization: String,
    /// How close it is to the original, in words.
    pub(crate) quality: &'static str,
    /// Bits of its kind: 8, 6, 5, 4, 3, 2.
    pub(crate) bits_class: u32,
    /// Mean divergence from the original, in nats a token.
    pub(crate) divergence: f64,
    /// Where that was published.
    pub(crate) quality_source: &'static str,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) context_tokens: u32,
    pub(crate) requests: u32,
    pub(crate) kv_type: &'static str,
    pub(crate) weights_bytes: u64,
    pub(crate) kv_bytes: u64,
    pub(crate) recurrent_bytes: u64,
    pub(crate) compute_bytes: u64,
    pub(crate) other_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) budget_bytes: u64,
    /// What is left of the memory that is shortest; negative when it does not fit.
    pub(crate) headroom_bytes: i64,
    pub(crate) verdict: &'static str,
    pub(crate) why: String,
    /// False when the architecture is not known, and the figures are an upper bound.
    pub(crate) certain: bool,
    /// Whether the file's header was derived from that of another file of the model.
    pub(crate) is_guess: bool,
    /// Of one request, while its context is empty.
    pub(crate) decode_tokens_per_s: Option<f64>,
    /// Of one request, when its context is full.
    pub(crate) decode_full_tokens_per_s: Option<f64>,
    pub(crate) prefill_tokens_per_s: Option<f64>,
    pub(crate) is_speed_calibrated: bool,
    pub(crate) speed_why: String,
    pub(crate) items: Vec<ItemRow>,
    #[serde(skip)]
    pub(crate) judged: Verdict,
    #[serde(skip)]
    pub(crate) need: Need,
}

/// One line of the memory.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ItemRow {
    /// Which of the sums it is in: `weights`, `kv`, `recurrent`, `compute` or `other`.
    pub(crate) part: &'static str,
    pub(crate) what: &'static str,
    /// `ram` or `gpu`.
    pub(crate) device: &'static str,
    pub(crate) bytes: u64,
    pub(crate) why: String,
}

impl Question {
    /// How the hub would load `subject` with this header.
    pub(crate) fn layout(&self, header: &Header, subject: &Subject) -> Layout {
        let trained = header.context_trained_tokens().and_then(|tokens| u32::try_from(tokens).ok());
        let usual = supervisor::limits::CONTEXT_TOKENS_DEFAULT;
        let asked_tokens = self.context_tokens.or(subject.context_tokens);
        let context_tokens =
            asked_tokens.unwrap_or_else(|| trained.map_or(usual, |most| most.min(usual)));
        let sequences_max = self.parallel.saturating_add(INTERNAL_SEQUENCES);
        // Encoders know no position beyond those they were trained with.
        let most = trained.filter(|_| header.encodes()).unwrap_or(u32::MAX);
        let cache = self.cache_of(subject);
        let layout = Layout {
            keys: cache,
            values: cache,
            place: self.host.machine.place(),
            ..Layout::new(context_tokens.min(most).max(1), sequences_max)
        };
        supervisor::guessing_by_default(header, layout)
    }

    fn cache_of(&self, subject: &Subject) -> CacheType {
        self.cache.or(subject.kv_type).unwrap_or(self.hub_cache)
    }

    /// What a reader of any answer should know.
    pub(crate) fn notes(&self) -> Vec<String> {
        let cache = self.cache.filter(|cache| *cache != self.hub_cache).map(|cache| {
            format!(
                "where nothing else is said the hub keeps caches as {}; it keeps them as {cache} with \
                 --kv-type {cache}, [kv] type = \"{cache}\", or kv_type in a model's own table",
                self.hub_cache.name(),
                cache = cache.name()
            )
        });
        cache.into_iter().chain(self.host.speed_note().map(str::to_owned)).collect()
    }

    /// The answer for `file` of `subject`.
    pub(crate) fn row(&self, subject: &Subject, file: &File) -> Row {
        match &file.what {
            What::Header(header) => self.of_header(subject, file, header),
            What::Runtime { bytes, note } => self.of_runtime(subject, file, *bytes, note),
        }
    }

    fn of_header(&self, subject: &Subject, file: &File, header: &Header) -> Row {
        let layout = self.layout(header, subject);
        let mut footprint = footprint::predict_with(header, &layout, &subject.companions());
        footprint.items.iter_mut().for_each(|item| item.why = crate::terminal::inert(&item.why));
        let mut judgement = fit::judge(&footprint, &self.host.budget);
        if let Err(refusal) = footprint::check(header, &layout) {
            judgement.verdict = Verdict::DoesNotFit;
            judgement.why = format!("it cannot be loaded so: {refusal}");
        }
        let quality = file.quality();
        let estimate = |filled| speed::estimate(header, &self.host.machine, &layout, filled);
        let (empty, full) = (estimate(0), estimate(layout.context_tokens.into()));
        let mut row = self.bare(subject, file, &quality, &judgement, &footprint);
        row.context_tokens = layout.context_tokens;
        row.decode_tokens_per_s = empty.decode_tokens_per_s;
        row.decode_full_tokens_per_s = full.decode_tokens_per_s;
        row.prefill_tokens_per_s = Some(empty.prefill_tokens_per_s);
        row.is_speed_calibrated = empty.calibrated;
        row.speed_why = empty.why;
        row
    }

    /// A model of another engine: its need is given and its speed is not known.
    fn of_runtime(&self, subject: &Subject, file: &File, bytes: u64, note: &str) -> Row {
        let item = Item {
            what: footprint::PROCESS,
            device: Device::Ram,
            bytes,
            why: format!("in all, as its engine's documentation says; {note}"),
        };
        let footprint = Footprint { items: vec![item], certain: true };
        let judgement = fit::judge(&footprint, &self.host.budget);
        self.bare(subject, file, &file.quality(), &judgement, &footprint)
    }

    /// Everything but context and speed.
    fn bare(
        &self,
        subject: &Subject,
        file: &File,
        quality: &Quality,
        judgement: &Judgement,
        footprint: &Footprint,
    ) -> Row {
        let items: Vec<ItemRow> = footprint.items.iter().map(ItemRow::of).collect();
        let sum = |part| {
            let of_part = items.iter().filter(|item| item.part == part);
            of_part.fold(0, |sum: u64, item| sum.saturating_add(item.bytes))
        };
        Row {
            model: subject.name.clone(),
            title: subject.title.clone(),
            purpose: subject.purpose,
            architecture: subject.architecture.clone(),
            parameters: subject.parameters,
            active_parameters: file
                .active_share()
                .map_or(subject.parameters, |share| (subject.parameters as f64 * share) as u64),
            quantization: file.quantization.clone(),
            quality: quality.in_words(),
            bits_class: quality.bits_class,
            divergence: quality.divergence,
            quality_source: quality.source,
            file_bytes: file.file_bytes,
            context_tokens: 0,
            requests: self.parallel,
            kv_type: self.cache_of(subject).name(),
            weights_bytes: sum(WEIGHTS),
            kv_bytes: sum(KV),
            recurrent_bytes: sum(RECURRENT),
            compute_bytes: sum(COMPUTE),
            other_bytes: sum(OTHER),
            total_bytes: footprint.total_bytes(),
            budget_bytes: match self.host.budget.gpu {
                GpuBudget::None | GpuBudget::Within { .. } => self.host.budget.bytes,
                GpuBudget::Separate { .. } => judgement.budget_bytes,
            },
            headroom_bytes: i64::try_from(judgement.headroom_bytes).unwrap_or(i64::MIN),
            verdict: judgement.verdict.name(),
            why: judgement.why.clone(),
            certain: footprint.certain && !file.is_guess,
            is_guess: file.is_guess,
            decode_tokens_per_s: None,
            decode_full_tokens_per_s: None,
            prefill_tokens_per_s: None,
            is_speed_calibrated: false,
            speed_why: String::new(),
            items,
            judged: judgement.verdict,
            need: Need::of(footprint),
        }
    }
}

impl File {
    /// The share of its weights that takes part in one token. Tensors of experts have `_exps` in
    /// their names.
    fn active_share(&self) -> Option<f64> {
        let What::Header(header) = &self.what else { return None };
        let (used, all) = (header.arch_u64("expert_used_count")?, header.arch_u64("expert_count")?);
        let experts = header.tensors.iter().filter(|tensor| tensor.name.contains("_exps"));
        let experts: u64 = experts.fold(0, |sum, tensor| sum.saturating_add(tensor.elements()));
        let total = header.parameters().max(1) as f64;
        let idle = experts as f64 * (1.0 - used as f64 / all.max(1) as f64);
        Some(1.0 - idle / total)
    }

    /// How good its quantization is.
    pub(crate) fn quality(&self) -> Quality {
        match &self.what {
            What::Header(header) => {
                fit::Candidate { quantization: &self.quantization, header }.quality()
            }
            What::Runtime { .. } => quality::of(&self.quantization),
        }
    }
}

const WEIGHTS: &str = "weights";
const KV: &str = "kv";
const RECURRENT: &str = "recurrent";
const COMPUTE: &str = "compute";
const OTHER: &str = "other";

impl ItemRow {
    fn of(item: &Item) -> Self {
        let part = match item.what {
            footprint::WEIGHTS => WEIGHTS,
            footprint::CACHE | footprint::WINDOW_CACHE => KV,
            footprint::RECURRENT => RECURRENT,
            footprint::COMPUTE => COMPUTE,
            _ => OTHER,
        };
        let device = match item.device {
            Device::Ram => "ram",
            Device::Gpu => "gpu",
        };
        Self { part, what: item.what, device, bytes: item.bytes, why: item.why.clone() }
    }
}

impl Row {
    /// Where it stands among the quantizations of its model: smaller is better.
    pub(crate) fn rank(&self) -> (std::cmp::Reverse<u32>, u64, std::cmp::Reverse<u64>) {
        // Divergences are positive, and the bits of positive floats are in their order.
        let divergence = self.divergence.to_bits();
        (std::cmp::Reverse(self.bits_class), divergence, std::cmp::Reverse(self.weights_bytes))
    }
}
