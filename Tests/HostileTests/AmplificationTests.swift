import FuzzEntries
import Primitives
import Testing

/// Case 12: an unproven address must not be sent more bytes than came from it. The carrier counts in every
/// state that seeded programs reach, and the entries check each datagram.
@Suite struct AmplificationTests {
    @Test func case12SeededProgramsAgainstSessionsGetNoMoreBytesOutThanTheyPutIn() {
        var highest = 0.0
        var answers = 0
        for seed in 1...200 as ClosedRange<UInt64> {
            let (ratio, count) = Amplification.sessions(seed)
            highest = max(highest, ratio)
            answers += count
        }
        print("amplification, sessions: at most \(highest) over \(answers) answers to unproven addresses")
        #expect(answers > 100 && highest <= 1)
    }

    @Test func case12SeededProgramsAgainstAWholeNodeGetNoMoreBytesOutThanTheyPutIn() {
        var highest = 0.0
        var answers = 0
        for seed in 1...120 as ClosedRange<UInt64> {
            let (ratio, count) = Amplification.peer(seed)
            highest = max(highest, ratio)
            answers += count
        }
        print("amplification, whole node: at most \(highest) over \(answers) answers to unproven addresses")
        #expect(answers > 50 && highest <= 1)
    }

    @Test func case12StormsOfStrangersGetNoMoreBytesOutOfAWholeNodeThanTheyPutIn() {
        var highest = 0.0
        var answers = 0
        for seed in 1...12 as ClosedRange<UInt64> {
            let (ratio, count) = Amplification.storm(seed)
            highest = max(highest, ratio)
            answers += count
        }
        print("amplification, storms: at most \(highest) over \(answers) answers to unproven addresses")
        #expect(answers > 1_000 && highest <= 1)
    }

    @Test(arguments: Amplification.states)
    func case12EveryMessageKindFromEveryUnprovenState(_ state: Amplification.State) {
        for kind in 0..<Amplification.kinds {
            for padding in [0, 352, 1_024] {
                let (ratio, _) = Amplification.one(kind: kind, state: state, paddedTo: padding)
                #expect(ratio <= 1, "kind \(kind) in state \(state)")
            }
        }
    }
}
