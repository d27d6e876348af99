import Cryptography
import Primitives
import Testing
import Wire

@testable import NodeRuntime

@Suite struct UnsavedReceiptsTests {
    private static let buyer = Identity(seed: Bytes32(1, 0, 0, 0))

    private func receipt(_ task: Int, _ sequence: UInt64 = 1) -> Verified<Receipt> {
        Verified(
            signing: Receipt(
                task: TaskID(high: 0, low: UInt64(task)), attempt: 1, buyer: Self.buyer.publicKey,
                worker: Self.buyer.publicKey, sequence: sequence), with: Self.buyer)
    }

    @Test func aRefusedWriteLosesNothingIsReportedOnceAndTriedAgainLater() {
        var unsaved = UnsavedReceipts()
        for task in 1...3 { _ = unsaved.add(receipt(task)) }
        let waits = (0..<10).map { _ in
            _ = unsaved.refused()
            return unsaved.wait
        }
        #expect(waits.first == .seconds(1) && waits.last == .seconds(60))
        let isNews = unsaved.refused()
        #expect(!isNews)
        #expect(unsaved.batch().count == 3 && unsaved.all.count == 3)
        let hadRefused = unsaved.saved(unsaved.batch())
        #expect(hadRefused && unsaved.isEmpty && unsaved.wait == .milliseconds(500))
        let isNewsAgain = unsaved.refused()
        #expect(isNewsAgain)
    }

    @Test func aReceiptThatCameDuringTheWriteStays() {
        var unsaved = UnsavedReceipts()
        _ = unsaved.add(receipt(1, 1))
        _ = unsaved.add(receipt(2, 1))
        let batch = unsaved.batch()
        _ = unsaved.add(receipt(1, 2))
        _ = unsaved.add(receipt(3, 1))
        _ = unsaved.add(receipt(2, 1))
        let hadRefused = unsaved.saved(batch)
        #expect(!hadRefused)
        #expect(
            unsaved.all.map(\.record.sequence) == [2, 1] && unsaved.all.map(\.record.task.low) == [1, 3])
    }

    @Test func atTheBoundTheOldestAreLostAndItIsSaidOnce() {
        var unsaved = UnsavedReceipts()
        let said = (0..<UnsavedReceipts.countMax + 3_000).count { unsaved.add(receipt($0)) }
        #expect(said == 1 && unsaved.all.count <= UnsavedReceipts.countMax)
        #expect(unsaved.all.last?.record.task.low == UInt64(UnsavedReceipts.countMax + 2_999))
    }
}
