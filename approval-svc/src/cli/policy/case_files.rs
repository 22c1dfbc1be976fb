//! Finds and reads files of cases, with the policy that each is about. Inputs of steps 3 to 6.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use holdpoint_core::cases::{self, Case};
use holdpoint_core::policy::{self, PolicyDocument, PolicySnapshot};

use super::source;

/// How a file of cases is found inside a directory.
const NAME: &str = "cases.yaml";
/// Directories inside one another.
const DEPTH_MAX: usize = 32;

/// One file of cases.
pub struct CaseFile {
    pub path: PathBuf,
    pub policy_path: PathBuf,
    pub cases: Vec<Case>,
}

/// A policy, compiled, with the document it came from.
pub struct Policy {
    pub document: PolicyDocument,
    pub snapshot: PolicySnapshot,
}

/// The files named, and every `cases.yaml` below the directories named, in the order of their paths.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if kind.is_dir() {
            let before = found.len();
            walk(path, 0, &mut found)?;
            if found.len() == before {
                bail!("no `{NAME}` below `{}`", path.display());
            }
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// Links are not followed, so that a loop of them ends.
fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    anyhow::ensure!(depth < DEPTH_MAX, "`{}` is more than {DEPTH_MAX} directories deep", dir.display());
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let is_theirs = name == "target" || name == "node_modules" || name.to_string_lossy().starts_with('.');
        if kind.is_dir() && !is_theirs {
            walk(&entry.path(), depth + 1, found)?;
        } else if kind.is_file() && name == NAME {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// Reads one file of cases. The error has every problem with its place.
pub fn read(path: &Path) -> anyhow::Result<CaseFile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let file = cases::read_cases(&text).map_err(|problems| located(path, &problems.to_string()))?;
    let policy_path = match path.parent() {
        Some(dir) => dir.join(&file.policy),
        None => PathBuf::from(&file.policy),
    };
    Ok(CaseFile { path: path.to_owned(), policy_path, cases: file.cases })
}

/// Reads and compiles the one policy of a file, whatever form it is kept in.
pub fn policy(path: &Path) -> anyhow::Result<Policy> {
    let (text, _) = source::only_document(path)?;
    let document = policy::read_file(&text).map_err(|problems| located(path, &problems.to_string()))?;
    let snapshot = policy::compile(&document).map_err(|problems| located(path, &problems.to_string()))?;
    Ok(Policy { document, snapshot })
}

fn located(path: &Path, problems: &str) -> anyhow::Error {
    let lines: Vec<String> = problems.lines().map(|line| format!("{}:{line}", path.display())).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}
