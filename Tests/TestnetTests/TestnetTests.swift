import Foundation
import NodeConfiguration
import Testing

@testable import Testnet

@Suite struct TestnetFileTests {
    private func file(_ yaml: String) throws -> TestnetFile {
        try TestnetFile(parsing: yaml, path: "t.yaml", folder: "/t")
    }

    @Test func theMarketOfTheRepositoryIsRead() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("testnet/market.yaml"), encoding: .utf8)
        let market = try file(text)
        #expect(market.name == "market")
        #expect(market.nodes.map(\.name) == ["ada", "bob", "cyd", "dot", "eve", "fay", "gus", "hal"])
        #expect(
            market.nodes.compactMap(\.sale).map(\.model) == [
                "wren-m", "wren-m", "wren-m", "wren-s", "wren-l",
            ])
        #expect(market.nodes[0].sale?.outputPrice == 2_000_000)
        #expect(market.nodes[0].sale?.file == "/t/models/wren-m.gguf")
        #expect(market.question?.via == "fay")
    }

    @Test func whatANodeIsGivenIsAConfigurationThatANodeReads() throws {
        let testnet = try file(
            "mesh: testnet-a\nports: 7000\nnodes: {ada: {serves: wren-m, price: {output: 1.5}, slots: 3}, bob: {inbound: false}}"
        )
        let laid = testnet.lay(out: Layout(root: "/t", name: "a")) { 7000 + 2 * $0 }
        let ada = try NodeSettings(parsing: laid[0].yaml, source: .init(file: "ada.yaml"), home: "/")
        #expect(ada.mesh.listen.description == "127.0.0.1:7000")
        #expect(ada.serve.first?.slots == 3)
        #expect(ada.serve.first?.outputPrice == 1_500_000)
        let bob = try NodeSettings(parsing: laid[1].yaml, source: .init(file: "bob.yaml"), home: "/")
        #expect(bob.mesh.inbound == false)
        #expect(bob.mesh.join.first?.key.description == laid[0].record.publicKey)
        // The same file gives the same ids.
        #expect(
            testnet.lay(out: Layout(root: "/t", name: "a")) { 9000 + 2 * $0 }.map(\.record.nodeID)
                == laid.map(\.record.nodeID))
    }

    @Test func aCountMakesNumberedNodes() throws {
        #expect(try file("nodes: {w: {count: 3}, x: {}}").nodes.map(\.name) == ["w1", "w2", "w3", "x"])
    }

    @Test(arguments: [
        ("mesh: main\nnodes: {a: {}}", "`mesh` is main"), ("mesh: testnet-a", "no `nodes`"),
        ("nodes: {A: {}}", "a node is named `A`"),
        ("nodes: {a: {servs: b}}", "unknown key `nodes.a.servs`"),
        ("nodes: {a: {count: 300}}", "300 nodes"),
        ("nodes: {a: {}}\nask: {via: b}", "`ask.via` is b, which is not a node of this file"),
        ("ports: 80\nnodes: {a: {}}", "`ports` is 80"),
        ("nodes: {a: {serves: b, backend: vllm}}", "a `backend` has no `url`"),
    ])
    func badFilesGetASentence(yaml: String, problem: String) throws {
        let error = try #require(throws: ConfigurationError.self) { _ = try file(yaml) }
        #expect(error.problem == problem)
    }
}

@Suite struct ProcessTableTests {
    @Test func aProcessIsKnownByPidAndStartTime() throws {
        let own = getpid()
        let ticks = try #require(ProcessTable.startTicks(own))
        #expect(ProcessTable.state(own, startTicks: ticks) == .running)
        #expect(ProcessTable.state(own, startTicks: ticks + 1) == .gone)
        #expect(!ProcessTable.signal(own, startTicks: ticks + 1, SIGTERM))
        #expect(ProcessTable.state(0, startTicks: 0) == .gone)
    }
}
