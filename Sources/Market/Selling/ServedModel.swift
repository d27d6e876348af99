import Primitives
import Wire

/// What a node can serve of one model now; the shell keeps it up to date.
public struct ServedModel: Sendable {
    public var model: String
    /// While no slot is taken (`policy`).
    public var price: Price
    /// The price that an offer stated before, where that was lower: buyers that haven't got the new one yet refuse bids
    /// above it.
    public var former: Former?
    public var policy: SalePolicy
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
    public struct Former: Hashable, Sendable {
        public var price: Price
        public var until: MonotonicTime
        public init(_ price: Price, until: MonotonicTime) { (self.price, self.until) = (price, until) }
    }

    public enum Availability: Hashable, Sendable {
        case up, paused, down(String), leaving
        /// Its model server takes nothing before that time.
        case busy(until: MonotonicTime)

        /// As it is at that time.
        func at(_ now: MonotonicTime) -> Availability {
            if case .busy(let until) = self, until <= now { .up } else { self }
        }
    }

    /// The highest price of its bids, which its offer states.
    public var offeredPrice: Price { policy.price(price, taken: slots, of: slots) }

    /// The price of a bid while that many slots are taken.
    func price(taken: Int, _ now: MonotonicTime) -> Price {
        let price = policy.price(price, taken: taken, of: slots)
        guard let former, now < former.until else { return price }
        return price.lower(former.price)
    }

    /// How many tasks may wait for a slot by default: enough that deadlines limit the queue before its length does. Fewer:
    /// whoever finds it full asks again until its deadline, instead of being refused at once; more: memory.
    public static func places(slots: Int) -> Int { min(64 * max(0, slots), 1_024) }

    public init(
        model: String, price: Price, slots: Int, places: Int = 0, context: UInt32, features: Features,
        continues: Bool,
        digest: Bytes32?, digestSource: DigestSource = .none, quantization: String, speed: Speed,
        available: Availability = .up, policy: SalePolicy = SalePolicy(), former: Former? = nil
    ) {
        self.model = model
        self.price = price
        self.policy = policy
        self.former = former
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
