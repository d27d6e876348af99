import Cryptography
import DequeModule
import Primitives
import Wire

/// The Kademlia-like DHT of one node: which nodes it knows, whether they are alive, and how to find others.
///
/// A value: messages, completions and time go in, `DiscoveryAction`s are appended to `out`. Sessions does
/// encryption, timeouts and the single retry of an unanswered request; what arrives here is authentic. Where
/// things are: this file dispatches; `Discovery+Contacts` judges contacts, `+Liveness` keeps the table true,
/// `+Lookups` runs lookups, `+Rendezvous` keeps others' registrations (`Registrar`), `Registrations` makes
/// our own, `ProviderSearch` finds providers, `+Join` starts and refreshes, `+Reachability` finds out whether
/// strangers can reach us, `+Snapshots` gives read-only views.
///
/// Trust, in ascending order of what a source may do: an unproven first message gets a reply and changes
/// nothing; a proven peer that states its contact becomes a candidate; a contact that others list is asked in
/// lookups; only a node that answered *our* question, at the address in its signed record, enters the table
/// and is passed on.
public struct Discovery: Sendable {
    public let selfKey: PublicKey
    public let selfID: NodeID
    public var parameters: DiscoveryParameters { _read { yield shared.value } }
    let shared: Shared<DiscoveryParameters>
    public let profile: DiscoveryProfile
    /// Our own signed contact, which goes along in PING and PONG.
    public internal(set) var selfContact: Verified<Contact>?
    public internal(set) var dropped = DiscoveryDropCounters()

    /// Keys and topics are named by their first 64-bit word, because the queue holds one entry per contact.
    /// An attacker that grinds two keys with the same word (2^32 tries) gets one of them probed less often.
    enum Timer: Hashable, Sendable {
        case bootstrap, refresh, candidates
        case contact(UInt64)
        case lost(UInt64)
        /// A question has been open for longer than its patience.
        case patience(RequestToken)
        case registrar
        case provide(UInt64)
        case reachability
    }

    enum Purpose: Sendable {
        case lookup(RequestToken)
        case search(RequestToken)
        case register(TopicID)
        case withdraw
        case liveness, candidate, bootstrap, lost
        /// A look around a point, to find strangers.
        case glance
        /// Asks a contact to call the node that asked us for a callback; `triesLeft` others are asked if this
        /// one doesn't call.
        case order(CallbackOrder, for: PeerAddress, triesLeft: Int)
    }

    struct Question: Sendable {
        var purpose: Purpose
        var peer: PeerAddress
        /// The peer's id, so that its answer need not be hashed for.
        var id: NodeID
        /// What we knew of the peer when we asked.
        var contact: Verified<Contact>?
        /// The sequence of our own contact, if it was sent along.
        var told: UInt64?
        /// Its patience has ended once.
        var isSlow = false

        init(
            purpose: Purpose, peer: PeerAddress, id: NodeID? = nil, contact: Verified<Contact>?, told: UInt64?
        ) {
            self.purpose = purpose
            self.peer = peer
            self.id = id ?? NodeID(of: peer.key)
            self.contact = contact
            self.told = told
        }
    }

    var table: RoutingTable
    var timers = DeadlineQueue<Timer>()
    /// Unanswered requests by token: at most one per table entry, bootstrap address and lost contact,
    /// `candidateProbesMax`, `lookupQuestionsMax` per running lookup and `walkQuestionsMax` per walk.
    var questions: [RequestToken: Question] = [:]
    var lastToken: RequestToken = 0
    var lookups: [RunningLookup] = []
    var waitingLookups: Deque<WaitingLookup> = []
    var roundTrips = RoundTrips()
    var registrar: Registrar
    var ownTopics: [OwnTopic] = []
    var searches: [ProviderSearch] = []
    var candidates: CandidateQueue
    var probes: ProbeBudget
    var verifications: TokenBucket
    /// Of what peers state unasked.
    var introductions: TokenBucket
    var checkedContacts = CheckedRecords<Contact>()
    var checkedRegistrations = CheckedRecords<Registration>()
    var votes: ObservedVotes
    var reachability: ReachabilityState
    var callbackRequests: CallbackBudget
    var callbackOrders: CallbackBudget
    var callbackCalls: CallbackBudget
    var lost: [LostContact] = []
    var departed: Deque<(key: PublicKey, sequence: UInt64)> = []
    var bootstrap: [BootstrapAddress] = []
    var savedAnchors: [Verified<Contact>] = []
    var bootstrapDelay: Interval
    var refreshDelay: Interval
    var hasJoined = false
    /// Since when the table is empty; nil when it isn't, or there are no bootstrap addresses.
    var lonelySince: MonotonicTime?
    /// This node has reported that it is alone, and no contact was admitted since.
    public internal(set) var isAlone = false
    /// Signed with our key by another process, and how many more are checked.
    var foreign: Contact?
    var foreignChecksLeft = Self.foreignChecks
    static let foreignChecks = 16
    /// Contacts that ever entered the table, and their number at the last refresh.
    var admissions = 0
    var admissionsAtRefresh = 0

    public init(
        selfKey: PublicKey, parameters: DiscoveryParameters = DiscoveryParameters(), profile: DiscoveryProfile
    ) {
        self.selfKey = selfKey
        selfID = NodeID(of: selfKey)
        shared = Shared(parameters)
        self.profile = profile
        table = RoutingTable(selfID: selfID, parameters: shared, profile: profile)
        candidates = CandidateQueue(parameters, profile: profile)
        probes = ProbeBudget(parameters)
        verifications = TokenBucket(rate: parameters.verificationRate, burst: parameters.verificationBurst)
        introductions = TokenBucket(rate: parameters.introductionRate, burst: parameters.introductionRate)
        votes = ObservedVotes(parameters, profile: profile)
        reachability = ReachabilityState(retry: parameters.reachabilityRetry)
        callbackRequests = CallbackBudget(
            perGroup: parameters.callbacksPerGroupMax, total: parameters.callbacksMax)
        callbackOrders = CallbackBudget(
            perGroup: parameters.callbacksPerGroupMax, total: parameters.callbacksMax)
        callbackCalls = CallbackBudget(
            perGroup: parameters.callbacksPerGroupMax, total: parameters.callbacksMax)
        registrar = Registrar(shared)
        bootstrapDelay = parameters.bootstrapDelay
        refreshDelay = parameters.refreshDelay
    }

    // MARK: Requests of others

    /// The reply to a PING, FIND or GET; nil for every other message. Changes nothing, so it is safe for
    /// replayed and spoofed first messages too.
    public func reply(to message: DiscoveryMessage, from peer: PeerAddress, now: Now) -> DiscoveryMessage? {
        var copy = self
        return copy.ownReply(to: message, from: peer, now)
    }

    /// `mutating` so that it is called in place: otherwise the whole machine would be copied.
    private mutating func ownReply(to message: DiscoveryMessage, from peer: PeerAddress, _ now: Now)
        -> DiscoveryMessage?
    {
        switch message {
        case .ping(_, let known):
            let isKnown = known != 0 && known == selfContact?.record.sequence
            return .pong(contact: isKnown ? nil : selfContact?.signed, observed: peer.endpoint)
        case .find(let target):
            return .found(contacts: contactsForReply(target: target, asker: peer))
        case .get(let topic, let start):
            return .providers(providers(of: topic, start: start, asker: peer.key, now.monotonic))
        case .pong, .found, .register, .registered, .providers, .callbackRequest, .callbackOrder,
            .callbackAnswer, .callback:
            return nil
        }
    }

    /// Handles a peer's request. `proven` is false for a message that rode in a first handshake message.
    public mutating func handle(
        _ message: DiscoveryMessage, from peer: PeerAddress, proven: Bool, turn: inout Turn,
        out: inout [DiscoveryAction]
    ) -> DiscoveryMessage? {
        if proven {
            var stated: SignedRecord?
            if case .ping(let contact, _) = message { stated = contact }
            heard(peer, contact: stated, turn: &turn, out: &out)
        }
        if case .register(let register) = message {
            return proven ? self.register(register, from: peer, &turn) : nil
        }
        switch message {
        case .callbackRequest(let request):
            if proven { passOn(request, from: peer, &turn, &out) }
            return nil
        case .callbackOrder(let order):
            return proven ? call(order, from: peer, turn.monotonic, &out) : nil
        case .callbackAnswer(let nonce, let called):
            if proven { callbackAnswered(nonce, called, by: peer, &turn, &out) }
            return nil
        default: return ownReply(to: message, from: peer, turn.now)
        }
    }

    // MARK: Completions of our requests

    /// `message` is nil for an answer that is not a Discovery message: UNSUPPORTED, or another machine's.
    public mutating func answered(
        _ token: RequestToken, _ message: DiscoveryMessage?, from peer: PeerAddress, roundTrip: Interval,
        turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        guard let question = questions.removeValue(forKey: token) else { return dropped.count(.wrongReply) }
        questions.releaseIfEmpty()
        timers.cancel(.patience(token))
        guard question.peer == peer else {
            dropped.count(.wrongReply)
            return fail(question, wasAsked: true, &turn, &out)
        }
        switch (question.purpose, message) {
        case (.lookup(let lookup), .found(let records)):
            prove(question, roundTrip, &turn, &out)
            roundTrips.sample(roundTrip, isSlow: question.isSlow)
            lookupAnswered(lookup, by: peer.key, records, &turn, &out)
        case (.search(let search), .providers(let providers)):
            prove(question, roundTrip, &turn, &out)
            roundTrips.sample(roundTrip, isSlow: question.isSlow)
            searchAnswered(search, by: question.id, providers, &turn, &out)
        case (.register(let topic), .registered(let registered)):
            prove(question, roundTrip, &turn, &out)
            registerAnswered(topic, question, registered, &turn, &out)
        case (.withdraw, .registered), (.withdraw, .pong): break
        case (.order(let order, let asker, let triesLeft), .callbackAnswer(_, let called)):
            prove(question, roundTrip, &turn, &out)
            if called == order.endpoint {
                out.append(.send(.callbackAnswer(nonce: order.nonce, called: called), to: asker))
            } else {
                orderCallback(order, for: asker, triesLeft: triesLeft, &turn.random, &out)
            }
        case (.glance, .found(let records)):
            prove(question, roundTrip, &turn, &out)
            glanceAnswered(records, &turn, &out)
        case (.liveness, .pong(let record, let observed)), (.candidate, .pong(let record, let observed)),
            (.bootstrap, .pong(let record, let observed)), (.lost, .pong(let record, let observed)):
            // The first node has no bootstrap list, so its first peers stand in for it.
            let isChosen = bootstrap.isEmpty || bootstrap.contains { $0.address.key == peer.key }
            if let observed, votes.vote(observed, by: peer.endpoint, isChosen: isChosen, now: turn.monotonic)
            {
                out.append(.observedEndpointChanged(observed))
            }
            pingAnswered(question, record, roundTrip, &turn, &out)
        default:
            dropped.count(.wrongReply)
            fail(question, wasAsked: true, &turn, &out)
        }
        probeCandidates(&turn, &out)
    }

    public mutating func unanswered(
        _ token: RequestToken, turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        guard let question = questions.removeValue(forKey: token) else { return }
        questions.releaseIfEmpty()
        timers.cancel(.patience(token))
        fail(question, wasAsked: true, &turn, &out)
        probeCandidates(&turn, &out)
    }

    /// Our own bounds kept the question from its peer: what asked goes on without it, and the peer is not
    /// suspected.
    public mutating func notAsked(
        _ token: RequestToken, turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        guard let question = questions.removeValue(forKey: token) else { return }
        questions.releaseIfEmpty()
        timers.cancel(.patience(token))
        fail(question, wasAsked: false, &turn, &out)
    }

    private mutating func fail(
        _ question: Question, wasAsked: Bool, _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        let key = question.peer.key
        switch question.purpose {
        case .lookup, .search, .register, .glance, .order: if wasAsked { suspect(key, &turn, &out) }
        case .withdraw, .liveness, .candidate, .bootstrap, .lost: break
        }
        switch question.purpose {
        case .lookup(let lookup): lookupFailed(lookup, by: key, &turn, &out)
        case .search(let search): searchFailed(search, by: question.id, isSlow: false, &turn, &out)
        case .register(let topic): registerFailed(topic, question, isSlow: false, &turn, &out)
        case .withdraw, .glance: break
        case .order(let order, let asker, let triesLeft):
            orderCallback(order, for: asker, triesLeft: triesLeft, &turn.random, &out)
        case .liveness:
            if wasAsked { livenessFailed(key, &turn, &out) } else { livenessPostponed(key, turn.monotonic) }
        case .candidate: candidates.probeEnded()
        case .bootstrap:
            bootstrapEnded(question.peer)
            if wasAsked { checkAlone(turn.monotonic, &out) }
        case .lost: lostFailed(key, wasAsked: wasAsked, turn.monotonic)
        }
    }

    // MARK: Time

    /// When `tick` has something to do; `.never` when there is nothing.
    public mutating func nextDeadline() -> MonotonicTime { timers.next() }

    /// Does everything that is due. Early or repeated calls are harmless.
    public mutating func tick(turn: inout Turn, out: inout [DiscoveryAction]) {
        while let timer = timers.popDue(turn.monotonic) {
            switch timer {
            case .bootstrap: tryBootstrap(&turn, &out)
            case .refresh: refresh(&turn, &out)
            case .candidates: probeCandidates(&turn, &out)
            case .contact(let word): contactDue(word, &turn, &out)
            case .lost(let word): lostDue(word, turn.monotonic, &out)
            case .patience(let token): patienceEnded(token, &turn, &out)
            case .registrar: sweepRegistrar(&turn)
            case .provide(let word): provideDue(word, &turn, &out)
            case .reachability: reachabilityDue(&turn, &out)
            }
        }
    }

    // MARK: Asking

    /// Sends a PING; our contact goes along when `introducing`.
    mutating func ping(
        _ peer: PeerAddress, for purpose: Purpose, knowing contact: Verified<Contact>?, introducing: Bool,
        _ out: inout [DiscoveryAction]
    ) {
        let own = introducing ? selfContact : nil
        ask(
            .ping(contact: own?.signed, known: contact?.record.sequence ?? 0),
            Question(purpose: purpose, peer: peer, contact: contact, told: own?.record.sequence), &out)
    }

    mutating func ask(_ message: DiscoveryMessage, _ question: Question, _ out: inout [DiscoveryAction]) {
        lastToken.rawValue += 1
        questions[lastToken] = question
        out.append(.request(token: lastToken, message, to: question.peer))
    }
}
