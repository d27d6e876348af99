import Cryptography
import Primitives
import Wire

struct BootstrapAddress: Sendable {
    let address: PeerAddress
    /// It answered, and has not been evicted since.
    var isReached = false
    var isTried = false
    /// It answered at least once, perhaps with a contact that this node can't use.
    var hasAnswered = false
}

/// Joins the mesh, stays in it, and finds newcomers, which liveness probes don't see.
extension Discovery {
    /// Joins through `addresses` (at most 16; our own key is skipped) and retries those that don't answer.
    public mutating func join(
        bootstrap addresses: [PeerAddress], turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        for address in addresses where address.key != selfKey && address.endpoint.isUnicast {
            guard bootstrap.count < parameters.bootstrapMax else { break }
            if !bootstrap.contains(where: { $0.address == address }) {
                bootstrap.append(BootstrapAddress(address: address))
            }
        }
        bootstrapDelay = parameters.bootstrapDelay
        if table.count == 0 { becameLonely(turn.monotonic) }
        tryBootstrap(&turn, &out)
    }

    /// Probes contacts saved by an earlier run; they are tried again while the table is empty.
    public mutating func restore(
        anchors: [Verified<Contact>], turn: inout Turn, out: inout [DiscoveryAction]
    ) {
        savedAnchors = Array(
            anchors.filter { $0.record.publicKey != selfKey }.prefix(parameters.anchorsMax))
        for anchor in savedAnchors { note(anchor, &turn, &out) }
        probeCandidates(&turn, &out)
        scheduleBootstrap(&turn)
    }

    /// Fills the empty table with `contacts` as if each had answered us after `roundTrip`. For studies of
    /// routing alone, where tables come from the id distribution and no node joins. Sets no timers and emits
    /// no actions.
    public mutating func presume(_ contacts: [Verified<Contact>], roundTrip: Interval = .zero, now: Now) {
        precondition(table.count == 0, "presume needs an empty table, has \(table.count) contacts")
        table.fill(
            contacts.compactMap { contact in
                guard let endpoint = profile.endpoint(of: contact.record) else { return nil }
                return TableEntry(
                    contact: contact, endpoint: endpoint, now: now.monotonic, roundTrip: roundTrip)
            })
        if roundTrip > .zero { roundTrips = RoundTrips(measured: roundTrip) }
    }

    mutating func tryBootstrap(
        _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        for index in bootstrap.indices where !bootstrap[index].isReached && !bootstrap[index].isTried {
            bootstrap[index].isTried = true
            ping(bootstrap[index].address, for: .bootstrap, knowing: nil, introducing: true, &out)
        }
        if table.count == 0, !savedAnchors.isEmpty {
            for anchor in turn.random.sample(parameters.anchorsPerRound, of: savedAnchors) {
                note(anchor, &turn, &out)
            }
            probeCandidates(&turn, &out)
        }
        scheduleBootstrap(&turn)
    }

    private mutating func scheduleBootstrap(_ turn: inout Turn) {
        let isLonely = table.count == 0
        guard bootstrap.contains(where: { !$0.isReached }) || isLonely && !savedAnchors.isEmpty else {
            return
        }
        let delay = bootstrapDelay
        timers.set(.bootstrap, at: turn.monotonic + turn.random.interval(delay * 3 / 4, delay * 5 / 4))
        let maximum = isLonely ? parameters.bootstrapDelayMax : parameters.bootstrapDelayIdleMax
        bootstrapDelay = min(delay * 2, maximum)
    }

    mutating func bootstrapEnded(_ peer: PeerAddress) {
        guard let index = bootstrap.firstIndex(where: { $0.address == peer }) else { return }
        bootstrap[index].isTried = false
    }

    mutating func bootstrapAnswered(_ peer: PeerAddress, isReached: Bool) {
        guard let index = bootstrap.firstIndex(where: { $0.address == peer }) else { return }
        bootstrap[index].hasAnswered = true
        if isReached { bootstrap[index].isReached = true }
    }

    /// A contact was removed: its bootstrap address is tried again, or all of them when the table is empty.
    mutating func bootstrapLost(_ key: PublicKey, _ now: MonotonicTime) {
        let isLonely = table.count == 0
        if isLonely { becameLonely(now) }
        var again = isLonely && !savedAnchors.isEmpty
        for index in bootstrap.indices where isLonely || bootstrap[index].address.key == key {
            bootstrap[index].isReached = false
            again = true
        }
        guard again else { return }
        bootstrapDelay = parameters.bootstrapDelay
        timers.set(.bootstrap, at: now + bootstrapDelay)
    }

    private mutating func becameLonely(_ now: MonotonicTime) {
        if !bootstrap.isEmpty, lonelySince == nil { lonelySince = now }
    }

    /// Tells that this node is alone. Called when a try of a bootstrap address has failed: it needs no timer of its own.
    mutating func checkAlone(_ now: MonotonicTime, _ out: inout [DiscoveryAction]) {
        guard !isAlone, let lonelySince, now >= lonelySince + parameters.aloneAfter,
            !bootstrap.contains(where: \.isReached)
        else { return }
        isAlone = true
        out.append(.alone(tried: bootstrap.map(\.address)))
    }

    // MARK: Refresh

    /// The first contact is in the table: look around at once, then at growing intervals.
    mutating func tableFilled(_ now: MonotonicTime) {
        lonelySince = nil
        isAlone = false
        refreshDelay = parameters.refreshDelay
        timers.set(.refresh, at: now)
        provideAll(now)
    }

    /// Looks for unknown nodes near us and in far buckets that have room. The first look and the hourly one
    /// near us are lookups of our own id over disjoint paths. The others ask a few contacts which nodes they
    /// know, which finds the same newcomers at a tenth of the cost.
    mutating func refresh(_ turn: inout Turn, _ out: inout [DiscoveryAction]) {
        probes.sweep(turn.monotonic)
        guard table.count > 0 else { return }  // the first admission starts it again
        let isThorough =
            refreshDelay <= parameters.refreshDelay || refreshDelay >= parameters.refreshDelayMax
        timers.set(
            .refresh, at: turn.monotonic + turn.random.interval(refreshDelay * 3 / 4, refreshDelay * 5 / 4))
        // A settled node that found no new contact needs no other look soon: newcomers contact it.
        let isSettled = admissions == admissionsAtRefresh && refreshDelay >= parameters.refreshSettled
        refreshDelay = min(refreshDelay * (isSettled ? 8 : 2), parameters.refreshDelayMax)
        admissionsAtRefresh = admissions
        if isThorough, !isLookingUp(.ownID) {
            startLookup(selfID.value, .ownID, &turn, &out)
        } else {
            glance(
                at: selfID.value, among: parameters.contactsPerReplyMax, asking: parameters.glanceNear,
                &turn.random,
                &out)
        }
        for index in turn.random.sample(parameters.refreshBucketsMax, of: table.thinBuckets) {
            glance(
                at: selfID.randomPoint(inBucket: index, random: &turn.random),
                among: parameters.glanceFar * 2,
                asking: parameters.glanceFar, &turn.random, &out)
        }
    }

    /// Asks some of our contacts nearest to `point` which nodes they know there.
    private mutating func glance(
        at point: Bytes32, among count: Int, asking asked: Int, _ random: inout SeededRandom,
        _ out: inout [DiscoveryAction]
    ) {
        for entry in random.sample(asked, of: table.closest(to: point, count: count)) {
            let question = Question(purpose: .glance, peer: entry.address, contact: entry.contact, told: nil)
            ask(.find(target: point), question, &out)
        }
    }

    /// Strangers become candidates if there is room for them.
    mutating func glanceAnswered(
        _ records: [SignedRecord], _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        if records.count > parameters.contactsPerReplyMax { dropped.count(.tooMany) }
        for record in records.prefix(parameters.contactsPerReplyMax) {
            if let key = record.leadingKey, table.entry(key)?.contact.signed == record { continue }
            guard let stated = screened(record), let endpoint = profile.endpoint(of: stated) else { continue }
            // Don't spend a signature check on a contact that the table can't use.
            if let entry = table.entry(stated.publicKey) {
                guard stated.sequence > entry.contact.record.sequence else { continue }
            } else if table.verdict(on: NodeID(of: stated.publicKey), at: endpoint) != .room {
                continue
            }
            guard let contact = verified(record, turn.monotonic) else { continue }
            note(contact, &turn, &out)
        }
    }
}
