/// Nodes that an operator lists: by public key, by node id, or by the first characters of one.
public struct NodeList: Hashable, Sendable {
    private var keys: Set<PublicKey> = []
    /// Beginnings of ids, in lower case.
    private var ids: [String] = []

    /// The most entries that a list may have.
    public static let countMax = 1_024

    public init() {}

    public var isEmpty: Bool { keys.isEmpty && ids.isEmpty }
    /// Entries; those that may be a key or an id count once.
    public var count: Int { keys.count { !ids.contains($0.description) } + ids.count }

    public mutating func add(_ key: PublicKey) { keys.insert(key) }

    /// Adds a public key, an id, or at least its first `NodeID.shortCount` characters; false: `text` is none of these.
    public mutating func add(_ text: String) -> Bool {
        let start = text.lowercased()
        guard start.utf8.count >= NodeID.shortCount, start.utf8.count <= 52,
            start.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) })
        else { return false }
        // Keys and ids look alike.
        if let key = PublicKey(text) { keys.insert(key) }
        ids.append(start)
        return true
    }

    /// - Parameter id: the id of `key`; computed only where it matters.
    public func contains(_ key: PublicKey, id: @autoclosure () -> NodeID) -> Bool {
        if keys.contains(key) { return true }
        if ids.isEmpty { return false }
        let id = id().description
        return ids.contains { id.hasPrefix($0) }
    }
}
