//! The record as evidence: what it demands, what survives, and what tampering with it shows. One file per story.

mod attacks;
mod beside;
mod desk;
mod documented;
mod floods;
mod independent;
mod keys;
mod killed;
mod metrics;
mod required;
mod traces;
