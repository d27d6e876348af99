import Primitives
import Wire

/// Bytes out ÷ bytes in before an address is proven, from a seed.
public enum Amplification {
    /// Message kinds that `MessageMaker` makes.
    public static let kinds = 24

    /// What a victim knows of an unproven address.
    public enum State: String, CaseIterable, Sendable {
        /// Nothing yet.
        case stranger
        /// Its initiation was answered; it has not confirmed.
        case halfOpen
        /// It sent a request while the victim was over its budget of handshakes.
        case underLoad
        /// The victim has written to it and waits.
        case awaited
        /// The key has a session from another address.
        case moved
    }
    public static let states = State.allCases

    /// Five hundred steps of senders that prove nothing: initiations of every kind and size, from their own
    /// and from spoofed addresses, of our wire version and others, packets of no session, and the passing of
    /// time. One sender in sixteen proves itself.
    public static func storm(_ seed: UInt64) -> (ratio: Double, answers: Int) {
        var random = SeededRandom(seed: seed)
        var start = FuzzInput([UInt8(random.below(64))])
        var world = PeerWorld(&start)
        world.begin()
        for _ in 0..<500 {
            let index = random.below(4)
            let moved = random.chance(1, in: 4)
            var input = FuzzInput([UInt8([0, 2, 16][random.below(3)])] + random.bytes(60))
            var other = FuzzInput(random.bytes(300))
            let message = world.message(index, &input)
            let any = world.message(index, &other)
            let padding = random.chance(1, in: 2) ? random.below(1_100) : [0, 352, 1_024][random.below(3)]
            switch random.below(16) {
            case 0, 1, 2, 3, 4, 5:
                let envelope = Envelope(request: UInt32(1 + random.below(1_000)), message: message)
                world.initiate(index, envelope.encoded(paddedTo: padding), moved: moved)
            case 6, 7:
                let envelope = Envelope(request: UInt32(random.below(2)), message: any)
                world.initiate(index, envelope.encoded(paddedTo: padding), moved: moved)
            case 8: world.initiate(index, [], moved: moved)
            // A request of a kind that no version of ours knows.
            case 9: world.initiate(index, [0x08, 0x01, 0xf2, 0x07, 0x00], moved: moved)
            case 10: world.initiate(index, random.bytes(random.below(200)), moved: moved)
            case 11, 12:
                world.initiate(index, random.bytes(random.below(200)), version: UInt8(random.below(4)))
            case 13: world.send(index, Envelope(request: 1, message: any).encoded(), moved: true)
            case 14: world.wait(.milliseconds(Int64(random.below(4_000))))
            default: world.confirm(index)
            }
        }
        return (world.ledger.ratioMax, world.ledger.answers)
    }

    /// Plays `length` random bytes as a program. Returns the ratio, and the number of answers to unproven
    /// addresses.
    public static func sessions(_ seed: UInt64, length: Int = 400) -> (ratio: Double, answers: Int) {
        var random = SeededRandom(seed: seed)
        var input = FuzzInput(random.bytes(length))
        var world = SessionWorld()
        world.play(&input)
        return (world.ledger.ratioMax, world.ledger.answers)
    }

    public static func peer(_ seed: UInt64, length: Int = 400) -> (ratio: Double, answers: Int) {
        var random = SeededRandom(seed: seed)
        var input = FuzzInput(random.bytes(length))
        var world = PeerWorld(&input)
        world.play(&input)
        return (world.ledger.ratioMax, world.ledger.answers)
    }

    /// Sends one message of a kind to a whole node from an address in this state, as request and as one-way
    /// message.
    public static func one(kind: Int, state: State, paddedTo padding: Int) -> (ratio: Double, answers: Int) {
        // Style: an internet node with stated endpoints; with two handshakes a second for `underLoad`; with the
        // first adversary as bootstrap address for `awaited`.
        let style: UInt8 = state == .underLoad ? 32 : state == .awaited ? 8 : 0
        var start = FuzzInput([style])
        var world = PeerWorld(&start)
        world.begin()
        if state == .underLoad { for _ in 0..<4 { world.initiate(1, []) } }
        if state == .halfOpen || state == .moved { world.initiate(0, []) }
        if state == .moved { world.confirm(0) }
        for seed in 0..<4 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            var input = FuzzInput([UInt8(kind)] + random.bytes(300))
            let message = world.message(0, &input)
            for request in [0, 7] as [UInt32] {
                let envelope = Envelope(request: request, message: message)
                world.initiate(0, envelope.encoded(paddedTo: padding), moved: state == .moved)
                if state != .moved { continue }
                world.send(0, envelope.encoded(), moved: true)
            }
        }
        return (world.ledger.ratioMax, world.ledger.answers)
    }
}
