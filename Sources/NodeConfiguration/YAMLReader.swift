import Primitives
import Yams

/// Reads one mapping of a YAML file strictly: an unknown key is an error that names the nearest known one,
/// and a wrong type is an error that names the key. A flag (`mesh.port=7827`) or the environment
/// (`STARLING_MESH_PORT`) can override any scalar.
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
    }

    let source: Source
    let node: Yams.Node?
    public let path: String

    /// Parses `text`; an empty file is an empty mapping.
    public init(parsing text: String, source: Source) throws(ConfigurationError) {
        do {
            let node = try Yams.compose(yaml: text)
            self.init(source: source, node: node?.null == nil ? node : nil, path: "")
        } catch let error as YamlError {
            var line: Int?
            var problem = "\(error)"
            switch error {
            case .scanner(_, let what, let mark, _), .parser(_, let what, let mark, _),
                .composer(_, let what, let mark, _):
                line = mark.line
                problem = "not YAML: \(what)"
            case .duplicatedKeysInMapping(let duplicates, let context):
                line = context.mark.line
                problem = "the key \(duplicates.first?.description ?? "") appears twice"
            default: break
            }
            throw ConfigurationError(
                file: source.file, line: line, problem: problem,
                fix: "indent with spaces, and quote values that hold `:` or `#`")
        } catch {
            throw ConfigurationError(
                file: source.file, line: nil, problem: "not YAML: \(error)",
                fix: "compare it with what `starling init` writes")
        }
    }

    init(source: Source, node: Yams.Node?, path: String) {
        self.source = source
        self.node = node
        self.path = path
    }

    public var isAbsent: Bool { node == nil }
    var isList: Bool { node?.sequence != nil }
    /// The value itself, when it is a scalar.
    public var text: String? { node?.scalar?.string }
    public var line: Int? { node?.mark?.line }

    /// An error at this place in the file.
    public func failure(_ problem: String, fix: String) -> ConfigurationError {
        ConfigurationError(file: source.file, line: line, problem: problem, fix: fix)
    }

    /// Throws unless this is a mapping with only these keys.
    public func allow(_ keys: [String]) throws(ConfigurationError) {
        guard let node else { return }
        guard let mapping = node.mapping else {
            throw failure(
                "\(path.isEmpty ? "the file" : "`\(path)`") must be a mapping (key: value)",
                fix: "known keys: \(keys.joined(separator: ", "))")
        }
        for (key, _) in mapping {
            guard let name = key.string, keys.contains(name) else {
                let name = key.string ?? "?"
                let nearest = Nearest.match(name, in: keys)
                throw ConfigurationError(
                    file: source.file, line: key.mark?.line, problem: "unknown key `\(dotted(name))`",
                    fix: nearest.map { "did you mean `\($0)`?" }
                        ?? "known keys: \(keys.joined(separator: ", "))")
            }
        }
    }

    /// The value of `key` in the file. An absent value has a reader too, which knows its path.
    public func child(_ key: String) -> YAMLReader {
        let found = node?.mapping?[key]
        return YAMLReader(source: source, node: found?.null == nil ? found : nil, path: dotted(key))
    }

    /// The entries of a mapping, in the file's order.
    public var entries: [(key: String, value: YAMLReader)] {
        (node?.mapping ?? [:]).map { key, value in
            let name = key.string ?? "?"
            return (
                name, YAMLReader(source: source, node: value.null == nil ? value : nil, path: dotted(name))
            )
        }
    }

    /// The items of a list; empty for an absent key; an error for anything else.
    public func list(_ key: String) throws(ConfigurationError) -> [YAMLReader] {
        let reader = child(key)
        guard let node = reader.node else { return [] }
        guard let sequence = node.sequence else {
            throw reader.failure("`\(reader.path)` must be a list", fix: "write one `- item` a line")
        }
        return sequence.enumerated().map {
            YAMLReader(source: source, node: $1, path: "\(reader.path)[\($0)]")
        }
    }

    /// The items of a list of words.
    public func strings(_ key: String) throws(ConfigurationError) -> [String] {
        var found: [String] = []
        for item in try list(key) {
            guard let text = item.node?.scalar?.string else {
                throw item.failure("`\(item.path)` must be a word", fix: "quote it")
            }
            found.append(text)
        }
        return found
    }

    /// The text of `key`; nil if absent. Throws for a list or a mapping.
    public func string(_ key: String) throws(ConfigurationError) -> String? {
        if let value = override(key) { return value }
        let reader = child(key)
        guard let node = reader.node else { return nil }
        guard let text = node.scalar?.string else {
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

    private func dotted(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    private func override(_ key: String) -> String? {
        let name = dotted(key)
        return source.flags[name]
            ?? source.environment["STARLING_" + name.uppercased().replacing(".", with: "_")]
    }
}
