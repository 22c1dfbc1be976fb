//! The host calls that the filter makes (ABI 0.2.1, and a little of WASI), each honest unless it is told to fail.

use wasmtime::{Caller, Linker};

use crate::host::{Host, give, put, read};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;

/// Some day in 2026, in nanoseconds.
const NOW_NS: u64 = 1_790_000_000_000_000_000;

/// The names of `define`d calls that can be told to fail.
fn fault(caller: &mut Caller<'_, Host>, name: &'static str) -> Option<u32> {
    let host = caller.data_mut();
    host.called.insert(name);
    host.made.push(name.to_owned());
    host.fault.as_ref().filter(|(faulty, _)| faulty == name).map(|(_, status)| *status)
}

/// Says what the call that is being made is about.
fn note(caller: &mut Caller<'_, Host>, what: &str) {
    if let Some(last) = caller.data_mut().made.last_mut() {
        *last += " ";
        *last += &what.replace('\0', ".");
    }
}

/// `name(parameters) -> status`, with the fault looked up first.
macro_rules! host_call {
    ($linker:expr, $name:literal, |$caller:ident $(, $parameter:ident: $type:ty)*| $body:block) => {
        $linker.func_wrap(
            "env",
            $name,
            |mut $caller: Caller<'_, Host> $(, $parameter: $type)*| -> wasmtime::Result<u32> {
                if let Some(status) = fault(&mut $caller, $name) {
                    return Ok(status);
                }
                $body
            },
        )?;
    };
}

/// Defines all of them.
pub(crate) fn define(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    host_call!(linker, "proxy_log", |caller, _level: u32, at: u32, size: u32| {
        let line = read(&mut caller, at, size)?;
        caller.data_mut().log += &(String::from_utf8_lossy(&line).into_owned() + "\n");
        Ok(OK)
    });
    host_call!(linker, "proxy_get_log_level", |caller, at: u32| {
        put(&mut caller, at, &2_u32.to_le_bytes())?;
        Ok(OK)
    });
    host_call!(linker, "proxy_get_current_time_nanoseconds", |caller, at: u32| {
        put(&mut caller, at, &NOW_NS.to_le_bytes())?;
        Ok(OK)
    });
    host_call!(linker, "proxy_set_tick_period_milliseconds", |_caller, _period: u32| { Ok(OK) });
    host_call!(linker, "proxy_set_effective_context", |_caller, _context: u32| { Ok(OK) });
    host_call!(linker, "proxy_continue_stream", |_caller, _side: u32| { Ok(OK) });
    host_call!(linker, "proxy_done", |_caller| { Ok(OK) });
    host_call!(linker, "proxy_get_buffer_bytes", |caller, which: u32, start: u32, most: u32, at: u32, size_at: u32| {
        let host = caller.data();
        let whole = match which {
            0 => &host.body,
            1 => &host.answer_body,
            7 => &host.configuration,
            _ => return Ok(NOT_FOUND),
        };
        let rest = whole.get(start as usize..).unwrap_or_default();
        let bytes = rest.get(..(most as usize).min(rest.len())).unwrap_or_default().to_vec();
        give(&mut caller, &bytes, at, size_at)?;
        Ok(OK)
    });
    host_call!(linker, "proxy_get_header_map_pairs", |caller, which: u32, at: u32, size_at: u32| {
        let pairs = match which {
            0 => caller.data().headers.clone(),
            2 => caller.data().answer_headers.clone(),
            _ => Vec::new(),
        };
        give(&mut caller, &encoded(&pairs), at, size_at)?;
        Ok(OK)
    });
    host_call!(
        linker,
        "proxy_replace_header_map_value",
        |caller, _map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            let name = text(&mut caller, name, name_size)?;
            let value = text(&mut caller, value, value_size)?;
            note(&mut caller, &name);
            caller.data_mut().edits.push((name, Some(value)));
            Ok(OK)
        }
    );
    host_call!(linker, "proxy_remove_header_map_value", |caller, _map: u32, name: u32, name_size: u32| {
        let name = text(&mut caller, name, name_size)?;
        note(&mut caller, &name);
        caller.data_mut().edits.push((name, None));
        Ok(OK)
    });
    host_call!(linker, "proxy_get_property", |caller, path: u32, path_size: u32, at: u32, size_at: u32| {
        let path = text(&mut caller, path, path_size)?;
        note(&mut caller, &path);
        let Some(value) = caller.data().properties.get(&path).cloned() else { return Ok(NOT_FOUND) };
        give(&mut caller, &value, at, size_at)?;
        Ok(OK)
    });
    host_call!(linker, "proxy_set_property", |caller, path: u32, path_size: u32, _value: u32, _value_size: u32| {
        let path = text(&mut caller, path, path_size)?;
        note(&mut caller, &path);
        Ok(OK)
    });
    host_call!(linker, "proxy_get_shared_data", |caller,
                                                 key: u32,
                                                 key_size: u32,
                                                 at: u32,
                                                 size_at: u32,
                                                 cas_at: u32| {
        let key = read(&mut caller, key, key_size)?;
        let Some((value, cas)) = caller.data().shared.get(&key).cloned() else { return Ok(NOT_FOUND) };
        give(&mut caller, &value, at, size_at)?;
        put(&mut caller, cas_at, &cas.to_le_bytes())?;
        Ok(OK)
    });
    host_call!(linker, "proxy_set_shared_data", |caller,
                                                 key: u32,
                                                 key_size: u32,
                                                 value: u32,
                                                 value_size: u32,
                                                 cas: u32| {
        let (key, value) = (read(&mut caller, key, key_size)?, read(&mut caller, value, value_size)?);
        let stored = caller.data_mut().shared.entry(key).or_default();
        if cas != 0 && cas != stored.1 {
            return Ok(CAS_MISMATCH);
        }
        *stored = (value, stored.1 + 1);
        Ok(OK)
    });
    host_call!(linker, "proxy_define_metric", |caller, _kind: u32, name: u32, name_size: u32, id_at: u32| {
        let name = read(&mut caller, name, name_size)?;
        caller.data_mut().metrics.push(name);
        let id = u32::try_from(caller.data().metrics.len())?;
        put(&mut caller, id_at, &id.to_le_bytes())?;
        Ok(OK)
    });
    host_call!(linker, "proxy_increment_metric", |_caller, _id: u32, _by: i64| { Ok(OK) });
    host_call!(linker, "proxy_record_metric", |_caller, _id: u32, _value: u64| { Ok(OK) });
    host_call!(linker, "proxy_get_metric", |caller, _id: u32, value_at: u32| {
        put(&mut caller, value_at, &0_u64.to_le_bytes())?;
        Ok(OK)
    });
    host_call!(linker, "proxy_send_local_response", |caller,
                                                     status: u32,
                                                     _details: u32,
                                                     _details_size: u32,
                                                     body: u32,
                                                     body_size: u32,
                                                     _headers: u32,
                                                     _headers_size: u32,
                                                     _grpc: i32| {
        let body = text(&mut caller, body, body_size)?;
        caller.data_mut().reply = Some((status, body));
        Ok(OK)
    });
    host_call!(linker, "proxy_http_call", |caller,
                                           _cluster: u32,
                                           _cluster_size: u32,
                                           _headers: u32,
                                           _headers_size: u32,
                                           _body: u32,
                                           _body_size: u32,
                                           _trailers: u32,
                                           _trailers_size: u32,
                                           _timeout: u32,
                                           token_at: u32| {
        let host = caller.data_mut();
        host.callouts += 1;
        let token = host.callouts;
        put(&mut caller, token_at, &token.to_le_bytes())?;
        Ok(OK)
    });
    wasi(linker)
}

/// What the standard library asks of the system.
fn wasi(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "environ_get", |_: u32, _: u32| OK)?;
    linker.func_wrap(
        WASI,
        "environ_sizes_get",
        |mut caller: Caller<'_, Host>, count: u32, size: u32| -> wasmtime::Result<u32> {
            put(&mut caller, count, &0_u32.to_le_bytes())?;
            put(&mut caller, size, &0_u32.to_le_bytes())?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        WASI,
        "random_get",
        |mut caller: Caller<'_, Host>, at: u32, size: u32| -> wasmtime::Result<u32> {
            let bytes: Vec<u8> = (0..size).map(|n| n.to_le_bytes()[0]).collect();
            put(&mut caller, at, &bytes)?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<'_, Host>, _: u32, _: u64, at: u32| -> wasmtime::Result<u32> {
            caller.data_mut().made.push("clock_time_get".to_owned());
            put(&mut caller, at, &NOW_NS.to_le_bytes())?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(WASI, "fd_write", |_: u32, _: u32, _: u32, _: u32| 8_u32)?;
    linker.func_wrap(WASI, "proc_exit", |_: u32| -> wasmtime::Result<()> {
        wasmtime::bail!("the module ended itself")
    })?;
    Ok(())
}

fn text(caller: &mut Caller<'_, Host>, at: u32, size: u32) -> wasmtime::Result<String> {
    Ok(String::from_utf8_lossy(&read(caller, at, size)?).into_owned())
}

/// The ABI's list of pairs: a count, all lengths, then every name and value with a closing NUL.
fn encoded(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for (name, value) in pairs {
        out.extend_from_slice(&length(name));
        out.extend_from_slice(&length(value));
    }
    for (name, value) in pairs {
        for bytes in [name, value] {
            out.extend_from_slice(bytes);
            out.push(0);
        }
    }
    out
}
