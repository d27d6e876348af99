import Primitives
import TestSupport
import Testing

@testable import Gossip

@Suite struct MailQueueTests {
    private struct Model: ModelTest {
        enum Operation { case add(UInt64, to: Int, port: UInt16), next(fits: Int), forget(Int), removeAll }
        struct Box {
            var address: PeerAddress
            var ids: [UInt64]
        }
        var queue = MailQueue()
        /// The next to be served first.
        var plain: [Box] = []
        let receivers: Int
        let ids: Int

        init(_ random: inout SeededRandom) {
            // The last case exceeds the number of boxes, the first their depth.
            (receivers, ids) = [(2, 100), (20, 6), (1_500, 3)][random.below(3)]
        }

        static func key(_ number: Int) -> PublicKey { PublicKey(Bytes32(UInt64(number), 0, 0, 0)) }

        func draw(_ random: inout SeededRandom) -> Operation {
            let receiver = random.below(receivers)
            return switch random.below(receivers > 1_000 ? 5_000 : 200) {
            case 0: .removeAll
            case 1..<10: .forget(receiver)
            case 10..<60: .next(fits: random.below(5))
            default: .add(UInt64(random.below(ids)), to: receiver, port: UInt16(1 + random.below(2)))
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .add(let id, let number, let port):
                let address = PeerAddress(key: Self.key(number), endpoint: .loopback(port))
                queue.add(id, to: address)
                if let place = plain.firstIndex(where: { $0.address.key == address.key }) {
                    plain[place].address = address
                    let hasRoom = plain[place].ids.count < GossipLimits.mailboxDepthMax
                    if hasRoom, !plain[place].ids.contains(id) { plain[place].ids.append(id) }
                } else if plain.count < GossipLimits.mailboxesMax {
                    plain.append(Box(address: address, ids: [id]))
                }
            case .next(let fits):
                var offered: [UInt64] = []
                let mail = queue.next {
                    offered = $0
                    return fits
                }
                guard !plain.isEmpty else { return try holds(mail == nil, "mail from nowhere") }
                var box = plain.removeFirst()
                let count = min(max(1, fits), box.ids.count)
                try same(offered, box.ids, "offered")
                try same(mail?.to, box.address, "receiver")
                try same(mail?.ids, Array(box.ids.prefix(count)), "taken")
                box.ids.removeFirst(count)
                if !box.ids.isEmpty { plain.append(box) }
            case .forget(let number):
                queue.forget(Self.key(number))
                plain.removeAll { $0.address.key == Self.key(number) }
            case .removeAll:
                queue.removeAll()
                plain = []
            }
            try same(queue.isEmpty, plain.isEmpty, "is empty")
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func receiversTakeTurnsAndTheirMailKeepsItsOrder(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 2_500)
    }

    @Test func boxesAndTheirDepthAreBounded() {
        func address(_ number: Int) -> PeerAddress {
            PeerAddress(key: PublicKey(Bytes32(UInt64(number), 0, 0, 0)), endpoint: .loopback(1))
        }
        var queue = MailQueue()
        for id in 0..<100 as Range<UInt64> { queue.add(id, to: address(0)) }
        for number in 1..<2_000 { queue.add(7, to: address(number)) }
        var served: [Int] = []
        while let mail = queue.next(fits: \.count) { served.append(mail.ids.count) }
        #expect(served.first == GossipLimits.mailboxDepthMax)
        #expect(served.count == GossipLimits.mailboxesMax)
    }
}
