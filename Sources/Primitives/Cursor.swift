/// A position in bytes that someone else sent: every read is checked against the end, none allocates.
/// The bytes are passed to each call, so that the cursor itself is a plain value.
public struct Cursor: Sendable {
    public private(set) var offset: Int
    public let end: Int

    public init(_ bytes: RawSpan) {
        offset = 0
        end = bytes.byteCount
    }

    public init(from offset: Int, to end: Int) {
        self.offset = offset
        self.end = end
    }

    public var remaining: Int { end - offset }
    public var isAtEnd: Bool { offset == end }

    public mutating func byte(_ bytes: RawSpan) throws(CursorError) -> UInt8 {
        guard remaining >= 1 else { throw .truncated }
        defer { offset += 1 }
        return bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// A fixed-width little-endian integer.
    public mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ bytes: RawSpan, as type: T.Type)
        throws(CursorError) -> T
    {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw .truncated }
        defer { offset += size }
        return T(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// The range of the next `count` bytes, which are skipped.
    public mutating func take(_ count: Int) throws(CursorError) -> Range<Int> {
        guard count >= 0, remaining >= count else { throw .truncated }
        defer { offset += count }
        return offset..<offset + count
    }

    public mutating func bytes32(_ bytes: RawSpan) throws(CursorError) -> Bytes32 {
        guard remaining >= 32 else { throw .truncated }
        defer { offset += 32 }
        func word(_ index: Int) -> UInt64 {
            UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset + 8 * index, as: UInt64.self))
        }
        return Bytes32(word(0), word(1), word(2), word(3))
    }
}

/// What a cursor finds wrong.
public enum CursorError: Error, Sendable {
    /// The bytes end before the value does.
    case truncated
}

extension RawSpan {
    /// A copy of `range`, which must lie inside the span.
    public func array(_ range: Range<Int>) -> [UInt8] {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount,
            "range \(range) outside \(byteCount) bytes")
        return [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source[range]))
            }
            count = range.count
        }
    }
}
