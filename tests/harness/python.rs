//! Python programs of others, each set in a virtual environment of its own. Brings clients and servers for steps 1 and 10.

use std::path::PathBuf;
use std::process::Command;

use crate::installed;

/// The directory with the programs (`python` among them) of a virtual environment that holds `packages`, such as
/// `mcp==2.3.0`. Made when it is not there yet; needs `python3` with `venv` on the PATH.
pub fn programs(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let home = installed::once("python", name, &packages.join("\n"), |home| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(home.join("venv"));
        installed::run(venv)?;
        let mut pip = Command::new(home.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        installed::run(pip)?;
        Ok(())
    })?;
    Ok(home.join("venv/bin"))
}
