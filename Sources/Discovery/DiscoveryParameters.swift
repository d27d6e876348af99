import Primitives
import Wire

/// Every number of Discovery, each with its formula or source and what breaks when it is wrong. Sources:
/// Maymounkov and Mazières, "Kademlia" (2002); Baumgart and Mies, "S/Kademlia" (2007); Ethereum's discv5
/// specification and go-ethereum's choices for it. The protocol's own limits (contacts and bytes of a FOUND)
/// are in `Protocol/`.
public struct DiscoveryParameters: Sendable {
    /// A cache of verified records that simulated peers share; a real peer has none.
    public var memo: (any VerifiedMemo)?

    // MARK: Table

    /// k: contacts per bucket and results per lookup. Kademlia's k is 20, discv5's 16. Smaller: one bad hour
    /// empties a bucket; larger: more liveness traffic for the same reach.
    public var bucketSize = 16
    /// Candidates waiting for a place in a full bucket (discv5: 10). Smaller: an eviction leaves a hole until
    /// the next refresh; larger: memory without benefit.
    public var replacementsMax = 10
    /// Contacts of one address group (/24, /56) in one bucket (discv5: 2). Larger: one rented /24 owns a
    /// bucket; smaller: honest nodes of one provider are refused.
    public var groupBucketMax = 2
    /// The same limit for the whole table (discv5: 10).
    public var groupTableMax = 10
    /// The same limit for the candidates of one lookup. Larger: one network fills every path.
    public var groupLookupMax = 10

    // MARK: Lookups

    /// d: disjoint paths (S/Kademlia: 4 to 8). Smaller: fewer liars divert a lookup;
    /// larger: more messages (13 instead of 9 for d = 8 against 1 at 5,000 nodes).
    public var paths = 4
    /// Contacts taken from one reply; the rest is ignored. A full FOUND holds 8 (1,100 bytes).
    public var contactsPerReplyMax = 8
    /// Bytes of signed contacts in one FOUND, so that its packet stays within 1,200. Larger: IP fragments.
    public var replyBytesMax = 1_000
    /// Candidates not yet asked that one path remembers: 2 × k, enough that failures leave alternatives. Per
    /// path, so that a lying path displaces nothing of an honest one.
    public var candidatesPerPathMax = 32
    /// Questions of one lookup: 6 × k. An honest lookup among a million nodes asks about 2 × k; the rest is
    /// for dead contacts. Smaller: lookups among many dead contacts end early; larger: liars can keep us
    /// busy.
    public var lookupQuestionsMax = 96
    /// Questions in flight of one path, and of one lookup: those of its paths, and more for the nearest k
    /// nodes heard of. At 10,000 nodes, 100 ms and a fifth of the contacts dead, a lookup takes 25 questions
    /// and 2.2 s (p99) with (1, 4), 31 and 1.5 s with (2, 8), 37 and 1.2 s with (3, 8). Smaller: each dead
    /// contact delays its path by the whole patience; larger: questions that another's answer would have made
    /// needless.
    public var pathInFlightMax = 3
    public var lookupInFlightMax = 8
    /// Lookups running at a time; further ones wait. Larger: a burst of FINDs at a join.
    public var lookupsMax = 4
    /// Lookups waiting; further ones end at once without a result.
    public var lookupsWaitingMax = 64

    /// How long a question of a lookup or walk may take before another node is asked as well: max(this,
    /// 2 × RTO), at most the maximum. Smaller: scheduling delays on a busy machine look like death and cost
    /// messages; larger: each dead contact holds up its path. Measured round trips of libuv processes on one
    /// loaded machine stay below 100 ms.
    public var patienceMin = Interval.milliseconds(100)
    public var patienceMax = Interval.milliseconds(750)
    /// A lookup waits for slow nodes among this many nearest to its target, for twice the patience in all,
    /// because one lost datagram must not hide the node that it looks for. Larger: every dead neighbour
    /// delays the end.
    public var awaitedNearest = 4

    // MARK: Rendezvous

    /// K: registrars per distance bucket that a provider registers with, and that a search asks (TopDisc: 5
    /// and 5). In a bucket of 20 nodes two draws of 5 meet with probability 82 %, in one of 10 with 99.6 %.
    /// Smaller: rare providers are missed; larger: traffic. In a mesh whose contacts fit one bucket, every
    /// node is asked.
    ///
    /// Fewer registrars and more questions (3 and 8) do worse. At 64 and 128 ground ids no search fails
    /// either way. But of searches for all of 8 providers among 400 liars in the buckets where they meet,
    /// 25 % succeed with (5, 5) and none with (3, 8): the more nodes are asked, the more liars are heard
    /// before enough providers are found.
    public var registrarsPerBucket = 5
    public var askedPerBucket = 5
    /// How long a registrar keeps a registration (TopDisc: 15 min). Larger: dead providers are named for
    /// longer.
    public var registrationLifetime = Interval.minutes(15)
    /// Longest pause between a provider's walks; a registration that then has less than a third of its
    /// lifetime left is renewed.
    public var registrationRefresh = Interval.minutes(9)
    /// Pause after a provider's first walk, × 4 after each. Short at first: a node that has just joined knows
    /// few registrars.
    public var registrationDelay = Interval.seconds(5)
    /// Registrations kept of one topic, of one prefix over all topics, and in all (about 300 bytes each). An
    /// average node is asked to keep 5 × log2(N / 16) × topics per node: about 150. Smaller: popular topics
    /// are known by few of their providers; larger: memory. `groupRegistrationsMax` is `groupBucketMax` nodes
    /// × eight models: one /24 of honest nodes fits.
    public var registrationsPerTopicMax = 64
    public var groupRegistrationsMax = 16
    public var registrationsMax = 2_048
    /// How long the registrar's hash key lives. Longer: an unlucky provider stays out for longer.
    public var registrarKeyLifetime = Interval.minutes(24 * 60)
    public var registrarSweep = Interval.minutes(1)
    /// Topics of our own (Gossip: eight offers a node).
    public var ownTopicsMax = 8
    /// Providers that end a search (TopDisc: 30). An auction calls 8.
    public var providersWanted = 30
    /// How many of one answer's new providers count towards that. Larger: a dozen liars, each naming eight of
    /// its own, end a search before it has met honest nodes; smaller: more questions for popular topics (15
    /// for 30).
    public var providersCountedPerAnswer = 2
    /// Questions of one search in flight: two buckets' worth, so that a search takes half a round trip a
    /// bucket.
    public var searchInFlightMax = 10
    /// One question in this many of a search goes to the near end instead of the far one; 0: none.
    public var searchNearEvery = 3
    /// Registrations of one walk in flight: enough for all nodes that it knows of at once, 5 in each bucket
    /// of a table at a million nodes, so that a walk with a full table takes one round trip. Smaller: more
    /// round trips; larger: bursts of handshakes (about 300 bytes and 150 µs for each node without a
    /// session).
    public var registrationsInFlightMax = 32
    /// Questions of one walk. 5 in each of 16 buckets is 80 at a million nodes; the rest is for dead nodes.
    public var walkQuestionsMax = 128
    /// Nodes of one walk: 16 in each of 20 buckets, plus a margin.
    public var walkNodesMax = 384
    /// Searches at a time; PeerCore runs one for each model.
    public var searchesMax = 8
    /// Contacts for which a PROVIDERS keeps room, however many registrations there are. Smaller: walks end
    /// early; larger: more questions for the same providers.
    public var contactsKeptForTopic = 2

    // MARK: Liveness

    /// Unanswered probes on our own schedule that evict. Sessions repeats each once, so 3 is six lost
    /// datagrams: at 10 % loss each way a false eviction has probability 0.19^6 = 5e-5. Smaller: loss empties
    /// tables; larger: dead contacts stay in replies.
    public var failuresMax = 3
    /// Pause after the first failure; doubles. With 2 s and 4 s a dead contact is gone about 10 s after it is
    /// first suspected, while a peer that stalls for 5 s survives.
    public var retryDelay = Interval.seconds(2)
    /// Idle time before a probe: the contact's age when last heard, within these limits. A peer that has
    /// lived long is likely to live on (Kademlia §4.1), so it is probed less often. In a quiet network of 64
    /// nodes (about 45 contacts, each pair needs one probe of about 75 bytes each way) the limits give 60 B/s
    /// in the first minutes, 6 B/s when old. Smaller: more traffic; larger: dead contacts stay longer unless
    /// suspected, which every unanswered question does.
    public var livenessMin = Interval.seconds(60)
    public var livenessMax = Interval.seconds(600)
    /// How long messages heard from a contact can stand for an answer to our own probe. Larger: a peer that
    /// can reach us but can't be reached keeps its place.
    public var proofLifetime = Interval.minutes(15)
    /// Our contact goes along in the first probe, when it changed, and again after this long, because the
    /// peer doesn't believe a probe that opened a session. Smaller: 300 bytes more per probe.
    public var introductionInterval = Interval.minutes(60)
    /// A contact with which a new session was opened is introduced to us again after this time at the earliest,
    /// because it may have restarted. Smaller: a PING for each lost request; larger: a contact that restarts
    /// twice, and was told no bootstrap address, stays alone for longer.
    public var reintroductionPause = Interval.seconds(10)
    /// A new contact is introduced to us, and we to it, within this time (random). Smaller: bursts; larger:
    /// newcomers stay unknown.
    public var introductionDelayMax = Interval.milliseconds(50)
    /// The same for announcing a changed endpoint of our own to every contact.
    public var announcementDelayMax = Interval.seconds(10)
    /// Evicted contacts that are tried again, those known longest; heals partitions. Larger: traffic to dead
    /// nodes.
    public var lostMax = 8
    /// First pause before a lost contact is tried again; doubles with each of `lostTriesMax` tries, two hours
    /// in all.
    public var lostDelay = Interval.seconds(60)
    public var lostTriesMax = 7

    // MARK: Join and refresh

    /// Bootstrap addresses kept.
    public var bootstrapMax = 16
    /// Pause before bootstrap addresses are tried again while the table is empty; doubles up to the maximum.
    /// Smaller: a dead bootstrap node is flooded when it returns; larger: users wait.
    public var bootstrapDelay = Interval.seconds(1)
    public var bootstrapDelayMax = Interval.seconds(60)
    /// The maximum when the table is not empty: an unreached bootstrap address may be in another part of a
    /// split mesh.
    public var bootstrapDelayIdleMax = Interval.minutes(10)
    /// Time without a contact and without an answer after which a node with bootstrap addresses reports that it
    /// is alone. Smaller: it reports while it starts together with its bootstrap node; larger: its operator
    /// searches for the fault elsewhere.
    public var aloneAfter = Interval.seconds(10)
    /// Saved contacts tried in one such round in addition to the bootstrap addresses.
    public var anchorsPerRound = 8
    /// Contacts worth saving. More: disk space without benefit.
    public var anchorsMax = 64
    /// Pause before the second refresh. It doubles up to the maximum, and from `refreshSettled` on grows
    /// eightfold when no new contact was found (4 to 20 KB a refresh). Short at first, because a node that
    /// starts together with all others finds none of them yet; an hour later all nodes have been introduced
    /// (Kademlia refreshes hourly).
    public var refreshDelay = Interval.milliseconds(250)
    public var refreshSettled = Interval.seconds(2)
    public var refreshDelayMax = Interval.minutes(60)
    /// Thin buckets looked at in one refresh; log2(10^6 / 16) = 16 buckets lie beyond the neighbourhood at a
    /// million nodes. Smaller: tables fill slowly; larger: a burst at a join.
    public var refreshBucketsMax = 8
    /// Contacts asked in a look around: of those nearest to us, and for each thin bucket. Each answer names
    /// eight. Smaller: one liar hides newcomers until the hourly lookup; larger: 1,150 bytes each for
    /// contacts that we already know.
    public var glanceNear = 3
    public var glanceFar = 2

    // MARK: Reachability

    /// Whether the node tests if strangers can reach it; it helps others either way. Off for a node whose
    /// operator has stated that it can't be reached: it has nothing to find out.
    public var testsReachability = true
    /// Pause before a test after joining, after a changed endpoint and after a contradiction, up to a quarter
    /// more or less. Shorter: the table has too few networks; larger: an unreachable node claims to be
    /// reachable for longer.
    public var reachabilityDelay = Interval.seconds(10)
    /// Pause between two tests. A round costs 4 questions, orders and calls, about 3 KB of datagrams in all:
    /// 2 B/s. Longer: a router that restarted goes unnoticed; shorter: traffic.
    public var reachabilityInterval = Interval.minutes(30)
    /// First pause after an inconclusive test; doubles up to the interval.
    public var reachabilityRetry = Interval.minutes(1)
    /// A call that contradicts a finding starts a test, unless that finding is younger than this. Shorter: a
    /// node that calls us at will keeps us testing.
    public var contradictionPause = Interval.minutes(5)
    /// Questions of one round, to different networks: one more than a finding of silence needs, as one of
    /// them may be lost.
    public var callbacksPerRound = 4
    /// How long a round takes: an order may take `SessionLimits.requestMax` and be given twice, a dial takes
    /// 3 s. Shorter: slow calls look like none.
    public var callbackPatience = Interval.seconds(12)
    /// Contacts that a node asks in turn to make one call.
    public var callbackTries = 3
    /// Work that other nodes' tests may cause us in ten minutes: for one network, and in all. Each limit
    /// holds separately for questions passed on, for orders from one network's contacts, and for calls to one
    /// network. A test takes at most three from a node. Larger: more is aimed at a victim (one datagram of
    /// 200 bytes and one SYN each); smaller: nodes of one network can't all test.
    public var callbacksPerGroupMax = 8
    public var callbacksMax = 256

    // MARK: Budgets

    /// Strangers waiting to be probed. Larger: memory for a flood; smaller: a burst of joins takes longer.
    public var candidatesMax = 64
    /// Strangers of one address group waiting. Larger: one network's flood fills the queue.
    public var groupCandidatesMax = 2
    /// Candidate probes in flight.
    public var candidateProbesMax = 8
    /// Probes a second towards one address that never answered us, and in all. Larger: contacts that lie
    /// about their address aim more traffic at a victim (4 × 400 bytes a second from each of us); smaller:
    /// many nodes behind one address are learnt slowly.
    public var probesPerDestinationMax = 4
    public var probesPerSecondMax = 256
    /// Signature checks of contacts in answers to our questions a second (50 µs each: 5 % of a core) and in a
    /// burst. Smaller: joins drop contacts; larger: liars burn our CPU time.
    public var verificationRate = 1_000
    public var verificationBurst = 1_000
    /// Besides: checks a second of contacts that peers state unasked, of which anyone can send any number. 64
    /// candidates may wait, so more are seldom of use.
    public var introductionRate = 250
    /// Departed nodes remembered, so that late replies don't bring them back.
    public var departedMax = 64
    /// Votes on our address that count, and for how long: three probes of an old contact. Larger: an old
    /// address outlives a change; smaller: a small mesh never agrees.
    public var votesMax = 32
    public var voteLifetime = Interval.minutes(15)
    /// Votes of distinct networks needed to believe an observed address; 1 in the loopback profile.
    public var votesNeeded = 3

    public init() {}
}
