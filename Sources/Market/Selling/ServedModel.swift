import Primitives
import Wire

/// What a node can serve of one model now; the shell keeps it up to date.
public struct ServedModel: Sendable {
    public var model: String
    public var price: Price
    public var slots: Int
    /// Tasks that may wait for a slot.
    public var places: Int
    public var context: UInt32
    public var features: Features
    /// Whether the backend can continue from text that another worker delivered.
    public var continues: Bool
    public var digest: Bytes32?
    public var digestSource: DigestSource
    public var quantization: String
    public var speed: Speed
    public var available: Availability
    public enum Availability: Hashable, Sendable {
        case up, paused, down(String), leaving
        /// Its model server takes nothing before that time.
        case busy(until: MonotonicTime)

        /// As it is at that time.
        func at(_ now: MonotonicTime) -> Availability {
            if case .busy(let until) = self, until <= now { .up } else { self }
        }
    }

    /// How many tasks may wait for a slot by default: so many that a task's deadline ends the queue, and not its length. Fewer:
    /// whoever finds it full asks again until its deadline, instead of being refused at once; more: memory.
    public static func places(slots: Int) -> Int { min(64 * max(0, slots), 1_024) }

    public init(
        model: String, price: Price, slots: Int, places: Int = 0, context: UInt32, features: Features,
        continues: Bool,
        digest: Bytes32?, digestSource: DigestSource = .none, quantization: String, speed: Speed,
        available: Availability = .up
    ) {
        self.model = model
        self.price = price
        self.slots = slots
        self.places = places
        self.context = context
        self.features = features
        self.continues = continues
        self.digest = digest
        self.digestSource = digestSource
        self.quantization = quantization
        self.speed = speed
        self.available = available
    }
}
