/// A number in JSON (RFC 8259 §6), found without converting it.
struct JSONNumber {
    /// After its last byte.
    let end: Int
    /// Digits before the point, plus the exponent: its magnitude is below 10 to the power of this. Within ±1,100.
    let digits: Int

    /// Fails when no number begins at `start`, or what follows belongs to none. Most bytes of an embedding's answer
    /// pass through here.
    @inline(__always)
    init?(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) {
        var index = start
        if index < bytes.count, bytes[index] == UInt8(ascii: "-") { index += 1 }
        let first = index
        index = Self.skipDigits(bytes, index)
        let whole = index - first
        guard whole == 1 || whole > 1 && bytes[first] != UInt8(ascii: "0") else { return nil }
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            let point = index
            index = Self.skipDigits(bytes, point + 1)
            guard index > point + 1 else { return nil }
        }
        var exponent = 0
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            guard let found = Self.exponent(bytes, index + 1) else { return nil }
            (exponent, index) = found
        }
        guard index == bytes.count || !JSONCursor.isNumber(bytes[index]) else { return nil }
        end = index
        digits = min(whole, 100) + exponent
    }

    @inline(__always)
    private static func skipDigits(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        var index = start
        while index < bytes.count, bytes[index] &- 0x30 < 10 { index += 1 }
        return index
    }

    private static func exponent(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> (value: Int, end: Int)? {
        var first = start
        var isNegative = false
        if first < bytes.count, bytes[first] == UInt8(ascii: "-") || bytes[first] == UInt8(ascii: "+") {
            isNegative = bytes[first] == UInt8(ascii: "-")
            first += 1
        }
        let end = skipDigits(bytes, first)
        guard end > first else { return nil }
        var value = 0
        for digit in bytes[first..<end] { value = min(value * 10 + Int(digit - 0x30), 1_000) }
        return (isNegative ? -value : value, end)
    }
}
