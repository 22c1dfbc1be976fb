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

/// Pages whose commands somebody copies when it matters.
const PAGES: [&str; 2] = ["OPERATIONS.md", "deploy/README.md"];

#[test]
fn every_command_of_the_operators_pages_is_one() {
    let mut count = 0;
    for page in PAGES {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        // A command may go on in the next line.
        let text = std::fs::read_to_string(&file).unwrap().replace("\\\n", "");
        let blocks = text.split("```").skip(1).step_by(2);
        for line in blocks.flat_map(str::lines) {
            // The last of them: `kubectl` names the namespace and the pod so as well.
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_ours = |at: usize| words[at] == "holdpoint" && (at == 0 || words[at - 1] != "-n");
            let Some(at) = (0..words.len()).rfind(|at| is_ours(*at)) else { continue };
            let words = words.iter().skip(at).map(|word| (*word).to_owned());
            // A pod and the unit know their data directory from the environment.
            let known = ["--data-dir".to_owned(), "data".to_owned()];
            let given = line.contains("--data-dir") || line.contains("doctor");
            let words: Vec<String> = words.chain(known.into_iter().filter(|_| !given)).collect();
            if let Err(error) = Cli::command().try_get_matches_from(&words) {
                panic!("{page}: `{line}`: {error}");
            }
            count += 1;
        }
    }
    assert!(count > 8, "only {count} commands were found");
}

/// In prose too: every `holdpoint …` in backticks is a command, or the beginning of one.
#[test]
fn every_command_that_the_operators_pages_name_exists() {
    for page in PAGES {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = std::fs::read_to_string(&file).unwrap();
        for named in
            text.split('`').filter_map(|piece| piece.strip_prefix("holdpoint ")).filter(|one| !one.contains('\n'))
        {
            let mut command = Cli::command();
            for word in named.split_whitespace() {
                if let Some(option) = word.strip_prefix("--") {
                    let known = option == "help" || command.get_arguments().any(|one| one.get_long() == Some(option));
                    assert!(known, "{page}: `holdpoint {named}` has no `--{option}`");
                } else if command.has_subcommands() {
                    let below = command.find_subcommand(word).cloned();
                    command = below.unwrap_or_else(|| panic!("{page}: there is no `holdpoint {named}`"));
                }
            }
        }
    }
}
