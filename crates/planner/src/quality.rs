//! How close a quantization is to the model it was made from, so that choices can be ranked.
//!
//! The figure is the mean Kullback-Leibler divergence from the unquantized model: what other
//! programs call KLD. It was measured on Llama 3 8B; larger models lose less and newer, denser ones
//! more, but the order stays. Not here: sizes, which are the file's.

mod name;
mod table;

use std::cmp::Ordering;

use crate::gguf::Header;

use name::Parsed;
use table::{Row, TABLE};

/// How good a quantization is.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// The quantization, as it was asked for.
    pub name: String,
    /// How many bits its kind has: 16, 8, 6, 5, 4, 3, 2 or 1; zero when the name does not say.
    pub bits_class: u32,
    /// Bits a weight takes on average, where known.
    pub bits_per_weight: Option<f64>,
    /// Mean divergence from the unquantized model, in nats a token; smaller is better.
    pub divergence: f64,
    /// How the figure came about.
    pub basis: Basis,
    /// Where it was published.
    pub source: &'static str,
}

/// How sure a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Published for this quantization.
    Measured,
    /// Computed from figures published for this quantization and others on another model, or from
    /// the figure of the quantization that it improves on.
    Derived,
    /// Nobody published one: the figure that others with so many bits have.
    ByBits,
}

impl Quality {
    /// Better first: more bits, then less divergence, then the larger.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let bits = |quality: &Self| quality.bits_per_weight.unwrap_or(0.0);
        other
            .bits_class
            .cmp(&self.bits_class)
            .then(self.divergence.total_cmp(&other.divergence))
            .then(bits(other).total_cmp(&bits(self)))
    }

    /// What it means for a person, in a few words.
    #[must_use]
    pub fn in_words(&self) -> &'static str {
        // The limits lie where the published table has its gaps: between Q6_K and Q5, between the
        // 4-bit and the 3-bit K-quants with an importance matrix, and so on.
        match self.divergence {
            figure if figure < 0.01 => "as good as the original",
            figure if figure < 0.025 => "hardly to be told from the original",
            figure if figure < 0.06 => "slightly worse than the original",
            figure if figure < 0.12 => "noticeably worse than the original",
            figure if figure < 0.4 => "much worse than the original",
            _ => "a last resort",
        }
    }
}

/// The quality of the quantization called `name`, as file names and listings have it: `Q4_K_M`,
/// `UD-Q4_K_XL`, `IQ4_XS`, `i1-Q4_K_M`, `MXFP4`.
#[must_use]
pub fn of(name: &str) -> Quality {
    of_bits(name, None)
}

/// As [`of`], for a quantization whose bits a weight are known from its size. They matter only
/// where nothing is published.
#[must_use]
pub fn of_bits(name: &str, bits_per_weight: Option<f64>) -> Quality {
    let parsed = Parsed::of(name);
    if let Some(row) = parsed.row() {
        let (factor, basis, source) = match parsed.improved() {
            None => (1.0, row.basis, row.source),
            Some(improvement) => (improvement.factor, Basis::Derived, improvement.source),
        };
        return Quality {
            name: name.to_owned(),
            bits_class: row.bits_class(),
            bits_per_weight: bits_per_weight.or(Some(row.bits_per_weight)),
            divergence: row.divergence * factor,
            basis,
            source,
        };
    }
    by_bits(name, &parsed, bits_per_weight)
}

/// The quality of the file that `header` belongs to.
#[must_use]
pub fn of_header(header: &Header) -> Quality {
    let parameters = header.parameters();
    let bits = header.tensor_bytes() as f64 * 8.0 / parameters as f64;
    of_bits(&header.quantization(), (parameters > 0).then_some(bits))
}

fn by_bits(name: &str, parsed: &Parsed, bits_per_weight: Option<f64>) -> Quality {
    let bits = bits_per_weight.or_else(|| parsed.digits().map(f64::from));
    Quality {
        name: name.to_owned(),
        bits_class: parsed.digits().or_else(|| bits.map(class_of_bits)).unwrap_or(0),
        bits_per_weight,
        divergence: bits.map_or(f64::MAX, divergence_by_bits),
        basis: Basis::ByBits,
        source: "no published figure; placed among K-quants of the same size",
    }
}

/// The class whose usual files have about so many bits a weight: a "4-bit" K-quant has 4.9.
fn class_of_bits(bits: f64) -> u32 {
    const FROM: [(f64, u32); 8] =
        [(24.0, 32), (12.0, 16), (7.5, 8), (6.2, 6), (5.2, 5), (4.2, 4), (3.2, 3), (2.2, 2)];
    FROM.iter().find(|(from, _)| bits >= *from).map_or(1, |(_, class)| *class)
}

/// On the line through the published K-quants, in the logarithm of the divergence.
fn divergence_by_bits(bits: f64) -> f64 {
    let mut line: Vec<&Row> = TABLE.iter().filter(|row| row.on_line).collect();
    line.sort_by(|one, other| one.bits_per_weight.total_cmp(&other.bits_per_weight));
    let above = line.partition_point(|row| row.bits_per_weight < bits);
    match (above.checked_sub(1).and_then(|below| line.get(below)), line.get(above)) {
        (Some(below), Some(above)) => {
            let span = above.bits_per_weight - below.bits_per_weight;
            let share = (bits - below.bits_per_weight) / span;
            let logarithm = below.divergence.ln() * (1.0 - share) + above.divergence.ln() * share;
            logarithm.exp()
        }
        (Some(end), None) | (None, Some(end)) => end.divergence,
        (None, None) => f64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each must be better than the next.
    #[track_caller]
    fn check_order(names: &[&str]) {
        for pair in names.windows(2) {
            let [better, worse] = [of(pair[0]), of(pair[1])];
            assert_eq!(better.compare(&worse), Ordering::Less, "{better:?} {worse:?}");
            assert_eq!(worse.compare(&better), Ordering::Greater, "{better:?} {worse:?}");
        }
    }

    #[test]
    fn more_bits_are_better_and_within_a_class_the_published_figure_decides() {
        check_order(&["BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ1_S"]);
        check_order(&["F16", "Q8_0"]);
        check_order(&["Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0"]);
        check_order(&["Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0"]);
        check_order(&["Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "Q3_K_S"]);
        check_order(&["IQ2_M", "Q2_K", "Q2_K_S", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M"]);
    }

    #[test]
    fn dynamic_quants_stand_where_their_figures_put_them() {
        check_order(&["UD-Q8_K_XL", "Q8_0", "UD-Q6_K_XL", "Q6_K", "UD-Q5_K_XL", "Q5_K_M"]);
        check_order(&["UD-IQ2_M", "IQ2_M"]);
        check_order(&["UD-Q2_K_XL", "UD-IQ2_M", "UD-IQ2_XXS", "IQ2_XXS"]);
        check_order(&["UD-Q4_K_XL", "Q4_K_S"]);
        assert_eq!(of("UD-Q4_K_XL").basis, Basis::Derived);
        assert!(of("UD-Q4_K_XL").source.contains("Unsloth"));
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        for name in ["q4_k_m", "Q4_K_M", "i1-Q4_K_M", "Q4_K_M.gguf"] {
            let found = of(name);
            assert!((found.divergence - 0.028_152).abs() < 1e-9, "{found:?}");
            assert_eq!(found.basis, Basis::Measured, "{name}");
        }
        assert_eq!(of("Q6_K_L").bits_class, 6);
        assert!(of("Q6_K_L").divergence <= of("Q6_K").divergence);
    }

    #[test]
    fn what_nobody_published_is_ranked_by_its_bits_and_says_so() {
        let unknown = of("Q7_K");
        assert_eq!((unknown.bits_class, unknown.basis), (7, Basis::ByBits));
        check_order(&["Q8_0", "Q7_K", "Q6_K"]);
        assert_eq!(of("MXFP4").bits_class, 4);
        assert_eq!(of("MXFP4").basis, Basis::ByBits);
        let by_size = of_bits("mostly", Some(4.9));
        assert_eq!((by_size.bits_class, by_size.basis), (4, Basis::ByBits));
        assert!((by_size.divergence - 0.028).abs() < 0.003, "{by_size:?}");
        let nothing = of("mostly");
        assert_eq!((nothing.bits_class, nothing.basis), (0, Basis::ByBits));
        check_order(&["IQ1_S", "mostly"]);
    }

    #[test]
    fn fewer_bits_are_never_closer_to_the_original() {
        let mut last = f64::INFINITY;
        for tenths in 10..170 {
            let found = divergence_by_bits(f64::from(tenths) / 10.0);
            assert!(found <= last && found > 0.0, "{tenths}: {found} > {last}");
            last = found;
        }
    }

    #[test]
    fn every_row_has_a_source_and_words() {
        for row in TABLE {
            let found = of(row.name);
            assert!(row.source.len() > 20 && found.divergence > 0.0, "{}", row.name);
            assert_eq!(found.name, row.name);
        }
        assert_eq!(of("Q8_0").in_words(), "as good as the original");
        assert_eq!(of("Q4_K_M").in_words(), "slightly worse than the original");
        assert_eq!(of("IQ1_S").in_words(), "a last resort");
    }
}
