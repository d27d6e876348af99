/// Bounds on what a request may make a model server do beyond reading a prompt and writing tokens: what costs the
/// server time or memory that its tokens don't show.
public struct RequestLimits: Hashable, Sendable {
    /// JSON of one schema: of `response_format`, or of one tool's parameters.
    public var schemaBytes: Int
    /// Levels of nesting in it.
    public var schemaDepth: Int
    /// Values of its enumerations and repetitions of its patterns, lengths and lists, as `SchemaCost` counts them. A server
    /// turns each into a rule of a grammar, and walks through them with each token: llama.cpp takes for 20 tokens of an
    /// enumeration of 1,000 values 0.3 s, of 2,000 1 s, of 4,000 4 s, and refuses more than 2,000 repetitions.
    public var schemaValues: Int
    /// Texts in `stop`, and their bytes together.
    public var stops: Int
    public var stopBytes: Int
    public var logitBiases: Int
    public var images: Int
    /// Of all images together, as base64.
    public var imageBytes: Int

    public init(
        schemaBytes: Int, schemaDepth: Int, schemaValues: Int, stops: Int, stopBytes: Int, logitBiases: Int,
        images: Int, imageBytes: Int
    ) {
        self.schemaBytes = schemaBytes
        self.schemaDepth = schemaDepth
        self.schemaValues = schemaValues
        self.stops = stops
        self.stopBytes = stopBytes
        self.logitBiases = logitBiases
        self.images = images
        self.imageBytes = imageBytes
    }

    /// What a seller takes unless its owner says otherwise.
    public static let usual = RequestLimits(
        schemaBytes: 32 << 10, schemaDepth: 16, schemaValues: 1_000, stops: 16, stopBytes: 1_024,
        logitBiases: 300, images: 8, imageBytes: 4 << 20)

    /// What a gateway lets through: no seller of ours can be set to take more.
    public static let most = RequestLimits(
        schemaBytes: 120 << 10, schemaDepth: 32, schemaValues: 2_000, stops: 64, stopBytes: 4_096,
        logitBiases: 2_048, images: 64, imageBytes: 7 << 20)
}

/// What a schema costs the server that follows it.
struct SchemaCost: Hashable {
    /// Levels of objects and lists.
    var depth = 0
    /// Rules that it becomes: a value of an enumeration, a branch, a property, a repetition of a pattern or a length are
    /// one each; what is repeated counts as often as it may occur.
    var values = 0
    /// A `$ref` that leaves the document.
    var remote: String?

    static let valuesMax = 1 << 40

    init(_ schema: JSONTree) {
        values = visit(schema, depth: 1)
    }

    private mutating func visit(_ value: JSONTree, depth: Int) -> Int {
        switch value {
        case .null, .bool, .number, .string: return 0
        case .array(let elements):
            self.depth = max(self.depth, depth)
            return elements.reduce(0) { Self.sum($0, 1 + visit($1, depth: depth + 1)) }
        case .object(let members):
            self.depth = max(self.depth, depth)
            return visit(members, depth: depth)
        }
    }

    private mutating func visit(_ members: [JSONTree.Member], depth: Int) -> Int {
        var (inside, own, times) = (0, 0, 1)
        for member in members {
            switch (member.key, member.value) {
            case ("$ref", .string(let target)), ("$dynamicRef", .string(let target)):
                if !target.hasPrefix("#") { remote = target }
                own = Self.sum(own, 1)
            case ("pattern", .string(let text)): own = Self.sum(own, Self.pattern(text))
            case ("minItems", .number), ("maxItems", .number), ("minProperties", .number),
                ("maxProperties", .number):
                times = max(times, Self.whole(member.value))
            case ("minLength", .number), ("maxLength", .number): own = Self.sum(own, Self.whole(member.value))
            case ("enum", .array(let values)): own = Self.sum(own, values.count)
            case ("properties", .object(let inner)), ("patternProperties", .object(let inner)),
                ("$defs", .object(let inner)), ("definitions", .object(let inner)):
                for property in inner {
                    if member.key == "patternProperties" { own = Self.sum(own, Self.pattern(property.key)) }
                    inside = Self.sum(inside, 1 + visit(property.value, depth: depth + 2))
                }
                self.depth = max(self.depth, depth + 1)
            default: inside = Self.sum(inside, visit(member.value, depth: depth + 1))
            }
        }
        return Self.sum(own, Self.product(inside, times))
    }

    private static func whole(_ value: JSONTree) -> Int { Int(clamping: value.whole ?? UInt64(valuesMax)) }
    private static func sum(_ a: Int, _ b: Int) -> Int { min(valuesMax, a + b) }
    private static func product(_ a: Int, _ b: Int) -> Int {
        let (product, overflows) = a.multipliedReportingOverflow(by: b)
        return overflows ? valuesMax : min(valuesMax, product)
    }

    /// Characters of a regular expression, each as often as `{m,n}` around it repeats it.
    static func pattern(_ text: String) -> Int {
        // Sums of the open groups; the weight of what stood last in the innermost.
        var sums = [0]
        var last = 0
        var bytes = Array(text.utf8)[...]
        func add(_ weight: Int) {
            last = weight
            sums[sums.count - 1] = sum(sums[sums.count - 1], weight)
        }
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "\\"):
                bytes = bytes.dropFirst()
                add(1)
            case UInt8(ascii: "("): sums.append(0)
            case UInt8(ascii: ")") where sums.count > 1: add(sums.removeLast())
            case UInt8(ascii: "["):
                while let inner = bytes.popFirst(), inner != UInt8(ascii: "]") {
                    if inner == UInt8(ascii: "\\") { bytes = bytes.dropFirst() }
                }
                add(1)
            case UInt8(ascii: "{"):
                let end = bytes.firstIndex(of: UInt8(ascii: "}")) ?? bytes.endIndex
                let counts = String(decoding: bytes[..<end], as: UTF8.self).split(separator: ",")
                bytes = bytes[min(end + 1, bytes.endIndex)...]
                let times = counts.map { Int($0) ?? ($0.allSatisfy(\.isNumber) ? valuesMax : 1) }.max() ?? 1
                // It has been counted once.
                sums[sums.count - 1] = sum(
                    sums[sums.count - 1], product(last, max(0, min(times, valuesMax) - 1)))
            default: add(1)
            }
        }
        return sums.reduce(0, sum)
    }
}
