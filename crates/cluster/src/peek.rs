//! What a connection begins with.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// Pause before it is looked again whether more of the first bytes have come.
const PAUSE: Duration = Duration::from_millis(5);

/// Whether a connection begins with `wanted`; nothing is taken from it. Waits for as many bytes as it takes to tell: who calls it
/// bounds the time.
pub async fn begins_with<const N: usize>(stream: &TcpStream, wanted: &[u8; N]) -> io::Result<bool> {
    let mut begin = [0; N];
    loop {
        let known = stream.peek(&mut begin).await?;
        if known == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if begin[..known] != wanted[..known] {
            return Ok(false);
        }
        if known == N {
            return Ok(true);
        }
        // Cut off in the middle of so few bytes; the rest is on its way.
        tokio::time::sleep(PAUSE).await;
    }
}
