import Credit
import Cryptography
import Inference
import Market
import MeshDocuments
import OpenAIFormat
import Primitives
import Store
import Testing
import Wire

@testable import NodeRuntime

@Suite struct SalesJournalTests {
    private let owner = PublicKey(Bytes32(1, 1, 1, 1))
    private let buyer = PublicKey(Bytes32(2, 2, 2, 2))
    private let now = WallTime(milliseconds: 20_000 * 86_400_000 + 5)
    private let day: Int64 = 20_000

    private func job(_ number: UInt64, of buyer: PublicKey) -> Job {
        Job(
            id: JobID(rawValue: number), task: TaskID(high: 0, low: number), attempt: 1, buyer: buyer,
            kind: .chat, model: "wren-m", body: [], delivered: [], maxTokens: nil, deadline: .seconds(9))
    }

    private func receipt(_ number: UInt64, of buyer: PublicKey, _ cost: Int64) -> Receipt {
        Receipt(
            task: TaskID(high: 0, low: number), attempt: 1, buyer: buyer, worker: owner,
            cost: Money(microCredits: cost))
    }

    @Test func anAnswerCountsOnceWithItsTokensAndTheLastCostOfItsReceipts() {
        var journal = SalesJournal()
        journal.started(job(1, of: buyer), by: owner, at: .zero)
        journal.paid(receipt(1, of: buyer, 3), at: now)
        let usage = BackendUsage(promptTokens: 7, cachedTokens: 0, completionTokens: 20)
        #expect(journal.ended(JobID(rawValue: 1), usage: usage, at: now)?.model == "wren-m")
        #expect(journal.ended(JobID(rawValue: 1), usage: usage, at: now) == nil)
        for cost: Int64 in [5, 5, 4, 8] { journal.paid(receipt(1, of: buyer, cost), at: now) }
        journal.paid(receipt(2, of: buyer, 100), at: now)
        let key = Sales.Sale(day: day, model: "wren-m", buyer: buyer)
        let sums = SaleSums(
            answers: 1, promptTokens: 7, completionTokens: 20, earned: Money(microCredits: 8))
        #expect(journal.pending.sales == [key: sums], "a receipt of an unknown answer has no model")
    }

    @Test func whatBreaksOffCountsApartWithTheTokensThatWereSeen() {
        var journal = SalesJournal()
        journal.started(job(1, of: buyer), by: owner, at: .zero)
        journal.produced(JobID(rawValue: 1), tokens: 4)
        journal.produced(JobID(rawValue: 1), tokens: 5)
        _ = journal.ended(JobID(rawValue: 1), usage: nil, at: now)
        #expect(Array(journal.pending.sales.values) == [SaleSums(broken: 1, completionTokens: 9)])
    }

    @Test func whatTheDatabaseRefusesIsAddedToWhatCameSince() {
        var journal = SalesJournal()
        for _ in 0..<3 { journal.refused("wren-m", .busy, at: now) }
        let taken = journal.take()
        #expect(journal.pending.isEmpty)
        journal.refused("wren-m", .busy, at: now)
        journal.giveBack(taken)
        #expect(journal.pending.refusals == [Sales.Refusal(day: day, model: "wren-m", reason: "busy"): 4])
    }

    @Test func buyersBeyondTheBoundAreSummedUnderNoName() {
        var journal = SalesJournal()
        for number in 1...5_000 {
            journal.started(
                job(UInt64(number), of: PublicKey(Bytes32(UInt64(number), 0, 0, 0))), by: owner, at: .zero)
            _ = journal.ended(JobID(rawValue: UInt64(number)), usage: BackendUsage(), at: now)
        }
        #expect(journal.pending.sales.count == 4_097)
        #expect(journal.pending.sales.values.reduce(0) { $0 + $1.answers } == 5_000)
    }

    @Test func theDocumentHasTodayTheLastSevenDaysAndAllByModelAndBuyer() {
        var sales = Sales()
        for (age, model, number) in [(0, "a", 1), (6, "a", 2), (7, "b", 3), (20_000, "b", 0)] {
            let key = PublicKey(number == 0 ? .zero : Bytes32(UInt64(number), 0, 0, 0))
            sales.sales[Sales.Sale(day: day - Int64(age), model: model, buyer: key)] = SaleSums(answers: 1)
            sales.refusals[Sales.Refusal(day: day - Int64(age), model: model, reason: "busy")] = 2
        }
        let document = SalesDocument(sales, today: day) { ("\($0.value.w0)", true) }
        func answers(_ periods: PeriodsDocument<SaleSumsDocument>) -> [Int64] {
            [periods.today.answers, periods.week.answers, periods.all.answers]
        }
        #expect(answers(document.total) == [1, 2, 4])
        #expect(document.models.map(\.model) == ["a", "b"])
        #expect(document.models.map { answers($0.sold) } == [[1, 2, 2], [0, 0, 2]])
        #expect(
            document.buyers.count == 4 && document.buyers.contains { $0.nodeID == nil && $0.name.isEmpty })
        #expect(document.refused == [.init(reason: "busy", calls: .init(today: 2, week: 4, all: 8))])
    }
}
