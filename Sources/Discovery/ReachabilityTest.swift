import Primitives

/// What a node has found out about whether strangers reach it.
public struct ReachabilityFinding: Hashable, Sendable {
    public enum Answer: String, Sendable { case unknown, yes, no }
    /// Whether datagrams of strangers arrive, and whether their connections do.
    public var datagrams: Answer
    public var channels: Answer
    /// The endpoint that was tested.
    public var endpoint: Endpoint
    public var at: MonotonicTime
    /// Networks that took part: those whose calls came, or that said that they called.
    public var networks: Int

    public init(
        datagrams: Answer, channels: Answer, endpoint: Endpoint, at: MonotonicTime, networks: Int
    ) {
        self.datagrams = datagrams
        self.channels = channels
        self.endpoint = endpoint
        self.at = at
        self.networks = networks
    }
}

/// One test: up to three rounds of the question "have some node call me back", and their results.
///
/// The model is libp2p's AutoNAT v2, which calls back from a fresh port and returns a nonce. Two additions
/// are needed by a node with a table full of contacts: a third node calls, because a NAT lets the asked one
/// in; and a call from a network to which we sent something counts for less than a stranger's. Votes count by
/// the network of the asked node, so that a liar has one: it can claim that a call was made, but can't make
/// one arrive.
struct ReachabilityTest: Sendable {
    struct Ask: Sendable {
        let nonce: UInt64
        let asked: PeerAddress
        /// The network of `asked`.
        let group: Endpoint
        /// It says that a node calls us at our endpoint.
        var isAcknowledged = false
        var hasArrived = false
    }

    static let roundsMax = 3
    /// Networks that must have passed on our question before silence means anything.
    static let silenceMin = 3
    /// Networks whose calls must arrive.
    static let callsMin = 2
    /// Rounds in which silence must repeat itself, because one round's calls may be lost.
    static let silentRoundsMin = 2

    let endpoint: Endpoint
    let startedAt: MonotonicTime
    private(set) var round = 0
    private(set) var asks: [Ask] = []
    private(set) var callers: [Endpoint] = []
    /// A call from a network to which we had sent nothing has arrived.
    private(set) var isStrangerHeard = false

    init(endpoint: Endpoint, now: MonotonicTime) {
        self.endpoint = endpoint
        startedAt = now
    }

    var groups: [Endpoint] { asks.map(\.group) }

    mutating func beginRound() { round += 1 }

    mutating func ask(_ nonce: UInt64, of peer: PeerAddress, group: Endpoint) {
        asks.append(Ask(nonce: nonce, asked: peer, group: group))
    }

    func ask(_ nonce: UInt64) -> Ask? { asks.first { $0.nonce == nonce } }

    mutating func acknowledged(_ nonce: UInt64, by peer: PeerAddress) {
        guard let index = asks.firstIndex(where: { $0.nonce == nonce && $0.asked == peer }) else { return }
        asks[index].isAcknowledged = true
    }

    /// The call with this nonce came from the network `caller`.
    mutating func arrived(_ nonce: UInt64, from caller: Endpoint, isStranger: Bool) {
        guard let index = asks.firstIndex(where: { $0.nonce == nonce }) else { return }
        asks[index].hasArrived = true
        if isStranger { isStrangerHeard = true }
        if !callers.contains(caller) { callers.append(caller) }
    }

    private static func distinct(_ asks: [Ask]) -> Int {
        var groups: [Endpoint] = []
        for ask in asks where !groups.contains(ask.group) { groups.append(ask.group) }
        return groups.count
    }

    /// Networks whose call arrived, and networks that passed on our question.
    var arrivals: Int { Self.distinct(asks.filter(\.hasArrived)) }
    var passed: Int { Self.distinct(asks.filter { $0.hasArrived || $0.isAcknowledged }) }

    /// Whether datagrams of strangers arrive, as far as it can be decided now. `strangers` is the number of
    /// networks that came unasked.
    func datagrams(strangers: Int, isRoundOver: Bool) -> ReachabilityFinding.Answer {
        let isStranger = isStrangerHeard || strangers > 0
        let isEnough = strangers + arrivals >= Self.callsMin
        if isEnough, isStranger { return .yes }
        // Without a stranger's call, only the share of calls that arrived counts.
        guard isRoundOver else { return .unknown }
        if isEnough, arrivals == passed || round > 1 && arrivals * 4 >= passed * 3 { return .yes }
        if strangers + arrivals == 0, isSilence { return .no }
        guard round >= Self.roundsMax else { return .unknown }
        // Calls came only from networks that we write to, and not from the others: strangers don't get in.
        if !isStranger, passed >= Self.silenceMin, arrivals * 2 < passed { return .no }
        return arrivals >= Self.callsMin ? .yes : .unknown
    }

    /// The same for channels. `callers` is the number of networks that connected since the test began.
    func channels(callers: Int, isRoundOver: Bool) -> ReachabilityFinding.Answer {
        if callers >= Self.callsMin { return .yes }
        return isRoundOver && callers == 0 && isSilence ? .no : .unknown
    }

    private var isSilence: Bool { passed >= Self.silenceMin && round >= Self.silentRoundsMin }
}

/// Networks that came to us unasked, each with its latest time; only the latest few.
struct RecentCallers: Sendable {
    static let capacity = 16
    private var callers: [(group: Endpoint, time: MonotonicTime)] = []

    mutating func note(_ group: Endpoint, _ now: MonotonicTime) {
        callers.removeAll { $0.group == group }
        if callers.count >= Self.capacity { callers.removeFirst() }
        callers.append((group, now))
    }

    mutating func removeAll() { callers.removeAll() }

    func groups(since time: MonotonicTime) -> [Endpoint] { callers.filter { $0.time >= time }.map(\.group) }
}
