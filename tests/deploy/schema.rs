//! Published custom resource definitions as JSON Schema, as strict as an API server: unknown fields are mistakes.

use anyhow::{Context, ensure};
use holdpoint_core::yaml;
use holdpoint_tests::repository;
use serde_json::{Value, json};

/// Fails with everything that the definition in `tests/deploy/schemas/` says against `resource`.
pub(crate) fn accepts(file: &str, resource: &Value) -> anyhow::Result<()> {
    let text = repository::text(&format!("tests/deploy/schemas/{file}"))?;
    // One stands in a chart, between two lines of its template.
    let rows = text.lines().filter(|row| !row.starts_with("{{") && *row != "---");
    let text = rows.fold(String::new(), |text, row| text + row + "\n");
    let node = yaml::read(&text, &yaml::Limits::default()).map_err(|error| anyhow::anyhow!("{file}: {error:?}"))?;
    let definition = yaml::to_json(&node);
    let group = definition["spec"]["group"].as_str().context("a group")?;
    let (at_group, version) =
        resource["apiVersion"].as_str().and_then(|version| version.split_once('/')).context("group/version")?;
    ensure!(at_group == group && resource["kind"] == definition["spec"]["names"]["kind"], "another kind than {file}");
    let versions = definition["spec"]["versions"].as_array().context("versions")?;
    let served =
        versions.iter().find(|one| one["name"] == version).with_context(|| format!("{version} is not served"))?;
    let mut schema = served["schema"]["openAPIV3Schema"].clone();
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = json!({"type": "object"});
    close(&mut schema);
    let validator = jsonschema::draft7::new(&schema).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
    let wrong: Vec<String> =
        validator.iter_errors(resource).map(|error| format!("{}: {error}", error.instance_path())).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// An API server drops what a definition does not name. Here that is an error, but where the definition keeps everything.
fn close(schema: &mut Value) {
    if let Value::Object(members) = schema {
        let keeps = members.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
        if members.contains_key("properties") && !keeps && !members.contains_key("additionalProperties") {
            members.insert("additionalProperties".to_owned(), json!(false));
        }
        for key in ["properties", "items", "additionalProperties"] {
            match members.get_mut(key) {
                Some(Value::Object(inner)) if key == "properties" => inner.values_mut().for_each(close),
                Some(inner) => close(inner),
                None => {}
            }
        }
    }
}

#[test]
fn misspelt_field_and_wrong_type_are_found() {
    let filter = |spec: Value| {
        let resource = json!({
            "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "a"}, "spec": spec,
        });
        accepts("istio-envoyfilter.yaml", &resource)
    };
    let patch = json!({"applyTo": "CLUSTER", "patch": {"operation": "ADD", "value": {"anything": 1}}});
    filter(json!({"configPatches": [patch]})).expect("a good one");
    for bad in [
        json!({"configPatch": []}),
        json!({"configPatches": [{"applyTo": "CLUSTERS"}]}),
        json!({"configPatches": [{"applyTo": "CLUSTER", "match": {"contex": "GATEWAY"}}]}),
    ] {
        filter(bad.clone()).expect_err(&bad.to_string());
    }
}
