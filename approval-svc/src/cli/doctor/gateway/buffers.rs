//! Whether Envoy keeps as much of a message as the filter is told to read. Where it does not, it cuts off or refuses in words
//! of its own what the filter would have taken, or refused in the protocol's.

use holdpoint_core::config::FilterConfig;

use super::{Findings, Route, is_passthrough, number};

/// What Envoy keeps where nothing is configured.
pub(super) const BYTES_DEFAULT: u64 = 1_048_576;

/// `listener_bytes` holds for whatever route says nothing.
pub(super) fn examine(routes: &[Route<'_>], listener_bytes: u64, config: &FilterConfig, seen: &mut Findings) {
    let (bodies, answers) = (config.limits.body_bytes_max, config.limits.answer_bytes_max);
    let (mut small_for_bodies, mut small_for_answers) = (Vec::new(), Vec::new());
    for route in routes.iter().filter(|route| !is_passthrough(route)) {
        let own = [&route.route["request_body_buffer_limit"], &route.host["request_body_buffer_limit"]];
        let own = own.into_iter().find_map(number);
        // A route may ask for more than its listener, and one that asks for less gets what the listener has.
        let bytes = own.map_or(listener_bytes, |own| own.max(listener_bytes));
        let told = format!("{bytes} on {}", route.name);
        // A body of one byte more is the filter's to refuse.
        if bytes < bodies || (own.is_some() && bytes == bodies) {
            small_for_bodies.push(told.clone());
        }
        if bytes < answers {
            small_for_answers.push(told);
        }
    }
    if !small_for_bodies.is_empty() {
        let found = format!(
            "Envoy cuts bodies off that the filter would take (body_bytes_max {bodies}): {}",
            small_for_bodies.join(", ")
        );
        let mend = format!("make `request_body_buffer_limit` of the route larger than {bodies}");
        seen.warning("body limit", found, mend);
    }
    if small_for_answers.is_empty() {
        seen.ok("answer limit", format!("Envoy keeps as much of an answer as the filter reads ({answers} bytes)"));
    } else {
        let found = format!(
            "Envoy refuses answers that the filter would read (answer_bytes_max {answers}): {}",
            small_for_answers.join(", ")
        );
        let mend = format!(
            "make the listener's `per_connection_buffer_limit_bytes`, or `request_body_buffer_limit` of the route, at least \
             {answers}: it holds for answers too"
        );
        seen.warning("answer limit", found, mend);
    }
}
