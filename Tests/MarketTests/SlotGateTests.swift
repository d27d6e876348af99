import Cryptography
import Primitives
import Testing
import Wire

@testable import Market

/// The gate against a plain list of bids, moved by the same random operations.
@Suite struct SlotGateTests {
    private struct Reference {
        enum State { case held(until: Int64), leased(until: Int64), running, ended(SlotGate.End) }

        static let slots = 3
        var bids: [(key: SlotKey, state: State)] = []
        var known: [PublicKey] = []

        func state(_ key: SlotKey) -> State? { bids.first { $0.key == key }?.state }

        /// A bid that takes a slot moves to the end: the gate looks at slots in the order in which they were taken.
        mutating func take(_ key: SlotKey, _ state: State) {
            bids.removeAll { $0.key == key }
            bids.append((key, state))
        }

        mutating func set(_ key: SlotKey, _ state: State) {
            if let index = bids.firstIndex(where: { $0.key == key }) { bids[index].state = state }
        }

        var taken: Int { bids.count { if case .ended = $0.state { false } else { true } } }
        var running: Int { bids.count { if case .running = $0.state { true } else { false } } }

        func hasUnused(_ buyer: PublicKey) -> Bool {
            bids.contains { bid in
                switch bid.state {
                case .held, .leased: bid.key.buyer == buyer
                case .running, .ended: false
                }
            }
        }

        /// What a new call is refused for.
        func refusal(_ key: SlotKey) -> Reason? {
            switch state(key) {
            case .ended(.spent), .ended(.ran): return .unspecified
            case .held, .leased, .running, .ended(.lapsed), nil: break
            }
            if taken >= Self.slots { return .busy }
            return hasUnused(key.buyer) && !known.contains(key.buyer) ? .holdLimit : nil
        }

        func mayLease(_ key: SlotKey) -> Bool {
            switch state(key) {
            case .held, .leased, .running: true
            case .ended(.lapsed): taken < Self.slots
            case .ended(.spent), .ended(.ran), nil: false
            }
        }

        mutating func advance(to now: Int64) {
            for index in bids.indices {
                switch bids[index].state {
                case .held(let until), .leased(let until):
                    if until <= now { bids[index].state = .ended(.lapsed) }
                case .running, .ended: break
                }
            }
        }
    }

    private func agree(_ a: SlotGate.Standing?, _ b: Reference.State?) -> Bool {
        switch (a, b) {
        case (.held, .held), (.leased, .leased), (.running, .running), (nil, nil): true
        case (.ended(let a), .ended(let b)): a == b
        default: false
        }
    }

    @Test(arguments: 1...12) func randomOperationsAgreeWithAPlainList(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let seller = Seller(1, slots: UInt32(Reference.slots))
        var terms = SellerTerms(key: seller.key)
        terms.serve([seller.served])
        let bid = Verified(
            signing: Bid(
                task: TaskID(high: 0, low: 1), attempt: 1, bidder: seller.key, buyer: seller.key,
                price: seller.offer.price, firstTokenMilliseconds: 1, millitokensPerSecond: 1,
                digest: nil, quantization: "", continues: false, context: 0),
            with: seller.identity)
        let keys = (0..<12).map { number in
            SlotKey(
                buyer: asker(UInt64(2_000 + number % 4)).key, task: TaskID(high: 2, low: UInt64(number)),
                attempt: 1)
        }
        var gate = SlotGate(MarketParameters())
        var plain = Reference()
        var now: Int64 = 0
        var jobs: UInt64 = 0
        for step in 0..<600 {
            let key = keys[random.below(keys.count)]
            let until = now + Int64(random.below(40)) + 1
            let time = MonotonicTime.zero + .milliseconds(until)
            switch random.below(6) {
            case 0, 1:
                if gate.bid(of: key) != nil { break }
                let refused = gate.refusal(of: key, seller.served, .zero + .milliseconds(now))?.reason
                #expect(refused == plain.refusal(key), "seed \(seed), step \(step)")
                guard refused == nil else { break }
                gate.hold(key, model: "wren-m", bid, tokensOut: 64, until: time)
                plain.take(key, .held(until: until))
            case 2:
                let isAllowed = plain.mayLease(key)
                switch gate.lease(key, until: time, terms) {
                case .taken:
                    #expect(isAllowed, "seed \(seed), step \(step)")
                    if case .held = plain.state(key) {
                        plain.set(key, .leased(until: until))
                    } else {
                        plain.take(key, .leased(until: until))
                    }
                case .standing: #expect(isAllowed, "seed \(seed), step \(step)")
                case .refused: #expect(!isAllowed, "seed \(seed), step \(step)")
                }
            case 3:
                guard case .leased = plain.state(key) else { break }
                jobs += 1
                gate.run(
                    WorkerTask(
                        id: JobID(rawValue: jobs), key: key, channel: 1, model: "wren-m",
                        open: TaskOpen(kind: .chat, bodyBytes: 2), parameters: MarketParameters(),
                        now: .zero + .milliseconds(now)))
                plain.set(key, .running)
                #expect(gate.key(of: JobID(rawValue: jobs)) == key)
            case 4:
                let ends: [SlotGate.End] = [.lapsed, .spent, .ran]
                let end = ends[random.below(3)]
                guard gate.end(key, end) != nil else { break }
                plain.set(key, .ended(end))
                if end == .ran, random.chance(1, in: 2) {
                    let receipt = Receipt(
                        task: key.task, attempt: 1, buyer: key.buyer, worker: seller.key, sequence: 1,
                        completionTokens: 1, cost: 1, final: true)
                    gate.accepted(receipt, for: key, .zero + .milliseconds(now))
                    if !plain.known.contains(key.buyer) { plain.known.append(key.buyer) }
                }
            default:
                now += Int64(random.below(20))
                while let lapsed = gate.lapsed(.zero + .milliseconds(now)) { _ = gate.end(lapsed, .lapsed) }
                plain.advance(to: now)
            }
            #expect(gate.count == plain.taken && gate.taken("wren-m") == plain.taken)
            #expect(gate.count <= Reference.slots, "seed \(seed), step \(step)")
            #expect(gate.running == plain.running && gate.runningJobs.count == plain.running)
            #expect(
                keys.allSatisfy { agree(gate.standing(of: $0), plain.state($0)) },
                "seed \(seed), step \(step)")
        }
    }
}
