//! `resident ps`: the models that are in memory now, and who waits for what.

use std::time::Duration;

use gateway::control::{RequestRow, Requests, ResidentRow, Residents};
use planner::fleet::{Turn, Wait};
use serde::Serialize;

use crate::{
    cli,
    client::{Client, Error},
    config, duration, explain,
    limits::WAITING_LISTED_MAX,
    serve, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// Where residents are listed.
const PATH: &str = "/resident/v1/ps";

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    residents: Residents,
    #[serde(flatten)]
    requests: Requests,
}

/// Lists the models in memory.
///
/// # Errors
/// When no hub of ours answers.
pub(crate) fn ps(arguments: &cli::Ps) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let (residents, requests) = serve::runtime()?
        .block_on(async {
            let client = Client::find(&settings).await?;
            let residents = client.get::<Residents>(PATH).await?;
            Ok((residents, client.get::<Requests>("/resident/v1/requests").await?))
        })
        .map_err(Error::with_code)?;
    if arguments.json {
        return terminal::json(&Document { residents, requests });
    }
    for line in lines(&residents, Paint::stdout()).into_iter().chain(waiting(&requests)) {
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
        ("ENGINE", Align::Left),
        ("STATE", Align::Left),
        ("BOOKED", Align::Right),
        ("MEASURED", Align::Right),
        ("CONTEXT", Align::Right),
        ("KV", Align::Left),
        ("KEPT", Align::Right),
        ("RUNNING", Align::Right),
        ("WAITING", Align::Right),
        ("PROCESS", Align::Right),
        ("IDLE", Align::Right),
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
    let span = |seconds: Option<u64>| {
        let span = seconds.map(|seconds| duration::format(Duration::from_secs(seconds)));
        span.unwrap_or_else(|| "-".to_owned())
    };
    let unloads = if row.pinned { "pinned".to_owned() } else { span(row.unload_in_s) };
    vec![
        row.name.clone(),
        row.engine.clone(),
        state,
        size::format(row.booked_bytes),
        row.measured_bytes.map_or_else(|| "-".to_owned(), size::format),
        or_dash(row.context_tokens),
        row.kv_type.clone().unwrap_or_else(|| "-".to_owned()),
        match row.kept_ram_bytes {
            0 => "-".to_owned(),
            bytes => size::format(bytes),
        },
        row.leased.to_string(),
        row.waiting.to_string(),
        or_dash(row.pid),
        span(row.idle_s),
        unloads,
    ]
}

/// Who waits, in the order of their places, and for what.
fn waiting(open: &Requests) -> Vec<String> {
    let wait = |row: &RequestRow| match &row.turn {
        Turn::Using(_) => None,
        Turn::Waiting(wait) => Some((row.request, wait.clone())),
    };
    let mut waiting: Vec<(u64, Wait)> = open.requests.iter().filter_map(wait).collect();
    waiting.sort_by_key(|(_, wait)| wait.place);
    let line = |(request, wait): &(u64, Wait)| {
        format!(
            "request {request} waits {} for {}: until {}",
            duration::format(wait.waited),
            wait.model.name,
            explain::waits_for(wait, open)
        )
    };
    let mut lines: Vec<String> = waiting.iter().take(WAITING_LISTED_MAX).map(line).collect();
    let more = waiting.len().saturating_sub(WAITING_LISTED_MAX);
    if more > 0 {
        lines.push(format!("and {more} more wait; --json lists all"));
    }
    lines
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
    use expect_test::expect;
    use planner::fleet::{Model, Priority, RequestId, WaitingFor, WorkerId};

    use super::*;

    fn row(name: &str, state: &str) -> ResidentRow {
        ResidentRow {
            name: name.to_owned(),
            engine: "worker".to_owned(),
            path: Some(format!("/models/{name}.gguf")),
            state: state.to_owned(),
            loaded_fraction: None,
            pinned: false,
            booked_bytes: 5 << 30,
            measured_bytes: None,
            pid: Some(4242),
            load_ms: None,
            context_tokens: Some(8192),
            kv_type: Some("q8_0".to_owned()),
            kept_ram_bytes: 0,
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
        let idle = ResidentRow {
            idle_s: Some(60),
            unload_in_s: Some(540),
            leased: 0,
            measured_bytes: Some(4 << 30),
            kept_ram_bytes: 96 << 20,
            ..row("small", "ready")
        };
        let pinned = ResidentRow {
            engine: "command".to_owned(),
            pinned: true,
            context_tokens: None,
            kv_type: None,
            ..row("voice", "ready")
        };
        let residents = Residents {
            residents: vec![loading, idle, pinned],
            booked_bytes: 10 << 30,
            budget_bytes: 12 << 30,
        };
        expect![[r#"
            NAME    ENGINE    STATE           BOOKED   MEASURED   CONTEXT   KV         KEPT   RUNNING   WAITING   PROCESS    IDLE   UNLOADS IN
            big     worker    loading 43 %   5.0 GiB          -      8192   q8_0          -         1         0      4242       -   -
            small   worker    ready          5.0 GiB    4.0 GiB      8192   q8_0   96.0 MiB         0         0      4242   1m 0s   9m 0s
            voice   command   ready          5.0 GiB          -         -   -             -         1         0      4242       -   pinned
            10.0 GiB of 12.0 GiB booked"#]].assert_eq(&lines(&residents, Paint::plain()).join("\n"));
    }

    #[test]
    fn those_who_wait_stand_in_their_order_and_say_for_what() {
        let wait = |place: usize, waiting_for: WaitingFor| {
            Turn::Waiting(Wait {
                model: Model { name: "big".into(), version: 1 },
                priority: Priority::Interactive,
                place,
                waited: Duration::from_secs(5),
                turn_in: Duration::from_secs(10),
                refused_in: None,
                waiting_for,
            })
        };
        let row = |request, turn| RequestRow { request, model: "big".to_owned(), turn };
        let small = WorkerId(1);
        let in_use = WaitingFor::InUse { missing_bytes: 1 << 30, workers: vec![small] };
        let mut requests = Requests {
            requests: vec![
                row(3, Turn::Using(small)),
                row(4, wait(2, WaitingFor::Behind(RequestId(9)))),
                row(9, wait(1, in_use)),
            ],
            workers: [(small, "small".to_owned())].into(),
        };
        expect![[r#"
            request 9 waits 5s for big: until small is done, because 1.0 GiB more are needed than idle models could give
            request 4 waits 5s for big: until request 9 is served, which came first"#]].assert_eq(&waiting(&requests).join("\n"));
        let many =
            (0..=WAITING_LISTED_MAX).map(|n| row(n as u64, wait(n, WaitingFor::Load(small))));
        requests.requests = many.collect();
        let lines = waiting(&requests);
        assert_eq!(lines.len(), WAITING_LISTED_MAX + 1);
        assert_eq!(lines.last().unwrap(), "and 1 more wait; --json lists all");
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
