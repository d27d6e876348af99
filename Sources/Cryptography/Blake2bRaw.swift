import CSodium
import Primitives

/// 16 bytes of keyed BLAKE2b: what cheap rejection compares.
public struct Mac16: Equatable, Sendable {
    public var low: UInt64
    public var high: UInt64

    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// The 16 bytes at `offset`, which must exist.
    public init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        low = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        high = bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
    }

    public func store(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
        bytes.storeBytes(of: low, toByteOffset: offset, as: UInt64.self)
        bytes.storeBytes(of: high, toByteOffset: offset + 8, as: UInt64.self)
    }

    /// In constant time.
    public static func == (a: Mac16, b: Mac16) -> Bool { (a.low ^ b.low) | (a.high ^ b.high) == 0 }
}

/// 64 bytes: BLAKE2b-512, the HASH of our Noise protocol.
public struct Hash64: Sendable {
    private var words: InlineArray<8, UInt64>

    private init() { words = .init(repeating: 0) }

    /// `bytes` (at most 64), padded with zeros.
    public init(padding bytes: [UInt8]) {
        precondition(bytes.count <= 64, "Hash64 holds 64 bytes, not \(bytes.count)")
        self.init()
        withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: bytes) }
    }

    public var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

    /// The first 32 bytes: a Noise cipher key from a 64-byte HKDF output.
    public var leading: Secret32 { withUnsafeBytes(of: words) { Secret32(copying: $0) } }

    @inline(__always)
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withUnsafeBytes(of: words) { body($0) }
    }

    @inline(__always)
    static func filled(_ body: (UnsafeMutablePointer<UInt8>) -> Int32) -> Hash64 {
        var hash = Hash64()
        let status = withUnsafeMutableBytes(of: &hash.words) { raw -> Int32 in body(raw.start)
        }
        precondition(status == 0, "crypto_generichash failed")
        return hash
    }
}

extension Blake2b {
    /// Keyed BLAKE2b with 16 bytes of output over two raw buffers in order; nothing is allocated. The two together are
    /// at most 256 bytes.
    public static func mac16(
        key: Secret32, _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) -> Mac16 {
        let total = first.count + second.count
        precondition(total <= 256, "mac16 is for at most 256 bytes, not \(total)")
        var out = InlineArray<2, UInt64>(repeating: 0)
        var input = InlineArray<32, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &input) { buffer in
            buffer.copyMemory(from: first)
            UnsafeMutableRawBufferPointer(rebasing: buffer[first.count...]).copyMemory(from: second)
        }
        let status = withUnsafeMutableBytes(of: &out) { outBytes in
            withUnsafeBytes(of: &input) { inBytes in
                key.withPointer { keyBytes in
                    crypto_generichash(
                        outBytes.start, 16,
                        inBytes.start, UInt64(total), keyBytes, 32)
                }
            }
        }
        precondition(status == 0, "crypto_generichash failed")
        return Mac16(low: out[0], high: out[1])
    }

    /// `hash(domain:_:)` of 32 bytes, for a domain of at most 64; nothing is allocated. (Every message that arrives asks
    /// for its sender's id.)
    public static func hash(domain: StaticString, _ value: Bytes32) -> Bytes32 {
        let length = domain.utf8CodeUnitCount
        precondition(length <= 64, "the domain is too long")
        _ = Sodium.ready
        var input = InlineArray<16, UInt64>(repeating: 0)
        var out = InlineArray<4, UInt64>(repeating: 0)
        let status = withUnsafeMutableBytes(of: &input) { bytes in
            bytes.copyMemory(from: UnsafeRawBufferPointer(start: domain.utf8Start, count: length))
            value.store(into: UnsafeMutableRawBufferPointer(rebasing: bytes[(length + 1)...]))
            return withUnsafeMutableBytes(of: &out) {
                crypto_generichash($0.start, 32, bytes.start, UInt64(length + 33), nil, 0)
            }
        }
        precondition(status == 0, "crypto_generichash failed")
        return withUnsafeBytes(of: out) { Secret32(copying: $0).value }
    }

    /// BLAKE2b-512 of `first` and `second` in order.
    public static func hash64(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Hash64 {
        _ = Sodium.ready
        let total = first.count + second.count
        return withUnsafeTemporaryAllocation(byteCount: max(1, total), alignment: 8) { buffer in
            buffer.copyMemory(from: first)
            UnsafeMutableRawBufferPointer(rebasing: buffer[first.count...]).copyMemory(from: second)
            return Hash64.filled { out in
                crypto_generichash(
                    out, 64, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(total), nil, 0)
            }
        }
    }

    /// HMAC-BLAKE2b-512 (RFC 2104 with BLAKE2b's 128-byte block) of `first` and `second` in order: what Noise's HKDF
    /// is made of. (BLAKE2b's own keyed mode would do, but Noise asks for HMAC.)
    public static func hmac64(
        key: Hash64, _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) -> Hash64 {
        var pad = InlineArray<128, UInt8>(repeating: 0)
        withUnsafeMutableBytes(of: &pad) { pad in key.withBytes { pad.copyMemory(from: $0) } }
        for index in 0..<128 { pad[index] ^= 0x36 }
        let total = 128 + first.count + second.count
        let inner = withUnsafeTemporaryAllocation(byteCount: total, alignment: 8) { buffer in
            withUnsafeBytes(of: &pad) { buffer.copyMemory(from: $0) }
            UnsafeMutableRawBufferPointer(rebasing: buffer[128...]).copyMemory(from: first)
            UnsafeMutableRawBufferPointer(rebasing: buffer[(128 + first.count)...]).copyMemory(from: second)
            return Hash64.filled { out in
                crypto_generichash(
                    out, 64, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(total), nil, 0)
            }
        }
        for index in 0..<128 { pad[index] ^= 0x36 ^ 0x5c }
        return withUnsafeBytes(of: &pad) { pad in inner.withBytes { hash64(pad, $0) } }
    }

    /// Noise's HKDF (revision 34, §4.3) with two outputs.
    public static func hkdf(_ chainingKey: Hash64, _ input: UnsafeRawBufferPointer) -> (Hash64, Hash64) {
        let temporary = hmac64(key: chainingKey, input)
        let one: UInt8 = 1
        let two: UInt8 = 2
        let first = withUnsafeBytes(of: one) { hmac64(key: temporary, $0) }
        let second = first.withBytes { previous in
            withUnsafeBytes(of: two) { hmac64(key: temporary, previous, $0) }
        }
        return (first, second)
    }
}

extension Secret32 {
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withPointer { body(UnsafeRawBufferPointer(start: $0, count: 32)) }
    }
}
