//! What a platform engineer installs: rendered configuration, checked against published schemas and run by a real Envoy, one
//! module for each way in; then what runs the service (Kubernetes, systemd, an empty image), and the packages.

mod rig;

mod plain;

mod istio;
mod mesh;

mod envoy_gateway;

mod schema;

mod image;
mod kubernetes;
mod machine;
mod packages;
mod pages;
