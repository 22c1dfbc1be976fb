//! Step 5: what the catalogue demands of a caller's token for one call, and whether the server gets to see it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::readings::Reading;
use crate::identity::Principal;
use crate::order;
use crate::policy::{CREDENTIAL_HEADERS, Credential};

/// The one header that `forward: true` means by itself. Cookies and the like go on only when they are named.
const FORWARDED_HEADER: &str = "authorization";

/// What becomes of a caller's credentials in one call. Header names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCredential {
    /// Headers with credentials that the server gets to see.
    pub forwarded: Vec<Cow<'static, str>>,
    /// Headers with credentials that never leave the gateway.
    pub stripped: Vec<Cow<'static, str>>,
    /// Scopes that the catalogue demands and the caller's token does not carry.
    pub missing_scopes: BTreeSet<String>,
}

impl CallCredential {
    /// Of a call that reads as `readings`: of several entries of the catalogue, each may only add caution.
    pub(super) fn of(readings: &[Reading], server: &Credential, principal: &Principal) -> Self {
        let named = || server.headers.iter().cloned().map(Cow::Owned);
        let mut forwarded = Vec::new();
        if !readings.is_empty() && readings.iter().all(|reading| reading.forwards_credential) {
            forwarded.push(Cow::Borrowed(FORWARDED_HEADER));
            forwarded.extend(named());
        }
        let known = CREDENTIAL_HEADERS.into_iter().map(Cow::Borrowed);
        let stripped = known.chain(named()).filter(|name| !forwarded.contains(name)).collect();
        let required = readings.iter().flat_map(|reading| reading.required_scopes.iter());
        let missing_scopes = order::set(required.filter(|scope| !principal.scopes.contains(*scope)).cloned());
        Self { forwarded, stripped, missing_scopes }
    }
}
