//! `resident ps`: the models that are in memory now.

use std::time::Duration;

use gateway::control::{ResidentRow, Residents};

use crate::{
    cli,
    client::{Client, Error},
    config, duration, serve, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// Where residents are listed.
const PATH: &str = "/resident/v1/ps";

/// Lists the models in memory.
///
/// # Errors
/// When no hub of ours answers.
pub(crate) fn ps(arguments: &cli::Ps) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let residents = serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await?;
        client.get::<Residents>(PATH).await
    });
    let residents = residents.map_err(Error::with_code)?;
    if arguments.json {
        return terminal::json(&residents);
    }
    for line in lines(&residents, Paint::stdout()) {
        terminal::line(line);
    }
    Ok(())
}

/// How much of the model is loaded, in percent; `None` when it is not loading.
pub(crate) async fn loading_percent(client: &Client, model: &str) -> Option<u32> {
    let residents = client.get::<Residents>(PATH).await.ok()?;
    let row = residents.residents.iter().find(|row| row.name == model)?;
    row.loaded_fraction.map(percent)
}

fn lines(residents: &Residents, paint: Paint) -> Vec<String> {
    let total = format!(
        "{} of {} booked",
        size::format(residents.booked_bytes),
        size::format(residents.budget_bytes)
    );
    if residents.residents.is_empty() {
        return vec![format!("no model is in memory; {total}")];
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("MEMORY", Align::Right),
        ("CONTEXT", Align::Right),
        ("RUNNING", Align::Right),
        ("WAITING", Align::Right),
        ("PROCESS", Align::Right),
        ("UNLOADS IN", Align::Left),
    ]);
    for row in &residents.residents {
        table.row(cells(row));
    }
    let mut lines = table.lines(paint);
    lines.push(total);
    lines
}

fn cells(row: &ResidentRow) -> Vec<String> {
    let state = match row.loaded_fraction {
        Some(fraction) => format!("{} {} %", row.state, percent(fraction)),
        None => row.state.clone(),
    };
    let unloads = match row.unload_in_s {
        Some(seconds) => duration::format(Duration::from_secs(seconds)),
        None => "-".to_owned(),
    };
    vec![
        row.name.clone(),
        state,
        size::format(row.booked_bytes),
        or_dash(row.context_tokens),
        row.leased.to_string(),
        row.waiting.to_string(),
        or_dash(row.pid),
        unloads,
    ]
}

fn or_dash(number: Option<u32>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn percent(fraction: f32) -> u32 {
    // Clamped first, and a saturating cast turns what is not a number into 0.
    (fraction.clamp(0.0, 1.0) * 100.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: &str) -> ResidentRow {
        ResidentRow {
            name: name.to_owned(),
            engine: "worker".to_owned(),
            path: Some(format!("/models/{name}.gguf")),
            state: state.to_owned(),
            loaded_fraction: None,
            booked_bytes: 5 << 30,
            measured_bytes: None,
            pid: Some(4242),
            context_tokens: Some(8192),
            leased: 1,
            waiting: 0,
            cells_used: 0,
            threads: 0,
            idle_s: None,
            unload_in_s: None,
        }
    }

    #[test]
    fn residents_as_people_read_them() {
        let loading = ResidentRow { loaded_fraction: Some(0.437), ..row("big", "loading") };
        let idle = ResidentRow { unload_in_s: Some(540), leased: 0, ..row("small", "ready") };
        let residents = Residents {
            residents: vec![loading, idle],
            booked_bytes: 10 << 30,
            budget_bytes: 12 << 30,
        };
        assert_eq!(
            lines(&residents, Paint::plain()),
            [
                "NAME    STATE           MEMORY   CONTEXT   RUNNING   WAITING   PROCESS   UNLOADS IN",
                "big     loading 43 %   5.0 GiB      8192         1         0      4242   -",
                "small   ready          5.0 GiB      8192         0         0      4242   9m 0s",
                "10.0 GiB of 12.0 GiB booked",
            ]
        );
    }

    #[test]
    fn nothing_in_memory_is_said_in_words() {
        let residents = Residents { residents: vec![], booked_bytes: 0, budget_bytes: 12 << 30 };
        let expected = ["no model is in memory; 0 B of 12.0 GiB booked"];
        assert_eq!(lines(&residents, Paint::plain()), expected);
    }

    #[test]
    fn shares_stay_between_0_and_100() {
        for (fraction, expected) in [(-1.0, 0), (0.999, 99), (7.0, 100), (f32::NAN, 0)] {
            assert_eq!(percent(fraction), expected);
        }
    }
}
