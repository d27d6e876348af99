import Primitives
import Wire

/// How a client's task ended.
public enum Outcome: Hashable, Sendable {
    case delivered
    /// With the reason's name.
    case refused(String)
    case cancelled
    case failed(String)
    /// The node that it asked died: no task of the mesh's.
    case askerLost
    /// No node was there to ask.
    case notSubmitted
}

/// One client with one task.
struct Client {
    let asker: Int
    let model: String
    let answer: ScriptedAnswer
    let load: LoadPlan
    let hangsUpAfter: Int64?

    var host: Int32 = -1
    var task: TaskID?
    var submittedAt: Int64 = 0
    var awardedAt: Int64?
    var firstByteAt: Int64?
    var lastByteAt: Int64?
    var endedAt: Int64?
    var outcome: Outcome?
    /// The whole text that must come; emptied at the end.
    var reference: [UInt8] = []
    var received = 0
    /// Bytes not yet read.
    var unread = 0
    var isReading = false
    var awards = 0
    var failovers = 0
    /// Set by a later award, until the next byte.
    var isFailingOver = false
    var longestFailoverGap: Int64 = 0
    var worker: PublicKey?
}
