import Primitives
import TestSupport
import Testing

@Suite struct VirtualNetworkTests {
    private func at(_ milliseconds: Int64) -> MonotonicTime { .zero + .milliseconds(milliseconds) }

    /// The events by `end`, with their times in milliseconds.
    private func play(_ network: inout VirtualNetwork<String>, until end: Int64) -> [String] {
        var course: [String] = []
        while let happening = network.next(until: at(end)) {
            let time = (network.now - .zero).milliseconds
            switch happening {
            case .alarm(let machine): course.append("\(time) alarm \(machine)")
            case .event(let event): course.append("\(time) \(event)")
            }
        }
        return course
    }

    @Test func thingsHappenByTimeAndAtOneMomentInTheOrderOfPlanning() {
        var network = VirtualNetwork<String>(seed: 1, latency: .milliseconds(10))
        network.plan("c", at: at(20))
        network.plan("a", after: .milliseconds(5))
        network.send("b", from: 0, to: 1)
        network.plan("d", at: at(20))
        network.plan("late", at: at(31))
        #expect(play(&network, until: 30) == ["5 a", "10 b", "20 c", "20 d"])
        #expect(network.now == at(30))
        network.plan("past", at: at(2))
        #expect(play(&network, until: 40) == ["30 past", "31 late"])
    }

    @Test func aMachineIsWokenOnceAtItsEarliestAlarm() {
        var network = VirtualNetwork<String>(seed: 1, latency: .zero)
        network.wake(3, at: at(50))
        network.wake(3, at: at(20))
        network.wake(3, at: at(30))
        network.wake(0, at: .never)
        #expect(play(&network, until: 100) == ["20 alarm 3"])
        network.wake(3, at: at(120))
        network.forgetAlarm(of: 3)
        network.wake(3, at: at(130))
        #expect(play(&network, until: 200) == ["130 alarm 3"])
    }

    @Test func lossesAndPartedLinksSwallowWhatIsSentAndTheSeedDecidesWhich() {
        func course(_ seed: UInt64) -> [String] {
            var network = VirtualNetwork<String>(seed: seed, latency: .zero, to: .milliseconds(50))
            network.lossPerMille = 300
            network.isLinked = { $0 != 1 || $1 != 0 }
            for number in 0..<1_000 { network.send("\(number)", from: number & 1, to: 0) }
            return play(&network, until: 60)
        }
        let arrived = course(7)
        #expect((300...400).contains(arrived.count), "of 500, without those of machine 1")
        #expect(arrived == course(7) && arrived != course(8))
    }
}
