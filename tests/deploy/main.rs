//! What a platform engineer installs: rendered configuration, checked against published schemas and run by a real Envoy.
//! One module for each way in.

mod rig;

mod plain;

mod istio;
mod mesh;

mod envoy_gateway;

mod schema;
