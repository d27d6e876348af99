import Primitives

/// Walks the fields of one proto3 message. `next` reads a tag and its whole value, so an unknown field is skipped by
/// not looking at it; the `read…` functions then store the value where the codec wants it.
///
/// As in stock libraries: a field whose wire type is not the declared one counts as unknown; the last scalar wins;
/// an integer wider than its field keeps its low bits. Stricter than some: groups, field 0, tags over 32 bits and
/// varints over 64 bits are malformed. Nothing is allocated before the bytes for it are known to be there.
struct ProtoReader {
    private(set) var field: UInt32 = 0
    private(set) var type = WireType.varint
    private var number: UInt64 = 0
    private var start = 0
    private var stop = 0
    private var offset: Int
    private let end: Int

    init(_ bytes: RawSpan) {
        offset = 0
        end = bytes.byteCount
    }

    private init(from offset: Int, to end: Int) {
        self.offset = offset
        self.end = end
    }

    /// Moves to the next field; false at the end.
    mutating func next(_ bytes: RawSpan) throws(WireError) -> Bool {
        guard offset < end else { return false }
        let tag = try varint(bytes)
        guard tag >> 32 == 0, tag >> 3 != 0, let type = WireType(rawValue: UInt8(tag & 7)) else {
            throw .malformed
        }
        self.field = UInt32(tag >> 3)
        self.type = type
        switch type {
        case .varint: number = try varint(bytes)
        case .fixed64: number = try word(bytes)
        case .fixed32:
            guard end - offset >= 4 else { throw .truncated }
            offset += 4
        case .bytes:
            let length = try varint(bytes)
            guard length <= UInt64(end - offset) else { throw .truncated }
            start = offset
            offset += Int(length)
            stop = offset
        }
        return true
    }

    /// The fields of this field's message; nil if it is none.
    var message: ProtoReader? { type == .bytes ? ProtoReader(from: start, to: stop) : nil }

    // MARK: Numbers

    func read(_ value: inout UInt32) {
        if type == .varint { value = UInt32(truncatingIfNeeded: number) }
    }

    func read(_ value: inout UInt32, clampedTo limit: UInt32) {
        if type == .varint { value = min(UInt32(truncatingIfNeeded: number), limit) }
    }

    func read(_ value: inout UInt32, max: UInt32) throws(WireError) {
        guard type == .varint else { return }
        value = UInt32(truncatingIfNeeded: number)
        guard value <= max else { throw .outOfRange }
    }

    func read(_ value: inout UInt64, clampedTo limit: UInt64) {
        if type == .varint { value = min(number, limit) }
    }

    func read(_ value: inout UInt64, max: UInt64) throws(WireError) {
        guard type == .varint else { return }
        guard number <= max else { throw .outOfRange }
        value = number
    }

    /// An amount: refused outside 0...max.
    func read(_ value: inout Int64, max: Int64) throws(WireError) {
        guard type == .varint else { return }
        guard number <= UInt64(max) else { throw .outOfRange }
        value = Int64(number)
    }

    func read(_ value: inout Bool) {
        if type == .varint { value = number != 0 }
    }

    func read<E: RawRepresentable<UInt32>>(_ value: inout E, unknown: E) {
        if type == .varint { value = E(rawValue: UInt32(truncatingIfNeeded: number)) ?? unknown }
    }

    func read(_ value: inout Features) {
        if type == .varint { value = Features(rawValue: UInt32(truncatingIfNeeded: number)) }
    }

    /// A zigzag date, clamped to 1970...9999.
    func read(_ value: inout WallTime) {
        guard type == .varint else { return }
        let date = Int64(bitPattern: number >> 1) ^ -Int64(bitPattern: number & 1)
        value = min(max(WallTime(milliseconds: date), WallTime(milliseconds: 0)), WireLimits.dateMax)
    }

    func read(fixed64 value: inout UInt64) {
        if type == .fixed64 { value = number }
    }

    // MARK: Bytes

    func read(_ value: inout [UInt8], _ bytes: RawSpan, max: Int) throws(WireError) {
        guard type == .bytes else { return }
        guard stop - start <= max else { throw .outOfRange }
        value = bytes.array(start..<stop)
    }

    /// A text; one with control characters is malformed.
    func read(_ value: inout String, _ bytes: RawSpan, max: Int) throws(WireError) {
        if type == .bytes { value = try text(bytes, max: max) }
    }

    /// A canonical model name; empty: absent.
    func read(model value: inout String, _ bytes: RawSpan) throws(WireError) {
        guard type == .bytes else { return }
        let name = try text(bytes, max: WireLimits.modelMax)
        guard name.isEmpty || name.isModelName else { throw .malformed }
        value = name
    }

    func append(to values: inout [String], _ bytes: RawSpan, max: Int, countMax: Int) throws(WireError) {
        guard type == .bytes else { return }
        guard values.count < countMax else { throw .outOfRange }
        values.append(try text(bytes, max: max))
    }

    /// A text in a frame, which a worker copies from its model server or its client: control characters are read
    /// as spaces.
    func read(foreign value: inout String, _ bytes: RawSpan, max: Int) throws(WireError) {
        if type == .bytes { value = try anyText(bytes, max: max).madePlain }
    }

    func append(
        foreignTo values: inout [String], _ bytes: RawSpan, max: Int, countMax: Int
    ) throws(WireError) {
        guard type == .bytes else { return }
        guard values.count < countMax else { throw .outOfRange }
        values.append(try anyText(bytes, max: max).madePlain)
    }

    private func text(_ bytes: RawSpan, max: Int) throws(WireError) -> String {
        let text = try anyText(bytes, max: max)
        guard text.isPlain else { throw .malformed }
        return text
    }

    private func anyText(_ bytes: RawSpan, max: Int) throws(WireError) -> String {
        let range = start..<stop
        guard range.count <= max else { throw .outOfRange }
        let text = bytes.withUnsafeBytes {
            String(validating: UnsafeRawBufferPointer(rebasing: $0[range]), as: UTF8.self)
        }
        guard let text else { throw .malformed }
        return text
    }

    /// 32 bytes; an empty field is an absent one.
    func read(_ value: inout Bytes32?, _ bytes: RawSpan) throws(WireError) {
        guard type == .bytes else { return }
        switch stop - start {
        case 0: value = nil
        case 32: value = Bytes32(be(bytes, 0), be(bytes, 8), be(bytes, 16), be(bytes, 24))
        default: throw .malformed
        }
    }

    /// 16 bytes; an empty field is an absent one.
    func read(_ value: inout TaskID?, _ bytes: RawSpan) throws(WireError) {
        guard type == .bytes else { return }
        switch stop - start {
        case 0: value = nil
        case 16: value = TaskID(high: be(bytes, 0), low: be(bytes, 8))
        default: throw .malformed
        }
    }

    /// 64 bytes; an empty field is an absent one.
    func read(_ value: inout Signature?, _ bytes: RawSpan) throws(WireError) {
        guard type == .bytes else { return }
        switch stop - start {
        case 0: value = nil
        case 64:
            value = Signature(
                r: Bytes32(be(bytes, 0), be(bytes, 8), be(bytes, 16), be(bytes, 24)),
                s: Bytes32(be(bytes, 32), be(bytes, 40), be(bytes, 48), be(bytes, 56)))
        default: throw .malformed
        }
    }

    // MARK: Repeated scalars, packed or not

    func append(varintsTo values: inout [UInt32], _ bytes: RawSpan, countMax: Int) throws(WireError) {
        var packed = ProtoReader(from: start, to: stop)
        switch type {
        case .varint:
            guard values.count < countMax else { throw .outOfRange }
            values.append(UInt32(truncatingIfNeeded: number))
        case .bytes:
            while packed.offset < packed.end {
                guard values.count < countMax else { throw .outOfRange }
                values.append(UInt32(truncatingIfNeeded: try packed.varint(bytes)))
            }
        case .fixed32, .fixed64: break
        }
    }

    func append(fixed64To values: inout [UInt64], _ bytes: RawSpan, countMax: Int) throws(WireError) {
        var packed = ProtoReader(from: start, to: stop)
        switch type {
        case .fixed64:
            guard values.count < countMax else { throw .outOfRange }
            values.append(number)
        case .bytes:
            while packed.offset < packed.end {
                guard values.count < countMax else { throw .outOfRange }
                values.append(try packed.word(bytes))
            }
        case .fixed32, .varint: break
        }
    }

    // MARK: Raw reads

    private mutating func varint(_ bytes: RawSpan) throws(WireError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < end {
            let byte = bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
            offset += 1
            if shift == 63 && byte > 1 { throw .malformed }
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
        throw .truncated
    }

    private mutating func word(_ bytes: RawSpan) throws(WireError) -> UInt64 {
        guard end - offset >= 8 else { throw .truncated }
        defer { offset += 8 }
        return UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private func be(_ bytes: RawSpan, _ index: Int) -> UInt64 {
        UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: start + index, as: UInt64.self))
    }
}

extension RawSpan {
    /// A copy of `range`, which must lie inside the span.
    fileprivate func array(_ range: Range<Int>) -> [UInt8] {
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
