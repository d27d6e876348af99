import Primitives

/// An API key for one client of this node, and what it may do.
public struct ClientKeySettings: Hashable, Sendable {
    public enum Secret: Hashable, Sendable {
        case text(String)
        /// Its SHA-256, so that the file alone opens nothing.
        case sha256([UInt8])
    }

    public var name: String
    public var secret: Secret
    /// What it may spend in a UTC day; nil: no bound of its own.
    public var creditsPerDay: Money?
    /// Canonical names; empty: all.
    public var models: [String]
    /// The end of the last day on which it is valid; nil: it always is.
    public var expires: WallTime?

    /// Keys of one node.
    static let countMax = 256
    /// A shorter key could be guessed.
    private static let secretSizeMin = 16

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow(["name", "key", "sha256", "credits_per_day", "models", "expires"])
        guard let name = try reader.string("name"), (1...NodeNames.lengthMax).contains(name.utf8.count),
            name.isPlain
        else {
            throw reader.failure(
                "`\(reader.path)` has no `name` of 1 to \(NodeNames.lengthMax) bytes",
                fix: "give it one, such as name: laptop: reports of its usage have it")
        }
        self.name = name
        secret = try Self.secret(reader, name)
        creditsPerDay = try reader.microCredits("credits_per_day").map { Money(microCredits: $0) }
        models = try reader.words("models")
        for model in models where !ModelName.isCanonical(model) {
            let meant = ModelName(model).canonical
            throw reader.child("models").failure(
                "`\(reader.child("models").path)` holds \(model), which is not a model's name",
                fix: ModelName.isCanonical(meant)
                    ? "write \(meant)" : "write names as `starling offers` shows them")
        }
        if let text = try reader.string("expires") {
            guard let day = CivilDay.parse(text) else {
                throw reader.child("expires").failure(
                    "`\(reader.child("expires").path)` is \(text)",
                    fix: "give the last day on which it is valid (UTC), such as 2027-01-31")
            }
            expires = CivilDay.start(day + 1)
        }
    }

    private static func secret(_ reader: YAMLReader, _ name: String) throws(ConfigurationError) -> Secret {
        let (text, hash) = (try reader.string("key"), try reader.string("sha256"))
        switch (text, hash) {
        case (let text?, nil):
            guard text.utf8.count >= secretSizeMin else {
                throw reader.child("key").failure(
                    "the key of \(name) has fewer than \(secretSizeMin) bytes, so that it can be guessed",
                    fix: "make one: openssl rand -base64 24")
            }
            return .text(text)
        case (nil, let hash?):
            guard let bytes = bytes(hash) else {
                throw reader.child("sha256").failure(
                    "`\(reader.child("sha256").path)` is not 64 hexadecimal digits",
                    fix: "write what this prints: printf %s \"$KEY\" | sha256sum")
            }
            return .sha256(bytes)
        case (nil, nil), (_?, _?):
            throw reader.failure(
                "the key of \(name) needs `key` or `sha256`, and not both",
                fix: "write sha256: with what this prints: printf %s \"$KEY\" | sha256sum")
        }
    }

    private static func bytes(_ hex: String) -> [UInt8]? {
        let digits = hex.compactMap(\.hexDigitValue)
        guard hex.count == 64, digits.count == 64 else { return nil }
        return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
    }
}
