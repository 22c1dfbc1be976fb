//! The host calls the filter uses, each one thin and without a panic. Serves steps 1, 2, 8 and 10.
//!
//! The SDK's own wrappers panic on any status they do not expect, and a panic kills the VM together with every call it
//! holds. Here every call answers with a value the caller can refuse on. The ABI is proxy-wasm 0.2.1
//! (<https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>).
#![expect(
    unsafe_code,
    reason = "the proxy-wasm ABI is C functions over raw pointers; nothing else in the filter is unsafe"
)]

use std::ptr::null_mut;

/// A host call did not do what it was asked; the number is the ABI's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostError(pub(crate) u32);

const STATUS_OK: u32 = 0;
const STATUS_NOT_FOUND: u32 = 1;
/// `proxy_set_shared_data` lost the compare-and-set.
pub(crate) const STATUS_CAS_MISMATCH: u32 = 8;

/// Which header map.
#[derive(Clone, Copy)]
pub(crate) enum Headers {
    Request = 0,
    Response = 2,
    CalloutResponse = 6,
}

/// Which body.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    Request = 0,
    Response = 1,
    CalloutResponse = 4,
    PluginConfiguration = 7,
}

mod sys {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context_id: u32) -> u32;
        pub(super) fn proxy_continue_stream(stream_type: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            size_max: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_buffer_bytes(
            buffer: u32,
            start: usize,
            size: usize,
            data: *const u8,
            data_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize)
        -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            cas: u32,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
        pub(super) fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
        pub(super) fn proxy_get_log_level(level: *mut u32) -> u32;
        pub(super) fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    }
}

fn checked(status: u32) -> Result<(), HostError> {
    match status {
        STATUS_OK => Ok(()),
        other => Err(HostError(other)),
    }
}

/// Takes over a block that the host allocated through `proxy_on_memory_allocate`.
fn owned(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host filled a block of exactly `size` bytes that the SDK's `proxy_on_memory_allocate` took from this
    // module's allocator as a boxed slice, and hands its ownership over with the pointer.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

#[allow(unsafe_code)]
mod wasi {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    }
}

/// WASI's number of the clock that is never set.
const CLOCK_MONOTONIC: u32 = 1;

/// The host's steady clock in microseconds since any time; `None` where it has none.
pub(crate) fn steady_us() -> Option<u64> {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is to a live local.
    let errno = unsafe { wasi::clock_time_get(CLOCK_MONOTONIC, 1, &raw mut nanoseconds) };
    (errno == 0 && nanoseconds > 0).then_some(nanoseconds / 1_000)
}

/// Unix time in microseconds, as the wall clock shows it.
pub(crate) fn wall_us() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is to a live local.
    let status = unsafe { sys::proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    if status == STATUS_OK { nanoseconds / 1_000 } else { 0 }
}

/// The level of Envoy's logger `wasm`: 0 trace, 1 debug, 2 info, 3 warn, and on to 6 off.
pub(crate) fn log_level() -> Option<u32> {
    let mut level = 0;
    // SAFETY: the pointer is to a live local.
    let status = unsafe { sys::proxy_get_log_level(&raw mut level) };
    (status == STATUS_OK).then_some(level)
}

/// Writes one line to Envoy's log. Whether the host took it cannot be said anywhere else, so nobody is told.
pub(crate) fn log(level: u32, line: &str) {
    // SAFETY: pointer and length belong to a live slice.
    let _ = unsafe { sys::proxy_log(level, line.as_ptr(), line.len()) };
}

/// Asks for a tick every `period_ms` on this root context.
pub(crate) fn set_tick_period_ms(period_ms: u32) -> Result<(), HostError> {
    // SAFETY: takes no pointer.
    checked(unsafe { sys::proxy_set_tick_period_milliseconds(period_ms) })
}

/// Makes the following host calls act on `context_id`; an error means that its stream is gone.
pub(crate) fn set_effective_context(context_id: u32) -> Result<(), HostError> {
    // SAFETY: takes no pointer.
    checked(unsafe { sys::proxy_set_effective_context(context_id) })
}

/// Lets the paused request of the effective context go on.
pub(crate) fn continue_request() -> Result<(), HostError> {
    // SAFETY: takes no pointer; 0 is the request side.
    checked(unsafe { sys::proxy_continue_stream(0) })
}

/// `size_max` bytes of a body that is buffered now, from `start` on. The host refuses sums that do not fit 32 bits.
pub(crate) fn body_part(which: Body, start: usize, size_max: usize) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    // SAFETY: the pointers are to live locals.
    let status = unsafe { sys::proxy_get_buffer_bytes(which as u32, start, size_max, &raw mut data, &raw mut size) };
    (status == STATUS_OK).then(|| owned(data, size))
}

/// Puts bytes behind all of a body that is buffered now.
pub(crate) fn append_body(which: Body, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and length belong to a live slice.
    checked(unsafe { sys::proxy_set_buffer_bytes(which as u32, usize::MAX, 0, bytes.as_ptr(), bytes.len()) })
}

/// All bytes of a body that are buffered now; `None` when there are none or they cannot be read.
pub(crate) fn body(which: Body) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    // SAFETY: the pointers are to live locals.
    let status = unsafe { sys::proxy_get_buffer_bytes(which as u32, 0, usize::MAX, &raw mut data, &raw mut size) };
    (status == STATUS_OK).then(|| owned(data, size))
}

/// Replaces all of a body that is buffered now.
pub(crate) fn replace_body(which: Body, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointer and length belong to a live slice.
    checked(unsafe { sys::proxy_set_buffer_bytes(which as u32, 0, usize::MAX, bytes.as_ptr(), bytes.len()) })
}

/// All headers as a list for [`super::pairs::read`], repeated ones repeated; `None` when the map is not there in this
/// callback.
pub(crate) fn headers(which: Headers) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    // SAFETY: the pointers are to live locals.
    let status = unsafe { sys::proxy_get_header_map_pairs(which as u32, &raw mut data, &raw mut size) };
    (status == STATUS_OK).then(|| owned(data, size))
}

/// Sets a header to one value, whatever it was.
pub(crate) fn replace_header(which: Headers, name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths belong to live slices.
    checked(unsafe {
        sys::proxy_replace_header_map_value(which as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes every value of a header.
pub(crate) fn remove_header(which: Headers, name: &str) -> Result<(), HostError> {
    // SAFETY: pointer and length belong to a live slice.
    checked(unsafe { sys::proxy_remove_header_map_value(which as u32, name.as_ptr(), name.len()) })
}

/// A property by its path, parts joined by NUL; `None` when it is not there.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    // SAFETY: pointers are to live locals, or a live slice with its length.
    let status = unsafe { sys::proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) };
    (status == STATUS_OK).then(|| owned(data, size))
}

/// Writes filter state `wasm.<name>`, which the access log and later filters can read.
pub(crate) fn set_filter_state(name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: pointers and lengths belong to live slices.
    checked(unsafe { sys::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// A value shared by all workers, and its compare-and-set number (0 when the key is new).
pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), HostError> {
    let mut data = null_mut();
    let mut size = 0;
    let mut cas = 0;
    // SAFETY: pointers are to live locals, or a live slice with its length.
    let status =
        unsafe { sys::proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut data, &raw mut size, &raw mut cas) };
    match status {
        STATUS_OK => Ok((owned(data, size), cas)),
        STATUS_NOT_FOUND => Ok((Vec::new(), 0)),
        other => Err(HostError(other)),
    }
}

/// Writes a shared value if its number is still `cas`; the error [`STATUS_CAS_MISMATCH`] says that it is not.
pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), HostError> {
    // SAFETY: pointers and lengths belong to live slices.
    checked(unsafe { sys::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

/// Answers the client instead of the server. `details` shows in the access log's response code details.
pub(crate) fn send_local_reply(
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    details: &str,
) -> Result<(), HostError> {
    let headers = super::pairs::write(headers);
    // SAFETY: pointers and lengths belong to live slices; -1 means that this is no gRPC answer.
    checked(unsafe {
        sys::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// Kind of metric, as the ABI numbers them.
#[derive(Clone, Copy)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// Defines a metric, or finds it; answers its id in this VM.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Result<u32, HostError> {
    let mut id = 0;
    // SAFETY: the pointer is to a live local, the name's pointer and length to a live slice.
    let status = unsafe { sys::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    checked(status).map(|()| id)
}

/// Adds to a metric.
pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), HostError> {
    // SAFETY: takes no pointer.
    checked(unsafe { sys::proxy_increment_metric(id, offset) })
}

/// Sets a gauge.
pub(crate) fn set_metric(id: u32, value: u64) -> Result<(), HostError> {
    // SAFETY: takes no pointer.
    checked(unsafe { sys::proxy_record_metric(id, value) })
}

/// The value of a metric: the same for all VMs of a process.
pub(crate) fn metric(id: u32) -> Result<u64, HostError> {
    let mut value = 0;
    // SAFETY: the pointer is to a live local.
    checked(unsafe { sys::proxy_get_metric(id, &raw mut value) }).map(|()| value)
}

/// The whole memory of this VM, in bytes.
pub(crate) fn memory_bytes() -> u64 {
    const PAGE_BYTES: u64 = 65_536;
    u64::try_from(core::arch::wasm32::memory_size::<0>()).unwrap_or(u64::MAX).saturating_mul(PAGE_BYTES)
}
