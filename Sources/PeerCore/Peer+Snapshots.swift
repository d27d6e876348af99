import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

// What people may look at. Copies: nothing here changes anything.
extension Peer {
    public var contacts: [ContactSummary] { discovery.contacts }
    public var anchors: [Verified<Contact>] { discovery.anchors }
    public var isJoined: Bool { discovery.isJoined }
    public var ownEndpoints: [Endpoint] { endpoints }
    public var ownReachability: Reachability { reachability }
    public var observedEndpoint: Endpoint? { discovery.observedEndpoint }

    public var allOffers: [Verified<Offer>] { gossip.allOffers }
    public func offers(model: String) -> [Verified<Offer>] { gossip.offers(model: model) }
    public var catalogue: [ModelSummary] { gossip.models }

    public func transcript(_ task: TaskID) -> TaskTranscript? { auctioneer.transcript(task) }
    public func transcripts(prefix: String) -> [TaskTranscript] { auctioneer.transcripts(prefix: prefix) }
    public var taskCounts: TaskCounts { auctioneer.counts }
    public func millitrust(_ key: PublicKey) -> UInt32 { auctioneer.millitrust(key) }
    public var bidderStatistics: [BidderStatistics] { bidder.statistics }
    public var runningJobs: Int { bidder.runningCount }

    /// Datagrams and records dropped, by named reason; every reason is listed, those that never happened with 0.
    public var dropped: [(name: String, count: UInt64)] {
        var all = sessions.dropped.counts
        for (reason, count) in discovery.dropped.occurred { all.append((reason.name, count)) }
        for (name, count) in gossip.dropped.counts { all.append((name, count)) }
        return all
    }
}
