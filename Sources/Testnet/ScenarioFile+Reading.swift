// The strict reader of scenario files: anything invalid is refused with its line.

import NodeConfiguration
import Primitives

extension ScenarioFile {
    /// Reads `text`. `nodeCountMax` is the most nodes that can be played; `size` scales the groups to this
    /// many nodes.
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
        clocks = try Self.clocks(root.child("clocks"))
        for reader in try root.items("load") { load.append(try readLoad(reader)) }
        for reader in try root.items("lookups") {
            lookups.append(try readProbes(reader, isSearch: false))
        }
        for reader in try root.items("searches") {
            searches.append(try readProbes(reader, isSearch: true))
        }
        for reader in try root.list("events") { events.append(try readEvent(reader)) }
        churn = try readChurn(root.child("churn"))
        for reader in try root.items("byzantine") { byzantine.append(try readByzantine(reader)) }
        calm = try root.interval("calm")
        limit = try root.interval("limit")
        for reader in try root.list("expect") { expect.append(try Self.threshold(reader)) }
    }

    private func known(_ names: [String], _ reader: YAMLReader) throws(ConfigurationError) {
        for name in names where places([name]).isEmpty {
            let all = testnet.nodes.map(\.name) + testnet.nodes.map(\.group)
            throw reader.failure(
                "`\(name)` is not a node of this file",
                fix: Nearest.match(name, in: all).map { "did you mean \($0)?" }
                    ?? "name nodes or groups of `nodes:`")
        }
    }

    private static func links(_ reader: YAMLReader) throws(ConfigurationError) -> Links? {
        if reader.isAbsent { return nil }
        try reader.allow([
            "latency", "jitter", "loss", "duplication", "reordering", "regions", "matrix", "nat", "nat_idle",
        ])
        var links = Links()
        if let range = try reader.nanosecondsRange("latency") {
            links.latency = Interval(nanoseconds: range.lowerBound)...Interval(nanoseconds: range.upperBound)
        }
        links.jitter = try reader.interval("jitter") ?? links.jitter
        links.loss = try reader.perMillion("loss") ?? 0
        links.duplication = try reader.perMillion("duplication") ?? 0
        links.reordering = try reader.perMillion("reordering") ?? 0
        links.nat = try natShares(reader.child("nat"))
        links.natIdle = try reader.interval("nat_idle") ?? links.natIdle
        let regions = reader.child("regions")
        for (name, _) in regions.entries {
            links.regions.append((name, try regions.perMillion(name) ?? 0))
        }
        guard links.regions.count <= 64 else {
            throw regions.failure("\(links.regions.count) regions", fix: "at most 64")
        }
        guard links.regions.isEmpty || links.regions.map(\.share).reduce(0, +) == 1_000_000 else {
            throw regions.failure("the regions' shares don't add up to 100 %", fix: "change one of them")
        }
        let matrix = reader.child("matrix")
        let names = links.regions.map(\.name)
        try matrix.allow(names)
        guard matrix.isAbsent == names.isEmpty else {
            throw reader.failure(
                "`regions` and `matrix` need each other",
                fix: "matrix: one row a region, such as eu: {eu: 5ms, us: 45ms}")
        }
        links.matrix = names.map { _ in names.map { _ in .zero } }
        for (a, name) in names.enumerated() {
            let row = matrix.child(name)
            try row.allow(names)
            for (b, other) in names.enumerated() {
                var time = try row.interval(other)
                // Half a matrix is enough: the way back takes the same time.
                if time == nil { time = try matrix.child(other).interval(name) }
                guard let time else {
                    throw row.failure("no latency from \(name) to \(other)", fix: "add `\(other): 45ms`")
                }
                links.matrix[a][b] = time
            }
        }
        return links
    }

    private static func natShares(_ reader: YAMLReader) throws(ConfigurationError) -> [(
        kind: TestnetFile.NAT, share: Int
    )] {
        let kinds = TestnetFile.NAT.allCases.filter { $0 != .none }
        try reader.allow(kinds.map(\.rawValue))
        var shares: [(kind: TestnetFile.NAT, share: Int)] = []
        for kind in kinds {
            if let share = try reader.perMillion(kind.rawValue) { shares.append((kind, share)) }
        }
        guard shares.map(\.share).reduce(0, +) <= 1_000_000 else {
            throw reader.failure("the NATs' shares exceed 100 %", fix: "nodes without a share have no NAT")
        }
        return shares
    }

    private static func clocks(_ reader: YAMLReader) throws(ConfigurationError) -> Clocks? {
        if reader.isAbsent { return nil }
        try reader.allow(["skew", "stuck_1970"])
        var clocks = Clocks()
        clocks.skew = try reader.signedIntervalRange("skew") ?? clocks.skew
        clocks.stuckIn1970 = try reader.perMillion("stuck_1970") ?? 0
        return clocks
    }

    private func readLoad(_ reader: YAMLReader) throws(ConfigurationError) -> Load {
        try reader.allow(
            ["model", "count", "rate", "from", "via", "tokens", "deadline", "prompt"] + LoadShape.keys)
        let model = try soldModel(reader, "model")
        let via = try reader.words("via")
        try known(via, reader.child("via"))
        return Load(
            model: model, count: try reader.integer("count", in: 1...1_000_000) ?? 1,
            rate: try reader.number("rate", in: 0.001...100_000) ?? 1,
            from: try reader.interval("from") ?? .seconds(5),
            via: via, tokens: try reader.integerRange("tokens", in: 1...100_000) ?? 10...30,
            deadline: try reader.interval("deadline") ?? .seconds(60),
            prompt: try reader.string("prompt") ?? "What can you do?", shape: try Self.shape(reader))
    }

    private func readEvent(_ reader: YAMLReader) throws(ConfigurationError) -> Event {
        let actions = Event.Action.allCases.map(\.rawValue)
        try reader.allow(["at", "for"] + actions)
        let found = Event.Action.allCases.filter { !reader.child($0.rawValue).isAbsent }
        guard let at = try reader.interval("at"), found.count == 1, let action = found.first else {
            throw reader.failure(
                "an event needs `at` and one action",
                fix: "write {at: 5s, kill: ada}; actions: \(actions.joined(separator: ", "))")
        }
        let nodes = try reader.words(action.rawValue)
        let lasts = try reader.interval("for")
        if nodes == ["busy"] {
            guard action == .kill || (action == .freeze && lasts != nil) else {
                throw reader.failure(
                    "`\(action.rawValue): busy` is not possible",
                    fix: "kill: busy, or freeze: busy with `for: 6s`")
            }
        } else if action != .heal {
            try known(nodes, reader.child(action.rawValue))
        }
        guard lasts == nil || action == .freeze || action == .partition else {
            throw reader.failure(
                "`for` only applies to freeze and partition", fix: "plan a restart as a separate event")
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
                fix: "write {mean_life: 5 min, until: 2 min}")
        }
        return Churn(
            nodes: nodes, meanLife: life, downtime: try reader.interval("downtime") ?? .seconds(10),
            from: try reader.interval("from") ?? .seconds(5), until: until)
    }

    private func readProbes(_ reader: YAMLReader, isSearch: Bool) throws(ConfigurationError) -> Probes {
        try reader.allow((isSearch ? ["model"] : []) + ["count", "rate", "from"])
        return Probes(
            model: isSearch ? try soldModel(reader, "model") : nil,
            count: try reader.integer("count", in: 1...100_000) ?? 1,
            rate: try reader.number("rate", in: 0.001...10_000) ?? 1,
            from: try reader.interval("from") ?? .seconds(5))
    }

    /// The model that `key` names, or the first one sold.
    private func soldModel(_ reader: YAMLReader, _ key: String) throws(ConfigurationError) -> String {
        guard let model = try reader.string(key) ?? testnet.nodes.lazy.compactMap({ $0.sale?.model }).first
        else { throw reader.failure("no node sells a model", fix: "add `serves:` to one") }
        return model
    }

    private func readByzantine(_ reader: YAMLReader) throws(ConfigurationError) -> Byzantine {
        guard let behaviour = try reader.choice("behaviour", as: Byzantine.Behaviour.self) else {
            let known = Byzantine.Behaviour.allCases.map(\.rawValue).joined(separator: ", ")
            throw reader.failure(
                "`byzantine` needs a `behaviour`",
                fix: "write {behaviour: drop, share: 10 %}; known: \(known)")
        }
        var keys = ["behaviour", "count", "from"]
        if behaviour != .ground { keys += ["share", "nodes"] }
        if behaviour == .ground { keys.append("near") }
        if behaviour.hasRate { keys.append("rate") }
        if behaviour == .flood { keys.append("victims") }
        try reader.allow(keys)
        let share = try reader.perMillion("share")
        let count = try reader.integer("count", in: 1...1_000)
        guard (share == nil) != (count == nil) else {
            throw reader.failure(
                "`behaviour: \(behaviour.rawValue)` needs a number of nodes",
                fix: behaviour == .ground ? "add `count: 16`" : "add `share: 10 %` or `count: 3`")
        }
        var byzantine = Byzantine(
            behaviour: behaviour, share: share, count: count ?? 0,
            from: try reader.interval("from") ?? .seconds(5))
        byzantine.nodes = try reader.words("nodes")
        try known(byzantine.nodes, reader.child("nodes"))
        byzantine.rate = try reader.integer("rate", in: 1...10_000) ?? byzantine.rate
        byzantine.victims = try reader.words("victims")
        try known(byzantine.victims, reader.child("victims"))
        if behaviour == .ground { byzantine.near = try soldModel(reader, "near") }
        return byzantine
    }

    private static func threshold(_ reader: YAMLReader) throws(ConfigurationError) -> Threshold {
        let text = reader.text ?? ""
        let words = text.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        guard words.count >= 3, let relation = Threshold.Relation(rawValue: words[1]),
            let bound = quantity(words[2...].joined()), abs(bound) <= Threshold.boundMax
        else {
            throw reader.failure(
                "`\(text)` is not a threshold", fix: "write `answered >= 99.5 %` or `convergence <= 2 s`")
        }
        return Threshold(measure: words[0], relation: relation, bound: bound, text: text, line: reader.line)
    }

    /// Parses `99.5%`, `2s` (as seconds), `900B/s` or `3`.
    private static func quantity(_ text: String) -> Double? {
        for unit in ["%", "B/s"] where text.hasSuffix(unit) { return Double(text.dropLast(unit.count)) }
        return Double(text) ?? YAMLReader.nanoseconds(text).map { Double($0) / 1e9 }
    }
}

extension YAMLReader {
    func interval(_ key: String) throws(ConfigurationError) -> Interval? {
        try nanoseconds(key).map { Interval(nanoseconds: $0) }
    }

    /// A time such as `30s` or `-30s`.
    func signedInterval(_ key: String) throws(ConfigurationError) -> Interval? {
        guard let text = try string(key) else { return nil }
        guard let time = Self.signed(text) else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text)", fix: "give a time with its unit, such as 30s or -2 min")
        }
        return time
    }

    /// Both ends of `-1h..1h`.
    func signedIntervalRange(_ key: String) throws(ConfigurationError) -> ClosedRange<Interval>? {
        guard let text = try string(key) else { return nil }
        let ends = text.split(separator: "..", omittingEmptySubsequences: false).map { Self.signed($0) }
        guard ends.count == 2, let low = ends[0], let high = ends[1], low <= high else {
            throw child(key).failure(
                "`\(child(key).path)` is \(text)", fix: "give a range of times, such as -1h..1h")
        }
        return low...high
    }

    private static func signed(_ text: some StringProtocol) -> Interval? {
        let text = String(text).filter { $0 != " " }
        guard text.hasPrefix("-") else { return nanoseconds(text).map { Interval(nanoseconds: $0) } }
        return nanoseconds(String(text.dropFirst())).map { Interval(nanoseconds: -$0) }
    }
}
