import Foundation
import NodeConfiguration
import TestSupport
import Testing

@testable import Testnet

@Suite struct TestnetFileTests {
    private func file(_ yaml: String) throws -> TestnetFile {
        try TestnetFile(parsing: yaml, path: "t.yaml", folder: "/t")
    }

    @Test func theMarketOfTheRepositoryIsRead() throws {
        let path = projectFolder.appendingPathComponent("testnet/market.yaml")
        let text = try String(contentsOf: path, encoding: .utf8)
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
        #expect(ada.serve.first?.terms.outputPrice == 1_500_000)
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

    @Test func aRelativeFileStartsInTheTestnetsFolder() throws {
        let nodes = try file(
            "nodes: {a: {serves: b}, c: {serves: d, file: other/d.gguf}, e: {serves: f, file: /m/f.gguf}}"
        ).nodes
        #expect(nodes.compactMap(\.sale?.file) == ["/t/models/b.gguf", "/t/other/d.gguf", "/m/f.gguf"])
    }

    @Test(arguments: [
        ("mesh: main\nnodes: {a: {}}", "`mesh` is main"), ("mesh: testnet-a", "no `nodes`"),
        ("nodes: {A: {}}", "a node is named `A`"),
        ("nodes: {a: {servs: b}}", "unknown key `nodes.a.servs`"),
        ("nodes: {a: {count: 300}}", "300 nodes"),
        ("nodes: {a: {}}\nask: {via: b}", "`ask.via` is b, which is not a node of this file"),
        ("ports: 80\nnodes: {a: {}}", "`ports` is 80"),
        ("nodes: {a: {serves: b, backend: vllm}}", "a `backend` has no `url`"),
        ("nodes: {a: {serves: ''}}", "`nodes.a.serves` is empty, which is not a model's name"),
        ("nodes: {a: {serves: b, url: zzz}}", "`nodes.a.url` is zzz, which is not an address"),
        ("nodes: {supervisor: {}}", "a node is named `supervisor`"),
        ("mesh: testnet-../x\nnodes: {a: {}}", "`mesh` is testnet-../x"),
        ("mesh: testnet-\nnodes: {a: {}}", "`mesh` is testnet-"),
        (
            "nodes: {a1: {}, a: {count: 2}}",
            "two nodes are named `a1`: `a` with `count: 2` makes the second"
        ),
    ])
    func badFilesGetASentence(yaml: String, problem: String) throws {
        let error = try #require(throws: ConfigurationError.self) { _ = try file(yaml) }
        #expect(error.problem == problem)
    }
}

@Suite struct LocalTestnetTests {
    @Test(arguments: ["", ".", "..", "../../evil", "a/b", "/tmp", "a b", String(repeating: "a", count: 57)])
    func aNameThatIsNoFoldersNameIsRefused(name: String) throws {
        let error = try #require(throws: TestnetError.self) { try LocalTestnet(root: "/t", name: name) }
        #expect(error.exitCode == 64)
    }

    @Test func downTellsHowManyNodesRanAndPurgesItsOwnFolderAlone() throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent(
            "testnet-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        let testnet = try LocalTestnet(root: root.path, name: "a")
        #expect(try testnet.down(purge: true) == nil)
        for name in ["a", "b"] {
            let layout = Layout(root: root.path, name: name)
            try FileManager.default.createDirectory(atPath: layout.folder, withIntermediateDirectories: true)
            let plan = try TestnetFile(parsing: "nodes: {x: {}, y: {}}", path: "t.yaml", folder: root.path)
            let nodes = plan.lay(out: layout) { 7000 + 2 * $0 }.map(\.record)
            try TestnetState(
                file: "t.yaml", plan: "", program: "", supervisor: 0, supervisorTicks: 0, nodes: nodes
            ).save(layout)
        }
        #expect(!testnet.isRunning)
        #expect(try testnet.down(purge: true) == 0, "none of its two nodes was started")
        #expect(LocalTestnet.running(root: root.path) == ["b"])
        let error = try #require(throws: TestnetError.self) { try testnet.load() }
        #expect(error.fix == "running here: b")
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
