//! Every way to lie, as data: each case of `tests/corpus/*.yaml` through the reader and through real gateways, and the
//! table of README.md made from what happened. Steps 1 to 10.

mod gateway;
mod table;

mod envoy;
mod fuzz;
mod reader;
