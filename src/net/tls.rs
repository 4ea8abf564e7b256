//! TLS: from PEM files to an acceptor, and the name in a client's certificate.
//!
//! Owns: which versions and which provider. Refuses: to decide who a certificate's name is to the broker.

use super::subject::distinguished_name;
use crate::config::TlsFiles;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::server::TlsStream;

/// Why a TLS file cannot be used: which file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsError {
    path: PathBuf,
    what: String,
}

impl TlsError {
    fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS file {}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for TlsError {}

/// An acceptor for TLS 1.2 and 1.3 without ALPN. With a client CA, certificates that clients show must come from it;
/// showing none is
/// allowed, as passwords may serve instead, unless the files say that it is required.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::new(&files.key, pem_text(&error, "private key")))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = match &files.client_ca {
        Some(path) => client_verifier(path, files.require_certificate, provider.clone())?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&files.cert, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::new(&files.key, format!("does not go with the certificate: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem_text(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("has no {wanted} in PEM form"),
        other => format!("is no valid PEM: {other}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |error: &pem::Error| TlsError::new(path, pem_text(error, "certificate"));
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| refuse(&error))?;
    if certificates.is_empty() { Err(refuse(&pem::Error::NoItemsFound)) } else { Ok(certificates) }
}

fn client_verifier(
    path: &Path,
    required: bool,
    provider: Arc<tokio_rustls::rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::new(path, error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
    verifier.build().map_err(|error| TlsError::new(path, error))
}

/// The name in the certificate that the client showed and that was verified: its subject, or only the common name.
pub(crate) fn peer_name<S>(stream: &TlsStream<S>, whole: bool) -> Option<String> {
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates()?.first()?;
    if whole { distinguished_name(certificate) } else { common_name(certificate) }
}

/// Tags of the few kinds of DER values on the way to a common name (X.690 8.1.2).
pub(super) mod tag {
    pub(in crate::net) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(in crate::net) const UTF8_STRING: u8 = 0x0c;
    pub(in crate::net) const PRINTABLE_STRING: u8 = 0x13;
    pub(in crate::net) const IA5_STRING: u8 = 0x16;
    pub(in crate::net) const SEQUENCE: u8 = 0x30;
    pub(in crate::net) const SET: u8 = 0x31;
    pub(in crate::net) const VERSION: u8 = 0xa0;
}

/// Id of the attribute `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Tag and content of the first DER value of `input`, and what follows it.
pub(super) fn value(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        short if short < 0x80 => (usize::from(short), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Content of the first value, which must be tagged so, and what follows it.
pub(super) fn expect(input: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    value(input).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The content of a certificate's subject (RFC 5280 4.1): certificate, to-be-signed part, then past version, serial
/// number, signature algorithm, issuer and validity.
pub(super) fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(certificate, tag::SEQUENCE)?;
    let (mut rest, _) = expect(certificate, tag::SEQUENCE)?;
    if let Some((_, after)) = expect(rest, tag::VERSION) {
        rest = after;
    }
    for _ in ["serial number", "signature algorithm", "issuer", "validity"] {
        (_, _, rest) = value(rest)?;
    }
    expect(rest, tag::SEQUENCE).map(|(names, _)| names)
}

/// The last common name of a certificate's subject.
fn common_name(certificate: &[u8]) -> Option<String> {
    let mut names = subject(certificate)?;
    let mut found = None;
    while let Some((attributes, after)) = expect(names, tag::SET) {
        names = after;
        let (attribute, _) = expect(attributes, tag::SEQUENCE)?;
        let (kind, text) = expect(attribute, tag::OBJECT_IDENTIFIER)?;
        if kind == COMMON_NAME {
            found = text_of(text);
        }
    }
    found
}

fn text_of(input: &[u8]) -> Option<String> {
    match value(input)? {
        (tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING, text, _) if !text.is_empty() => {
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).unwrap();
        let mut out = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        out.extend(content);
        out
    }

    fn certificate(version: bool, names: &[(&[u8], u8, &str)]) -> Vec<u8> {
        let small = der(0x02, &[&[1]]);
        let names: Vec<_> = names
            .iter()
            .map(|(kind, tag, text)| {
                let attribute =
                    [der(tag::OBJECT_IDENTIFIER, &[kind]), der(*tag, &[text.as_bytes()])].concat();
                der(tag::SET, &[&der(tag::SEQUENCE, &[&attribute])])
            })
            .collect();
        let subject = der(tag::SEQUENCE, &[&names.concat()]);
        let version = if version { der(tag::VERSION, &[&small]) } else { Vec::new() };
        let issuer = der(tag::SEQUENCE, &[]);
        let signed = der(tag::SEQUENCE, &[&version, &small, &issuer, &issuer, &issuer, &subject, &small]);
        der(tag::SEQUENCE, &[&signed, &small])
    }

    #[test]
    fn finds_the_common_name() {
        let check = |names: &[(&[u8], u8, &str)], expected: Option<&str>| {
            for version in [true, false] {
                assert_eq!(common_name(&certificate(version, names)).as_deref(), expected);
            }
        };
        let organization: &[u8] = &[0x55, 0x04, 0x0a];
        check(&[(COMMON_NAME, tag::UTF8_STRING, "müller")], Some("müller"));
        check(&[(organization, tag::UTF8_STRING, "o"), (COMMON_NAME, tag::PRINTABLE_STRING, "c")], Some("c"));
        check(&[(organization, tag::UTF8_STRING, "o")], None);
        check(&[], None);
        check(&[(COMMON_NAME, 0x1e, "bmp")], None);
    }

    #[test]
    fn any_cut_and_any_byte_is_survived() {
        let whole = certificate(true, &[(COMMON_NAME, tag::UTF8_STRING, "name")]);
        for cut in 0..whole.len() {
            assert_eq!(common_name(whole.get(..cut).unwrap()), None);
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                *damaged.get_mut(at).unwrap() = byte;
                let _ = common_name(&damaged);
            }
        }
    }

    #[test]
    fn errors_name_the_file() {
        let missing = PathBuf::from("/nonexistent/cert.pem");
        let files =
            TlsFiles { cert: missing.clone(), key: missing, client_ca: None, require_certificate: false };
        let error = acceptor(&files).err().unwrap().to_string();
        assert!(error.starts_with("TLS file /nonexistent/cert.pem: cannot be read: "), "{error}");
    }
}
