// The small part of HTTP/1.1 that a test server and a test client on one machine need: heads, lengths,
// chunks. Both ends are ours, so malformed input ends the connection.

import Glibc

extension [UInt8] {
    /// The first range of `pattern` at or after `start`.
    func firstRange(of pattern: StaticString, from start: Int = 0) -> Range<Int>? {
        let length = pattern.utf8CodeUnitCount
        guard length > 0, count - start >= length else { return nil }
        return withUnsafeBytes { bytes -> Range<Int>? in
            guard let base = bytes.baseAddress else { return nil }
            var at = start
            while at <= count - length {
                let rest = count - length + 1 - at
                guard let found = memchr(base + at, Int32(pattern.utf8Start.pointee), rest) else {
                    return nil
                }
                at = UnsafeRawPointer(found) - base
                if memcmp(base + at, pattern.utf8Start, length) == 0 { return at..<at + length }
                at += 1
            }
            return nil
        }
    }

    /// The decimal number at `start`, after skipping spaces.
    func number(at start: Int) -> Int? {
        var index = start
        while index < count, self[index] == 32 { index += 1 }
        var value: Int?
        while index < count, (48...57).contains(self[index]), (value ?? 0) < 1 << 50 {
            value = (value ?? 0) * 10 + Int(self[index] - 48)
            index += 1
        }
        return value
    }
}

/// A head: everything up to the empty line, with header names in lower case.
struct HTTPHead {
    var firstLine: String
    var headers: [String: String] = [:]

    init(_ bytes: ArraySlice<UInt8>) {
        var lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n")[...]
        firstLine = lines.popFirst().map(String.init) ?? ""
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers[line[..<colon].lowercased()] = String(value)
        }
    }
}

/// Decodes a chunked body as it arrives.
struct ChunkReader {
    private enum State { case size, data(Int), dataEnd, trailer, over }
    private var state = State.size
    private var size = 0
    private var line = 0

    var isOver: Bool { if case .over = state { true } else { false } }

    /// Appends the payload to `out`. Returns false when the input is malformed.
    mutating func feed(_ bytes: UnsafeRawBufferPointer, into out: inout [UInt8]) -> Bool {
        var index = 0
        while index < bytes.count {
            switch state {
            case .over: return false
            case .size:
                let byte = bytes[index]
                index += 1
                if byte == 10 {
                    state = size == 0 ? .trailer : .data(size)
                    line = 0
                    size = 0
                } else if byte != 13 {
                    guard let digit = Self.digit(byte), size < 1 << 40 else { return false }
                    size = size << 4 | digit
                }
            case .data(let left):
                let taken = min(left, bytes.count - index)
                out.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[index..<index + taken]))
                index += taken
                state = taken == left ? .dataEnd : .data(left - taken)
            case .dataEnd:
                if bytes[index] == 10 { state = .size }
                index += 1
            case .trailer:
                if bytes[index] == 10 {
                    if line == 0 { state = .over }
                    line = 0
                } else if bytes[index] != 13 {
                    line += 1
                }
                index += 1
            }
        }
        return true
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case 48...57: Int(byte) - 48
        case 65...70: Int(byte) - 55
        case 97...102: Int(byte) - 87
        default: nil
        }
    }
}
