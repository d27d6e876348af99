import Primitives
import Testing
import Wire

@testable import Sessions

/// Which channels are busy, and which give way (Protocol/sessions.md, "Bounds").
@Suite struct ChannelRoomTests {
    private let meshes = [MeshIdentity](repeating: MeshIdentity(name: "test"), count: 3)
    /// Fits no task of the acceptor.
    private let noise = Frame(task: TaskID(high: 9, low: 9), attempt: 1, body: .window(consumed: 1))
    private let large = Frame(
        task: TaskID(high: 1, low: 2), attempt: 1, body: .bodyPart([UInt8](repeating: 7, count: 15_000)))

    private func limits(_ change: (inout ChannelLimits) -> Void) -> ChannelLimits {
        var limits = ChannelLimits()
        change(&limits)
        return limits
    }

    /// Channels of the node that it has accepted.
    private func inbound(_ net: Carriers, _ node: Int) -> [ChannelID] {
        net.opened(node).filter(\.2).map(\.0).filter { net.nodes[node].channels.peer(of: $0) != nil }
    }

    @Test func framesAloneDoNotKeepAnAcceptedChannelOpen() throws {
        let net = Carriers()
        let dialled = net.open(0, to: 1)
        for _ in 0..<8 {
            net.tick(after: .seconds(11))
            #expect(net.send(noise, 0, dialled))
        }
        #expect(net.frames(1).count == 8)
        net.tick(after: .seconds(2))
        #expect(net.nodes[1].channels.count == 0 && net.failures(1).isEmpty, "it was nobody's")
    }

    @Test func aClaimedChannelStaysUntilItsReleaseAndIsIdleFromThen() throws {
        let net = Carriers()
        _ = net.open(0, to: 1)
        let id = try #require(inbound(net, 1).first)
        net.run(1) { channels, _, _ in channels.claim(id) }
        net.tick(after: .seconds(3_600))
        #expect(net.nodes[1].channels.count == 1)
        net.run(1) { $0.release(id, turn: &$1, out: &$2) }
        net.tick(after: .seconds(89))
        #expect(net.nodes[1].channels.count == 1)
        net.tick(after: .seconds(2))
        #expect(net.nodes[1].channels.count == 0)
    }

    @Test func oneKeyHasFewIdleChannelsAndAnyNumberOfTasks() {
        let net = Carriers(limits: limits { $0.idlePerKey = 4 })
        for _ in 0..<40 { _ = net.open(0, to: 1) }
        #expect(inbound(net, 1).count == 4)
        let busy = inbound(net, 1)
        for id in busy { net.run(1) { channels, _, _ in channels.claim(id) } }
        for _ in 0..<40 { _ = net.open(0, to: 1) }
        #expect(inbound(net, 1).count == 8)
        #expect(busy.allSatisfy(inbound(net, 1).contains))
        let tables = net.nodes[1].channels.tables
        #expect(tables.allSatisfy { $0.count <= $0.bound })
    }

    @Test func inAFullTableTheCrowdedSourceGivesWayAndTasksStay() throws {
        let net = Carriers(
            limits: limits {
                $0.accepted = 16
                $0.countsEndpoints = true
            }, mesh: meshes)
        _ = net.open(1, to: 2)
        let task = try #require(inbound(net, 2).first)
        net.run(2) { channels, _, _ in channels.claim(task) }
        _ = net.open(1, to: 2)
        let single = try #require(inbound(net, 2).last)
        for _ in 0..<100 { _ = net.open(0, to: 2) }
        let kept = inbound(net, 2)
        #expect(kept.count == 16 && kept.contains(task))
        #expect(kept.contains(single), "eight draws of sixteen found nothing more crowded")
    }

    @Test func strangersLeaveTheShareOfOurOwnDials() {
        let net = Carriers(
            limits: limits {
                $0.channels = 6
                $0.accepted = 4
            }, mesh: meshes)
        for _ in 0..<4 { _ = net.open(0, to: 2) }
        for id in inbound(net, 2) { net.run(2) { channels, _, _ in channels.claim(id) } }
        _ = net.open(0, to: 2)
        #expect(net.failures(0) == [.closed], "all accepted channels have tasks")
        _ = net.open(2, to: 1)
        _ = net.open(2, to: 1)
        #expect(net.failures(2).isEmpty)
        _ = net.open(2, to: 1)
        #expect(net.failures(2) == [.limit])
    }

    @Test func anIdleChannelGivesWayToATaskOfOurs() {
        let net = Carriers(limits: limits { $0.channels = 4 }, mesh: meshes)
        for _ in 0..<4 { _ = net.open(0, to: 2) }
        _ = net.open(2, to: 1)
        #expect(net.failures(2).isEmpty && net.nodes[2].channels.count == 4)
    }

    @Test func queuedBytesAreBoundedOverAllChannelsAndTheOneThatTakesNothingGivesWay() throws {
        let net = Carriers(
            limits: limits {
                $0.channels = 8
                $0.queuedInAll = 160_000
            })
        let stuck = net.open(0, to: 1)
        let moving = net.open(0, to: 1)
        var lost: [ChannelAction] = []
        var turn = turn(at: net.now)
        // The actions are dropped, as if the carriers were stuck.
        for _ in 0..<5 { net.nodes[0].channels.send(large, on: stuck, turn: &turn, out: &lost) }
        turn.now.monotonic = turn.monotonic + .seconds(1)
        for _ in 0..<40 {
            #expect(net.nodes[0].channels.send(large, on: moving, turn: &turn, out: &lost))
            if net.nodes[0].channels.queuedBytes(on: moving) > 100_000 {
                net.nodes[0].channels.written(moving, bytes: 60_000, now: turn.monotonic)
            }
        }
        #expect(net.nodes[0].channels.peer(of: stuck) == nil)
        let ends = lost.compactMap { action -> ChannelFailure? in
            if case .failed(stuck, let reason) = action { reason } else { nil }
        }
        #expect(ends == [.limit])
        // Alone over the bound, it is refused itself.
        while net.nodes[0].channels.send(large, on: moving, turn: &turn, out: &lost) {}
        #expect(net.nodes[0].channels.queuedBytes(on: moving) <= 160_000)
        #expect(net.nodes[0].channels.peer(of: moving) != nil)
    }
}
