//! The service's Kubernetes manifests: built by Kustomize, held against published schemas, and against what they promise.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use holdpoint_tests::node::Node;
use holdpoint_tests::{installed, kustomize, python, repository};
use serde_json::{Value, json};
use tempfile::TempDir;

const FOLDER: &str = "approval-svc/deploy/kubernetes";
/// Every overlay, and every component beside it.
const OVERLAYS: [&str; 2] = ["sqlite", "postgres"];
const COMPONENTS: [&str; 2] = ["istio", "service-monitor"];

/// Runs a program with `input` and returns what it printed; what it complained of is the error.
fn piped(mut command: Command, input: &str) -> anyhow::Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// The resources of an overlay with these components, once the schemas have accepted them.
fn resources(overlay: &str, components: &[&str]) -> anyhow::Result<Vec<Value>> {
    // Beside the manifests, as a user's own overlay would be: Kustomize reads no folder by an absolute path.
    let own = TempDir::new_in(repository::path(FOLDER))?;
    let lines: Vec<String> = components.iter().map(|name| format!("- ../components/{name}")).collect();
    std::fs::write(
        own.path().join("kustomization.yaml"),
        format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
             resources: [../overlays/{overlay}]\ncomponents:\n{}\n",
            lines.join("\n")
        ),
    )?;
    accepted(&kustomize::build(own.path())?)
}

/// The resources of a text, each accepted by the schemas of whoever defines it.
fn accepted(text: &str) -> anyhow::Result<Vec<Value>> {
    let programs = python::programs("kubernetes", &["kubernetes-validate==1.37.0", "PyYAML==6.0.3"])?;
    let mut validate = Command::new(programs.join("python"));
    validate.arg(repository::path("tests/deploy/kubernetes.py"));
    let resources = piped(validate, text)?;
    let node = Node::bring()?;
    let packages = ["@kubernetes-models/istio@3.0.1", "@kubernetes-models/prometheus-operator@6.0.0"];
    let packages = node.packages("kubernetes", &packages)?;
    let mut custom = node.run(&repository::path("tests/deploy/custom.mjs"));
    custom.env("HOLDPOINT_PACKAGES", packages);
    let of_others: usize = piped(custom, &resources)?.trim().parse()?;
    let resources: Vec<Value> = serde_json::from_str(&resources)?;
    let foreign = |one: &&Value| {
        let of = one["apiVersion"].as_str().unwrap_or_default();
        of.starts_with("security.istio.io") || of.starts_with("monitoring.coreos.com")
    };
    ensure!(of_others == resources.iter().filter(foreign).count(), "a resource of others was not looked at");
    Ok(resources)
}

fn one<'a>(resources: &'a [Value], kind: &str) -> anyhow::Result<&'a Value> {
    resources.iter().find(|one| one["kind"] == kind).with_context(|| format!("no {kind}"))
}

/// What every pod of the service keeps: no rights, no writable root, a way to be asked how it is.
fn is_confined(pod: &Value) -> anyhow::Result<()> {
    let own = &pod["securityContext"];
    ensure!(own["runAsNonRoot"] == true && own["runAsUser"].as_u64().is_some_and(|user| user > 0), "runs as root");
    ensure!(own["seccompProfile"]["type"] == "RuntimeDefault", "without seccomp");
    ensure!(pod["automountServiceAccountToken"] == false, "holds a token of the Kubernetes API");
    ensure!(["hostNetwork", "hostPID", "hostIPC"].iter().all(|key| pod[key].is_null()), "shares the node's spaces");
    let containers = pod["containers"].as_array().context("containers")?;
    for container in containers.iter().chain(pod["initContainers"].as_array().into_iter().flatten()) {
        let own = &container["securityContext"];
        ensure!(own["readOnlyRootFilesystem"] == true && own["allowPrivilegeEscalation"] == false, "{own}");
        ensure!(own["capabilities"] == json!({"drop": ["ALL"]}), "{own}");
        ensure!(container["resources"]["limits"]["memory"].is_string(), "memory without a limit");
    }
    let service = containers.first().context("a container")?;
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        ensure!(service[probe]["httpGet"]["path"] == path, "{probe}");
    }
    Ok(())
}

#[test]
fn manifests_are_accepted_and_confine_the_service() -> anyhow::Result<()> {
    if installed::or_skip("the Kubernetes manifests", kustomize::program())?.is_none() {
        return Ok(());
    }
    for overlay in OVERLAYS {
        let plain = accepted(&kustomize::build(&repository::path(FOLDER).join("overlays").join(overlay))?)?;
        let whole = resources(overlay, &COMPONENTS)?;
        ensure!(whole.len() > plain.len(), "components add something");
        for resources in [&plain, &whole] {
            let deployment = one(resources, "Deployment")?;
            let pod = &deployment["spec"]["template"]["spec"];
            is_confined(pod).with_context(|| overlay.to_owned())?;
            // Whatever is selected is there: one word in four places.
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            let name = &json!("holdpoint");
            ensure!(labels["app.kubernetes.io/name"] == *name, "{labels}");
            ensure!(one(resources, "Service")?["spec"]["selector"]["app.kubernetes.io/name"] == *name, "service");
            for policy in resources.iter().filter(|one| one["kind"] == "NetworkPolicy") {
                ensure!(policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == *name, "{policy}");
                ensure!(policy["spec"]["policyTypes"] == json!(["Ingress", "Egress"]), "{policy}");
            }
            ensure!(
                one(resources, "Namespace")?["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
                    == "restricted",
                "the namespace"
            );
            for resource in resources.iter().filter(|one| one["kind"] != "Namespace") {
                ensure!(resource["metadata"]["namespace"] == *name, "{resource}");
            }
        }
        let mesh = one(&whole, "PeerAuthentication")?;
        ensure!(mesh["spec"]["mtls"]["mode"] == "STRICT", "{mesh}");
        let deployment = one(&plain, "Deployment")?;
        if overlay == "postgres" {
            let replicas = deployment["spec"]["replicas"].as_u64().context("replicas")?;
            let budget = one(&plain, "PodDisruptionBudget")?;
            ensure!(
                budget["spec"]["minAvailable"].as_u64().is_some_and(|least| least < replicas),
                "one may be drained"
            );
            let pod = &deployment["spec"]["template"]["spec"];
            let apart = "requiredDuringSchedulingIgnoredDuringExecution";
            ensure!(pod["affinity"]["podAntiAffinity"][apart][0]["topologyKey"] == "kubernetes.io/hostname", "apart");
            let variables = pod["containers"][0]["env"].as_array().context("variables")?;
            let url = variables.iter().find(|one| one["name"] == "HOLDPOINT_DATABASE_URL").context("the database")?;
            ensure!(
                url["value"].is_null() && url["valueFrom"]["secretKeyRef"]["key"].is_string(),
                "from a secret: {url}"
            );
        }
        if overlay == "sqlite" {
            ensure!(
                deployment["spec"]["replicas"] == 1 && deployment["spec"]["strategy"]["type"] == "Recreate",
                "alone"
            );
            let claim = one(&plain, "PersistentVolumeClaim")?;
            let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().context("volumes")?;
            ensure!(
                volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]),
                "the volume is mounted"
            );
        }
    }
    Ok(())
}

#[test]
fn misspelt_and_unsafe_manifests_are_found() -> anyhow::Result<()> {
    if installed::or_skip("the Kubernetes manifests", kustomize::program())?.is_none() {
        return Ok(());
    }
    let good = resources("sqlite", &COMPONENTS)?;
    let wrong = |kind: &str, pointer: &str, value: Value| {
        let mut bad = good.clone();
        let resource = bad.iter_mut().find(|one| one["kind"] == kind).expect(kind);
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        resource.pointer_mut(parent).expect(pointer)[key] = value;
        // JSON is YAML.
        let text: Vec<String> = bad.iter().map(Value::to_string).collect();
        accepted(&text.join("\n---\n"))
            .and_then(|resources| is_confined(&one(&resources, "Deployment")?["spec"]["template"]["spec"]))
    };
    wrong("Service", "/metadata/name", json!("holdpoint"))?;
    let pod = "/spec/template/spec";
    for (kind, pointer, value) in [
        ("Deployment", format!("{pod}/containers/0/readynessProbe"), json!({})),
        ("NetworkPolicy", "/spec/policyTypes".to_owned(), json!("Ingress")),
        ("PeerAuthentication", "/spec/mtls/mode".to_owned(), json!("STRICTLY")),
        ("ServiceMonitor", "/spec/endpoints".to_owned(), json!([{"port": 7437}])),
        ("Deployment", format!("{pod}/securityContext/runAsUser"), json!(0)),
        ("Deployment", format!("{pod}/containers/0/securityContext/readOnlyRootFilesystem"), json!(false)),
        ("Deployment", format!("{pod}/containers/0/securityContext/capabilities"), json!({"drop": ["NET_RAW"]})),
    ] {
        ensure!(wrong(kind, &pointer, value).is_err(), "{kind} {pointer} was accepted");
    }
    Ok(())
}

/// A machine without either program brings one, and that one makes the same of the manifests as the one that is installed.
/// Where none is, it is held against itself: then this shows that it can be brought, and no more.
#[test]
fn kustomize_that_is_brought_builds_what_an_installed_one_does() -> anyhow::Result<()> {
    let Some(kubectl) = installed::or_skip("kubectl of a wheel", kustomize::brought())? else { return Ok(()) };
    for overlay in OVERLAYS {
        let folder = repository::path(FOLDER).join("overlays").join(overlay);
        let output = Command::new(&kubectl).arg("kustomize").arg(&folder).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(String::from_utf8(output.stdout)? == kustomize::build(&folder)?, "{overlay}");
    }
    Ok(())
}
