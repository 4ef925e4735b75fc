//! TLS: which authorities are trusted, and by which clock certificates are judged.

use super::Error;
use super::settings::Authorities;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that is never before the time at which the file of authorities was written: a capture kernel whose clock
/// stands at 1970 finds every certificate not yet valid.
#[derive(Debug)]
struct Clock {
    earliest: Duration,
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Some(UnixTime::since_unix_epoch(now.max(self.earliest)))
    }
}

/// TLS with `authorities` alone, or with those of the system.
pub(super) fn config(authorities: Option<&Authorities>) -> Result<ClientConfig, Error> {
    let (roots, earliest) = match authorities {
        Some(authorities) => (pinned(authorities)?, authorities.written),
        None => (system(), UNIX_EPOCH),
    };
    let earliest = earliest.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Clock { earliest }))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Client(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn pinned(authorities: &Authorities) -> Result<RootCertStore, Error> {
    let why = |error: &dyn std::fmt::Display| Error::Settings(format!("the file of authorities: {error}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authorities.pem) {
        roots.add(certificate.map_err(|error| why(&error))?).map_err(|error| why(&error))?;
    }
    if roots.is_empty() { Err(why(&"it holds no certificate")) } else { Ok(roots) }
}

/// Those of the system that can be read. Without any, every certificate is unknown, which the connection reports.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_never_before_the_authorities() {
        let later = SystemTime::now() + Duration::from_secs(1_000_000);
        let later = later.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(Clock { earliest: later }.current_time().unwrap().as_secs(), later.as_secs());
        assert!(Clock { earliest: Duration::ZERO }.current_time().unwrap().as_secs() > 1_700_000_000);
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        for pem in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let authorities = Authorities { pem: pem.into(), written: UNIX_EPOCH };
            assert!(matches!(config(Some(&authorities)), Err(Error::Settings(_))), "{pem}");
        }
    }
}
