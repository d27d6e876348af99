import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct MembersTests {
    private struct Model: ModelTest {
        enum Operation {
            case join(Int, port: UInt16, states: Bool), leave(Int), heard(Int), silent(Int), answered(Int)
            case asked(Int, [UInt64]), served(Int, UInt64), forgive, partners(Int, except: [Int])
        }
        struct Member: Equatable {
            var address: PeerAddress
            var isSilent = false
            var hasAnswered = false
            var awaited: [UInt64] = []
        }
        var members = Members()
        var plain: [Int: Member] = [:]
        var random: SeededRandom
        let keys: Int

        init(_ random: inout SeededRandom) {
            keys = [4, 30, 700][random.below(3)]
            self.random = SeededRandom(seed: random.next())
        }

        /// Keys of real nodes, which can sign a contact. The others share their first word with many keys.
        static func isReal(_ number: Int) -> Bool { number < 600 && number.isMultiple(of: 4) }
        static func key(_ number: Int) -> PublicKey {
            isReal(number)
                ? Identity.ofNode(number).publicKey
                : PublicKey(Bytes32(UInt64(number % 12) << 55, UInt64(number), 0, 0))
        }

        func draw(_ random: inout SeededRandom) -> Operation {
            let key = random.below(keys)
            return switch random.below(21) {
            case 20: .answered(key)
            case 0..<8: .join(key, port: UInt16(1 + random.below(2)), states: random.chance(1, in: 2))
            case 8..<11: .leave(key)
            case 11: .heard(key)
            case 12, 13: .silent(key)
            case 14, 15: .asked(key, (0..<random.below(4)).map { _ in UInt64(random.below(6)) })
            case 16: .served(key, UInt64(random.below(6)))
            case 17: .forgive
            default: .partners(random.below(9), except: (0..<random.below(3)).map { _ in random.below(keys) })
            }
        }

        mutating func apply(_ operation: Operation) throws {
            switch operation {
            case .join(let number, let port, let states): try join(number, port, states)
            case .leave(let number):
                members.leave(Self.key(number))
                plain[number] = nil
            case .heard(let number):
                members.heard(Self.key(number))
                plain[number]?.isSilent = false
            case .silent(let number):
                members.silent(Self.key(number))
                plain[number]?.isSilent = true
            case .answered(let number):
                members.answered(Self.key(number))
                plain[number]?.isSilent = false
                plain[number]?.hasAnswered = true
            case .asked(let number, let ids):
                members.asked(Self.key(number), for: ids)
                plain[number]?.awaited += ids
            case .served(let number, let id):
                members.served(Self.key(number), id)
                if let first = plain[number]?.awaited.firstIndex(of: id) {
                    plain[number]?.awaited.remove(at: first)
                }
            case .forgive:
                members.forgive()
                // The older half, rounded up.
                plain = plain.mapValues { member in
                    var member = member
                    member.awaited.removeFirst((member.awaited.count + 1) / 2)
                    return member
                }
            case .partners(let count, let excluded): try compareDraws(count, excluded)
            }
            try same(members.count, plain.count, "count")
            for number in keys < 100 ? Array(0..<keys) : (0..<30).map({ _ in random.below(keys) }) {
                let found = members[Self.key(number)]
                try same(
                    found.map {
                        Member(
                            address: $0.address, isSilent: $0.isSilent, hasAnswered: $0.hasAnswered,
                            awaited: $0.awaited)
                    },
                    plain[number], "member \(number)")
                try same(members.contains(Self.key(number)), plain[number] != nil, "contains \(number)")
            }
        }

        private mutating func join(_ number: Int, _ port: UInt16, _ states: Bool) throws {
            let address = PeerAddress(key: Self.key(number), endpoint: .loopback(port))
            var contact: Verified<Contact>?
            if states, Self.isReal(number) {
                // The contact doesn't state port 2.
                let stated = Contact(publicKey: address.key, endpoints: [.loopback(9), .loopback(1)])
                contact = Verified(signing: stated, with: Identity.ofNode(number))
            }
            let isKnown = plain[number] != nil
            let fits = isKnown || plain.count < GossipLimits.membersMax
            try same(members.join(address, contact), fits, "joined")
            guard fits else { return }
            let old = plain[number]
            // What it answered at another address proves nothing about this one.
            let hasAnswered = contact != nil || old?.address == address && old?.hasAnswered == true
            plain[number] = Member(
                address: address, hasAnswered: hasAnswered, awaited: old?.awaited ?? [])
        }

        private mutating func compareDraws(_ count: Int, _ excluded: [Int]) throws {
            let out = Set(excluded)
            let candidates = plain.filter { !out.contains($0.key) }.values
            let answering = candidates.filter { !$0.isSilent }.map(\.address)
            let drawn = members.partners(count, except: excluded.map(Self.key), random: &random)
            try same(Set(drawn).count, drawn.count, "different partners")
            try same(drawn.count, min(count, candidates.count), "partners")
            try holds(drawn.allSatisfy { one in candidates.contains { $0.address == one } }, "drew \(drawn)")
            let answer = drawn.count { answering.contains($0) }
            try same(answer, min(count, answering.count), "partners that answer")
            try holds(
                drawn.prefix(answer).allSatisfy(answering.contains), "those that answer don't come first")

            let anyone = members.anyone(random: &random)
            try same(anyone == nil, plain.isEmpty, "drew nobody")
            if let anyone { try holds(plain.values.contains { $0.address == anyone }, "drew \(anyone)") }
            try same(members.holders(of: 1).sorted(), plain.values.map(\.address).sorted(), "holders")
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func membersAreFoundByKeyAndThoseThatAnswerAreAskedFirst(_ seed: UInt64) throws {
        try check(Model.self, seed: seed, steps: 1_200)
    }

    @Test func aFullTableRefusesNewcomersAndRefreshesMembers() {
        func address(_ number: Int) -> PeerAddress {
            PeerAddress(key: PublicKey(Bytes32(UInt64(number), 1, 0, 0)), endpoint: .loopback(1))
        }
        var members = Members()
        let joined = (0...GossipLimits.membersMax).map { members.join(address($0), nil) }
        #expect(joined.dropLast().allSatisfy { $0 } && joined.last == false)
        let joinedAgain = members.join(address(0), nil)
        #expect(joinedAgain)
        members.leave(address(3).key)
        let tookItsPlace = members.join(address(GossipLimits.membersMax), nil)
        #expect(tookItsPlace && members.count == GossipLimits.membersMax)
    }
}
