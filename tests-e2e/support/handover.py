"""How a Master hands a client over to a node."""

import hashlib
import hmac
import socket
import struct


def proof(secret: str, client: str, boot: str) -> str:
    return hmac.new(secret.encode(), f"redkite client {client} 4000 {boot}".encode(), hashlib.sha256).hexdigest()


def handover(source: str, proven: str) -> bytes:
    """What a Master's connection begins with: a PROXY v2 header, with a proof that it knows the secret in a field of its own."""
    addresses = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 4000, 19530)
    field = struct.pack(">BH", 0xE4, len(proven)) + proven.encode()
    rest = addresses + field
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, 0x11, len(rest)) + rest
