import Primitives
import Wire

/// What a worker found of the task itself: that its model server fails with it, that nobody can do it, or that there
/// is nothing to say. One seller's word is not enough, and a question that breaks model servers must not walk through
/// all of them: the same finding of two equal sellers ends the task, and nobody is blamed. A word weighs what its seller
/// has done for this node, because keys cost nothing and two of them may belong to one liar.
struct Verdict: Sendable {
    enum Finding: Hashable, Sendable {
        case failed(Reason)
        /// FINISH, and nothing that says something in the whole task.
        case empty
    }

    let worker: PublicKey
    let name: String
    let finding: Finding
    /// How much of the answer there was, in bytes.
    let position: UInt64
    /// The worker's context, in tokens; 0: unknown.
    let context: UInt32
    /// What it said: a failure's message, or a FINISH's reason.
    let words: String
    /// What it weighs on its worker (`SellerTable`), until others confirm it.
    var setback = 0

    /// Sellers of one model are equal in what a finding names, except that only one with at least as much context
    /// confirms that the context is too small.
    func confirms(_ other: Verdict) -> Bool {
        guard finding == other.finding, position == other.position, worker != other.worker else {
            return false
        }
        return finding != .failed(.contextTooSmall) || context == 0 || context >= other.context
    }

    /// The tasks that a finder must have finished where the best seller that could be asked has finished `best`.
    static func recordNeeded(_ best: Int) -> Int { best / 2 + best % 2 }

    /// Whether an answer of a worker with that context shows it to be wrong.
    func isRefuted(byContext other: UInt32) -> Bool {
        finding != .failed(.contextTooSmall) || other <= context
    }
}

extension BuyerTask {
    /// Most findings about one point of an answer, whatever they are.
    private static let verdictsMax = 3

    /// Ends the running assignment with what its worker found, and tries another seller unless that settles it.
    mutating func judge(
        _ finding: Verdict.Finding, _ words: String, _ desk: inout AuctionDesk, _ turn: inout Turn
    ) {
        guard let assignment else { return }
        let parameters = desk.parameters
        let worker = assignment.worker.key
        var verdict = Verdict(
            worker: worker, name: assignment.name, finding: finding,
            position: delivery.position.bytes, context: assignment.bid.context, words: words)
        let reason: Reason = if case .failed(let reason) = finding { reason } else { .backendError }
        // It had begun, and its finding ends the client's answer: that can't be checked, and is no better than falling silent.
        lastReason = reason
        let isFatal =
            assignment.hasContent && request.streams && !delivery.isEmpty && !delivery.isResumable
        let trust = isFatal ? parameters.trustAfterLoss : 1_000
        let before = desk.sellers.setbacks(worker)
        endAssignment(.failed(reason, .gaveUp(trust: trust)), &desk, &turn)
        verdict.setback = desk.sellers.setbacks(worker) - before
        exclusions.readmit()
        exclusions.add(.init(key: verdict.worker, reason: reason, retryAfter: nil))
        delivery.dropWhole()
        verdicts.append(verdict)
        // Where one has more context, it is asked all the same.
        let isSettled = finding != .failed(.contextTooSmall) && isSettled(desk)
        if isSettled || assignments >= parameters.assignmentsMax || !request.preferences.allowFallbacks {
            return conclude(&desk, turn.now)
        }
        goOn(&desk, &turn)
    }

    private var standingVerdicts: [Verdict] {
        verdicts.filter { $0.position == delivery.position.bytes }
    }

    /// Whether the findings about the answer as it stands agree.
    var verdictsAgree: Bool {
        let standing = standingVerdicts
        guard let last = standing.last else { return false }
        return standing.count >= Self.verdictsMax || standing.contains { last.confirms($0) }
    }

    /// Whether that settles the task: one of them has finished half as many tasks of ours as the best seller that could be
    /// asked; where nobody finished any, three must agree.
    func isSettled(_ desk: AuctionDesk) -> Bool {
        guard verdictsAgree else { return false }
        let standing = standingVerdicts
        if bestRecord == 0 { return standing.count >= Self.verdictsMax }
        return standing.contains { desk.record(of: $0.worker) >= Verdict.recordNeeded(bestRecord) }
    }

    /// The sellers with more context than all that found the request too long; none where nobody did.
    func roomier(_ pool: [Eligible]) -> [Eligible] {
        let tooSmall = standingVerdicts.filter { $0.finding == .failed(.contextTooSmall) }.map(\.context)
        guard let most = tooSmall.max(), most > 0 else { return [] }
        return pool.filter { $0.candidate.offer.record.context > most }
    }

    /// What the latest worker found of the answer as it stands; nil: nothing.
    private var standingVerdict: Verdict? {
        verdicts.last.flatMap { $0.position == delivery.position.bytes ? $0 : nil }
    }

    var hasVerdict: Bool { standingVerdict != nil }

    /// Takes back what confirmed findings weigh on their workers: the request was at fault, and a client that repeats it
    /// must not bring honest sellers to come last. Where nobody has finished a task for this node, three liars could
    /// confirm one another for ever.
    private mutating func forgiveConfirmed(_ desk: inout AuctionDesk) {
        guard bestRecord > 0, isSettled(desk) else { return }
        let standing = standingVerdicts
        for index in verdicts.indices {
            let verdict = verdicts[index]
            guard standing.contains(where: { $0.confirms(verdict) || verdict.confirms($0) }) else { continue }
            desk.sellers.confirmed(verdict.worker, verdict.setback)
            verdicts[index].setback = 0
        }
    }

    /// Ends the task as the workers found it.
    mutating func conclude(_ desk: inout AuctionDesk, _ now: Now) {
        guard let verdict = standingVerdict else { return failWorkersLost(&desk, now.monotonic) }
        forgiveConfirmed(&desk)
        if verdict.position > 0, !verdictsAgree {
            // Nobody could go on where it broke off, and nobody has confirmed why.
            desk.blame(verdict.worker, factor: desk.parameters.trustAfterLoss, now)
        }
        switch verdict.finding {
        case .empty: finish(reason: verdict.words, extra: [], &desk, now.monotonic)
        case .failed(.backendError):
            let names = verdicts.filter { $0.finding == verdict.finding }.map {
                $0.worker.inWords(label: $0.name)
            }
            let message =
                "The model server of \(names.joined(separator: " and of ")) failed with this request: \(verdict.words)"
            if tryNextModel(message, &desk, now.monotonic) { return }
            fail(.backendError, message, &desk)
        case .failed(.contextTooSmall):
            let message = survey.tooLong(verdict.words)
            if tryNextModel(message, &desk, now.monotonic) { return }
            fail(.contextTooSmall, message, &desk)
        // The request itself is at fault, or what it says: another model is no remedy.
        case .failed(let reason): fail(reason, verdict.words, &desk)
        }
    }

    /// A worker delivered what others said they, or anybody, couldn't: their word cost the client time. An answer refutes only
    /// sellers that had finished no more tasks than its worker (`record`): it may be a blank, sent to harm them.
    mutating func blameRefuted(
        by worker: PublicKey, record: Int, context: UInt32, _ desk: inout AuctionDesk, _ now: Now
    ) {
        for verdict in verdicts where verdict.worker != worker && verdict.isRefuted(byContext: context) {
            guard desk.record(of: verdict.worker) <= record else { continue }
            desk.blame(verdict.worker, factor: desk.parameters.trustAfterLoss, now)
        }
    }

    /// Lets another with the same weights begin again where nobody can go on with the text of a client that streams, once:
    /// as far as it repeats that text the client gets nothing, and then the rest.
    mutating func beginAgain() -> Bool {
        guard request.preferences.allowFallbacks, delivery.beginAgain() else { return false }
        bill.restart()
        transcript.note(bill)
        return true
    }

    /// Begins the answer again, with any weights, where a client that doesn't stream has nothing of it. Returns
    /// false when that is not so.
    mutating func restart(_ desk: inout AuctionDesk) -> Bool {
        guard !request.streams, !delivery.isEmpty, request.preferences.allowFallbacks else { return false }
        delivery = Delivery(request)
        bill.restart()
        transcript.note(bill)
        transcript.phases.firstToken = nil
        transcript.resume = resume
        desk.emit(.client(id, .restarted))
        return true
    }
}
