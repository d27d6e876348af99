import Primitives
import Wire

/// The knobs of gossip, each with what it is worth and what breaks beyond it.
public struct GossipParameters: Sendable {
    /// Shared by simulated peers; a real one has none.
    public var memo: (any VerifiedMemo)?

    /// How often an unchanged offer is signed anew. Longer than a third of `validity`, and two lost refreshes take a
    /// living seller out of the books; shorter, and every holder pays traffic and a signature check for nothing.
    public var refreshEvery: Interval = .seconds(60)
    /// A refresh comes up to this much early, so that nodes started together don't mail together for ever.
    public var refreshJitter: Interval = .seconds(5)
    /// How long an offer holds; three refreshes. A dead seller's offer lives at most this long.
    public var validity: Interval = .seconds(180)
    /// The least time between two changes of an offer's terms. The first announcement and a withdrawal don't wait.
    public var changeEvery: Interval = .seconds(60)
    /// The least time between two answers to a record of our own that we didn't write (two instances of one key).
    public var reassertEvery: Interval = .seconds(10)

    /// Mails leave in ticks, so that an offer for 160 members is no burst: 8 every 10 ms is 800 a second, which
    /// takes 0.2 s for 160. Faster overruns receive buffers; slower misses the half second in which an offer is to be known.
    public var mailTick: Interval = .milliseconds(10)
    public var mailsPerTick = 8
    /// Members to whom a node passes a fresh offer that its publisher did not mail to it itself.
    public var rumourFanout = 6
    /// The same for an offer that only holds longer than the one it replaces. Three reach 94 % (the share z of an epidemic
    /// in which each passes f copies on once: z = 1 - e^(-f z); six reach 99.7 %), and whoever is left out has the next
    /// exchange and two more refreshes before it loses the seller. A large mesh's upkeep is mostly these.
    public var refreshFanout = 3
    /// The same for the winner of two bodies under one sequence: since half of the mesh may hold the loser and only
    /// those who change their mind push, six would leave one in twenty behind.
    public var conflictFanout = 12
    /// Members to whom everybody who learns a withdrawal passes it on at once, mailed or not. A publisher mails its own
    /// members, which in a larger mesh are not all who hold its offer; nobody should call a seller that has left. Whom few
    /// count among their members gets half of the average: e^-6 = 0.25 % of such holders are left out, with eight it was
    /// one node in every tenth leave of sixty. Withdrawals are rare, so their copies are cheap.
    public var withdrawalFanout = 12
    /// What counts as fresh. An older offer that we lacked is our loss alone: the others have had their chance.
    public var rumourAgeMax: Interval = .seconds(10)
    /// A rumour waits so long, up to twice: the publisher's own mail may be under way to us and to everybody, and
    /// cancels it when it comes. Shorter than mail takes (`mailTick`, a round trip), and each refresh races with
    /// itself, at several copies a holder.
    public var rumourDelay: Interval = .milliseconds(500)
    /// One directly mailed offer in so many is shown to one random member. Anti-entropy compares sequences, not
    /// bodies; this is how a seller who tells two halves of the mesh different things under one sequence is found
    /// out. It costs 1/8 of a copy per holder.
    public var spotCheckOneIn = 8

    /// How often a node compares its book with one random member's, give or take the jitter.
    public var exchangeEvery: Interval = .seconds(60)
    public var exchangeJitter: Interval = .seconds(10)
    /// After the first member is known: a moment to get to know more, then exchanges with up to so many at once,
    /// again after `joinRetry` (doubling) until a set of exchanges brought nothing new.
    public var joinDelay: Interval = .milliseconds(100)
    public var joinRetry: Interval = .seconds(1)
    public var joinPartners = 3
    public var joinAttemptsMax = 6

    /// A search pulls from so many members and ends after this long, whoever has answered. A search that follows
    /// within `searchPause` of the last one ends at once: nothing can have changed.
    public var searchPartners = 3
    public var searchTimeout: Interval = .seconds(1)
    public var searchPause: Interval = .milliseconds(250)

    /// How far another's clock may be off ours. Offers from further in the future are refused; expired ones are
    /// kept, unlisted, for as long. Publishers need no more: an offer is refreshed 120 s before it ends.
    public var clockTolerance: Interval = .seconds(30)

    public init() {}
}

/// The bounds of every table, queue and loop in gossip, and the rates at which others may make us work.
public enum GossipLimits {
    /// Offers and tombstones in the book.
    public static let offersMax = 4_096
    /// Live offers of one key; as many tombstones again.
    public static let offersPerKeyMax = 8
    /// Models in the book: what a catalogue lists.
    public static let modelsMax = 512
    public static let membersMax = 512

    /// The longest that an offer may hold. `records.proto`.
    public static let validityMax: Interval = .minutes(10)
    /// Sequences are about milliseconds since 1970; beyond this one nobody could continue above, and a digest of
    /// them would not fit a datagram.
    public static let sequenceMax: UInt64 = 1 << 56
    /// Dates are milliseconds since 1970, up to the year 36812: their sums and differences can't overflow.
    public static let dateMax: Int64 = 1 << 50

    /// Versions in a digest that we send: as many as one answer can want. (We accept `WireLimits.digestOffersMax`.)
    public static let digestEntries = WireLimits.wantedMax

    /// New versions of one offer: one in 10 s, three in a row. Of one key: the same for each of its eight.
    public static let versionEvery: Interval = .seconds(10)
    public static let versionBurst = 3
    /// A receiver takes more in a row than a publisher sends: one that restarts doesn't know what it has spent, and a
    /// restart with a leave takes two. With three, a node that restarted twice was unknown for ten seconds.
    public static let versionBurstTaken = 8
    public static let originEvery: Interval = .milliseconds(1_250)
    public static let originBurst = 24
    public static let originsMax = 1_024

    /// Signature checks a second, in three purses, so that a flood spends only its own: offers mailed by a known
    /// publisher itself (the session proves who sent them), offers of known publishers that another passed on, and
    /// those of strangers. Together 1,000 × 60 µs: 6 % of a core at the worst.
    public static let checksDirect = 500
    public static let checksPassedOn = 250
    public static let checksStrangers = 250
    /// A sender of so many bad signatures is not listened to until it has paid them off, one in 20 s.
    public static let badSignatureEvery: Interval = .seconds(20)
    public static let badSignatureBurst = 3
    public static let mutedMax = 256
    /// Offers that a member listed, that we asked for and that have not come. At the bound we ask it for no more; half
    /// is forgiven each minute, so that one bad minute heals.
    public static let awaitedMax = 128

    /// Digests answered a second: each walks our book once.
    public static let digestsPerSecond = 200
    /// Corrections a second: mails to senders of something older than what we hold.
    public static let correctionsPerSecond = 50

    /// Receivers with mail waiting, and offers waiting for one of them.
    public static let mailboxesMax = 1_024
    public static let mailboxDepthMax = 64
    /// Rumours that wait.
    public static let rumoursMax = 256
    /// Requests without an answer yet.
    public static let requestsMax = 2_048
    /// Exchanges at a time; digests in one of them.
    public static let exchangesMax = 48
    public static let exchangeRequestsMax = 2_048
    public static let searchesMax = 64
    /// Networks whose clocks we remember.
    public static let clocksMax = 32
}
