import Primitives
import Wire

/// One call for bids: the sellers it went to, what they answered, when it can close and which bid to award.
///
/// First price, sealed, one round. It closes early when no outstanding seller could still win. The bound is the seller's
/// own offer: a bid may not cost more, and a bid that undercuts it is not worth the wait.
struct Auction: Sendable {
    private enum Reply: Sendable {
        /// It will be called if the one that was called alone doesn't bid well enough.
        case uncalled
        case waiting
        case bid(SignedRecord, Bid, ScoringBasis.Result)
        case declined(Reason, retryAfter: Interval)
        case silent
        /// The same, but other things came from it.
        case overlooked
        /// Our own bounds kept the call or the award from it.
        case notAsked
        /// Not acceptable: over its offer, outside the limits, not its sender's, or a signature that fails.
        case refused
        /// It answered the award that it doesn't stand by its bid, or not at all.
        case busy
        /// It took the award.
        case awarded(SignedRecord, Bid, ScoringBasis.Result)
    }
    private struct Entry: Sendable {
        let candidate: Candidate
        let millitrust: UInt32
        let rank: Int
        let belief: SpeedBelief
        let expected: ScoringBasis.Result
        let bound: ScoringBasis.Result
        var reply: Reply
        /// Equal bids: the first to arrive wins.
        var arrival = 0
        var wasPassedOver = false

        init(_ eligible: Eligible, _ basis: ScoringBasis, _ reply: Reply) {
            self.reply = reply
            candidate = eligible.candidate
            millitrust = eligible.millitrust
            rank = eligible.rank
            belief = eligible.belief
            expected = eligible.expected
            bound = basis.bound(
                eligible.candidate.offer.record, millitrust: eligible.millitrust, eligible.belief)
        }

        var isOutstanding: Bool { if case .waiting = reply { true } else { false } }
        /// It may still bid.
        var isOpen: Bool { if case .uncalled = reply { true } else { isOutstanding } }
        var isBid: Bool { if case .bid = reply { true } else { false } }
    }
    struct Winner: Sendable {
        let address: PeerAddress
        let name: String
        let bid: Bid
    }

    let attempt: UInt32
    private(set) var openedAt: MonotonicTime
    let requirements: Requirements
    var closesAt: MonotonicTime
    private var entries: [Entry]
    private var arrivals = 0
    /// The wait for bids ended without one: the first bid wins.
    private var isOvertime = false
    private var hasReleased = false
    /// Of the fast path: one seller was called, and no others so far.
    private(set) var isSole: Bool
    /// What losers are told; 0 before there is a winner.
    private(set) var winningScore: UInt64 = 0

    init(
        attempt: UInt32, requirements: Requirements, called: [Eligible], later: [Eligible] = [],
        now: MonotonicTime, closesAt: MonotonicTime
    ) {
        self.attempt = attempt
        self.requirements = requirements
        openedAt = now
        self.closesAt = closesAt
        isSole = !later.isEmpty
        entries =
            called.map { Entry($0, requirements.basis, .waiting) }
            + later.map { Entry($0, requirements.basis, .uncalled) }
    }

    // MARK: - The fast path

    static func isClose(_ score: UInt64, to best: UInt64, _ parameters: MarketParameters) -> Bool {
        score <= best &+ best / 100 &* parameters.soleMargin
    }

    /// Whether the seller that was called alone has a slot, on the terms that its offer and its past let expect.
    func isGoodEnough(_ parameters: MarketParameters) -> Bool {
        guard isSole, let entry = entries.first, case .bid(_, let bid, let result) = entry.reply else {
            return false
        }
        return bid.queueMilliseconds == 0 && Self.isClose(result.score, to: entry.expected.score, parameters)
    }

    /// Makes it an auction among all that were chosen; returns those that are to be called now.
    mutating func widen() -> [PeerAddress] {
        isSole = false
        var called: [PeerAddress] = []
        for index in entries.indices {
            guard case .uncalled = entries[index].reply else { continue }
            entries[index].reply = .waiting
            called.append(entries[index].candidate.address)
        }
        return called
    }

    private func index(_ key: PublicKey) -> Int? { entries.firstIndex { $0.candidate.key == key } }

    private func outstanding(_ key: PublicKey) -> Int? {
        entries.firstIndex { $0.candidate.key == key && $0.isOutstanding }
    }

    func offer(of key: PublicKey) -> Offer? { index(key).map { entries[$0].candidate.offer.record } }

    /// Whether another seller that answered has the same weights, so that it could go on with this one's text.
    func hasEqual(of key: PublicKey) -> Bool {
        guard let offer = offer(of: key) else { return false }
        return entries.contains { entry in
            let other = entry.candidate.offer.record
            guard entry.candidate.key != key, other.continues, other.digest == offer.digest,
                other.quantization == offer.quantization
            else { return false }
            switch entry.reply {
            case .uncalled, .bid, .declined(.busy, _), .declined(.holdLimit, _), .declined(.tooLate, _):
                return true
            case .waiting, .declined, .silent, .overlooked, .notAsked, .refused, .busy, .awarded: return false
            }
        }
    }

    /// How soon another seller that bid would begin its answer, and end it, by what is known of it; nil: no other bid.
    /// `isEqual`: only those with the same weights, which could go on with this one's text, or, `again`, say it again.
    func soonest(
        beside key: PublicKey, isEqual: Bool, again: Bool = false, _ parameters: MarketParameters
    ) -> (first: Interval, last: Interval)? {
        guard let offer = offer(of: key) else { return nil }
        var soonest: (first: Interval, last: Interval)?
        for entry in entries where entry.candidate.key != key {
            let other = entry.candidate.offer.record
            let isSame = other.digest == offer.digest && other.quantization == offer.quantization
            guard !isEqual || isSame && (other.continues || again) else { continue }
            guard let (first, last) = outlook(of: entry, parameters) else { continue }
            soonest = (min(soonest?.first ?? first, first), min(soonest?.last ?? last, last))
        }
        return soonest
    }

    /// When its answer would begin and end, by its bid, or where it wasn't called by its offer; nil: it didn't bid.
    private func outlook(
        of entry: Entry, _ parameters: MarketParameters
    ) -> (first: Interval, last: Interval)? {
        let (queue, first, reads, completion): (UInt32, UInt32, UInt32, Interval)
        switch entry.reply {
        case .bid(_, let bid, let result):
            (queue, first, reads) = (
                bid.queueMilliseconds, bid.firstTokenMilliseconds, bid.promptTokensPerSecond
            )
            completion = result.completion
        case .uncalled:
            let speed = entry.candidate.offer.record.speed
            (queue, first, reads) = (0, speed.firstTokenMilliseconds, speed.promptTokensPerSecond)
            completion = entry.expected.completion
        case .waiting, .declined, .silent, .overlooked, .notAsked, .refused, .busy, .awarded: return nil
        }
        let reading = StallClock.reading(requirements.tokensIn, at: reads, parameters)
        let begins = Interval.milliseconds(Int64(queue) + Int64(entry.belief.firstToken(first)))
        return (begins + reading, completion + reading)
    }

    // MARK: - Replies

    /// Notes a sealed bid; its signature is checked only when it is about to win. A queue longer than `queueMax` is more than
    /// its seller is believed: it counts as busy until the rest of it is over. Returns the queue that it states.
    mutating func receive(
        _ signed: SignedRecord, from key: PublicKey, task: TaskID, buyer: PublicKey, queueMax: Interval,
        _ parameters: MarketParameters
    ) -> Interval? {
        guard let index = outstanding(key) else { return nil }
        let offer = entries[index].candidate.offer.record
        guard let bid = try? Bid(decoding: signed.body), bid.task == task, bid.attempt == attempt,
            bid.bidder == key, bid.buyer == buyer, bid.price.input <= offer.price.input,
            bid.price.cachedInput <= offer.price.cachedInput, bid.price.output <= offer.price.output,
            !requirements.refuses(bid, entries[index].belief),
            !(bid.workerDials && !requirements.selfReachable)
        else {
            entries[index].reply = .refused
            return nil
        }
        let queue = Interval.milliseconds(Int64(bid.queueMilliseconds))
        guard queue <= queueMax else {
            let rest = min(max(queue - queueMax, parameters.holdMax), parameters.busyRetryMax)
            entries[index].reply = .declined(.busy, retryAfter: rest)
            return queue
        }
        arrivals += 1
        entries[index].arrival = arrivals
        entries[index].reply = .bid(
            signed, bid,
            requirements.basis.judge(bid, millitrust: entries[index].millitrust, entries[index].belief))
        return queue
    }

    mutating func decline(_ key: PublicKey, _ reason: Reason, retryAfter: Interval) {
        if let index = outstanding(key) { entries[index].reply = .declined(reason, retryAfter: retryAfter) }
    }

    mutating func silence(_ key: PublicKey, isAlive: Bool) {
        if let index = outstanding(key) { entries[index].reply = isAlive ? .overlooked : .silent }
    }

    mutating func refuse(_ key: PublicKey) {
        if let index = index(key) { entries[index].reply = .refused }
    }

    /// Our own bounds kept the call from it.
    mutating func callNotSent(_ key: PublicKey) {
        if let index = outstanding(key) { entries[index].reply = .notAsked }
    }

    /// The winner doesn't stand by its bid, or never got its award.
    mutating func lostAward(_ key: PublicKey, wasAsked: Bool) {
        if let index = index(key) { entries[index].reply = wasAsked ? .busy : .notAsked }
    }

    /// Our own loop stood still: the time for bids begins again.
    mutating func forgiveSilence(_ now: MonotonicTime) {
        closesAt = now + (closesAt - openedAt)
        openedAt = now
    }

    // MARK: - Closing

    var hasBid: Bool { entries.contains(where: \.isBid) }

    /// Whether waiting longer could not change the winner.
    func canClose(_ standing: (PublicKey) -> Standing) -> Bool {
        guard entries.contains(where: \.isOpen) else { return true }
        let bids = contenders(standing)
        guard let best = Contender.winner(of: bids)?.index else { return false }
        if isOvertime { return true }
        return entries.indices.allSatisfy { index in
            guard entries[index].isOpen else { return true }
            let bound = contender(index, entries[index].bound, standing)
            return Contender.winner(of: bids + [bound])?.index == best
        }
    }

    /// Without a bid: until when the outstanding sellers are waited for; nil: there are none, or no longer.
    mutating func waitsUntil(_ now: MonotonicTime, _ parameters: MarketParameters) -> MonotonicTime? {
        guard entries.contains(where: \.isOutstanding) else { return nil }
        if now < closesAt { return closesAt }
        let ends = openedAt + parameters.noBidPatience
        guard now < ends else { return nil }
        isOvertime = true
        return ends
    }

    var isComplete: Bool { !entries.contains(where: \.isOutstanding) }

    // MARK: - Awarding

    /// Makes the best bid whose signature is genuine the winner; nil: none is left. A forged one is refused.
    mutating func awardBest(_ standing: (PublicKey) -> Standing) -> Winner? {
        while let best = Contender.winner(of: contenders(standing))?.index,
            case .bid(let signed, let bid, let result) = entries[best].reply
        {
            guard let verified = try? Verified<Bid>(checking: signed) else {
                entries[best].reply = .refused
                continue
            }
            entries[best].reply = .awarded(signed, bid, result)
            winningScore = max(1, result.score)
            notePassedOver(rank: entries[best].rank)
            let candidate = entries[best].candidate
            return Winner(
                address: candidate.address, name: candidate.offer.record.name, bid: verified.record)
        }
        return nil
    }

    /// Of an interrupted task those that can begin at once, if there are any: its client has waited enough.
    private func contenders(_ standing: (PublicKey) -> Standing) -> [Contender] {
        let areFree = entries.map { requirements.isInterrupted && Self.isFree($0.reply) }
        let skipsQueues = areFree.contains(true)
        return entries.indices.compactMap { index in
            guard case .bid(_, _, let result) = entries[index].reply, !skipsQueues || areFree[index] else {
                return nil
            }
            return contender(index, result, standing)
        }
    }

    private static func isFree(_ reply: Reply) -> Bool {
        if case .bid(_, let bid, _) = reply { bid.queueMilliseconds == 0 } else { false }
    }

    private func contender(
        _ index: Int, _ result: ScoringBasis.Result, _ standing: (PublicKey) -> Standing
    ) -> Contender {
        let entry = entries[index]
        return Contender(
            index: index, rank: entry.rank, standing: standing(entry.candidate.key), score: result.score,
            completion: result.completion, arrival: entry.arrival)
    }

    /// Bids that lost although they scored better, and not because of the client's order.
    private mutating func notePassedOver(rank: Int) {
        for index in entries.indices {
            guard case .bid(_, _, let result) = entries[index].reply else { continue }
            entries[index].wasPassedOver = entries[index].rank == rank && result.score < winningScore
        }
    }

    /// Sellers whose bid holds a slot in vain.
    var losers: [PeerAddress] { entries.lazy.filter(\.isBid).map(\.candidate.address) }

    /// The losers of the first award, once: later bids are answered one by one.
    mutating func losersToRelease() -> [PeerAddress] {
        guard !hasReleased else { return [] }
        hasReleased = true
        return losers
    }

    /// Why each seller is out of the task when no award was taken. `isDoubtful`: silence may be our own doing;
    /// `isAlive`: something came from the seller meanwhile, so it only has too much to do.
    func exclusions(
        _ parameters: MarketParameters, isDoubtful: Bool, isAlive: (PublicKey) -> Bool
    ) -> [Exclusions.Entry] {
        entries.compactMap { entry in
            let key = entry.candidate.key
            switch entry.reply {
            case .overlooked: return .init(key: key, reason: .busy, retryAfter: parameters.retryMin)
            case .notAsked: return .init(key: key, reason: .notAsked, retryAfter: parameters.retryMin)
            case .waiting where isDoubtful:
                return .init(key: key, reason: .notAsked, retryAfter: parameters.retryMin)
            case .waiting where isAlive(key):
                return .init(key: key, reason: .busy, retryAfter: parameters.retryMin)
            case .waiting, .silent:
                return .init(
                    key: key, reason: .unreachable, retryAfter: nil,
                    deadWith: entry.candidate.offer.record.sequence, deadSince: openedAt)
            case .refused: return .init(key: key, reason: .untrusted, retryAfter: nil)
            case .busy: return .init(key: key, reason: .busy, retryAfter: parameters.retryMin)
            case .declined(let reason, let retry):
                let comesBack = reason == .busy || reason == .holdLimit || reason == .tooLate
                return .init(key: key, reason: reason, retryAfter: comesBack ? retry : nil)
            case .uncalled, .bid, .awarded: return nil
            }
        }
    }

    // MARK: - Transcript

    /// For `starling why`: the awarded, then bids by score, then the rest.
    func transcripts() -> [BidTranscript] {
        let lines = entries.compactMap { entry -> BidTranscript? in
            if case .uncalled = entry.reply { return nil }
            return transcript(entry)
        }
        let bids = lines.indices.filter { lines[$0].signature != nil }
        let order = bids.sorted {
            let (a, b) = (lines[$0], lines[$1])
            return (a.outcome == .won ? 0 : 1, a.score, a.completion.nanoseconds, $0)
                < (b.outcome == .won ? 0 : 1, b.score, b.completion.nanoseconds, $1)
        }
        return (order + lines.indices.filter { lines[$0].signature == nil }).map { lines[$0] }
    }

    // MARK: - Quotes

    /// For what is shown without an award, which would find them.
    mutating func refuseForged() {
        for index in entries.indices {
            guard case .bid(let signed, _, _) = entries[index].reply else { continue }
            if (try? Verified<Bid>(checking: signed)) == nil { entries[index].reply = .refused }
        }
    }

    /// The indices of bids, in the order in which they would be awarded.
    func ranked(_ standing: (PublicKey) -> Standing) -> [Int] {
        var left = contenders(standing)
        var order: [Int] = []
        while let best = Contender.winner(of: left)?.index {
            order.append(best)
            left.removeAll { $0.index == best }
        }
        return order
    }

    func line(_ index: Int) -> BidTranscript { transcript(entries[index]) }

    func others(than first: [Int]) -> [BidTranscript] {
        entries.indices.filter { !first.contains($0) }.map(line)
    }

    private func transcript(_ entry: Entry) -> BidTranscript {
        var line = BidTranscript(
            worker: entry.candidate.key, name: entry.candidate.offer.record.name, outcome: .asked)
        line.millitrust = entry.millitrust
        switch entry.reply {
        case .uncalled: break
        case .waiting: line.outcome = winningScore == 0 ? .asked : .late
        case .silent, .overlooked: line.outcome = .silent
        case .notAsked: line.outcome = .notAsked
        case .refused: line.outcome = .refused
        case .busy: line.outcome = .busy
        case .declined(let reason, _):
            line.outcome = .declined
            line.declined = reason
        case .bid(let signed, let bid, let result):
            // A better score that lost came after the close, or from a seller that has all it gets.
            let isBetter = result.score < winningScore
            line.outcome =
                winningScore == 0 ? .asked : !isBetter ? .lost : entry.wasPassedOver ? .passedOver : .late
            line.fill(signed, bid, result, entry.belief)
        case .awarded(let signed, let bid, let result):
            line.outcome = .won
            line.fill(signed, bid, result, entry.belief)
        }
        return line
    }
}

extension BidTranscript {
    fileprivate mutating func fill(
        _ signed: SignedRecord, _ bid: Bid, _ result: ScoringBasis.Result, _ belief: SpeedBelief
    ) {
        price = bid.price
        queueMilliseconds = bid.queueMilliseconds
        firstTokenMilliseconds = bid.firstTokenMilliseconds
        millitokensPerSecond = bid.millitokensPerSecond
        expectedFirstTokenMilliseconds = belief.firstToken(bid.firstTokenMilliseconds)
        expectedMillitokensPerSecond = belief.rate(bid.millitokensPerSecond)
        estimate = result.estimate
        completion = result.completion
        score = result.score
        signature = signed.signature
    }
}
