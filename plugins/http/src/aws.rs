//! Requests that are signed as AWS wants it (Signature Version 4).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use engine_sdk::prelude::*;
use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};

/// Who signs, and for what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// The region, such as `eu-west-1`.
    region: String,
    /// The service, such as `execute-api`, `es` or `s3`.
    service: String,
    /// The access key's id.
    access_key_id: String,
    /// The access key.
    secret_access_key: Secret,
    /// The token of temporary credentials.
    #[serde(default)]
    session_token: Option<Secret>,
}

impl Aws {
    /// What no message shows.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secret_access_key).chain(&self.session_token)
    }
}

/// Signs requests.
pub struct Signer {
    region: String,
    service: String,
    identity: Identity,
}

impl Signer {
    pub fn new(settings: &Aws) -> Self {
        let token = settings.session_token.as_ref().map(|token| token.reveal().to_owned());
        let credentials = Credentials::new(
            settings.access_key_id.clone(),
            settings.secret_access_key.reveal(),
            token,
            None,
            "the pipeline's settings",
        );
        Self { region: settings.region.clone(), service: settings.service.clone(), identity: credentials.into() }
    }

    /// Puts the signature into a request that is complete but for it.
    pub fn sign(&self, request: &mut Request, at: SystemTime) -> Result<()> {
        let wrong = |why: String| {
            Error::internal(format!("a request cannot be signed: {why}"))
                .hint("check `region` and `service` of `login`")
        };
        let mut settings = SigningSettings::default();
        // Alone of all services.
        if self.service == "s3" {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let parameters = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(&self.service)
            .time(at)
            .settings(settings)
            .build()
            .map_err(|error| wrong(error.to_string()))?
            .into();
        let body = request.body().map_or(Some(&[][..]), |body| body.as_bytes()).unwrap_or_default().to_vec();
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.url().as_str(),
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(&body),
        );
        let signed = signable.and_then(|signable| sign(signable, &parameters));
        let (instructions, _) = signed.map_err(|error| wrong(error.to_string()))?.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|error| wrong(error.to_string()))?;
            let mut value = HeaderValue::from_str(value).map_err(|error| wrong(error.to_string()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_signature_is_that_of_the_suite_of_aws() {
        // `get-vanilla` and `post-vanilla` of AWS's test suite for Signature Version 4.
        let settings = json!({
            "region": "us-east-1", "service": "service", "access_key_id": "AKIDEXAMPLE",
            "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        });
        let signer = Signer::new(&serde_json::from_value(settings).unwrap());
        // 2015-08-30T12:36:00Z
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        for (method, signature) in [
            (reqwest::Method::GET, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (reqwest::Method::POST, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            let mut request = Request::new(method, "https://example.amazonaws.com/".parse().unwrap());
            signer.sign(&mut request, at).unwrap();
            let header = request.headers()["authorization"].to_str().unwrap();
            assert_eq!(
                header,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={signature}"
                )
            );
            assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
        }
    }
}
