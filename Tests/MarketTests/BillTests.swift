import Primitives
import Testing
import Wire

@testable import Market

@Suite struct BillTests {
    /// 0.20 for input, 2.00 for output.
    let rate = price(20, 200)

    @Test func aBillIsRoundedUpAndBounded() {
        #expect(Bill(rate, prompt: 8, cached: 0, completion: 2).cost == 6)
        #expect(Bill(rate, completion: 2).cost == 4)
        #expect(Bill(rate, prompt: .max, cached: 0, completion: .max).cost == WireLimits.costMax)
        #expect(Bill(rate, completion: 0).isEmpty)
    }

    @Test func continuedTextIsNoPromptOfTheClients() {
        var task = TaskBill()
        task.add(Bill(rate, completion: 3), of: ada.key, continued: 0, finished: false)
        task.add(
            Bill(rate, prompt: 11, cached: 10, completion: 5), of: bob.key, continued: 3, finished: true)
        #expect(task.promptTokens == 8 && task.cachedTokens == 8 && task.completionTokens == 8)
        #expect(task.cost == 6 + 11 && task.workers == [ada.key, bob.key])
    }

    @Test func aWorkerThatDidNothingIsNotAmongThePaid() {
        var task = TaskBill()
        task.add(Bill(rate, completion: 0), of: ada.key, continued: 0, finished: false)
        #expect(task.workers.isEmpty)
        task.add(Bill(rate, completion: 0), of: ada.key, continued: 0, finished: true)
        #expect(task.workers == [ada.key])
    }

    @Test func aReceiptIsDueForNewTokensAndOnceMoreAtTheEnd() {
        var receipts = ReceiptSequence()
        #expect(receipts.next(tokens: 0, cost: 0, isFinal: false) == nil)
        #expect(receipts.next(tokens: 2, cost: 4, isFinal: false) == 1)
        #expect(receipts.next(tokens: 2, cost: 4, isFinal: false) == nil)
        #expect(receipts.next(tokens: 2, cost: 6, isFinal: true) == 2)
        var unpaid = ReceiptSequence()
        #expect(unpaid.next(tokens: 0, cost: 0, isFinal: true) == nil, "there is nothing to close")
    }
}
