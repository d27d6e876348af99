import Cryptography
import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

// What people may look at. Copies: nothing here changes anything.
extension Peer {
    public var contacts: [ContactSummary] { discovery.contacts }
    /// How many `contacts` are.
    public var contactCount: Int { discovery.contactCount }
    public var anchors: [Verified<Contact>] { discovery.anchors }
    public var isJoined: Bool { discovery.isJoined }
    /// Whether the last of `Notice.alone` and a first contact was `alone`.
    public var isAlone: Bool { discovery.isAlone }
    /// See `Discovery.bootstrapAddresses`.
    public var bootstrap: [(address: PeerAddress, isReached: Bool, hasAnswered: Bool)] {
        discovery.bootstrapAddresses
    }
    public var ownEndpoints: [Endpoint] { presence.endpoints }
    public var ownReachability: Reachability { presence.reachability }
    /// What the last test of whether strangers reach us found out.
    public var testedReachability: ReachabilityFinding? { presence.finding }
    public var observedEndpoint: Endpoint? { discovery.observedEndpoint }

    public var allOffers: [Verified<Offer>] { gossip.allOffers }
    public func offers(model: String) -> [Verified<Offer>] { gossip.offers(model: model) }
    /// The models on offer, without the offers of sellers that are known to be gone: those don't answer Discovery's probes,
    /// left this node's last call for bids unanswered, or have missed two refreshes. Their offers stay until they expire.
    public func catalogue(now: Now) -> [ModelSummary] {
        gossip.models(now.monotonic) { key in
            !discovery.isGone(key) && auctioneer.experience(of: key)?.isSilent != true
        }
    }

    public func transcript(_ task: TaskID) -> TaskTranscript? { auctioneer.transcript(task) }
    /// Of the tasks that run or are remembered, those whose id begins with `prefix`, the latest first; at most `limit`.
    public func transcripts(prefix: String, limit: Int = 2) -> [TaskTranscript] {
        let running = auctioneer.running.reversed().compactMap { auctioneer.transcript($0) }
        let all = running + auctioneer.recent(1_000)
        return Array(all.lazy.filter { $0.task.description.hasPrefix(prefix) }.prefix(limit))
    }
    public var taskCounts: TaskCounts {
        var counts = counts
        counts.running = auctioneer.runningCount
        return counts
    }
    public func millitrust(_ key: PublicKey, now: Now) -> UInt32 { auctioneer.trust(of: key, now: now) }
    public func experience(of key: PublicKey) -> SellerExperience? { auctioneer.experience(of: key) }
    public var bidderRecord: BidderRecord { bidder.record }
    /// Tasks of a model that wait for a slot.
    public func tasksWaiting(_ model: String) -> Int { bidder.waiting(model) }
    public func slotsTaken(_ model: String) -> Int { bidder.slotsTaken(model) }
    /// What must be zero when nothing runs. For checkers.
    public var outstanding:
        (tasks: Int, requests: Int, taskChannels: Int, holds: Int, jobs: Int, jobChannels: Int)
    {
        let asking = auctioneer.outstanding
        let serving = bidder.outstanding
        return (
            auctioneer.runningCount, asking.requests, asking.channels, serving.holds, serving.jobs,
            serving.channels
        )
    }

    /// Accepted channels that are kept open for a task that no machine has. For checkers.
    public var strayChannels: Int {
        var count = 0
        for channel in channels.claimed where !owns(channel) { count += 1 }
        return count
    }

    /// Whether a new offer must displace another in the offer book. For checkers.
    public var isOfferBookFull: Bool { gossip.isBookFull }

    /// Tables with their sizes and bounds. For checkers.
    public var tables: [(name: String, count: Int, bound: Int)] {
        sessions.tables + channels.tables + bidder.tables + [
            ("offers", gossip.heldCount, gossip.heldMax),
            ("members", gossip.memberCount, GossipLimits.membersMax),
            ("contacts", discovery.count, 256 * discovery.parameters.bucketSize),
        ]
    }

    /// Datagrams and records dropped, by named reason; every reason is listed, those that never happened with 0.
    public var dropped: [(name: String, count: UInt64)] {
        var all = sessions.dropped.counts
        for (reason, count) in discovery.dropped.occurred { all.append((reason.name, count)) }
        for (name, count) in gossip.dropped.named { all.append((name, count)) }
        return all
    }
}

/// This node's clients' tasks since its start.
public struct TaskCounts: Hashable, Sendable {
    public var running = 0
    public var delivered = 0
    public var refused = 0
    public var cancelled = 0
    public var failed = 0
    public init() {}
}
