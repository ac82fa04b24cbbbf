//! One-shot tools with real processes: small scripts, well-behaved and not.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use supervisor::{Content, Input, Output, Serves, Tool, ToolError, ToolOutput, tool};
use tokio::task::JoinHandle;

use crate::hub::{DEADLINE, Hub, Setup, is_gone, within};

const MEMORY_BYTES: u64 = 10_000_000;

/// A script that is a tool: standard input to standard output, unless the test changes that. Its
/// arguments come after the script's name.
fn script(script: &str, arguments: &[&str]) -> Tool {
    let shell = ["sh", "-c", script, "script"];
    Tool {
        name: "script".to_owned(),
        argv: shell.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect(),
        environment: BTreeMap::new(),
        memory_bytes: MEMORY_BYTES,
        time_max: DEADLINE,
        output_bytes_max: 1 << 20,
        serves: Serves::Tool,
        input: Input::Stdin,
        output: Output::Stdout,
        content_type: "text/plain".to_owned(),
        defaults: BTreeMap::from([("language".to_owned(), "en".to_owned())]),
        voices: BTreeMap::new(),
    }
}

fn to_file(text: &str, arguments: &[&str]) -> Tool {
    let extension = "txt".to_owned();
    Tool { output: Output::File { extension }, ..script(text, arguments) }
}

fn hub() -> Hub {
    Hub::new(&[], Setup::default())
}

async fn run(hub: &Hub, tool: Tool, values: &[(&str, &str)]) -> Result<ToolOutput, ToolError> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let content = Content::of(match tool.input {
        Input::Stdin | Input::File { .. } => b"hello",
        Input::None => b"",
    });
    let content = content.await.unwrap();
    within(tool::run(&hub.handle, Arc::new(tool), values.collect(), content)).await
}

fn begin(hub: &Hub, tool: Tool) -> JoinHandle<Result<ToolOutput, ToolError>> {
    let handle = hub.handle.clone();
    tokio::spawn(async move {
        let content = Content::empty().await.unwrap();
        tool::run(&handle, Arc::new(tool), BTreeMap::new(), content).await
    })
}

async fn text(output: Result<ToolOutput, ToolError>) -> String {
    String::from_utf8(output.unwrap().whole().await.unwrap()).unwrap()
}

/// Nothing is booked any more, and so nothing runs.
async fn is_over(hub: &Hub) {
    hub.until("script", |resident| resident.is_none()).await;
    assert_eq!(hub.handle.metrics().await.booked_bytes, 0);
}

/// What a script wrote into a file, once it is there as a whole line.
async fn line(path: &Path) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            Ok(_) | Err(_) => assert!(Instant::now() < deadline, "{}", path.display()),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_goes_in_and_what_comes_out() {
    let hub = hub();
    let echo = script("cat; printf ' %s|' \"$@\"", &["{language}", "--a={a}", "{b}"]);
    let output = run(&hub, echo, &[("a", "1 $(id); x"), ("b", "*"), ("c", "no place")]).await;
    let output = output.unwrap();
    assert_eq!(output.content_type, "text/plain");
    assert!(output.ran_for > Duration::ZERO && output.ran_for < DEADLINE);
    assert_eq!(text(Ok(output)).await, "hello en| --a=1 $(id); x| *|");
    is_over(&hub).await;
    hub.goes_down().await;
}

#[tokio::test]
async fn each_run_has_a_folder_of_its_own_that_is_gone_afterwards() {
    let hub = hub();
    let extension = "raw".to_owned();
    let tool = Tool {
        input: Input::File { extension },
        environment: BTreeMap::from([("SECRET".to_owned(), "known".to_owned())]),
        ..to_file(
            "touch stray; mkdir more; touch more/stray; \
             printf '%s\\n' \"$(cat \"$1\")\" \"$1\" \"$2\" \"$3\" \"$PWD\" \"$TMPDIR\" \
             \"$(stat -c %a . 2>/dev/null || stat -f %Lp .)\" \"$SECRET$CARGO_PKG_NAME\" >\"$2\"",
            &["{input}", "{output}", "{output_stem}"],
        )
    };
    let seen = text(run(&hub, tool, &[]).await).await;
    let seen: Vec<&str> = seen.lines().collect();
    let [content, input, output, stem, folder, temporary, mode, secret] = &*seen else {
        panic!("{seen:?}");
    };
    assert_eq!((*content, *mode, *secret), ("hello", "700", "known"));
    assert_eq!(*input, format!("{temporary}/input.raw"));
    assert_eq!(
        (*output, *stem),
        (&*format!("{temporary}/output.txt"), &*format!("{temporary}/output"))
    );
    // The system's folder for temporary files may be reached by a link.
    assert_eq!(Path::new(folder).file_name(), Path::new(temporary).file_name());
    assert!(!Path::new(temporary).exists(), "{temporary} is left");
    hub.goes_down().await;
}

#[tokio::test]
async fn a_tool_that_fails_leaves_its_last_words_and_nothing_else() {
    let hub = hub();
    let tool = script("pwd; pwd >&2; echo 'no such voice' >&2; exit 3", &[]);
    let ToolError::Failed { name, message } = run(&hub, tool, &[]).await.unwrap_err() else {
        panic!("it does not fail");
    };
    assert_eq!(name, "script");
    assert!(message.contains("exit status: 3") && message.contains("no such voice"), "{message}");
    let log = fs::read_to_string(hub.file("logs/script.log"));
    let folder = log.unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    assert!(folder.contains("resident-tool-") && !Path::new(&folder).exists(), "{folder}");
    is_over(&hub).await;

    let missing = Tool { argv: vec!["/no/such/program".to_owned()], ..script("", &[]) };
    let message = run(&hub, missing, &[]).await.unwrap_err().to_string();
    assert!(message.contains("/no/such/program"), "{message}");
    hub.goes_down().await;
}

#[tokio::test]
async fn a_tool_that_takes_too_long_is_killed_with_all_that_it_started() {
    let hub = hub();
    let pids = hub.file("pids");
    let tool = Tool {
        time_max: Duration::from_secs(2),
        ..script(
            "trap '' TERM INT; setsid sleep 600 & echo $$ $! >\"$1\"; wait; sleep 600",
            &[pids.to_str().unwrap()],
        )
    };
    let error = run(&hub, tool, &[]).await.unwrap_err();
    assert!(matches!(error, ToolError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("within 2 s"), "{error}");
    for pid in line(&pids).await.split(' ') {
        assert!(is_gone(pid.parse().unwrap()), "{pid} is left");
    }
    is_over(&hub).await;
    hub.goes_down().await;
}

#[tokio::test]
async fn a_tool_that_writes_too_much_is_stopped() {
    let hub = hub();
    for tool in [
        script("yes", &[]),
        // Over the limit by a byte, and gone before anybody looks.
        script("head -c 1048577 /dev/zero", &[]),
        to_file("head -c 1048577 /dev/zero >\"$1\"", &["{output}"]),
        to_file("yes >\"$1\"", &["{output}"]),
        to_file("mkdir -p a/b; yes >a/b/stray", &["{output}"]),
    ] {
        let error = run(&hub, tool, &[]).await.unwrap_err();
        assert!(matches!(error, ToolError::TooMuchOutput { .. }), "{error}");
        assert!(error.to_string().contains("1.0 MiB"), "{error}");
    }
    let fits = script("head -c 1048576 /dev/zero", &[]);
    let output = run(&hub, fits, &[]).await.unwrap();
    assert_eq!((output.bytes(), output.whole().await.unwrap().len()), (1 << 20, 1 << 20));
    hub.goes_down().await;
}

#[tokio::test]
async fn noise_and_deafness_hold_up_nothing() {
    let hub = hub();
    let noise = "head -c 20000000 /dev/zero | tr '\\0' x >&2; echo done";
    assert_eq!(text(run(&hub, script(noise, &[]), &[]).await).await, "done\n");
    let chatter = "head -c 20000000 /dev/zero; echo file >\"$1\"";
    assert_eq!(text(run(&hub, to_file(chatter, &["{output}"]), &[]).await).await, "file\n");
    let deaf = Arc::new(script("echo deaf", &[]));
    let content = Content::of(&vec![b'x'; 10_000_000]).await.unwrap();
    let output = within(tool::run(&hub.handle, deaf, BTreeMap::new(), content)).await;
    assert_eq!(text(output).await, "deaf\n");
    hub.goes_down().await;
}

#[tokio::test]
async fn an_output_that_is_no_file_is_none() {
    let hub = hub();
    for script in ["true", "mkdir \"$1\"", "ln -s /etc/passwd \"$1\""] {
        let error = run(&hub, to_file(script, &["{output}"]), &[]).await.unwrap_err();
        assert!(error.to_string().contains("wrote no output file"), "{error}");
    }
    hub.goes_down().await;
}

#[tokio::test]
async fn whoever_stops_waiting_ends_the_run() {
    let hub = hub();
    let pids = hub.file("pids");
    let tool =
        script("setsid sleep 600 & echo $$ $! \"$PWD\" >\"$1\"; wait", &[pids.to_str().unwrap()]);
    let running = begin(&hub, tool);
    let seen = line(&pids).await;
    let seen: Vec<&str> = seen.split(' ').collect();
    let resident = hub.resident("script").await.unwrap();
    assert_eq!((resident.engine, resident.booked_bytes >= MEMORY_BYTES), ("tool", true));
    running.abort();
    // When the memory is given back, all of it is gone.
    is_over(&hub).await;
    for pid in &seen[..2] {
        assert!(is_gone(pid.parse().unwrap()), "{pid} is left");
    }
    let deadline = Instant::now() + DEADLINE;
    while Path::new(seen[2]).exists() {
        assert!(Instant::now() < deadline, "{} is left", seen[2]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    hub.goes_down().await;
}

#[tokio::test]
async fn the_operator_and_a_shutdown_end_a_run() {
    let hub = hub();
    let pid = hub.file("pid");
    let tool = || script("echo $$ >\"$1\"; exec sleep 600", &[pid.to_str().unwrap()]);
    let running = begin(&hub, tool());
    let first = line(&pid).await;
    hub.handle.stop("script").await.unwrap();
    let error = within(running).await.unwrap().unwrap_err();
    assert!(matches!(error, ToolError::Stopped { .. }), "{error}");
    assert!(error.to_string().contains("operator"), "{error}");
    assert!(is_gone(first.parse().unwrap()));
    is_over(&hub).await;

    fs::remove_file(&pid).unwrap();
    let running = begin(&hub, tool());
    let second = line(&pid).await;
    hub.goes_down().await;
    assert!(is_gone(second.parse().unwrap()));
    within(running).await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_tool_is_admitted_by_its_bytes() {
    let budget_bytes = MEMORY_BYTES * 3 / 2;
    let hub = Hub::new(&[], Setup { budget_bytes, ..Setup::default() });
    let ran = hub.file("ran");
    let touch = || script("touch \"$1\"", &[ran.to_str().unwrap()]);
    let huge = Tool { memory_bytes: budget_bytes + 1, ..touch() };
    let error = run(&hub, huge, &[]).await.unwrap_err();
    assert!(error.to_string().contains("raise the budget"), "{error}");
    let ToolError::TooLarge { needed_bytes, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((needed_bytes, ran.exists()), (budget_bytes + 1, false));

    // Two do not fit, so one waits for the other.
    let first = begin(&hub, script("sleep 600", &[]));
    hub.until("script", |resident| resident.is_some()).await;
    let second = begin(&hub, touch());
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!ran.exists());
    first.abort();
    within(second).await.unwrap().unwrap();
    assert!(ran.exists());
    is_over(&hub).await;
    hub.goes_down().await;
}

#[tokio::test]
async fn what_a_tool_really_holds_is_booked() {
    let hub = hub();
    // The second program keeps all it reads, and nobody takes it off its hands.
    let hold = "head -c 100000000 /dev/zero | tail -c 100000000 | sleep 600";
    let running = begin(&hub, script(hold, &[]));
    hub.until("script", |resident| {
        resident.is_some_and(|resident| {
            resident.measured_bytes.is_some_and(|bytes| bytes > 90_000_000)
                && resident.booked_bytes > 90_000_000
        })
    })
    .await;
    running.abort();
    is_over(&hub).await;
    hub.goes_down().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_filled_in_starts_nothing() {
    let hub = hub();
    let ran = hub.file("ran");
    let tool = || script("touch \"$1\"", &[ran.to_str().unwrap(), "{voice}"]);
    for (values, word) in [
        (&[][..], "needs a value for voice"),
        (&[("voice", "--help")], "must not begin with '-'"),
        (&[("voice", "a\0b")], "zero byte"),
        (&[("input", "x")], "needs a value for voice"),
    ] {
        let error = run(&hub, tool(), values).await.unwrap_err();
        let ToolError::BadRequest { place, .. } = &error else { panic!("{error:?}") };
        assert!(place == "voice" && error.to_string().contains(word), "{error}");
    }
    let needs_none = Arc::new(Tool { input: Input::None, ..tool() });
    let values = BTreeMap::from([("voice".to_owned(), "amy".to_owned())]);
    let refused =
        tool::run(&hub.handle, needs_none, values, Content::of(b"x").await.unwrap()).await;
    assert!(refused.unwrap_err().to_string().contains("takes no body"));
    assert!(!ran.exists());
    hub.goes_down().await;
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let with = |argv: &[&str]| Tool {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        ..script("", &[])
    };
    let file = || Input::File { extension: "wav".to_owned() };
    let named = |extension: &str| Output::File { extension: extension.to_owned() };
    for (tool, word) in [
        (with(&[]), "command is empty"),
        (with(&[""]), "must be a name or a path"),
        (with(&["{voice}"]), "must be a name or a path"),
        (with(&["./tool"]), "bare name or a whole path"),
        (with(&["tool", "{input}"]), "its input is no file"),
        (with(&["tool", "{output_stem}"]), "its output is no file"),
        (Tool { input: file(), ..with(&["tool"]) }, "has no {input}"),
        (Tool { output: named("wav"), ..with(&["tool"]) }, "has no {output}"),
        (Tool { output: named("../x"), ..with(&["tool", "{output}"]) }, "no extension"),
        (Tool { memory_bytes: 0, ..with(&["tool"]) }, "how much memory"),
    ] {
        let message = tool.check().unwrap_err();
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
    let fine = Tool { input: file(), ..with(&["tool", "{input}", "{voice}", "-s{speed}"]) };
    fine.check().unwrap();
    assert_eq!(fine.places().into_iter().collect::<Vec<_>>(), ["speed", "voice"]);
}
