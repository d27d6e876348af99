import Cryptography
import Primitives
import Testing
import Wire

@testable import Market

/// The gate against a plain list of bids, moved by the same random operations.
@Suite struct SlotGateTests {
    private struct Reference {
        enum State { case held(until: Int64), leased(until: Int64), running, ended(SlotGate.End) }
        struct Entry {
            let key: SlotKey
            let party: SlotShares.Party
            var state: State
            var isStranger: Bool
        }

        let slots: Int
        var bids: [Entry] = []
        /// Who paid, once for each task.
        var payments: [SlotShares.Party] = []
        /// Networks whose last lease has been followed by no receipt, and until when that counts.
        var open: [UInt64: Int64] = [:]
        var now: Int64 = 0

        func state(_ key: SlotKey) -> State? { bids.first { $0.key == key }?.state }

        private var inUse: [Entry] { bids.filter { if case .ended = $0.state { false } else { true } } }
        var taken: Int { inUse.count }
        var strangers: Int { inUse.count(where: \.isStranger) }
        var running: Int { bids.count { if case .running = $0.state { true } else { false } } }

        /// Each task paid 24 tokens, and a slot is worth 16.
        private func own(_ paid: Int) -> Int { paid == 0 ? 0 : min(1 + paid, 24 * paid / 16) }

        /// nil: it may not; else whether it counts as a stranger.
        func slot(for party: SlotShares.Party) -> Bool? {
            if party.isOwn { return false }
            let paid = own(payments.count { $0.buyer == party.buyer })
            let paidAround = max(paid, own(payments.count { $0.group == party.group }))
            let (own, around) = (
                inUse.count { $0.party.buyer == party.buyer }, inUse.count { $0.party.group == party.group }
            )
            let owes = paid == 0 && open[party.group] ?? 0 > now
            let mayUseOwn = !owes && own < max(1, paid) && around < max(1, paidAround)
            if mayUseOwn && (paid > 0 || payments.isEmpty) { return paid == 0 }
            return strangers < (slots + 1) / 2 ? true : nil
        }

        /// What a new call is refused for.
        func refusal(_ key: SlotKey, _ party: SlotShares.Party) -> Reason? {
            switch state(key) {
            case .ended(.spent), .ended(.ran): return .unspecified
            case .held, .leased, .running, .ended(.lapsed), .ended(.released), nil: break
            }
            if taken >= slots { return .busy }
            return slot(for: party) == nil ? .holdLimit : nil
        }

        func mayLease(_ key: SlotKey) -> Bool {
            switch state(key) {
            case .held, .leased, .running: return true
            case .ended(.lapsed), .ended(.released):
                guard let party = bids.first(where: { $0.key == key })?.party else { return false }
                return taken < slots && slot(for: party) != nil
            case .ended(.spent), .ended(.ran), nil: return false
            }
        }

        mutating func take(_ key: SlotKey, _ party: SlotShares.Party, _ state: State) {
            let isStranger = slot(for: party) ?? true
            bids.removeAll { $0.key == key }
            bids.append(Entry(key: key, party: party, state: state, isStranger: isStranger))
        }

        mutating func set(_ key: SlotKey, _ state: State) {
            if let index = bids.firstIndex(where: { $0.key == key }) { bids[index].state = state }
        }

        mutating func lease(_ party: SlotShares.Party, until: Int64) {
            if party.isOwn { return }
            open[party.group] = until + MarketParameters().openLeaseMemory.milliseconds
        }

        mutating func advance(to now: Int64) {
            self.now = now
            for index in bids.indices {
                switch bids[index].state {
                case .held(let until): if until <= now { bids[index].state = .ended(.lapsed) }
                case .leased(let until): if until <= now { bids[index].state = .ended(.spent) }
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

    /// Six buyers of three networks, the last of them this node itself.
    private func party(_ number: Int) -> SlotShares.Party {
        SlotShares.Party(
            buyer: asker(UInt64(2_000 + number % 6)).key, group: UInt64(number % 3), isOwn: number % 6 == 5)
    }

    @Test(arguments: 1...16) func randomOperationsAgreeWithAPlainList(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let slots = 1 + Int(seed) % 6
        let seller = Seller(1, slots: UInt32(slots))
        var terms = SellerTerms(key: seller.key)
        terms.serve([seller.served])
        let parameters = MarketParameters()
        let bid = Verified(signing: Self.bid, with: ada.identity)
        let parties = (0..<24).map(party)
        let keys = parties.indices.map { number in
            SlotKey(buyer: parties[number].buyer, task: TaskID(high: 2, low: UInt64(number)), attempt: 1)
        }
        var gate = SlotGate(parameters)
        var plain = Reference(slots: slots)
        var now: Int64 = 0
        var jobs: UInt64 = 0
        for step in 0..<800 {
            let number = random.below(keys.count)
            let (key, party) = (keys[number], parties[number])
            let until = now + Int64(random.below(40)) + 1
            let time = MonotonicTime.zero + .milliseconds(until)
            let place: Comment = "seed \(seed), step \(step)"
            switch random.below(6) {
            case 0, 1:
                if gate.claim(of: key) != nil { break }
                let refused = gate.refusal(
                    of: key, party, seller.served, .zero + .milliseconds(now))?.reason
                #expect(refused == plain.refusal(key, party), place)
                guard refused == nil else { break }
                let claim = SlotGate.Claim(
                    party: party, model: "wren-m", bid: bid, call: CalledFor(call(1), parameters, .zero))
                gate.hold(key, claim, slots: slots, until: time, .zero + .milliseconds(now))
                plain.take(key, party, .held(until: until))
            case 2:
                let isAllowed = plain.mayLease(key)
                switch gate.lease(key, until: time, terms, .zero + .milliseconds(now)) {
                case .taken:
                    #expect(isAllowed, place)
                    if case .held = plain.state(key) {
                        plain.set(key, .leased(until: until))
                    } else {
                        plain.take(key, party, .leased(until: until))
                    }
                    plain.lease(party, until: until)
                case .standing: #expect(isAllowed, place)
                case .refused: #expect(!isAllowed, place)
                }
            case 3:
                guard case .leased = plain.state(key) else { break }
                jobs += 1
                var task = WorkerTask(
                    id: JobID(rawValue: jobs), key: key, channel: 1, model: "wren-m",
                    open: TaskOpen(kind: .chat, bodyBytes: 2), call: CalledFor(call(1), parameters, .zero),
                    parameters: parameters, now: .zero + .milliseconds(now))
                var out: [BidderAction] = []
                _ = task.deliver([UInt8](repeating: 65, count: 64), 24, [], most: 100, .zero, &out)
                gate.run(task)
                plain.set(key, .running)
                #expect(gate.key(of: JobID(rawValue: jobs)) == key)
            case 4:
                guard let standing = gate.standing(of: key) else { break }
                let ends: [SlotGate.End]
                switch standing {
                case .held: ends = [.lapsed, .released, .spent]
                case .leased: ends = [.spent]
                case .running: ends = [.ran]
                case .ended: ends = [.ran]
                }
                let end = ends[random.below(ends.count)]
                guard gate.end(key, end) != nil else { break }
                plain.set(key, .ended(end))
                guard end == .ran, random.chance(1, in: 2) else { break }
                let receipt = Receipt(
                    task: key.task, attempt: 1, buyer: key.buyer, worker: seller.key, sequence: 1,
                    completionTokens: 24, cost: 48, final: true)
                #expect(gate.wants(receipt, for: key, .zero + .milliseconds(now)), place)
                let changes = gate.accepted(receipt, for: key, moment(now))
                #expect(changes.isEmpty == party.isOwn, place)
                plain.open[party.group] = nil
                if !party.isOwn { plain.payments.append(party) }
            default:
                now += Int64(random.below(random.chance(1, in: 20) ? 40_000 : 20))
                for key in gate.keys {
                    if let end = gate.lapse(of: key, .zero + .milliseconds(now)) { _ = gate.end(key, end) }
                }
                plain.advance(to: now)
            }
            #expect(gate.count == plain.taken && gate.taken("wren-m") == plain.taken, place)
            #expect(gate.shares.strangers("wren-m") == plain.strangers, place)
            #expect(gate.count <= slots, place)
            #expect(gate.running == plain.running && gate.runningJobs.count == plain.running)
            #expect(keys.allSatisfy { agree(gate.standing(of: $0), plain.state($0)) }, place)
        }
    }

    @Test func bidsThatCostNothingPushOutNoAttemptThatIsOwed() {
        var ended = EndedClaims(capacity: 4)
        let claim = SlotGate.Claim(
            party: party(0), model: "wren-m",
            bid: Verified(signing: Self.bid, with: ada.identity),
            call: CalledFor(call(1), MarketParameters(), .zero))
        func key(_ number: Int) -> SlotKey {
            SlotKey(buyer: ada.key, task: TaskID(high: 3, low: UInt64(number)), attempt: 1)
        }
        func insert(_ number: Int, _ end: SlotGate.End, isStranger: Bool = true) {
            ended.insert(key(number), claim, end, isStranger: isStranger)
        }
        insert(0, .ran)
        insert(1, .lapsed)
        insert(2, .spent)
        for number in 10..<20 { insert(number, .released) }
        #expect(ended.end(of: key(0)) == .ran && ended.end(of: key(1)) == .lapsed)
        #expect(ended.end(of: key(2)) == nil)
        for number in 20..<30 { insert(number, .lapsed) }
        #expect(ended.end(of: key(0)) == .ran && ended.end(of: key(1)) == nil)
        insert(3, .ran, isStranger: false)
        for number in 30..<40 { insert(number, .ran) }
        #expect(ended.end(of: key(0)) == nil && ended.end(of: key(3)) == .ran)
    }

    private static let bid = Bid(
        task: TaskID(high: 0, low: 1), attempt: 1, bidder: ada.key, buyer: ada.key, price: ada.offer.price,
        firstTokenMilliseconds: 1, millitokensPerSecond: 1, digest: nil, quantization: "", continues: false,
        context: 0)
}
