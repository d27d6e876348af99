/// What one event carries for a machine besides its content: the time on both clocks, and the generator for every draw
/// that the event causes. A machine's entry points take it `inout`; nothing keeps it.
public struct Turn: Sendable {
    public var now: Now
    public var random: SeededRandom

    public init(now: Now, random: SeededRandom) {
        self.now = now
        self.random = random
    }

    @inlinable public var monotonic: MonotonicTime { now.monotonic }
    @inlinable public var wall: WallTime { now.wall }
}
