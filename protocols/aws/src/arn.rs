//! ARNs, accounts and regions, and which vhost they mean.

use model::Name;

/// The account and region whose resources live in vhost `/`. Every other pair is vhost `aws:<account>:<region>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Twelve digits.
    pub account: String,
    /// For example `us-east-1`.
    pub region: String,
}

/// One account in one region, as a request addresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Twelve digits.
    pub account: String,
    /// Region.
    pub region: String,
    /// The vhost that holds its resources.
    pub vhost: Name,
}

impl Home {
    /// The place of `account` and `region`.
    pub fn place(&self, account: &str, region: &str) -> Place {
        let here = account == self.account && region == self.region;
        let vhost = if here { Name::from_static("/") } else { format!("aws:{account}:{region}").into() };
        Place { account: account.to_owned(), region: region.to_owned(), vhost }
    }

    /// The place whose resources `vhost` holds. Vhosts that are no AWS pair count as home.
    pub fn place_of(&self, vhost: &str) -> Place {
        let pair = vhost.strip_prefix("aws:").and_then(|rest| rest.split_once(':'));
        let (account, region) = pair.unwrap_or((&self.account, &self.region));
        Place { account: account.to_owned(), region: region.to_owned(), vhost: Name::from(vhost) }
    }
}

impl Place {
    /// The ARN of `resource` of `service` (signing name) here.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// The resource part of `arn` when it is of `service` and here.
    pub fn local<'a>(&self, arn: &'a str, service: &str) -> Option<&'a str> {
        let arn = Arn::parse(arn)?;
        let here = arn.service == service && arn.region == self.region && arn.account == self.account;
        here.then_some(arn.resource)
    }
}

/// The parts of an ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// Service.
    pub service: &'a str,
    /// Region, may be empty.
    pub region: &'a str,
    /// Account, may be empty.
    pub account: &'a str,
    /// The rest, colons included.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Reads `arn:partition:service:region:account:resource`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition) = (parts.next()?, parts.next()?);
        let arn_of = Self {
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        (arn == "arn" && partition.starts_with("aws") && !arn_of.resource.is_empty()).then_some(arn_of)
    }
}

/// True for twelve digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Account and name of a queue URL or of its path: `.../<account>/<name>`; the account may be missing. Any host and
/// any prefix (`/queue/<region>/`) will do.
pub fn queue_of_url(url: &str) -> Option<(Option<&str>, &str)> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url,
    };
    let path = path.split(['?', '#']).next()?.trim_end_matches('/');
    let mut segments = path.rsplit('/');
    let name = segments.next().filter(|name| !name.is_empty())?;
    Some((segments.next().filter(|segment| is_account(segment)), name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn home_is_the_default_vhost() {
        let home = Home { account: "000000000000".into(), region: "us-east-1".into() };
        assert_eq!(home.place("000000000000", "us-east-1").vhost, "/");
        let away = home.place("000000000000", "eu-west-1");
        assert_eq!(away.vhost, "aws:000000000000:eu-west-1");
        assert_eq!(home.place_of(&away.vhost), away);
        assert_eq!(away.arn("sqs", "q"), "arn:aws:sqs:eu-west-1:000000000000:q");
        assert_eq!(away.local("arn:aws:sqs:eu-west-1:000000000000:q", "sqs"), Some("q"));
        assert_eq!(away.local("arn:aws:sqs:us-east-1:000000000000:q", "sqs"), None);
    }

    #[test]
    fn queue_urls_of_any_shape() {
        for (url, account, name) in [
            ("http://localhost:4566/000000000000/q", Some("000000000000"), "q"),
            ("https://sqs.eu-west-1.example/123456789012/q.fifo/", Some("123456789012"), "q.fifo"),
            ("/queue/us-east-1/000000000000/q", Some("000000000000"), "q"),
            ("q", None, "q"),
        ] {
            assert_eq!(queue_of_url(url), Some((account, name)), "{url}");
        }
        assert_eq!(queue_of_url("http://host"), None);
        assert_eq!(queue_of_url(""), None);
    }
}
