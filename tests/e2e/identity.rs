//! Who calls is what Envoy has proven, over real TLS and with real tokens; whatever a caller merely says is refused.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call};
use holdpoint_tests::idp::Idp;
use holdpoint_tests::stack::{Stack, StackBuilder};
use holdpoint_tests::tls::Authority;
use serde_json::{Value, json};

const GATEWAY: &str = "spiffe://mesh/agent-gateway";
const AGENT: &str = "spiffe://mesh/agents/seven";

/// A stack whose listener speaks TLS and validates clients by `authority`.
fn behind_tls(authority: &Authority, sources: &str) -> anyhow::Result<StackBuilder> {
    let files = authority.files()?;
    let sources = sources.to_owned();
    Ok(Stack::builder()
        .document(move |document| document.identity_sources = sources)
        .envoy(move |config| config.mtls(&files).expect("the base takes envoy/mtls.yaml")))
}

/// A call of a tool without a bearer token.
fn call(tool: &str) -> HttpCall {
    tools_call(tool, "{}", "").without_header("authorization")
}

fn refused_because(answer: &HttpAnswer, why: &str) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let said = answer.json()["error"]["message"].as_str().expect("a sentence").to_owned();
    assert!(said.contains(why), "{said}");
}

fn succeeded(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

#[tokio::test]
async fn client_certificate_that_envoy_validated_is_who_calls() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let stack = behind_tls(&authority, "[{mtls: uri_san}]")?.start().await?;
    let port = stack.port();
    let answer = call("list_issues").send_tls(port, &authority.client(&[AGENT])?).await?;
    assert!(succeeded(&answer), "{}", answer.text());
    let auditor = Person::auditor(&stack.service)?;
    let entry = auditor.entry("the agent's call", |entry| entry["principal"]["subject"] == AGENT).await?;
    assert_eq!(
        (&entry["principal"]["issuer"], &entry["principal"]["actor_type"]),
        (&json!("spiffe://mesh"), &json!("service"))
    );

    // Nothing that is only written stands in for a handshake.
    let spoofed = call("list_issues")
        .header("x-forwarded-client-cert", format!("By=spiffe://mesh/gw;Hash=00;URI={AGENT}"))
        .send_tls(port, &authority.plain_client()?)
        .await?;
    refused_because(&spoofed, "present a client certificate");
    assert!(!spoofed.headers.contains_key("www-authenticate"), "a token would not help");
    let two = authority.client(&[AGENT, "spiffe://mesh/admin"])?;
    refused_because(&call("list_issues").send_tls(port, &two).await?, "more than one URI SAN");
    refused_because(&call("list_issues").send_tls(port, &authority.client(&[])?).await?, "has no URI SAN");
    let foreign = authority.foreign_client(&Authority::new()?, &[AGENT])?;
    assert!(call("list_issues").send_tls(port, &foreign).await.is_err(), "no handshake with a foreign certificate");
    let expired = authority.expired_client(&[AGENT])?;
    assert!(call("list_issues").send_tls(port, &expired).await.is_err(), "no handshake with an expired certificate");
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn certificate_that_envoy_let_pass_without_validation_names_nobody() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let stack = behind_tls(&authority, "[{mtls: uri_san}]")?
        .envoy(|config| {
            let context = config.tls_context().expect("the TLS context");
            context["common_tls_context"]["validation_context"]["trust_chain_verification"] = json!("ACCEPT_UNTRUSTED");
        })
        .start()
        .await?;
    let foreign = authority.foreign_client(&Authority::new()?, &[AGENT])?;
    refused_because(&call("list_issues").send_tls(stack.port(), &foreign).await?, "not validated");
    assert!(succeeded(&call("list_issues").send_tls(stack.port(), &authority.client(&[AGENT])?).await?));
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn gateway_that_does_not_say_how_many_names_a_certificate_has_believes_none() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let stack = behind_tls(&authority, "[{mtls: uri_san}]")?
        .envoy(|config| config.without_http_filter("holdpoint.peer").expect("the filters"))
        .start()
        .await?;
    let answer = call("list_issues").send_tls(stack.port(), &authority.client(&[AGENT])?).await?;
    refused_because(&answer, "envoy/mtls.yaml");
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn listed_client_says_for_whom_it_acts_and_nobody_else_does() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let sources = format!(
        "[{{jwt: {{metadata_key: jwt}}, optional: true}}, {{header: x-actor, from_peers: [\"{GATEWAY}\"], \
         optional: true}}, {{mtls: uri_san}}]"
    );
    let stack = behind_tls(&authority, &sources)?.start().await?;
    let port = stack.port();
    let (gateway, agent) = (authority.client(&[GATEWAY])?, authority.client(&[AGENT])?);
    let auditor = Person::auditor(&stack.service)?;

    assert!(succeeded(&call("list_issues").header("x-actor", "alice").send_tls(port, &gateway).await?));
    let entry = auditor.entry("alice's call", |entry| entry["principal"]["subject"] == "alice").await?;
    assert_eq!((&entry["principal"]["issuer"], &entry["principal"]["agent_id"]), (&json!(GATEWAY), &json!(GATEWAY)));
    // A token is the stronger proof, and a header beside it changes nothing.
    let token = stack.agent("agent-7")?;
    let both = call("get_issue").bearer(&token).header("x-actor", "mallory");
    assert!(succeeded(&both.send_tls(port, &gateway).await?));
    auditor.entry("the token's call", |entry| entry["principal"]["subject"] == "agent-7").await?;
    assert!(succeeded(&call("list_issues").send_tls(port, &gateway).await?), "by itself it is itself");
    assert!(succeeded(&call("list_issues").send_tls(port, &agent).await?));

    let named = || call("list_issues").header("x-actor", "alice");
    refused_because(&named().send_tls(port, &agent).await?, "may not say for whom it acts");
    refused_because(&named().send_tls(port, &authority.plain_client()?).await?, "without a client certificate");
    refused_because(&named().header("x-actor", "bob").send_tls(port, &gateway).await?, "more than once");
    let folded = call("list_issues").header("x-actor", "alice, bob");
    refused_because(&folded.send_tls(port, &gateway).await?, "no single printable name");
    let forged = Idp::new()?.token("agent-7", &[])?;
    assert_eq!(named().bearer(&forged).send_tls(port, &gateway).await?.status, 401, "a bad token is not passed over");

    // An approved call loses the header just the same.
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let client = gateway.clone();
    let carols = call("create_issue").header("x-actor", "carol");
    let held = tokio::spawn(async move { carols.send_tls(port, &client).await });
    let view = bob.pending().await?;
    assert_eq!(view["principal"]["subject"], "carol", "{view}");
    bob.approve(&view).await?;
    assert!(succeeded(&held.await??));
    let received = stack.upstream.received();
    assert_eq!(received.len(), 5);
    assert!(received.iter().all(|message| !message.headers.contains_key("x-actor")));
    assert!(!Value::from(auditor.record().await?).to_string().contains("mallory"));
    Ok(())
}

#[tokio::test]
async fn token_that_was_let_pass_unverified_is_not_passed_over_for_a_certificate() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let stack = behind_tls(&authority, "[{jwt: {metadata_key: jwt}, optional: true}, {mtls: uri_san}]")?
        .envoy(|config| {
            *config.jwt_requirement().expect("the requirement") = json!({"requires_any": {"requirements": [
                {"provider_name": "idp"}, {"allow_missing_or_failed": {}},
            ]}});
        })
        .start()
        .await?;
    let agent = authority.client(&[AGENT])?;
    let forged = Idp::new()?.token("admin", &[])?;
    let answer = call("list_issues").bearer(&forged).send_tls(stack.port(), &agent).await?;
    refused_because(&answer, "no token that this gateway verified");
    assert!(succeeded(&call("list_issues").send_tls(stack.port(), &agent).await?));
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn token_with_claims_of_the_wrong_type_or_in_the_query_names_nobody() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let claims = || stack.idp.claims("agent-7");
    for wrong in [
        claims().with("groups", "sre"),
        claims().with("groups", json!(["sre", {"admin": true}])),
        claims().with("scope", 7),
        claims().with("tenant", true),
        claims().with("act", "alice"),
        claims().with("act", json!({"sub": ["alice"]})),
        claims().with("azp", "a\u{0}b"),
    ] {
        let token = stack.idp.mint(wrong)?;
        let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
        refused_because(&answer, "the identity cannot be used");
    }
    let mut in_query = call("list_issues");
    in_query.path = format!("/mcp?access_token={}", stack.agent("agent-7")?);
    let answer = in_query.send(stack.port()).await?;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn anonymous_caller_is_judged_only_where_the_route_says_so_and_never_reaches_an_approval() -> anyhow::Result<()> {
    let saying = |anonymous: Value| {
        Stack::builder().envoy(move |config| {
            let route = config.route().expect("the route");
            route["metadata"] =
                json!({"filter_metadata": {"holdpoint": {"server": "tracker", "anonymous": anonymous}}});
        })
    };
    let stack = saying(json!("judged")).start().await?;
    assert!(succeeded(&call("list_issues").send(stack.port()).await?));
    let answer = call("create_issue").send(stack.port()).await?;
    let said = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(said.contains("authenticate"), "{}", answer.text());
    let forged = Idp::new()?.token("agent-7", &[])?;
    assert_eq!(tools_call("list_issues", "{}", &forged).send(stack.port()).await?.status, 401);
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the anonymous calls", |entry| entry["principal"]["actor_type"] == "anonymous").await?;
    assert_eq!(auditor.ids("pending").await?, Vec::<String>::new());
    assert_eq!(stack.upstream.count(), 1);

    let stack = saying(json!(true)).start().await?;
    assert_eq!(call("list_issues").send(stack.port()).await?.status, 401, "only the word counts");
    Ok(())
}
