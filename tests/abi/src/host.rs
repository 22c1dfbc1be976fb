//! One VM with the filter in it: what a proxy-wasm host keeps, and the callbacks in Envoy's order.

use std::collections::{BTreeMap, BTreeSet};

use wasmtime::{Caller, Engine, Extern, Instance, Linker, Module, Store, WasmParams, WasmResults};

use crate::calls;
use crate::request::{Asked, Became};

/// Continue, in the ABI's numbers; 1 is pause.
const CONTINUE: u32 = 0;
const ROOT: u32 = 1;

/// What host calls act on.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) configuration: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) answer_headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) answer_body: Vec<u8>,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(crate) metrics: Vec<Vec<u8>>,
    pub(crate) fault: Option<(String, u32)>,
    pub(crate) called: BTreeSet<&'static str>,
    /// Every callback and every host call since the request began, in their order.
    pub(crate) made: Vec<String>,
    pub(crate) reply: Option<(u32, String)>,
    pub(crate) edits: Vec<(String, Option<String>)>,
    pub(crate) callouts: u32,
    pub(crate) log: String,
}

/// A running module.
pub(crate) struct Vm {
    store: Store<Host>,
    instance: Instance,
    contexts: u32,
}

impl Vm {
    /// Starts the module under `configuration`.
    pub(crate) fn start(engine: &Engine, module: &Module, configuration: Vec<u8>) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        calls::define(&mut linker)?;
        linker.define_unknown_imports_as_traps(module)?;
        let size = u32::try_from(configuration.len())?;
        let mut store = Store::new(engine, Host { configuration, ..Host::default() });
        store.data_mut().properties.insert("plugin_name".to_owned(), b"holdpoint".to_vec());
        let instance = linker.instantiate(&mut store, module)?;
        let mut vm = Self { store, instance, contexts: ROOT };
        vm.call::<(), ()>("_initialize", ())?;
        vm.call::<(u32, u32), ()>("proxy_on_context_create", (ROOT, 0))?;
        let started: u32 = vm.call("proxy_on_vm_start", (ROOT, 0_u32))?;
        let configured: u32 = vm.call("proxy_on_configure", (ROOT, size))?;
        if started == 0 || configured == 0 {
            wasmtime::bail!("the filter refuses its configuration: {}", vm.store.data().log);
        }
        Ok(vm)
    }

    /// Plays one request from its head to its log line. An error is a trap.
    pub(crate) fn play(&mut self, asked: &Asked) -> wasmtime::Result<Became> {
        self.contexts += 1;
        let context = self.contexts;
        let host = self.store.data_mut();
        host.headers.clone_from(&asked.headers);
        host.body.clear();
        host.properties.extend(asked.properties.iter().cloned());
        host.fault.clone_from(&asked.fault);
        host.called.clear();
        host.made.clear();
        host.reply = None;
        host.edits.clear();
        let mut became = Became::default();

        self.call::<(u32, u32), ()>("proxy_on_context_create", (context, ROOT))?;
        let count = u32::try_from(asked.headers.len())?;
        let ends = asked.body.is_empty() && !asked.has_trailers;
        let mut action: u32 = self.call("proxy_on_request_headers", (context, count, u32::from(ends)))?;
        let mut goes_on = action == CONTINUE && self.store.data().reply.is_none();
        became.forwarded_early = goes_on && !ends;
        for (index, piece) in asked.body.iter().enumerate() {
            if self.store.data().reply.is_some() {
                break;
            }
            self.store.data_mut().body.extend_from_slice(piece);
            let ends = index + 1 == asked.body.len() && !asked.has_trailers;
            let size = u32::try_from(self.store.data().body.len())?;
            action = self.call("proxy_on_request_body", (context, size, u32::from(ends)))?;
            goes_on = action == CONTINUE && self.store.data().reply.is_none();
            became.forwarded_early |= goes_on && !ends;
        }
        if asked.has_trailers && self.store.data().reply.is_none() {
            action = self.call("proxy_on_request_trailers", (context, 1_u32))?;
            goes_on = action == CONTINUE && self.store.data().reply.is_none();
        }
        if goes_on && let Some((headers, body)) = &asked.answer {
            let host = self.store.data_mut();
            host.answer_headers.clone_from(headers);
            host.answer_body.clone_from(body);
            let (count, size) = (u32::try_from(headers.len())?, u32::try_from(body.len())?);
            let _: u32 = self.call("proxy_on_response_headers", (context, count, 0_u32))?;
            let _: u32 = self.call("proxy_on_response_body", (context, size, 1_u32))?;
        }
        // A tick is not the request's.
        let made = std::mem::take(&mut self.store.data_mut().made);
        self.call::<(u32,), ()>("proxy_on_tick", (ROOT,))?;
        self.store.data_mut().made = made;
        self.call::<(u32,), ()>("proxy_on_log", (context,))?;
        let _: u32 = self.call("proxy_on_done", (context,))?;
        self.call::<(u32,), ()>("proxy_on_delete", (context,))?;

        let host = self.store.data_mut();
        became.forwarded = goes_on;
        became.reply = host.reply.take();
        became.edits = std::mem::take(&mut host.edits);
        became.made = std::mem::take(&mut host.made);
        became.calls = host.called.iter().map(|name| (*name).to_owned()).collect();
        Ok(became)
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> wasmtime::Result<R> {
        self.store.data_mut().made.push(format!("> {name}"));
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name)?;
        function.call(&mut self.store, parameters)
    }
}

/// The module's memory.
pub(crate) fn memory(caller: &mut Caller<'_, Host>) -> wasmtime::Result<wasmtime::Memory> {
    caller.get_export("memory").and_then(Extern::into_memory).ok_or_else(|| wasmtime::format_err!("no memory"))
}

/// Bytes of the module's memory.
pub(crate) fn read(caller: &mut Caller<'_, Host>, at: u32, size: u32) -> wasmtime::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    memory(caller)?.read(&caller, at as usize, &mut bytes)?;
    Ok(bytes)
}

/// Writes a number.
pub(crate) fn put(caller: &mut Caller<'_, Host>, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    memory(caller)?.write(caller, at as usize, bytes)?;
    Ok(())
}

/// Hands bytes over: the module allocates, and gets pointer and size.
pub(crate) fn give(caller: &mut Caller<'_, Host>, bytes: &[u8], at: u32, size_at: u32) -> wasmtime::Result<()> {
    let size = u32::try_from(bytes.len())?;
    let mut pointer = 0_u32;
    if size > 0 {
        let allocate = caller.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
        let allocate = allocate.ok_or_else(|| wasmtime::format_err!("the module does not allocate"))?;
        pointer = allocate.typed::<u32, u32>(&caller)?.call(&mut *caller, size)?;
        put(caller, pointer, bytes)?;
    }
    put(caller, at, &pointer.to_le_bytes())?;
    put(caller, size_at, &size.to_le_bytes())
}
