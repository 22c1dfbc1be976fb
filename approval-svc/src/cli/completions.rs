//! `holdpoint completions`: what a shell needs to complete the command line. Serves no step.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint completions bash > /etc/bash_completion.d/holdpoint
  holdpoint completions zsh > \"${fpath[1]}/_holdpoint\"
  holdpoint completions fish > ~/.config/fish/completions/holdpoint.fish")]
pub struct CompletionsArgs {
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> ExitCode {
    let mut command = super::Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "holdpoint", &mut script);
    // A reader that has seen enough closes the pipe.
    let written = std::io::stdout().write_all(&script);
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
