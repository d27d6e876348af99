import Cryptography
import Foundation
import Logging
import Market
import NodeConfiguration
import Primitives
import Store
import Testing
import Wire

@testable import NodeRuntime

@Suite struct DatabaseTests {
    private let seller = Identity(seed: Bytes32(1, 0, 0, 0)).publicKey
    private let buyer = Identity(seed: Bytes32(2, 0, 0, 0))

    private func open(_ path: String) async throws -> (Ledger, Node.Memory) {
        let settings = try NodeSettings(
            parsing: "mesh: {}\n", source: .init(file: "node.yaml"), home: "/home/ann")
        return try await Ledger.open(
            path: path, for: settings, owner: seller,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test func aNodeStartsWithADamagedDatabaseAndWithOneWhoseCostsOverflow() async throws {
        let path = NSTemporaryDirectory() + "starling-database-\(UUID().uuidString)"
        defer {
            for end in ["", "-wal", "-shm", ".damaged-1"] {
                try? FileManager.default.removeItem(atPath: path + end)
            }
        }
        try Data(repeating: 7, count: 8_192).write(to: URL(fileURLWithPath: path))
        let (ledger, empty) = try await open(path)
        #expect(empty.balances?.earned == .zero)
        let most = Money(microCredits: .max)
        try await ledger.keep(
            (1...2).map { task in
                Verified(
                    signing: Receipt(
                        task: TaskID(high: 0, low: task), attempt: 1, buyer: buyer.publicKey, worker: seller,
                        sequence: 1, cost: most, final: true), with: buyer)
            }, at: WallTime(milliseconds: 1_800_000_000_000))
        let paid = BuyerRecord(
            .key(buyer.publicKey), paid: Paid(tasks: 3, amount: most),
            at: WallTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)))
        try await ledger.keep([
            paid, BuyerRecord(.network(1), paid: paid.paid, at: WallTime(milliseconds: 1)),
        ])
        let (_, memory) = try await open(path)
        #expect(memory.balances?.earned == most)
        #expect(Set(memory.sold.map(\.task.low)) == [1, 2])
        #expect(memory.buyers == [paid], "what is older than the books is forgotten")
        let settings = try NodeSettings(
            parsing: "mesh: {}\n", source: .init(file: "node.yaml"), home: "/home/ann")
        #expect(settings.peerSettings(memory: memory, descriptors: 1_024).buyers == [paid])
    }
}
