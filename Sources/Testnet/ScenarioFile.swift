// A scenario: nodes, what lies between them, what is asked, what breaks and what must hold, in one file that
// `starling sim` plays in virtual time and `starling testnet run` with processes. A testnet's file is a scenario in which
// nothing happens.

import NodeConfiguration
import Primitives

public struct ScenarioFile: Sendable {
    /// The keys that a scenario has beside those of a testnet.
    static let keys = [
        "about", "start", "links", "load", "events", "churn", "byzantine", "calm", "limit", "expect",
    ]

    public var testnet: TestnetFile
    /// A sentence for people.
    public var about: String
    /// The nodes start evenly spread over so long.
    public var startsWithin: Interval
    public var links: Links?
    public var load: [Load] = []
    public var events: [Event] = []
    public var churn: Churn?
    public var byzantine: [Byzantine] = []
    public var calm: Interval?
    public var limit: Interval?
    public var expect: [Threshold] = []

    /// What lies between any two nodes; probabilities in parts of a million.
    public struct Links: Sendable {
        public var latency = Interval.milliseconds(5)...Interval.milliseconds(40)
        public var jitter = Interval.milliseconds(2)
        public var loss = 0
        public var duplication = 0
        public var reordering = 0
        /// Names with their shares of the nodes, in parts of a million.
        public var regions: [(name: String, share: Int)] = []
        /// One way, by the places of two regions; `latency` comes on top.
        public var matrix: [[Interval]] = []
    }

    /// Tasks, `rate` a second from `from` on.
    public struct Load: Sendable {
        public var model: String
        public var count: Int
        public var rate: Double
        public var from: Interval
        /// Nodes or groups that are asked, in turn; empty: those that sell nothing, or all.
        public var via: [String]
        public var tokens: ClosedRange<Int>
        public var deadline: Interval
        public var prompt: String
    }

    public struct Event: Sendable {
        public enum Action: String, Sendable, CaseIterable {
            case kill, freeze, thaw, restart, stop, partition, heal
            case powerOff = "power-off"
        }
        public var at: Interval
        public var action: Action
        /// Nodes or groups; `busy`: one that answers somebody at that moment.
        public var nodes: [String]
        /// How long a freeze or a partition lasts; nil: until it is ended.
        public var lasts: Interval?
        public var line: Int?
    }

    /// Nodes that come and go: the time until the next end is drawn from an exponential distribution.
    public struct Churn: Sendable {
        public var nodes: [String]
        public var meanLife: Interval
        public var downtime: Interval
        public var from: Interval
        public var until: Interval
    }

    /// Nodes that misbehave from a moment on.
    public struct Byzantine: Sendable {
        public enum Behaviour: String, Sendable, CaseIterable {
            /// It hears nothing and says nothing of what it is asked; its own timers go on.
            case drop
            /// It sends the handshakes that it overheard once more, from others' addresses.
            case spoof
        }
        public var behaviour: Behaviour
        /// Of the nodes, in parts of a million.
        public var share: Int
        public var from: Interval
    }

    /// `answered >= 99.5 %`.
    public struct Threshold: Sendable, CustomStringConvertible {
        public enum Relation: String, Sendable { case atLeast = ">=", atMost = "<=" }
        public var measure: String
        public var relation: Relation
        /// In the measure's unit: percent, seconds, bytes a second or a count.
        public var bound: Double
        public var text: String
        public var line: Int?
        public var description: String { text }

        public func holds(_ value: Double) -> Bool { relation == .atLeast ? value >= bound : value <= bound }
    }

    /// Reads `text`. `nodeCountMax` is what can be played; `size` scales the groups to so many nodes.
    public init(
        parsing text: String, path: String, folder: String, nodeCountMax: Int = TestnetFile.nodeCountMax,
        size: Int? = nil
    ) throws(ConfigurationError) {
        let root = try YAMLReader(parsing: text, source: .init(file: path))
        try root.allow(TestnetFile.keys + Self.keys)
        testnet = try TestnetFile(root, path: path, folder: folder, countMax: nodeCountMax, size: size)
        about = try root.string("about") ?? ""
        startsWithin = try root.interval("start") ?? .seconds(2)
        links = try Self.links(root.child("links"))
        for reader in try root.items("load") { load.append(try readLoad(reader)) }
        for reader in try root.list("events") { events.append(try readEvent(reader)) }
        churn = try readChurn(root.child("churn"))
        for reader in try root.items("byzantine") { byzantine.append(try Self.byzantine(reader)) }
        calm = try root.interval("calm")
        limit = try root.interval("limit")
        for reader in try root.list("expect") { expect.append(try Self.threshold(reader)) }
    }

    /// The places of the nodes that `names` name, each itself or its group.
    public func places(_ names: [String]) -> [Int] {
        testnet.nodes.indices.filter {
            names.contains(testnet.nodes[$0].name) || names.contains(testnet.nodes[$0].group)
        }
    }
}

// MARK: Reading

extension ScenarioFile {
    private func known(_ names: [String], _ reader: YAMLReader) throws(ConfigurationError) {
        for name in names where places([name]).isEmpty {
            let all = testnet.nodes.map(\.name) + testnet.nodes.map(\.group)
            throw reader.failure(
                "`\(name)` is no node of this file",
                mend: Nearest.match(name, in: all).map { "did you mean \($0)?" }
                    ?? "name nodes or groups of `nodes:`")
        }
    }

    private static func links(_ reader: YAMLReader) throws(ConfigurationError) -> Links? {
        if reader.isAbsent { return nil }
        try reader.allow(["latency", "jitter", "loss", "duplication", "reordering", "regions", "matrix"])
        var links = Links()
        if let range = try reader.nanosecondsRange("latency") {
            links.latency = Interval(nanoseconds: range.lowerBound)...Interval(nanoseconds: range.upperBound)
        }
        links.jitter = try reader.interval("jitter") ?? links.jitter
        links.loss = try reader.perMillion("loss") ?? 0
        links.duplication = try reader.perMillion("duplication") ?? 0
        links.reordering = try reader.perMillion("reordering") ?? 0
        let regions = reader.child("regions")
        for (name, _) in regions.entries {
            links.regions.append((name, try regions.perMillion(name) ?? 0))
        }
        guard links.regions.count <= 64 else {
            throw regions.failure("\(links.regions.count) regions", mend: "at most 64")
        }
        guard links.regions.isEmpty || links.regions.map(\.share).reduce(0, +) == 1_000_000 else {
            throw regions.failure("the regions' shares don't add up to 100 %", mend: "change one of them")
        }
        let matrix = reader.child("matrix")
        let names = links.regions.map(\.name)
        try matrix.allow(names)
        guard matrix.isAbsent == names.isEmpty else {
            throw reader.failure(
                "`regions` and `matrix` need each other",
                mend: "matrix: one row a region, such as eu: {eu: 5ms, us: 45ms}")
        }
        links.matrix = names.map { _ in names.map { _ in .zero } }
        for (a, name) in names.enumerated() {
            let row = matrix.child(name)
            try row.allow(names)
            for (b, other) in names.enumerated() {
                var time = try row.interval(other)
                // Half a matrix is enough: the way back is as long.
                if time == nil { time = try matrix.child(other).interval(name) }
                guard let time else {
                    throw row.failure("no latency from \(name) to \(other)", mend: "add `\(other): 45ms`")
                }
                links.matrix[a][b] = time
            }
        }
        return links
    }

    private func readLoad(_ reader: YAMLReader) throws(ConfigurationError) -> Load {
        try reader.allow(["model", "count", "rate", "from", "via", "tokens", "deadline", "prompt"])
        let models = testnet.nodes.compactMap { $0.sale?.model }
        guard let model = try reader.string("model") ?? models.first else {
            throw reader.failure("no node sells a model", mend: "add `serves:` to one")
        }
        let via = try reader.words("via")
        try known(via, reader.child("via"))
        return Load(
            model: model, count: try reader.integer("count", in: 1...1_000_000) ?? 1,
            rate: try reader.number("rate", in: 0.001...100_000) ?? 1,
            from: try reader.interval("from") ?? .seconds(5),
            via: via, tokens: try reader.integerRange("tokens", in: 1...100_000) ?? 10...30,
            deadline: try reader.interval("deadline") ?? .seconds(60),
            prompt: try reader.string("prompt") ?? "What can you do?")
    }

    private func readEvent(_ reader: YAMLReader) throws(ConfigurationError) -> Event {
        let actions = Event.Action.allCases.map(\.rawValue)
        try reader.allow(["at", "for"] + actions)
        let found = Event.Action.allCases.filter { !reader.child($0.rawValue).isAbsent }
        guard let at = try reader.interval("at"), found.count == 1, let action = found.first else {
            throw reader.failure(
                "an event needs `at` and one action",
                mend: "write {at: 5s, kill: ada}; actions: \(actions.joined(separator: ", "))")
        }
        let nodes = try reader.words(action.rawValue)
        let lasts = try reader.interval("for")
        if nodes == ["busy"] {
            guard action == .kill || (action == .freeze && lasts != nil) else {
                throw reader.failure(
                    "`\(action.rawValue): busy` can't be", mend: "kill: busy, or freeze: busy with `for: 6s`")
            }
        } else if action != .heal {
            try known(nodes, reader.child(action.rawValue))
        }
        guard lasts == nil || action == .freeze || action == .partition else {
            throw reader.failure(
                "`for` goes with freeze and partition", mend: "plan a restart as an event of its own")
        }
        return Event(at: at, action: action, nodes: nodes, lasts: lasts, line: reader.line)
    }

    private func readChurn(_ reader: YAMLReader) throws(ConfigurationError) -> Churn? {
        if reader.isAbsent { return nil }
        try reader.allow(["nodes", "mean_life", "downtime", "from", "until"])
        let nodes = try reader.words("nodes")
        try known(nodes, reader.child("nodes"))
        guard let life = try reader.interval("mean_life"), life >= .milliseconds(100),
            let until = try reader.interval("until")
        else {
            throw reader.failure(
                "churn needs `mean_life` (100 ms at least) and `until`",
                mend: "write {mean_life: 5 min, until: 2 min}")
        }
        return Churn(
            nodes: nodes, meanLife: life, downtime: try reader.interval("downtime") ?? .seconds(10),
            from: try reader.interval("from") ?? .seconds(5), until: until)
    }

    private static func byzantine(_ reader: YAMLReader) throws(ConfigurationError) -> Byzantine {
        try reader.allow(["behaviour", "share", "from"])
        guard let behaviour = try reader.choice("behaviour", as: Byzantine.Behaviour.self),
            let share = try reader.perMillion("share")
        else {
            let known = Byzantine.Behaviour.allCases.map(\.rawValue).joined(separator: ", ")
            throw reader.failure(
                "`byzantine` needs `behaviour` and `share`",
                mend: "write {behaviour: drop, share: 10 %}; known: \(known)")
        }
        return Byzantine(behaviour: behaviour, share: share, from: try reader.interval("from") ?? .seconds(5))
    }

    private static func threshold(_ reader: YAMLReader) throws(ConfigurationError) -> Threshold {
        let text = reader.text ?? ""
        let words = text.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        guard words.count >= 3, let relation = Threshold.Relation(rawValue: words[1]),
            let bound = quantity(words[2...].joined())
        else {
            throw reader.failure(
                "`\(text)` is no threshold", mend: "write `answered >= 99.5 %` or `convergence <= 2 s`")
        }
        return Threshold(measure: words[0], relation: relation, bound: bound, text: text, line: reader.line)
    }

    /// `99.5%`, `2s` (in seconds), `900B/s`, `3`.
    private static func quantity(_ text: String) -> Double? {
        for unit in ["%", "B/s"] where text.hasSuffix(unit) { return Double(text.dropLast(unit.count)) }
        return Double(text) ?? YAMLReader.nanoseconds(text).map { Double($0) / 1e9 }
    }
}

extension YAMLReader {
    func interval(_ key: String) throws(ConfigurationError) -> Interval? {
        try nanoseconds(key).map { Interval(nanoseconds: $0) }
    }
}
