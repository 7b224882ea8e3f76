//! Requests and links that are signed as AWS wants it (Signature Version 4).

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningInstructions,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use engine_sdk::prelude::{Error, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::key;

/// Puts a signature into the headers of a request. `sha256`: of its body, in hexadecimal.
pub fn sign_request(
    identity: &Identity,
    region: &str,
    (method, url, headers): (&Method, &Url, &mut HeaderMap),
    sha256: &str,
    at: SystemTime,
) -> Result<()> {
    let mut settings = settings();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let body = SignableBody::Precomputed(sha256.to_owned());
    let instructions = instructions(identity, region, (method, url, &*headers), body, (settings, at))?;
    for (name, value) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(wrong)?;
        let mut value = HeaderValue::from_str(value).map_err(wrong)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

/// An address that whoever has it can fetch, for as long as `expires`.
pub fn sign_link(identity: &Identity, region: &str, url: &Url, expires: Duration, at: SystemTime) -> Result<String> {
    let mut settings = settings();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires);
    let body = SignableBody::UnsignedPayload;
    let instructions = instructions(identity, region, (&Method::GET, url, &HeaderMap::new()), body, (settings, at))?;
    let query = instructions.params().iter().map(|(name, value)| format!("{name}={}", key::encoded(value, false)));
    Ok(format!("{url}?{}", query.collect::<Vec<_>>().join("&")))
}

/// What S3 wants, alone of all services.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

fn instructions(
    identity: &Identity,
    region: &str,
    (method, url, headers): (&Method, &Url, &HeaderMap),
    body: SignableBody<'_>,
    (settings, at): (SigningSettings, SystemTime),
) -> Result<SigningInstructions> {
    let parameters = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name("s3")
        .time(at)
        .settings(settings)
        .build()
        .map_err(wrong)?
        .into();
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let request = SignableRequest::new(method.as_str(), url.as_str(), headers, body).map_err(wrong)?;
    Ok(sign(request, &parameters).map_err(wrong)?.into_parts().0)
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("a request cannot be signed: {error}")).hint("check `region` and the keys")
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    /// The examples of AWS's own documentation of S3 for Signature Version 4, of 2013-05-24T00:00:00Z.
    const AT: Duration = Duration::from_secs(1_369_353_600);

    fn identity() -> Identity {
        let (id, secret) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        Credentials::new(id, secret, None, None, "a test").into()
    }

    #[test]
    fn a_request_is_signed_as_in_the_documentation() {
        let url = "https://examplebucket.s3.amazonaws.com/test%24file.text".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("date", HeaderValue::from_static("Fri, 24 May 2013 00:00:00 GMT"));
        headers.insert("x-amz-storage-class", HeaderValue::from_static("REDUCED_REDUNDANCY"));
        let sha256 = engine_sdk::hexadecimal::write(&crate::checksum::sha256_of(b"Welcome to Amazon S3."));
        let at = SystemTime::UNIX_EPOCH + AT;
        sign_request(&identity(), "us-east-1", (&Method::PUT, &url, &mut headers), &sha256, at).unwrap();
        let signed = headers["authorization"].to_str().unwrap();
        assert!(
            signed.ends_with(
                "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, \
                 Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
            ),
            "{signed}"
        );
    }

    #[test]
    fn a_link_is_signed_as_in_the_documentation() {
        let url = "https://examplebucket.s3.amazonaws.com/test.txt".parse().unwrap();
        let at = SystemTime::UNIX_EPOCH + AT;
        let link = sign_link(&identity(), "us-east-1", &url, Duration::from_secs(86_400), at).unwrap();
        assert_eq!(
            link,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
