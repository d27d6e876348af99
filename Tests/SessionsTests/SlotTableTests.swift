import Primitives
import TestSupport
import Testing

@testable import Sessions

@Suite struct SlotTableTests {
    private struct Model: ModelTest {
        enum Operation { case insert(Int), remove(nth: Int), removeGone(nth: Int), change(nth: Int), draw }
        var table: SlotTable<Int>
        var plain = PlainTable<UInt32, Int>()
        /// Numbers of removed values.
        var gone: [UInt32] = []
        var random: SeededRandom
        let capacity: Int

        init(_ random: inout SeededRandom) {
            capacity = [1, 5, 40][random.below(3)]
            self.random = SeededRandom(seed: random.next())
            // Generations wrap.
            let first: UInt16 = random.chance(1, in: 2) ? .max - 3 : UInt16(random.below(1 << 16))
            table = SlotTable(capacity: capacity, firstGeneration: first)
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let nth = random.below(1_000)
            return switch random.below(10) {
            case 0..<5: .insert(nth)
            case 5..<8: .remove(nth: nth)
            case 8: random.chance(1, in: 2) ? .removeGone(nth: nth) : .change(nth: nth)
            default: .draw
            }
        }

        private func held(_ nth: Int) -> UInt32? {
            plain.count == 0 ? nil : plain.entries[nth % plain.count].key
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .insert(let value):
                let number = table.insert(value)
                try same(number != nil, plain.count < capacity, "has room")
                guard let number else { break }
                // Each slot has 65,536 generations before a number repeats.
                try holds(
                    !gone.contains(number) && plain[number] == nil, "number \(number) was given out before")
                try holds(number & 0xffff < UInt32(capacity), "slot \(number & 0xffff) of \(capacity)")
                plain[number] = value
            case .remove(let nth):
                guard let number = held(nth) else { break }
                try same(table.remove(number), plain[number], "removed")
                plain[number] = nil
                gone.append(number)
            case .removeGone(let nth):
                if !gone.isEmpty { try same(table.remove(gone[nth % gone.count]), nil, "removed again") }
            case .change(let nth):
                guard let number = held(nth) else { break }
                table[number]? += 1
                plain[number] = plain[number].map { $0 + 1 }
            case .draw:
                let number = table.draw(&random)
                try same(number == nil, plain.count == 0, "drew nothing")
                if let number { try holds(plain[number] != nil, "drew \(number), which is gone") }
            }
            try same(table.count, plain.count, "count")
            try same(table.numbers.sorted(), plain.entries.map(\.key).sorted(), "numbers")
            for (number, value) in plain.entries {
                try same(table[number], value, "the value of \(number)")
                try same(table.number(UInt16(number & 0xffff)), number, "the number of its slot")
                try same(table[slot: UInt16(number & 0xffff)], value, "the value in its slot")
            }
            for number in gone.suffix(20) {
                try holds(!table.contains(number) && table[number] == nil, "\(number) is found, and is gone")
            }
        }
    }

    @Test(arguments: modelSeeds) func aNumberFindsItsValueAndNothingOnceThatIsGone(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 800)
    }

    @Test func aDrawReachesEveryValue() {
        var table = SlotTable<Int>(capacity: 9, firstGeneration: 0)
        let numbers = (0..<9).compactMap { table.insert($0) }
        table.remove(numbers[4])
        var random = SeededRandom(seed: 1)
        let drawn = Set((0..<200).compactMap { _ in table.draw(&random) })
        #expect(drawn == Set(numbers).subtracting([numbers[4]]))
    }
}

@Suite struct SlotChainsTests {
    private struct Model: ModelTest {
        enum Operation { case insert(slot: UInt16, hash: Int), remove(slot: UInt16) }
        var chains: SlotChains
        /// The most recent first.
        var plain: [(slot: UInt16, hash: UInt64)] = []
        let hashes: [UInt64]
        let slots: Int

        init(_ random: inout SeededRandom) {
            chains = SlotChains(secret: random.next())
            slots = [4, 20, 120][random.below(3)]
            hashes = (0..<12).map { $0 < 4 ? UInt64($0) : random.next() }
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let slot = UInt16(random.below(slots))
            return random.chance(3, in: 5)
                ? .insert(slot: slot, hash: random.below(hashes.count)) : .remove(slot: slot)
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .insert(let slot, let number):
                // A slot is in one chain at a time.
                guard !plain.contains(where: { $0.slot == slot }) else { break }
                chains.insert(slot, hashes[number])
                plain.insert((slot, hashes[number]), at: 0)
            case .remove(let slot):
                guard let place = plain.firstIndex(where: { $0.slot == slot }) else { break }
                chains.remove(slot, plain.remove(at: place).hash)
            }
            try same(chains.count, plain.count, "count")
            for hash in hashes {
                let walked = walk(hash)
                try same(Set(walked).count, walked.count, "slots in the walk of \(hash), once each")
                let found = walked.filter { slot in plain.contains { $0.slot == slot && $0.hash == hash } }
                try same(found, plain.filter { $0.hash == hash }.map(\.slot), "slots of \(hash)")
                // Slots of similar-looking hashes may be walked too, but must still be present.
                try holds(
                    walked.allSatisfy { slot in plain.contains { $0.slot == slot } }, "a slot that is gone")
            }
        }

        private func walk(_ hash: UInt64) -> [UInt16] {
            var found: [UInt16] = []
            var next = chains.first(hash)
            while let slot = next, found.count <= plain.count {
                found.append(slot)
                next = chains.next(after: slot)
            }
            return found
        }
    }

    @Test(arguments: modelSeeds) func aWalkMeetsTheSlotsOfItsHashTheLatestFirst(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 500)
    }
}

@Suite struct GroupIndexTests {
    private struct Model: ModelTest {
        enum Operation {
            case insert(UInt32, group: UInt64), remove(UInt32, group: UInt64), draw(group: UInt64)
        }
        var index = GroupIndex()
        var plain: [UInt64: Set<UInt32>] = [:]
        var random: SeededRandom

        init(_ random: inout SeededRandom) { self.random = SeededRandom(seed: random.next()) }

        func draw(_ random: inout SeededRandom) -> Operation {
            let group = UInt64(random.below(5))
            let number = UInt32(random.below(12))
            return switch random.below(5) {
            case 0, 1: .insert(number, group: group)
            case 2, 3: .remove(number, group: group)
            default: .draw(group: group)
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .insert(let number, let group):
                guard plain[group, default: []].insert(number).inserted else { break }
                index.insert(number, group)
            case .remove(let number, let group):
                index.remove(number, group)
                plain[group]?.remove(number)
            case .draw(let group):
                let members = plain[group] ?? []
                var drawn: Set<UInt32> = []
                for _ in 0..<20 * members.count + 1 {
                    if let number = index.draw(group, &random) { drawn.insert(number) }
                }
                // Twenty tries per member: the chance that one of twelve is never drawn is one in 10^8.
                try same(drawn, members, "drawn of group \(group)")
            }
            for group in 0..<5 as Range<UInt64> {
                try same(index.count(group), plain[group]?.count ?? 0, "count of group \(group)")
            }
        }
    }

    @Test(arguments: modelSeeds) func aDrawOfAGroupReachesItsMembersAndNobodyElse(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 500)
    }
}
