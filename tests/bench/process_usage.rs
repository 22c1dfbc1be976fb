//! What the kernel says of a process's time on a processor. `None` on systems without Linux's `/proc`.

use std::fs;
use std::path::Path;

/// Time that all threads of a process have spent on a processor so far, in nanoseconds. Unlike the time a call takes,
/// it hardly depends on what else the machine does.
pub(crate) fn cpu_ns(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let each = threads.filter_map(|thread| on_processor_ns(&thread.ok()?.path().join("schedstat")));
    Some(each.sum())
}

/// The same for the calling thread alone.
pub(crate) fn own_thread_cpu_ns() -> Option<u64> {
    on_processor_ns(Path::new("/proc/thread-self/schedstat"))
}

/// The same for a thread of this process, by the number that the system gave it.
pub(crate) fn thread_cpu_ns(thread_id: i32) -> Option<u64> {
    on_processor_ns(&Path::new("/proc/self/task").join(thread_id.to_string()).join("schedstat"))
}

/// The number that the system gave the calling thread.
pub(crate) fn own_thread_id() -> Option<i32> {
    // `<process>/task/<thread>`
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// What was spent between two readings.
pub(crate) fn since(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// The first field of `schedstat` (Documentation/scheduler/sched-stats.rst).
fn on_processor_ns(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()
}
