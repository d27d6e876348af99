import Primitives
import Wire

/// One call for bids: whom it went to, what they answered, when it can close and whom to award.
///
/// First price, sealed, one round. It closes early when nobody outstanding could still win, for which a seller's own
/// offer is the bound: nobody may bid above it, and waiting for a bid below it is not worth anybody's time.
struct Auction: Sendable {
    enum Reply: Sendable {
        case waiting
        case bid(SignedRecord, Bid, ScoringBasis.Result)
        case declined(DeclineReason, retryAfter: Interval)
        case silent
        /// Not acceptable: over its offer, outside the limits, not its sender's, or a signature that fails.
        case refused
        /// Answered the award that it doesn't stand by its bid, or not at all.
        case busy
        /// Took the award.
        case awarded(SignedRecord, Bid, ScoringBasis.Result)
    }
    struct Entry: Sendable {
        var candidate: Candidate
        var millitrust: UInt32
        var rank: Int
        var bound: ScoringBasis.Result
        var reply = Reply.waiting
        /// Bids in the order of arrival break ties.
        var arrival = 0
    }

    let attempt: UInt32
    let requirements: Requirements
    private(set) var entries: [Entry]
    let openedAt: MonotonicTime
    private let closesAt: MonotonicTime
    /// The window closed without a bid: the first one wins.
    private var isOvertime = false
    /// The losers were told.
    var released = false
    private var arrivals = 0

    init(
        attempt: UInt32, requirements: Requirements, chosen: [Eligible], now: MonotonicTime,
        closesAt: MonotonicTime
    ) {
        self.attempt = attempt
        self.requirements = requirements
        openedAt = now
        self.closesAt = closesAt
        let basis = requirements.basis
        entries = chosen.map { eligible in
            Entry(
                candidate: eligible.candidate, millitrust: eligible.millitrust, rank: eligible.rank,
                bound: basis.bound(eligible.candidate.offer.record, millitrust: eligible.millitrust))
        }
    }

    var bids: Int { entries.count { if case .bid = $0.reply { true } else { false } } }
    var isAnybodyOutstanding: Bool {
        entries.contains { if case .waiting = $0.reply { true } else { false } }
    }
    /// What losers are told; 0 before there is a winner.
    private(set) var winningScore: UInt64 = 0

    private func index(_ key: PublicKey) -> Int? { entries.firstIndex { $0.candidate.key == key } }

    /// Notes a sealed bid; its signature is checked only when it is about to win.
    mutating func receive(_ signed: SignedRecord, from key: PublicKey, task: TaskID, buyer: PublicKey) {
        guard let index = index(key), case .waiting = entries[index].reply else { return }
        let offer = entries[index].candidate.offer.record
        guard let bid = try? Bid(decoding: signed.body), bid.task == task, bid.attempt == attempt,
            bid.bidder == key, bid.buyer == buyer, bid.price.input <= offer.price.input,
            bid.price.cachedInput <= offer.price.cachedInput, bid.price.output <= offer.price.output,
            !requirements.refuses(bid), !(bid.workerDials && !requirements.selfReachable)
        else {
            entries[index].reply = .refused
            return
        }
        arrivals += 1
        entries[index].arrival = arrivals
        entries[index].reply = .bid(
            signed, bid, requirements.basis.judge(bid, millitrust: entries[index].millitrust))
    }

    mutating func decline(_ key: PublicKey, _ reason: DeclineReason, retryAfter: Interval) {
        guard let index = index(key), case .waiting = entries[index].reply else { return }
        entries[index].reply = .declined(reason, retryAfter: retryAfter)
    }

    mutating func silence(_ key: PublicKey) {
        guard let index = index(key), case .waiting = entries[index].reply else { return }
        entries[index].reply = .silent
    }

    mutating func refuse(_ key: PublicKey) {
        if let index = index(key) { entries[index].reply = .refused }
    }

    mutating func markBusy(_ key: PublicKey) {
        if let index = index(key) { entries[index].reply = .busy }
    }

    /// Makes the bid of `key` the winner.
    mutating func award(_ key: PublicKey) {
        guard let index = index(key), case .bid(let signed, let bid, let result) = entries[index].reply else {
            return
        }
        entries[index].reply = .awarded(signed, bid, result)
        winningScore = max(1, result.score)
    }

    /// The bid to award next: by the client's order, then score, completion and arrival.
    var best: Int? {
        var found: Int?
        for index in entries.indices where isBid(index) {
            if let other = found, !precedes(index, other) { continue }
            found = index
        }
        return found
    }

    /// Whether waiting longer could not change the winner.
    var canClose: Bool {
        guard isAnybodyOutstanding else { return true }
        guard let best, case .bid(_, _, let result) = entries[best].reply else { return false }
        if isOvertime { return true }
        return entries.allSatisfy { entry in
            guard case .waiting = entry.reply else { return true }
            return (entry.rank, entry.bound.score) >= (entries[best].rank, result.score)
        }
    }

    /// Without a bid: until when those outstanding are waited for; nil: no longer.
    mutating func waitsUntil(_ now: MonotonicTime, _ parameters: MarketParameters) -> MonotonicTime? {
        if now < closesAt { return closesAt }
        let ends = openedAt + parameters.noBidPatience
        guard now < ends else { return nil }
        isOvertime = true
        return ends
    }

    private func isBid(_ index: Int) -> Bool { if case .bid = entries[index].reply { true } else { false } }

    private func precedes(_ a: Int, _ b: Int) -> Bool {
        guard case .bid(_, _, let first) = entries[a].reply, case .bid(_, _, let second) = entries[b].reply
        else {
            return false
        }
        let (x, y) = (entries[a], entries[b])
        return (x.rank, first.score, first.completion.nanoseconds, x.arrival)
            < (y.rank, second.score, second.completion.nanoseconds, y.arrival)
    }

    /// For `starling why`: the awarded, then bids by score, then the rest.
    func transcripts() -> [BidTranscript] {
        let lines = entries.map { transcript($0) }
        let bids = lines.indices.filter { lines[$0].signature != nil }
        let order = bids.sorted {
            let (a, b) = (lines[$0], lines[$1])
            return (a.outcome == .won ? 0 : 1, a.score, a.completion.nanoseconds, $0)
                < (b.outcome == .won ? 0 : 1, b.score, b.completion.nanoseconds, $1)
        }
        return (order + lines.indices.filter { lines[$0].signature == nil }).map { lines[$0] }
    }

    private func transcript(_ entry: Entry) -> BidTranscript {
        var line = BidTranscript(
            worker: entry.candidate.key, name: entry.candidate.offer.record.name, outcome: .asked)
        line.millitrust = entry.millitrust
        switch entry.reply {
        case .waiting: line.outcome = winningScore == 0 ? .asked : .late
        case .silent: line.outcome = .silent
        case .refused: line.outcome = .refused
        case .busy: line.outcome = .busy
        case .declined(let reason, _):
            line.outcome = .declined
            line.declined = reason
        case .bid(let signed, let bid, let result):
            // A better score that lost came when the window had closed.
            line.outcome = winningScore == 0 ? .asked : result.score < winningScore ? .late : .lost
            line.fill(signed, bid, result)
        case .awarded(let signed, let bid, let result):
            line.outcome = .won
            line.fill(signed, bid, result)
        }
        return line
    }
}

extension BidTranscript {
    fileprivate mutating func fill(_ signed: SignedRecord, _ bid: Bid, _ result: ScoringBasis.Result) {
        price = bid.price
        queueMilliseconds = bid.queueMilliseconds
        firstTokenMilliseconds = bid.firstTokenMilliseconds
        millitokensPerSecond = bid.millitokensPerSecond
        estimate = result.estimate
        completion = result.completion
        score = result.score
        signature = signed.signature
    }
}
