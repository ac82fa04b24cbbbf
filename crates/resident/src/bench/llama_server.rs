//! llama.cpp's own server beside ours: in router mode with two models, of which it too may keep one in
//! memory, or with one model and its own ways to keep prefixes.
//!
//! It is used where it is on PATH. Not here: what is asked of it (`switch`, `cache`).

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
    hub::{MODEL, OTHER, Setup, end, free_address, is_up, log_end},
    limits::{HUB_LOOK_INTERVAL, HUB_START_WAIT, LLAMA_SERVER_STOP_WAIT},
};

/// Its program.
const PROGRAM: &str = "llama-server";

/// A running server.
#[derive(Debug)]
pub(crate) struct LlamaServer {
    child: Child,
    address: SocketAddr,
    /// Deleted when dropped.
    _folder: tempfile::TempDir,
}

impl LlamaServer {
    /// Where its program is, if it is on PATH.
    pub(crate) fn find() -> Option<PathBuf> {
        let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
        let folders = std::env::var_os("PATH")?;
        std::env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_file())
    }

    /// Starts it for both models of the setup, of which it keeps one in memory, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When it cannot be started, or leaves or stays silent; with the end of its log.
    pub(crate) async fn start_router(program: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("resident-bench-").tempdir()?;
        let preset = folder.path().join("models.ini");
        fs::write(&preset, presets(setup)?)?;
        let arguments =
            ["--models-preset".into(), preset.into(), "--models-max".into(), "1".into()];
        Self::start(program, setup, &arguments, folder).await
    }

    /// Starts it for the setup's first model, and waits until that is loaded. It saves slots to files in
    /// `slots`, and keeps `host_cache_mib` of prompts in memory beside the context.
    ///
    /// # Errors
    /// As [`Self::start_router`].
    pub(crate) async fn start_single(
        program: &Path,
        setup: &Setup,
        slots: &Path,
        host_cache_mib: u64,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("resident-bench-").tempdir()?;
        let arguments = [
            "--model".into(),
            setup.model.clone().into(),
            "--alias".into(),
            MODEL.into(),
            "--slot-save-path".into(),
            slots.into(),
            "--cache-ram".into(),
            host_cache_mib.to_string().into(),
        ];
        Self::start(program, setup, &arguments, folder).await
    }

    async fn start(
        program: &Path,
        setup: &Setup,
        arguments: &[OsString],
        folder: tempfile::TempDir,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = folder.path().join("llama-server.log");
        let out = fs::File::create(&log)?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(conditions(setup, address))
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
        Client::connect(self.address).await.context("cannot connect to llama-server")
    }

    /// Asks it to leave, so that its models leave with it, and waits for that within a bound.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        end(self.child, LLAMA_SERVER_STOP_WAIT).await
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

/// The same conditions as the hub's: one sequence, this context, these threads.
fn conditions(setup: &Setup, address: SocketAddr) -> Vec<OsString> {
    let mut pairs = vec![
        ("--host", address.ip().to_string()),
        ("--port", address.port().to_string()),
        ("--ctx-size", setup.context_tokens.to_string()),
        ("--parallel", setup.parallel.to_string()),
    ];
    pairs.extend(setup.threads.map(|threads| ("--threads", threads.to_string())));
    pairs.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::hub::Guessing;
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
            guessing: Guessing::Off,
            keep: None,
        };
        assert_eq!(
            presets(&setup).unwrap(),
            "version = 1\n[measured]\nmodel = /models/a b.gguf\n[other]\nmodel = /models/c.gguf\n"
        );
        let conditions = conditions(&setup, "127.0.0.1:99".parse().unwrap());
        let text: Vec<&str> = conditions.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(
            text.join(" "),
            "--host 127.0.0.1 --port 99 --ctx-size 80 --parallel 1 --threads 3"
        );
    }
}
