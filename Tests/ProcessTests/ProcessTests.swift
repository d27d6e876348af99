// Real `starling` processes, real llama.cpp with the small models, the real `openai` package. Only what needs
// whole processes is tested here; the rest is in smaller tests.
//
// One test runs at a time (eight nodes on two cores), each testnet has its own folder, and nothing is left
// behind. A failed test prints the nodes' logs. To run one: swift test --filter ProcessTests.Failover

import Foundation
import Synchronization
import Testing

@Suite(.serialized, .timeLimit(.minutes(5)), .filterIssues { Trouble.note($0) })
enum ProcessTests {
    /// Tests that leave the shared testnet as they found it.
    @Suite(.serialized, SharedMarket())
    enum OnMarket {}
}

/// Whether anything has failed since the last query: then the logs are worth printing.
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

/// The eight nodes of testnet/market.yaml, started once for all tests of a suite.
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
