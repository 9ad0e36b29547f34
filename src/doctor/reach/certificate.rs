//! Who issued the certificate that a server shows, whether it is trusted or not: a handshake that believes everything and
//! sends nothing. Not trust: that is decided by the SDK's client, with its certificates.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Believes everything, and keeps the issuer's name.
#[derive(Debug)]
struct Curious {
    provider: Arc<CryptoProvider>,
    issuer: Mutex<Option<String>>,
}

/// Shakes hands with `host` over `stream`; returns the issuer of its certificate, if that has a name.
pub(super) async fn issuer(stream: TcpStream, host: &str) -> std::io::Result<Option<String>> {
    let provider = Arc::new(ring::default_provider());
    let curious = Arc::new(Curious { provider: provider.clone(), issuer: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(curious.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let issuer = curious.issuer.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(issuer)
}

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.issuer.lock().unwrap_or_else(PoisonError::into_inner) = issuer_of(end_entity);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// DER's tags (X.690) of what is walked through.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The names that tell issuers apart (X.520): the organisation, then the common name.
const NAMES: [&[u8]; 2] = [&[0x55, 4, 10], &[0x55, 4, 3]];

/// The issuer's organisation and common name in a certificate (RFC 5280, 4.1).
fn issuer_of(certificate: &[u8]) -> Option<String> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut body, _) = element(certificate)?;
    if body.first() == Some(&VERSION) {
        (_, _, body) = element(body)?;
    }
    // The serial number and the signature's algorithm stand before the issuer.
    let (_, _, body) = element(body)?;
    let (_, _, body) = element(body)?;
    let (tag, issuer, _) = element(body)?;
    if tag != SEQUENCE {
        return None;
    }
    let names: Vec<String> = NAMES.iter().filter_map(|wanted| attribute(issuer, wanted)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The first value of the attribute `wanted` in a distinguished name.
fn attribute(mut name: &[u8], wanted: &[u8]) -> Option<String> {
    while let Some((_, set, rest)) = element(name) {
        name = rest;
        let (_, pair, _) = element(set)?;
        let (_, kind, value) = element(pair)?;
        if kind == wanted {
            let (_, text, _) = element(value)?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    None
}

/// The first element of `der`: its tag, what is in it, and what stands behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A certificate is shorter than what two bytes can say.
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (inside, behind) = rest.split_at_checked(length)?;
    Some((tag, inside, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, inside: &[u8]) -> Vec<u8> {
        let length = u8::try_from(inside.len()).unwrap();
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, inside.to_vec()].concat()
    }

    fn certificate(names: &[(&[u8], &str)]) -> Vec<u8> {
        let name = |(kind, text): &(&[u8], &str)| {
            der(0x31, &der(SEQUENCE, &[der(6, kind), der(0x0c, text.as_bytes())].concat()))
        };
        let issuer = der(SEQUENCE, &names.iter().flat_map(name).collect::<Vec<u8>>());
        let body = [der(VERSION, &der(2, &[2])), der(2, &[7]), der(SEQUENCE, &[]), issuer].concat();
        der(SEQUENCE, &der(SEQUENCE, &body))
    }

    #[test]
    fn the_issuer_is_told_by_organisation_and_name() {
        let made = certificate(&[(NAMES[1], "Inspector"), (NAMES[0], "Example Corporation")]);
        assert_eq!(issuer_of(&made).as_deref(), Some("Example Corporation, Inspector"));
        assert_eq!(issuer_of(&certificate(&[])), None);
    }

    proptest! {
        #[test]
        fn no_certificate_however_broken_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..80) {
            let _ = issuer_of(&bytes);
            let whole = certificate(&[(NAMES[1], "Inspector")]);
            let _ = issuer_of(&whole[..cut.min(whole.len())]);
        }
    }
}
