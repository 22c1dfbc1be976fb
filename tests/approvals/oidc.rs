//! People who sign in with an identity provider: by the code flow of a real Envoy, at the command line, and by nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use holdpoint_core::approval::CALL_DIGEST_TAG;
use holdpoint_core::digest::Digest;
use holdpoint_tests::asker::Asker;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::idp::{ISSUER, Idp};
use holdpoint_tests::oidc_provider::{AUDIENCE, CLIENT_ID, OidcProvider};
use holdpoint_tests::service::Service;
use holdpoint_tests::tls::{Authority, TlsFiles};
use holdpoint_tests::{ports, probe};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A service that takes the tokens of a provider.
struct House {
    provider: OidcProvider,
    service: Service,
    asker: Asker,
    dir: TempDir,
}

impl House {
    async fn open() -> anyhow::Result<Self> {
        let provider = OidcProvider::start().await?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("oidc.yaml");
        let settings = json!({"issuers": [{
            "issuer": ISSUER, "audiences": [AUDIENCE], "mcp_audiences": ["mcp-gateway"], "clients": [CLIENT_ID],
            "jwks": {"url": provider.url("/jwks"), "refresh_ms": 1_000},
            "roles": [{"role": "approver", "groups": ["sre"]}, {"role": "auditor", "groups": ["audit"]}],
        }]});
        std::fs::write(&file, settings.to_string())?;
        let service = Service::start_with(ports::free()?, &["--oidc", file.to_str().context("a path")?]).await?;
        let asker = Asker::new(&service).await?;
        Ok(Self { provider, service, asker, dir })
    }

    /// Holds a call that bob's agent makes, as the gateway knows bob from the same provider.
    async fn hold(&self, tool: &str) -> anyhow::Result<String> {
        let as_bob = |body: &mut Value| {
            body["principal"]["issuer"] = json!(ISSUER);
            body["principal"]["subject"] = json!("bob");
            let mut call: Value =
                serde_json::from_str(body["call_text"].as_str().unwrap_or_default()).unwrap_or_default();
            call["issuer"] = json!(ISSUER);
            call["subject"] = json!("bob");
            let call = call.to_string();
            body["call_digest"] = json!(Digest::tagged(CALL_DIGEST_TAG, call.as_bytes()));
            body["call_text"] = json!(call);
        };
        self.asker.hold_as(tool, json!({"title": tool}), as_bob).await
    }

    async fn status(&self, id: &str) -> anyhow::Result<String> {
        let token = self.service.token("admin", "root", &[])?;
        let url = self.service.url(&format!("/v1/approvals/{id}"));
        let state: Value = Client::new().get(url).bearer_auth(token).send().await?.json().await?;
        Ok(state["status"].as_str().unwrap_or_default().to_owned())
    }
}

/// A browser without its window: keeps cookies, follows redirects, says which page a form is from.
struct Browser {
    http: Client,
    origin: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new(envoy: &Envoy) -> anyhow::Result<Self> {
        let http = Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(60)).no_proxy().build()?;
        Ok(Self { http, origin: format!("http://127.0.0.1:{}", envoy.port()), cookies: BTreeMap::new() })
    }

    async fn send(&mut self, request: RequestBuilder) -> anyhow::Result<Response> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await?;
        for cookie in answer.headers().get_all("set-cookie") {
            let text = cookie.to_str()?;
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).context("a cookie")?;
            match text.contains("Max-Age=0") || text.contains("1970") || value == "deleted" {
                true => drop(self.cookies.remove(name)),
                false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        Ok(answer)
    }

    /// Opens a page as somebody who types its address would: wherever it leads.
    async fn open(&mut self, path: &str) -> anyhow::Result<(u16, String)> {
        let mut url = format!("{}{path}", self.origin);
        for _ in 0..8 {
            let request = self.http.get(&url).header("sec-fetch-mode", "navigate");
            let answer = self.send(request).await?;
            match answer.headers().get("location") {
                Some(location) => {
                    let next = reqwest::Url::parse(&url)?.join(location.to_str()?)?;
                    next.as_str().clone_into(&mut url);
                }
                None => return Ok((answer.status().as_u16(), answer.text().await?)),
            }
        }
        anyhow::bail!("{url} leads nowhere")
    }

    async fn submit(&mut self, path: &str, form: &str) -> anyhow::Result<Response> {
        let request = self.http.request(Method::POST, format!("{}{path}", self.origin));
        let request = request.header("origin", &self.origin).header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        self.send(request).await
    }
}

fn field<'a>(page: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).with_context(|| format!("{name}: {page}"))?;
    Ok(rest.split('"').next().unwrap_or_default())
}

fn approval(page: &str) -> anyhow::Result<String> {
    let (token, digest) = (field(page, "form_token")?, field(page, "call_digest")?.replace(':', "%3A"));
    Ok(format!("form_token={token}&call_digest={digest}&verdict=approve"))
}

async fn doors(house: &House) -> anyhow::Result<Envoy> {
    Envoy::start(EnvoyConfig::approvers(&house.provider, house.service.port())?).await
}

#[tokio::test]
async fn approver_signs_in_by_envoys_code_flow_decides_and_signs_out() -> anyhow::Result<()> {
    let house = House::open().await?;
    let envoy = doors(&house).await?;
    let id = house.hold("create_issue").await?;
    let path = format!("/approvals/{id}");

    house.provider.next("alice", &["sre"]);
    let mut alice = Browser::new(&envoy)?;
    let (status, page) = alice.open(&path).await?;
    assert_eq!(status, 200, "{page}\n{:?}\n{}", house.provider.refused(), envoy.log());
    assert!(page.contains("create_issue") && page.contains("alice"), "{page}");
    assert!(!alice.cookies.contains_key("holdpoint_session"), "{:?}", alice.cookies.keys());

    // Whoever asked for it signs in by the same way, and only looks.
    house.provider.next("bob", &["sre"]);
    let mut bob = Browser::new(&envoy)?;
    let (_, bobs) = bob.open(&path).await?;
    assert!(bobs.contains("you asked for this call yourself"), "{bobs}");
    let form = format!(
        "form_token={}&call_digest={}&verdict=approve",
        field(&bobs, "form_token")?,
        field(&page, "call_digest")?.replace(':', "%3A")
    );
    assert_eq!(bob.submit(&format!("{path}/review"), &form).await?.status(), 403);
    assert_eq!(house.status(&id).await?, "pending");

    let decided = alice.submit(&format!("{path}/review"), &approval(&page)?).await?;
    assert_eq!(decided.status(), 303);
    assert_eq!(house.status(&id).await?, "approved");
    let live = alice.send(alice.http.get(format!("{}/live", alice.origin))).await?;
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    drop(live);

    // A script is told so instead of being sent away; a person who signed out has to sign in anew.
    alice.submit("/logout", "").await?;
    let script = alice.http.get(format!("{}{path}", alice.origin)).header("sec-fetch-mode", "cors");
    assert_eq!(alice.send(script).await?.status(), 401);
    house.provider.next("mallory", &["visitors"]);
    let (status, page) = alice.open(&path).await?;
    assert_eq!((status, page.contains("no entry of `roles` fits")), (403, true), "{page}");
    Ok(())
}

#[tokio::test]
async fn token_that_a_browser_brings_itself_opens_nothing_with_or_without_the_proxy() -> anyhow::Result<()> {
    let house = House::open().await?;
    let envoy = doors(&house).await?;
    let forged = Idp::new()?;
    let forged = forged.mint(forged.claims("alice").with("aud", AUDIENCE).with("groups", ["sre"]))?;
    let genuine = house.provider.token("alice", &["sre"])?;
    let http = Client::builder().redirect(Policy::none()).no_proxy().build()?;
    let proxied = format!("http://127.0.0.1:{}/approvals", envoy.port());
    for token in [&forged, &genuine] {
        let answer = http.get(&proxied).bearer_auth(token).send().await?;
        let leads = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
        assert!(leads.starts_with(&house.provider.url("/authorize")), "{:?}", answer);
    }
    // Past the proxy, it is the signature that counts.
    let direct = house.service.url("/approvals");
    assert_eq!(http.get(&direct).bearer_auth(&forged).send().await?.status(), 401);
    assert_eq!(http.get(&direct).bearer_auth(&genuine).send().await?.status(), 200);
    for (name, value) in [("x-forwarded-user", "alice"), ("x-jwt-payload", "e30"), ("x-forwarded-email", "a@b")] {
        assert_eq!(http.get(&direct).header(name, value).send().await?.status(), 401);
    }
    Ok(())
}

#[tokio::test]
async fn command_line_takes_a_token_of_the_provider_and_doctor_looks_at_its_keys() -> anyhow::Result<()> {
    let house = House::open().await?;
    let id = house.hold("create_issue").await?;
    let url = house.service.url("");
    let file = house.dir.path().join("token");
    let path = file.to_str().context("a path")?.to_owned();
    let run = |words: &[&str]| {
        let at = ["--server", url.as_str(), "--token-file", path.as_str()];
        house.service.cli(&[words, &at].concat())
    };
    std::fs::write(&file, house.provider.token("bob", &["sre"])?)?;
    let refused = run(&["approvals", "approve", &id]).unwrap_err().to_string();
    assert!(refused.contains("you asked for this call yourself"), "{refused}");
    std::fs::write(&file, house.provider.token("alice", &["sre"])?)?;
    let healthy = run(&["doctor"])?;
    assert!(healthy.contains(&format!("{ISSUER}: 1 keys")), "{healthy}");
    assert!(healthy.contains("the service's clock agrees"), "{healthy}");
    assert!(run(&["approvals", "approve", &id])?.contains("is approved"));

    house.provider.rotate()?;
    let id = house.hold("close_issue").await?;
    std::fs::write(&file, house.provider.token("alice", &["sre"])?)?;
    // The new key is met as an unknown one, and fetched within the second that two fetches are apart.
    probe::until("the rotated key is taken", probe::PATIENCE, async || run(&["approvals", "approve", &id]).ok())
        .await?;
    assert_eq!(house.status(&id).await?, "approved");

    // The provider goes away: its keys stay good, and the doctor says so.
    let House { provider, service, .. } = house;
    drop(provider);
    let at = ["doctor", "--server", &url, "--token-file", &path];
    let said = probe::until("the doctor sees it", probe::PATIENCE, async || {
        service.cli(&at).ok().filter(|said| said.contains("believed for a day"))
    });
    said.await?;
    Ok(())
}

/// Files over TLS, by a server that is not ours. Ended when dropped.
struct TlsServer(std::process::Child);

impl TlsServer {
    fn start(port: u16, files: &TlsFiles, root: &Path) -> anyhow::Result<Self> {
        const SCRIPT: &str = "import functools, http.server, ssl, sys\n\
            handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[4])\n\
            server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), handler)\n\
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            context.load_cert_chain(sys.argv[2], sys.argv[3])\n\
            server.socket = context.wrap_socket(server.socket, server_side=True)\n\
            server.serve_forever()\n";
        let mut command = std::process::Command::new("python3");
        let command = command.args(["-c", SCRIPT]).arg(port.to_string()).arg(&files.certificate).arg(&files.key);
        Ok(Self(command.arg(root).stderr(std::process::Stdio::null()).spawn()?))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn provider_behind_an_authority_of_ones_own_is_found_by_its_description_and_only_through_that_authority()
-> anyhow::Result<()> {
    let (authority, stranger, idp, dir) = (Authority::new()?, Authority::new()?, Idp::new()?, tempfile::tempdir()?);
    let port = ports::free()?;
    let issuer = format!("https://127.0.0.1:{port}/realm");
    let realm = dir.path().join("realm");
    std::fs::create_dir_all(realm.join(".well-known"))?;
    let description = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string();
    std::fs::write(realm.join(".well-known/openid-configuration"), description)?;
    std::fs::write(realm.join("keys"), idp.jwks())?;
    let _server = TlsServer::start(port, &authority.files()?, dir.path())?;
    let settings = |ca_file: Option<&Path>| {
        json!({"issuers": [{
            "issuer": issuer, "audiences": [AUDIENCE], "mcp_audiences": ["mcp-gateway"], "clients": [CLIENT_ID],
            "jwks": {"refresh_ms": 1_000, "ca_file": ca_file}, "roles": [{"role": "admin", "groups": ["platform"]}],
        }]})
    };
    let claims = idp.claims("rita").with("iss", &issuer).with("aud", AUDIENCE).with("azp", CLIENT_ID);
    let token = idp.mint(claims.with("groups", ["platform"]))?;
    let foreign = stranger.files()?.authority;
    let own = authority.files()?.authority;
    for (name, ca_file, is_known) in
        [("own", Some(&own), true), ("foreign", Some(&foreign), false), ("system", None, false)]
    {
        let file = dir.path().join(format!("{name}.yaml"));
        std::fs::write(&file, settings(ca_file.map(std::path::PathBuf::as_path)).to_string())?;
        let service = Service::start_with(ports::free()?, &["--oidc", file.to_str().context("a path")?]).await?;
        let asked = || Client::new().get(service.url("/v1/service")).bearer_auth(&token).send();
        if is_known {
            let about = probe::until("the keys are there", probe::PATIENCE, async || {
                let answer = asked().await.ok().filter(|answer| answer.status().is_success())?;
                answer.json::<Value>().await.ok()
            })
            .await?;
            assert_eq!(about["issuers"][0]["keys"], 1, "{about}");
        } else {
            let troubles = probe::until("the keys cannot be had", probe::PATIENCE, async || {
                let ready: Value = Client::new().get(service.url("/readyz")).send().await.ok()?.json().await.ok()?;
                ready["degraded"].to_string().contains("keys of").then(|| ready["degraded"].to_string())
            })
            .await?;
            assert!(!troubles.contains("refused"), "the server is there, and not believed: {troubles}");
            assert_eq!(asked().await?.status(), 401, "{name}");
        }
    }
    Ok(())
}
