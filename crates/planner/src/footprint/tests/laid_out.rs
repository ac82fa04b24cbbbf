//! Every model of the catalogue beside what llama.cpp lays out for a file of its shape.

use super::*;
use crate::catalogue;

const LAID_OUT: &str = include_str!("laid_out.csv");

/// Lines of the table and architectures among them, so that a table that was cut proves nothing.
const ROWS: usize = 305;
const ARCHITECTURES: usize = 16;

/// One line of the table.
struct Row<'a> {
    model: &'a str,
    layout: Layout,
    caches: u64,
    compute: u64,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    LAID_OUT.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |place: usize| cells[place].parse::<u64>().unwrap();
        let kind = CacheType::from_name(cells[3]).unwrap();
        let layout = Layout {
            keys: kind,
            values: kind,
            flash_attention: number(4) == 1,
            windows: if number(5) == 1 { Windows::Whole } else { Windows::Sliding },
            ..Layout::new(cells[1].parse().unwrap(), cells[2].parse().unwrap())
        };
        Row { model: cells[0], layout, caches: number(6), compute: number(7) }
    })
}

#[test]
fn every_model_of_the_catalogue_is_what_llama_cpp_lays_out() {
    let (mut count, mut exact) = (0, 0);
    let mut architectures = std::collections::BTreeSet::new();
    for Row { model, layout, caches, compute } in rows() {
        let header = catalogue::builtin().find(model).unwrap().header("Q4_K_M").unwrap();
        let footprint = predict(&header, &layout);
        let of = |what| footprint.bytes_of(what);
        assert_eq!(of(CACHE) + of(WINDOW_CACHE) + of(RECURRENT), caches, "{model} {layout:?}");
        let share = of(COMPUTE) as f64 / compute as f64;
        assert!((0.99..=1.01).contains(&share), "{model} {layout:?}: {share}");
        assert!(footprint.certain, "{model}");
        count += 1;
        exact += usize::from(of(COMPUTE) == compute);
        architectures.insert(header.architecture().to_owned());
    }
    assert_eq!((count, architectures.len()), (ROWS, ARCHITECTURES), "{architectures:?}");
    assert!(exact * 100 >= count * 99, "{exact} of {count} to the byte");
}
