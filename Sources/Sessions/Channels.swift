import Cryptography
import Primitives
import Wire

/// Encrypted streams to other nodes (skeleton).
public struct Channels: Sendable {
    public init(identity: Identity, mesh: MeshIdentity, entropy: Bytes32, limits: ChannelLimits = .init()) {}

    /// An idle channel that we dialled to that peer, or a new one. `.opened` or `.failed` follows.
    public mutating func open(to peer: PeerAddress, now: Now, out: inout [ChannelAction]) -> ChannelID {
        ChannelID(rawValue: 0)
    }
    /// A stranger's connection; nil over the limit: the shell closes it.
    public mutating func accept(from endpoint: Endpoint, now: Now, out: inout [ChannelAction]) -> ChannelID? {
        nil
    }
    /// The carrier that `.dial` asked for is connected.
    public mutating func connected(_ id: ChannelID, now: Now, out: inout [ChannelAction]) {}
    public mutating func received(
        _ id: ChannelID, _ bytes: UnsafeRawBufferPointer, now: Now, out: inout [ChannelAction]
    ) {}
    /// The carrier is gone, or could not be connected.
    public mutating func closed(_ id: ChannelID, now: Now, out: inout [ChannelAction]) {}
    /// The carrier has taken `bytes` of what `.write` gave it.
    public mutating func written(_ id: ChannelID, bytes: Int) {}
    /// False when the channel isn't open or too much is queued.
    @discardableResult
    public mutating func send(_ frame: Frame, on id: ChannelID, now: Now, out: inout [ChannelAction]) -> Bool
    { false }
    /// The task on it is done: the channel goes back to the pool.
    public mutating func release(_ id: ChannelID, now: Now, out: inout [ChannelAction]) {}
    public mutating func close(_ id: ChannelID, out: inout [ChannelAction]) {}
    public func queuedBytes(on id: ChannelID) -> Int { 0 }
    public func peer(of id: ChannelID) -> PublicKey? { nil }
    public mutating func nextDeadline() -> MonotonicTime { .never }
    public mutating func tick(now: Now, out: inout [ChannelAction]) {}
}
