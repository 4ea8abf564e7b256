//! The PROXY protocol, versions 1 and 2: what a load balancer says about the client before the client's own bytes.
//!
//! Owns: reading the header, not one byte more. Refuses: connections without one; whoever may connect to such a door is
//! believed, so it is to be reached through the load balancer only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// First bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// Longest header of version 2 that is read, behind its first 16 bytes: addresses and what is said of TLS.
const HEADER_BYTES_MAX: usize = 4096;

/// Types of the additional values of version 2.
mod kind {
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_COMMON_NAME: u8 = 0x22;
}

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// Client and where it connected to; `None` for connections of the load balancer's own.
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
    /// The client came over TLS.
    pub(crate) tls: bool,
    /// Common name in the client's certificate, which the load balancer verified.
    pub(crate) certificate_name: Option<String>,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY header: {what}"))
}

/// Reads the header. Errors: there is none, or it is not valid.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Header> {
    let mut first = [0; 12];
    stream.read_exact(&mut first).await?;
    if first == *SIGNATURE {
        return read_binary(stream).await;
    }
    if !first.starts_with(b"PROXY ") {
        return Err(wrong("absent"));
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX {
            return Err(wrong("line too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = str::from_utf8(&line).map_err(|_| wrong("not text"))?;
    Ok(Header { addresses: parse_line(line.trim_end())?, ..Header::default() })
}

fn parse_line(line: &str) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let words: Vec<&str> = line.split(' ').collect();
    let family = words.get(1).copied();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let [_, "TCP4" | "TCP6", source, target, source_port, target_port] = words[..] else {
        return Err(wrong("not TCP4, TCP6 or UNKNOWN with two addresses and two ports"));
    };
    let address = |ip: &str, port: &str| -> io::Result<SocketAddr> {
        let ip: IpAddr = ip.parse().map_err(|_| wrong("not an address"))?;
        if ip.is_ipv4() != (family == Some("TCP4")) {
            return Err(wrong("address of another family"));
        }
        Ok(SocketAddr::new(ip, port.parse().map_err(|_| wrong("not a port"))?))
    };
    Ok(Some((address(source, source_port)?, address(target, target_port)?)))
}

async fn read_binary<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Header> {
    let (version, family, length) =
        (stream.read_u8().await?, stream.read_u8().await?, stream.read_u16().await?);
    let length = usize::from(length);
    if length > HEADER_BYTES_MAX {
        return Err(wrong("too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match version {
        0x20 => Ok(Header::default()),
        0x21 => parse_binary(family, &rest),
        _ => Err(wrong("unknown version or command")),
    }
}

fn parse_binary(family: u8, bytes: &[u8]) -> io::Result<Header> {
    let short = || wrong("cut off");
    let (addresses, values) = match family {
        0x11 => {
            let (block, values) = bytes.split_first_chunk::<12>().ok_or_else(short)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
            let (source, target) = (Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into());
            (Some(with_ports(source, target, ports)), values)
        }
        0x21 => {
            let (source, rest) = bytes.split_first_chunk::<16>().ok_or_else(short)?;
            let (target, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let (ports, values) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            let (source, target) = (Ipv6Addr::from(*source).into(), Ipv6Addr::from(*target).into());
            (Some(with_ports(source, target, *ports)), values)
        }
        // Not said, or of a kind that has no address here.
        0x00 => (None, &[][..]),
        0x31 => (None, bytes.get(216..).ok_or_else(short)?),
        _ => return Err(wrong("neither TCP nor a local stream")),
    };
    let mut header = Header { addresses, ..Header::default() };
    for (kind, value) in Values(values) {
        if kind == kind::SSL {
            read_tls(value, &mut header);
        }
    }
    Ok(header)
}

fn with_ports(source: IpAddr, target: IpAddr, [a, b, c, d]: [u8; 4]) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(source, u16::from_be_bytes([a, b])), SocketAddr::new(target, u16::from_be_bytes([c, d])))
}

/// What is said of TLS: one byte of flags, four that are zero when the certificate was verified, further values.
fn read_tls(value: &[u8], header: &mut Header) {
    let Some(([client, verify @ ..], values)) = value.split_first_chunk::<5>() else { return };
    header.tls = client & 1 != 0;
    let shown = client & 0b110 != 0 && *verify == [0; 4];
    for (kind, value) in Values(values) {
        if kind == kind::SSL_COMMON_NAME && shown {
            header.certificate_name = String::from_utf8(value.to_vec()).ok().filter(|name| !name.is_empty());
        }
    }
}

/// Values with a byte for their type and two for their length; ends where that does not come out even.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([kind, high, low], rest) = self.0.split_first_chunk::<3>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        self.0 = rest;
        Some((*kind, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// What is read, and what is left for the client's protocol.
    async fn check(bytes: &[u8]) -> io::Result<(Header, Vec<u8>)> {
        let mut stream = bytes;
        let header = read(&mut stream).await?;
        Ok((header, stream.to_vec()))
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body, b"rest"].concat()
    }

    #[tokio::test]
    async fn version_1() {
        let (header, rest) = check(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1883\r\nrest").await.unwrap();
        let addresses = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:1883".parse().unwrap());
        assert_eq!((header.addresses, &rest[..]), (Some(addresses), &b"rest"[..]));
        let (header, _) = check(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n").await.unwrap();
        assert_eq!(header.addresses.unwrap().0, "[2001:db8::1]:1".parse().unwrap());
        assert_eq!(check(b"PROXY UNKNOWN\r\nrest").await.unwrap(), (Header::default(), b"rest".to_vec()));
        for bad in [
            &b"\x10\x0c\0\x04MQTT\x04\x02\0\0"[..],
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 99999\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1000 1\r\n",
            b"PROXY TCP4 192.0",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
        ] {
            assert!(check(bad).await.is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn version_2() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 7, 91];
        let (header, rest) = check(&binary(0x21, 0x11, &v4)).await.unwrap();
        let addresses = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:1883".parse().unwrap());
        assert_eq!((header.addresses, &rest[..]), (Some(addresses), &b"rest"[..]));
        assert_eq!(check(&binary(0x20, 0x00, b"x")).await.unwrap().0, Header::default());
        let v6 = [&[0x20, 1][..], &[0; 13], &[1], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
        let (header, _) = check(&binary(0x21, 0x21, &v6)).await.unwrap();
        assert_eq!(header.addresses.unwrap().0, "[2001::1]:1".parse().unwrap());
        for (bad, family) in [(&v4[..11], 0x11), (&v6[..30], 0x21), (&v4[..], 0x12)] {
            assert!(check(&binary(0x21, family, bad)).await.is_err());
        }
        assert!(check(&binary(0x31, 0x11, &v4)).await.is_err());
        assert!(check(&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat()).await.is_err());
    }

    #[tokio::test]
    async fn version_2_with_a_certificate() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 7, 91];
        for (verify, expected) in [(0, Some("device")), (1, None)] {
            let name = [&[kind::SSL_COMMON_NAME, 0, 6][..], b"device"].concat();
            let tls = [&[0b101, 0, 0, 0, verify][..], &[0x21, 0, 3], b"1.3", &name].concat();
            let body = [&v4[..], &[4, 0, 1, 0], &[kind::SSL, 0, tls.len() as u8], &tls].concat();
            let (header, _) = check(&binary(0x21, 0x11, &body)).await.unwrap();
            assert_eq!((header.tls, header.certificate_name.as_deref()), (true, expected));
        }
    }
}
