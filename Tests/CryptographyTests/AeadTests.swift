import Primitives
import TestSupport
import Testing

@testable import Cryptography

/// ChaCha20-Poly1305 (RFC 8439) with Noise's nonces, and BLAKE2b (RFC 7693) as Noise uses it.
@Suite struct AeadTests {
    /// RFC 8439 appendix A.5, whose nonce begins with four zero bytes like ours.
    static let key = "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"
    static let counter: UInt64 = 0x0807_0605_0403_0201
    static let associated = "f33388860000000000004e91"
    static let sealed =
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100"
        + "d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b350638"
        + "3606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa115"
        + "5b0047718cbc546a0d072b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
        + "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b"
    static let tag = "eead9d67890cbb22392336fea1851f38"

    @Test func opensAndSealsAsRFC8439Does() throws {
        let key = Secret32(hex32(Self.key))
        let original = hex(Self.sealed + Self.tag)
        var bytes = original
        let opened = bytes.withUnsafeMutableBytes { buffer in
            hex(Self.associated).withUnsafeBytes {
                Aead.open(buffer, key: key, counter: Self.counter, associated: $0)
            }
        }
        let count = try #require(opened)
        #expect(count == 265)
        #expect(String(decoding: bytes.prefix(31), as: UTF8.self) == "Internet-Drafts are draft docum")
        bytes.withUnsafeMutableBytes { buffer in
            hex(Self.associated).withUnsafeBytes {
                Aead.seal(buffer, count: count, key: key, counter: Self.counter, associated: $0)
            }
        }
        #expect(bytes == original)
    }

    @Test func everyFlippedBitAndEveryTruncationIsRefused() {
        let key = Secret32(Bytes32(1, 2, 3, 4))
        var sealed = Array(0..<40 as Range<UInt8>) + [UInt8](repeating: 0, count: 16)
        sealed.withUnsafeMutableBytes { Aead.seal($0, count: 40, key: key, counter: 5) }
        func opens(_ bytes: [UInt8], _ counter: UInt64) -> Bool {
            var copy = bytes
            return copy.withUnsafeMutableBytes { Aead.open($0, key: key, counter: counter) } != nil
        }
        #expect(opens(sealed, 5))
        #expect(!opens(sealed, 6))
        for bit in 0..<sealed.count * 8 {
            var flipped = sealed
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!opens(flipped, 5))
        }
        for length in 0..<sealed.count { #expect(!opens(Array(sealed.prefix(length)), 5)) }
    }

    @Test func nothingAtAllCanBeSealed() {
        var bytes = [UInt8](repeating: 0, count: 16)
        let key = Secret32(.zero)
        bytes.withUnsafeMutableBytes { Aead.seal($0, count: 0, key: key, counter: 0) }
        let opened = bytes.withUnsafeMutableBytes { Aead.open($0, key: key, counter: 0) }
        #expect(opened == 0)
    }

    /// RFC 7693 appendix A.
    @Test func hashesAsRFC7693Does() {
        let hash = Array("ab".utf8).withUnsafeBytes { first in
            Array("c".utf8).withUnsafeBytes { Blake2b.hash64(first, $0) }
        }
        #expect(
            text(hash.bytes)
                == "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                + "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923")
    }

    /// Values from Python's hmac and hashlib.blake2b.
    @Test func macsAsPythonDoes() {
        let mac = Array("starling".utf8).withUnsafeBytes {
            Blake2b.hmac64(key: Hash64(padding: Array(0..<64)), $0)
        }
        #expect(
            text(mac.bytes)
                == "b20118d7ee040c123077e723615e552c72920e6dd92e1b4b1b9b6ad1e6f7c20c"
                + "f7b0999d315039d50ad6b646c4c010fec0a915f871ebdb161cb6f56ba9966e90")
        var bytes = [UInt8](repeating: 0, count: 16)
        let input = Array(String(repeating: "starling", count: 18).utf8)
        let key = Secret32(Bytes32(Array(0..<32 as Range<UInt8>)) ?? .zero)
        let short = input.withUnsafeBytes {
            Blake2b.mac16(
                key: key, UnsafeRawBufferPointer(rebasing: $0[..<4]),
                UnsafeRawBufferPointer(rebasing: $0[4...]))
        }
        bytes.withUnsafeMutableBytes { short.store(into: $0, at: 0) }
        #expect(text(bytes) == "a394bed3b2c3e9a5573936ba5dd947f4")
    }

    @Test func aRatchetNeverRepeatsAndRepeatsItselfFromItsEntropy() {
        var a = KeyRatchet(entropy: Bytes32(1, 2, 3, 4), purpose: "starling test")
        var b = KeyRatchet(entropy: Bytes32(1, 2, 3, 4), purpose: "starling test")
        var c = KeyRatchet(entropy: Bytes32(1, 2, 3, 4), purpose: "starling other")
        var seen: Set<Bytes32> = []
        for _ in 0..<1_000 {
            let key = a.next()
            #expect(b.next() == key)
            #expect(c.next() != key)
            #expect(seen.insert(key).inserted)
        }
    }
}
