//! Who calls: account and region, taken from the signature's claim, which is checked where the door says so.

use super::AwsDoor;
use aws_protocol::arn::is_account;
use aws_protocol::error::{ApiError, common};
use aws_protocol::route::Protocol;
use aws_protocol::sigv4::{Claim, Request};
use model::Millis;

/// The caller, as far as the door knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Account, twelve digits.
    pub(super) account: String,
    /// Region.
    pub(super) region: String,
    /// Access key id, empty for an unsigned request.
    pub(super) access_key: String,
}

impl AwsDoor {
    /// The identity that `claim` gives. With `verify` off anybody is somebody.
    /// Errors: AWS's codes for a missing, unknown or wrong signature.
    pub(super) fn identify(
        &self,
        request: &Request<'_>,
        claim: Option<&Claim<'_>>,
        protocol: Protocol,
        now: Millis,
    ) -> Result<Identity, ApiError> {
        let Some(claim) = claim else {
            if self.config.verify {
                return Err(common::MISSING_TOKEN.error("Request is missing Authentication Token"));
            }
            return Ok(self.anybody());
        };
        let region =
            if is_region(&claim.region) { claim.region.to_string() } else { self.config.region.clone() };
        let access_key = claim.access_key.to_string();
        if !self.config.verify {
            let named = is_account(&access_key);
            let account = if named { access_key.clone() } else { self.config.account.clone() };
            return Ok(Identity { account, region, access_key });
        }
        let key =
            self.config.keys.iter().find(|key| key.id == access_key).ok_or_else(|| unknown_key(protocol))?;
        claim.verify(request, &key.secret, now)?;
        Ok(Identity { account: key.account.clone(), region, access_key })
    }

    fn anybody(&self) -> Identity {
        Identity {
            account: self.config.account.clone(),
            region: self.config.region.clone(),
            access_key: String::new(),
        }
    }
}

fn unknown_key(protocol: Protocol) -> ApiError {
    let code = match protocol {
        Protocol::Json { .. } => &common::UNRECOGNIZED_CLIENT,
        Protocol::Query => &common::INVALID_CLIENT_TOKEN,
    };
    code.error("The security token included in the request is invalid.")
}

/// A region becomes part of a vhost's name, so it must look like one.
fn is_region(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
