import Cryptography
import Primitives
import Wire

/// What an operator demands of a model's buyers beyond its price.
public struct SalePolicy: Hashable, Sendable {
    /// Thousandths of the price that are asked while every slot is taken; in between, the price rises with the slots that
    /// are. 1,000: it never does. The offer states the highest price, and bids are below it while slots are free.
    public var surge: Int64
    /// The least that a task must be expected to bring; a slot for less isn't worth its turn.
    public var reserve: Money
    /// Tasks in a minute; 0: any number.
    public var tasksPerMinute: PerParty
    /// Empty: everybody.
    public var allowed: NodeList
    public var denied: NodeList

    public struct PerParty: Hashable, Sendable {
        public var buyer: Int
        /// All keys of one address prefix together (`Endpoint.group`).
        public var network: Int
        public init(buyer: Int = 0, network: Int = 0) { (self.buyer, self.network) = (buyer, network) }
    }

    public init(
        surge: Int64 = 1_000, reserve: Money = .zero, tasksPerMinute: PerParty = PerParty(),
        allowed: NodeList = NodeList(), denied: NodeList = NodeList()
    ) {
        self.surge = surge
        self.reserve = reserve
        self.tasksPerMinute = tasksPerMinute
        self.allowed = allowed
        self.denied = denied
    }

    func serves(_ buyer: PublicKey) -> Bool {
        if denied.contains(buyer, id: NodeID(of: buyer)) { return false }
        return allowed.isEmpty || allowed.contains(buyer, id: NodeID(of: buyer))
    }

    /// `price` while that many of the slots are taken.
    public func price(_ price: Price, taken: Int, of slots: Int) -> Price {
        guard surge > 1_000, slots > 0 else { return price }
        let (taken, slots) = (UInt64(max(0, min(taken, slots))), UInt64(slots))
        let factor = UInt128(1_000 * slots + UInt64(surge - 1_000) * taken)
        func scaled(_ rate: Int64) -> Int64 {
            min(Int64(clamping: UInt128(max(0, rate)) * factor / UInt128(1_000 * slots)), WireLimits.priceMax)
        }
        return Price(
            input: scaled(price.input), cachedInput: scaled(price.cachedInput), output: scaled(price.output))
    }

    /// Whether a call's task would bring less than the reserve. The rest of an answer that another worker began is always
    /// enough: its buyer can't make it longer.
    func isBelowReserve(_ call: CallForBids, _ price: Price) -> Bool {
        guard reserve > .zero, !call.mustContinue else { return false }
        let tokens = call.tokensOutMax == 0 ? call.tokensOut : min(call.tokensOut, call.tokensOutMax)
        return Scoring.cost(price, prompt: UInt64(call.tokensIn), cached: 0, completion: UInt64(tokens))
            < reserve
    }
}

extension Price {
    /// The lower of both in each component.
    public func lower(_ other: Price) -> Price {
        Price(
            input: min(input, other.input), cachedInput: min(cachedInput, other.cachedInput),
            output: min(output, other.output))
    }
}
