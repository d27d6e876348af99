import Primitives
import Wire

/// How a client's task ended.
public enum Outcome: Hashable, Sendable {
    case delivered
    /// With the reason's name.
    case refused(String)
    case cancelled
    case failed(String)
    /// The node that it asked died, so the mesh never had the task.
    case askerLost
    /// There was no node to ask.
    case notSubmitted
}

/// One client with one task.
struct Client {
    let asker: Int
    let model: String
    let answer: ScriptedAnswer
    let load: LoadPlan
    let hangsUpAfter: Int64?
    /// Tokens of the whole prompt; 0: what the body has by itself.
    let promptTokens: Int
    /// The conversation's next turn, and how long after this one's end it comes.
    let next: Int32?
    let think: Int64

    var host: Int32 = -1
    var task: TaskID?
    var submittedAt: Int64 = 0
    var awardedAt: Int64?
    var firstByteAt: Int64?
    var lastByteAt: Int64?
    var endedAt: Int64?
    var outcome: Outcome?
    /// The whole text that must arrive; emptied at the end.
    var reference: [UInt8] = []
    var received = 0
    /// Bytes received but not yet read.
    var unread = 0
    var isReading = false
    var awards = 0
    var failovers = 0
    /// Set by a second award, until the next byte.
    var isFailingOver = false
    var longestFailoverGap: Int64 = 0
    var worker: PublicKey?
    /// Micro-credits, and the tokens of prompt and answer that they paid.
    var cost = Money.zero
    var billedTokens = 0

    /// `first` is the place of the load's first client.
    init(_ task: PlannedTask, _ load: LoadPlan, first: Int) {
        asker = task.asker
        model = load.models[task.model]
        answer = ScriptedAnswer(key: task.key, tokens: task.tokens)
        self.load = load
        hangsUpAfter = task.hangsUpAfter
        promptTokens = task.promptTokens
        next = task.next.map { Int32(first + $0) }
        think = task.think
    }

    var body: [UInt8] { answer.body(of: promptTokens * 4) }
}
