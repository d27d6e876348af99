import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct AnswerBudgetTests {
    @Test func strangersAndSingleNetworksLeaveWhatMembersNeed() {
        var budget = AnswerBudget(rate: 200)
        let now = MonotonicTime.zero + .seconds(100)
        func taken(_ groups: Range<UInt64>, isMember: Bool, each: Int) -> Int {
            groups.reduce(0) { sum, group in
                sum + (0..<each).count { _ in budget.take(group, isMember: isMember, now) }
            }
        }
        #expect(taken(0..<1, isMember: false, each: 1_000) == 100)
        #expect(taken(1..<50, isMember: false, each: 10) == 0, "the strangers' budget is used up")
        #expect(taken(100..<101, isMember: true, each: 1_000) == 100, "one network's share")
        #expect(taken(101..<201, isMember: true, each: 1) == 100)
        #expect(taken(201..<300, isMember: true, each: 1) == 0)
        let isRefilled = budget.take(400, isMember: true, now + .milliseconds(10))
        #expect(isRefilled)
    }

    @Test func aStrangerThatAsksWithoutEndKeepsNoMemberFromItsAnswer() {
        var machine = Machine.joined(members: 1..<3)
        let digest = OfferDigest(first: 0, last: .max, offers: [])
        let answered = (0..<1_000).count { _ in machine.receive(.offerDigest(digest), from: 9) != nil }
        #expect(answered == 100)
        #expect(machine.gossip.dropped[.digestOverBudget] == 900)
        #expect(machine.receive(.offerDigest(digest), from: 1) != nil)
    }

    @Test func aStrangerThatMailsOldVersionsWithoutEndKeepsNoSellerFromItsOwnSequence() {
        var machine = Machine.joined(members: 1..<3)
        for index in 1...2 { machine.mail([offer(of: index, sequence: 9)], from: index) }
        for index in 20..<60 {
            for _ in 0..<10 { machine.mail([offer(of: 2, sequence: 3)], from: index) }
        }
        machine.mail([offer(of: 1, sequence: 4)], from: 1)
        machine.pass(.seconds(1))
        let corrected = machine.takeMails().filter { $0.to == address(1) }.flatMap(\.offers)
        #expect(corrected.contains { $0.publicKey == address(1).key && $0.sequence == 9 })
    }
}
