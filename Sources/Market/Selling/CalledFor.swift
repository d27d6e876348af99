import Primitives
import Wire

/// What a buyer called for: the task that follows may ask for no more, and its time runs from the call.
struct CalledFor: Sendable {
    let tokensIn: UInt32
    let tokensOut: UInt32
    private let tokensOutMax: UInt32
    private let features: Features
    private let mustContinue: Bool
    let deadlineAt: MonotonicTime

    init(_ call: CallForBids, _ parameters: MarketParameters, _ now: MonotonicTime) {
        tokensIn = call.tokensIn
        tokensOut = call.tokensOut
        tokensOutMax = call.tokensOutMax
        features = call.features
        mustContinue = call.mustContinue
        let asked = Interval.milliseconds(Int64(call.deadlineMilliseconds))
        let time = asked == .zero ? parameters.deadlineDefault : min(asked, parameters.deadlineMax)
        deadlineAt = now + time
    }

    /// What is wrong with `open`; nil: it asks for no more than the call.
    func problem(with open: TaskOpen, _ parameters: MarketParameters) -> String? {
        let kind: Features
        switch open.kind {
        case .chat: kind = .chat
        case .completion: kind = .completion
        case .embedding: kind = .embedding
        case .unspecified: return "The request is of no kind."
        }
        guard features.contains(kind) else { return "The call was not for a request of this kind." }
        let (body, delivered) = (Int(open.bodyBytes), Int(open.deliveredBytes))
        guard body <= parameters.bodyBytesMax, delivered <= parameters.bodyBytesMax else {
            return "The request is too large."
        }
        guard mustContinue || delivered == 0 else { return "The call was not for a continuation." }
        let most = RequestSize.bytesMax(tokensIn: tokensIn, features: features, parameters)
        return body + delivered <= most ? nil : "The request is larger than its call's input tokens allow."
    }

    /// Prompt tokens that the buyer disputes under no circumstances.
    func undisputedPrompt(_ open: TaskOpen) -> UInt64 {
        let bytes = Int(open.bodyBytes) + Int(open.deliveredBytes)
        return RequestSize.undisputedPrompt(tokensIn: tokensIn, bytes: bytes, features: features)
    }

    /// The lower limit of output tokens of the two; nil: none.
    func tokensMax(_ open: TaskOpen) -> UInt32? {
        let limits = [tokensOutMax, open.maxTokens].filter { $0 > 0 }
        return limits.min()
    }

    /// The earlier end of the task's time of the two.
    func deadline(_ open: TaskOpen, _ now: MonotonicTime) -> MonotonicTime {
        guard open.deadlineMilliseconds > 0 else { return deadlineAt }
        return min(deadlineAt, now + .milliseconds(Int64(open.deadlineMilliseconds)))
    }
}
