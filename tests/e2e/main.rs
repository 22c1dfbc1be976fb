//! Every behaviour of the whole path, on a real Envoy. One module per story; later stories are added to the list.

mod gateway;
mod service;
mod services;

mod clients;
mod credentials;
mod held;
mod identity;
mod long_hold;
mod matrix;
mod operator;
mod policy_update;
mod refused;
mod rollout;

mod batch;
mod framing;
mod record;
mod rounds;
mod routes;
mod sessions;
mod skew;
