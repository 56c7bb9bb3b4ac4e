//! The cluster's secret is shown to nobody: what one process sends another is a *proof* that it knows the secret, which is of no
//! use to any other process. So whoever listens at the address of a member that is gone learns nothing that opens another one.
//!
//! A proof is an HMAC-SHA256 under the secret of what it is for, the recipient's boot (which no later process has), and, of a
//! client that is handed over, its address. Who can read the network can repeat it to the same process.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Proves to the process of `boot` that a call comes from its cluster.
pub(crate) fn of_calls(secret: &str, boot: &str) -> String {
    hex(secret, &format!("redkite calls {boot}"))
}

/// Proves to the process of `boot` that a Master of its cluster has a client at `client`.
pub(crate) fn of_client(secret: &str, boot: &str, client: SocketAddr) -> String {
    // An IPv4 address is the same one whichever way it is written.
    hex(secret, &format!("redkite client {} {} {boot}", client.ip().to_canonical(), client.port()))
}

fn hex(secret: &str, of: &str) -> String {
    // As RFC 2104 has it: a key longer than a block is hashed, a shorter one filled with zeros.
    let mut block = [0; 64];
    match secret.len() <= block.len() {
        true => block[..secret.len()].copy_from_slice(secret.as_bytes()),
        false => block[..32].copy_from_slice(&Sha256::digest(secret)),
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(of.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether two texts are the same, in a time that tells nothing of where they differ.
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_process_and_one_purpose() {
        let client: SocketAddr = "10.0.0.1:7".parse().unwrap();
        let proof = of_client("secret", "boot", client);
        assert_eq!(proof, of_client("secret", "boot", "[::ffff:10.0.0.1]:7".parse().unwrap()));
        let others = [
            of_client("secret", "boot 2", client),
            of_client("secret 2", "boot", client),
            of_client("secret", "boot", "10.0.0.1:8".parse().unwrap()),
            of_client("secret", "boot", "10.0.0.2:7".parse().unwrap()),
            of_calls("secret", "boot"),
        ];
        assert!(!others.contains(&proof) && proof.len() == 64);
        // As other implementations have it.
        let known = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        assert_eq!(hex("key", "The quick brown fox jumps over the lazy dog"), known);
    }
}
