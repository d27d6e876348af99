import Cryptography
import Primitives
import Testing
import Wire

@testable import Market

/// The gate against a plain list of bids, moved by the same random operations.
@Suite struct SlotGateTests {
    private struct Reference {
        enum State {
            case held(until: Int64), leased(until: Int64)
            case running(isComplete: Bool)
            case ended(SlotGate.End)
        }
        struct Entry {
            let key: SlotKey
            let party: SlotShares.Party
            var state: State
            var isStranger: Bool
            /// It has a place, and no slot yet.
            var waits: Bool
            /// When its turn is.
            let at: Int64
            let number: Int

            var isHeld: Bool { if case .held = state { true } else { false } }
            var isComplete: Bool { if case .running(true) = state { true } else { false } }
            func isBefore(_ other: Entry) -> Bool { (at, number) < (other.at, other.number) }
        }

        let slots: Int
        let places: Int
        var bids: [Entry] = []
        /// Who paid, once for each task.
        var payments: [SlotShares.Party] = []
        /// Networks whose last lease has been followed by no receipt, and until when that counts.
        var open: [UInt64: Int64] = [:]
        var now: Int64 = 1
        private var arrivals = 0

        init(slots: Int, places: Int) { (self.slots, self.places) = (slots, places) }

        func entry(_ key: SlotKey) -> Entry? { bids.first { $0.key == key } }
        func state(_ key: SlotKey) -> State? { entry(key)?.state }

        private var inUse: [Entry] { bids.filter { if case .ended = $0.state { false } else { true } } }
        var taken: Int { inUse.count { !$0.waits } }
        var strangers: Int { inUse.count { !$0.waits && $0.isStranger } }
        var running: Int { bids.count { if case .running = $0.state { true } else { false } } }
        var waiting: [Entry] { inUse.filter(\.waits).sorted { $0.isBefore($1) } }

        /// Each task paid 24 tokens, and a slot is worth 16.
        private func own(_ paid: Int) -> Int { paid == 0 ? 0 : min(1 + paid, 24 * paid / 16) }

        /// nil: it may not; else whether it counts as a stranger.
        private func share(for party: SlotShares.Party, waits: Bool) -> Bool? {
            if party.isOwn { return false }
            let paid = own(payments.count { $0.buyer == party.buyer })
            let paidAround = max(paid, own(payments.count { $0.group == party.group }))
            let (own, around) = (
                inUse.count { $0.party.buyer == party.buyer }, inUse.count { $0.party.group == party.group }
            )
            let owes = paid == 0 && open[party.group] ?? 0 > now
            let mayUseOwn = !owes && own < max(1, paid) && around < max(1, paidAround)
            if mayUseOwn && (paid > 0 || payments.isEmpty) { return paid == 0 }
            let strangers = inUse.count { $0.waits == waits && $0.isStranger }
            return strangers < ((waits ? places : slots) + 1) / 2 ? true : nil
        }

        /// What it gets: a slot, or else a place; nil: neither.
        private func admission(_ party: SlotShares.Party) -> (waits: Bool, isStranger: Bool)? {
            if taken < slots, let isStranger = share(for: party, waits: false) { return (false, isStranger) }
            if waiting.count < places, let isStranger = share(for: party, waits: true) {
                return (true, isStranger)
            }
            return nil
        }

        enum Answer: Equatable { case slot, place, refused(Reason) }

        /// What a new call gets.
        func answer(_ key: SlotKey, _ party: SlotShares.Party) -> Answer {
            switch state(key) {
            case .ended(.spent), .ended(.ran): return .refused(.unspecified)
            case .held, .leased, .running, .ended(.lapsed), .ended(.released), nil: break
            }
            if let admission = admission(party) { return admission.waits ? .place : .slot }
            return .refused(taken < slots || waiting.count < places ? .holdLimit : .busy)
        }

        func mayLease(_ key: SlotKey) -> Bool {
            switch state(key) {
            case .held, .leased, .running: return true
            case .ended(.lapsed), .ended(.released):
                return entry(key).map { admission($0.party) != nil } ?? false
            case .ended(.spent), .ended(.ran), nil: return false
            }
        }

        mutating func take(_ key: SlotKey, _ party: SlotShares.Party, _ state: State) {
            guard let (waits, isStranger) = admission(party) else { return }
            bids.removeAll { $0.key == key }
            arrivals += 1
            bids.append(
                Entry(
                    key: key, party: party, state: state, isStranger: isStranger, waits: waits,
                    at: party.isOwn ? 0 : isStranger ? now + 5_000 : now, number: arrivals))
        }

        private func maySeat(_ entry: Entry) -> Bool {
            !entry.isStranger || strangers < (slots + 1) / 2
                || payments.isEmpty
                    && !inUse.contains {
                        !$0.waits
                            && ($0.party.buyer == entry.party.buyer || $0.party.group == entry.party.group)
                    }
        }

        /// The bid, or the stranger without a request, that gives its slot back to a complete request.
        private func bid(for entry: Entry) -> Entry? {
            inUse.filter {
                ($0.isHeld || $0.isStranger && !$0.isComplete) && !$0.waits
                    && (maySeat(entry) || $0.isStranger)
                    && (entry.party.isOwn || !$0.party.isOwn)
            }.max { $0.isBefore($1) }
        }

        /// Whether a complete request waits although there is a slot that it may have.
        var keepsReadyWaiting: Bool {
            waiting.contains { $0.isComplete && (taken < slots ? maySeat($0) : bid(for: $0) != nil) }
        }

        /// Hands out the free slots; returns whose requests may start.
        mutating func fill() -> [SlotKey] {
            var ready: [SlotKey] = []
            func move(_ entry: Entry, waits: Bool) {
                bids.firstIndex { $0.key == entry.key }.map { bids[$0].waits = waits }
            }
            while true {
                let isFree = taken < slots
                if let first = waiting.first(where: {
                    $0.isComplete && (isFree ? maySeat($0) : bid(for: $0) != nil)
                }) {
                    if !isFree, let bid = bid(for: first) { move(bid, waits: true) }
                    move(first, waits: false)
                    ready.append(first.key)
                } else if isFree,
                    let next = waiting.first(where: { !$0.isHeld && maySeat($0) })
                        ?? waiting.first(where: maySeat)
                {
                    move(next, waits: false)
                } else {
                    return ready
                }
            }
        }

        func isWaiting(_ key: SlotKey) -> Bool { waiting.contains { $0.key == key } }

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

    @Test(arguments: 1...24) func randomOperationsAgreeWithAPlainList(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let (slots, places) = (1 + Int(seed) % 6, Int(seed) % 9)
        let seller = Seller(1, slots: UInt32(slots))
        var served = seller.served
        served.places = places
        var terms = SellerTerms(key: seller.key)
        terms.serve([served])
        let parameters = MarketParameters()
        let bid = Verified(signing: Self.bid, with: ada.identity)
        let parties = (0..<24).map(party)
        var keys = parties.indices.map { number in
            SlotKey(buyer: parties[number].buyer, task: TaskID(high: 2, low: UInt64(number)), attempt: 1)
        }
        var gate = SlotGate(parameters)
        var plain = Reference(slots: slots, places: places)
        var (now, jobs): (Int64, UInt64) = (1, 0)
        var waited = 0
        func start(_ key: SlotKey) {
            var out: [BidderAction] = []
            _ = gate.change(key) { task in
                _ = task.start(.zero + .milliseconds(now))
                return task.deliver([UInt8](repeating: 65, count: 64), 24, [], most: 100, .zero, &out)
            }
        }
        for step in 0..<1_200 {
            let number = random.below(keys.count)
            if case .ended(let end) = plain.state(keys[number]), end == .ran || end == .spent,
                random.chance(1, in: 2)
            {
                keys[number].attempt += 1
            }
            let (key, party) = (keys[number], parties[number])
            let until = now + Int64(random.below(40)) + 1
            let (time, at) = (
                MonotonicTime.zero + .milliseconds(until), MonotonicTime.zero + .milliseconds(now)
            )
            let place: Comment = "seed \(seed), step \(step)"
            switch random.below(7) {
            case 0, 1:
                if gate.claim(of: key) != nil { break }
                let admission = gate.admission(of: key, party, served, at)
                #expect(Self.answer(admission) == plain.answer(key, party), place)
                if case .refused = admission { break }
                let claim = SlotGate.Claim(
                    party: party, model: "wren-m", bid: bid, call: CalledFor(call(1), parameters, .zero))
                gate.hold(key, claim, served, until: time, at)
                plain.take(key, party, .held(until: until))
            case 2:
                let isAllowed = plain.mayLease(key)
                switch gate.lease(key, until: time, terms, at) {
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
                gate.run(
                    WorkerTask(
                        id: JobID(rawValue: jobs), key: key, channel: 1, model: "wren-m",
                        open: TaskOpen(kind: .chat, bodyBytes: 2),
                        call: CalledFor(call(1), parameters, .zero), parameters: parameters, now: at))
                plain.set(key, .running(isComplete: false))
                #expect(gate.key(of: JobID(rawValue: jobs)) == key)
            case 4:
                guard case .running(false) = plain.state(key) else { break }
                #expect(gate.change(key) { $0.add([123, 125]) } == true)
                plain.set(key, .running(isComplete: true))
                if gate.waits(key) { gate.isReady(key) } else { start(key) }
            case 5:
                guard let standing = gate.standing(of: key) else { break }
                let ends: [SlotGate.End]
                switch standing {
                case .held: ends = [.lapsed, .released, .spent]
                case .leased: ends = [.spent]
                case .running: ends = [.ran]
                case .ended: ends = [.ran]
                }
                let end = ends[random.below(ends.count)]
                let hadStarted = gate.change(key) { $0.hasStarted } ?? false
                guard gate.end(key, end) != nil else { break }
                plain.set(key, .ended(end))
                guard hadStarted, random.chance(1, in: 2) else { break }
                let receipt = Receipt(
                    task: key.task, attempt: key.attempt, buyer: key.buyer, worker: seller.key, sequence: 1,
                    completionTokens: 24, cost: 48, final: true)
                #expect(gate.wants(receipt, for: key, at), place)
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
            for model in gate.takeFreed() {
                let ready = gate.advance(model, slots: slots)
                #expect(ready == plain.fill(), place)
                for key in ready { start(key) }
            }
            waited += plain.waiting.count
            #expect(gate.count == plain.taken + plain.waiting.count, place)
            #expect(gate.taken("wren-m") == plain.taken && plain.taken <= slots, place)
            #expect(gate.waiting("wren-m") == plain.waiting.count && plain.waiting.count <= places, place)
            #expect(gate.shares.strangers("wren-m") == plain.strangers, place)
            #expect(!plain.keepsReadyWaiting, place)
            #expect(gate.running == plain.running && gate.runningJobs.count == plain.running)
            #expect(keys.allSatisfy { agree(gate.standing(of: $0), plain.state($0)) }, place)
            #expect(keys.allSatisfy { gate.waits($0) == plain.isWaiting($0) }, place)
            for (before, entry) in plain.waiting.enumerated() {
                let found = gate.place(of: entry.key, served, .zero + .milliseconds(now))
                #expect(found?.before == before, place)
            }
        }
        #expect(waited > 100 || places == 0)
    }

    private static func answer(_ admission: SlotGate.Admission) -> Reference.Answer {
        switch admission {
        case .slot: .slot
        case .place: .place
        case .refused(let reason, _): .refused(reason)
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
