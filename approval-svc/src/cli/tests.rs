//! What every command has: examples under `--help`, and `--output json` where it prints.

use clap::CommandFactory;

use super::Cli;

/// Every command that does something, with the words that lead to it.
fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        for below in command.get_subcommands() {
            leaves(below, &path, found);
        }
    } else {
        found.push((path, command.clone()));
    }
}

#[test]
fn every_command_has_examples_and_prints_json_when_asked() {
    let root = Cli::command();
    root.clone().debug_assert();
    let mut found = Vec::new();
    leaves(&root, "", &mut found);
    assert!(found.len() > 10, "{found:?}");
    for (path, command) in found {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let words = path.trim();
        assert!(help.contains("Example") && help.contains(&format!("  {words}")), "`{words} --help` has no example");
        assert!(command.get_about().is_some(), "`{words}` does not say what it does");
        // Whose output has one form by its nature.
        let has_one_form =
            ["holdpoint completions", "holdpoint policy schema", "holdpoint policy render"].contains(&words);
        // Where there are more forms than text and JSON, `--format` chooses.
        let says_form = |argument: &clap::Arg| match argument.get_id().as_str() {
            "output" => true,
            "format" => argument.get_possible_values().iter().any(|form| form.get_name().ends_with("json")),
            _ => false,
        };
        assert!(has_one_form || command.get_arguments().any(says_form), "`{words}` has no `--output`");
    }
}
