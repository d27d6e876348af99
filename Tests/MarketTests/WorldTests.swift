import Primitives
import Testing
import Wire

@testable import Market

/// The guarantees that hold for every interleaving: each task ends once; a client gets a prefix of the one
/// correct answer, and all of it if told that it is complete; nothing leaks.
@Suite struct WorldTests {
    /// Sends `tasks` tasks over 20 s, waits until all have ended, and checks.
    func play(
        _ seed: UInt64, tasks: Int, faults: Faults, sellers: Int = 6, buyers: Int = 4, places: Int = 0
    ) throws -> World {
        let world = World(seed: seed, sellers: sellers, buyers: buyers, faults: faults, places: places)
        for _ in 0..<tasks {
            let node = world.random.below(world.nodes.count)
            let tokens = 1 + world.random.below(80)
            let limit = world.random.chance(1, in: 4) ? 1 + world.random.below(40) : nil
            let resumable = !world.random.chance(1, in: 5)
            world.at(world.random.interval(.zero, .seconds(20))) {
                world.ask(node, tokens: tokens, maxTokens: limit, resumable: resumable)
            }
        }
        world.run(until: .seconds(120))
        try check(world, seed)
        return world
    }

    func check(_ world: World, _ seed: UInt64) throws {
        for task in world.order {
            let client = try #require(world.clients[task])
            let lives = world.nodes[client.node].epoch == client.epoch
            if let transcript = world.nodes[client.node].auctioneer.transcript(task) {
                let skipped = transcript.skipped.map(\.nodes).reduce(0, +)
                #expect(
                    skipped + transcript.bids.count == transcript.known,
                    "seed \(seed): \(task) doesn't count each node once")
            }
            if let failure = client.failure {
                #expect(
                    failure.reasons.map(\.nodes).reduce(0, +) == failure.known,
                    "seed \(seed): the reasons of \(task) don't add up: \(failure.reasons)")
            }
            #expect(client.eventsAfterEnd == 0, "seed \(seed): events after the end of \(task)")
            #expect(
                client.ends == 1 || (!lives && client.ends == 0),
                "seed \(seed): \(task) ended \(client.ends) times")
            #expect(client.expected.starts(with: client.text), "seed \(seed): wrong bytes in \(task)")
            if let summary = client.summary {
                #expect(client.text == client.expected, "seed \(seed): \(task) finished with a part")
                #expect(
                    summary.completionTokens == client.tokens, "seed \(seed): \(task) counts other tokens")
                // The last worker may have found that nothing was left to say, and is owed nothing.
                let saidNothing = summary.failovers > 0 && summary.promptTokens == 0
                #expect(summary.promptTokens == 8 || summary.reason == "length" || saidNothing)
            }
        }
        for node in world.nodes where node.isAlive {
            #expect(node.auctioneer.outstanding == (0, 0, 0), "seed \(seed): an auctioneer keeps something")
            #expect(node.bidder.outstanding == (0, 0, 0, 0), "seed \(seed): a bidder keeps something")
            #expect(node.auctioneer.running.isEmpty)
        }
        #expect(world.backends.values.allSatisfy { $0.isStopped }, "seed \(seed): a backend works for nobody")
    }

    @Test(arguments: [1, 2] as [UInt64])
    func withoutFaultsEveryTaskIsDeliveredAndEveryWorkerIsPaid(_ seed: UInt64) throws {
        let world = try play(seed, tasks: 60, faults: Faults())
        let failures = world.order.compactMap { world.clients[$0]?.failure }
        #expect(failures.isEmpty, "\(failures.map { "\($0.reason): \($0.message)" })")
        #expect(world.receiptsAccepted == world.receiptsIssued)
    }

    @Test(arguments: [11, 12, 13, 14, 15, 16] as [UInt64])
    func withLossKillsFreezesAndBrokenBackendsTheGuaranteesHold(_ seed: UInt64) throws {
        let faults = Faults(
            loss: 20, backendFails: 30, backendHangs: 20, clientLeaves: 100, outageEvery: .milliseconds(1_500)
        )
        _ = try play(seed, tasks: 60, faults: faults)
    }

    @Test(arguments: [21, 22] as [UInt64])
    func killingWorkersCostsResumableTasksNothingButTime(_ seed: UInt64) throws {
        let world = World(seed: seed, sellers: 8, buyers: 1, faults: Faults())
        for task in 0..<20 { world.at(.milliseconds(Int64(task) * 300)) { world.ask(8, tokens: 60) } }
        for kill in 0..<4 {
            world.at(.milliseconds(1_000 + Int64(kill) * 1_200)) {
                if let worker = world.busyWorker(of: 8) { world.kill(worker) }
            }
        }
        world.run(until: .seconds(90))
        try check(world, seed)
        let failures = world.order.compactMap { world.clients[$0]?.failure }
        #expect(failures.isEmpty, "\(failures.map { "\($0.reason): \($0.message)" })")
        #expect(world.order.contains { (world.clients[$0]?.summary?.failovers ?? 0) > 0 })
    }

    @Test(arguments: [41, 42] as [UInt64])
    func whatArrivesAtOnceWaitsInQueuesAndAllOfItIsDelivered(_ seed: UInt64) throws {
        let world = World(seed: seed, sellers: 3, buyers: 6, faults: Faults(), places: 32)
        var waited = 0
        for _ in 0..<60 {
            let (node, tokens) = (3 + world.random.below(6), 20 + world.random.below(60))
            let start = world.random.interval(.zero, .seconds(1))
            world.at(start) { world.ask(node, tokens: tokens) }
            world.at(start + .milliseconds(900)) {
                waited += world.nodes.reduce(0) { $0 + $1.bidder.waiting("wren-m") }
            }
        }
        world.run(until: .seconds(120))
        try check(world, seed)
        let failures = world.order.compactMap { world.clients[$0]?.failure }
        #expect(failures.isEmpty, "\(failures.map { "\($0.reason): \($0.message)" })")
        #expect(world.order.count == 60 && waited > 0)
    }

    @Test(arguments: [51, 52, 53] as [UInt64])
    func withQueuesAndFaultsTheGuaranteesHold(_ seed: UInt64) throws {
        let faults = Faults(
            loss: 20, backendFails: 30, backendHangs: 20, clientLeaves: 100, outageEvery: .milliseconds(1_500)
        )
        _ = try play(seed, tasks: 120, faults: faults, sellers: 3, places: 16)
    }

    @Test func theSameSeedPlaysTheSameRun() throws {
        let faults = Faults(
            loss: 20, backendFails: 30, backendHangs: 20, clientLeaves: 100, outageEvery: .milliseconds(1_500)
        )
        let ends = try (0..<2).map { _ in
            let world = try play(31, tasks: 20, faults: faults)
            return world.order.map { task in
                "\(task) \(world.clients[task]?.text.count ?? -1) \(world.clients[task]?.summary?.cost ?? .zero)"
            }
        }
        #expect(ends[0] == ends[1])
    }
}
