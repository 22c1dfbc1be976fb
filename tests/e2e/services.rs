//! Two listeners of one Envoy, each with a plugin and an approval service of its own: neither hears of the other's calls.

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call};
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::probe;
use holdpoint_tests::service::Service;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

/// The name of the second plugin, and of its cluster.
const OTHER: &str = "other";

/// A stack whose Envoy has a second listener, and the second listener's service and port.
async fn two() -> anyhow::Result<(Stack, Service, u16)> {
    let other = Service::start().await?;
    let document = FilterDocument::quickstart(&other.service_key()?)?.text();
    let document = document.replace("cluster: holdpoint\n", "cluster: other\n");
    let token = other.token("enforcer", "gateway-1", &[])?;
    let secrets = tempfile::tempdir()?;
    let secret = secrets.path().join("token.json");
    let resource = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "approval-token",
        "generic_secret": {"secret": {"inline_string": token}},
    }]});
    std::fs::write(&secret, resource.to_string())?;
    let service_port = other.port();
    let stack = Stack::builder().workers(2).envoy(move |config| {
        let cluster = {
            let mut cluster = config.cluster(APPROVAL_CLUSTER).expect("the cluster").clone();
            let path = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\
                        /http_filters/0/typed_config/credential/typed_config/credential/sds_config/path_config_source";
            *cluster.pointer_mut(path).expect("the token's file") = json!({"path": secret});
            cluster["name"] = json!(OTHER);
            cluster["load_assignment"]["cluster_name"] = json!(OTHER);
            cluster
        };
        let resources = &mut config.document()["static_resources"];
        let mut listener = resources["listeners"][0].clone();
        listener["name"] = json!(OTHER);
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let filters = manager["http_filters"].as_array_mut().expect("filters");
        let filter = filters.iter_mut().find(|filter| filter["name"] == "holdpoint").expect("the filter");
        filter["typed_config"]["config"]["name"] = json!(OTHER);
        filter["typed_config"]["config"]["configuration"]["value"] = json!(document);
        resources["listeners"].as_array_mut().expect("listeners").push(listener);
        resources["clusters"].as_array_mut().expect("clusters").push(cluster);
        config.cluster_port(OTHER, service_port).expect("the cluster's port");
    });
    let stack = stack.start().await?;
    let port = port_of(&stack.envoy, OTHER).await?;
    drop(secrets);
    Ok((stack, other, port))
}

async fn port_of(envoy: &Envoy, listener: &str) -> anyhow::Result<u16> {
    let listeners: Value = serde_json::from_str(&envoy.admin_text("/listeners?format=json").await?)?;
    let statuses = listeners["listener_statuses"].as_array().context("no listeners")?;
    let status = statuses.iter().find(|status| status["name"] == listener).context("not that listener")?;
    let port = status["local_address"]["socket_address"]["port_value"].as_u64().context("no port")?;
    Ok(u16::try_from(port)?)
}

fn runs(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

/// Who called, as one service's record has it, once that of `subject` is there.
async fn callers(service: &Service, subject: &str) -> anyhow::Result<Vec<String>> {
    let auditor = Person::auditor(service)?;
    auditor.entry("the call", |entry| entry["principal"]["subject"] == subject).await?;
    let subjects = auditor.record().await?.into_iter();
    let mut subjects: Vec<String> =
        subjects.filter_map(|entry| entry["principal"]["subject"].as_str().map(str::to_owned)).collect();
    subjects.sort();
    subjects.dedup();
    Ok(subjects)
}

#[tokio::test]
async fn each_plugin_records_asks_and_is_stopped_at_its_own_service() -> anyhow::Result<()> {
    let (stack, other, other_port) = two().await?;
    let (ann, ben) = (stack.agent("ann")?, stack.agent("ben")?);
    // Several connections, so that both workers take part.
    for _ in 0..8 {
        assert!(runs(&tools_call("list_issues", "{}", &ann).send(stack.port()).await?));
        assert!(runs(&tools_call("list_issues", "{}", &ben).send(other_port).await?));
    }
    assert_eq!(callers(&stack.service, "ann").await?, ["ann"]);
    assert_eq!(callers(&other, "ben").await?, ["ben"]);

    // What waits, waits at its own service, whose key alone lets it go on.
    let held = tools_call("create_issue", r#"{"project":"site","title":"x"}"#, &ben).begin(other_port).await?;
    let bob = Person::approver(&other, "bob", &["sre"])?;
    bob.approve(&bob.pending().await?).await?;
    let answer = held.answer().await?;
    assert!(runs(&answer), "{}", answer.text());
    assert!(Person::approver(&stack.service, "bob", &["sre"])?.ids("approved").await?.is_empty());

    // And what one administrator stops, the other's gateway does not.
    let root = other.token("admin", "root", &[])?;
    let body = json!({"scope": {"server": "tracker"}, "reason": "incident 7"});
    let frozen = reqwest::Client::new().post(other.url("/v1/freezes")).bearer_auth(&root).json(&body).send().await?;
    assert_eq!(frozen.status(), 201, "{}", frozen.text().await?);
    probe::until("the other listener is stopped on every worker", probe::PATIENCE, async || {
        for _ in 0..12 {
            if runs(&tools_call("list_issues", "{}", &ben).send(other_port).await.ok()?) {
                return None;
            }
        }
        Some(())
    })
    .await?;
    for _ in 0..12 {
        assert!(runs(&tools_call("list_issues", "{}", &ann).send(stack.port()).await?));
    }
    Ok(())
}
