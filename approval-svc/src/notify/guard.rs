//! Step 8: where notices may go. A name is looked up once, every address of it is checked, and exactly those addresses
//! are connected to: whoever answers another address the next time has changed nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Finds the addresses of a name. A test brings its own.
pub type Lookup = Arc<dyn Fn(&str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// What this machine finds.
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        let name = name.to_owned();
        async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    })
}

/// Lets through only addresses of the public internet, unless the settings of a channel say otherwise.
#[derive(Clone)]
pub struct Guard {
    pub allow_private: bool,
    pub lookup: Lookup,
}

impl Guard {
    /// Whether an address may be used at all. Names are looked at when they are resolved.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        if self.allow_private {
            return Ok(());
        }
        // An address in brackets, or one in digits that the URL standard has already brought into its one form.
        let literal = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>());
        match literal {
            None => Err("the address names no host".to_owned()),
            Some(Ok(ip)) if !is_public(ip) => Err(refusal(&ip.to_string(), ip)),
            Some(_) => Ok(()),
        }
    }
}

fn refusal(name: &str, ip: IpAddr) -> String {
    format!("`{name}` is at {ip}, which is no public address: say `allow_private: true` if it is meant")
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, name) = (self.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let found = (guard.lookup)(&name).await?;
            // One bad address among good ones is no accident.
            if let Some(ip) = found.iter().find(|ip| !guard.allow_private && !is_public(**ip)) {
                return Err(io::Error::other(refusal(&name, *ip)).into());
            }
            if found.is_empty() {
                return Err(io::Error::other(format!("`{name}` has no address")).into());
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

/// Whether an address belongs to the public internet. What is reserved, or carries another address inside it that a
/// gateway may unpack, does not.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast();
    // "This network", shared address space (RFC 6598), protocol assignments, 6to4 relays, benchmarks, and the reserved end.
    let is_reserved = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !is_special && !is_reserved
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Only 2000::/3 is given out at all; in it, Teredo and other protocols (2001::/23), documentation and 6to4 are special.
    segments[0] & 0xe000 == 0x2000
        && !(segments[0] == 0x2001 && segments[1] < 0x0200)
        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
        && segments[0] != 0x2002
        && !(segments[0] == 0x3fff && segments[1] < 0x1000)
}
