import Cryptography
import Primitives

/// The defence when handshakes arrive faster than we are willing to process them: the sender must repeat its
/// message with a cookie that only its source address could have received. Nothing is stored per sender
/// (WireGuard's mac2, RFC 6347 §4.2.1).
struct CookieJar: Sendable {
    /// A cookie is valid for at least this long, and for less than twice as long.
    static let lifetime = Interval.seconds(120)

    private var secret: [UInt8]
    private var previous: [UInt8]
    private var since = MonotonicTime.zero
    private let key: Secret32
    /// Counted rather than measured in CPU time, so that the core stays deterministic.
    private var budget: TokenBucket
    private var demands: TokenBucket
    /// Cookies sent in the current second to each of 1,024 groups of sources, so that a flood from a few
    /// sources doesn't use up the cookies of all others. Empty until the first cookie.
    private var sent: [UInt8] = []
    private var secondEnds = MonotonicTime.zero
    private let perSource: UInt8
    private let mixer: UInt64

    init(secret: Bytes32, key: Secret32, limits: SessionLimits) {
        self.secret = secret.bytes
        previous = self.secret
        self.key = key
        budget = TokenBucket(rate: limits.handshakesPerSecond, burst: limits.handshakesPerSecond)
        demands = TokenBucket(rate: limits.cookiesPerSecond, burst: limits.cookiesPerSecond)
        perSource = UInt8(clamping: limits.cookiesPerPrefix)
        mixer = secret.w0 | 1
    }

    /// Whether an initiation may be processed: it is within the budget, or has a valid mac2.
    mutating func admits(
        _ packet: UnsafeMutableRawBufferPointer, _ source: Endpoint, _ now: MonotonicTime,
        _ ratchet: inout KeyRatchet
    ) -> Bool {
        if budget.take(now) { return true }
        if since + Self.lifetime < now {
            previous = secret
            secret = ratchet.next().bytes
            since = now
        }
        let mac2 = Mac16(UnsafeRawBufferPointer(packet), at: Packet.mac2Offset)
        // Most packets of a flood have no mac2, and cost no hashing here.
        guard mac2 != Mac16(low: 0, high: 0) else { return false }
        let endpoint = source.cookieBytes
        return Packet.mac2(packet, cookie: Secret32(Blake2b.keyed(secret, endpoint))) == mac2
            || Packet.mac2(packet, cookie: Secret32(Blake2b.keyed(previous, endpoint))) == mac2
    }

    /// Answers the initiation with this mac1 by a cookie, which is shorter than it. Sends nothing beyond the
    /// budgets per second, in total and for each of 1,024 groups of sources.
    mutating func demand(
        _ mac1: Mac16, of source: Endpoint, _ group: UInt64, _ now: MonotonicTime,
        _ ratchet: inout KeyRatchet,
        _ out: inout SessionOutput
    ) {
        if now >= secondEnds {
            sent = [UInt8](repeating: 0, count: 1_024)
            secondEnds = now + .seconds(1)
        }
        let slot = Int((group &* mixer) >> 54)
        guard sent[slot] < perSource, demands.take(now) else { return }
        sent[slot] += 1
        let nonce = ratchet.next()
        let cookie = Blake2b.keyed(secret, source.cookieBytes)
        out.datagrams.append(Packet.cookieSize, to: source) { packet in
            Packet.writeHeader(packet, .cookie)
            mac1.store(into: packet, at: Packet.headerSize)
            let nonceOffset = Packet.headerSize + 16
            let sealedOffset = nonceOffset + LongNonceAead.nonceSize
            Secret32(nonce).withBytes { bytes in
                packet.from(nonceOffset).copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<24]))
            }
            cookie.store(into: packet.from(sealedOffset))
            LongNonceAead.seal(
                packet.from(sealedOffset), count: 32, key: key,
                nonce: UnsafeRawBufferPointer(rebasing: packet[nonceOffset..<sealedOffset]),
                associated: UnsafeRawBufferPointer(rebasing: packet[Packet.headerSize..<nonceOffset]))
        }
    }

    /// Decrypts the cookie in `packet`, whose size has been checked.
    static func open(_ packet: UnsafeMutableRawBufferPointer, key: Secret32) -> Secret32? {
        let nonceOffset = Packet.headerSize + 16
        let sealed = packet.from(nonceOffset + LongNonceAead.nonceSize)
        let count = LongNonceAead.open(
            sealed, key: key,
            nonce: UnsafeRawBufferPointer(
                rebasing: packet[nonceOffset..<nonceOffset + LongNonceAead.nonceSize]),
            associated: UnsafeRawBufferPointer(rebasing: packet[Packet.headerSize..<nonceOffset]))
        return count == 32 ? Secret32(copying: UnsafeRawBufferPointer(sealed)) : nil
    }
}

extension Endpoint {
    /// Address and port in a private form, which only we read.
    fileprivate var cookieBytes: [UInt8] {
        Bytes32(high, low, UInt64(port), 0).bytes
    }
}
