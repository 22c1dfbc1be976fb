//! Step 12, for the operator: lines for Envoy's log. A line that the host does not take is lost and nothing else is.
//!
//! The SDK's own logger panics then, which would kill the VM with every call it holds.

use super::abi;

/// Envoy's logger `wasm`.
struct EnvoyLog;

static ENVOY_LOG: EnvoyLog = EnvoyLog;

/// The levels as the ABI numbers them.
fn number(level: log::Level) -> u32 {
    match level {
        log::Level::Trace => 0,
        log::Level::Debug => 1,
        log::Level::Info => 2,
        log::Level::Warn => 3,
        log::Level::Error => 4,
    }
}

/// The ABI's level `critical`.
const CRITICAL: u32 = 5;

/// Sends every line from now on to Envoy, and what a panic says as well.
pub(super) fn install() {
    // It fails only where a logger is installed already, which then is this one.
    if log::set_logger(&ENVOY_LOG).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
        std::panic::set_hook(Box::new(|panic| abi::log(CRITICAL, &panic.to_string())));
    }
}

impl log::Log for EnvoyLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            abi::log(number(record.level()), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}
