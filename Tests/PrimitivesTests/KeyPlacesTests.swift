import TestSupport
import Testing

@testable import Primitives

@Suite struct KeyPlacesTests {
    private struct Model: ModelTest {
        enum Operation { case insert(key: Int, at: Int), remove(nth: Int), removeOther(key: Int, at: Int) }
        var places = KeyPlaces()
        var plain: [(key: Bytes32, place: Int)] = []
        /// Some agree in the 15 bits that find a place, others in the bits that choose a slot.
        let keys: [Bytes32]

        init(_ random: inout SeededRandom) {
            let tags = 1 + random.below(40)
            let apart: UInt64 = random.chance(1, in: 2) ? 1 : 64
            keys = (0..<60).map { number in
                let tag = UInt64(number % tags) &* apart & 0x7fff
                return Bytes32(tag << 49 | random.next() >> 15, random.next(), 0, 0)
            }
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let place = random.chance(1, in: 20) ? 0xffff : random.below(30)
            switch random.below(20) {
            case 0..<10: return .insert(key: random.below(keys.count), at: place)
            case 10: return .removeOther(key: random.below(keys.count), at: place)
            default: return .remove(nth: random.below(1_000))
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .insert(let number, let place):
                places.insert(keys[number], at: place)
                plain.append((keys[number], place))
            case .remove(let nth):
                guard !plain.isEmpty else { break }
                let gone = plain.remove(at: nth % plain.count)
                places.remove(gone.key, at: gone.place)
            case .removeOther(let number, let place):
                // A key that the table can't distinguish from it would take its place.
                guard !plain.contains(where: { $0.place == place && tag($0.key) == tag(keys[number]) }) else {
                    break
                }
                places.remove(keys[number], at: place)
            }
            try same(places.count, plain.count, "count")
            try holds(
                places.count * 4 <= places.slots.count * 3, "more than three quarters of the slots used")
            for key in keys {
                let expected = plain.filter { tag($0.key) == tag(key) }.map(\.place).sorted()
                try same(candidates(key), expected, "candidates of the tag \(tag(key))")
            }
        }

        private func tag(_ key: Bytes32) -> UInt64 { key.w0 >> 49 }

        private func candidates(_ key: Bytes32) -> [Int] {
            var found: [Int] = []
            var next = places.first(key)
            while let candidate = next, found.count <= places.count {
                found.append(candidate.place)
                next = places.next(key, after: candidate)
            }
            return found.sorted()
        }
    }

    @Test(arguments: modelSeeds)
    func theCandidatesOfAKeyAreThePlacesOfAllKeysWithItsBits(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 300)
    }
}
