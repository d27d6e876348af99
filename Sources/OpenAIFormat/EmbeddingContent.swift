/// An embedding's answer, found fit for its request: `{"data": [{"index": …, "embedding": …}, …]}` with one item for
/// each input, each index once, and vectors of one length. A vector is a list of numbers, or a string with the base64 of
/// little-endian 32-bit floats; each number is finite as such a float.
///
/// A model server's answer is checked so by the worker, and a worker's by the buyer before it counts as finished. One
/// pass over the bytes, without a tree: some milliseconds a MiB. What else the objects hold is skipped.
public struct EmbeddingContent: Sendable {
    /// Where the vector of one input stands in the JSON: a list with its brackets, or a string without its quotes.
    struct Vector: Hashable, Sendable {
        var range: Range<Int>
        var isBase64: Bool
    }

    /// In the order of the inputs.
    let vectors: [Vector]
    /// What the server counted.
    public let usage: BackendUsage?

    /// The shortest item with its comma: `{"index":0,"embedding":[0]}`.
    static let itemBytesMin = 27
    /// Members of one object; more are refused.
    static let membersMax = 64

    /// Scans an answer to a request with this many inputs. Nil: it is something else, or no JSON.
    public init?(scanning json: [UInt8], inputs: Int) {
        guard inputs > 0, inputs <= json.count / Self.itemBytesMin + 1 else { return nil }
        var reader = Reader(json, inputs: inputs)
        guard (try? reader.read()) != nil else { return nil }
        vectors = reader.vectors
        usage = reader.usage
    }

    /// The inputs of a request's `input`: text or token ids are one; a list of these holds one in each element.
    public static func inputs(of input: JSONTree) -> Int {
        guard let elements = input.elements, elements.contains(where: { $0.real == nil }) else { return 1 }
        return elements.count
    }
}

private struct Reader {
    private var cursor: JSONCursor
    private let inputs: Int
    private(set) var vectors: [EmbeddingContent.Vector]
    private(set) var usage: BackendUsage?
    private var dimension: Int?

    /// In the place of a vector that hasn't come.
    private static let missing = EmbeddingContent.Vector(range: 0..<0, isBase64: false)

    init(_ json: [UInt8], inputs: Int) {
        cursor = JSONCursor(json)
        self.inputs = inputs
        vectors = Array(repeating: Self.missing, count: inputs)
    }

    mutating func read() throws(JSONError) {
        try cursor.take(UInt8(ascii: "{"))
        var first = true
        var (members, hasData, hasUsage) = (0, false, false)
        while let key = try cursor.nextKey(&first) {
            try count(&members)
            switch key {
            case "data":
                try once(&hasData)
                try readItems()
            case "usage":
                try once(&hasUsage)
                usage = try BackendUsage(&cursor)
            default: try cursor.skip(depth: 1)
            }
        }
        try cursor.end()
        guard hasData else { throw .malformed(at: cursor.index) }
    }

    private mutating func readItems() throws(JSONError) {
        try cursor.take(UInt8(ascii: "["))
        var first = true
        var items = 0
        while try cursor.nextElement(&first) {
            guard items < inputs else { throw .malformed(at: cursor.index) }
            items += 1
            try readItem()
        }
        guard items == inputs else { throw .malformed(at: cursor.index) }
    }

    private mutating func readItem() throws(JSONError) {
        try cursor.take(UInt8(ascii: "{"))
        var first = true
        var members = 0
        var place: UInt64?
        var vector: EmbeddingContent.Vector?
        while let key = try cursor.nextKey(&first) {
            try count(&members)
            switch key {
            case "index" where place == nil:
                place = try cursor.whole(depth: 3)
                guard place != nil else { throw .malformed(at: cursor.index) }
            case "embedding" where vector == nil: vector = try readVector()
            case "index", "embedding": throw .duplicateKey
            default: try cursor.skip(depth: 3)
            }
        }
        guard let place, let vector, place < UInt64(inputs), vectors[Int(place)] == Self.missing else {
            throw .malformed(at: cursor.index)
        }
        vectors[Int(place)] = vector
    }

    private mutating func readVector() throws(JSONError) -> EmbeddingContent.Vector {
        let isBase64 = cursor.peek() == UInt8(ascii: "\"")
        let start = cursor.index
        guard let end = cursor.bytes.withUnsafeBufferPointer({ VectorScanner.scan($0, from: start) }),
            end.count == dimension ?? end.count
        else { throw .malformed(at: start) }
        dimension = end.count
        cursor.advance(end.index - start)
        return .init(range: isBase64 ? start + 1..<end.index - 1 : start..<end.index, isBase64: isBase64)
    }

    private func once(_ seen: inout Bool) throws(JSONError) {
        guard !seen else { throw .duplicateKey }
        seen = true
    }

    private func count(_ members: inout Int) throws(JSONError) {
        members += 1
        guard members <= EmbeddingContent.membersMax else { throw .malformed(at: cursor.index) }
    }
}

/// Scans one vector: most of an answer's bytes.
private enum VectorScanner {
    /// More digits before its point could be more than a 32-bit float holds (3.4 · 10^38).
    private static let digitsMax = 38

    /// Returns where the vector that begins at `start` ends, and how many numbers it has, at least one; nil if it
    /// isn't one.
    static func scan(
        _ bytes: UnsafeBufferPointer<UInt8>, from start: Int
    ) -> (index: Int, count: Int)? {
        guard start < bytes.count else { return nil }
        return switch bytes[start] {
        case UInt8(ascii: "["): list(bytes, start + 1)
        case UInt8(ascii: "\""): base64(bytes, start + 1)
        default: nil
        }
    }

    private static func list(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> (index: Int, count: Int)? {
        var (index, count) = (start, 0)
        while true {
            skipSpace(bytes, &index)
            guard let number = JSONNumber(bytes, from: index), number.digits <= digitsMax else { return nil }
            index = number.end
            count += 1
            skipSpace(bytes, &index)
            guard index < bytes.count else { return nil }
            index += 1
            switch bytes[index - 1] {
            case UInt8(ascii: ","): continue
            case UInt8(ascii: "]"): return (index, count)
            default: return nil
            }
        }
    }

    private static func skipSpace(_ bytes: UnsafeBufferPointer<UInt8>, _ index: inout Int) {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x0A, 0x0D, 0x09: index += 1
            default: return
            }
        }
    }

    private static func base64(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int
    ) -> (index: Int, count: Int)? {
        guard let end = bytes[start...].firstIndex(of: UInt8(ascii: "\"")),
            let floats = Base64.decode(UnsafeBufferPointer(rebasing: bytes[start..<end])),
            !floats.isEmpty, floats.count % 4 == 0
        else { return nil }
        // An exponent of all ones is infinite or no number.
        for at in stride(from: 0, to: floats.count, by: 4)
        where floats[at + 3] & 0x7F == 0x7F && floats[at + 2] & 0x80 != 0 { return nil }
        return (end + 1, floats.count / 4)
    }
}
