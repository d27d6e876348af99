import Cryptography
import Primitives
import Wire

/// One Noise association, identified by its local number, from its first packet to its end.
struct Association: Sendable {
    enum Phase: Sendable {
        /// We sent message 1.
        case opening
        /// We read message 1 and have not answered it yet: no keys.
        case answering
        /// We sent message 2; nothing proves the initiator's address yet.
        case halfOpen
        /// Both ends have proven key and endpoint.
        case established
    }

    enum Role: Sendable {
        case initiator, responder
        /// The responder, when it had sent nothing to the initiator's network before.
        case uninvited
    }

    // Ordered so that there is no padding between the fields.
    var peer: PeerAddress
    var phase: Phase
    var role: Role
    var remoteNumber: UInt32 = 0
    /// Set from message 2 on, never on a plain carrier. Boxed, so that openings and the simulator don't pay
    /// for its size.
    var keys: Shared<SessionKeys>?
    var sendCounter: UInt64 = 0
    var window = ReplayWindow()
    var roundTrip = RoundTripEstimate()
    /// When the current phase began.
    var since: MonotonicTime

    var isInitiator: Bool { role == .initiator }
    var isUninvited: Bool { role == .uninvited }
}

/// The keys that seal a session's packets, one per direction.
struct SessionKeys: Sendable {
    let send: Secret32
    let receive: Secret32
}

/// RFC 6298 §2: smoothed round trip, its variance, and the timeout derived from them. In microseconds to keep
/// it small: there is one per session.
struct RoundTripEstimate: Sendable {
    private var averageMicroseconds = UInt32.max
    private var varianceMicroseconds: UInt32 = 0
    /// nil until the first sample.
    var smoothed: Interval? {
        averageMicroseconds == .max ? nil : .microseconds(Int64(averageMicroseconds))
    }
    private var variance: Interval { .microseconds(Int64(varianceMicroseconds)) }

    mutating func sample(_ sampled: Interval) {
        let measured = min(max(sampled, .zero), .minutes(1))
        guard let old = smoothed else { return keep(measured, measured / 2) }
        let error = old > measured ? old - measured : measured - old
        keep(old - old / 8 + measured / 8, variance - variance / 4 + error / 4)
    }

    private mutating func keep(_ average: Interval, _ variance: Interval) {
        averageMicroseconds = UInt32(average.nanoseconds / 1_000)
        varianceMicroseconds = UInt32(variance.nanoseconds / 1_000)
    }

    func timeout(_ limits: SessionLimits) -> Interval {
        guard let smoothed else { return limits.timeoutStart }
        return min(max(smoothed + variance * 4, limits.timeoutMin), limits.timeoutMax)
    }
}

/// A handshake begun by a stranger, until it is proven or its place in the ring is reused.
struct HalfOpen: Sendable {
    /// Nil once message 2 is written.
    var noise: Shared<NoiseIK>?
    var datagramBytes: Int
}

/// Our attempts to open a session with one peer, and the messages that wait for it.
struct Opening: Sendable {
    struct Attempt: Sendable {
        var number: UInt32
        var noise: NoiseIK
        var sentAt: MonotonicTime
        var mac1: Mac16
    }

    let macKey: Secret32
    let remoteStatic: Bytes32
    var attempts: [Attempt] = []
    var triesLeft: Int
    var timeout: Interval
    /// The request carried in message 1.
    var riding: UInt32?
    var waiting: [UInt32] = []
    var sends: [Envelope] = []
    var cookie: Secret32?
    var wasAdvised = false
}

/// A request without a completion yet.
struct PendingRequest: Sendable {
    var owner: RequestOwner
    var peer: PeerAddress
    var message: Message
    var startedAt: MonotonicTime
    /// When it was last sent on a session, and which one.
    var sentAt: MonotonicTime
    var session: UInt32?
    var tries = 1
    /// The latest try left: a datagram with it, or one to open its session.
    var wasSent = false
}

/// Ed25519 keys and the corresponding X25519 keys: a conversion costs as much as checking a signature. A
/// ring: the oldest goes first.
struct AgreementKeyCache: Sendable {
    static let capacity = 1_024
    private var table: [PublicKey: Bytes32] = [:]
    private var ring: [PublicKey] = []
    private var oldest = 0

    mutating func key(_ publicKey: PublicKey) -> Bytes32? {
        if let known = table[publicKey] { return known }
        guard let converted = publicKey.agreementKey else { return nil }
        if ring.count < Self.capacity {
            ring.append(publicKey)
        } else {
            table[ring[oldest]] = nil
            ring[oldest] = publicKey
            oldest = (oldest + 1) % Self.capacity
        }
        table[publicKey] = converted
        return converted
    }
}
