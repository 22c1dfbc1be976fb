//! What `cargo bench-mesh` calls `wasm, nothing judged`: reads both heads and both bodies of a call, and lets it through.
//!
//! As Holdpoint it keeps the head of a request until its body is whole, for no call may reach a server before it is judged.
//! What this costs, no filter of this kind can avoid. Outside of wasm it is empty.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|_, _| Box::new(Call));
}}

/// One call.
struct Call;

impl Context for Call {}

impl HttpContext for Call {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        black_box(self.get_http_request_headers_bytes());
        if end_of_stream { Action::Continue } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            return Action::Pause;
        }
        black_box(self.get_http_request_body(0, size));
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        black_box(self.get_http_request_body(0, usize::MAX));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        black_box(self.get_http_response_headers_bytes());
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        if size > 0 {
            black_box(self.get_http_response_body(0, size));
        }
        Action::Continue
    }
}
