import Primitives
import TestSupport
import Testing
import Wire

@testable import Gossip

@Suite struct RumourTests {
    @Test func aWithdrawalIsForwardedHoweverManyStrangersOffersWaitToBe() {
        var machine = Machine.joined(members: 1..<40)
        machine.mail([offer(of: 1)], from: 1)
        for index in 100..<500 { machine.mail([offer(of: index, model: "flood")], from: index + 1) }
        #expect(machine.gossip.rumours.count == GossipLimits.rumoursMax * 3 / 4)
        _ = machine.takeActions()
        machine.mail([offer(of: 1, sequence: 2, withdrawn: true)], from: 1)
        machine.pass(.milliseconds(100))
        let told = machine.takeMails().filter { $0.offers.contains(where: \.withdrawn) }
        #expect(told.count == 12)
    }
}
