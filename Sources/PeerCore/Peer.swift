// `Peer` is one node's protocol as one value: the dispatch and nothing else.
//
// The contract with its shell:
//
// - Events come one at a time, each with the moment at which it happens (`receive`, `tick`, `submit`, …).
// - After one or several events the shell drains every output: it takes and executes effects until there are
//   none (`takeEffects`), sends the datagrams (`takeDatagrams`), and sets its timer to `nextDeadline()`. A batch
//   of received datagrams needs one drain. Until then effects are all kept, in order; datagrams beyond
//   `DatagramSlab.datagramsMaxDefault` are dropped and counted, so a batch stays well below that.
// - Executing an effect may bring the next event, such as a dial that fails at once. Its effects are in the next
//   `takeEffects`, after those already taken.
// - `tick` comes no later than `nextDeadline()`. Early is harmless.
//
// It does no I/O, reads no clock, and draws randomness only from the generator that it was seeded with, so that
// a shell on real sockets and a simulator on virtual time run the same bytes the same way.
//
// Read on in this order: `Peer+Inputs` (what comes in), `Peer+Routing` (which machine gets a message),
// `Peer+Settle` (how actions of one machine reach another and become effects), `Presence/` (what this node
// says of itself), `Sourcing/` (how the sellers of a model are found), `Peer+Snapshots` (read-only views).

import Cryptography
import Discovery
import Gossip
import Market
import Primitives
import Sessions
import Wire

public struct Peer: ~Copyable {
    public let identity: Identity
    let profile: DiscoveryProfile
    let denied: Set<PublicKey>
    /// Whether endpoints count as networks of their own: see `SessionLimits.countsEndpoints`.
    let countsEndpoints: Bool

    var sessions: Sessions
    var channels: Channels
    var discovery: Discovery
    var gossip: Gossip
    var auctioneer: Auctioneer
    var bidder: Bidder
    /// The event being handled: its time, and the generator for every draw.
    var turn: Turn

    // Outputs of the machines, emptied by `settle`; their memory is reused.
    var sessionOutput = SessionOutput()
    var channelActions: [ChannelAction] = []
    var discoveryActions: [DiscoveryAction] = []
    var gossipActions: [GossipAction] = []
    var auctioneerActions: [AuctioneerAction] = []
    var bidderActions: [BidderAction] = []
    var effects: [Effect] = []
    /// What `settle` works through while the machines fill their outputs again.
    var spare = (completions: [Completion](), discovery: [DiscoveryAction]())

    /// Channels that were asked for and are not open yet.
    var dialling: [ChannelID: Dialler] = [:]
    /// A node that both sells and buys awards tasks to itself: its own channels never touch a socket.
    var ownChannels = OwnChannels()
    /// Tasks that wait for the sellers of their model.
    var searches = OfferSearches()
    /// Searches of `findProviders`, and what they found since the shell last asked.
    var topicSearches: Set<RequestToken> = []
    var findings: [Finding] = []

    var presence: Presence
    var leaving = Leaving.no
    /// Limited, because unproven claims of strangers must not fill a log.
    var versionNotices = TokenBucket(every: .minutes(1), burst: 4)
    var counts = TaskCounts()
    let startedAt: MonotonicTime
    /// The last sign of another process with our key.
    public internal(set) var ownKeyUse: OwnKeyUse?
    /// When this node states its contact anew, so that the other process learns of this one.
    var ownKeyAnswerAt = MonotonicTime.never
    var ownKeyAnswersLeft = 0

    enum Dialler {
        case auctioneer(TaskID, attempt: UInt32, PeerAddress), bidder(TaskID, attempt: UInt32, PeerAddress)
        /// For another node's reachability test.
        case test
    }
    enum Leaving { case no, saying, said, done }

    /// - Parameters:
    ///   - entropy: 32 secret random bytes for session keys, from the shell's operating system.
    ///   - seed: for every other draw; also from the operating system, or a simulation's.
    public init(identity: Identity, settings: PeerSettings, entropy: Bytes32, seed: Bytes32, now: Now) {
        self.identity = identity
        profile = settings.profile
        denied = Set(settings.denied)
        countsEndpoints = settings.sessions.countsEndpoints
        presence = Presence(identity: identity, settings: settings)
        startedAt = now.monotonic
        turn = Turn(now: now, random: SeededRandom(seed: seed))
        sessions = Sessions(
            identity: identity, mesh: settings.mesh,
            entropy: Blake2b.hash(domain: "starling sessions", entropy.bytes),
            limits: settings.sessions)
        channels = Channels(
            identity: identity, mesh: settings.mesh,
            entropy: Blake2b.hash(domain: "starling channels", entropy.bytes),
            limits: settings.channels)
        var discovering = settings.discovery
        if !settings.reachability.acceptsChannels { discovering.testsReachability = false }
        discovery = Discovery(
            selfKey: identity.publicKey, parameters: discovering, profile: settings.profile)
        var gossiping = settings.gossip
        gossiping.isLocal = settings.profile == .loopback
        gossip = Gossip(identity: identity, parameters: gossiping)
        gossip.resume(settings.models)
        gossip.trade(in: settings.models)
        auctioneer = Auctioneer(identity: identity, parameters: settings.market)
        auctioneer.restore(settings.sellers, now: now)
        bidder = Bidder(identity: identity, parameters: settings.market)
        bidder.restore(settings.buyers, sold: settings.sold, now: now)
        bidder.acceptsChannels = settings.reachability.acceptsChannels
        stateContact()
        discovery.join(bootstrap: settings.bootstrap, turn: &turn, out: &discoveryActions)
        if !settings.anchors.isEmpty {
            discovery.restore(anchors: settings.anchors, turn: &turn, out: &discoveryActions)
        }
        settle()
    }

    /// The time by which `tick` must be called.
    public mutating func nextDeadline() -> MonotonicTime {
        min(
            min(
                min(sessions.nextDeadline(), channels.nextDeadline()),
                min(discovery.nextDeadline(), gossip.nextDeadline())),
            min(
                min(auctioneer.nextDeadline(), bidder.nextDeadline()),
                min(searches.timers.next(), ownKeyAnswerAt)))
    }

    /// Does everything that is due, including what becomes due at once as a result.
    public mutating func tick(now: Now) {
        turn.now = now
        tickOnce()
        // One machine's actions may set another's timer to now: for the shell that would be one more turn.
        var turnsLeft = 8
        while turnsLeft > 0, nextDeadline() <= turn.monotonic {
            turnsLeft -= 1
            tickOnce()
        }
    }

    private mutating func tickOnce() {
        let time = turn.monotonic
        if sessions.nextDeadline() <= time { sessions.tick(turn: &turn, out: &sessionOutput) }
        if channels.nextDeadline() <= time { channels.tick(turn: &turn, out: &channelActions) }
        if discovery.nextDeadline() <= time {
            discovery.tick(turn: &turn, out: &discoveryActions)
        }
        if gossip.nextDeadline() <= time { gossip.tick(turn: &turn, out: &gossipActions) }
        auctioneer.tick(turn: &turn, out: &auctioneerActions)
        if bidder.nextDeadline() <= time { bidder.tick(turn: &turn, out: &bidderActions) }
        tickSearches()
        if ownKeyAnswerAt <= time { answerOwnKey() }
        settle()
    }

    // MARK: Outputs

    /// Sealed datagrams to send; call `clearDatagrams` once they are sent.
    ///
    /// A shell that keeps the peer in an object uses the mutating calls instead: reading part of a
    /// noncopyable value there may move all of it back and forth.
    public var datagrams: DatagramSlab { _read { yield sessionOutput.datagrams } }

    /// Passes the datagrams to `send` and then empties them; their memory is reused.
    public mutating func takeDatagrams(_ send: (DatagramSlab) -> Void) {
        guard !sessionOutput.datagrams.isEmpty else { return }
        send(sessionOutput.datagrams)
        sessionOutput.datagrams.removeAll()
    }

    public mutating func clearDatagrams() { sessionOutput.datagrams.removeAll() }

    public var hasEffects: Bool { !effects.isEmpty }

    /// Moves the effects into `out`, whose old content is dropped and whose memory is reused for the next
    /// ones; false when there are none.
    @discardableResult
    public mutating func takeEffects(into out: inout [Effect]) -> Bool {
        out.recycle()
        guard !effects.isEmpty else { return false }
        swap(&effects, &out)
        return true
    }
}
