//! `[upstreams.NAME]`: pools, keys and refusals.

use supervisor::{Engine, Ready};

use super::*;

#[test]
fn servers_form_a_pool() {
    let text = "[upstreams.lab]\nkind = \"vllm\"\n\
                servers = [\"http://lab:8000/v1\", \"http://[fd00::1]:8001/\"]\n\
                key_variable = \"LAB_KEY\"\nmodels = [\"org/a-8b\"]\napi = { tools = false }\n\
                [upstreams.studio]\nkind = \"lmstudio\"\nkey_file = \"~/key\"\n\
                [upstreams.more]\nservers = [\"http://x:1\"]\nmodels = { ours = \"theirs\" }";
    let pools = from_text(text).served.pools;
    let lab = &pools["lab"];
    let urls: Vec<&str> =
        lab.upstream.servers.iter().map(|server| server.base_url.as_str()).collect();
    assert_eq!(urls, ["http://lab:8000", "http://[fd00::1]:8001"]);
    assert_eq!(lab.upstream.servers[1].key.as_deref(), Some("sk-of-the-lab"));
    assert_eq!(lab.upstream.health, Ready::Path("/health".into()));
    assert!(!lab.upstream.manner.tools);
    assert_eq!(lab.engine("nobody"), None);
    let Some(Engine::Upstream(model)) = lab.engine("org/a-8b") else { panic!("served") };
    assert_eq!(model.manner.model.as_deref(), Some("org/a-8b"));

    let studio = &pools["studio"].upstream.servers[0];
    assert_eq!(studio.base_url, "http://127.0.0.1:1234");
    assert_eq!(studio.key.as_deref(), Some("of-the-file"));
    assert!(pools["studio"].engine("whatever/it-has").is_some());
    assert_eq!(pools["studio"].engine("../x"), None, "a name is a name everywhere");

    let Some(Engine::Upstream(model)) = pools["more"].engine("ours") else { panic!("served") };
    assert_eq!(model.manner.model.as_deref(), Some("theirs"));
    assert_eq!(pools["more"].engine("theirs"), None);
}

#[test]
fn a_key_that_is_not_there_is_noted_and_stops_nothing() {
    for (text, note) in [
        (
            "key_variable = \"NO_KEY\"",
            "upstream 'lab' is asked without a key: key_variable NO_KEY: it is not set",
        ),
        (
            "key_variable = \"EMPTY\"",
            "upstream 'lab' is asked without a key: key_variable EMPTY: it holds no key",
        ),
        (
            "key_file = \"k\"",
            "upstream 'lab' is asked without a key: key_file /etc/r/k: it cannot be read",
        ),
    ] {
        let text = format!("[upstreams.lab]\nservers = [\"http://lab:1\"]\n{text}");
        let served = from_text(&text).served;
        assert_eq!(served.notes, [note]);
        assert_eq!(served.pools["lab"].upstream.servers[0].key, None);
    }
}

#[test]
fn each_scheme_has_its_port() {
    let text =
        "[upstreams.u]\nservers = [\"http://lab\", \"https://lab/v1\", \"https://lab:8443\"]";
    let servers = from_text(text).served.pools["u"].upstream.servers.clone();
    let urls: Vec<&str> = servers.iter().map(|server| server.base_url.as_str()).collect();
    assert_eq!(urls, ["http://lab:80", "https://lab:443", "https://lab:8443"]);
}

#[test]
fn servers_that_cannot_be_asked_are_refused_with_a_way_out() {
    for (text, message) in [
        ("kind = \"olama\"", "kind 'olama' is not known; did you mean 'ollama'?"),
        (
            "kind = \"openai\"",
            "servers is missing; write for example servers = [\"http://127.0.0.1:8000\"]",
        ),
        (
            "kind = \"ollama\"",
            "servers: http://127.0.0.1:11434 is where this hub listens itself, so it would ask \
             itself; start the other program on another port, or let the hub listen elsewhere \
             (--listen)",
        ),
        (
            "servers = [\"ftp://lab\"]",
            "servers: 'ftp://lab' is not an address; write http://HOST:PORT, for example \
             http://lab:8000",
        ),
        (
            "servers = [\"http://me:secret@lab:1\"]",
            "servers: 'lab:1' has a name or password in front of the host, and this file is no \
             place for one; write http://HOST:PORT, for example http://lab:8000",
        ),
        (
            "servers = [\"lab:8000\"]",
            "servers: 'lab:8000' is not an address; write http://HOST:PORT, for example \
             http://lab:8000",
        ),
        (
            "servers = [\"http://lab/v2?x=1\"]",
            "servers: 'http://lab/v2?x=1' has more behind the host than /v1; write \
             http://HOST:PORT, for example http://lab:8000",
        ),
        ("servers = [\"http://a:1\", \"http://a:1/v1\"]", "servers: http://a:1 stands there twice"),
        (
            "key = \"sk-x\"",
            "key: a key does not belong into this file; put it into a variable and name that with \
             key_variable, or into a file of its own and name that with key_file",
        ),
        (
            "key_variable = \"A\"\nkey_file = \"b\"",
            "key_variable and key_file exclude each other; keep one",
        ),
        (
            "servers = [\"http://a:1\"]\nmodels = [\"../b\"]",
            "models: '../b' cannot be a model's name: use 1 to 128 of A-Z a-z 0-9 . _ - : + @ /, a \
             letter or digit first; rename it in a table: models = { ours = \"theirs\" }",
        ),
    ] {
        assert_eq!(refused(&format!("[upstreams.u]\n{text}")), format!("[upstreams.u] {message}"));
    }
}
