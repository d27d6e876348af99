import Primitives

/// One comparison of our offer book with one member's: ranges of short ids, one digest at a time. The answer
/// brings up to two offers that we lack and names those that the member lacks; a range is repeated as long as
/// it brings news.
struct Exchange: Sendable {
    enum Purpose: Sendable, Hashable {
        case periodic, joining
        /// For the pull with this number.
        case search(UInt64)
        /// For the partner's own offer of this model.
        case pull(model: String)
    }
    let partner: PeerAddress
    let purpose: Purpose
    /// Ranges not compared yet, the next one last.
    var ranges: [ClosedRange<UInt64>] = [0...UInt64.max]
    var requests = 0
    var learnt = 0
    var isAnswered = false
    /// Offers that the partner wanted and that were mailed: a repeated range names them again. Looked up,
    /// never iterated.
    var mailed: Set<UInt64> = []
}

/// A node's first exchanges after joining: sets of up to three, until a set brings nothing new.
struct Joining: Sendable {
    var attempts = 0
    var open = 0
    var learnt = 0
    var isAnswered = false
}

/// One pull on behalf of all searches that wait for it.
struct Pull: Sendable {
    let number: UInt64
    var open = 0
    var searches: [Search] = []
    struct Search: Sendable {
        let token: RequestToken
        let model: String
    }
}
