//! How a Master hands a client's connection over to a node: a connection of its own to the node's internal port, which begins
//! with a header that tells the client's address. After that it carries what the client sends, byte by byte, so a session
//! still is one connection.
//!
//! The header is version 2 of the PROXY protocol (HAProxy's specification, section 2.2) with a proof that the Master knows the
//! cluster's secret in a field of our own: the address in it is what the node's allow-list is asked about, so not everybody may
//! write one.

use std::net::SocketAddr;

use ppp::v2::{Addresses, Builder, Command, Header, IPv4, IPv6, PROTOCOL_PREFIX, Protocol, Version};

use crate::secret::{is_same, of_client};

/// What the header begins with. No HTTP/2 connection does.
pub(crate) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of the header up to its length, and that.
pub(crate) const FIXED_BYTES: usize = 16;
/// Most bytes of a header: two addresses, the proof, and some room.
pub(crate) const BYTES_MAX: usize = 512;
/// The type of the field with the proof, one of those left to applications.
const PROOF_FIELD: u8 = 0xE4;

const _: () = assert!(PROTOCOL_PREFIX.len() == SIGNATURE.len());

/// The header for a client at `client` whose connection came in at `at`, to the process of `boot`.
pub fn header(client: SocketAddr, at: SocketAddr, secret: &str, boot: &str) -> std::io::Result<Vec<u8>> {
    let addresses: Addresses = match (client, at) {
        (SocketAddr::V4(client), SocketAddr::V4(at)) => {
            IPv4::new(*client.ip(), *at.ip(), client.port(), at.port()).into()
        }
        _ => IPv6::new(v6(client), v6(at), client.port(), at.port()).into(),
    };
    Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses)
        .write_tlv(PROOF_FIELD, of_client(secret, boot, client).as_bytes())?
        .build()
}

fn v6(address: SocketAddr) -> std::net::Ipv6Addr {
    match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    }
}

/// How many bytes follow the first [`FIXED_BYTES`]; none if that is too much.
pub(crate) fn rest_bytes(fixed: &[u8; FIXED_BYTES]) -> Option<usize> {
    let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    (rest <= BYTES_MAX - FIXED_BYTES).then_some(rest)
}

/// The client's address in a whole header; none if it is not one that a Master of ours wrote for the process of `boot`.
pub(crate) fn client(header: &[u8], secret: &str, boot: &str) -> Option<SocketAddr> {
    let header = Header::try_from(header).ok()?;
    let client: SocketAddr = match (header.command, &header.addresses) {
        (Command::Proxy, Addresses::IPv4(found)) => (found.source_address, found.source_port).into(),
        (Command::Proxy, Addresses::IPv6(found)) => (found.source_address, found.source_port).into(),
        _ => return None,
    };
    let proof = of_client(secret, boot, client);
    let mut fields = header.tlvs().filter_map(Result::ok);
    fields.any(|field| field.kind == PROOF_FIELD && is_same(&field.value, proof.as_bytes())).then_some(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_learns_the_clients_address_from_who_knows_the_secret() {
        for (client_at, at) in [("10.1.2.3:4000", "10.0.0.1:19530"), ("[fd00::7]:4000", "[fd00::1]:19530")] {
            let written = header(client_at.parse().unwrap(), at.parse().unwrap(), "secret", "boot").unwrap();
            assert!(written.starts_with(SIGNATURE) && written.len() < BYTES_MAX);
            let fixed: &[u8; FIXED_BYTES] = written[..FIXED_BYTES].try_into().unwrap();
            assert_eq!(rest_bytes(fixed), Some(written.len() - FIXED_BYTES));
            assert_eq!(client(&written, "secret", "boot"), Some(client_at.parse().unwrap()));
            for other in ["", "secret ", "Secret"] {
                assert_eq!(client(&written, other, "boot"), None);
            }
            assert_eq!(client(&written, "secret", "another boot"), None);
            let mut moved = written.clone();
            moved[FIXED_BYTES] ^= 1;
            assert_eq!(client(&moved, "secret", "boot"), None, "the address of another client");
            // Cut off, or changed anywhere in what is not an address.
            for end in 0..written.len() {
                assert_eq!(client(&written[..end], "secret", "boot"), None, "{end}");
            }
        }
        // An IPv4 client of a Master that listens to both kinds.
        let written = header("10.1.2.3:4".parse().unwrap(), "[::1]:5".parse().unwrap(), "s", "b").unwrap();
        assert_eq!(client(&written, "s", "b"), Some("[::ffff:10.1.2.3]:4".parse().unwrap()));
    }

    #[test]
    fn a_header_without_the_secret_or_too_long_is_none() {
        let without = Builder::with_addresses(
            Version::Two | Command::Proxy,
            Protocol::Stream,
            IPv4::new([10, 0, 0, 1], [10, 0, 0, 2], 1, 2),
        );
        assert_eq!(client(&without.build().unwrap(), "", ""), None);
        let mut fixed = [0; FIXED_BYTES];
        fixed[14..].copy_from_slice(&497_u16.to_be_bytes());
        assert_eq!(rest_bytes(&fixed), None);
    }
}
