//! The harness: everything that stands around the main path when it is tested or shown, real wherever a user's would be.
//!
//! Read in this order: where things lie and how they are built, what keeps a child process honest, the parts (Envoy,
//! service, issuer, upstream, client), and `stack`, which puts them together so that a test reads in ten lines.
//! All of it is tokio; only building and installing block, once per process.

pub mod cargo;
pub mod repository;

pub mod envoy_binary;
pub mod service_binary;
pub mod wasm;

pub mod installed;
pub mod kustomize;
pub mod node;
pub mod python;

pub mod ports;
pub mod probe;
pub mod process;

pub mod envoy;
pub mod envoy_config;
pub mod filter_document;
pub mod idp;
pub mod oidc_provider;
pub mod pgbouncer;
pub mod postgres;
pub mod service;
pub mod tls;
pub mod upstream;
pub mod wall_clock;

pub mod approver;
pub mod asker;
pub mod client;
pub mod corpus;
pub mod impostor;
pub mod relay;
pub mod skew;
pub mod small_disk;
pub mod stack;
pub mod wire;
