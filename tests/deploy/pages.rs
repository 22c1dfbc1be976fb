//! The two pages to a first held call, as somebody new follows them: every command as it stands there, in a fresh folder and
//! on a network of its own, so that even the ports are those of the page.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use holdpoint_core::yaml;
use holdpoint_tests::idp::Idp;
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::{envoy_binary, installed, kustomize, probe, repository, service_binary, wasm};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::schema;

/// An MCP server that answers every call, and writes down each.
const SERVER: &str = r#"
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print(call["params"]["name"], flush=True)
        result = {"content": [{"type": "text", "text": "done"}], "isError": False}
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
ThreadingHTTPServer(("127.0.0.1", 8931), Server).serve_forever()
"#;

/// What runs on one `envoy.yaml` before anybody has heard of this project, with a page of its own beside the MCP server.
const OWN: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - name: mine
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mine
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            name: mine
            virtual_hosts:
            - name: mine
              domains: ["*"]
              routes:
              - match: {path: /about}
                metadata: {filter_metadata: {holdpoint: {passthrough: true}}}
                direct_response: {status: 200, body: {inline_string: about me}}
              - match: {prefix: /}
                route: {cluster: my-tracker}
  clusters:
  - name: my-tracker
    type: STATIC
    load_assignment:
      cluster_name: my-tracker
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8931}}}}]}]
"#;

/// `kubectl` without a cluster: what needs none is done by the real one, the rest is written down.
const KUBECTL: &str = r#"#!/usr/bin/env bash
set -euo pipefail
echo "$*" >> kubectl.log
case "$*" in
    *" exec "*) while [ "$1" != -- ]; do shift; done; shift; HOLDPOINT_DATA_DIR=service-data exec "$@" ;;
    *"create secret"*) "$REAL_KUBECTL" "$@" --dry-run=client -o yaml > secret.yaml ;;
    *"patch deployment"*) "$REAL_KUBECTL" patch --local -f deployment.yaml --patch-file "${@: -1}" -o yaml > patched.yaml ;;
    *"apply --server-side -f "*) cp "${@: -1}" applied.yaml ;;
    *"apply --server-side -k "*|*rollout*|*"label namespace"*) ;;
    *) echo "kubectl: not on the page: $*" >&2; exit 1 ;;
esac
"#;

/// The gateway as its owner has it.
const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: mcp-gateway, namespace: mcp}
spec:
  selector: {matchLabels: {istio: mcp-gateway}}
  template:
    metadata: {labels: {istio: mcp-gateway}, annotations: {inject.istio.io/templates: gateway}}
    spec:
      serviceAccountName: mcp-gateway
      containers: [{name: istio-proxy, image: auto}]
"#;

/// The blocks of commands of a page, in their order.
fn blocks(page: &str) -> anyhow::Result<Vec<String>> {
    let text = repository::text(page)?;
    let found: Vec<String> = text.split("```\n").skip(1).step_by(2).map(str::to_owned).collect();
    ensure!(found.len() > 4, "{page} has commands");
    Ok(found)
}

/// A folder in which the page's paths lead where they lead at the root of the repository.
fn folder() -> anyhow::Result<TempDir> {
    let dir = tempfile::tempdir()?;
    for name in ["envoy", "examples"] {
        symlink(repository::path(name), dir.path().join(name))?;
    }
    let programs = dir.path().join("bin");
    std::fs::create_dir(&programs)?;
    symlink(service_binary::holdpoint()?, programs.join("holdpoint"))?;
    symlink(envoy_binary::envoy()?, programs.join("envoy"))?;
    Ok(dir)
}

fn program(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let file = dir.join(name);
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(&file, text)?;
    Ok(std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?)
}

/// A shell in `dir` that runs `script`, on a network on which nobody else is; its children end with it.
fn shell(dir: &Path, script: &str) -> anyhow::Result<Command> {
    let head = "set -euo pipefail\nip link set lo up\nexport PATH=\"$PWD/bin:$PATH\"\n\
                trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n";
    std::fs::write(dir.join("script.sh"), format!("{head}{script}"))?;
    let mut command = Command::new("unshare");
    command.args(["--net", "bash", "script.sh"]).current_dir(dir);
    Ok(command)
}

/// Whether this machine can do what the pages need beside our own programs.
fn may() -> anyhow::Result<()> {
    let tried = Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    ensure!(tried.is_ok_and(|status| status.success()), "only root with `unshare` and `ip` has networks of its own");
    ensure!(Command::new("curl").arg("--version").output().is_ok(), "there is no `curl`");
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let node = yaml::read(&text, &yaml::Limits::default()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(yaml::to_json(&node))
}

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The page's table, row by row: what is copied out of `gateway.yaml` into one's own file.
fn copied(rendered: &Value, text: &str, own: &Value) -> anyhow::Result<Value> {
    let mut own = own.clone();
    let manager = rendered.pointer(MANAGER).context("a manager")?;
    let filters = manager["http_filters"].as_array().context("filters")?;
    let ours = filters.iter().filter(|filter| !filter["name"].to_string().contains("router")).cloned();
    let ours: Vec<Value> = ours.collect();
    ensure!(ours.len() == 3, "jwt_authn, holdpoint and rbac: {ours:?}");
    let into = own.pointer_mut(MANAGER).context("a manager")?;
    into["http_filters"].as_array_mut().context("filters")?.splice(0..0, ours);

    let (_, lines) = text.split_once("use_remote_address").context("the first line")?;
    let (lines, _) = lines.split_once("stream_idle_timeout").context("the last line")?;
    let names = lines.lines().skip(1).filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name);
    for name in names.chain(["use_remote_address", "stream_idle_timeout"]).filter(|name| !name.is_empty()) {
        ensure!(!manager[name].is_null(), "`{name}` is a setting of the manager");
        into[name] = manager[name].clone();
    }

    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().context("routes")?;
    let theirs = routes.iter().find(|route| route["name"] == "tracker").context("route `tracker`")?;
    let route = into.pointer_mut("/route_config/virtual_hosts/0/routes/1").context("one's own route")?;
    for name in ["metadata", "request_body_buffer_limit"] {
        route[name] = theirs[name].clone();
    }
    for name in ["timeout", "idle_timeout", "retry_policy"] {
        route["route"][name] = theirs["route"][name].clone();
    }

    let clusters = rendered["static_resources"]["clusters"].as_array().context("clusters")?;
    let named = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).context(name.to_owned());
    own["static_resources"]["clusters"][0]["circuit_breakers"] = named("server-tracker")?["circuit_breakers"].clone();
    own["static_resources"]["clusters"].as_array_mut().context("clusters")?.push(named("holdpoint")?.clone());
    for name in ["stats_config", "node"] {
        own[name] = rendered[name].clone();
    }
    Ok(own)
}

#[tokio::test]
async fn page_for_ones_own_envoy_leads_to_a_first_held_call() -> anyhow::Result<()> {
    if installed::or_skip("the page from envoy.yaml", may())?.is_none() {
        return Ok(());
    }
    let dir = folder()?;
    let place = dir.path();
    let built = place.join("target/wasm32-wasip1/filter");
    std::fs::create_dir_all(&built)?;
    symlink(wasm::module()?, built.join("holdpoint_filter.wasm"))?;
    let idp = Idp::new()?;
    std::fs::write(place.join("jwks.json"), idp.jwks())?;
    std::fs::write(place.join("agent.token"), idp.token("agent-7", &[])?)?;
    std::fs::write(place.join("server.py"), SERVER)?;
    std::fs::write(place.join("own.yaml"), OWN)?;

    let mut script = "python3 server.py > served.log &\n".to_owned();
    let mut asked = 0;
    for block in blocks("envoy/from-envoy.md")? {
        if block.contains("cargo build") {
            // Built already, for all tests: into the same places, or on the path.
            let module = "cargo rustc -p holdpoint-filter --crate-type cdylib --profile filter --target wasm32-wasip1";
            ensure!(block.contains(module), "{block}");
            continue;
        }
        if block.contains("policy check envoy.yaml") {
            script += "touch rendered; until [ -f envoy.yaml ]; do sleep 0.1; done\n";
        }
        if block.contains("approvals approve ID") {
            // People look again when nothing is there yet.
            script += "waits() { holdpoint approvals list --token-file my.token --output json | grep -o '\"id\":\"[^\"]*'; }\n\
                       until waits > id; do sleep 0.1; done; ID=$(head -1 id | cut -d '\"' -f 4)\n";
        }
        // The commands that begin something are followed by others that need it; a person is slower.
        let block =
            block.replace("call() {", "until curl -sf http://127.0.0.1:9901/ready; do sleep 0.1; done\ncall() {");
        let block = block.replace("approve ID", "approve \"$ID\"");
        asked += block.matches("holdpoint ").count();
        script += &block;
    }
    script += "until [ -s answer.json ]; do sleep 0.1; done\ncurl -s http://127.0.0.1:10000/about > about.txt\n\
               curl -s http://127.0.0.1:9901/stats/prometheus > stats.txt\ntouch done\n";
    ensure!(asked > 8, "the page's commands were read");
    let process = ChildProcess::start("page", shell(place, &script)?, place)?;
    let until = async |name: &str| {
        let there = async || {
            if place.join(name).exists() {
                return Some(Ok(()));
            }
            process.exited().map(|_| Err(anyhow::anyhow!("{}", process.last_words())))
        };
        probe::until(name, probe::PATIENCE * 2, there).await?
    };
    until("rendered").await?;
    let (gateway, text) = (read(&place.join("gateway.yaml"))?, std::fs::read_to_string(place.join("gateway.yaml"))?);
    let own = copied(&gateway, &text, &read(&place.join("own.yaml"))?)?;
    std::fs::write(place.join("new.yaml"), serde_json::to_string_pretty(&own)?)?;
    std::fs::rename(place.join("new.yaml"), place.join("envoy.yaml"))?;
    until("done").await.with_context(|| {
        let log = std::fs::read_to_string(place.join("envoy.log")).unwrap_or_default();
        format!("{}\n{log}", process.last_words())
    })?;

    let said = process.stdout_text();
    let served = std::fs::read_to_string(place.join("served.log"))?;
    ensure!(served == "list_issues\ncreate_issue\n", "each ran once: {served}");
    let answer = std::fs::read_to_string(place.join("answer.json"))?;
    ensure!(answer.contains("\"isError\": false"), "{answer}");
    ensure!(said.contains("agent-7 wants tools/call `create_issue` on tracker"), "{said}");
    // The doctor finds nothing wrong with a file that was put together by the table.
    ensure!(said.contains(" in order, 0 failed, 0 to look at, 0 not looked at"), "{said}");
    ensure!(std::fs::read_to_string(place.join("about.txt"))? == "about me", "other routes are as they were");
    let stats = std::fs::read_to_string(place.join("stats.txt"))?;
    ensure!(stats.contains("holdpoint_decisions_total{verdict=\"require_approval\"} 1"), "labels of metrics");
    Ok(())
}

#[test]
fn page_for_an_istio_gateway_is_followed_to_its_end() -> anyhow::Result<()> {
    let there = may().and_then(|()| kustomize::brought());
    let Some(kubectl) = installed::or_skip("the page from an Istio gateway", there)? else { return Ok(()) };
    let dir = folder()?;
    let place = dir.path();
    let mut copy = Command::new("cp");
    copy.args(["-r", "--parents", "approval-svc/deploy/kubernetes"]).arg(place).current_dir(repository::root());
    ensure!(copy.status()?.success(), "the manifests");
    std::fs::write(place.join("deployment.yaml"), DEPLOYMENT)?;
    program(place, "bin/kubectl", KUBECTL)?;
    for name in ["docker", "skopeo"] {
        program(place, &format!("bin/{name}"), "#!/bin/sh\necho \"$(basename \"$0\") $*\" >> registry.log\n")?;
    }
    let packaged = format!(
        "#!/bin/sh\nmkdir -p target/packages && cp bin/holdpoint '{}' target/packages\n",
        wasm::module()?.display()
    );
    program(place, ".ci/package", &packaged)?;

    let mut blocks = blocks("envoy/from-istio.md")?;
    let last = blocks.pop().context("blocks")?;
    ensure!(last.contains("approvals approve ID"), "the last block needs a cluster: {last}");
    let mut command = shell(place, &blocks.concat())?;
    let output = command.env("REAL_KUBECTL", kubectl).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");

    let done = std::fs::read_to_string(place.join("kubectl.log"))?;
    ensure!(done.lines().count() > 8, "{done}");
    let registry = std::fs::read_to_string(place.join("registry.log"))?;
    ensure!(registry.contains("docker build") && registry.contains("skopeo copy"), "{registry}");
    // The service's own resources, all of them where the page expects them.
    let resources = kustomize::build(&place.join("approval-svc/deploy/kubernetes/mine"))?;
    for resource in resources.split("\n---\n") {
        let elsewhere = !resource.contains("\n  namespace: holdpoint") && !resource.contains("kind: Namespace\n");
        ensure!(!elsewhere, "in no namespace: {resource}");
    }
    ensure!(resources.contains("kind: PeerAuthentication") && resources.contains("mode: STRICT"), "{resources}");
    let label = "holdpoint.example/reaches-service";
    ensure!(resources.contains(label) && done.contains(&format!("{label}=true")), "{done}");
    // The token that the gateway mounts is one that this service knows.
    let secret = read(&place.join("secret.yaml"))?;
    ensure!(secret["metadata"]["namespace"] == "mcp" && secret["data"]["approval-token.yaml"].is_string(), "{secret}");
    let token = std::fs::read_to_string(place.join("approval-token.yaml"))?;
    ensure!(token.contains("inline_string: hp_enforcer_"), "{token}");
    let pod = read(&place.join("patched.yaml"))?["spec"]["template"]["spec"].clone();
    ensure!(pod["volumes"][0]["secret"]["secretName"] == secret["metadata"]["name"], "{pod}");
    let mounted = json!([{"name": "holdpoint", "mountPath": "/etc/holdpoint", "readOnly": true}]);
    ensure!(pod["containers"][0]["volumeMounts"] == mounted && pod["containers"][0]["image"] == "auto", "{pod}");

    let filter = read(&place.join("applied.yaml"))?;
    schema::accepts("istio-envoyfilter.yaml", &filter)?;
    let text = filter.to_string();
    for part in [
        "/etc/holdpoint/approval-token.yaml",
        "oci://registry.example/holdpoint-filter:0.1.0",
        "spiffe://cluster.local/ns/holdpoint/sa/holdpoint",
        "holdpoint.holdpoint.svc.cluster.local",
    ] {
        ensure!(text.contains(part), "{part} is in what is applied");
    }
    let key = Command::new(service_binary::holdpoint()?)
        .args(["keys", "show", "--data-dir"])
        .arg(place.join("service-data"))
        .output()?;
    let key = String::from_utf8(key.stdout)?;
    if key.trim().is_empty() || !text.contains(key.trim()) {
        bail!("it trusts another key than {key}");
    }
    Ok(())
}
