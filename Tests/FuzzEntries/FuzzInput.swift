import Primitives

/// A fuzzer's bytes, read as a program. Reads beyond the end return zero, so that every input has a meaning
/// and a shortened one keeps the meaning of its beginning.
package struct FuzzInput {
    private var rest: ArraySlice<UInt8>

    package init(_ bytes: [UInt8]) { rest = bytes[...] }

    package var isAtEnd: Bool { rest.isEmpty }

    package mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    package mutating func flag() -> Bool { byte() & 1 == 1 }

    /// 0 ..< bound, which is at most 256.
    package mutating func choice(_ bound: Int) -> Int { Int(byte()) % max(1, bound) }

    package mutating func word() -> UInt64 {
        var value: UInt64 = 0
        for _ in 0..<8 { value = value << 8 | UInt64(byte()) }
        return value
    }

    /// Small numbers, arbitrary ones, and those at which arithmetic breaks.
    package mutating func number() -> UInt64 {
        switch byte() & 15 {
        case 0: 0
        case 1: .max
        case 2: .max - 1
        case 3: 1 << 63
        case 4: 1 << 63 - 1
        case 5: UInt64(UInt32.max)
        case 6: 1 << 31
        case 7: word()
        case 8: UInt64(byte()) << 8 | UInt64(byte())
        case 9: UInt64(byte()) << 20
        default: UInt64(byte())
        }
    }

    package mutating func number32() -> UInt32 { UInt32(truncatingIfNeeded: number()) }

    /// Up to 315 bytes, preceded by their count: mostly few, so that one step doesn't use up the program.
    package mutating func bytes() -> [UInt8] {
        let count = Int(byte())
        return take(count < 192 ? count & 31 : 64 + (count - 192) * 4)
    }

    /// Up to 65,535 bytes, made by repeating a few.
    package mutating func manyBytes() -> [UInt8] {
        let part = bytes()
        let count = Int(byte()) << 8 | Int(byte())
        guard !part.isEmpty, byte() & 1 == 1 else { return part }
        return (0..<count).map { part[$0 % part.count] }
    }

    package mutating func take(_ count: Int) -> [UInt8] {
        let taken = Array(rest.prefix(count))
        rest = rest.dropFirst(count)
        return taken
    }

    package mutating func remaining() -> [UInt8] { take(rest.count) }
}
