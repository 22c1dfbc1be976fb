//! How the command line prints: a reader that has gone (`holdpoint audit tail | head`) ends the program, without a panic.
//!
//! The macros take the place of those of the standard library in every file below `cli`; `cli.rs` declares this one first.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes to standard output. Ends the program where nobody reads, or where nothing can be written.
pub fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        // The reader has seen enough, which is no failure of ours.
        std::process::exit(0);
    }
    let _ = writeln!(std::io::stderr(), "holdpoint: cannot write to standard output: {error}");
    std::process::exit(1);
}

/// Writes to standard error, which nobody has to read.
pub fn write_aside(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

macro_rules! print {
    ($($text:tt)*) => { crate::cli::print::write(format_args!($($text)*)) };
}

macro_rules! println {
    () => { crate::cli::print::write(format_args!("\n")) };
    ($($text:tt)*) => { crate::cli::print::write(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { crate::cli::print::write_aside(format_args!("{}\n", format_args!($($text)*))) };
}
