//! For each server of other people: at least one call of every tool that it lists, and some that fail.

use serde_json::{Value, json};

/// One call, and whether the server refuses it by itself.
pub(crate) struct ServerCall {
    pub(crate) tool: &'static str,
    pub(crate) arguments: Value,
    pub(crate) fails: bool,
}

fn works(tool: &'static str, arguments: Value) -> ServerCall {
    ServerCall { tool, arguments, fails: false }
}

fn fails(tool: &'static str, arguments: Value) -> ServerCall {
    ServerCall { tool, arguments, fails: true }
}

/// `server-everything`, asked for nothing that it would fetch from elsewhere.
pub(crate) fn everything() -> Vec<ServerCall> {
    vec![
        works("echo", json!({"message": "Grüße, \u{1f44b} \"quoted\"\n"})),
        works("get-annotated-message", json!({"messageType": "error", "includeImage": true})),
        works("get-env", json!({})),
        works("get-resource-links", json!({"count": 4})),
        works("get-resource-reference", json!({"resourceType": "Text", "resourceId": 2})),
        works("get-structured-content", json!({"location": "Chicago"})),
        works("get-sum", json!({"a": 1.5, "b": -2})),
        works("get-tiny-image", json!({})),
        works("gzip-file-as-resource", json!({"data": "data:text/plain,hello", "outputType": "resource"})),
        works("toggle-simulated-logging", json!({})),
        works("toggle-subscriber-updates", json!({})),
        works("trigger-long-running-operation", json!({"duration": 2, "steps": 4})),
        // It wants to be called as a task, which this client does not do.
        fails("simulate-research-query", json!({"topic": "gateways"})),
        fails("get-sum", json!({"a": "one", "b": 2})),
        fails("no-such-tool", json!({})),
    ]
}

/// `server-filesystem` over a directory that holds `a.txt` and `dot.png`.
pub(crate) fn filesystem(root: &str) -> Vec<ServerCall> {
    let at = |name: &str| format!("{root}/{name}");
    vec![
        works("list_allowed_directories", json!({})),
        works("read_file", json!({"path": at("a.txt")})),
        works("read_text_file", json!({"path": at("a.txt"), "head": 1})),
        works("read_media_file", json!({"path": at("dot.png")})),
        works("read_multiple_files", json!({"paths": [at("a.txt"), at("missing.txt")]})),
        works("create_directory", json!({"path": at("made")})),
        works("write_file", json!({"path": at("made/b.txt"), "content": "eins\nzwei ü\n"})),
        works("edit_file", json!({"path": at("made/b.txt"), "edits": [{"oldText": "zwei", "newText": "drei"}]})),
        works("move_file", json!({"source": at("made/b.txt"), "destination": at("made/c.txt")})),
        works("read_text_file", json!({"path": at("made/c.txt")})),
        works("list_directory", json!({"path": at("made")})),
        works("list_directory_with_sizes", json!({"path": at("made"), "sortBy": "size"})),
        works("directory_tree", json!({"path": root})),
        works("search_files", json!({"path": root, "pattern": "**/*.txt", "excludePatterns": ["a.*"]})),
        works("get_file_info", json!({"path": at("made/c.txt")})),
        fails("read_text_file", json!({"path": "/etc/hostname"})),
        fails("move_file", json!({"source": at("missing.txt"), "destination": at("d.txt")})),
    ]
}

/// `mcp-server-git` over a repository with one commit on `main` and one change that is not staged.
pub(crate) fn git(root: &str) -> Vec<ServerCall> {
    vec![
        works("git_status", json!({"repo_path": root})),
        works("git_diff_unstaged", json!({"repo_path": root})),
        works("git_add", json!({"repo_path": root, "files": ["a.txt"]})),
        works("git_diff_staged", json!({"repo_path": root, "context_lines": 1})),
        works("git_reset", json!({"repo_path": root})),
        works("git_add", json!({"repo_path": root, "files": ["a.txt"]})),
        works("git_create_branch", json!({"repo_path": root, "branch_name": "side"})),
        works("git_checkout", json!({"repo_path": root, "branch_name": "side"})),
        works("git_commit", json!({"repo_path": root, "message": "Say more, grüßend"})),
        works("git_log", json!({"repo_path": root, "max_count": 5})),
        works("git_show", json!({"repo_path": root, "revision": "HEAD"})),
        works("git_diff", json!({"repo_path": root, "target": "main"})),
        works("git_branch", json!({"repo_path": root, "branch_type": "local"})),
        fails("git_show", json!({"repo_path": root, "revision": "no-such-revision"})),
        fails("git_checkout", json!({"repo_path": root})),
    ]
}
