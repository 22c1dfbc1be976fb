//! What people see on a terminal, on a real one: the watch, the demo, the doctor. The human side of step 8.

mod demo;
mod doctor;
mod pty;
mod watch;
