//! Whose tokens are taken, and what their claims mean: the file of `holdpoint serve --oidc`, checked before anything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdpoint_core::yaml;
use jsonwebtoken::Algorithm;
use reqwest::Url;
use serde::Deserialize;

use crate::tokens::{ISSUER_LOCAL, Role};

/// The group that stands for everybody whose token is good.
pub(super) const ANYBODY: &str = "*";
/// Most identity providers.
const ISSUERS_MAX: usize = 20;
const REFRESH_MS_DEFAULT: u64 = 300_000;
const REFRESH_MS_MIN: u64 = 1_000;
const REFRESH_MS_MAX: u64 = 86_400_000;

/// One identity provider, checked.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// A token must be meant for one of these.
    pub audiences: BTreeSet<String>,
    /// And for none of these: what agents show to MCP servers.
    pub mcp_audiences: BTreeSet<String>,
    /// The clients that people sign in with. A token that was given to another one is some agent's.
    pub clients: BTreeSet<String>,
    pub algorithms: Vec<Algorithm>,
    pub jwks: Jwks,
    /// Claims that list groups, each as the way into the token.
    pub group_claims: Vec<Vec<String>>,
    /// Names of the provider → names that policies use.
    pub group_names: BTreeMap<String, String>,
    /// The claim that names somebody's tenant. A token without it is refused then.
    pub tenant_claim: Option<Vec<String>>,
    /// The first that fits says what its holder may do.
    pub roles: Vec<RoleEntry>,
}

/// Who has a role.
#[derive(Clone, Debug)]
pub struct RoleEntry {
    pub role: Role,
    /// Whoever is in one of these groups.
    pub groups: BTreeSet<String>,
    /// And signed in with one of these clients, where they are named.
    pub clients: Option<BTreeSet<String>>,
}

/// Where the public keys of a provider are.
#[derive(Clone, Debug)]
pub struct Jwks {
    pub source: JwksSource,
    /// Certificates (PEM) that alone vouch for the provider's server; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    pub refresh_every: Duration,
}

#[derive(Clone, Debug)]
pub enum JwksSource {
    /// Where the provider itself says, in its description at this address (OpenID Connect Discovery §4).
    Discovered {
        description: Url,
        issuer: String,
    },
    Url(Url),
    File(PathBuf),
}

/// Why the file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum OidcSettingsError {
    #[error("cannot read `{}`: {error}", file.display())]
    File { file: PathBuf, error: std::io::Error },
    #[error("`{}`: {problem}", file.display())]
    Shape { file: PathBuf, problem: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    issuers: Vec<IssuerDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerDocument {
    issuer: String,
    audiences: BTreeSet<String>,
    mcp_audiences: BTreeSet<String>,
    clients: BTreeSet<String>,
    #[serde(default)]
    algorithms: Option<Vec<String>>,
    #[serde(default)]
    jwks: JwksDocument,
    #[serde(default)]
    groups: GroupsDocument,
    #[serde(default)]
    tenant: Option<TenantDocument>,
    roles: Vec<RoleDocument>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct JwksDocument {
    url: Option<String>,
    file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    refresh_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsDocument {
    claims: Option<Vec<ClaimDocument>>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantDocument {
    claim: ClaimDocument,
}

/// A claim by its name, or the way to it through objects.
#[derive(Deserialize)]
#[serde(untagged)]
enum ClaimDocument {
    Name(String),
    Way(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleDocument {
    role: Role,
    groups: BTreeSet<String>,
    clients: Option<BTreeSet<String>>,
}

impl ClaimDocument {
    fn way(self) -> Vec<String> {
        match self {
            Self::Name(name) => vec![name],
            Self::Way(way) => way,
        }
    }
}

/// Reads and checks the file.
pub fn read(file: &Path) -> Result<Vec<IssuerSettings>, OidcSettingsError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| OidcSettingsError::File { file: file.to_owned(), error })?;
    parse(&text).map_err(|problem| OidcSettingsError::Shape { file: file.to_owned(), problem })
}

pub(super) fn parse(text: &str) -> Result<Vec<IssuerSettings>, String> {
    let node = yaml::read(text, &yaml::Limits::default()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    })?;
    let document: Document = serde_json::from_value(yaml::to_json(&node)).map_err(|error| error.to_string())?;
    if document.issuers.is_empty() || document.issuers.len() > ISSUERS_MAX {
        return Err(format!("`issuers` must list 1 to {ISSUERS_MAX} identity providers"));
    }
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for issuer in document.issuers {
        let name = issuer.issuer.clone();
        if !names.insert(name.clone()) {
            return Err(format!("issuer `{name}` stands there twice"));
        }
        checked.push(check(issuer).map_err(|problem| format!("issuer `{name}`: {problem}"))?);
    }
    Ok(checked)
}

fn check(document: IssuerDocument) -> Result<IssuerSettings, String> {
    let IssuerDocument { issuer, audiences, mcp_audiences, clients, algorithms, jwks, groups, tenant, roles } =
        document;
    // A name of ours would make its people the ones whose tokens an operator made.
    if issuer.is_empty() || issuer == ISSUER_LOCAL {
        return Err("`issuer` must be the `iss` of the provider's tokens".to_owned());
    }
    for (name, list) in [("audiences", &audiences), ("mcp_audiences", &mcp_audiences), ("clients", &clients)] {
        if list.is_empty() || list.contains("") {
            return Err(format!("`{name}` must list at least one name, and no empty one"));
        }
    }
    if let Some(both) = audiences.intersection(&mcp_audiences).next() {
        return Err(format!(
            "`{both}` cannot be both in `audiences` and in `mcp_audiences`: agents would hold what decides"
        ));
    }
    let algorithms = match algorithms {
        None => vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA],
        Some(names) if names.is_empty() => return Err("`algorithms` must list at least one".to_owned()),
        Some(names) => names.iter().map(|name| algorithm(name)).collect::<Result<_, _>>()?,
    };
    let refresh_ms = jwks.refresh_ms.unwrap_or(REFRESH_MS_DEFAULT);
    if !(REFRESH_MS_MIN..=REFRESH_MS_MAX).contains(&refresh_ms) {
        return Err(format!("`jwks.refresh_ms` must be {REFRESH_MS_MIN} to {REFRESH_MS_MAX}"));
    }
    let source = match (jwks.url, jwks.file) {
        (Some(url), None) => JwksSource::Url(key_url("jwks.url", &url)?),
        (None, Some(_)) if jwks.ca_file.is_some() => {
            return Err("`jwks.ca_file` is for keys that come over the network, not for `file`".to_owned());
        }
        (None, Some(file)) => JwksSource::File(file),
        (None, None) => JwksSource::Discovered { description: description_url(&issuer)?, issuer: issuer.clone() },
        (Some(_), Some(_)) => return Err("`jwks` takes either `url` or `file`, or neither".to_owned()),
    };
    if roles.is_empty() {
        return Err("`roles` must say who may do what, such as `[{role: approver, groups: [sre]}]`".to_owned());
    }
    for RoleDocument { role, groups, clients: signed_in_with } in &roles {
        if *role == Role::Enforcer {
            return Err("people are no gateways: `roles` cannot give the role `enforcer`".to_owned());
        }
        if groups.is_empty() {
            return Err(format!("the entry of `roles` for `{role}` needs `groups`"));
        }
        // Everybody whom the provider knows is more than anybody means who stops things or decides alone.
        if matches!(role, Role::Admin | Role::BreakGlass) && groups.contains(ANYBODY) {
            return Err(format!("the entry of `roles` for `{role}` must name its groups: `*` is everybody"));
        }
        if let Some(named) = signed_in_with {
            if let Some(other) = named.difference(&clients).next() {
                return Err(format!(
                    "the entry of `roles` for `{role}` names `{other}`, which `clients` does not list"
                ));
            }
            if named.is_empty() {
                return Err(format!(
                    "`clients` of the entry of `roles` for `{role}` must list at least one, or be left out"
                ));
            }
        }
    }
    let group_claims: Vec<Vec<String>> = match groups.claims {
        None => vec![vec!["groups".to_owned()]],
        Some(claims) => claims.into_iter().map(ClaimDocument::way).collect(),
    };
    let tenant_claim = tenant.map(|tenant| tenant.claim.way());
    if group_claims.iter().chain(&tenant_claim).any(Vec::is_empty) {
        return Err("a claim needs a name".to_owned());
    }
    Ok(IssuerSettings {
        issuer,
        audiences,
        mcp_audiences,
        clients,
        algorithms,
        jwks: Jwks { source, ca_file: jwks.ca_file, refresh_every: Duration::from_millis(refresh_ms) },
        group_claims,
        group_names: groups.rename,
        tenant_claim,
        roles: roles
            .into_iter()
            .map(|RoleDocument { role, groups, clients }| RoleEntry { role, groups, clients })
            .collect(),
    })
}

/// Only signatures whose checking needs no secret: with a shared one, whoever can check can also sign.
fn algorithm(name: &str) -> Result<Algorithm, String> {
    Ok(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        other => {
            return Err(format!(
                "`algorithms` takes RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, not `{other}`"
            ));
        }
    })
}

/// Where a provider describes itself.
fn description_url(issuer: &str) -> Result<Url, String> {
    let hint = "`jwks` needs `url` or `file` where `issuer` is no address that describes itself";
    let text = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    key_url("issuer", &text).map_err(|problem| format!("{hint}: {problem}"))
}

/// Whoever can change the keys on their way can be anybody.
pub(super) fn key_url(name: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{name}`: {error}"))?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(format!("`{name}` must begin with https:// (http:// only on this machine)")),
    }
}
