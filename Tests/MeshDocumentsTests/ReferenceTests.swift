import Foundation
import MeshDocuments
import Testing

/// `Protocol/documents.md` names every field of the documents.
@Suite struct ReferenceTests {
    private let price = PriceDocument(input: 1, output: 2)
    private let reach = ReachDocument(
        state: "direct",
        tested: .init(datagrams: "yes", channels: "no", endpoint: "", networks: 1, ageSeconds: 1))

    private var documents: [any Encodable] {
        let task = TaskDocument(
            task: "", state: "", model: "", via: "", createdAt: "",
            limits: TaskLimits(maxPrice: .init(), deadlineMilliseconds: 1),
            call: TaskCall(
                tokensIn: 1, tokensOutEstimate: 1, weights: .init(timePerSecond: 1, trustPower: 1)),
            candidates: TaskCandidates(known: 1, asked: 1, skipped: [.init(reason: "", nodes: 1)]),
            bids: [TaskBid(nodeID: "", name: "", outcome: "", price: price)],
            assignments: [
                TaskAssignment(nodeID: "", name: "", fromToken: 0, tokens: 1, ended: "", cost: .zero)
            ])
        let offer = OfferDocument(
            model: "", nodeID: "", name: "", quantization: "", context: 1, digest: .init(value: "", how: ""),
            features: [], continues: true, price: price, slots: 1,
            measured: .init(firstTokenMilliseconds: 1, tokensPerSecond: 1), sequence: 1, issuedAt: "",
            notAfter: "", heardVia: "", ageMilliseconds: 1)
        let status = StatusDocument(
            name: "", nodeID: "", publicKey: "", mesh: "", version: "", uptimeSeconds: 1, state: .serving,
            reach: reach, peers: 1,
            models: [
                ServedModelDocument(
                    model: "", slots: 1, slotsBusy: 0, backend: .init(kind: "", url: "", state: ""),
                    price: price)
            ])
        let peers = PeersDocument(
            own: SelfDocument(nodeID: "", publicKey: "", name: "", mesh: "", version: "", reach: reach),
            peers: [PeerDocument(nodeID: "", publicKey: "", name: "")])
        let error = ErrorDocument(
            error: .init(
                message: "", type: "",
                metadata: .init(
                    reasons: [:], nearest: .init(nodeID: "", name: "", change: [:]),
                    alternatives: [.init(model: "", completion: 1)])))
        let summary = ModelSummaryDocument(
            model: "", context: 1, providers: 1, lowestPrice: price, highestPrice: price)
        let quote = QuoteDocument(model: "", tokensIn: 1, tokensOut: 1, known: 1, reasons: [:], bids: [])
        let used = UsageSumsDocument(tasks: 1)
        let periods = PeriodsDocument(today: used, week: used, all: used)
        let budget = BudgetDocument(creditsPerDay: .zero, left: .zero)
        let usage = UsageDocument(
            node: budget,
            clients: [
                .init(client: "", budget: budget, used: periods, models: [.init(model: "", used: periods)])
            ])
        let ledger = LedgerDocument(
            asOf: "", since: "", owed: .zero, owing: .zero,
            peers: [
                .init(nodeID: "", publicKey: "", name: "", isPinned: true, owed: .zero, owing: .zero)
            ],
            sales: [
                .init(
                    day: "", model: "", nodeID: "", name: "", isPinned: true,
                    sums: SaleSumsDocument(answers: 1))
            ], leftOut: 0)
        let settled = SettleDocument(nodeID: "", name: "", paid: .zero, unconfirmed: .zero)
        return [
            quote, task, OffersDocument(asOf: "", offers: [offer]), status, peers, error, summary, usage,
            ledger, settled,
        ]
    }

    private func keys(_ value: Any) -> Set<String> {
        if let list = value as? [Any] { return list.reduce(into: []) { $0.formUnion(keys($1)) } }
        guard let object = value as? [String: Any] else { return [] }
        return object.values.reduce(into: Set(object.keys)) { $0.formUnion(keys($1)) }
    }

    @Test func everyFieldIsDescribed() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(
            contentsOf: root.appendingPathComponent("Protocol/documents.md"), encoding: .utf8)
        let words = Set(text.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init))
        for document in documents {
            let json = try JSONSerialization.jsonObject(with: try JSONEncoder().encode(document))
            for key in keys(json) { #expect(words.contains(key), "\(key)") }
        }
    }
}
