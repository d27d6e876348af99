"""An independent implementation of sessions: PyPI's `noiseprotocol` for Noise, this file for the packets around it.

    python noise_peer.py vectors            writes sessions.json beside this file
    python noise_peer.py listen             answers on a UDP port of its own; prints KEY PORT; ends after 30 quiet seconds
    python noise_peer.py dial KEY PORT      opens a session to that node on loopback, asks twice; prints "ok"

It follows Protocol/sessions.md and shares no code with the Swift implementation.
"""

import hashlib
import hmac
import json
import os
import pathlib
import socket
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from noise.connection import Keypair, NoiseConnection

NOISE = b"Noise_IK_25519_ChaChaPoly_BLAKE2b"
VERSION = 1
PRIME = 2**255 - 19
MESH = b"test"
PUBLIC_MESH = bytes(32)


def tagged(domain, *parts):
    return hashlib.blake2b(domain + b"\0" + b"".join(parts), digest_size=32).digest()


def public_key(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def agreement_secret(seed):
    """RFC 8032 §5.1.5: the scalar of an Ed25519 key is a valid X25519 secret."""
    secret = bytearray(hashlib.sha512(seed).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 127 | 64
    return bytes(secret)


def agreement_key(ed25519):
    """RFC 7748 §4.1: u = (1 + y) / (1 - y)."""
    y = int.from_bytes(ed25519, "little") & (2**255 - 1)
    return ((1 + y) * pow(1 - y, -1, PRIME) % PRIME).to_bytes(32, "little")


def prologue(carrier, mesh=MESH, secret=PUBLIC_MESH):
    return carrier + b"\0" + bytes([VERSION, len(mesh)]) + mesh + secret


def mac_key(receiver, secret=PUBLIC_MESH):
    return tagged(b"starling mac1", receiver, secret)


def header(kind):
    return bytes([kind, VERSION, 0, 0])


def noise(seed, carrier, initiator_to=None, ephemeral=None, mesh=MESH, secret=PUBLIC_MESH):
    connection = NoiseConnection.from_name(NOISE)
    connection.set_prologue(prologue(carrier, mesh, secret))
    connection.set_keypair_from_private_bytes(Keypair.STATIC, agreement_secret(seed))
    if ephemeral:
        connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    if initiator_to:
        connection.set_as_initiator()
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, agreement_key(initiator_to))
    else:
        connection.set_as_responder()
    connection.start_handshake()
    return connection


def initiation(connection, seed, receiver, number, envelope, secret=PUBLIC_MESH):
    message = bytes(connection.write_message(public_key(seed) + number.to_bytes(4, "little") + envelope))
    mac1 = hashlib.blake2b(header(1) + message[:144], digest_size=16, key=mac_key(receiver, secret)).digest()
    return header(1) + mac1 + bytes(16) + message


def response(connection, seed, initiators_number, number, envelope):
    message = bytes(connection.write_message(public_key(seed) + number.to_bytes(4, "little") + envelope))
    return header(2) + initiators_number.to_bytes(4, "little") + message


class Transport:
    """The two directions after the handshake. Noise's counters start at 0; the packet names them."""

    def __init__(self, connection, remote_number):
        self.connection = connection
        self.remote_number = remote_number
        self.sent = 0

    def seal(self, envelope):
        counter, self.sent = self.sent, self.sent + 1
        return (
            header(4)
            + self.remote_number.to_bytes(4, "little")
            + counter.to_bytes(8, "little")
            + bytes(self.connection.encrypt(envelope))
        )

    def open(self, packet):
        assert packet[:4] == header(4)
        cipher = self.connection.noise_protocol.cipher_state_decrypt
        cipher.set_nonce(int.from_bytes(packet[8:16], "little"))
        return bytes(self.connection.decrypt(packet[16:]))


# ── Just enough proto3 ──


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def ping(request):
    return b"\x08" + varint(request) + b"\x42\x00"


def pong(reply):
    return b"\x10" + varint(reply) + b"\x4a\x00"


def pong_at(reply, address, port):
    place = b"\x0a" + varint(len(address)) + address + b"\x10" + varint(port)
    body = b"\x12" + varint(len(place)) + place
    return b"\x10" + varint(reply) + b"\x4a" + varint(len(body)) + body


def padded(envelope, size):
    """Field 15, zeros, for envelopes that lack at least 131 bytes."""
    zeros = size - len(envelope) - 3
    return envelope + b"\x7a" + varint(zeros) + bytes(zeros)


def numbers(envelope):
    """Request and reply of an envelope whose other fields are length-delimited."""
    found, at = {1: 0, 2: 0}, 0
    while at < len(envelope):
        key, at = read_varint(envelope, at)
        value, at = read_varint(envelope, at)
        if key & 7 == 2:
            at += value
        else:
            found[key >> 3] = value
    return found[1], found[2]


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


# ── Vectors ──


class Ratchet:
    """The source of ephemeral keys in the Swift implementation; not part of the protocol."""

    def __init__(self, entropy, purpose):
        self.state = tagged(purpose, entropy)

    def next(self):
        key = self.state
        self.state = hashlib.blake2b(b"\1", digest_size=32, key=key).digest()
        return hashlib.blake2b(b"\2", digest_size=32, key=key).digest()


def swift_numbers(entropy):
    """First request number and first association number, and the ratchet that makes them."""
    ratchet = Ratchet(entropy, b"starling sessions")
    first = ratchet.next()
    ratchet.next()
    request = (int.from_bytes(first[4:8], "big") + 1) & 0xFFFFFFFF
    association = ((int.from_bytes(first[14:16], "big") + 1) & 0xFFFF) << 16
    return request, association, ratchet


def datagram_vector(secret_key):
    seeds = [bytes([1]) * 32, bytes([2]) * 32]
    entropies = [bytes([3]) * 32, bytes([4]) * 32]
    secret = tagged(b"starling mesh key", secret_key) if secret_key else PUBLIC_MESH
    keys = [public_key(seed) for seed in seeds]
    request, number, ratchet = swift_numbers(entropies[0])
    _, remote_number, remote_ratchet = swift_numbers(entropies[1])
    ephemerals = [ratchet.next(), remote_ratchet.next()]
    a = noise(seeds[0], b"starling datagram", keys[1], ephemerals[0], secret=secret)
    b = noise(seeds[1], b"starling datagram", None, ephemerals[1], secret=secret)
    # A ping, padded (before its body, field 8, in the canonical order of fields: 15 comes last).
    first = initiation(a, seeds[0], keys[1], number, padded(ping(request), 352), secret)
    b.read_message(first[36:])
    reply = pong_at(request, bytes([10, 1, 0, 1]), 7827)
    second = response(b, seeds[1], number, remote_number, reply)
    a.read_message(second[8:])
    ours, theirs = Transport(a, remote_number), Transport(b, number)
    packets = [first, second, ours.seal(b""), ours.seal(ping(request + 1))]
    packets.append(theirs.seal(pong_at(request + 1, bytes([10, 1, 0, 1]), 7827)))
    return {
        "mesh": MESH.decode(),
        "mesh_key": secret_key.hex(),
        "seeds": [seed.hex() for seed in seeds],
        "public_keys": [key.hex() for key in keys],
        "agreement_keys": [agreement_key(key).hex() for key in keys],
        "entropies": [entropy.hex() for entropy in entropies],
        "ephemerals": [key.hex() for key in ephemerals],
        "endpoints": ["10.1.0.1:7827", "10.1.0.2:7827"],
        "request": request,
        "packets": [packet.hex() for packet in packets],
        "handshake_hash": a.get_handshake_hash().hex(),
    }


def channel_vector():
    seeds = [bytes([1]) * 32, bytes([2]) * 32]
    entropies = [bytes([3]) * 32, bytes([4]) * 32]
    keys = [public_key(seed) for seed in seeds]
    ephemerals = [Ratchet(entropy, b"starling channels").next() for entropy in entropies]
    a = noise(seeds[0], b"starling channel", keys[1], ephemerals[0])
    b = noise(seeds[1], b"starling channel", None, ephemerals[1])
    message = bytes(a.write_message(keys[0]))
    mac1 = hashlib.blake2b(header(5) + message, digest_size=16, key=mac_key(keys[1])).digest()
    hello = header(5) + mac1 + message
    b.read_message(message)
    answer = header(6) + bytes(b.write_message(keys[1]))
    a.read_message(answer[4:])

    def record(connection, plain):
        sealed = bytes(connection.encrypt(plain))
        return len(sealed).to_bytes(2, "little") + sealed

    # Frame {task: 16 bytes 1…16, attempt 1, cancel {}}
    frame = b"\x0a\x10" + bytes(range(1, 17)) + b"\x10\x01" + b"\x72\x00"
    return {
        "mesh": MESH.decode(),
        "seeds": [seed.hex() for seed in seeds],
        "entropies": [entropy.hex() for entropy in entropies],
        "ephemerals": [key.hex() for key in ephemerals],
        "frame": frame.hex(),
        "dialler": [hello.hex(), record(a, b"").hex(), record(a, frame).hex()],
        "acceptor": [answer.hex(), record(b, frame).hex()],
    }


def write_vectors():
    document = {
        "about": "made by noise_peer.py with PyPI's noiseprotocol; packets: initiation, response, confirmation, "
        "ping, pong, from the first node and the second by turns as their kind says",
        "datagrams": [datagram_vector(b""), datagram_vector(b"correct horse")],
        "channels": [channel_vector()],
    }
    path = pathlib.Path(__file__).with_name("sessions.json")
    path.write_text(json.dumps(document, indent=1) + "\n")


# ── Live ──


def udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(30)
    return sock


def listen():
    seed, number = os.urandom(32), 0x01020304
    own = public_key(seed)
    sock = udp()
    print(own.hex(), sock.getsockname()[1], flush=True)
    transport = None
    while True:
        try:
            packet, source = sock.recvfrom(2048)
        except socket.timeout:
            return
        if packet[0] == 1:
            expected = hashlib.blake2b(packet[:4] + packet[36:180], digest_size=16, key=mac_key(own)).digest()
            assert hmac.compare_digest(expected, packet[4:20]), "mac1"
            connection = noise(seed, b"starling datagram")
            payload = bytes(connection.read_message(packet[36:]))
            key, remote_number, envelope = payload[:32], int.from_bytes(payload[32:36], "little"), payload[36:]
            assert agreement_key(key) == connection.noise_protocol.handshake_state.rs.public_bytes, "identity"
            reply = pong(numbers(envelope)[0]) if envelope else b""
            answer = response(connection, seed, remote_number, number, reply)
            assert len(answer) <= len(packet), "out <= in"
            sock.sendto(answer, source)
            transport = Transport(connection, remote_number)
        elif packet[0] == 4 and transport:
            assert int.from_bytes(packet[4:8], "little") == number
            envelope = transport.open(packet)
            if envelope and numbers(envelope)[0]:
                sock.sendto(transport.seal(pong(numbers(envelope)[0])), source)


def dial(key, port):
    seed, receiver, number = os.urandom(32), bytes.fromhex(key), 0x0A0B0C0D
    sock = udp()
    sock.settimeout(5)
    connection = noise(seed, b"starling datagram", receiver)
    sock.sendto(initiation(connection, seed, receiver, number, padded(ping(5), 352)), ("127.0.0.1", int(port)))
    packet, source = sock.recvfrom(2048)
    assert packet[:4] == header(2) and int.from_bytes(packet[4:8], "little") == number
    payload = bytes(connection.read_message(packet[8:]))
    assert payload[:32] == receiver
    assert numbers(payload[36:]) == (0, 5), payload[36:].hex()
    transport = Transport(connection, int.from_bytes(payload[32:36], "little"))
    sock.sendto(transport.seal(b""), source)
    sock.sendto(transport.seal(ping(6)), source)
    packet, _ = sock.recvfrom(2048)
    assert numbers(transport.open(packet)) == (0, 6)
    print("ok", flush=True)


if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "vectors":
        write_vectors()
    elif command == "listen":
        listen()
    elif command == "dial":
        dial(*sys.argv[2:4])
    else:
        sys.exit(__doc__)
