//! Every behaviour of the whole path, on a real Envoy. One module per story; later stories are added to the list.

mod gateway;
mod service;
