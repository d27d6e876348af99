// Which HTTP connections a node holds. A client needs no key to connect, so without a bound strangers' idle
// connections take every file descriptor, and the mesh's channels and the model servers get none.

import Primitives

/// The open connections: where they come from, and for which of them the node waits. At a bound the connection for
/// which it has waited longest makes room; where it waits for none, a new one is refused.
struct ConnectionTable: Sendable {
    typealias ID = UInt64

    enum Source: Hashable, Sendable {
        /// Loopback: programs of this machine, which have no bound of their own.
        case machine
        /// An IPv4 address, or the /56 of an IPv6 one.
        case remote(UInt64)

        init(_ endpoint: Endpoint) {
            self =
                endpoint.isLoopback
                ? .machine
                : .remote(endpoint.ipv4.map { 0xffff_0000_0000_0000 | UInt64($0) } ?? endpoint.prefix)
        }
    }

    enum Admission: Equatable {
        case admitted(ID)
        /// Close `closing`, which is no longer in the table.
        case replacing(ID, closing: ID)
        case refused
    }

    private struct Entry {
        var source: Source
        /// The turn in which the node began to wait for the client; nil: the client waits for the node.
        var waitingSince: UInt64?
    }

    /// A quarter of all, so that four addresses are needed to reach the bound of all. Two browsers or SDKs of one
    /// address have some ten connections each.
    static func perSourceMax(of all: Int) -> Int { max(8, all / 4) }

    let countMax: Int
    private var entries: [ID: Entry] = [:]
    private var counts: [Source: Int] = [:]
    private var turn: UInt64 = 0

    init(countMax: Int) { self.countMax = max(1, countMax) }

    var count: Int { entries.count }

    /// Takes a new connection, which at first waits for its request.
    mutating func open(from source: Source) -> Admission {
        var closing: ID?
        if source != .machine, counts[source, default: 0] >= Self.perSourceMax(of: countMax) {
            closing = longestWaiting { $0 == source }
            if closing == nil { return .refused }
        } else if count >= countMax {
            closing = longestWaiting { $0 != .machine } ?? longestWaiting { $0 == .machine }
            if closing == nil { return .refused }
        }
        if let closing { close(closing) }
        turn += 1
        entries[turn] = Entry(source: source, waitingSince: turn)
        counts[source, default: 0] += 1
        return closing.map { .replacing(turn, closing: $0) } ?? .admitted(turn)
    }

    /// Whether the node waits for the client: for a complete request, or for it to read. Repeating it changes nothing.
    mutating func set(_ id: ID, waits: Bool) {
        guard var entry = entries[id], waits != (entry.waitingSince != nil) else { return }
        turn += 1
        entry.waitingSince = waits ? turn : nil
        entries[id] = entry
    }

    /// The connection has ended; one that is unknown or closed already is ignored.
    mutating func close(_ id: ID) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        counts[entry.source, default: 1] -= 1
        if counts[entry.source] == 0 { counts[entry.source] = nil }
    }

    private func longestWaiting(_ isCandidate: (Source) -> Bool) -> ID? {
        var best: (id: ID, since: UInt64)?
        for (id, entry) in entries {
            guard let since = entry.waitingSince, isCandidate(entry.source) else { continue }
            if best.map({ since < $0.since }) ?? true { best = (id, since) }
        }
        return best?.id
    }
}
