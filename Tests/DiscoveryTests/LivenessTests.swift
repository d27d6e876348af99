import Cryptography
import Primitives
import TestSupport
import Testing
import Wire

@testable import Discovery

@Suite struct LivenessTests {
    @Test func onlyThreeFailuresOfOurOwnProbesInARowEvict() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        let key = peer.record.publicKey
        bench.admit(peer)
        for round in 0..<2 {
            for _ in 0..<2 {
                let probe = try bench.expectRequest(to: key, within: .minutes(20))
                bench.fail(probe.token)
            }
            #expect(bench.discovery.contacts[0].state == .suspect)
            #expect(bench.discovery.count == 1, "round \(round)")
            let probe = try bench.expectRequest(to: key, within: .minutes(20))
            bench.answer(probe.token, .pong(contact: nil, observed: nil), from: bench.address(peer))
            #expect(bench.discovery.contacts[0].state == .live)
        }
        for _ in 0..<3 {
            let probe = try bench.expectRequest(to: key, within: .minutes(20))
            bench.fail(probe.token)
        }
        #expect(bench.discovery.count == 0)
        #expect(bench.discovery.contacts.map(\.inTable) == [false])
    }

    @Test func aFailedLookupOrSuspectOnlyHastensTheProbe() {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        bench.discovery.suspect(
            peer.record.publicKey, turn: &bench.turn, out: &bench.out)
        bench.discovery.suspect(
            peer.record.publicKey, turn: &bench.turn, out: &bench.out)
        let probes = bench.requests()
        #expect(probes.count == 1)
        bench.fail(probes[0].token)
        bench.discovery.suspect(
            peer.record.publicKey, turn: &bench.turn, out: &bench.out)
        let requests = bench.requests()
        #expect(requests.isEmpty && bench.discovery.count == 1)
    }

    @Test func aQuestionThatNeverLeftThisNodeIsNoFailureOfItsPeer() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        let key = peer.record.publicKey
        bench.admit(peer)
        for _ in 0..<20 {
            let probe = try bench.expectRequest(to: key, within: .minutes(20))
            bench.discovery.notAsked(probe.token, turn: &bench.turn, out: &bench.out)
        }
        #expect(bench.discovery.contacts[0].state == .live, "it is probed again, and not blamed")
        _ = bench.discovery.lookup(.zero, turn: &bench.turn, out: &bench.out)
        let questions = bench.requests()
        #expect(questions.count == 1)
        for question in questions {
            bench.discovery.notAsked(question.token, turn: &bench.turn, out: &bench.out)
        }
        let probes = bench.requests()
        #expect(probes.isEmpty, "nobody is suspected")
        #expect(bench.discovery.contacts[0].state == .live && bench.discovery.lookups.isEmpty)
        for _ in 0..<3 {
            let probe = try bench.expectRequest(to: key, within: .minutes(20))
            bench.fail(probe.token)
        }
        for _ in 0..<20 {
            let again = try bench.expectRequest(to: key, within: .minutes(200))
            bench.discovery.notAsked(again.token, turn: &bench.turn, out: &bench.out)
        }
        #expect(bench.discovery.contacts.map(\.inTable) == [false], "nor is a lost contact given up")
    }

    @Test func aSuspectIsNotPassedOnAndComesBackWhenItAnswers() {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        let asker = bench.address(bench.contact(9))
        let before = bench.ask(.find(target: .zero), from: asker)
        #expect(before == .found(contacts: [peer.signed]))
        bench.discovery.suspect(
            peer.record.publicKey, turn: &bench.turn, out: &bench.out)
        bench.fail(bench.requests()[0].token)
        let after = bench.ask(.find(target: .zero), from: asker)
        #expect(after == .found(contacts: []))
    }

    @Test func aNodeThatLeftIsGoneAtOnceAndComesBackOnlyWithANewerRecord() {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        bench.discovery.suspect(
            peer.record.publicKey, turn: &bench.turn, out: &bench.out)
        let probe = bench.requests()[0]
        bench.discovery.forget(
            peer.record.publicKey, &bench.turn, &bench.out)
        #expect(bench.discovery.count == 0)
        bench.answer(probe.token, .pong(contact: nil, observed: nil), from: probe.peer)
        _ = bench.ask(.ping(contact: peer.signed), from: bench.address(peer))
        let requests = bench.requests()
        #expect(bench.discovery.count == 0 && requests.isEmpty)
        _ = bench.ask(.ping(contact: bench.contact(1, sequence: 2).signed), from: bench.address(peer))
        let probes = bench.requests()
        #expect(probes.count == 1)
    }

    @Test func anEvictedContactsPlaceGoesToAReplacementThatAnswersAProbe() throws {
        var bench = Bench()
        var number = 0
        var far: [Verified<Contact>] = []
        while far.count < 18 {
            if bench.discovery.selfID.bucketIndex(of: Identity.ofNode(number).nodeID) == 0 {
                far.append(bench.contact(number))
            }
            number += 1
        }
        for contact in far.prefix(16) { bench.admit(contact) }
        _ = bench.ask(.ping(contact: far[16].signed), from: bench.address(far[16]))
        let requests = bench.requests()
        #expect(requests.isEmpty)
        let victim = far[3].record.publicKey
        bench.discovery.suspect(victim, turn: &bench.turn, out: &bench.out)
        bench.fail(bench.requests()[0].token)
        for _ in 0..<2 {
            bench.now = bench.now + .seconds(5)
            bench.discovery.timers.set(.contact(victim.word), at: bench.now)
            bench.discovery.tick(turn: &bench.turn, out: &bench.out)
            let requests = bench.requests()
            let probe = try #require(requests.first { $0.peer.key == victim })
            bench.fail(probe.token)
        }
        let successors = bench.requests()
        let probe = try #require(successors.first { $0.peer.key == far[16].record.publicKey })
        #expect(bench.discovery.count == 15)
        bench.answer(probe.token, .pong(contact: nil, observed: nil), from: probe.peer)
        #expect(bench.discovery.count == 16)
    }

    @Test func bootstrapAddressesAreTriedAfterOneSecondDoublingToSixtyWhileTheTableIsEmpty() {
        var bench = Bench()
        let peer = bench.address(bench.contact(1))
        let own = PeerAddress(key: bench.identity.publicKey, endpoint: .loopback(1))
        bench.discovery.join(
            bootstrap: [peer, own], turn: &bench.turn, out: &bench.out)
        var times: [Double] = []
        for _ in 0..<10 {
            let requests = bench.requests()
            #expect(requests.count == 1 && requests[0].peer == peer)
            times.append(Double(bench.now.nanoseconds) / 1e9)
            bench.fail(requests[0].token)
            bench.now = bench.discovery.nextDeadline()
            bench.discovery.tick(turn: &bench.turn, out: &bench.out)
        }
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        for (gap, expected) in zip(gaps, [1.0, 2, 4, 8, 16, 32, 60, 60, 60]) {
            #expect(gap >= expected * 0.75 && gap <= expected * 1.25)
        }
    }

    @Test func savedAnchorsBringANodeBackWhenEveryBootstrapNodeIsDead() {
        var bench = Bench()
        for number in 0..<100 { bench.admit(bench.contact(number)) }
        let anchors = bench.discovery.anchors
        #expect(anchors.count > 30 && anchors.count <= 64)
        var again = Bench()
        again.discovery.join(
            bootstrap: [again.address(again.contact(500))], turn: &again.turn,
            out: &again.out)
        again.discovery.restore(anchors: anchors, turn: &again.turn, out: &again.out)
        for _ in 0..<40 {
            for request in again.requests() {
                if case .ping = request.message,
                    anchors.contains(where: { again.address($0) == request.peer })
                {
                    again.answer(request.token, .pong(contact: nil, observed: nil), from: request.peer)
                } else {
                    again.fail(request.token)
                }
            }
        }
        #expect(again.discovery.count > 30)
    }

    @Test func aLivenessProbeBetweenNodesThatKnowEachOtherCarriesNoRecords() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        let key = peer.record.publicKey
        bench.admit(peer)
        let first = try bench.expectRequest(to: key, within: .seconds(1))
        let known = peer.record.sequence
        #expect(first.message == .ping(contact: bench.own.signed, known: known))
        bench.answer(first.token, .pong(contact: nil, observed: nil), from: bench.address(peer))
        let second = try bench.expectRequest(to: key, within: .minutes(10))
        #expect(second.message == .ping(contact: nil, known: known))
        bench.answer(second.token, .pong(contact: nil, observed: nil), from: bench.address(peer))
        let own = bench.own.record.sequence
        let bare = bench.ask(.ping(contact: nil, known: own), from: bench.address(peer))
        #expect(bare == .pong(contact: nil, observed: bench.address(peer).endpoint))
        // A peer with no record of ours, or an old one, is sent the record.
        for old in [0, own - 1, own + 1] where old != own {
            let full = bench.ask(.ping(contact: peer.signed, known: old), from: bench.address(peer))
            #expect(full == .pong(contact: bench.own.signed, observed: bench.address(peer).endpoint))
        }
    }

    @Test func beingHeardSparesAProbeButNotForEver() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        let key = peer.record.publicKey
        bench.admit(peer)
        let first = try bench.expectRequest(to: key, within: .seconds(1))
        bench.answer(first.token, .pong(contact: nil, observed: nil), from: bench.address(peer))
        bench.discovery.timers.cancel(.refresh)  // an answered FIND would be a proof too
        var probedAfter: Int?
        for minute in 1...40 where probedAfter == nil {
            bench.discovery.heard(
                bench.address(peer), turn: &bench.turn, out: &bench.out)
            if bench.nextRequest(to: key, within: .seconds(40)) != nil { probedAfter = minute * 40 }
        }
        let seconds = try #require(probedAfter)
        #expect(seconds > 600 && seconds <= 1_200)
    }

    @Test func waitingForAContactThatWasHeardMeanwhileTakesFewTicks() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        bench.admit(peer)
        let first = try bench.expectRequest(to: peer.record.publicKey, within: .seconds(1))
        bench.answer(first.token, .pong(contact: nil, observed: nil), from: bench.address(peer))
        bench.discovery.timers.cancel(.refresh)
        bench.now = bench.now + .seconds(50)
        bench.discovery.heard(bench.address(peer), turn: &bench.turn, out: &bench.out)
        var ticks = 0
        while bench.requests().isEmpty, ticks < 100 {
            bench.now = max(bench.now, bench.discovery.nextDeadline())
            bench.tick(after: .zero)
            ticks += 1
        }
        #expect(ticks <= 3)
    }

    @Test func case31AfterAStallOfAMinuteNobodyIsEvictedAndNobodyAskedTwice() {
        var bench = Bench()
        for number in 0..<30 { bench.admit(bench.contact(number)) }
        let count = bench.discovery.count
        bench.tick(after: .seconds(60))
        let probes = bench.requests().filter { if case .ping = $0.message { true } else { false } }
        #expect(probes.count == count && Set(probes.map(\.peer)).count == count)
        for probe in probes { bench.fail(probe.token) }
        #expect(bench.discovery.count == count)
        bench.tick(after: .seconds(3))
        for probe in bench.requests() {
            bench.answer(probe.token, .pong(contact: nil, observed: nil), from: probe.peer)
        }
        #expect(bench.discovery.contacts.allSatisfy { $0.state == .live })
    }

    @Test func whatChangesAContactOfOursIsToldToEveryoneInTheirNextProbeAMovedEndpointSoon() throws {
        var bench = Bench()
        let peer = bench.contact(1)
        let key = peer.record.publicKey
        bench.admit(peer)
        let first = try bench.expectRequest(to: key, within: .seconds(1))
        bench.answer(first.token, .pong(contact: nil, observed: nil), from: bench.address(peer))
        let moved = Contact.signed(by: bench.identity, at: [.loopback(3_333)], sequence: 2)
        bench.discovery.setSelf(moved, turn: &bench.turn, out: &bench.out)
        let second = try bench.expectRequest(to: key, within: .seconds(10))
        #expect(second.message == .ping(contact: moved.signed, known: peer.record.sequence))
    }
}
