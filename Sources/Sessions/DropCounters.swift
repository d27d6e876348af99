/// Why a datagram or a message was dropped. The raw values are what `starling peers --json` shows.
public enum DropReason: String, CaseIterable, Sendable {
    case truncated
    case oversized
    case unknownKind = "unknown_kind"
    case wrongVersion = "wrong_version"
    case badMac = "bad_mac"
    case badHandshake = "bad_handshake"
    case badIdentity = "bad_identity"
    case selfDial = "self_dial"
    case cookieRequired = "cookie_required"
    case badCookie = "bad_cookie"
    case noSession = "no_session"
    case wrongEndpoint = "wrong_endpoint"
    case badSeal = "bad_seal"
    case replayed
    case malformed
    case unknownMessage = "unknown_message"
    case notIdempotent = "not_idempotent"
    case unknownReply = "unknown_reply"
    case replyTooLarge = "reply_too_large"
    case replyLate = "reply_late"
    case messageTooLarge = "message_too_large"
    case overBudget = "over_budget"
    case badSignature = "bad_signature"

    var index: Int {
        switch self {
        case .truncated: 0
        case .oversized: 1
        case .unknownKind: 2
        case .wrongVersion: 3
        case .badMac: 4
        case .badHandshake: 5
        case .badIdentity: 6
        case .selfDial: 7
        case .cookieRequired: 8
        case .badCookie: 9
        case .noSession: 10
        case .wrongEndpoint: 11
        case .badSeal: 12
        case .replayed: 13
        case .malformed: 14
        case .unknownMessage: 15
        case .notIdempotent: 16
        case .unknownReply: 17
        case .replyTooLarge: 18
        case .replyLate: 19
        case .messageTooLarge: 20
        case .overBudget: 21
        case .badSignature: 22
        }
    }
}

/// How often each reason has applied since the start.
public struct DropCounters: Sendable {
    private var values: [UInt64] = Array(repeating: 0, count: DropReason.allCases.count)

    public init() {}

    public mutating func count(_ reason: DropReason) { values[reason.index] &+= 1 }

    public subscript(_ reason: DropReason) -> UInt64 { values[reason.index] }

    public var total: UInt64 { values.reduce(0, &+) }

    /// Name and count of every reason, in a fixed order, zeros included.
    public var counts: [(name: String, count: UInt64)] {
        DropReason.allCases.map { ($0.rawValue, values[$0.index]) }
    }
}
