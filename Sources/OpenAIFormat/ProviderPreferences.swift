// Routing preferences in OpenRouter's form: the request's `provider` object. A preference that is unknown, or
// that no node can guarantee, is an error: if it were ignored, the client would believe that it holds.

import Primitives

/// Which sellers the client accepts and how it ranks them, before names are resolved to keys.
public struct ProviderPreferences: Hashable, Sendable {
    public enum Sort: String, Sendable, CaseIterable { case price, throughput, latency }

    /// Node ids, prefixes, keys or labels.
    public var order: [String] = []
    public var only: [String] = []
    public var ignore: [String] = []
    public var allowFallbacks = true
    /// Lower case.
    public var quantizations: [String] = []
    public var sort: Sort?
    /// Micro-credits per million tokens.
    public var maxPromptPrice: Int64?
    public var maxCompletionPrice: Int64?
    /// For the whole task.
    public var maxCost: Money?
    /// Tokens per second × 1000.
    public var minMillitokensPerSecond: UInt32?
    public var maxFirstTokenMilliseconds: UInt32?
    public var deadlineMilliseconds: Int64?
    /// Trust × 1000.
    public var minMillitrust: UInt32?

    /// Entries in one list of nodes or quantizations.
    public static let listMax = 64
    /// One hour, the market's bound of a task's time.
    public static let deadlineMillisecondsMax: Int64 = 3_600_000

    static let keys = [
        "order", "only", "ignore", "allow_fallbacks", "require_parameters", "quantizations", "sort",
        "max_price",
        "max_cost", "preferred_min_throughput", "preferred_max_latency", "deadline_ms", "min_trust",
        "data_collection",
        "zdr",
    ]

    public init() {}

    /// Reads the value of `provider`.
    public init(_ tree: JSONTree) throws(ErrorBody) {
        guard let members = tree.members else {
            throw .invalid("`provider` must be an object.", param: "provider")
        }
        for member in members where !member.value.isNull { try read(member) }
    }

    private mutating func read(_ member: JSONTree.Member) throws(ErrorBody) {
        let value = member.value
        let path = "provider.\(member.key)"
        switch member.key {
        case "order": order = try Self.names(value, path)
        case "only":
            only = try Self.names(value, path)
            guard !only.isEmpty else {
                throw .invalid(
                    "`\(path)` is empty, which allows nobody. Name the nodes, or leave it out to allow all.",
                    param: path)
            }
        case "ignore": ignore = try Self.names(value, path)
        case "allow_fallbacks": allowFallbacks = try Self.flag(value, path)
        // A node that can't do what the request needs is never asked, whatever this says.
        case "require_parameters": _ = try Self.flag(value, path)
        case "quantizations": quantizations = try Self.names(value, path).map { $0.lowercased() }
        case "sort":
            guard let found = value.text.flatMap(Sort.init) else {
                throw .invalid("`\(path)` must be price, throughput or latency.", param: path)
            }
            sort = found
        case "max_price": try readMaxPrice(value, path)
        case "max_cost": maxCost = Money(microCredits: try Self.credits(value, path))
        case "preferred_min_throughput":
            let perSecond = try Self.number(value, path, unit: "tokens per second", in: 0...1e6)
            minMillitokensPerSecond = UInt32((perSecond * 1000).rounded(.up))
        case "preferred_max_latency":
            let seconds = try Self.number(value, path, unit: "seconds", in: 0...86_400)
            maxFirstTokenMilliseconds = UInt32(seconds * 1000)
        case "deadline_ms":
            let milliseconds = try Self.number(
                value, path, unit: "milliseconds", in: 1...Double(Self.deadlineMillisecondsMax))
            deadlineMilliseconds = Int64(milliseconds)
        case "min_trust":
            minMillitrust = UInt32(try Self.number(value, path, unit: "trust", in: 0...1) * 1000)
        case "data_collection" where value.text == "allow", "zdr" where value.flag == false: break
        case "data_collection", "zdr":
            throw .invalid(
                "`\(path)` can't be kept: the node that answers sees the prompt, and nobody can check what it keeps."
                    + " Name the nodes that you trust in `provider.only`.", param: path,
                code: "unsupported_value")
        default: throw Self.unknown(member.key, in: Self.keys, at: "provider")
        }
    }

    private mutating func readMaxPrice(_ value: JSONTree, _ path: String) throws(ErrorBody) {
        guard let members = value.members else {
            throw .invalid(
                "`\(path)` must be an object of rates in credits per million tokens: {\"prompt\": 1, \"completion\": 2}."
                    + " A limit for the whole task is `provider.max_cost`.", param: path)
        }
        for member in members where !member.value.isNull {
            switch member.key {
            case "prompt": maxPromptPrice = try Self.credits(member.value, "\(path).prompt")
            case "completion": maxCompletionPrice = try Self.credits(member.value, "\(path).completion")
            case "input": throw Self.unknown("input", in: ["prompt"], at: path, meant: "prompt")
            case "output": throw Self.unknown("output", in: ["completion"], at: path, meant: "completion")
            default: throw Self.unknown(member.key, in: ["prompt", "completion"], at: path)
            }
        }
    }

    // MARK: Shapes

    private static func unknown(
        _ key: String, in keys: [String], at path: String, meant: String? = nil
    ) -> ErrorBody {
        let shown = String(key.prefix(80))
        let hint =
            if let meant = meant ?? Nearest.match(shown, in: keys) {
                "Did you mean `\(meant)`?"
            } else {
                "Known are \(keys.joined(separator: ", "))."
            }
        return .invalid(
            "`\(path).\(shown)` is not a known preference. \(hint)", param: "\(path).\(shown)",
            code: "unknown_parameter")
    }

    private static func names(_ value: JSONTree, _ path: String) throws(ErrorBody) -> [String] {
        guard let elements = value.elements, elements.count <= listMax else {
            throw .invalid("`\(path)` must be a list of at most \(listMax) names.", param: path)
        }
        var names: [String] = []
        for (index, element) in elements.enumerated() {
            guard let name = element.text, !name.isEmpty, name.utf8.count <= 128 else {
                throw .invalid("`\(path)[\(index)]` must be a name.", param: "\(path)[\(index)]")
            }
            names.append(name)
        }
        return names
    }

    private static func flag(_ value: JSONTree, _ path: String) throws(ErrorBody) -> Bool {
        guard let flag = value.flag else { throw .invalid("`\(path)` must be true or false.", param: path) }
        return flag
    }

    private static func number(
        _ value: JSONTree, _ path: String, unit: String, in range: ClosedRange<Double>
    ) throws(ErrorBody) -> Double {
        guard let number = value.real ?? value.text.flatMap(Double.init), range.contains(number) else {
            throw .invalid(
                "`\(path)` must be a number of \(unit) from \(plain(range.lowerBound)) to \(plain(range.upperBound)).",
                param: path)
        }
        return number
    }

    /// Reads a number of credits, or its text, which OpenRouter allows.
    private static func credits(_ value: JSONTree, _ path: String) throws(ErrorBody) -> Int64 {
        guard let credits = value.real ?? value.text.flatMap(Double.init),
            let found = Credits.microcredits(credits)
        else {
            throw .invalid("`\(path)` must be a number of credits, 0 or more.", param: path)
        }
        return found
    }

    private static func plain(_ number: Double) -> String {
        number == number.rounded() ? String(Int64(number)) : String(number)
    }
}
