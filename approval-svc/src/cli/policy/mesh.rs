//! What a Kubernetes resource must bring besides the filter: what a mesh adds, prunes or skips in silence. Before step 1.

use holdpoint_core::config::FilterConfig;
use holdpoint_core::policy;
use holdpoint_core::yaml::{Kind, Node};

use super::finding::Finding;
use super::plugin::{self, either, text_at, type_of};
use super::source::Value;

/// What client-side `kubectl apply` can keep in the annotation that it writes, in bytes.
pub const APPLY_ANNOTATION_BYTES_MAX: usize = 262_144;

/// Causes for which the server cannot have seen the call.
const SAFE_RETRIES: [&str; 3] = ["connect-failure", "refused-stream", "reset-before-request"];
/// What Envoy Gateway gives a listener that says nothing.
const GATEWAY_BUFFER_BYTES: u64 = 32_768;

/// One patch, whatever the resource calls its parts.
struct Patch<'n> {
    /// `HTTP_FILTER`, or the last word of a type URL.
    subject: &'n str,
    operation: &'n str,
    /// Where in it; empty where the whole is meant.
    path: &'n str,
    value: &'n Node,
}

/// Checks a resource that patches Envoy configuration; `values` are the filter documents in it.
pub fn check(root: &Node, values: &[Value], findings: &mut Vec<Finding>) {
    let (patches, is_istio) = match text_at(root, "kind") {
        Some("EnvoyFilter") => (istio_patches(root), true),
        Some("EnvoyPatchPolicy") => (json_patches(root), false),
        _ => return,
    };
    check_size(root, findings);
    if is_istio {
        let spec = root.get("spec");
        let selected =
            ["workloadSelector", "targetRefs"].iter().any(|key| spec.and_then(|spec| spec.get(key)).is_some());
        if !selected {
            let message = "no `workloadSelector` and no `targetRefs`: every proxy of the namespace would run the filter and \
                           refuse what is not MCP";
            findings.push(Finding::error("no-selector", root.at, message));
        }
    }
    for value in values {
        let Ok(config) = FilterConfig::read(value.text.as_bytes()) else { continue };
        let Ok(document) = policy::read_file(&value.text) else { continue };
        cluster(root, &patches, &config, findings);
        guard(root, &patches, document.servers.keys(), findings);
        for (name, server) in &document.servers {
            let known = &server.recognised_by.route_metadata;
            if !known.is_empty() && !known.iter().any(|metadata| leads_to(&patches, metadata)) {
                let message = format!(
                    "no patch gives a route the metadata `holdpoint: {{server: …}}` of server `{name}`: its calls are refused"
                );
                findings.push(Finding::warning("route-missing", root.at, &message));
            }
        }
        retries(root, &patches, is_istio, findings);
        for patch in patches.iter().filter(|patch| patch.path.ends_with("idle_timeout")) {
            plugin::idle_timeout(patch.value, config.approval.hold_ms_max, findings);
        }
        plugin::idle_timeouts_below(root, config.approval.hold_ms_max, findings);
        if !is_istio {
            buffer(root, &patches, findings);
        }
    }
}

/// `kubectl apply` keeps the whole resource, as JSON, in an annotation of bounded size.
fn check_size(root: &Node, findings: &mut Vec<Finding>) {
    let bytes = holdpoint_core::yaml::to_json(root).to_string().len();
    if bytes > APPLY_ANNOTATION_BYTES_MAX {
        let message = format!(
            "the resource has {bytes} bytes as JSON; `kubectl apply` keeps it in an annotation of at most \
             {APPLY_ANNOTATION_BYTES_MAX}: use `kubectl apply --server-side`, or split the policy over several gateways"
        );
        findings.push(Finding::error("too-large", root.at, &message));
    }
}

fn istio_patches(root: &Node) -> Vec<Patch<'_>> {
    let patches = root.get("spec").and_then(|spec| spec.get("configPatches"));
    let read = |patch| {
        let inner = Node::get(patch, "patch")?;
        let (subject, operation) = (text_at(patch, "applyTo")?, text_at(inner, "operation")?);
        Some(Patch { subject, operation, path: "", value: inner.get("value")? })
    };
    items(patches).filter_map(read).collect()
}

fn json_patches(root: &Node) -> Vec<Patch<'_>> {
    let patches = root.get("spec").and_then(|spec| spec.get("jsonPatches"));
    let read = |patch| {
        let operation = Node::get(patch, "operation")?;
        let subject = text_at(patch, "type")?.rsplit('.').next()?;
        let path = text_at(operation, "path").unwrap_or_default();
        Some(Patch { subject, operation: text_at(operation, "op")?, path, value: operation.get("value")? })
    };
    items(patches).filter_map(read).collect()
}

/// The elements of a list; of anything else, none.
pub fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    let items: &[Node] = match node.map(|node| &node.kind) {
        Some(Kind::Seq(items)) => items,
        _ => &[],
    };
    items.iter()
}

/// The approval service's cluster is added, not changed.
fn cluster(root: &Node, patches: &[Patch<'_>], config: &FilterConfig, findings: &mut Vec<Finding>) {
    let name = &config.approval.cluster;
    let of_it = |patch: &&Patch<'_>| {
        patch.subject.eq_ignore_ascii_case("cluster") && text_at(patch.value, "name") == Some(name)
    };
    let found: Vec<&Patch<'_>> = patches.iter().filter(of_it).collect();
    if found.iter().any(|patch| patch.operation.eq_ignore_ascii_case("add")) {
        return;
    }
    match found.first() {
        Some(merged) => {
            let message = format!(
                "cluster `{name}` is changed, not added: a gateway leaves out clusters that no route names, and a patch of \
                 one that is not there is skipped without a word; write `operation: ADD` with the whole cluster"
            );
            findings.push(Finding::error("cluster-not-added", merged.value.at, &message));
        }
        None => {
            let message = format!(
                "no patch adds cluster `{name}` (`approval.cluster`): a gateway has no cluster that no route names, and \
                 every held call would be refused"
            );
            findings.push(Finding::error("cluster-not-added", root.at, &message));
        }
    }
}

fn guard<'s>(
    root: &Node,
    patches: &[Patch<'_>],
    servers: impl Iterator<Item = &'s String>,
    findings: &mut Vec<Finding>,
) {
    let guard = patches.iter().map(|patch| patch.value).find(|value| type_of(value).ends_with("http.rbac.v3.RBAC"));
    plugin::guarded(guard, root, servers, findings);
}

fn leads_to(patches: &[Patch<'_>], metadata: &str) -> bool {
    let below = |node: &Node| text_at(node, "server") == Some(metadata);
    let whole = |patch: &Patch<'_>| patch.path.ends_with("filter_metadata/holdpoint") && below(patch.value);
    patches.iter().any(|patch| whole(patch) || plugin::route_server(patch.value) == Some(metadata))
}

/// Istio repeats a call twice by default, 503 among its causes: a server may have seen it.
fn retries(root: &Node, patches: &[Patch<'_>], is_istio: bool, findings: &mut Vec<Finding>) {
    plugin::retries_below(root, findings);
    for patch in patches.iter().filter(|patch| patch.path.ends_with("retry_policy")) {
        plugin::retry_policy(patch.value, findings);
    }
    if !is_istio {
        return;
    }
    for route in patches.iter().map(|patch| patch.value).filter(|value| plugin::route_server(value).is_some()) {
        if route.get("route").and_then(|action| either(action, "retry_policy", "retryPolicy")).is_none() {
            let message = "the route keeps Istio's own retries, which repeat a call that had a 503, be it a write: set \
                           `route: {retry_policy: {retry_on: \"connect-failure,refused-stream\"}}`";
            findings.push(Finding::error("unsafe-retries", route.at, message));
        }
    }
}

fn buffer(root: &Node, patches: &[Patch<'_>], findings: &mut Vec<Finding>) {
    let patch = patches.iter().find(|patch| patch.path == "/per_connection_buffer_limit_bytes");
    let bytes = patch.and_then(|patch| match &patch.value.kind {
        Kind::Int(text) => text.parse::<u64>().ok(),
        _ => None,
    });
    if bytes.is_none_or(|bytes| bytes <= GATEWAY_BUFFER_BYTES) {
        let message = "Envoy Gateway's listeners buffer 32 KiB: larger calls and answers are refused; add \
                       `/per_connection_buffer_limit_bytes`, 1048576 or more";
        findings.push(Finding::error("buffer-too-small", patch.map_or(root.at, |patch| patch.value.at), message));
    }
}

/// The causes for which the server may have seen the call.
pub fn unsafe_causes(retry_on: &str) -> Vec<&str> {
    let causes = retry_on.split(',').map(str::trim);
    causes.filter(|cause| !cause.is_empty() && !SAFE_RETRIES.contains(cause)).collect()
}
