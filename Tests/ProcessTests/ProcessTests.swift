// Real `starling` processes, real llama.cpp with the small models, the real `openai` package. What can be seen in a
// smaller test is tested there; here is what only whole processes show.
//
// One test at a time (two cores are few for eight nodes), a folder of its own for each testnet, nothing left behind.
// A failed test prints the nodes' logs. To run one: swift test --filter ProcessTests.Failover

import Foundation
import Synchronization
import Testing

@Suite(.serialized, .timeLimit(.minutes(5)), .filterIssues { Trouble.note($0) })
enum ProcessTests {
    /// Tests that leave the one testnet that they share as it was.
    @Suite(.serialized, SharedMarket())
    enum OnMarket {}
}

/// Whether anything failed since it was last asked: then logs are worth printing.
enum Trouble {
    private static let seen = Mutex(false)

    static func note(_ issue: Issue) -> Bool {
        seen.withLock { $0 = true }
        return true
    }

    static func take() -> Bool {
        seen.withLock { seen in
            defer { seen = false }
            return seen
        }
    }
}

/// The eight nodes of testnet/market.yaml, up once for all tests of a suite.
struct SharedMarket: SuiteTrait, TestScoping {
    @TaskLocal static var current: TestMesh?

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let market = try String(contentsOfFile: "\(Project.root)/testnet/market.yaml", encoding: .utf8)
        let yaml = market.replacing(try Regex("ports: +[0-9]+"), with: "ports: auto")
        try await TestMesh.with(file: yaml, name: "market") { mesh in
            try await Self.$current.withValue(mesh) { try await function() }
        }
    }
}

/// The shared testnet.
func market() throws -> TestMesh { try #require(SharedMarket.current) }
