//! Where the database is, and how the way to it is protected.

use std::path::PathBuf;

use engine_abi::{Error, Result};
use mysql_async::{Opts, OptsBuilder, SslOpts};

/// Every session understands the same, whatever the server is set to: UTC, utf8mb4. Not strict: a text
/// that is too long for a column of somebody else's table is cut, and not left out.
const SESSION: &str = "SET NAMES utf8mb4, time_zone = '+00:00', autocommit = 1, \
     sql_mode = 'NO_ENGINE_SUBSTITUTION'";

/// The address of the database.
#[derive(Debug, Clone)]
pub struct Address {
    options: Opts,
    protection: Protection,
    ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// TLS, the server's certificate and name verified.
    Verified,
    /// TLS of whatever certificate, or none: this machine itself.
    Offered,
    /// None.
    Plain,
}

impl Address {
    /// Reads `mysql://USER:PASSWORD@HOST:3306/DATABASE`, with `?tls=verify`, `?tls=disable` and `?ca=FILE`.
    ///
    /// # Errors
    /// `Config`, without the text: it may hold a password.
    pub fn read(text: &str) -> Result<Self> {
        const FORM: &str = "write mysql://USER:PASSWORD@HOST:3306/DATABASE; special characters as %XX";
        let wrong = |what: &str| Error::config(format!("the catalogue's address {what}")).hint(FORM);
        let (base, parameters) = text.trim().split_once('?').unwrap_or((text.trim(), ""));
        let options = Opts::from_url(base).map_err(|_| wrong("is not one of a MySQL or MariaDB server"))?;
        if options.db_name().is_none_or(str::is_empty) {
            return Err(wrong("names no database"));
        }
        let (mut tls, mut ca) = (None, None);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("tls", "verify")) => tls = Some(Protection::Verified),
                Some(("tls", "disable")) => tls = Some(Protection::Plain),
                Some(("ca", path)) if !path.is_empty() => ca = Some(PathBuf::from(path)),
                _ => {
                    return Err(Error::config("the catalogue's address has parameters that are not known")
                        .hint("there are `tls=verify`, `tls=disable` and `ca=FILE`, a PEM file"));
                }
            }
        }
        let is_local = is_this_machine(options.ip_or_hostname());
        let usual = if is_local { Protection::Offered } else { Protection::Verified };
        Ok(Self { options, protection: tls.unwrap_or(usual), ca })
    }

    /// Server and database, without the login: for messages.
    pub fn shown(&self) -> String {
        let database = self.options.db_name().unwrap_or_default();
        format!("{}:{}/{database}", self.options.ip_or_hostname(), self.options.tcp_port())
    }

    /// What nothing that is printed may hold.
    pub fn secrets(&self) -> Vec<String> {
        self.options.pass().map(str::to_owned).into_iter().collect()
    }

    /// The words of it that messages show.
    pub fn public(&self) -> Vec<String> {
        vec![self.shown()]
    }

    /// How to connect: the ways to try, one after the other.
    pub(crate) fn ways(&self) -> Result<Vec<Opts>> {
        let base = OptsBuilder::from_opts(self.options.clone()).prefer_socket(false).setup(vec![SESSION.to_owned()]);
        let with = |tls: Option<SslOpts>| Opts::from(base.clone().ssl_opts(tls));
        Ok(match self.protection {
            Protection::Plain => vec![with(None)],
            Protection::Verified => vec![with(Some(self.verified()?))],
            Protection::Offered => {
                let any =
                    SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
                vec![with(Some(any)), with(None)]
            }
        })
    }

    fn verified(&self) -> Result<SslOpts> {
        let system = rustls_native_certs::load_native_certs().certs;
        let mut roots: Vec<_> = system.into_iter().map(|root| root.to_vec().into()).collect();
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).map_err(|error| {
                Error::config(format!("the certificate authority `{}` cannot be read: {error}", path.display()))
                    .hint("`ca` in the catalogue's address is the path of a PEM file")
            })?;
            roots.push(pem.into());
        }
        Ok(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true))
    }
}

/// Whether a host is this machine itself.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(text: &str) -> Protection {
        Address::read(text).unwrap().protection
    }

    #[test]
    fn other_machines_are_verified_and_this_one_need_not_be() {
        assert_eq!(protection("mysql://u@db.example.com/d"), Protection::Verified);
        assert_eq!(protection("mysql://u@db.example.com/d?tls=disable"), Protection::Plain);
        for local in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert_eq!(protection(&format!("mysql://u@{local}/d")), Protection::Offered, "{local}");
        }
        assert_eq!(protection("mysql://u@localhost/d?tls=verify&ca=/x.pem"), Protection::Verified);
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told_without_it() {
        for text in [
            "mysql://u:hunter2@host:port/x",
            "postgres://u:hunter2@host/x",
            "mysql://u:hunter2@host",
            "mysql://u:hunter2@host/x?require_ssl=false",
            "mysql://u:hunter2@host/x?tls=maybe",
        ] {
            let error = Address::read(text).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
