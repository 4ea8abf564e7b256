//! Signature Version 4: what a request claims about its signer, and whether that is true.
//!
//! Both forms are read, the `Authorization` header and the `X-Amz-*` query parameters. Reading never needs a key;
//! only [`Claim::verify`] does. Clause names are those of "Create a signed AWS API request" in the IAM guide.

mod canonical;

use crate::{
    error::{ApiError, common},
    form, time,
};
use hmac::{Hmac, KeyInit, Mac};
use model::Millis;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// How far a signature's time may be off, milliseconds.
pub const SKEW_MS: u64 = 15 * 60 * 1000;
/// Longest lifetime of a presigned request, seconds.
pub const EXPIRES_S_MAX: u64 = 604_800;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parts of an HTTP request that are signed, as they came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path, still encoded.
    pub path: &'a str,
    /// Query string, still encoded, without `?`.
    pub query: &'a str,
    /// Headers in order, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first header named `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

/// What a request says about who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Access key id.
    pub access_key: Cow<'a, str>,
    /// `yyyymmdd` of the scope.
    pub date: Cow<'a, str>,
    /// Region of the scope.
    pub region: Cow<'a, str>,
    /// Service (signing name) of the scope.
    pub service: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    /// `yyyymmddThhmmssZ`.
    timestamp: Cow<'a, str>,
    /// Lifetime in seconds, of the query form only.
    expires_s: Option<u64>,
}

impl<'a> Claim<'a> {
    /// Reads the claim of a request, in either form; `Ok(None)` when it makes none.
    /// Errors: `IncompleteSignature` that names what is missing.
    pub fn read(request: &Request<'a>) -> Result<Option<Claim<'a>>, ApiError> {
        if let Some(header) = request.header("authorization") {
            return Self::of_header(request, header).map(Some);
        }
        if form::value(request.query, "X-Amz-Credential").is_some() {
            return Self::of_query(request).map(Some);
        }
        Ok(None)
    }

    fn of_header(request: &Request<'a>, header: &'a str) -> Result<Self, ApiError> {
        let fields = header.trim().strip_prefix(ALGORITHM).ok_or_else(|| {
            common::INCOMPLETE_SIGNATURE.error("Unsupported signature algorithm in the Authorization header.")
        })?;
        let field = |name: &'static str| {
            fields
                .split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| Cow::Borrowed(value.trim()))
                .ok_or_else(|| missing("Authorization header", name))
        };
        let timestamp = request
            .header("x-amz-date")
            .map(Cow::Borrowed)
            .ok_or_else(|| missing("Authorization header", "X-Amz-Date"))?;
        let scope = field("Credential")?;
        Self::build(scope, field("SignedHeaders")?, field("Signature")?, timestamp, None)
    }

    fn of_query(request: &Request<'a>) -> Result<Self, ApiError> {
        let field = |name: &'static str| {
            form::value(request.query, name).ok_or_else(|| missing("query-string parameters", name))
        };
        if field("X-Amz-Algorithm")? != ALGORITHM {
            return Err(common::INCOMPLETE_SIGNATURE.error("Unsupported X-Amz-Algorithm."));
        }
        let expires =
            form::value(request.query, "X-Amz-Expires").map_or(Ok(SKEW_MS / 1000), |text| text.parse());
        let expires = expires.ok().filter(|seconds| *seconds <= EXPIRES_S_MAX).ok_or_else(|| {
            common::INCOMPLETE_SIGNATURE.error("X-Amz-Expires must be a number up to 604800.")
        })?;
        let scope = field("X-Amz-Credential")?;
        let (headers, signature) = (field("X-Amz-SignedHeaders")?, field("X-Amz-Signature")?);
        Self::build(scope, headers, signature, field("X-Amz-Date")?, Some(expires))
    }

    fn build(
        scope: Cow<'a, str>,
        signed_headers: Cow<'a, str>,
        signature: Cow<'a, str>,
        timestamp: Cow<'a, str>,
        expires_s: Option<u64>,
    ) -> Result<Self, ApiError> {
        let mut parts = scope.rsplitn(5, '/');
        let mut next =
            || parts.next().filter(|part| !part.is_empty()).map(|part| Cow::Owned(part.to_owned()));
        let (terminator, service, region, date, access_key) = (next(), next(), next(), next(), next());
        match (terminator.as_deref(), service, region, date, access_key) {
            (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key)) => Ok(Self {
                access_key,
                date,
                region,
                service,
                signed_headers,
                signature,
                timestamp,
                expires_s,
            }),
            _ => Err(common::INCOMPLETE_SIGNATURE
                .error("Credential must have exactly 5 slash-delimited elements: key/date/region/service/aws4_request.")),
        }
    }

    /// Checks time and signature with the key's `secret`.
    /// Errors: `RequestExpired`, `SignatureDoesNotMatch`, `IncompleteSignature`.
    pub fn verify(&self, request: &Request<'_>, secret: &str, now: Millis) -> Result<(), ApiError> {
        self.check_time(now)?;
        if !self.signed_headers.split(';').any(|name| name == "host") {
            return Err(common::INCOMPLETE_SIGNATURE.error("'Host' must be a signed header."));
        }
        let canonical = canonical::request(request, &self.signed_headers, self.expires_s.is_some());
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let hash = sha256_hex(canonical.as_bytes());
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{hash}", self.timestamp);
        let key = self.signing_key(secret)?;
        let claimed = unhex(&self.signature).ok_or_else(mismatch)?;
        let mut mac = mac(&key)?;
        mac.update(to_sign.as_bytes());
        // `verify_slice` compares in constant time.
        mac.verify_slice(&claimed).map_err(|_| mismatch())
    }

    fn check_time(&self, now: Millis) -> Result<(), ApiError> {
        let signed = time::parse_basic(&self.timestamp)
            .filter(|_| self.timestamp.starts_with(self.date.as_ref()))
            .ok_or_else(|| {
                common::INCOMPLETE_SIGNATURE.error("Date in the credential scope does not match X-Amz-Date.")
            })?;
        let lifetime = self.expires_s.map_or(SKEW_MS, |seconds| seconds.saturating_mul(1000));
        let expired = now > signed.saturating_add(lifetime) || signed > now.saturating_add(SKEW_MS);
        if expired {
            return Err(common::REQUEST_EXPIRED
                .error(format!("Signature expired: {} is not within the allowed time.", self.timestamp)));
        }
        Ok(())
    }

    fn signing_key(&self, secret: &str) -> Result<[u8; 32], ApiError> {
        let mut key = sign(format!("AWS4{secret}").as_bytes(), &self.date)?;
        for part in [self.region.as_ref(), self.service.as_ref(), "aws4_request"] {
            key = sign(&key, part)?;
        }
        Ok(key)
    }
}

fn missing(place: &str, name: &str) -> ApiError {
    common::INCOMPLETE_SIGNATURE.error(format!("{place} requires existence of '{name}'."))
}

fn mismatch() -> ApiError {
    common::SIGNATURE_MISMATCH.error(
        "The request signature we calculated does not match the signature you provided. \
         Check your AWS Secret Access Key and signing method.",
    )
}

fn mac(key: &[u8]) -> Result<Hmac<Sha256>, ApiError> {
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| mismatch())
}

fn sign(key: &[u8], data: &str) -> Result<[u8; 32], ApiError> {
    let mut mac = mac(key)?;
    mac.update(data.as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    crate::json::push_hex(&mut out, bytes);
    out
}

/// Hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
