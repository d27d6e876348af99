import Primitives
import Wire

/// What a worker found of the task itself: that its model server fails with it, that nobody can do it, or that there
/// is nothing to say. One seller's word is not enough, and a question that breaks model servers must not walk through
/// all of them: the same finding of two equal sellers ends the task, and nobody is blamed.
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

    /// Sellers of one model are equal in what a finding names, except that only one with at least as much context
    /// confirms that the context is too small.
    func confirms(_ other: Verdict) -> Bool {
        guard finding == other.finding, position == other.position, worker != other.worker else {
            return false
        }
        return finding != .failed(.contextTooSmall) || context == 0 || context >= other.context
    }

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
        let verdict = Verdict(
            worker: assignment.worker.key, name: assignment.name, finding: finding,
            position: delivery.position.bytes, context: assignment.bid.context, words: words)
        let reason: Reason = if case .failed(let reason) = finding { reason } else { .backendError }
        endAssignment(.failed(reason, .gaveUp(trust: 1_000)), &desk, &turn)
        exclusions.readmit()
        exclusions.add(.init(key: verdict.worker, reason: reason, retryAfter: nil))
        delivery.dropWhole()
        let others = verdicts.filter { $0.position == verdict.position }
        verdicts.append(verdict)
        let isSettled =
            verdictsAgree
            && (!couldAskMet || (others + [verdict]).contains { desk.sellers.hasFinished($0.worker) })
            || assignments >= parameters.assignmentsMax || !request.preferences.allowFallbacks
        if isSettled { return conclude(&desk, turn.monotonic) }
        goOn(&desk, &turn)
    }

    /// Whether the findings about the answer as it stands agree. That settles the task if one of them is a met seller's,
    /// or no met seller can be asked: new keys that agree may belong to one liar.
    var verdictsAgree: Bool {
        let standing = verdicts.filter { $0.position == delivery.position.bytes }
        guard let last = standing.last else { return false }
        return standing.count >= Self.verdictsMax || standing.contains { last.confirms($0) }
    }

    /// What the latest worker found of the answer as it stands; nil: nothing.
    private var standingVerdict: Verdict? {
        verdicts.last.flatMap { $0.position == delivery.position.bytes ? $0 : nil }
    }

    var hasVerdict: Bool { standingVerdict != nil }

    /// Ends the task as the workers found it.
    mutating func conclude(_ desk: inout AuctionDesk, _ now: MonotonicTime) {
        guard let verdict = standingVerdict else { return failWorkersLost(&desk) }
        switch verdict.finding {
        case .empty: finish(reason: verdict.words, extra: [], &desk, now)
        case .failed(.backendError):
            let names = verdicts.filter { $0.finding == verdict.finding }.map {
                $0.name.isEmpty ? "a node" : $0.name
            }
            fail(
                .backendError,
                "The model server of \(names.joined(separator: " and of ")) failed with this request: \(verdict.words)",
                &desk)
        case .failed(let reason): fail(reason, verdict.words, &desk)
        }
    }

    /// A worker delivered what others said they, or anybody, couldn't: their word cost the client time. An answer of one
    /// that had never finished a task (`isMet` is false) refutes only its like: it may be a blank, sent to harm them.
    mutating func blameRefuted(
        by worker: PublicKey, isMet: Bool, context: UInt32, _ desk: inout AuctionDesk, _ now: Now
    ) {
        for verdict in verdicts where verdict.worker != worker && verdict.isRefuted(byContext: context) {
            guard isMet || !desk.sellers.hasFinished(verdict.worker) else { continue }
            desk.blame(verdict.worker, factor: desk.parameters.trustAfterLoss, now)
        }
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
