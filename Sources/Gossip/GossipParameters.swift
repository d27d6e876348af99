import Primitives
import Wire

/// The parameters of gossip, each with its effect when too small or too large.
public struct GossipParameters: Sendable {
    /// Shared by simulated peers; nil in a real node.
    public var memo: (any VerifiedMemo)?
    /// The mesh is on one machine or local network: private addresses are usable there, and bounds count
    /// endpoints instead of prefixes. Set by PeerCore from the profile.
    public var isLocal = false

    /// How often an unchanged offer is signed again. Longer than a third of `validity`: two lost refreshes
    /// remove a living seller from offer books; shorter: every holder pays traffic and a signature check for
    /// nothing.
    public var refreshEvery: Interval = .seconds(60)
    /// A refresh comes up to this much early, so that nodes started together don't mail in step for ever.
    public var refreshJitter: Interval = .seconds(5)
    /// How long an offer is valid: three refreshes. A dead seller's offer lives at most this long.
    public var validity: Interval = .seconds(180)
    /// The least time between two changes of an offer's terms. The first announcement and a withdrawal don't
    /// wait.
    public var changeEvery: Interval = .seconds(60)
    /// The least time between two answers to a record under our key that we didn't write (two instances of
    /// one key).
    public var reassertEvery: Interval = .seconds(10)

    /// Mails leave in ticks, so that an offer for 160 members is not a burst: 8 every 10 ms is 800 a second,
    /// or 0.2 s for 160. Faster overruns receive buffers; slower misses the half second in which an offer
    /// should be known.
    public var mailTick: Interval = .milliseconds(10)
    public var mailsPerTick = 8
    /// Members to which a node passes a fresh offer that its publisher did not mail to it itself, and every
    /// node one that returns after a withdrawal.
    public var rumourFanout = 6
    /// The same for an offer that is only valid for longer than the one it replaces. Three reach 94 % (the
    /// share z of an epidemic in which each node passes f copies on once: z = 1 - e^(-f z); six reach 99.7
    /// %). A node left out has the next exchange and two more refreshes before it loses the seller. Most of a
    /// large mesh's upkeep is these.
    public var refreshFanout = 3
    /// The same for the winner of two bodies under one sequence: half of the mesh may hold the loser, and
    /// only nodes that change their version push, so six would leave one in twenty behind.
    public var conflictFanout = 12
    /// Members to which every node that learns a withdrawal passes it on at once, mailed or not. A publisher
    /// mails only its own members, which in a larger mesh are not all holders of its offer, and no node
    /// should call a seller that has left. A node that few count among their members gets half the average
    /// number of copies: e^-6 = 0.25 % of such holders are left out; with eight copies it was one node in
    /// every tenth leave of sixty. Withdrawals are rare, so their copies are cheap.
    public var withdrawalFanout = 12
    /// The age up to which an offer is fresh. An older one that we lacked is news only to us: the others have
    /// had their chance.
    public var rumourAgeMax: Interval = .seconds(10)
    /// A rumour waits this long, up to twice: the publisher's own mail may be on its way to us and to all
    /// others, and cancels the rumour when it comes. Shorter than mail takes (`mailTick`, a round trip), each
    /// refresh races with itself, at several copies a holder.
    public var rumourDelay: Interval = .milliseconds(500)
    /// One directly mailed offer in this many is shown to one random member. Anti-entropy compares sequences,
    /// not bodies; this detects a seller that tells two halves of the mesh different things under one
    /// sequence. It costs 1/8 of a copy per holder.
    public var spotCheckOneIn = 8

    /// How often a node compares its offer book with one random member's, plus or minus the jitter.
    public var exchangeEvery: Interval = .seconds(60)
    public var exchangeJitter: Interval = .seconds(10)
    /// The first gap between two comparisons of a node that has just joined; each is twice as long as the one
    /// before, up to `exchangeEvery`. Nobody mails a node that is in no table, so this is how it meets sellers
    /// that start shortly after it. Shorter: comparisons that bring nothing; longer: such a node lacks them for
    /// as long.
    public var exchangeFirst: Interval = .seconds(4)
    /// After the first member is known: a moment to learn more of them, then exchanges with up to this many
    /// at once, repeated after `joinRetry` (doubling) until a set of exchanges brings nothing new.
    public var joinDelay: Interval = .milliseconds(100)
    public var joinRetry: Interval = .seconds(1)
    public var joinPartners = 3
    public var joinAttemptsMax = 6

    /// A search pulls from this many members, and ends after this time even if some have not answered. A
    /// search within `searchPause` of the last one ends at once: nothing can have changed.
    public var searchPartners = 3
    public var searchTimeout: Interval = .seconds(1)
    public var searchPause: Interval = .milliseconds(250)

    /// Offers and tombstones in the offer book. `GossipLimits.offersMax`; smaller in tests of full books.
    public var offersMax = GossipLimits.offersMax

    /// How far another node's clock may differ from ours. Offers from further in the future are refused;
    /// expired ones are kept, unlisted, for as long. Publishers need no more: an offer is refreshed 120 s
    /// before it ends.
    public var clockTolerance: Interval = .seconds(30)

    public init() {}

    /// Whether something may be sent to `endpoint` because an offer names it.
    func accepts(_ endpoint: Endpoint) -> Bool { endpoint.isUnicast && (isLocal || !endpoint.isPrivate) }
}

/// The bounds of every table, queue and loop in gossip, and the rates at which others may make us work.
public enum GossipLimits {
    /// Offers and tombstones in the offer book.
    public static let offersMax = 4_096
    /// Of these, offers of models that this node sells or asks for which evict others. Larger: a flood of one
    /// such model empties the catalogue of all others.
    public static let tradedOffersMax = offersMax / 2
    /// Entries of a full book drawn for one that gives way. With 16, of which up to half are protected, a
    /// group that has one entry in a hundred is hardly ever hit.
    public static let evictionDraws = 16
    /// Live offers of one key; as many tombstones in addition.
    public static let offersPerKeyMax = 8
    /// Models that a catalogue lists.
    public static let modelsMax = 512
    /// Models whose last offer has gone, and for how long they count as sold: a task for one of them waits a
    /// moment, and is told to retry. Longer: a model that is gone for good isn't called unknown.
    public static let soldMax = 512
    public static let soldFor: Interval = .minutes(10)
    public static let membersMax = 512

    /// The longest validity of an offer. `records.proto`.
    public static let validityMax: Interval = .minutes(10)
    /// Sequences are about milliseconds since 1970. Above this no node could continue, and a digest of such
    /// sequences would not fit a datagram.
    public static let sequenceMax: UInt64 = 1 << 56
    /// Dates are milliseconds since 1970, up to the year 36812, so that their sums and differences can't
    /// overflow.
    public static let dateMax: Int64 = 1 << 50

    /// Versions in a digest that we send: as many as one answer can request. (We accept
    /// `WireLimits.digestOffersMax`.)
    public static let digestEntries = WireLimits.wantedMax

    /// New versions of one of our own offers: one in 10 s, with a burst of three, withdrawals included.
    public static let versionEvery: Interval = .seconds(10)
    public static let versionBurst = 3
    /// New versions that we take of another's offer. The newest of those that come faster waits for its turn,
    /// so this is also the longest time for which a node that restarts every few seconds is held in an older
    /// version. Longer: a restarted seller is found late; shorter: a hostile seller costs every holder more
    /// checks and copies: with its eight offers four a second, 0.2 ms. The burst is larger than a
    /// publisher's, because a restarted one doesn't know what it has used.
    public static let versionEveryTaken: Interval = .seconds(2)
    public static let versionBurstTaken = 8
    /// The same for all offers of one key: those of eight models, restarted three times in a row.
    public static let originEvery: Interval = .milliseconds(250)
    public static let originBurst = 48
    public static let originsMax = 1_024
    /// Forwardings of one key's offers, each to as many members as its fanout says. Of what comes faster the
    /// newest is forwarded later. Shorter: one hostile key makes every node send more than five copies a
    /// second; longer: in a mesh larger than its table, a seller that restarts every few seconds is missed by
    /// those that it doesn't know.
    public static let spreadEvery: Interval = .seconds(2)
    public static let spreadBurst = 16

    /// Signature checks a second, in separate budgets, so that a flood uses up only its own: offers
    /// mailed by a known publisher itself (the session proves the sender), offers of known publishers
    /// forwarded by others, and those of strangers. Together 1,000 × 60 µs: 6 % of a core at worst.
    public static let checksDirect = 500
    public static let checksPassedOn = 250
    public static let checksStrangers = 250
    /// Besides: versions that others forward faster than their seller's rate. They are checked before they
    /// wait, or a forged one would take the place of the true one.
    public static let checksDelayed = 50
    /// The pause before a waiting version is tried again that no budget was left for.
    public static let checkRetry: Interval = .seconds(1)
    /// A sender of this many bad signatures is ignored until it has regained one, every 20 s.
    public static let badSignatureEvery: Interval = .seconds(20)
    public static let badSignatureBurst = 3
    public static let mutedMax = 256
    /// Offers that a member listed, that we requested and that have not come. At the bound we request no more
    /// from it; half is forgiven each minute, so that a bad minute heals.
    public static let awaitedMax = 128

    /// Digests of members answered a second: each walks our offer book once. Strangers get half as many besides,
    /// one address group a quarter.
    public static let digestsPerSecond = 200
    /// Corrections a second, shared like digests: mails to senders of an older version than the one we hold.
    public static let correctionsPerSecond = 50
    /// Address groups whose shares of these are remembered.
    public static let answeredGroupsMax = 1_024

    /// Receivers with waiting mail, and offers waiting for one of them.
    public static let mailboxesMax = 1_024
    public static let mailboxDepthMax = 64
    /// Waiting rumours.
    public static let rumoursMax = 256
    /// Requests without an answer yet.
    public static let requestsMax = 2_048
    /// Concurrent exchanges, and digests in one of them.
    public static let exchangesMax = 48
    public static let exchangeRequestsMax = 2_048
    public static let searchesMax = 64
    /// Networks whose clocks we remember, and for how long after their last vote.
    public static let clocksMax = 32
    public static let clockVoteLifetime: Interval = .minutes(30)
    /// Senders whose dates wait for their first answer.
    public static let earlyDatesMax = 64
    /// For this long after the first median our clock may be set at once, and from then on by one step a
    /// minute. Longer: networks met later can set it; shorter: a node that first met wrong clocks takes long
    /// to recover.
    public static let clockSettling: Interval = .minutes(2)
    public static let clockStep: Interval = .seconds(30)
    public static let clockStepEvery: Interval = .minutes(1)
}
