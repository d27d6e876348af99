import Primitives

/// Reads one mapping of a YAML file strictly: an unknown key is an error that names the nearest known one,
/// and a wrong type is an error that names the key. A flag (`mesh.port=7827`) or the environment
/// (`STARLING_MESH_PORT`) can set any key, as strictly.
public struct YAMLReader {
    public struct Source: Sendable {
        public var file: String
        /// By dotted path. Flags win over the environment, which wins over the file.
        public var flags: [String: String]
        public var environment: [String: String]
        public init(file: String, flags: [String: String] = [:], environment: [String: String] = [:]) {
            self.file = file
            self.flags = flags
            self.environment = environment
        }

        /// `STARLING_MESH_PORT` of `mesh.port`, `STARLING_SERVE_0_SLOTS` of `serve[0].slots`.
        static func variable(_ path: String) -> String {
            "STARLING_"
                + path.uppercased().replacing(".", with: "_").replacing("[", with: "_").replacing(
                    "]", with: "")
        }
    }

    /// The paths that were read, for `checkOverrides`; shared by the readers of one file.
    private final class Known {
        var paths: [String] = []
        /// Mappings with any keys, which are set as a whole.
        var whole: [String] = []
    }

    let source: Source
    let node: YAMLNode?
    public let path: String
    /// What set this value instead of the file, such as `--set mesh.port`.
    private let origin: String?
    /// The text that it was set to, as it was given.
    private var given: String?
    private let known: Known

    /// Parses `text`; an empty file is an empty mapping.
    public init(parsing text: String, source: Source) throws(ConfigurationError) {
        do {
            let node = try YAMLNode.parse(text)
            self.init(
                source: source, node: node?.isNull == false ? node : nil, path: "", origin: nil,
                known: Known())
        } catch {
            throw ConfigurationError(
                file: source.file, line: error.line, problem: error.problem, fix: error.fix)
        }
    }

    /// The text of a file: UTF-8, with or without a byte order mark. Throws for another encoding.
    public static func text(of bytes: some Collection<UInt8>, file: String) throws(ConfigurationError)
        -> String
    {
        let start = Array(bytes.prefix(2))
        guard start != [0xff, 0xfe], start != [0xfe, 0xff] else {
            throw ConfigurationError(
                file: file, line: nil, problem: "the file is UTF-16", fix: "save it as UTF-8")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(
                file: file, line: nil, problem: "the file is no UTF-8 text", fix: "save it as UTF-8")
        }
        return text.hasPrefix("\u{feff}") ? String(text.unicodeScalars.dropFirst()) : text
    }

    private init(source: Source, node: YAMLNode?, path: String, origin: String?, known: Known) {
        self.source = source
        self.node = node
        self.path = path
        self.origin = origin
        self.known = known
    }

    /// A part of this value, which comes from the same place.
    private func part(_ node: YAMLNode?, _ path: String) -> YAMLReader {
        YAMLReader(
            source: source, node: node?.isNull == false ? node : nil, path: path, origin: origin, known: known
        )
    }

    public var isAbsent: Bool { node == nil }
    var isList: Bool { node?.sequence != nil }
    /// The value itself, when it is a scalar.
    public var text: String? { node?.string }
    public var line: Int? { origin == nil ? node?.line : nil }

    /// An error at this place in the file, or in what set the value instead.
    public func failure(_ problem: String, fix: String) -> ConfigurationError {
        ConfigurationError(file: origin ?? source.file, line: line, problem: problem, fix: fix)
    }

    /// Throws unless this is a mapping with only these keys.
    public func allow(_ keys: [String]) throws(ConfigurationError) {
        known.paths += keys.map(dotted)
        guard let node else { return }
        guard let mapping = node.mapping else {
            throw failure(
                "\(path.isEmpty ? "the file" : "`\(path)`") must be a mapping (key: value)",
                fix: origin == nil
                    ? "known keys: \(keys.joined(separator: ", "))"
                    : "set \(Nearest.list(keys.map(dotted)))")
        }
        for (key, _) in mapping {
            guard let name = key.string, keys.contains(name) else {
                let name = key.string ?? "?"
                let nearest = Nearest.match(name, in: keys)
                throw ConfigurationError(
                    file: origin ?? source.file, line: origin == nil ? key.line : nil,
                    problem: "unknown key `\(dotted(name))`",
                    fix: nearest.map { "did you mean `\($0)`?" }
                        ?? "known keys: \(keys.joined(separator: ", "))")
            }
        }
    }

    /// Throws for a flag that sets no key of the file, and for a variable `STARLING_…` that is none of
    /// `others`. Call it when everything has been read.
    public func checkOverrides(others: [String]) throws(ConfigurationError) {
        for flag in source.flags.keys.sorted() where !known.paths.contains(flag) {
            throw ConfigurationError(
                file: "--set \(flag)", line: nil, problem: "unknown key `\(flag)`",
                fix: Self.meant(flag, known.paths, wholes: known.whole))
        }
        let variables = known.paths.map(Source.variable) + others
        for variable in source.environment.keys.sorted()
        where variable.hasPrefix("STARLING_") && !variables.contains(variable) {
            throw ConfigurationError(
                file: variable, line: nil, problem: "no key of the configuration has this name",
                fix: Self.meant(variable, variables) + " (or unset it)")
        }
    }

    /// Whether neither the file nor anything else sets a key. Call it when everything has been read.
    var saysNothing: Bool {
        isAbsent && source.flags.isEmpty
            && !known.paths.contains { source.environment[Source.variable($0)] != nil }
    }

    private static func meant(_ name: String, _ known: [String], wholes: [String] = []) -> String {
        // A part of a mapping with any keys, or of a list entry that the file doesn't have.
        if let end = name.lastIndex(where: { $0 == "." || $0 == "[" }) {
            let whole = String(name[..<end])
            if let list = whole.firstIndex(of: "["), !known.contains(where: { $0.hasPrefix(whole + ".") }) {
                let key = String(whole[..<list])
                if known.contains(key) {
                    return "the file has no such entry of `\(key)`: set all of it, as in --set '\(key)=[{…}]'"
                }
            }
            if wholes.contains(whole) {
                return "set all of it, as in --set '\(whole)={key: value}'"
            }
        }
        return Nearest.match(name, in: known).map { "did you mean `\($0)`?" }
            ?? "`starling init` writes a file with every key"
    }

    /// Throws unless this is a mapping, with any keys, or absent.
    func expectMapping(fix: String) throws(ConfigurationError) {
        known.whole.append(path)
        guard let node, node.mapping == nil else { return }
        throw failure("`\(path)` must be a mapping (key: value)", fix: fix)
    }

    /// The value of `key`. An absent value has a reader too, which knows its path.
    public func child(_ key: String) -> YAMLReader {
        let name = dotted(key)
        let variable = Source.variable(name)
        if let text = source.flags[name] { return replaced(name, by: text, "--set \(name)") }
        if let text = source.environment[variable] { return replaced(name, by: text, variable) }
        return part(node?[key], name)
    }

    /// A value from outside the file: a list or a mapping in brackets is YAML, everything else is taken as it is.
    private func replaced(_ path: String, by text: String, _ origin: String) -> YAMLReader {
        var node = YAMLNode(text)
        if text.hasPrefix("[") || text.hasPrefix("{"), let parsed = try? YAMLNode.parse(text) {
            node = parsed
        }
        var reader = YAMLReader(source: source, node: node, path: path, origin: origin, known: known)
        reader.given = text
        return reader
    }

    /// The entries of a mapping, in the file's order.
    public var entries: [(key: String, value: YAMLReader)] {
        (node?.mapping ?? []).map { key, value in
            let name = key.string ?? "?"
            return (name, part(value, dotted(name)))
        }
    }

    /// The items of a list; empty for an absent key; an error for anything else. Outside the file, commas
    /// separate items too.
    public func list(_ key: String) throws(ConfigurationError) -> [YAMLReader] {
        let reader = child(key)
        guard let node = reader.node else { return [] }
        if let sequence = node.sequence {
            return sequence.enumerated().map { reader.part($1, "\(reader.path)[\($0)]") }
        }
        guard reader.origin != nil, let text = reader.text, !text.hasPrefix("["), !text.hasPrefix("{") else {
            throw reader.failure(
                "`\(reader.path)` must be a list",
                fix: reader.origin == nil ? "write one `- item` a line" : "write one,two or [one, two]")
        }
        let items = text.split(separator: ",").map { $0.filter { $0 != " " } }.filter { !$0.isEmpty }
        return items.enumerated().map { reader.part(YAMLNode($1), "\(reader.path)[\($0)]") }
    }

    /// The items of a list of words.
    public func strings(_ key: String) throws(ConfigurationError) -> [String] {
        var found: [String] = []
        for item in try list(key) {
            guard let text = item.node?.string, !text.isEmpty else {
                throw item.failure("`\(item.path)` must be a word", fix: "quote it")
            }
            found.append(text)
        }
        return found
    }

    /// The text of `key`; nil if absent. Throws for a list or a mapping.
    public func string(_ key: String) throws(ConfigurationError) -> String? {
        let reader = child(key)
        if let text = reader.given { return text }
        guard let node = reader.node else { return nil }
        guard let text = node.string else {
            throw reader.failure(
                "`\(reader.path)` must be one value", fix: "write it on the same line as its key")
        }
        return text
    }

    /// A whole number within `range`; nil if absent.
    public func integer(_ key: String, in range: ClosedRange<Int>) throws(ConfigurationError) -> Int? {
        guard let text = try string(key) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw child(key).failure(
                "`\(dotted(key))` is \(text)",
                fix: "give a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// `true`, `yes`, `on` or their opposites; nil if absent.
    public func boolean(_ key: String) throws(ConfigurationError) -> Bool? {
        guard let text = try string(key) else { return nil }
        switch text.lowercased() {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default: throw child(key).failure("`\(dotted(key))` is \(text)", fix: "give true or false")
        }
    }

    /// A number within `range`; nil if absent.
    public func number(_ key: String, in range: ClosedRange<Double>) throws(ConfigurationError) -> Double? {
        guard let text = try string(key) else { return nil }
        guard let number = Double(text), range.contains(number) else {
            throw child(key).failure(
                "`\(dotted(key))` is \(text)",
                fix: "give a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Credits with at most six decimals, as micro-credits: `0.20` is 200 000.
    public func microCredits(_ key: String) throws(ConfigurationError) -> Int64? {
        guard let text = try string(key) else { return nil }
        guard let amount = MicroCredits.parse(text) else {
            throw child(key).failure(
                "`\(dotted(key))` is \(text)", fix: "give credits, such as 0.20 (at most six decimals)")
        }
        return amount
    }

    /// One of the cases of `Choice`; nil if absent. The error names the nearest case.
    public func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, as: Choice.Type)
        throws(ConfigurationError) -> Choice?
    where Choice.RawValue == String {
        guard let text = try string(key) else { return nil }
        let known = Choice.allCases.map(\.rawValue)
        guard let choice = Choice(rawValue: text) else {
            throw child(key).failure(
                "`\(dotted(key))` is \(text)",
                fix: Nearest.match(text, in: known).map { "did you mean \($0)?" }
                    ?? "give one of \(known.joined(separator: ", "))")
        }
        return choice
    }

    /// Every value of the file, by its path; an empty list or mapping is one.
    var leaves: [String: String] {
        var found: [String: String] = [:]
        func add(_ node: YAMLNode, _ path: String) {
            if let mapping = node.mapping, !mapping.isEmpty {
                for (key, value) in mapping {
                    add(value, path.isEmpty ? key.string ?? "?" : "\(path).\(key.string ?? "?")")
                }
            } else if let items = node.sequence, !items.isEmpty {
                for (index, item) in items.enumerated() { add(item, "\(path)[\(index)]") }
            } else {
                found[path] = node.string ?? ""
            }
        }
        if let node { add(node, path) }
        return found
    }

    private func dotted(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}
