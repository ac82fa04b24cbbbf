//! Real servers to pull from, each on a free port of this machine and in a folder of its own, and ended with the value
//! that stands for it: Debian's container registry, and nginx with a repository laid out as Hugging Face does it.
//!
//! Nothing here knows of the library, so that the hub's tests can use it too.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Where Debian has servers that are not in everybody's search path.
const SERVERS: &str = "/usr/sbin";
/// How often another port is tried.
const PORTS: usize = 10;
/// No answer takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs.
pub(crate) struct Peer {
    process: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _gone_already = self.process.wait();
    }
}

/// A container registry, if it is installed.
pub(crate) fn registry() -> Option<Peer> {
    let program = installed("docker-registry")?;
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: '127.0.0.1:0'}}\n",
        folder.path().join("data").display()
    );
    let path = folder.path().join("config.yml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(path);
    let (process, line) = begin(command, "listening on ").expect("a registry that listens");
    let address = line.split("listening on ").nth(1).unwrap();
    let address: String =
        address.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    Some(Peer { process, address: address.parse().unwrap(), folder })
}

/// nginx with the files of a folder, if it is installed. What is below `resolve` lies elsewhere, as with Hugging Face:
/// the server leads on to an address of its own.
pub(crate) fn web(files: &[(String, Vec<u8>)]) -> Option<Peer> {
    let program = installed("nginx")?;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pages");
    for (path, content) in files {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    for _try in 0..PORTS {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = folder.path().join("nginx.conf");
        fs::write(&config, configuration(folder.path(), address)).unwrap();
        let mut command = Command::new(&program);
        command.arg("-p").arg(folder.path()).arg("-e").arg("stderr").arg("-c").arg(config);
        // Somebody else may have taken the port meanwhile.
        if let Some((process, _)) = begin(command, "event method") {
            return Some(Peer { process, address, folder });
        }
    }
    panic!("nginx begins on none of {PORTS} ports");
}

fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n{temporary}\
         \x20   access_log off;\n    default_type application/octet-stream;\n    server {{\n        listen {address};\n\
         \x20       root {folder}/pages;\n        location ~ ^/(.+)/resolve/(.+)$ {{\n\
         \x20           return 302 /lfs/$1/resolve/$2?signature=1;\n        }}\n\
         \x20       location ^~ /lfs/ {{\n            alias {folder}/pages/;\n        }}\n    }}\n}}\n"
    )
}

/// Where a program is; the test says so where it is not.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(SERVERS)]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        println!(
            "skipped: {program} is not installed; on Debian `./x setup` installs it for the tests"
        );
    }
    found
}

/// Starts a server and reads what it says until it is ready. `None` when it ends before.
fn begin(mut command: Command, ready: &str) -> Option<(Child, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.contains(ready) {
            // What it says later is read, so that it never waits for a reader.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            return Some((process, line));
        }
        print!("{line}");
        line.clear();
    }
    process.wait().unwrap();
    None
}

impl Peer {
    /// Puts a model into a registry as Ollama does: layers by their media types, then the manifest. `digest` hashes.
    pub(crate) fn push(
        &self,
        (name, tag): (&str, &str),
        layers: &[(&str, &[u8])],
        digest: impl Fn(&[u8]) -> String,
    ) {
        let config: &[u8] = br#"{"model_format":"gguf","file_type":"Q8_0"}"#;
        let config_type = "application/vnd.docker.container.image.v1+json";
        let describe = |media_type: &str, content: &[u8]| {
            self.upload(name, content, &digest(content));
            json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
        };
        let described: Vec<Value> =
            layers.iter().map(|(kind, content)| describe(kind, content)).collect();
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": describe(config_type, config),
            "layers": described,
        });
        let path = format!("/v2/{name}/manifests/{tag}");
        let (status, _) = self.ask("PUT", &path, media_type, manifest.to_string().as_bytes());
        assert_eq!(status, 201, "the manifest is taken");
    }

    fn upload(&self, name: &str, content: &[u8], digest: &str) {
        let path = format!("/v2/{name}/blobs/uploads/");
        let (status, head) = self.ask("POST", &path, "application/octet-stream", b"");
        assert_eq!(status, 202, "{head}");
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let path = location.trim().trim_start_matches("http://");
        let path = &path[path.find('/').unwrap()..];
        let between = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{between}digest={digest}");
        let (status, head) = self.ask("PUT", &path, "application/octet-stream", content);
        assert_eq!(status, 201, "{head}");
    }

    /// One request on a connection of its own: the status and the head of the answer.
    fn ask(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (host, bytes) = (self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {media_type}\r\n\
             Content-Length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    /// Where it keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
