//! Preloaded into a process by `wall_clock.rs`: its `CLOCK_REALTIME` is ahead by the seconds that a file holds.
#![no_std]

use core::ffi::{c_char, c_int, c_long, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

#[link(name = "c")]
unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, size: usize, protect: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn abort() -> !;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const CLOCK_REALTIME: c_int = 0;
const READ: c_int = 1;
const SHARED: c_int = 1;

/// The file, mapped when the clock is first read.
static AHEAD: AtomicPtr<i64> = AtomicPtr::new(core::ptr::null_mut());

fn ahead_s() -> i64 {
    let mut at = AHEAD.load(Ordering::Acquire);
    if at.is_null() {
        // SAFETY: constant, terminated names; the mapping is never undone, and as long as the file.
        unsafe {
            let path = getenv(c"HOLDPOINT_WALL_CLOCK".as_ptr());
            if path.is_null() {
                return 0;
            }
            let file = open(path, 0);
            let mapped = mmap(core::ptr::null_mut(), 8, READ, SHARED, file, 0);
            if mapped as isize == -1 {
                abort();
            }
            at = mapped.cast();
        }
        AHEAD.store(at, Ordering::Release);
    }
    // SAFETY: eight bytes are mapped there, page-aligned.
    unsafe { core::ptr::read_volatile(at) }
}

/// As the C library's.
///
/// # Safety
/// `at` must be valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, at: *mut Timespec) -> c_int {
    // SAFETY: the caller's pointer goes to the kernel as it came.
    unsafe {
        let status = syscall(CLOCK_GETTIME, clock, at) as c_int;
        if status == 0 && clock == CLOCK_REALTIME {
            (*at).seconds += ahead_s();
        }
        status
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: takes nothing.
    unsafe { abort() }
}
