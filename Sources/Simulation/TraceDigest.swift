import Primitives

/// A running 64-bit digest of everything that happened, in order. Two runs with one digest took the same course.
///
/// The mixing step is that of SplitMix64 (Steele, Lea, Flood 2014): not for adversaries, who don't write our traces.
/// Of a sealed datagram or record its ends are enough: the last 16 bytes authenticate all of it.
public struct TraceDigest: Sendable {
    public private(set) var value: UInt64 = 0x5354_4152_4c49_4e47

    mutating func mix(_ word: UInt64) {
        var z = (value ^ word) &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        value = z ^ z >> 31
    }

    mutating func mix(_ number: Int) { mix(UInt64(bitPattern: Int64(number))) }

    mutating func mix(_ kind: UInt8, _ a: Int, _ b: Int) {
        mix(UInt64(kind) << 56 ^ UInt64(bitPattern: Int64(a)) << 24 ^ UInt64(bitPattern: Int64(b)))
    }

    mutating func mixEnds(_ bytes: UnsafeRawBufferPointer) {
        mix(bytes.count)
        guard bytes.count >= 16 else {
            for byte in bytes { mix(UInt64(byte)) }
            return
        }
        mix(bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self).littleEndian)
        mix(bytes.loadUnaligned(fromByteOffset: bytes.count - 16, as: UInt64.self).littleEndian)
        mix(bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self).littleEndian)
    }

    /// Sixteen hexadecimal digits.
    public var text: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
