//! `holdpoint audit`: reads the record straight from the database, or from an export; the service need not run.

use std::process::ExitCode;

use clap::Subcommand;

mod erase;
mod export;
mod filter;
mod prove;
mod record;
mod report;
mod search;
mod show;
mod tail;
mod verify;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the whole record and compare it with its head and every signed checkpoint
    Verify(verify::VerifyArgs),
    /// Print one entry with the arguments and the result that stand beside it
    Show(show::ShowArgs),
    /// Erase what stands beside entries; the entries and their proofs stay
    Erase(erase::EraseArgs),
    /// Print one entry with the proof that the signed log holds it
    Prove(prove::ProveArgs),
    /// Check such a proof with the service's public key alone
    VerifyProof(prove::VerifyProofArgs),
    /// Print the last entries
    Tail(tail::TailArgs),
    /// Print the entries that fit
    Search(search::SearchArgs),
    /// Write the record for keeping, for a SIEM or for a collector
    Export(export::ExportArgs),
    /// Who asked for what, who approved it, what was refused, and what is missing, in a period
    Report(report::ReportArgs),
}

pub async fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify(args) => verify::run(args).await,
        AuditCommand::Show(args) => show::run(args).await,
        AuditCommand::Erase(args) => erase::run(args).await,
        AuditCommand::Prove(args) => prove::prove(args).await,
        AuditCommand::VerifyProof(args) => prove::verify_proof(&args),
        AuditCommand::Tail(args) => tail::run(args).await,
        AuditCommand::Search(args) => search::run(args).await,
        AuditCommand::Export(args) => export::run(args).await,
        AuditCommand::Report(args) => report::run(args).await,
    }
}
