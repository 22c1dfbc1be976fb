//! Step 12: an entry as the JSON text in which it is sent, written by hand: the filter writes one for every call, and
//! most of what a general writer does is to find out what stands here. A test holds the two to the same text.

use super::AuditEntry;
use super::payload::{Payload, PayloadDigest};
use crate::digest::Digest;
use crate::identity::Principal;
use crate::json::canonical;

impl AuditEntry {
    /// The entry as JSON, byte for byte what its `Serialize` writes.
    ///
    /// The error is that of a part that only the general writer knows, and none of them has any.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        // Most entries fit, and so are not moved while they grow.
        const ROOM_BYTES: usize = 1_024;
        // Taken apart, so that nobody adds a field and forgets it here.
        let Self {
            schema,
            kind,
            at_ms,
            source,
            principal,
            server,
            method,
            protocol_version,
            mcp_session,
            target,
            call_digest,
            definition,
            verdict,
            rule_ids,
            snapshot_id,
            basis,
            observed,
            candidate,
            audit,
            constraints,
            approval_id,
            hold_id,
            status,
            by,
            keys,
            detail,
            outcome,
            http_status,
            answer_bytes,
            arguments,
            result,
            erased,
            latency_ms,
            trace_id,
            span_id,
            parent_span_id,
            payload: _,
        } = self;
        let mut out = Text(String::with_capacity(ROOM_BYTES));
        out.0.push_str("{\"schema\":");
        canonical::string(schema, &mut out.0);
        out.word(",\"kind\":\"", kind.as_str());
        out.number(",\"at_ms\":", *at_ms);
        out.string(",\"source\":", source.as_deref());
        if let Some(principal) = principal {
            out.principal(principal)?;
        }
        out.string(",\"server\":", server.as_deref());
        out.string(",\"method\":", method.as_deref());
        out.string(",\"protocol_version\":", protocol_version.as_deref());
        out.digest(",\"mcp_session\":\"", mcp_session.as_ref());
        out.string(",\"target\":", target.as_deref());
        out.digest(",\"call_digest\":\"", call_digest.as_ref());
        out.digest(",\"definition\":\"", definition.as_ref());
        if let Some(verdict) = verdict {
            out.word(",\"verdict\":\"", verdict.as_str());
        }
        out.strings(",\"rule_ids\":[", rule_ids);
        out.digest(",\"snapshot_id\":\"", snapshot_id.as_ref());
        out.digest(",\"basis\":\"", basis.as_ref());
        out.any(",\"observed\":", observed.as_ref())?;
        out.any(",\"candidate\":", candidate.as_ref())?;
        if let Some(level) = audit {
            out.word(",\"audit\":\"", level.as_str());
        }
        out.string(",\"constraints\":", constraints.as_deref());
        out.string(",\"approval_id\":", approval_id.as_deref());
        out.string(",\"hold_id\":", hold_id.as_deref());
        out.string(",\"status\":", status.as_deref());
        out.string(",\"by\":", by.as_deref());
        out.strings(",\"keys\":[", keys);
        out.string(",\"detail\":", detail.as_deref());
        if let Some(outcome) = outcome {
            out.word(",\"outcome\":\"", outcome.as_str());
        }
        if let Some(http_status) = http_status {
            out.number(",\"http_status\":", u64::from(*http_status));
        }
        if let Some(answer_bytes) = answer_bytes {
            out.number(",\"answer_bytes\":", *answer_bytes);
        }
        out.payload(",\"arguments\":{\"level\":\"", arguments.as_ref());
        out.payload(",\"result\":{\"level\":\"", result.as_ref());
        out.any(",\"erased\":", Some(erased).filter(|erased| !erased.is_empty()))?;
        if let Some(latency_ms) = latency_ms {
            out.number(",\"latency_ms\":", *latency_ms);
        }
        out.string(",\"trace_id\":", trace_id.as_deref());
        out.string(",\"span_id\":", span_id.as_deref());
        out.string(",\"parent_span_id\":", parent_span_id.as_deref());
        out.0.push('}');
        Ok(out.0)
    }
}

impl Payload {
    /// As JSON, byte for byte what its `Serialize` writes.
    pub fn to_text(&self) -> String {
        let Self { salt, arguments, result, kept_since_ms: _ } = self;
        let texts =
            [arguments, result].into_iter().flatten().fold(64_usize, |sum, text| sum.saturating_add(text.len()));
        let mut out = Text(String::with_capacity(texts));
        out.0.push_str("{\"salt\":\"");
        salt.push_hex(&mut out.0);
        out.0.push('"');
        out.string(",\"arguments\":", arguments.as_deref());
        out.string(",\"result\":", result.as_deref());
        out.0.push('}');
        out.0
    }
}

/// What has been written. Each beginning holds the comma, the name and, where the value cannot need an escape, its first
/// quote.
struct Text(String);

impl Text {
    fn word(&mut self, beginning: &str, word: &str) {
        self.0.push_str(beginning);
        self.0.push_str(word);
        self.0.push('"');
    }

    fn number(&mut self, beginning: &str, number: u64) {
        self.0.push_str(beginning);
        push_number(&mut self.0, number);
    }

    fn digest(&mut self, beginning: &str, digest: Option<&Digest>) {
        if let Some(digest) = digest {
            self.0.push_str(beginning);
            digest.push_text(&mut self.0);
            self.0.push('"');
        }
    }

    fn string(&mut self, beginning: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.0.push_str(beginning);
            canonical::string(text, &mut self.0);
        }
    }

    fn strings(&mut self, beginning: &str, texts: &[String]) {
        let Some((first, others)) = texts.split_first() else { return };
        self.0.push_str(beginning);
        canonical::string(first, &mut self.0);
        for other in others {
            self.0.push(',');
            canonical::string(other, &mut self.0);
        }
        self.0.push(']');
    }

    /// What is written so seldom that the general writer may do it.
    fn any(&mut self, beginning: &str, value: Option<&impl serde::Serialize>) -> Result<(), serde_json::Error> {
        if let Some(value) = value {
            self.0.push_str(beginning);
            self.0.push_str(&serde_json::to_string(value)?);
        }
        Ok(())
    }

    fn principal(&mut self, principal: &Principal) -> Result<(), serde_json::Error> {
        let Principal { issuer, subject, agent_id, actor_type, tenant, groups, scopes } = principal;
        self.string(",\"principal\":{\"issuer\":", Some(issuer));
        self.string(",\"subject\":", Some(subject));
        self.string(",\"agent_id\":", agent_id.as_deref());
        self.word(",\"actor_type\":\"", actor_type.as_str());
        self.string(",\"tenant\":", tenant.as_deref());
        self.any(",\"groups\":", Some(groups).filter(|groups| !groups.is_empty()))?;
        self.any(",\"scopes\":", Some(scopes).filter(|scopes| !scopes.is_empty()))?;
        self.0.push('}');
        Ok(())
    }

    fn payload(&mut self, beginning: &str, said: Option<&PayloadDigest>) {
        let Some(PayloadDigest { level, bytes, digest, cut_to_bytes, lost }) = said else { return };
        self.word(beginning, level.as_str());
        self.number(",\"bytes\":", *bytes);
        self.digest(",\"digest\":\"", digest.as_ref());
        if let Some(cut_to_bytes) = cut_to_bytes {
            self.number(",\"cut_to_bytes\":", *cut_to_bytes);
        }
        if let Some(lost) = lost {
            self.word(",\"lost\":\"", lost.as_str());
        }
        self.0.push('}');
    }
}

fn push_number(out: &mut String, number: u64) {
    let mut digits = ['0'; 20];
    let mut rest = number;
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = char::from(b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or_default()));
        used = used.saturating_add(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len().saturating_sub(used)));
}

#[cfg(test)]
mod tests;
