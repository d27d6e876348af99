import Primitives
import Wire

enum LookupPurpose: Sendable { case caller, ownID }

struct RunningLookup: Sendable {
    let token: RequestToken
    let purpose: LookupPurpose
    var lookup: Lookup
}

struct WaitingLookup: Sendable {
    let token: RequestToken
    let purpose: LookupPurpose
    let target: Bytes32
}

/// Running lookups: at most `lookupsMax` at a time; the others wait in order.
extension Discovery {
    /// Starts a lookup of the k live nodes closest to `target`. Ends with `lookupFinished` under the returned
    /// token, at once and empty when the table is empty or too many lookups are waiting.
    public mutating func lookup(
        _ target: Bytes32, turn: inout Turn, out: inout [DiscoveryAction]
    ) -> RequestToken {
        startLookup(target, .caller, &turn, &out)
    }

    @discardableResult
    mutating func startLookup(
        _ target: Bytes32, _ purpose: LookupPurpose, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) -> RequestToken {
        lastToken.rawValue += 1
        let waiting = WaitingLookup(token: lastToken, purpose: purpose, target: target)
        if waitingLookups.count < parameters.lookupsWaitingMax {
            waitingLookups.append(waiting)
            runWaiting(&turn, &out)
        } else {
            dropped.count(.lookupsFull)
            if purpose == .caller {
                out.append(.lookupFinished(token: waiting.token, [], LookupStatistics()))
            }
        }
        return waiting.token
    }

    private mutating func runWaiting(
        _ turn: inout Turn, _ out: inout [DiscoveryAction]
    ) {
        while lookups.count < parameters.lookupsMax, let next = waitingLookups.popFirst() {
            var starts = table.closest(to: next.target, count: parameters.bucketSize)
            if starts.isEmpty {
                starts = table.closest(to: next.target, count: parameters.bucketSize, includingSuspects: true)
            }
            let lookup = Lookup(target: next.target, starts: starts, parameters: shared, profile: profile)
            lookups.append(RunningLookup(token: next.token, purpose: next.purpose, lookup: lookup))
            advance(lookups.count - 1, turn.monotonic, &out)
        }
    }

    /// Asks the next nodes; finishes the lookup when there are none.
    private mutating func advance(_ index: Int, _ now: MonotonicTime, _ out: inout [DiscoveryAction]) {
        let token = lookups[index].token
        var refused = true
        while refused {  // ends: each round of `next` closes at least one candidate for good
            refused = false
            for ask in lookups[index].lookup.next() {
                guard mayAsk(ask.address, now) else {
                    lookups[index].lookup.failed(ask.key)
                    refused = true
                    continue
                }
                let question = Question(
                    purpose: .lookup(token), peer: ask.address, contact: ask.contact, told: nil)
                self.ask(.find(target: lookups[index].lookup.target), question, &out)
                setPatience(NodeID(of: ask.key), now)
            }
        }
        guard lookups[index].lookup.isFinished else { return }
        let finished = lookups.remove(at: index)
        switch finished.purpose {
        case .caller:
            out.append(
                .lookupFinished(token: token, finished.lookup.results, finished.lookup.finalStatistics))
        case .ownID:
            if !hasJoined, table.count > 0 {
                hasJoined = true
                provideAll(now)
                out.append(.joined(contacts: table.count))
                beginReachabilityTests(now)
            }
        }
    }

    mutating func lookupAnswered(
        _ token: RequestToken, by key: PublicKey, _ records: [SignedRecord], _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = lookups.firstIndex(where: { $0.token == token }) else { return }
        let lookup = lookups[index].lookup
        let contacts = listed(records, &turn, &out) { !lookup.isKnown($0) }
        lookups[index].lookup.answered(key, contacts: contacts)
        advance(index, turn.monotonic, &out)
        runWaiting(&turn, &out)
    }

    /// A question's patience has ended: its path continues without it. If `isLost`, the end of the lookup no
    /// longer waits for it either.
    mutating func lookupSlow(
        _ token: RequestToken, by key: PublicKey, isLost: Bool, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = lookups.firstIndex(where: { $0.token == token }) else { return }
        if isLost { lookups[index].lookup.failed(key) } else { lookups[index].lookup.slow(key) }
        advance(index, turn.monotonic, &out)
        runWaiting(&turn, &out)
    }

    mutating func lookupFailed(
        _ token: RequestToken, by key: PublicKey, _ turn: inout Turn,
        _ out: inout [DiscoveryAction]
    ) {
        guard let index = lookups.firstIndex(where: { $0.token == token }) else { return }
        lookups[index].lookup.failed(key)
        advance(index, turn.monotonic, &out)
        runWaiting(&turn, &out)
    }

    func isLookingUp(_ purpose: LookupPurpose) -> Bool {
        lookups.contains { $0.purpose == purpose } || waitingLookups.contains { $0.purpose == purpose }
    }
}
