import Primitives

/// The owner's names for nodes: `names:` in the configuration, a public key for each. Only these names find a
/// node; the label that a node gives itself proves nothing, and any number of nodes may have the same.
public struct NodeNames: Sendable {
    private var keys: [String: PublicKey] = [:]
    private var names: [PublicKey: String] = [:]

    /// Bytes of a name, as of a node's own label.
    static let lengthMax = 32

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.expectMapping(fix: "write one `NAME: PUBLICKEY` a line")
        for (name, value) in reader.entries {
            guard (1...Self.lengthMax).contains(name.utf8.count) else {
                throw value.failure(
                    "`\(value.path)` is not a name of 1 to \(Self.lengthMax) bytes", fix: "shorten it")
            }
            guard name.isPlain else {
                throw value.failure(
                    "`\(value.path)` holds control characters", fix: "write the name in letters and digits")
            }
            guard let text = value.text, let key = PublicKey(text) else {
                throw value.failure(
                    "`\(value.path)` is \(value.text ?? "empty"), which is not a public key",
                    fix: "copy the 52 characters that `starling status` of that node shows")
            }
            if let other = names[key] {
                throw value.failure(
                    "`\(value.path)` is the key that `\(other)` names already", fix: "keep one of the two")
            }
            keys[name] = key
            names[key] = name
        }
    }

    /// In alphabetical order.
    var all: [String] { keys.keys.sorted() }

    public func key(of name: String) -> PublicKey? { keys[name] }
    public func name(of key: PublicKey) -> String? { names[key] }

    /// Adds a name unless the owner has used it, or has named that node.
    public mutating func add(_ name: String, _ key: PublicKey) {
        guard !name.isEmpty, keys[name] == nil, names[key] == nil else { return }
        keys[name] = key
        names[key] = name
    }
}
