//! Certificates and keys as files, and what TLS is made of them. Pure but for reading; every problem names the file it is about.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};

/// Most bytes of a file; those with all authorities of the web have a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What a port offers. gRPC wants HTTP/2 agreed on.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificates and keys are, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our own.
    pub identity: Identity,
    /// Whom clients' certificates have to be signed by; none: clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// Whom we trust when we connect to others.
    pub trust: Trust,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: no connections are made.
    Nobody,
    /// Whom the system trusts.
    System,
    /// The authorities in a file.
    File(PathBuf),
}

/// What a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Our certificate.
    Cert,
    /// Its key.
    Key,
    /// The authorities of clients' certificates.
    ClientCa,
    /// The authorities we trust.
    Ca,
}

impl About {
    /// The setting's name within its section.
    pub fn name(self) -> &'static str {
        match self {
            About::Cert => "cert",
            About::Key => "key",
            About::ClientCa => "client_ca",
            About::Ca => "ca",
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TlsError {
    /// Which one.
    pub about: About,
    /// What, for people.
    pub reason: String,
}

impl TlsError {
    fn new(about: About, reason: impl Into<String>) -> Self {
        Self { about, reason: reason.into() }
    }
}

/// What the files hold; kept to find out whether that has changed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    ca: Option<Vec<u8>>,
}

/// What is made of it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) server: Arc<ServerConfig>,
    /// None where nobody is trusted.
    pub(crate) client: Option<Arc<ClientConfig>>,
}

impl TlsFiles {
    /// The file that a problem is about.
    pub(crate) fn path(&self, about: About) -> Option<&Path> {
        match (about, &self.trust) {
            (About::Cert, _) => Some(&self.identity.cert),
            (About::Key, _) => Some(&self.identity.key),
            (About::ClientCa, _) => self.client_ca.as_deref(),
            (About::Ca, Trust::File(path)) => Some(path),
            (About::Ca, Trust::Nobody | Trust::System) => None,
        }
    }

    pub(crate) fn read(&self) -> Result<Contents, TlsError> {
        let Identity { cert, key } = &self.identity;
        Ok(Contents {
            cert: read(About::Cert, cert)?,
            key: read(About::Key, key)?,
            client_ca: self.client_ca.as_deref().map(|path| read(About::ClientCa, path)).transpose()?,
            ca: self.trust.read()?,
        })
    }

    pub(crate) fn make(&self, contents: &Contents) -> Result<Made, TlsError> {
        let Contents { cert, key, client_ca, ca } = contents;
        let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let server = server.map_err(|error| TlsError::new(About::Cert, error.to_string()))?;
        let server = match client_ca {
            None => server.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(authorities(About::ClientCa, pem)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                server.with_client_cert_verifier(
                    verifier.map_err(|error| TlsError::new(About::ClientCa, error.to_string()))?,
                )
            }
        };
        let mut server = server.with_single_cert(certificates(About::Cert, cert)?, private_key(key)?).map_err(unfit)?;
        server.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        let client = match self.trust {
            Trust::Nobody => None,
            _ => Some(client(ca.as_deref(), Some((cert, key)))?),
        };
        Ok(Made { server: Arc::new(server), client })
    }
}

impl Trust {
    fn read(&self) -> Result<Option<Vec<u8>>, TlsError> {
        match self {
            Trust::File(path) => read(About::Ca, path).map(Some),
            Trust::Nobody | Trust::System => Ok(None),
        }
    }
}

/// For connections of a process without ports of its own.
pub(crate) fn client_of(trust: &Trust, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    let ca = trust.read()?;
    let own = match identity {
        Some(Identity { cert, key }) => Some((read(About::Cert, cert)?, read(About::Key, key)?)),
        None => None,
    };
    client(ca.as_deref(), own.as_ref().map(|(cert, key)| (cert.as_slice(), key.as_slice())))
}

/// Trusts the authorities in `ca`, or whom the system trusts, and shows the certificate of `own` where it is asked for one.
fn client(ca: Option<&[u8]>, own: Option<(&[u8], &[u8])>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca {
        Some(pem) => authorities(About::Ca, pem)?,
        None => system()?,
    };
    let of_ca = |error: String| TlsError::new(About::Ca, error);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let client = client
        .map_err(|error| of_ca(error.to_string()))?
        .with_webpki_verifier(verifier.map_err(|error| of_ca(error.to_string()))?);
    Ok(Arc::new(match own {
        None => client.with_no_client_auth(),
        Some((cert, key)) => {
            client.with_client_auth_cert(certificates(About::Cert, cert)?, private_key(key)?).map_err(unfit)?
        }
    }))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(about: About, path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
            Err(TlsError::new(about, format!("the file has more than {} MiB", FILE_BYTES_MAX >> 20)))
        }
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(TlsError::new(about, format!("the file cannot be read: {error}"))),
    }
}

fn certificates(about: About, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WANTED: &str = "want a PEM file with a certificate (-----BEGIN CERTIFICATE-----)";
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::new(about, WANTED)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::new(about, format!("{WANTED}: {error}"))),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        // What is in it is nobody's business.
        TlsError::new(
            About::Key,
            "want a PEM file with a private key that is not encrypted (-----BEGIN PRIVATE KEY-----)",
        )
    })
}

fn authorities(about: About, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(about, pem)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::new(about, format!("a certificate cannot be used: {error}")))?;
    }
    Ok(roots)
}

/// Whom the system trusts; certificates among them that cannot be used are left out.
fn system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (used, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match used {
        0 => Err(TlsError::new(
            About::Ca,
            "want a PEM file with the authorities to trust: this system has none of its own",
        )),
        _ => Ok(roots),
    }
}

/// Why a certificate and a key do not go together.
fn unfit(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::new(About::Key, "it is not the key of the certificate")
        }
        rustls::Error::InvalidCertificate(error) => {
            TlsError::new(About::Cert, format!("the certificate cannot be used: {error:?}"))
        }
        other => TlsError::new(About::Key, format!("the key cannot be used: {other}")),
    }
}
