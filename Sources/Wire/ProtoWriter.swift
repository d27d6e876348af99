import Primitives

/// The encoding of a field's value. Groups (3, 4) are not part of proto3.
/// Source: https://protobuf.dev/programming-guides/encoding/
enum WireType: UInt8 { case varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 }

/// Appends proto3 fields to a buffer. Callers write them in ascending order, and zero or empty values are
/// left out, so that each value has one encoding. Texts and lists are cut to their limits: we never write
/// what a receiver must refuse.
struct ProtoWriter {
    private(set) var bytes: [UInt8]

    /// Continues `bytes`, taking over its storage.
    init(continuing bytes: inout [UInt8]) {
        self.bytes = []
        swap(&self.bytes, &bytes)
    }

    init(reserving capacity: Int) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    var count: Int { bytes.count }

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest > 0x7f {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func tag(_ field: UInt32, _ type: WireType) {
        varint(UInt64(field) << 3 | UInt64(type.rawValue))
    }

    mutating func uint(_ field: UInt32, _ value: UInt64) {
        guard value != 0 else { return }
        tag(field, .varint)
        varint(value)
    }

    mutating func uint(_ field: UInt32, _ value: UInt32) { uint(field, UInt64(value)) }

    mutating func int(_ field: UInt32, _ value: Int64) { uint(field, UInt64(bitPattern: value)) }

    mutating func date(_ field: UInt32, _ value: WallTime) {
        uint(field, UInt64(bitPattern: value.milliseconds << 1 ^ value.milliseconds >> 63))
    }

    mutating func bool(_ field: UInt32, _ value: Bool) { uint(field, value ? 1 as UInt64 : 0) }

    mutating func fixed64(_ field: UInt32, _ value: UInt64) {
        guard value != 0 else { return }
        tag(field, .fixed64)
        raw(value.littleEndian)
    }

    mutating func data(_ field: UInt32, _ value: [UInt8]) {
        guard !value.isEmpty else { return }
        tag(field, .bytes)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    /// A text, cut to `max` bytes, with spaces for control characters, which readers refuse.
    mutating func text(_ field: UInt32, _ value: String, max: Int) {
        guard !value.isEmpty else { return }
        element(field, value, max: max)
    }

    mutating func texts(_ field: UInt32, _ values: [String], max: Int, countMax: Int) {
        for value in values.prefix(countMax) { element(field, value, max: max) }
    }

    private mutating func element(_ field: UInt32, _ value: String, max: Int) {
        let value = value.madePlain.limited(toUTF8: max)
        tag(field, .bytes)
        varint(UInt64(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    mutating func bytes32(_ field: UInt32, _ value: Bytes32?) {
        guard let value else { return }
        tag(field, .bytes)
        varint(32)
        raw(value)
    }

    mutating func task(_ field: UInt32, _ value: TaskID) {
        tag(field, .bytes)
        varint(16)
        raw(value.high.bigEndian)
        raw(value.low.bigEndian)
    }

    mutating func packed(_ field: UInt32, varints values: ArraySlice<UInt32>) {
        message(field, omitEmpty: true) { inner in
            for value in values { inner.varint(UInt64(value)) }
        }
    }

    mutating func packed(_ field: UInt32, fixed64 values: ArraySlice<UInt64>) {
        guard !values.isEmpty else { return }
        tag(field, .bytes)
        varint(UInt64(values.count * 8))
        for value in values { raw(value.littleEndian) }
    }

    /// Writes a nested message, whose length is filled in afterwards. `expecting` is a guess at its length:
    /// if it has the right number of digits, the content isn't moved.
    mutating func message(
        _ field: UInt32, omitEmpty: Bool = false, expecting size: Int = 0,
        _ content: (inout ProtoWriter) -> Void
    ) {
        let start = bytes.count
        tag(field, .bytes)
        let prefix = bytes.count
        varint(UInt64(size))
        let body = bytes.count
        content(&self)
        let length = bytes.count - body
        if length == 0 && omitEmpty {
            bytes.removeLast(bytes.count - start)
        } else if length != size {
            patch(prefix..<body, with: UInt64(length))
        }
    }

    /// Inserts a field of `count` zero bytes at `position`, as padding.
    mutating func insertZeros(_ field: UInt32, _ count: Int, at position: Int) {
        var head = ProtoWriter(reserving: count + 6)
        head.data(field, [UInt8](repeating: 0, count: count))
        bytes.insert(contentsOf: head.bytes, at: position)
    }

    private mutating func patch(_ held: Range<Int>, with length: UInt64) {
        if length <= 0x7f && held.count == 1 {
            bytes[held.lowerBound] = UInt8(truncatingIfNeeded: length)
        } else {
            var digits = ProtoWriter(reserving: 3)
            digits.varint(length)
            bytes.replaceSubrange(held, with: digits.bytes)
        }
    }

    mutating func raw(_ value: Bytes32) {
        raw(value.w0.bigEndian)
        raw(value.w1.bigEndian)
        raw(value.w2.bigEndian)
        raw(value.w3.bigEndian)
    }

    /// Writes the low `count` bytes of `word`, most significant first.
    mutating func raw(bigEndian word: UInt64, bytes count: Int) {
        for index in 1...count {
            bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(8 * (count - index))))
        }
    }

    private mutating func raw(_ word: UInt64) {
        withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
    }
}
