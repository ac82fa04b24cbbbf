//! What programs with a window are told, to the letter.

use expect_test::expect;

use super::{check, subject, with_key};

#[test]
fn cherry_studio() {
    check(
        "cherry-studio",
        &subject(),
        &expect![[r#"
        == in its window:
        1. Settings, Model Provider, Add: name Resident, type OpenAI
        2. API Key: unused
        3. API Host: http://127.0.0.1:11434
        4. Manage, and add qwen3-8b; or Add, and write it
        5. Turn the provider on (the switch at the top)
        If it is told that its web pages may not call this hub, add the origin that the hub names to
        `origins` in the hub's configuration.
    "#]],
    );
}

#[test]
fn open_webui() {
    check(
        "open-webui",
        &subject(),
        &expect![[r#"
        == before its first start:
        export OPENAI_API_BASE_URL="http://127.0.0.1:11434/v1"
        export OPENAI_API_KEY="unused"
        export ENABLE_OLLAMA_API="False"
        export DEFAULT_MODELS="qwen3-8b"
        open-webui serve
        == or, if it has been started before:
        1. Admin Panel, Settings, Connections, OpenAI API, +
        2. URL: http://127.0.0.1:11434/v1
        3. Key: unused
        4. Choose qwen3-8b in a new chat
        == in Docker:
        In a container 127.0.0.1 is the container itself. On Linux start it with --network=host; with
        Docker Desktop write http://host.docker.internal:11434/v1 for the address, and
        hosts = ["host.docker.internal"] in the hub's configuration.
    "#]],
    );
    check(
        "open-webui",
        &with_key(),
        &expect![[r#"
        == before its first start:
        export OPENAI_API_BASE_URL="http://127.0.0.1:11434/v1"
        export OPENAI_API_KEY="$RESIDENT_KEY"
        export ENABLE_OLLAMA_API="False"
        export DEFAULT_MODELS="qwen3-8b"
        open-webui serve
        == or, if it has been started before:
        1. Admin Panel, Settings, Connections, OpenAI API, +
        2. URL: http://127.0.0.1:11434/v1
        3. Key: the hub's key
        4. Choose qwen3-8b in a new chat
        == in Docker:
        In a container 127.0.0.1 is the container itself. On Linux start it with --network=host; with
        Docker Desktop write http://host.docker.internal:11434/v1 for the address, and
        hosts = ["host.docker.internal"] in the hub's configuration.
    "#]],
    );
}
