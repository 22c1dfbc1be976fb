//! Several services on one PostgreSQL server: any of them serves any call, and nothing is lost or run twice whatever dies.

mod ground;

mod beginning;
mod collector;
mod decisions;
mod faults;
mod limits;
mod load;
