//! The filter's wasm on wasmtime: one JSON line in is one request, one line out is what became of it. Steps 1 to 10,
//! without Envoy.
//!
//! `holdpoint-abi MODULE CONFIGURATION`, both files. A module that traps is thrown away and a fresh one takes the next
//! request, as Envoy would do; the trap is the answer.

use std::io::{BufRead, Write};

use wasmtime::{Config, Engine, Module, OptLevel};

mod calls;
mod host;
mod request;

use host::Vm;
use request::{Asked, Became};

fn main() -> wasmtime::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(module), Some(configuration)) = (arguments.next(), arguments.next()) else {
        wasmtime::bail!("usage: holdpoint-abi MODULE CONFIGURATION");
    };
    let configuration = std::fs::read(configuration)?;
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::None);
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, module)?;
    let mut vm = Vm::start(&engine, &module, configuration.clone())?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked: Asked = serde_json::from_str(&line?).map_err(|error| wasmtime::format_err!("{error}"))?;
        let became = match vm.play(&asked) {
            Ok(became) => became,
            Err(error) => {
                vm = Vm::start(&engine, &module, configuration.clone())?;
                Became { trap: Some(format!("{error:?}")), ..Became::default() }
            }
        };
        let line = serde_json::to_string(&became).map_err(|error| wasmtime::format_err!("{error}"))?;
        writeln!(out, "{line}")?;
    }
    Ok(())
}
