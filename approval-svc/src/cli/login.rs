//! `holdpoint login`: a link for an approver's browser, straight to the database of the service.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::json;

use super::{DataDir, Form, Output};
use crate::data_dir;
use crate::sessions;
use crate::store::row::Visitor;
use crate::text::visible;
use crate::tokens::{ISSUER_LOCAL, Role};

/// Where a service listens that was not told otherwise.
const PORT_DEFAULT: u16 = 7437;

/// Print a link that signs somebody's browser in; it works once, within 10 minutes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint login --data-dir data --subject bob --group sre
  holdpoint login --data-dir data --subject bob --group sre --url https://approvals.example.com
  holdpoint login --data-dir data --subject root --role admin

Whoever opens the link is that person for 12 hours: give it to nobody else.")]
pub struct LoginArgs {
    #[command(flatten)]
    data_dir: DataDir,
    /// What the browser may do
    #[arg(long, value_enum, default_value_t = LoginRole::Approver, value_name = "ROLE")]
    role: LoginRole,
    /// Who signs in: nobody approves a call of the same subject
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// Who vouches for the subject
    #[arg(long, default_value = ISSUER_LOCAL, value_name = "ISSUER")]
    issuer: String,
    /// A group the person is in; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Show the person only what belongs to this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Address under which the browser reaches the service [default: where it listens]
    #[arg(long, env = "HOLDPOINT_URL", value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    output: Output,
}

/// Roles of people; a gateway has no browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LoginRole {
    /// Looks at approvals and decides them
    Approver,
    /// Approves alone in an emergency, on the record
    #[value(alias = "break_glass")]
    BreakGlass,
    /// Looks only, at everything
    Auditor,
    /// Stops things and lets them go on, takes approvals and grants back, ends delegations
    Admin,
}

impl From<LoginRole> for Role {
    fn from(role: LoginRole) -> Self {
        match role {
            LoginRole::Approver => Self::Approver,
            LoginRole::BreakGlass => Self::BreakGlass,
            LoginRole::Auditor => Self::Auditor,
            LoginRole::Admin => Self::Admin,
        }
    }
}

pub async fn run(args: LoginArgs) -> anyhow::Result<ExitCode> {
    let dir = &args.data_dir.data_dir;
    let names = [("--subject", &args.subject), ("--issuer", &args.issuer)];
    let names = names.into_iter().chain(args.groups.iter().map(|group| ("--group", group)));
    for (option, name) in names.chain(args.tenant.iter().map(|tenant| ("--tenant", tenant))) {
        // A name that only looks like another one would be another person who looks like that one.
        if name.is_empty() || name.trim() != name || visible(name) != *name {
            bail!("`{option}` must be a name without blanks around it or hidden characters in it");
        }
    }
    let mut link = match args.url {
        Some(url) => url,
        None => {
            let address = data_dir::noted_address(dir);
            let address = address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_DEFAULT)));
            Url::parse(&format!("http://{address}"))?
        }
    };
    let visitor = Visitor {
        role: args.role.into(),
        issuer: args.issuer,
        subject: args.subject,
        groups: args.groups.into_iter().collect(),
        tenant: args.tenant,
    };
    if visitor.role == Role::Approver && visitor.groups.is_empty() {
        eprintln!("{}", super::NO_GROUP);
    }
    let subject = visitor.subject.clone();
    let invited = async { anyhow::Ok(sessions::invite(&args.data_dir.open().await?, visitor).await?) };
    let code = args.data_dir.patiently(invited).await?;
    link.set_path("/login");
    link.query_pairs_mut().clear().append_pair("code", code.text());
    match args.output.output {
        Form::Text => {
            println!("{link}");
            eprintln!("opens the approver's page as {}, once, within 10 minutes", visible(&subject));
        }
        Form::Json => println!("{}", json!({ "url": link.as_str() })),
    }
    Ok(ExitCode::SUCCESS)
}
