//! llama.cpp's own hub beside ours: `llama-server` in router mode, with the same two models, of which
//! it too may keep one in memory.
//!
//! It is used where it is on PATH. Not here: what is asked of it (`switch`).

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context as _, bail};
use tokio::{
    process::{Child, Command},
    time,
};

use super::{
    client::Client,
    hub::{MODEL, OTHER, Setup, free_address, is_up, log_end},
    limits::{HUB_LOOK_INTERVAL, HUB_START_WAIT, ROUTER_STOP_WAIT},
};

/// Its program.
const PROGRAM: &str = "llama-server";

/// A running router.
#[derive(Debug)]
pub(crate) struct Router {
    child: Child,
    address: SocketAddr,
    /// Deleted when dropped.
    _folder: tempfile::TempDir,
}

impl Router {
    /// Where its program is, if it is on PATH.
    pub(crate) fn find() -> Option<PathBuf> {
        let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
        let folders = std::env::var_os("PATH")?;
        std::env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_file())
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, or leaves or stays silent; with the end of its log.
    pub(crate) async fn start(program: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let address = free_address()?;
        let folder = tempfile::Builder::new().prefix("resident-bench-").tempdir()?;
        let log = folder.path().join("router.log");
        let preset = folder.path().join("models.ini");
        fs::write(&preset, presets(setup)?)?;
        let out = fs::File::create(&log)?;
        let mut child = Command::new(program)
            .args(arguments(setup, address, &preset))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let begun = Instant::now();
        while !is_up(address).await {
            if let Some(status) = child.try_wait()? {
                bail!("{PROGRAM} left with {status}:\n{}", log_end(&log));
            }
            if begun.elapsed() > HUB_START_WAIT {
                bail!("{PROGRAM} is silent after {HUB_START_WAIT:?}:\n{}", log_end(&log));
            }
            time::sleep(HUB_LOOK_INTERVAL).await;
        }
        Ok(Self { child, address, _folder: folder })
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// When it does not listen any more.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.address).await.context("cannot connect to the router")
    }

    /// Asks it to leave, so that its models leave with it, and waits for that within a bound.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        #[cfg(unix)]
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            if time::timeout(ROUTER_STOP_WAIT, self.child.wait()).await.is_ok() {
                return Ok(());
            }
        }
        self.child.kill().await?;
        Ok(())
    }
}

/// One section for each model, in the words of llama.cpp's presets.
fn presets(setup: &Setup) -> anyhow::Result<String> {
    let section = |name: &str, path: &Path| {
        let path = path.to_str().with_context(|| format!("{} is no text", path.display()))?;
        anyhow::Ok(format!("[{name}]\nmodel = {path}\n"))
    };
    let other = setup.other.as_deref().map(|path| section(OTHER, path)).transpose()?;
    Ok("version = 1\n".to_owned() + &section(MODEL, &setup.model)? + &other.unwrap_or_default())
}

/// The same conditions as the hub's: one model in memory, one sequence, this context, these threads.
/// A model that is asked to leave is told so at once.
fn arguments(setup: &Setup, address: SocketAddr, preset: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--models-preset".into(), preset.into()];
    let pairs = [
        ("--models-max", "1".to_owned()),
        ("--host", address.ip().to_string()),
        ("--port", address.port().to_string()),
        ("--ctx-size", setup.context_tokens.to_string()),
        ("--parallel", setup.parallel.to_string()),
    ];
    arguments.extend(pairs.into_iter().flat_map(|(name, value)| [name.into(), value.into()]));
    if let Some(threads) = setup.threads {
        arguments.extend(["--threads".into(), threads.to_string().into()]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_models_are_served_under_the_hubs_names() {
        let setup = Setup {
            model: "/models/a b.gguf".into(),
            other: Some("/models/c.gguf".into()),
            worker: None,
            context_tokens: 80,
            parallel: 1,
            threads: Some(3),
            budget_bytes: 1,
        };
        assert_eq!(
            presets(&setup).unwrap(),
            "version = 1\n[measured]\nmodel = /models/a b.gguf\n[other]\nmodel = /models/c.gguf\n"
        );
        let address = "127.0.0.1:99".parse().unwrap();
        let arguments = arguments(&setup, address, Path::new("p.ini"));
        let text: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(
            text.join(" "),
            "--models-preset p.ini --models-max 1 --host 127.0.0.1 --port 99 --ctx-size 80 \
             --parallel 1 --threads 3"
        );
    }
}
