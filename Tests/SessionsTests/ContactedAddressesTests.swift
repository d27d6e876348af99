import Primitives
import TestSupport
import Testing

@testable import Sessions

@Suite struct ContactedAddressesTests {
    private struct Model: ModelTest {
        enum Operation { case note(Endpoint), pass(Interval) }
        var addresses = ContactedAddresses()
        var plain: [(endpoint: Endpoint, time: MonotonicTime)] = []
        var now: MonotonicTime

        init(_ random: inout SeededRandom) { now = .zero + random.interval(.zero, .minutes(60)) }

        /// Ten networks with two machines each, and two ports on each machine.
        static let endpoints: [Endpoint] = (0..<40 as Range<UInt32>).map { number in
            let address = 0x0808_0000 | number / 4 << 8 | number / 2 & 1
            return Endpoint(ipv4: address, port: UInt16(7_000 + number & 1))
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            switch random.below(20) {
            case 0: .pass(.minutes(Int64(random.below(40))))
            case 1..<10: .pass(.seconds(Int64(random.below(90))))
            default: .note(Self.endpoints[random.below(Self.endpoints.count)])
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .note(let endpoint):
                addresses.note(endpoint, now)
                plain.append((endpoint, now))
            case .pass(let interval): now = now + interval
            }
            for endpoint in Self.endpoints {
                try compare(
                    addresses.covers(endpoint, now), latest { $0.prefix == endpoint.prefix }, endpoint)
                try compare(addresses.contains(endpoint), latest { $0 == endpoint }, endpoint)
            }
        }

        private func latest(_ matches: (Endpoint) -> Bool) -> MonotonicTime? {
            plain.last { matches($0.endpoint) }?.time
        }

        /// Known for ten minutes, forgotten after fifteen, either in between.
        private func compare(_ found: Bool, _ noted: MonotonicTime?, _ endpoint: Endpoint) throws {
            let age = noted.map { now - $0 }
            if let age, age < .minutes(10) {
                try holds(found, "\(endpoint) is forgotten after \(age.seconds) s")
            }
            if age.map({ $0 >= .minutes(15) }) ?? true {
                try holds(!found, "\(endpoint) is known after \(age?.seconds ?? .infinity) s")
            }
        }
    }

    @Test(arguments: modelSeeds)
    func anAddressIsKnownForTenMinutesAndForgottenAfterFifteen(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 400)
    }

    @Test func aFullSetExcludesNobodyUntilItsTimeHasRunOut() {
        var addresses = ContactedAddresses()
        for number in 0...UInt32(ContactedAddresses.capacity) {
            addresses.note(Endpoint(ipv4: 0x0900_0000 + number << 8, port: 1), .zero)
        }
        let other = Endpoint(ipv4: 0x0808_0808, port: 1)
        let isCovered = addresses.covers(other, .zero + .minutes(10))
        #expect(isCovered && !addresses.contains(other))
        let isCoveredLater = addresses.covers(other, .zero + .minutes(15))
        #expect(!isCoveredLater)
    }
}
