import Primitives

/// On what terms a model is sold: the part of a `serve` entry that can change while the node runs.
public struct TermsSettings: Hashable, Sendable {
    /// Micro-credits per million tokens, while no slot is taken.
    public var inputPrice: Int64 = 0
    public var cachedInputPrice: Int64 = 0
    public var outputPrice: Int64 = 0
    /// Thousandths of the price that are asked while every slot is taken.
    public var surge: Int64 = 1_000
    /// The least that a task must be expected to bring.
    public var reserve = Money.zero
    /// When nothing is sold, by the machine's local time.
    public var quiet: [DailyHours] = []
    /// Tasks in a minute of one buyer, and of all keys of one network; 0: any number.
    public var buyerRate = 0
    public var networkRate = 0
    /// Empty: everybody.
    public var allow = NodeList()
    public var deny = NodeList()

    /// The keys of a `serve` entry that `read` reads.
    public static let keys = ["price", "quiet", "rate", "allow", "deny"]
    private static let surgeRange = 1.0...10.0
    private static let rateRange = 0...1_000_000

    init() {}

    /// Reads an entry of `serve`.
    init(_ reader: YAMLReader, _ names: NodeNames) throws(ConfigurationError) {
        try read(reader, names)
        if reader.child("price").child("cached_input").isAbsent { cachedInputPrice = inputPrice / 10 }
    }

    fileprivate mutating func read(_ reader: YAMLReader, _ names: NodeNames) throws(ConfigurationError) {
        let price = reader.child("price")
        try price.allow(["input", "cached_input", "output", "surge", "reserve"])
        inputPrice = try price.microCredits("input") ?? inputPrice
        cachedInputPrice = try price.microCredits("cached_input") ?? cachedInputPrice
        outputPrice = try price.microCredits("output") ?? outputPrice
        if let factor = try price.number("surge", in: Self.surgeRange) {
            surge = Int64((factor * 1_000).rounded())
        }
        reserve = try price.microCredits("reserve").map { Money(microCredits: $0) } ?? reserve
        if !reader.child("quiet").isAbsent {
            quiet = try Self.hours(reader.child("quiet"), reader.words("quiet"))
        }
        let rate = reader.child("rate")
        try rate.allow(["buyer", "network"])
        buyerRate = try rate.integer("buyer", in: Self.rateRange) ?? buyerRate
        networkRate = try rate.integer("network", in: Self.rateRange) ?? networkRate
        if !reader.child("allow").isAbsent { allow = try Self.list(reader, "allow", names) }
        if !reader.child("deny").isAbsent { deny = try Self.list(reader, "deny", names) }
    }

    private static func hours(_ reader: YAMLReader, _ words: [String]) throws(ConfigurationError)
        -> [DailyHours]
    {
        guard words.count <= DailyHours.countMax else {
            throw reader.failure(
                "`\(reader.path)` has \(words.count) entries", fix: "give at most \(DailyHours.countMax)")
        }
        var quiet: [DailyHours] = []
        for text in words {
            guard let hours = DailyHours(text) else {
                throw reader.failure(
                    "`\(reader.path)` holds \(text)",
                    fix: "give hours of a day by this machine's clock, such as 22:00-08:00")
            }
            quiet.append(hours)
        }
        return quiet
    }

    private static func list(_ reader: YAMLReader, _ key: String, _ names: NodeNames)
        throws(ConfigurationError) -> NodeList
    {
        var list = NodeList()
        let words = try reader.words(key)
        guard words.count <= NodeList.countMax else {
            throw reader.child(key).failure(
                "`\(reader.child(key).path)` has \(words.count) entries",
                fix: "give at most \(NodeList.countMax)")
        }
        for text in words {
            if let key = names.key(of: text) {
                list.add(key)
            } else if !list.add(text) {
                throw reader.child(key).failure(
                    "`\(reader.child(key).path)` holds \(text), which is no node",
                    fix: Nearest.match(text, in: names.all).map { "did you mean \($0)?" }
                        ?? "write a public key, an id (or its first \(NodeID.shortCount) characters, as the log shows"
                        + " buyers), or a name from `names`")
            }
        }
        return list
    }
}

/// New terms for a model, in the words of a `serve` entry: `{"model": "wren-m", "price": {"output": 0.40}}`.
public struct TermsChange {
    public let model: String
    private let reader: YAMLReader

    /// - Parameters:
    ///   - text: JSON or YAML.
    ///   - source: what the errors name.
    public init(parsing text: String, source: String) throws(ConfigurationError) {
        reader = try YAMLReader(parsing: text, source: .init(file: source))
        try reader.allow(["model"] + TermsSettings.keys)
        guard let model = try reader.string("model") else {
            throw reader.failure("no `model` is named", fix: "name one that this node sells")
        }
        self.model = model
    }

    /// `terms` with what the text states.
    public func applied(to terms: TermsSettings, _ names: NodeNames) throws(ConfigurationError)
        -> TermsSettings
    {
        var changed = terms
        try changed.read(reader, names)
        return changed
    }
}

/// Hours that come every day, such as 22:00-08:00; from the first minute to the one before the last.
public struct DailyHours: Hashable, Sendable, CustomStringConvertible {
    /// Minutes since midnight. An end that isn't later is on the next day.
    public var from: Int
    public var to: Int

    static let countMax = 16
    private static let dayMinutes = 1_440

    /// Parses `HH:MM-HH:MM`; 24:00 ends a day. Nil for any other text, and for hours that begin where they end.
    public init?(_ text: String) {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map(Self.minute)
        guard ends.count == 2, let from = ends[0], let to = ends[1], from < Self.dayMinutes, from != to else {
            return nil
        }
        (self.from, self.to) = (from, to)
    }

    private static func minute(_ text: Substring) -> Int? {
        let parts = text.filter { $0 != " " }.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...2).contains(parts[0].count), parts[1].count == 2,
            let hour = UInt8(parts[0]), let minute = UInt8(parts[1]), minute < 60,
            hour < 24 || hour == 24 && minute == 0
        else { return nil }
        return Int(hour) * 60 + Int(minute)
    }

    /// Minutes until these hours end; nil: it isn't their time.
    /// - Parameter offset: seconds by which the local time is ahead of UTC.
    public func left(at time: WallTime, offset: Int) -> Int? {
        let minutes = (time.milliseconds / 1_000 + Int64(offset)) / 60
        let now = Int(minutes % Int64(Self.dayMinutes) + Int64(Self.dayMinutes)) % Self.dayMinutes
        if from < to { return (from..<to).contains(now) ? to - now : nil }
        if now >= from { return Self.dayMinutes - now + to }
        return now < to ? to - now : nil
    }

    public var description: String { "\(Self.text(from))-\(Self.text(to))" }

    private static func text(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }
}
