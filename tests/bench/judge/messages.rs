//! The few fields of Envoy's messages that the judge reads, and its answers, which never change.
//!
//! `CheckRequest` and `CheckResponse` of `envoy.service.auth.v3`, `ProcessingRequest` and `ProcessingResponse` of
//! `envoy.service.ext_proc.v3`, with the numbers of their published definitions.

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// `attributes.request.http.raw_body` of a `CheckRequest`.
pub(super) const CHECKED_BODY: &[u32] = &[1, 4, 2, 12];
/// `request_body.body` of a `ProcessingRequest`.
pub(super) const PROCESSED_BODY: &[u32] = &[4, 1];

/// A `CheckResponse` with `status.code` 0.
pub(super) const CHECKED_YES: &[u8] = &[0x0a, 0];
/// The same with 7, `PERMISSION_DENIED`.
pub(super) const CHECKED_NO: &[u8] = &[0x0a, 2, 0x08, 7];
/// A `ProcessingResponse` with an empty `request_body`: go on, with the body as it is.
pub(super) const PROCESSED_YES: &[u8] = &[0x1a, 0];
/// A `ProcessingResponse` with `immediate_response.status.code` 403.
pub(super) const PROCESSED_NO: &[u8] = &[0x3a, 5, 0x0a, 3, 0x08, 0x93, 0x03];

/// The text at the end of a path of fields; of repeated ones the last, as the standard says. `None` for what is not there
/// or cannot be read.
pub(crate) fn bytes_at(message: Bytes, path: &[u32]) -> Option<Bytes> {
    path.iter().try_fold(message, |message, tag| field(message, *tag))
}

fn field(mut message: Bytes, wanted: u32) -> Option<Bytes> {
    let mut found = None;
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        if (tag, wire_type) == (wanted, WireType::LengthDelimited) {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            found = Some((length <= message.remaining()).then(|| message.split_to(length))?);
        } else {
            skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
        }
    }
    found
}
