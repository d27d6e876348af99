import Primitives
import Testing
import Wire

@testable import Sessions

/// `Protocol/sessions.md`, Requests: whose fault it is that a request has no answer.
@Suite struct NotAskedTests {
    private static let mail = Message.gossip(.offerMail([]))

    private func unanswered(_ net: Net) -> Int {
        net.nodes[0].completions.count { if case .unanswered = $0.result { true } else { false } }
    }

    private func notAsked(_ net: Net) -> Int {
        net.nodes[0].completions.count { if case .notAsked = $0.result { true } else { false } }
    }

    @Test func aThousandRequestsAtOnceToANewPeerAllGoThroughOneOpening() {
        let net = Net()
        for token in 0..<1_000 as Range<UInt64> { net.request(Self.mail, from: 0, to: 1, token: token) }
        net.run()
        #expect(net.kinds.count { $0 == 1 } == 1)
        #expect(net.nodes[0].completions.count == 1_000)
        #expect(net.nodes[0].completions.allSatisfy { $0.answer == .gossip(.offerReceived) })
        #expect(net.nodes[0].sessions.dropped[.overBudget] == 0)
    }

    @Test func aPeerThatWasAskedTwiceAndIsSilentIsUnanswered() {
        let net = Net()
        net.delivers = { _ in false }
        net.request(Self.mail, from: 0, to: 1)
        net.request(.discovery(.ping(contact: nil)), from: 0, to: 1, token: 2)
        net.run()
        #expect(unanswered(net) == 2 && notAsked(net) == 0)
    }

    @Test func peersThatDoNotAnswerTakeHalfTheTableOfRequestsAndLeaveEachOtherAFew() {
        var limits = SessionLimits()
        limits.requests = 100
        limits.waitingInAll = 50
        limits.waitingPerPeer = 4
        let net = Net(12, limits: limits)
        net.delivers = { $0.to != net.nodes[1].endpoint && $0.to != net.nodes[3].endpoint }
        net.request(Self.mail, from: 0, to: 2, token: 1)
        net.run()
        for token in 0..<60 as Range<UInt64> { net.request(Self.mail, from: 0, to: 1, token: token) }
        #expect(notAsked(net) == 10, "the first fifty share the half")
        for token in 0..<10 as Range<UInt64> { net.request(Self.mail, from: 0, to: 3, token: token) }
        #expect(notAsked(net) == 16, "a few of each wait all the same")
        for token in 0..<40 as Range<UInt64> { net.request(Self.mail, from: 0, to: 2, token: token) }
        #expect(notAsked(net) == 16, "those that answer have the rest")
        net.request(Self.mail, from: 0, to: 2)
        net.run()
        #expect(unanswered(net) == 54)
        #expect(net.nodes[0].sessions.waitingCount == 0)
    }

    @Test func whatTheTablesHaveNoRoomForWasNotAsked() {
        var limits = SessionLimits()
        limits.requests = 2
        limits.openings = 1
        let net = Net(3, limits: limits)
        net.request(Self.mail, from: 0, to: 1, token: 1)
        net.request(Self.mail, from: 0, to: 2, token: 2)
        #expect(notAsked(net) == 1, "no second opening")
        net.request(Self.mail, from: 0, to: 1, token: 3)
        net.request(Self.mail, from: 0, to: 1, token: 4)
        #expect(notAsked(net) == 2, "no third request")
        net.run()
        #expect(unanswered(net) == 0)
    }

    @Test func whatNeverFitOurOwnBufferWasNotAsked() {
        let net = Net()
        net.nodes[0].out = SessionOutput(datagramsMax: 0)
        net.request(Self.mail, from: 0, to: 1)
        net.run()
        #expect(notAsked(net) == 1 && net.kinds.isEmpty)
        let open = Net()
        open.request(Self.mail, from: 0, to: 1)
        open.run()
        open.nodes[0].out = SessionOutput(datagramsMax: 0)
        open.request(Self.mail, from: 0, to: 1)
        open.run()
        #expect(notAsked(open) == 1 && unanswered(open) == 0)
    }

    @Test func whileThisNodeStoodStillNobodysSilenceProvesAnything() {
        for isDisturbed in [true, false] {
            let net = Net()
            net.delivers = { _ in false }
            net.request(Self.mail, from: 0, to: 1)
            net.run(.milliseconds(100))
            if isDisturbed { net.nodes[0].sessions.wasDisturbed(net.now) }
            net.run(.milliseconds(100))
            net.request(Self.mail, from: 0, to: 1, token: 2)
            net.run()
            #expect(notAsked(net) == (isDisturbed ? 1 : 0))
            #expect(unanswered(net) == (isDisturbed ? 1 : 2), "later questions are judged again")
        }
    }
}
