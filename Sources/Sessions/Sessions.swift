import Cryptography
import Primitives
import Wire

/// Encrypted datagram associations with other nodes (skeleton).
public struct Sessions: Sendable {
    public private(set) var dropped = DropCounters()

    public init(identity: Identity, mesh: MeshIdentity, entropy: Bytes32, limits: SessionLimits = .init()) {}

    public mutating func request(
        _ message: Message, to peer: PeerAddress, owner: RequestOwner, now: Now, random: inout SeededRandom,
        out: inout SessionOutput
    ) {}
    public mutating func send(
        _ message: Message, to peer: PeerAddress, now: Now, random: inout SeededRandom,
        out: inout SessionOutput
    ) {}
    public mutating func reply(_ message: Message, to handle: ReplyHandle, now: Now, out: inout SessionOutput)
    {}
    public mutating func receive(
        _ datagram: UnsafeMutableRawBufferPointer, from source: Endpoint, now: Now,
        random: inout SeededRandom,
        out: inout SessionOutput
    ) -> Incoming? { nil }
    public mutating func tick(now: Now, random: inout SeededRandom, out: inout SessionOutput) {}
    public mutating func nextDeadline() -> MonotonicTime { .never }
}
