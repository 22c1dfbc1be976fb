//! Step 5: tokens that tell by their beginning who issued them.

use super::{distinct, is_word, run};

/// What a token is made of behind its beginning.
#[derive(Clone, Copy)]
enum Of {
    UpperOrDigit,
    Hex,
    Alphanumeric,
    /// Letters, digits, `_` and `-`.
    Url,
    /// As `Url`, and `.` and `~`.
    UrlDotted,
}

struct Shape {
    begins: &'static str,
    of: Of,
    /// How many bytes follow the beginning.
    least: usize,
    most: usize,
    kind: &'static str,
}

const MANY: usize = 4_096;

const fn shape(begins: &'static str, of: Of, least: usize, most: usize, kind: &'static str) -> Shape {
    Shape { begins, of, least, most, kind }
}

/// As the issuers document them, or as they were seen in the scanners that issuers feed.
const SHAPES: [Shape; 62] = [
    shape("AKIA", Of::UpperOrDigit, 16, 16, "aws-access-key"),
    shape("ASIA", Of::UpperOrDigit, 16, 16, "aws-access-key"),
    shape("ABIA", Of::UpperOrDigit, 16, 16, "aws-access-key"),
    shape("ACCA", Of::UpperOrDigit, 16, 16, "aws-access-key"),
    shape("ghp_", Of::Alphanumeric, 36, 255, "github-token"),
    shape("gho_", Of::Alphanumeric, 36, 255, "github-token"),
    shape("ghu_", Of::Alphanumeric, 36, 255, "github-token"),
    shape("ghs_", Of::Alphanumeric, 36, 255, "github-token"),
    shape("ghr_", Of::Alphanumeric, 36, 255, "github-token"),
    shape("github_pat_", Of::Url, 60, 255, "github-token"),
    shape("glpat-", Of::UrlDotted, 20, 300, "gitlab-token"),
    shape("gldt-", Of::Url, 20, 300, "gitlab-token"),
    shape("glrt-", Of::UrlDotted, 20, 300, "gitlab-token"),
    shape("glptt-", Of::Url, 20, 300, "gitlab-token"),
    shape("glcbt-", Of::Url, 20, 300, "gitlab-token"),
    shape("glsoat-", Of::Url, 20, 300, "gitlab-token"),
    shape("xoxb-", Of::Url, 24, 300, "slack-token"),
    shape("xoxa-", Of::Url, 24, 300, "slack-token"),
    shape("xoxp-", Of::Url, 24, 300, "slack-token"),
    shape("xoxr-", Of::Url, 24, 300, "slack-token"),
    shape("xoxs-", Of::Url, 24, 300, "slack-token"),
    shape("xoxe-", Of::Url, 24, 300, "slack-token"),
    shape("xapp-", Of::Url, 24, 300, "slack-token"),
    shape("AIza", Of::Url, 35, 35, "google-api-key"),
    shape("GOCSPX-", Of::Url, 28, 28, "google-client-secret"),
    shape("ya29.", Of::Url, 32, MANY, "google-oauth-token"),
    shape("sk_live_", Of::Alphanumeric, 16, 255, "stripe-key"),
    shape("sk_test_", Of::Alphanumeric, 16, 255, "stripe-key"),
    shape("rk_live_", Of::Alphanumeric, 16, 255, "stripe-key"),
    shape("rk_test_", Of::Alphanumeric, 16, 255, "stripe-key"),
    shape("whsec_", Of::Alphanumeric, 32, 255, "stripe-key"),
    shape("sk-proj-", Of::Url, 40, 400, "openai-key"),
    shape("sk-svcacct-", Of::Url, 40, 400, "openai-key"),
    shape("sk-admin-", Of::Url, 40, 400, "openai-key"),
    shape("sk-ant-", Of::Url, 40, 400, "anthropic-key"),
    shape("sk-or-v1-", Of::Hex, 64, 64, "openrouter-key"),
    shape("sk-", Of::Alphanumeric, 48, 64, "openai-key"),
    shape("npm_", Of::Alphanumeric, 36, 36, "npm-token"),
    shape("pypi-AgEIcHlwaS5vcmc", Of::Url, 50, MANY, "pypi-token"),
    shape("pypi-AgENdGVzdC5weXBpLm9yZ", Of::Url, 50, MANY, "pypi-token"),
    shape("hf_", Of::Alphanumeric, 34, 37, "huggingface-token"),
    shape("dop_v1_", Of::Hex, 64, 64, "digitalocean-token"),
    shape("doo_v1_", Of::Hex, 64, 64, "digitalocean-token"),
    shape("dckr_pat_", Of::Url, 27, 64, "docker-token"),
    shape("hvs.", Of::Url, 24, 300, "vault-token"),
    shape("hvb.", Of::Url, 90, 300, "vault-token"),
    shape("shpat_", Of::Hex, 32, 32, "shopify-token"),
    shape("shpca_", Of::Hex, 32, 32, "shopify-token"),
    shape("shpss_", Of::Hex, 32, 32, "shopify-token"),
    shape("dapi", Of::Hex, 32, 32, "databricks-token"),
    shape("lin_api_", Of::Alphanumeric, 40, 40, "linear-key"),
    shape("PMAK-", Of::Url, 59, 59, "postman-key"),
    shape("glsa_", Of::Url, 41, 60, "grafana-token"),
    shape("glc_", Of::Alphanumeric, 50, 400, "grafana-token"),
    shape("SG.", Of::UrlDotted, 66, 66, "sendgrid-key"),
    shape("key-", Of::Hex, 32, 32, "mailgun-key"),
    shape("xkeysib-", Of::Url, 80, 90, "brevo-key"),
    shape("tskey-", Of::Url, 24, 80, "tailscale-key"),
    shape("rubygems_", Of::Hex, 48, 48, "rubygems-key"),
    shape("EAACEdEose0cBA", Of::Alphanumeric, 20, MANY, "facebook-token"),
    shape("sq0csp-", Of::Url, 43, 43, "square-secret"),
    shape("AGE-SECRET-KEY-1", Of::UpperOrDigit, 58, 58, "age-key"),
];

/// Whether a token of known shape may begin with these two bytes.
pub(super) fn may_begin(first: u8, second: u8) -> bool {
    second < 128 && BEGINNINGS.get(usize::from(first)).is_some_and(|seconds| (seconds >> second) & 1 == 1)
}

/// Asked at every word of a text, so a table: for each first byte the second ones, as a set of bits.
static BEGINNINGS: [u128; 128] = beginnings();

#[expect(clippy::indexing_slicing, reason = "run by the compiler, which would refuse to go on")]
const fn beginnings() -> [u128; 128] {
    let mut seconds = [0_u128; 128];
    seconds[b'e' as usize] |= 1 << b'y';
    seconds[b'h' as usize] |= 1 << b'o';
    let mut rest: &[Shape] = &SHAPES;
    while let [shape, others @ ..] = rest {
        if let [first, second, ..] = shape.begins.as_bytes() {
            seconds[*first as usize] |= 1 << *second;
        }
        rest = others;
    }
    seconds
}

/// The kind of the token that stands at the start of `bytes`.
pub(super) fn at_start(bytes: &[u8]) -> Option<&'static str> {
    let known = SHAPES.iter().find_map(|shape| {
        let tail = bytes.strip_prefix(shape.begins.as_bytes())?;
        let token = run(tail, |byte| shape.of.has(byte));
        let ends = tail.get(token.len()).is_none_or(|next| !is_word(*next));
        let fits = ends && (shape.least..=shape.most).contains(&token.len()) && !is_made_up(token);
        fits.then_some(shape.kind)
    });
    known.or_else(|| json_web_token(bytes)).or_else(|| slack_webhook(bytes))
}

impl Of {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::UpperOrDigit => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::UrlDotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~'),
        }
    }
}

/// Examples in documentation: one character over and over, or the word itself.
fn is_made_up(token: &[u8]) -> bool {
    const DISTINCT_LEAST: usize = 7;
    let upper = token.to_ascii_uppercase();
    distinct(token) < DISTINCT_LEAST
        || ["EXAMPLE", "XXXX", "YOUR"].iter().any(|word| memchr::memmem::find(&upper, word.as_bytes()).is_some())
}

/// Three parts in base64url, of which two begin as `{"` does (RFC 7519).
fn json_web_token(bytes: &[u8]) -> Option<&'static str> {
    const PART_LEAST: usize = 10;
    let of_part = |byte: u8| Of::Url.has(byte);
    let header = run(bytes.strip_prefix(b"eyJ")?, of_part);
    let rest = bytes.get(header.len().saturating_add(3)..)?.strip_prefix(b".eyJ")?;
    let claims = run(rest, of_part);
    let signature = run(rest.get(claims.len()..)?.strip_prefix(b".")?, of_part);
    [header, claims, signature].iter().all(|part| part.len() >= PART_LEAST).then_some("json-web-token")
}

fn slack_webhook(bytes: &[u8]) -> Option<&'static str> {
    let path = bytes.strip_prefix(b"hooks.slack.com/services/T")?;
    let path = run(path, |byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let mut parts = path.split(|byte| *byte == b'/');
    let is_whole = parts.next().is_some_and(|part| part.len() >= 8)
        && parts.next().is_some_and(|part| part.starts_with(b"B"))
        && parts.next().is_some_and(|part| part.len() >= 20 && !is_made_up(part));
    is_whole.then_some("slack-webhook")
}

/// The one well-known shape that tells by its middle: three characters, a digit, `Q~` and some thirty more.
pub(super) fn azure_client_secret(bytes: &[u8]) -> Option<&'static str> {
    memchr::memmem::find_iter(bytes, b"Q~").find_map(|at| {
        let begin = at.checked_sub(4)?;
        let (lead, tail) = (bytes.get(begin..at)?, bytes.get(at.saturating_add(2)..)?);
        let tail = run(tail, |byte| Of::UrlDotted.has(byte));
        let begins = begin.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|before| !is_word(*before));
        let fits = begins
            && lead.iter().all(|byte| Of::UrlDotted.has(*byte))
            && lead.last().is_some_and(u8::is_ascii_digit)
            && (31..=34).contains(&tail.len())
            && !is_made_up(tail);
        fits.then_some("azure-client-secret")
    })
}
