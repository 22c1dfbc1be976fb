//! A certificate authority for one test: the gateway's certificate, and those with which clients call. Feeds step 4.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;

/// What a TLS listener reads.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The gateway's certificate and its key.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The roots by which clients are validated.
    pub authority: PathBuf,
}

/// An authority with a key of its own. Two of them differ only in that key.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    /// A new authority.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Not the name of the certificates below it: one that seems to have signed itself is not looked up among the roots.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, dir: tempfile::Builder::new().prefix("holdpoint-tls-").tempdir()? })
    }

    /// Writes what a listener on 127.0.0.1 needs; the files live as long as the authority.
    pub fn files(&self) -> anyhow::Result<TlsFiles> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &self.issuer)?;
        let file = |name: &str, text: String| {
            let path = self.dir.path().join(name);
            fs::write(&path, text).map(|()| path)
        };
        Ok(TlsFiles {
            certificate: file("gateway.pem", certificate.pem())?,
            key: file("gateway.key", key.serialize_pem())?,
            authority: file("authority.pem", self.issuer.pem())?,
        })
    }

    /// Writes the certificate of a workload of a mesh, which names nothing but `uri`, under a name of its own.
    pub fn workload(&self, file_name: &str, uri: &str) -> anyhow::Result<TlsFiles> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let file = |ending: &str, text: String| {
            let path = self.dir.path().join(format!("{file_name}.{ending}"));
            fs::write(&path, text).map(|()| path)
        };
        Ok(TlsFiles {
            certificate: file("pem", certificate.pem())?,
            key: file("key", key.serialize_pem())?,
            authority: file("authority.pem", self.issuer.pem())?,
        })
    }

    /// A client without a certificate, which trusts this authority.
    pub fn plain_client(&self) -> anyhow::Result<reqwest::Client> {
        Ok(self.client_builder()?.build()?)
    }

    /// A client whose certificate names these URIs and is signed by this authority.
    pub fn client(&self, uris: &[&str]) -> anyhow::Result<reqwest::Client> {
        self.client_signed_by(self, uris, false)
    }

    /// The same, expired long ago.
    pub fn expired_client(&self, uris: &[&str]) -> anyhow::Result<reqwest::Client> {
        self.client_signed_by(self, uris, true)
    }

    /// A client that trusts this authority and whose certificate another one signed.
    pub fn foreign_client(&self, signer: &Self, uris: &[&str]) -> anyhow::Result<reqwest::Client> {
        self.client_signed_by(signer, uris, false)
    }

    fn client_signed_by(&self, signer: &Self, uris: &[&str], expired: bool) -> anyhow::Result<reqwest::Client> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &signer.issuer)?;
        let pem = certificate.pem() + &key.serialize_pem();
        Ok(self.client_builder()?.identity(reqwest::Identity::from_pem(pem.as_bytes())?).build()?)
    }

    fn client_builder(&self) -> anyhow::Result<reqwest::ClientBuilder> {
        let root = reqwest::Certificate::from_pem(self.issuer.pem().as_bytes())?;
        // Every call is a connection of its own: what one proved must not speak for the next.
        Ok(reqwest::Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0))
    }
}
